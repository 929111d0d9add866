"""A gallery on paper: items as values, and the statistics that a refresh would make of them."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

from hypothesis import strategies as st

from genonaut_lib.gallery.order import Sort, SortField
from genonaut_lib.gallery.query import Creators, GalleryQuery, Scope, TagMatch
from genonaut_lib.gallery.statistics import Sample, SourceStatistics, Statistics
from genonaut_lib.vocabulary import ContentSource

REGULAR, AUTO = ContentSource.REGULAR, ContentSource.AUTO
REFRESHED = datetime(2031, 7, 9, 11, 13, 17, tzinfo=UTC)
TAGS = tuple(uuid.UUID(int=number) for number in range(1, 31))
VIEWER = uuid.UUID(int=99)
REGULAR_ONLY = Scope(auto=Creators.NOBODY)


@dataclass(frozen=True)
class Item:
    """An item of the paper gallery; nobody but its creator sees a private one."""

    source: ContentSource
    tags: frozenset[uuid.UUID]
    private: bool = False


def statistics_of(items: Sequence[Item], *, every: int = 1) -> Statistics:
    """Return the statistics of a gallery, with each `every`-th item in the sample."""
    return Statistics(
        {source: _source([one for one in items if one.source is source], every) for source in ContentSource}, REFRESHED
    )


def _source(items: Sequence[Item], every: int) -> SourceStatistics:
    sampled = items[::every]
    carriers: dict[uuid.UUID, int] = {}
    for bit, item in enumerate(sampled):
        for tag in item.tags:
            carriers[tag] = carriers.get(tag, 0) | 1 << bit
    public = sum(1 << bit for bit, item in enumerate(sampled) if not item.private)
    return SourceStatistics(
        len(items), Counter(tag for item in items for tag in item.tags), Sample(len(sampled), public, carriers)
    )


def known(items: int, cardinalities: Mapping[uuid.UUID, int], *, size: int = 1_000) -> Statistics:
    """Return statistics of the regular source whose tags fall independently of each other.

    The sample holds `size` items; which of them carry a tag is drawn with a fixed seed for its place.
    """
    carriers = {tag: _spread(place, size, count / items) for place, (tag, count) in enumerate(cardinalities.items())}
    sample = Sample(size, (1 << size) - 1, {tag: bits for tag, bits in carriers.items() if bits})
    return Statistics({REGULAR: SourceStatistics(items, cardinalities, sample)}, REFRESHED)


def _spread(place: int, size: int, share: float) -> int:
    """Return bits of about `share` of the sample, the same for the same place."""
    draw = random.Random(place + 1)
    return sum(1 << bit for bit in range(size) if draw.random() < share)


def matches(item: Item, query: GalleryQuery) -> bool:
    """Say whether a public item, or one that its viewer did not make, is one the filter means; scope aside."""
    carried = all(item.tags & set(group) for group in query.groups)
    return carried and not item.tags & set(query.exclude) and not item.private and item.source in query.sources


tag_sets = st.frozensets(st.sampled_from(TAGS[:6]), max_size=4)
items_of_a_gallery = st.lists(st.builds(Item, st.sampled_from(ContentSource), tag_sets, st.booleans()), max_size=60)
queries = st.builds(
    GalleryQuery,
    tags=tag_sets.map(tuple),
    match=st.sampled_from(TagMatch),
    viewer=st.just(VIEWER),
    scope=st.builds(Scope, st.sampled_from(Creators), st.sampled_from(Creators)),
    page_size=st.integers(1, 1_000),
    page=st.integers(1, 50),
    exclude=tag_sets.map(tuple),
    families=st.lists(st.frozensets(st.sampled_from(TAGS), min_size=2, max_size=5).map(tuple), max_size=2).map(tuple),
    search=st.sampled_from(["", "a cat"]),
    sort=st.builds(Sort, st.sampled_from(SortField), st.booleans()),
    stale=st.booleans(),
)
"""Queries of any kind, impossible page numbers included."""


def _samples() -> st.SearchStrategy[Sample]:
    bits = st.integers(0, (1 << 40) - 1)
    return st.builds(Sample, st.just(40), bits, st.dictionaries(st.sampled_from(TAGS), bits.filter(bool), max_size=8))


statistics_of_any_kind = st.none() | st.builds(
    Statistics,
    st.dictionaries(
        st.sampled_from(ContentSource),
        st.builds(
            SourceStatistics,
            st.integers(0, 10**9),
            st.dictionaries(st.sampled_from(TAGS), st.integers(0, 10**9), max_size=10),
            st.just(Sample()) | _samples(),
        ),
    ),
    st.none() | st.just(REFRESHED),
)
"""Statistics of any kind, such as contradict themselves included."""
