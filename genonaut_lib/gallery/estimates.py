"""How many items a filter matches: exact cardinalities of tags, and what a sample of items says of them together.

Cardinalities alone cannot tell popular tags that never meet from such that always do; the sample
alone knows nothing of rare tags. So the items that carry the first group are taken from the exact
cardinality, and the sample says only what part of them the rest of the filter leaves.
"""

from __future__ import annotations

import math
import uuid
from collections.abc import Mapping, Sequence
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


Counts = tuple[int, ...]
"""How many items of a source carry each tag of a group."""


@dataclass(frozen=True, slots=True)
class Survey:
    """A query's groups and what cardinalities say of them.

    `ranked` are the groups, rarest first over all sources that are read, equally rare ones in their own
    order; `groups` the same in the order in which statements look them up. `counts` has for each source
    the counts of those groups. `rarest_count` is how many items carry the rarest, None without groups.
    """

    ranked: tuple[Group, ...]
    groups: tuple[Group, ...]
    counts: tuple[tuple[Counts, ...], ...]
    rarest_count: int | None


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


def survey(query: GalleryQuery, statistics: Statistics | None) -> Survey:
    """Look the query's tags up in the cardinalities, each once, and rank its groups."""
    groups, sources = query.groups, statistics.sources if statistics else {}
    known = [sources.get(source, _NOTHING).cardinalities for source in query.sources]
    counts = [[_counts(one, group) for group in groups] for one in known]
    totals = [sum(sum(one[place]) for one in counts) for place in range(len(groups))]
    order = sorted(range(len(groups)), key=totals.__getitem__)
    # Statements look single tags up before families, each kind in its order of rarity.
    lookups = [*(place for place in order if len(groups[place]) == 1), *(p for p in order if len(groups[p]) != 1)]
    return Survey(
        ranked=tuple([groups[place] for place in order]),
        groups=tuple([groups[place] for place in lookups]),
        counts=tuple([tuple([one[place] for place in lookups]) for one in counts]),
        rarest_count=totals[order[0]] if order else None,
    )


def portray(query: GalleryQuery, statistics: Statistics, found: Survey | None = None) -> tuple[Portrait, ...]:
    """Return the portrait of each source that is read; `found` is the query's survey, if it was made before."""
    made = survey(query, statistics) if found is None else found
    known = [(source, statistics.sources.get(source, _NOTHING)) for source in query.sources]
    return tuple(
        _portrait(query, made.groups, counts, _Known(*one)) for counts, one in zip(made.counts, known, strict=True)
    )


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


@dataclass(frozen=True, slots=True)
class _Known:
    source: ContentSource
    statistics: SourceStatistics


def _portrait(query: GalleryQuery, groups: Sequence[Group], counts: Sequence[Counts], known: _Known) -> Portrait:
    """Ask the sample group by group what is left, and scale it by the exact size of the first group."""
    sample, items, source = known.statistics.sample, known.statistics.items, known.source
    sizes = tuple([float(sum(one)) for one in counts])
    total, trials = sizes[0] if sizes else float(items), _trials(sample, groups)
    left, passing, prior = (1 << sample.size) - 1, [], 1.0
    for place, group in enumerate(groups):
        left = left and left & _carriers(sample, group)
        prior *= sizes[place] / items if place and sizes[place] < items else 1.0
        passing.append(_ratio(total, left.bit_count(), trials, prior))
    hits, base = _Hits.of(query, source, sample, left), _Base(total, trials, prior)
    rows, low, high = _interval(hits, base, known.statistics, _bounds(query, counts, known))
    return Portrait(source, items, CREATORS_SHARE[query.scope.of(source)], sizes, tuple(passing), rows, low, high)


@dataclass(frozen=True, slots=True)
class _Base:
    """Junction rows of the first group, how many of them the sample holds, and the share independence expects."""

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
    return total * ((hits + prior) / (trials + 1))


def _bounds(query: GalleryQuery, counts: Sequence[Counts], known: _Known) -> tuple[float, float]:
    """Return what the exact cardinalities leave possible (the bounds of Fréchet), private items hidden."""
    items = known.statistics.items
    excluded = [known.statistics.cardinalities.get(tag, 0) for tag in query.exclude]
    floor = sum(max(one, default=0) for one in counts) - (len(counts) - 1) * items - sum(excluded)
    ceiling = min([items - max(excluded, default=0), *(sum(one) for one in counts)])
    hidden = 0.0 if query.scope.of(known.source) is Creators.MINE else _hidden(known.statistics)
    return max(0.0, floor - hidden), max(0.0, float(ceiling))


def _hidden(known: SourceStatistics) -> float:
    """Return how many items may be private at most."""
    return known.items * wilson(known.sample.size - known.sample.public.bit_count(), known.sample.size)[1]


def _trials(sample: Sample, groups: Sequence[Group]) -> int:
    """Return how many junction rows of the first group the sample holds; without groups, its items."""
    if not groups:
        return sample.size
    return sum(sample.carriers.get(tag, 0).bit_count() for tag in groups[0])


def _carriers(sample: Sample, tags: Group) -> int:
    """Return the bits of the items that carry any of the tags."""
    if len(tags) == 1:
        return sample.carriers.get(tags[0], 0)
    bits = 0
    for tag in tags:
        bits |= sample.carriers.get(tag, 0)
    return bits


def _counts(cardinalities: Mapping[uuid.UUID, int], tags: Group) -> Counts:
    if len(tags) == 1:
        return (cardinalities.get(tags[0], 0),)
    return tuple([cardinalities.get(tag, 0) for tag in tags])
