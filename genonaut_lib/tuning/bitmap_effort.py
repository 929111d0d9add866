"""What is measured of the tag bitmap index, how thoroughly, and where; what every section of the bench shares."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import InvalidInput
from genonaut_lib.settings import Settings, nearest
from genonaut_lib.tuning.race import Say, percentile

SECTIONS = ("build", "grid", "facets", "seal", "writers", "simulated")
READING = ("grid", "facets")
"""Sections that write nothing, unless items are to be marked for them."""
ALONE = "writers"
"""It disarms the triggers now and then: whatever others write meanwhile would be missing in the index for good."""


@dataclass(frozen=True)
class BitmapEffort:
    """Sections, and how much of each.

    `marked` items are marked for the second half of the grid, 0: there is none. `queries` is the most of
    the grid's questions. `timeout_s` is for one question to the oracle, 0: it is not asked. `rate` is in
    items a second, `round_s` the seconds of a round of writers; `simulated_items` and `simulated_tags` are
    the size of the simulated layer.
    """

    sections: tuple[str, ...] = SECTIONS
    marked: int = 5_000
    seal_items: int = 5_000
    queries: int = 200
    repeats: int = 5
    timeout_s: float = 20.0
    seed: int = 1
    rate: float = 200.0
    rounds: int = 4
    round_s: float = 5.0
    sessions: int = 4
    simulated_items: int = 51_000_000
    simulated_tags: tuple[int, ...] = (24,)

    def __post_init__(self) -> None:
        unknown = [name for name in self.sections if name not in SECTIONS]
        if unknown:
            hint = f"{nearest(unknown[0], list(SECTIONS))}Known: {', '.join(SECTIONS)}."
            raise InvalidInput(f"There is no section {unknown[0]!r}.", hint=hint)

    @property
    def writes(self) -> bool:
        """Whether anything is written to the gallery that is measured."""
        return bool(self.marked and "grid" in self.sections) or not set(self.sections) <= {*READING, "simulated"}


@dataclass(frozen=True)
class Place:
    """The gallery that is measured: its settings, a session on it, what is wanted, and who is told of it."""

    settings: Settings
    connection: Connection
    effort: BitmapEffort
    say: Say


@dataclass
class Found:
    """What a section found: figures, what some of them are to meet, and details that only scripts read."""

    figures: dict[str, Any] = field(default_factory=dict)
    targets: dict[str, float] = field(default_factory=dict)
    details: dict[str, Any] = field(default_factory=dict)
    differing: list[str] = field(default_factory=list)


Section = Callable[[Place], Found]


class Clock:
    """`seconds` of the block, once it ended."""

    seconds = 0.0


@contextmanager
def clocked() -> Iterator[Clock]:
    """Clock a block."""
    clock, started = Clock(), time.perf_counter()
    yield clock
    clock.seconds = time.perf_counter() - started


def spread(prefix: str, times: Sequence[float]) -> dict[str, float]:
    """Return median, 95th and 99th percentile and the worst of some milliseconds; nothing of none."""
    if not times:
        return {}
    shares = {"median": 0.5, "p95": 0.95, "p99": 0.99, "worst": 1.0}
    return {f"{prefix}_{name}_ms": round(percentile(times, share), 3) for name, share in shares.items()}


def over(one: float, other: float) -> float | None:
    """Return a ratio, None where there is nothing to divide by."""
    return round(one / other, 3) if other else None
