"""What becomes known of a request while it is answered, for its line in the log and for the metrics."""

from __future__ import annotations

import hashlib
import time
from contextvars import ContextVar
from dataclasses import dataclass, field

from genonaut_lib.gallery.answer import Answer
from genonaut_lib.gallery.clauses import Shape


@dataclass
class Trace:
    """One request; what is not known is None.

    `database_ms` is how long its tasks waited for the database's answers, `waited_s` how long for sessions.
    `code` is that of the problem it was answered with. `lost_session` says that its session with the database
    was lost, and so it may be tried again if it only reads.
    """

    request_id: str = ""
    strategy: str | None = None
    database_ms: float | None = None
    shape: Shape | None = None
    code: str | None = None
    lost_session: bool = False
    waited_s: float = 0.0
    started: float = field(default_factory=time.monotonic)

    @property
    def milliseconds(self) -> float:
        """How long it has taken by now."""
        return (time.monotonic() - self.started) * 1000

    @property
    def plan_hash(self) -> str | None:
        """A digest of how it was answered: of the strategy and the statement's shape, of no value."""
        if self.strategy is None:
            return None
        return hashlib.sha256(repr((self.strategy, self.shape)).encode()).hexdigest()[:12]

    def answered(self, answer: Answer) -> None:
        """Note by which strategy the gallery answered."""
        self.strategy, self.shape = answer.choice.strategy, answer.shape

    def asked_database(self, milliseconds: float) -> None:
        """Note that the database took so long for one of the request's statements."""
        self.database_ms = (self.database_ms or 0.0) + milliseconds


CURRENT: ContextVar[Trace] = ContextVar("trace")
"""The request at hand; the outermost middleware sets it."""


def current() -> Trace:
    """Return the trace of the request at hand; outside of any, one that nobody looks at."""
    return CURRENT.get(None) or Trace()
