"""Counting tags in a random sample of the items that a filter means.

Ids are drawn evenly from all between a source's least and greatest, those without an item and those
of items that do not match included. So the share of drawn ids that lead to a matching item with a
tag tells how many such items there are, and nothing else about the tables has to be known.
"""

from __future__ import annotations

import functools
import itertools
import math
import random
import time
import uuid
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from sqlalchemy import Select, and_, any_, bindparam, cast, func, null, select, union_all
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Integer, Text, Uuid

from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.db.schema import content_tags, tags
from genonaut_lib.gallery.clauses import ITEM, Shape, shape_of, values_of, word
from genonaut_lib.gallery.compiling import text_of
from genonaut_lib.gallery.query import Creators, GalleryQuery, Scope
from genonaut_lib.gallery.statement import match_statement
from genonaut_lib.gallery.strategies import STRATEGIES
from genonaut_lib.vocabulary import ContentSource

_Z = 1.96
"""The quantile of the normal distribution for 95 of 100 cases."""
_LOOKS_UP = "time_walk"
"""The strategy that asks of each item by itself whether it carries the tags."""


@dataclass(frozen=True)
class FacetCount:
    """How many of the matching items carry a tag.

    Exact where `low` and `high` equal `count`; from a sample the true number lies between them in 95
    of 100 cases.
    """

    tag_id: uuid.UUID
    name: str
    count: int
    low: int
    high: int


@dataclass(frozen=True)
class SamplePlan:
    """How a sample is drawn: `batch` ids at a time, until `enough` items match or `most` ids were drawn.

    The same `seed` draws the same ids; None draws others each time.
    """

    batch: int = 200
    enough: int = 2_000
    most: int = 50_000
    seed: int | None = None


SAMPLE = SamplePlan()


@dataclass(frozen=True)
class Sampled:
    """How many matching items were drawn, and the scaled counts of their tags, in no order."""

    items: int
    counts: tuple[FacetCount, ...]


@dataclass
class _Tally:
    drawn: int = 0
    items: int = 0
    carriers: Counter[tuple[uuid.UUID, str]] = field(default_factory=Counter)

    def add(self, drawn: int, rows: Sequence[tuple[Any, ...]]) -> None:
        self.drawn += drawn
        for tag, name, number in rows:
            if tag is None:
                self.items += number
            else:
                self.carriers[tag, name] += number

    def scaled(self, width: int) -> tuple[FacetCount, ...]:
        return tuple(
            FacetCount(tag, name, round(width * hits / self.drawn), *interval(hits, self.drawn, width))
            for (tag, name), hits in self.carriers.items()
        )


async def sample_tags(connection: AsyncConnection, query: GalleryQuery, plan: SamplePlan, budget_s: float) -> Sampled:
    """Return what a sample says of the tags of a query's items; one batch is drawn whatever the budget.

    A batch looks up a bounded number of items, by key, so that it needs no timeout.
    """
    until = time.monotonic() + budget_s
    ranges = await _ranges(connection, query.sources)
    tally, shape, values = _Tally(), shape_of(query), values_of(query)
    for ids in _draws(ranges, plan):
        cursor = await connection.execute(_sample_text(shape), values | {_name(one): ids[one] for one in ids})
        tally.add(sum(map(len, ids.values())), await cursor.fetchall())
        if tally.items >= plan.enough or time.monotonic() >= until:
            break
    return Sampled(tally.items, tally.scaled(_width(ranges)))


def interval(hits: int, drawn: int, width: int) -> tuple[int, int]:
    """Return between which numbers the hits among `width` places lie, if `drawn` of them had `hits`.

    Wilson's score interval (1927), which holds for rare tags too; it is cut to what was seen, since no
    place is drawn twice.
    """
    square = _Z * _Z
    centre = hits + square / 2
    half = _Z * math.sqrt(hits * (drawn - hits) / drawn + square / 4)
    low, high = (width * (centre + end) / (drawn + square) for end in (-half, half))
    return max(hits, math.floor(low)), min(width - (drawn - hits), math.ceil(high))


def only(shape: Shape, source: ContentSource) -> Shape:
    """Return the shape that reads one source of a shape's."""
    creators = {one: shape.scope.of(one) if one is source else Creators.NOBODY for one in ContentSource}
    return replace(shape, scope=Scope(creators[ContentSource.REGULAR], creators[ContentSource.AUTO]))


async def _ranges(connection: AsyncConnection, sources: tuple[ContentSource, ...]) -> Mapping[ContentSource, range]:
    """Return all ids of each source between its least and its greatest; none for an empty source."""
    cursor = await connection.execute(_ranges_text(sources))
    bounds = {ContentSource.from_partition(key): ends for key, *ends in await cursor.fetchall()}
    return {one: range(ends[0], ends[1] + 1) for one, ends in bounds.items() if ends[0] is not None}


def _draws(ranges: Mapping[ContentSource, range], plan: SamplePlan) -> Iterator[Mapping[ContentSource, list[int]]]:
    """Yield batches of ids by source, every id of every source as likely as any other, none twice."""
    places = _places(_width(ranges), plan)
    while batch := list(itertools.islice(places, plan.batch)):
        yield _by_source(ranges, batch)


def _places(width: int, plan: SamplePlan) -> Iterator[int]:
    """Yield distinct places one by one: most samples end long before the most that may be drawn."""
    dice = random.Random(plan.seed)  # noqa: S311  # a sample is no secret
    seen: set[int] = set()
    while len(seen) < min(plan.most, width):
        place = dice.randrange(width)
        if place not in seen:
            seen.add(place)
            yield place


def _by_source(ranges: Mapping[ContentSource, range], places: Sequence[int]) -> Mapping[ContentSource, list[int]]:
    """Return the ids of places, which count through the ids of one source after those of the other."""
    drawn: dict[ContentSource, list[int]] = {source: [] for source in ContentSource}
    start = 0
    for source, ids in ranges.items():
        drawn[source] = [ids[place - start] for place in places if start <= place < start + len(ids)]
        start += len(ids)
    return drawn


def _width(ranges: Mapping[ContentSource, range]) -> int:
    return sum(map(len, ranges.values()))


def _name(source: ContentSource) -> str:
    return f"{source.junction}_ids"


@functools.cache
def _ranges_text(sources: tuple[ContentSource, ...]) -> bytes:
    ends = (func.min(ITEM.id), func.max(ITEM.id))
    keys = [word(source.partition) for source in sources]
    return text_of(union_all(*(select(key, *ends).where(ITEM.source_type == key) for key in keys)))


@functools.cache
def _sample_text(shape: Shape) -> bytes:
    """Rows are (tag, name, its carriers), and one without a tag that counts the items, those without tags included."""
    drawn = union_all(*(_drawn(shape, source) for source in shape.sources)).cte("drawn")
    link = content_tags.alias("facet")
    same_item = and_(link.c.content_id == drawn.c.id, link.c.content_source == drawn.c.content_source)
    carried = select(link.c.tag_id, func.count().label("carriers")).join_from(drawn, link, same_item)
    counted = carried.group_by(link.c.tag_id).subquery("counted")
    named = select(counted.c.tag_id, tags.c.name, counted.c.carriers).join_from(
        counted, tags, tags.c.id == counted.c.tag_id
    )
    size = select(cast(null(), Uuid), cast(null(), Text), func.count()).select_from(drawn)
    return text_of(union_all(size, named))


def _drawn(shape: Shape, source: ContentSource) -> Select[Any]:
    matched = match_statement(only(shape, source), STRATEGIES[_LOOKS_UP]).subquery("matched")
    ids = bindparam(_name(source), type_=ARRAY(Integer))
    return select(word(source.junction).label("content_source"), matched.c.id).where(matched.c.id == any_(ids))
