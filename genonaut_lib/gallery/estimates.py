"""How many items a filter matches: exact cardinalities of tags, joined with what a sample of items says of them together.

Cardinalities alone cannot tell popular tags that never meet from such that always do; the sample
alone knows nothing of rare tags. So the items that carry the first group are taken from the exact
cardinality, and the sample says only what part of them the rest of the filter leaves.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field

from genonaut_lib.gallery.query import Creators, GalleryQuery, Group
from genonaut_lib.gallery.statistics import Sample, SourceStatistics, Statistics
from genonaut_lib.vocabulary import ContentSource

Z_95 = 1.96
"""Standard deviations of a normal variable that enclose 95 of 100 cases."""

CREATORS_SHARE = {Creators.EVERYBODY: 1.0, Creators.COMMUNITY: 1.0, Creators.MINE: 0.01}
"""What part of a source is taken to be by the creators a scope means. Nothing is known of a single viewer's share:
one item in a hundred is an assumption, and `Estimate.unknown` says that it was made."""

_NOTHING = SourceStatistics(0, {})


@dataclass(frozen=True)
class Estimate:
    """How many items a filter is thought to match, in all and in each source.

    The truth lies between `low` and `high` in 95 of 100 cases, so far as it is a question of sampling
    and nothing changed since the statistics were made. `unknown` names what statistics say nothing
    about: `creators` (a share was assumed) and `search` (`rows` leaves the search out, so that it is
    too high). Either lets the interval begin at 0 where it applies.
    """

    rows: float
    low: float
    high: float
    per_source: Mapping[ContentSource, float] = field(default_factory=dict)
    unknown: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Portrait:
    """What is thought of one source under one filter; numbers of items unless said otherwise.

    `share` is the part of the source by the wanted creators. `sizes` are the junction rows of each
    group, in the order in which groups are looked up, `passing` the items that carry the first group,
    the first two, and so on. `rows`, with `low` and `high`, are those that carry all of them, no
    excluded tag, and may be seen; by any creator, whatever the scope.
    """

    source: ContentSource
    items: int
    share: float
    sizes: tuple[float, ...]
    passing: tuple[float, ...]
    rows: float
    low: float
    high: float

    @property
    def carrying(self) -> float:
        """The items that carry all groups, seen or not."""
        return self.passing[-1] if self.passing else float(self.items)


def are_known(statistics: Statistics | None) -> bool:
    """Whether there are statistics at all."""
    return statistics is not None and statistics.refreshed_at is not None


def estimate(query: GalleryQuery, statistics: Statistics | None) -> Estimate | None:
    """Return how many items the filter matches, whatever the page; None when there are no statistics."""
    if statistics is None or not are_known(statistics):
        return None
    return summed(query, portray(query, statistics))


def summed(query: GalleryQuery, portraits: Sequence[Portrait]) -> Estimate:
    """Return the estimate that the portraits of all sources come to."""
    per_source = {one.source: one.rows * one.share for one in portraits}
    unknown = unknown_of(query)
    everybodys = [one for one in portraits if query.scope.of(one.source) is Creators.EVERYBODY]
    low = 0.0 if query.search else sum(one.low for one in everybodys)
    return Estimate(sum(per_source.values()), low, sum(one.high for one in portraits), per_source, unknown)


def unknown_of(query: GalleryQuery) -> tuple[str, ...]:
    """Return what of a query no statistics speak of."""
    scopes = {query.scope.of(source) for source in query.sources}
    creators = ("creators",) if scopes & {Creators.MINE, Creators.COMMUNITY} else ()
    return (*creators, *(("search",) if query.search else ()))


def ranked(query: GalleryQuery, statistics: Statistics | None) -> tuple[Group, ...]:
    """Return the groups, rarest first as far as it is known; equally rare ones in their own order."""
    if statistics is None or len(query.groups) < 2:
        return query.groups
    known = [statistics.sources.get(source, _NOTHING).cardinalities for source in query.sources]
    return tuple(sorted(query.groups, key=lambda group: (sum(_size(one, group) for one in known), group)))


def portray(
    query: GalleryQuery, statistics: Statistics, groups: Sequence[Group] | None = None
) -> tuple[Portrait, ...]:
    """Return the portrait of each source that is read; `groups` are the query's, rarest first, if known."""
    order = placed(ranked(query, statistics) if groups is None else groups)
    return tuple(_portrait(query, order, source, statistics.sources.get(source, _NOTHING)) for source in query.sources)


def placed(groups: Sequence[Group]) -> tuple[Group, ...]:
    """Return groups in the order in which statements look them up: single tags first, then families, as they come."""
    return (*(one for one in groups if len(one) == 1), *(one for one in groups if len(one) != 1))


def wilson(hits: float, trials: float, z: float = Z_95) -> tuple[float, float]:
    """Return the interval of a share of which `hits` in `trials` were seen; (0, 1) without trials.

    E. B. Wilson, "Probable inference, the law of succession, and statistical inference", Journal of
    the American Statistical Association 22 (1927), recommended by Brown, Cai and DasGupta, "Interval
    estimation for a binomial proportion", Statistical Science 16 (2001). At no hits its upper end is
    z^2 / (n + z^2), a little above the 3 / n of the rule of three.
    """
    if trials <= 0:
        return 0.0, 1.0
    share, square = min(hits / trials, 1.0), z * z
    centre = share + square / (2 * trials)
    spread = z * math.sqrt(share * (1 - share) / trials + square / (4 * trials * trials))
    scale = 1 + square / trials
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def _portrait(
    query: GalleryQuery, groups: Sequence[Group], source: ContentSource, known: SourceStatistics
) -> Portrait:
    """Ask the sample group by group what is left, and scale it by the exact size of the first group."""
    sizes = tuple(float(_size(known.cardinalities, group)) for group in groups)
    trials = _trials(known.sample, groups)
    total = sizes[0] if sizes else float(known.items)
    left, passing, prior = (1 << known.sample.size) - 1, [], 1.0
    for place, group in enumerate(groups):
        left &= _carriers(known.sample, group)
        prior *= min(1.0, sizes[place] / max(known.items, 1)) if place else 1.0
        passing.append(_ratio(total, left.bit_count() if left else 0, trials, prior))
    hits = _Hits.of(query, source, known.sample, left)
    bounds = _bounds(query, groups, source, known)
    rows, low, high = _interval(hits, _Base(total, trials, prior), known, bounds)
    return Portrait(source, known.items, CREATORS_SHARE[query.scope.of(source)], sizes, tuple(passing), rows, low, high)


@dataclass(frozen=True, slots=True)
class _Base:
    """Junction rows of the first group, how many of them the sample holds, and what independence expects of the rest."""

    total: float
    trials: int
    prior: float


@dataclass(frozen=True, slots=True)
class _Hits:
    """Items of the sample that match: surely to be seen, and at most, if all private ones were the viewer's."""

    seen: int
    at_most: int

    @classmethod
    def of(cls, query: GalleryQuery, source: ContentSource, sample: Sample, left: int) -> _Hits:
        if left and query.exclude:
            left ^= left & _carriers(sample, query.exclude)
        creators = query.scope.of(source)
        every = left.bit_count() if left else 0
        if creators is Creators.MINE or not left:
            return cls(every, every)
        public = (left & sample.public).bit_count()
        return cls(public, every if creators is Creators.EVERYBODY and query.viewer is not None else public)


def _interval(
    hits: _Hits, base: _Base, known: SourceStatistics, bounds: tuple[float, float]
) -> tuple[float, float, float]:
    """Return rows, low and high."""
    if 0 < known.items <= known.sample.size:
        return float(hits.seen), float(hits.seen), float(hits.at_most)
    floor, ceiling = bounds
    low = max(floor, base.total * wilson(hits.seen, base.trials)[0])
    high = min(ceiling, base.total * wilson(hits.at_most, base.trials)[1])
    high = max(high, floor)
    rows = _ratio(base.total, hits.seen, base.trials, base.prior)
    low = min(low, high)
    return min(max(rows, low), high), low, high


def _ratio(total: float, hits: int, trials: int, prior: float) -> float:
    """Return the part of `total` that the sample hits.

    The ratio estimator of survey sampling (Cochran, "Sampling Techniques", chapter 6): what the base
    holds is known exactly, so that only the share is estimated. One trial's worth of independence
    goes with it, which decides where the sample never met the base and fades where it did.
    """
    return total * min(1.0, (hits + prior) / (trials + 1))


def _bounds(
    query: GalleryQuery, groups: Sequence[Group], source: ContentSource, known: SourceStatistics
) -> tuple[float, float]:
    """Return what the exact cardinalities leave possible (the bounds of Fréchet), private items hidden."""
    cards = known.cardinalities
    least = [max((cards.get(tag, 0) for tag in group), default=0) for group in groups]
    ceiling = min([known.items, *(_size(cards, group) for group in groups)])
    floor = sum(least) - (len(groups) - 1) * known.items - _size(cards, query.exclude)
    if query.exclude:
        ceiling = min(ceiling, known.items - max(cards.get(tag, 0) for tag in query.exclude))
    return max(0.0, floor - _hidden(query, source, known)), max(0.0, float(ceiling))


def _hidden(query: GalleryQuery, source: ContentSource, known: SourceStatistics) -> float:
    """Return how many items may be private at most; none of them is hidden from its creator."""
    if query.scope.of(source) is Creators.MINE:
        return 0.0
    sample = known.sample
    return known.items * wilson(sample.size - sample.public.bit_count(), sample.size)[1]


def _trials(sample: Sample, groups: Sequence[Group]) -> int:
    """Return how many junction rows of the first group the sample holds; without groups, its items."""
    if not groups:
        return sample.size
    return sum(sample.carriers.get(tag, 0).bit_count() for tag in groups[0])


def _carriers(sample: Sample, tags: Iterable[uuid.UUID]) -> int:
    """Return the bits of the items that carry any of the tags."""
    bits = 0
    for tag in tags:
        bits |= sample.carriers.get(tag, 0)
    return bits


def _size(cardinalities: Mapping[uuid.UUID, int], tags: Iterable[uuid.UUID]) -> int:
    return sum(cardinalities.get(tag, 0) for tag in tags)
