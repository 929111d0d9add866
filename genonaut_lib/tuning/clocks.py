"""What it costs to plan a question and to build its statement, in microseconds of this process."""

from __future__ import annotations

import functools
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from genonaut_lib.gallery import planner, reasons
from genonaut_lib.gallery.bitmaps.standing import UNKNOWN, Standing
from genonaut_lib.gallery.clauses import shape_of, values_of
from genonaut_lib.gallery.statement import page_text
from genonaut_lib.gallery.statistics import Statistics
from genonaut_lib.gallery.strategies import STRATEGIES
from genonaut_lib.settings import PlannerSettings
from genonaut_lib.tuning.race import Contest, percentile

TURNS = 5


@dataclass(frozen=True)
class Clocks:
    """Microseconds by question: `choosing` a strategy, `building` a statement known by its shape, `compiling` one."""

    choosing: tuple[float, ...]
    building: tuple[float, ...]
    compiling: tuple[float, ...]


def clock_planner(
    contests: Sequence[Contest], statistics: Statistics, knobs: PlannerSettings, bitmaps: Standing = UNKNOWN
) -> Clocks:
    """Time planning and building of every question: the median of five turns.

    A statement is compiled when the process first meets its shape, and that is timed once. Where the bitmaps
    were chosen, which have no statement, the plainest one is built.
    """
    compiling = tuple(_microseconds(lambda one=one: _build(one)) for one in contests)  # type: ignore[misc]
    chooses = functools.partial(planner.choose, statistics=statistics, knobs=knobs, bitmaps=bitmaps)
    choosing = tuple(_median(lambda one=one: chooses(one.query)) for one in contests)  # type: ignore[misc]
    building = tuple(_median(lambda one=one: _build(one)) for one in contests)  # type: ignore[misc]
    return Clocks(choosing, building, compiling)


def _build(contest: Contest) -> None:
    strategy = contest.choice.strategy
    page_text(shape_of(contest.query), strategy if strategy in STRATEGIES else reasons.PLAIN)
    values_of(contest.query, contest.choice.ranked or None)


def _median(work: Callable[[], Any]) -> float:
    return percentile([_microseconds(work) for _ in range(TURNS)], 0.5)


def _microseconds(work: Callable[[], Any]) -> float:
    started = time.perf_counter()
    work()
    return (time.perf_counter() - started) * 1e6
