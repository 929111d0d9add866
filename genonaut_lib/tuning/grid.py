"""A grid of questions for a gallery: how many tags, how often used, how often together, whose items, which page.

Chosen from the statistics alone: the same statistics, size and seed give the same grid.
"""

from __future__ import annotations

import enum
import itertools
import random
import uuid
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from genonaut_lib.errors import CheckFailed
from genonaut_lib.gallery.query import EVERYTHING, MINE, Creators, GalleryQuery, Scope, TagMatch
from genonaut_lib.gallery.statistics import Statistics
from genonaut_lib.tuning.cases import DEEP_PAGE, PAGE_SIZE
from genonaut_lib.tuning.tag_pools import Cardinality, Correlation, TagPools

LEVELS = (1, 2, 3, 5, 8, 12, 20)
"""Numbers of tags; 20 is the most a query may name by default."""

HARD_LEVELS = (1, 2, 3, 5, 10, 20)
"""Numbers of tags of the adversarial grid."""


class Use(enum.StrEnum):
    """What is done with the tags: any of them, all of them, or all of some and none of the others."""

    ANY = "any"
    ALL = "all"
    EXCLUDE = "exclude"


class Whose(enum.StrEnum):
    """Whose items are asked for, of both sources."""

    EVERYBODY = "everybody"
    MINE = "mine"
    COMMUNITY = "community"


SCOPES = {
    Whose.EVERYBODY: EVERYTHING,
    Whose.MINE: MINE,
    Whose.COMMUNITY: Scope(Creators.COMMUNITY, Creators.COMMUNITY),
}


class Reach(enum.StrEnum):
    """How the page is reached: the first one, a deep one by its number, the same by a cursor."""

    FIRST = "first page"
    NUMBER = "deep page by number"
    CURSOR = "deep page by cursor"


PAGES = (Reach.FIRST, Reach.FIRST, Reach.NUMBER, Reach.CURSOR)
"""Every second page is a first one."""

HARD_KINDS = (
    (Cardinality.POPULAR, Correlation.INDEPENDENT),
    (Cardinality.MIDDLING, Correlation.INDEPENDENT),
    (Cardinality.RARE, Correlation.INDEPENDENT),
    (Cardinality.POPULAR, Correlation.APART),
)
"""Tags of the adversarial grid; the last are popular and hardly ever meet, which is what hurts walks and joins most."""


@dataclass(frozen=True)
class Traits:
    """Where in the grid a question lies."""

    tags: int
    cardinality: Cardinality
    correlation: Correlation
    use: Use
    whose: Whose
    reach: Reach

    def __str__(self) -> str:
        """Return the traits in words: `all of 3 popular tags that meet often, mine, first page`."""
        return f"{self._tags}, {self.whose}, {self.reach}"

    @property
    def _tags(self) -> str:
        excludes = self.use is Use.EXCLUDE
        if self.tags == 1:
            return f"{'without ' if excludes else ''}one {self.cardinality} tag"
        which = f"{self.tags} {self.cardinality} tags {self.correlation}"
        return f"two thirds of {which} without the rest" if excludes else f"{self.use} of {which}"


@dataclass(frozen=True)
class GridCase:
    """One question with a name of its own.

    A deep page is given by its number, also where `reach` says that it is to be read by a cursor: the
    position before it is not known without asking; see `timed_reads.Reader.positioned`.
    """

    name: str
    query: GalleryQuery
    reach: Reach = Reach.FIRST
    traits: Traits | None = None


def grid(
    statistics: Statistics, size: int = 200, seed: int = 1, *, viewers: Sequence[uuid.UUID] = ()
) -> tuple[GridCase, ...]:
    """Return up to `size` different questions, evenly spread over the numbers of tags.

    `viewers` are those who ask for their own items and for the community's; without any, everybody's
    items are asked for only. Raises CheckFailed where the statistics know of no tag.
    """
    dice = random.Random(seed)  # noqa: S311  # a choice that can be repeated, not a secret
    pools = _pools_of(statistics)
    found: dict[tuple[GalleryQuery, Reach], GridCase] = {}
    for traits in _spread(len(pools.ranked), bool(viewers), dice):
        if len(found) == size:
            break
        query = _query(traits, pools, viewers, dice)
        found.setdefault((query, traits.reach), GridCase(f"{len(found) + 1:03} {traits}", query, traits.reach, traits))
    return tuple(found.values())


def adversarial(statistics: Statistics, seed: int = 1, *, viewers: Sequence[uuid.UUID] = ()) -> tuple[GridCase, ...]:
    """Return first pages of every number of tags, kind of tags, use and scope there is, each once.

    With viewers 198 questions, fewer where a gallery has fewer tags. Raises CheckFailed where the
    statistics know of no tag.
    """
    dice = random.Random(seed)  # noqa: S311  # a choice that can be repeated, not a secret
    pools = _pools_of(statistics)
    hardest = _hardest(len(pools.ranked), with_viewers=bool(viewers))
    found = [(traits, _query(traits, pools, viewers, dice)) for traits in hardest]
    return tuple(GridCase(f"{no:03} {traits}", query, traits=traits) for no, (traits, query) in enumerate(found, 1))


def _hardest(known: int, *, with_viewers: bool) -> Iterator[Traits]:
    whose = list(Whose) if with_viewers else [Whose.EVERYBODY]
    for tags in (level for level in HARD_LEVELS if level <= known):
        # One tag is any of itself and all of itself, and meets itself.
        kinds, uses = (HARD_KINDS, list(Use)) if tags > 1 else (HARD_KINDS[:-1], [Use.ALL, Use.EXCLUDE])
        for (cardinality, correlation), use, one in itertools.product(kinds, uses, whose):
            yield Traits(tags, cardinality, correlation, use, one, Reach.FIRST)


def _pools_of(statistics: Statistics) -> TagPools:
    pools = TagPools(statistics)
    if not pools.ranked:
        raise CheckFailed("The statistics know of no tag in use.", hint="Run 50_refresh_tag_stats first.")
    return pools


def _spread(known: int, with_viewers: bool, dice: random.Random) -> Iterator[Traits]:
    """Yield every combination of traits, numbers of tags in turn, each number's in a random order."""
    columns = []
    for tags in LEVELS:
        if tags <= known:
            column = list(_combinations(tags, with_viewers))
            dice.shuffle(column)
            columns.append(column)
    for row in itertools.zip_longest(*columns):
        yield from (traits for traits in row if traits is not None)


def _combinations(tags: int, with_viewers: bool) -> Iterator[Traits]:
    whose = list(Whose) if with_viewers else [Whose.EVERYBODY]
    cardinalities = [one for one in Cardinality if tags > 1 or one is not Cardinality.MIXED]
    correlations = list(Correlation) if tags > 1 else [Correlation.INDEPENDENT]
    uses = list(Use) if tags > 1 else [Use.ALL, Use.EXCLUDE]
    for traits in itertools.product([tags], cardinalities, correlations, uses, whose, PAGES):
        yield Traits(*traits)


def _query(traits: Traits, pools: TagPools, viewers: Sequence[uuid.UUID], dice: random.Random) -> GalleryQuery:
    tags = pools.pick(traits.tags, traits.cardinality, traits.correlation, dice)
    dropped = -(-len(tags) // 3) if traits.use is Use.EXCLUDE else 0
    wanted, exclude = tags[dropped:], tags[:dropped]
    match = TagMatch.ANY if traits.use is Use.ANY else TagMatch.ALL
    page = 1 if traits.reach is Reach.FIRST else _deep_page(pools.matching(wanted, match))
    # Everybody's items are asked for by strangers as well as by those who are logged in.
    viewer = dice.choice([*viewers, None] if traits.whose is Whose.EVERYBODY else viewers)
    return GalleryQuery(
        tuple(wanted),
        match,
        viewer=viewer,
        scope=SCOPES[traits.whose],
        page_size=PAGE_SIZE,
        page=page,
        exclude=tuple(exclude),
    )


def _deep_page(matching: float) -> int:
    """Return a page half way through what matches, at most DEEP_PAGE."""
    return max(2, min(DEEP_PAGE, int(matching / 2) // PAGE_SIZE))
