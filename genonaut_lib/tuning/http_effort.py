"""What is measured of the HTTP API, how thoroughly, and where."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import InvalidInput
from genonaut_lib.settings import Settings, nearest
from genonaut_lib.tuning.bitmap_effort import Found
from genonaut_lib.tuning.bitmap_reader import BitmapReader
from genonaut_lib.tuning.http_servers import Served
from genonaut_lib.tuning.race import Say

SECTIONS = ("latency", "throughput", "soak")
PATIENCE_MS = 1_000.0
"""What takes the baseline longer is asked of it once only, and plays no part in the throughput."""


@dataclass(frozen=True)
class HttpEffort:
    """Sections, and how much of each.

    `queries` is the most of the grid's questions, `timeout_s` for one statement of the baseline. `clients`
    ask at once in the throughput and in the soak, `round_s` the seconds of one round of one server.
    """

    sections: tuple[str, ...] = SECTIONS
    queries: int = 200
    repeats: int = 5
    timeout_s: float = 5.0
    clients: int = 8
    rounds: int = 4
    round_s: float = 5.0
    soak_s: float = 30.0
    seed: int = 1

    def __post_init__(self) -> None:
        unknown = [name for name in self.sections if name not in SECTIONS]
        if unknown:
            hint = f"{nearest(unknown[0], list(SECTIONS))}Known: {', '.join(SECTIONS)}."
            raise InvalidInput(f"There is no section {unknown[0]!r}.", hint=hint)


@dataclass
class Ground:
    """Where everything is measured: one gallery, both servers on it, the library itself, and a session beside them.

    `baseline_ms` is what the baseline took for a question by its name, as far as it was asked.
    """

    settings: Settings
    connection: Connection
    service: Served
    baseline: Served
    gallery: BitmapReader
    effort: HttpEffort
    say: Say
    baseline_ms: dict[str, float] = field(default_factory=dict)


Section = Callable[[Ground], Found]
