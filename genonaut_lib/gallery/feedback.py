"""What answers taught about their filters, so that an estimate is wrong once and not for ever.

Kept in the process, for the filters asked for last, until there are newer statistics. A method never
awaits, so tasks of one event loop cannot come between its steps.
"""

from __future__ import annotations

import math
import uuid
from collections import OrderedDict, deque
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime

from genonaut_lib.gallery.estimates import Estimate, Portrait
from genonaut_lib.gallery.query import Creators, GalleryQuery, Group, Scope, TagMatch
from genonaut_lib.gallery.statistics import Statistics

SURPRISE = 4.0
"""An answer that took so many times its estimate is remembered; below that a model is as good as models are."""

TRIFLE_MS = 5.0
"""Below it nothing is worth remembering: a busy moment of the machine costs as much."""

SEEDS_KEPT, SEEDS_NEEDED = 100, 20

Filter = tuple[Group, tuple[Group, ...], TagMatch, Group, Scope, str, uuid.UUID | None]


@dataclass(frozen=True)
class Seen:
    """What one answer showed: `rows` match the filter, exactly so many or at least, and it took `milliseconds`.

    `reach` is how far into the matches the answer went; None for a count, which goes through all.
    """

    strategy: str
    rows: int
    is_exact: bool
    milliseconds: float
    estimated_ms: float | None
    reach: int | None = None
    seed_rows: float | None = None


@dataclass(frozen=True)
class Slow:
    """How long a strategy took that had surprised, and how far it went for that."""

    milliseconds: float
    reach: int | None

    def floor(self, reach: int | None) -> float:
        """Return what going as far as `reach` must be thought to cost after that."""
        if reach is None or self.reach is None:
            return self.milliseconds
        return self.milliseconds * min(1.0, reach / self.reach)


@dataclass(frozen=True)
class Lesson:
    """What is remembered of a filter: its matches, exactly or at least, and what was slow, by strategy and counting."""

    exact: int | None = None
    at_least: int = 0
    slow: Mapping[tuple[str, bool], Slow] = field(default_factory=dict)

    def corrected(self, estimate: Estimate) -> Estimate:
        """Return the estimate as it stands after what was seen."""
        if self.exact is not None:
            rows = float(self.exact)
            return replace(estimate, rows=rows, low=rows, high=rows, unknown=())
        least = float(self.at_least)
        low, rows, high = (max(least, value) for value in (estimate.low, estimate.rows, estimate.high))
        return replace(estimate, rows=rows, low=low, high=high)

    def portraits(self, portraits: Sequence[Portrait]) -> tuple[Portrait, ...]:
        """Return the portraits with as many matching rows as were seen, spread over the sources as they were."""
        total = sum(one.rows * one.share for one in portraits)
        if self.exact is None and total >= self.at_least:
            return tuple(portraits)
        items = sum(one.items for one in portraits)
        wanted = self.at_least if self.exact is None else self.exact
        parts = [one.rows * one.share / total if total else one.items / max(items, 1) for one in portraits]
        return tuple(self._scaled(one, wanted * part / one.share) for one, part in zip(portraits, parts, strict=True))

    def _scaled(self, one: Portrait, rows: float) -> Portrait:
        return replace(one, rows=rows, low=rows, high=rows if self.exact is not None else max(rows, one.high))

    def floor(self, strategy: str, reach: int | None) -> float:
        """Return what a strategy must be thought to cost at least, 0 where it never surprised."""
        slow = self.slow.get((strategy, reach is None))
        return slow.floor(reach) if slow else 0.0


NOTHING_SEEN = Lesson()


def learnt(lesson: Lesson, seen: Seen) -> Lesson:
    """Return the lesson with one more answer in it; the newest sight of the rows wins over an older one."""
    if seen.is_exact:
        lesson = replace(lesson, exact=seen.rows, at_least=0)
    elif lesson.exact is None or seen.rows > lesson.exact:
        lesson = replace(lesson, exact=None, at_least=max(lesson.at_least, seen.rows))
    key = (seen.strategy, seen.reach is None)
    before = lesson.slow.get(key)
    if before is None and not _surprises(seen):
        return lesson
    milliseconds = seen.milliseconds if before is None else math.sqrt(before.floor(seen.reach) * seen.milliseconds)
    return replace(lesson, slow={**lesson.slow, key: Slow(milliseconds, seen.reach)})


def reach_of(query: GalleryQuery) -> int:
    """Return how many matching rows a page reads: those it skips, its own, and one that tells of a next page."""
    return query.page * query.page_size + 1


def filter_of(query: GalleryQuery) -> Filter:
    """Return what of a query decides how many items match it, whatever the page."""
    personal = {Creators.MINE, Creators.COMMUNITY} & {query.scope.regular, query.scope.auto}
    viewer = query.viewer if personal else None
    return query.tags, query.families, query.match, query.exclude, query.scope, query.search, viewer


class Feedback:
    """The lessons of the filters asked for last, at most `capacity` of them."""

    def __init__(self, capacity: int = 1_000) -> None:
        self._capacity = capacity
        self._lessons: OrderedDict[Filter, Lesson] = OrderedDict()
        self._seeds: deque[float] = deque(maxlen=SEEDS_KEPT)
        self._as_of: datetime | None = None

    def __len__(self) -> int:
        return len(self._lessons)

    def recall(self, query: GalleryQuery, statistics: Statistics | None) -> Lesson:
        """Return what is remembered of the query's filter under these statistics; an empty lesson for nothing."""
        if statistics is None or statistics.refreshed_at != self._as_of:
            return NOTHING_SEEN
        key = filter_of(query)
        lesson = self._lessons.get(key)
        if lesson is None:
            return NOTHING_SEEN
        self._lessons.move_to_end(key)
        return lesson

    def learn(self, query: GalleryQuery, statistics: Statistics | None, seen: Seen) -> None:
        """Remember an answer, forgetting first what was learnt under older statistics.

        An answer that was planned by older statistics than others since, or by none, teaches nothing.
        """
        if statistics is None or statistics.refreshed_at is None:
            return
        if self._as_of is None or statistics.refreshed_at > self._as_of:
            self._forget(statistics.refreshed_at)
        elif statistics.refreshed_at < self._as_of:
            return
        if seen.seed_rows is not None:
            self._seeds.append(seen.seed_rows)
        key = filter_of(query)
        self._lessons[key] = learnt(self._lessons.pop(key, NOTHING_SEEN), seen)
        if len(self._lessons) > self._capacity:
            self._lessons.popitem(last=False)

    def seeds_overflow(self, cap: int) -> bool:
        """Whether most two-phase queries of late began with more than `cap` candidates; False for want of queries."""
        over = sum(rows > cap for rows in self._seeds)
        return len(self._seeds) >= SEEDS_NEEDED and 2 * over > len(self._seeds)

    def _forget(self, as_of: datetime) -> None:
        self._lessons.clear()
        self._seeds.clear()
        self._as_of = as_of


def _surprises(seen: Seen) -> bool:
    estimated = seen.estimated_ms
    return estimated is not None and seen.milliseconds > max(TRIFLE_MS, SURPRISE * estimated)
