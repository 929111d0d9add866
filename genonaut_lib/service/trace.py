"""What becomes known of a request while it is answered, for its line in the log and for the metrics."""

from __future__ import annotations

from contextvars import ContextVar
from dataclasses import dataclass

from genonaut_lib.gallery.gallery import Answer


@dataclass
class Trace:
    """One request; what is not known is None."""

    request_id: str = ""
    strategy: str | None = None
    database_ms: float | None = None

    def answered(self, answer: Answer) -> None:
        """Note by which strategy the gallery answered, and how long it took."""
        self.strategy = answer.choice.strategy
        self.database_ms = sum(ms for part, ms in answer.milliseconds.items() if part in {"page", "count"})


CURRENT: ContextVar[Trace] = ContextVar("trace")
"""The request at hand; the outermost middleware sets it."""
