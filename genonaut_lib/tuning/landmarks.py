"""Single questions with a figure of their own to meet: the popular tag, its thousandth page, any single tag."""

from __future__ import annotations

import uuid
from dataclasses import dataclass

from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.gallery.statistics import Statistics
from genonaut_lib.tuning.cases import PAGE_SIZE
from genonaut_lib.tuning.grid import GridCase, Reach
from genonaut_lib.tuning.tag_pools import TagPools

FAR_PAGE = 1_000
SINGLE_TAGS = 60
"""How many single tags are read, from the most used to the least, evenly by rank and by its logarithm."""
SHOWN = 0.85
"""About the share of a tag's items that a stranger sees; private ones are counted and not shown."""


@dataclass(frozen=True)
class Landmarks:
    """The popular tag's first page, a far page of it, and single tags of every cardinality."""

    popular: GridCase
    far: GridCase
    singles: tuple[GridCase, ...]

    @property
    def cases(self) -> list[GridCase]:
        """All of them."""
        return [self.popular, self.far, *self.singles]


def landmarks(statistics: Statistics) -> Landmarks:
    """Return the landmarks of a gallery; on a small one the far page is its last whole one."""
    ranked = TagPools(statistics).ranked
    uses = sum(source.cardinalities.get(ranked[0], 0) for source in statistics.sources.values())
    far = max(2, min(FAR_PAGE, int(uses * SHOWN) // PAGE_SIZE))
    return Landmarks(
        popular=GridCase("one popular tag", _single(ranked[0])),
        far=GridCase(f"one popular tag, page {far} by cursor", _single(ranked[0], far), Reach.CURSOR),
        singles=tuple(GridCase(f"single tag of rank {place + 1}", _single(ranked[place])) for place in _ranks(ranked)),
    )


def _single(tag: uuid.UUID, page: int = 1) -> GalleryQuery:
    return GalleryQuery((tag,), page_size=PAGE_SIZE, page=page)


def _ranks(ranked: list[uuid.UUID]) -> list[int]:
    """Return places of the ranking: all of a short one, else half evenly and half by logarithm."""
    if len(ranked) <= SINGLE_TAGS:
        return list(range(len(ranked)))
    half, last = SINGLE_TAGS // 2, len(ranked) - 1
    evenly = {round(last * step / (half - 1)) for step in range(half)}
    by_logarithm = {round((last + 1) ** (step / (half - 1))) - 1 for step in range(half)}
    return sorted(evenly | by_logarithm)
