"""Strategies against one another: every question under every strategy, warmed up, in random order, repeatedly."""

from __future__ import annotations

import math
import random
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from genonaut_lib.gallery import planner
from genonaut_lib.gallery.clauses import shape_of
from genonaut_lib.gallery.planner import Choice
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.gallery.statistics import Statistics
from genonaut_lib.gallery.strategies import BITMAP, STRATEGIES
from genonaut_lib.settings import PlannerSettings
from genonaut_lib.tuning.grid import GridCase
from genonaut_lib.tuning.timed_reads import ServerCost, TimedReader

Say = Callable[[str], None]
TELL_EVERY_S = 5.0


@dataclass
class Timing:
    """One question under one strategy: its times in milliseconds, its rows, its cost to the server.

    A read over the time limit counts as that limit; `keys` is None where no read ever came to an end.
    """

    strategy: str
    times: list[float] = field(default_factory=list)
    keys: tuple[str, ...] | None = None
    timed_out: bool = False
    cost: ServerCost | None = None

    @property
    def median_ms(self) -> float:
        """The median, by which strategies are compared."""
        return percentile(self.times, 0.5)


@dataclass(frozen=True)
class Contest:
    """A question as it is read, the planner's choice for it, and the strategies it is read by."""

    case: GridCase
    query: GalleryQuery
    choice: Choice
    timings: dict[str, Timing]

    @property
    def chosen(self) -> Timing | None:
        """How the planner's choice did; None where it was not measured."""
        return self.timings.get(self.choice.strategy)

    @property
    def best(self) -> Timing:
        """The fastest."""
        return min(self.timings.values(), key=lambda timing: timing.median_ms)

    @property
    def ratio(self) -> float | None:
        """How many times as long as the best the planner's choice took."""
        return None if self.chosen is None else self.chosen.median_ms / self.best.median_ms


def percentile(times: Sequence[float], share: float) -> float:
    """Return the nearest-rank percentile: the smallest value that `share` of all do not pass."""
    ranked = sorted(times)
    return ranked[max(0, math.ceil(share * len(ranked)) - 1)]


def enter(
    reader: TimedReader,
    cases: Iterable[GridCase],
    statistics: Statistics,
    knobs: PlannerSettings,
    wanted: Callable[[GalleryQuery, Choice], Sequence[str]],
) -> list[Contest]:
    """Return the questions ready to be read: planned, and put at the position their page starts from."""
    contests, bitmaps = [], reader.bitmaps()
    for case in cases:
        there = planner.choose(case.query, statistics, knobs, bitmaps=bitmaps)
        query = reader.positioned(case, there.strategy, there.ranked or None)
        choice = planner.choose(query, statistics, knobs, bitmaps=bitmaps)
        contests.append(Contest(case, query, choice, {name: Timing(name) for name in wanted(query, choice)}))
    return contests


def every_strategy(query: GalleryQuery, choice: Choice) -> list[str]:
    """Return every strategy that can answer the query, whether the planner's knobs allow it or not.

    The bitmaps can where the planner thinks so: where they serve, and have something to offer.
    """
    shape = shape_of(query)
    able = [
        name
        for name, strategy in STRATEGIES.items()
        if name == choice.strategy or (not strategy.stale and strategy.fits(shape) is None)
    ]
    return able if BITMAP.name in choice.unfit else [*able, BITMAP.name]


def chosen_only(_query: GalleryQuery, choice: Choice) -> list[str]:
    """Return the planner's choice alone."""
    return [choice.strategy]


def run(reader: TimedReader, contests: Sequence[Contest], repeats: int, seed: int, say: Say) -> None:
    """Read every question under each of its strategies: once to warm up, then `repeats` times.

    Each round goes through all pairs in a new random order, so that neither a warm cache nor a slow
    moment of the machine favours anybody. What exceeds the limit while warming up is not read again.
    """
    dice = random.Random(seed)  # noqa: S311  # an order, not a secret
    pairs = [(contest, timing) for contest in contests for timing in contest.timings.values()]
    progress = Progress(len(pairs) * (repeats + 1), "reads", say)
    for turn in range(repeats + 1):
        dice.shuffle(pairs)
        for contest, timing in pairs:
            if not (timing.timed_out and timing.keys is None):
                _read(reader, contest, timing, counts=turn > 0)
            progress.step()
    for contest, timing in pairs:
        if not timing.timed_out:
            timing.cost = reader.explain(contest.query, timing.strategy, contest.choice.ranked or None)


def _read(reader: TimedReader, contest: Contest, timing: Timing, *, counts: bool) -> None:
    reading = reader.read(contest.query, timing.strategy, contest.choice.ranked or None)
    if reading.keys is None:
        timing.timed_out = True
    else:
        timing.keys = reading.keys
    if counts or reading.keys is None:
        timing.times.append(reading.milliseconds)


@dataclass
class Progress:
    """Says now and then how far it is, and how long it will take."""

    total: int
    unit: str
    say: Say
    done: int = 0
    started: float = field(default_factory=time.monotonic)
    told: float = field(default_factory=time.monotonic)

    def step(self) -> None:
        """Count one more."""
        self.done += 1
        now = time.monotonic()
        if now - self.told >= TELL_EVERY_S:
            left = (now - self.started) / self.done * (self.total - self.done)
            self.say(f"  {self.done:,} of {self.total:,} {self.unit}, about {left:,.0f} s left")
            self.told = now
