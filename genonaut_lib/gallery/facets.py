"""Facets: which tags the items of a filter carry, and how many of them carry each.

The counts are exact if that takes no longer than a budget. Otherwise they are drawn from a random
sample, are flagged, and say between which numbers the true ones lie.
"""

from __future__ import annotations

import functools
import time
from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from psycopg.errors import QueryCanceled
from sqlalchemy import ColumnElement, Select, and_, bindparam, cast, func, select, union_all
from sqlalchemy.types import BigInteger, Integer

from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.db.schema import content_tags, tags
from genonaut_lib.errors import InvalidInput
from genonaut_lib.gallery.bitmaps.reader import Bitmaps
from genonaut_lib.gallery.clauses import Shape, shape_of, values_of, word
from genonaut_lib.gallery.compiling import text_of
from genonaut_lib.gallery.facet_sampling import SAMPLE, FacetCount, SamplePlan, only, sample_tags
from genonaut_lib.gallery.planner import Choice
from genonaut_lib.gallery.query import NEWEST, GalleryQuery, Group
from genonaut_lib.gallery.statement import match_statement
from genonaut_lib.gallery.strategies import STRATEGIES
from genonaut_lib.vocabulary import ContentSource

MOST_FACETS = 1_000
_JOINS = "self_join"
"""The strategy for a filter whose page is best walked: whoever wants all items looks none of them up."""


@dataclass(frozen=True)
class Facets:
    """Tags of the matching items, highest count first, then by name.

    `sampled` says that the counts are scaled from `sample_size` matching items, which were drawn at
    random; a tag that none of them carries is not listed. `sample_size` is None for exact counts.
    """

    counts: tuple[FacetCount, ...] = ()
    sampled: bool = False
    sample_size: int | None = None


@dataclass(frozen=True)
class _Question:
    """A query without its page, how its items are best matched, and how many tags are wanted."""

    query: GalleryQuery
    strategy: str
    ranked: tuple[Group, ...] | None
    top: int

    @property
    def values(self) -> dict[str, Any]:
        return values_of(self.query, self.ranked) | {"top": self.top}


async def facets(
    connection: AsyncConnection,
    query: GalleryQuery,
    *,
    top: int = 50,
    budget_ms: int,
    choice: Choice | None = None,
    plan: SamplePlan = SAMPLE,
) -> Facets:
    """Return the `top` tags of all items the query means, its page and order ignored.

    Counting exactly may take `budget_ms`, and so may the sample after it; with a budget of 0 a sample
    is drawn at once. Raises InvalidInput for `top` or a budget out of range and for a choice that was
    made for another query.
    """
    _require(top, budget_ms)
    if not query.sources:
        return Facets()
    question = _question(query, choice, top)
    exact = await _exact(connection, question, budget_ms) if budget_ms else None
    if exact is not None:
        return exact
    found = await sample_tags(connection, question.query, plan, budget_ms / 1_000)
    return Facets(_highest(found.counts, top), sampled=True, sample_size=found.items)


async def exact_facets(connection: AsyncConnection, bitmaps: Bitmaps, query: GalleryQuery, top: int = 50) -> Facets:
    """Return the `top` tags as `facets` does, exactly and at once, by the tag bitmap index.

    The connection is inside a transaction that reads one snapshot. Raises BitmapsUnavailable where the
    index cannot say, and InvalidInput for `top` out of range.
    """
    _require(top, 0)
    return Facets(await bitmaps.facets(connection, unpaged(query), top) if query.sources else ())


def unpaged(query: GalleryQuery) -> GalleryQuery:
    """Return the query without what only concerns its page, so that all of its pages share a statement."""
    return replace(query, after=None, before=None, page=1, page_size=1, sort=NEWEST, stale=False)


def _require(top: int, budget_ms: int) -> None:
    if not 1 <= top <= MOST_FACETS:
        raise InvalidInput(f"top is {top}, and must be from 1 to {MOST_FACETS}.")
    if budget_ms < 0:
        raise InvalidInput(f"budget_ms is {budget_ms}; a budget is 0 or more milliseconds.")


def _question(query: GalleryQuery, choice: Choice | None, top: int) -> _Question:
    """Take over the planner's choice where it joins and may not be stale: facets are exact or flagged."""
    whole = unpaged(query)
    if choice is None or query.stale or not choice.ranked:
        return _Question(whole, _JOINS, None, top)
    if sorted(choice.ranked) != sorted(query.groups):
        raise InvalidInput("The choice was made for another query: its tags are not this one's.")
    return _Question(whole, _joining(choice.strategy, shape_of(whole)), choice.ranked, top)


def _joining(strategy: str, shape: Shape) -> str:
    """Return the chosen strategy, or another one where it would look up every item's tags one by one."""
    narrowings = [STRATEGIES[strategy].narrow(shape, source) for source in shape.sources]
    return strategy if all(found.matched is not None for found in narrowings) else _JOINS


async def _exact(connection: AsyncConnection, question: _Question, budget_ms: int) -> Facets | None:
    """Return the exact facets, None if the budget ended before they were counted.

    The server may also be told by somebody to cancel a statement; that comes before the budget's end,
    and is an error like any other.
    """
    began = time.monotonic()
    try:
        rows = await _counted(connection, question, budget_ms)
    except QueryCanceled:
        if (time.monotonic() - began) * 1_000 < budget_ms:
            raise
        return None
    return Facets(tuple(FacetCount(tag, name, count, count, count) for tag, name, count in rows))


async def _counted(connection: AsyncConnection, question: _Question, budget_ms: int) -> Sequence[tuple[Any, ...]]:
    text = exact_text(shape_of(question.query), question.strategy)
    # Rolled back, so that the timeout ends here even inside a transaction of the caller's.
    async with connection.transaction(force_rollback=True):
        await connection.execute("select set_config('statement_timeout', %s, true)", [str(budget_ms)])
        cursor = await connection.execute(text, question.values)
        return await cursor.fetchall()


@functools.cache
def exact_text(shape: Shape, strategy: str) -> bytes:
    """Return the text of the statement that counts the tags of every item of a filter."""
    branches = [select(_branch(shape, source, strategy).subquery()) for source in shape.sources]
    found = union_all(*branches).subquery("found")
    carriers: ColumnElement[int] = cast(func.sum(found.c.carriers), BigInteger).label("carriers")
    counted = select(found.c.tag_id, carriers).group_by(found.c.tag_id).subquery("counted")
    return text_of(
        select(counted.c.tag_id, tags.c.name, counted.c.carriers)
        .join_from(counted, tags, tags.c.id == counted.c.tag_id)
        .order_by(counted.c.carriers.desc(), tags.c.name.collate("C").asc())
        .limit(bindparam("top", type_=Integer))
    )


def _branch(shape: Shape, source: ContentSource, strategy: str) -> Select[Any]:
    """Return the tags of a source's matching items; the source is a constant of the branch, on both sides."""
    matched = match_statement(only(shape, source), STRATEGIES[strategy]).subquery("matched")
    link = content_tags.alias("facet")
    same_item = and_(link.c.content_id == matched.c.id, link.c.content_source == word(source.junction))
    counted = select(link.c.tag_id, func.count().label("carriers")).join_from(matched, link, same_item)
    return counted.group_by(link.c.tag_id)


def _highest(counts: Sequence[FacetCount], top: int) -> tuple[FacetCount, ...]:
    return tuple(sorted(counts, key=lambda one: (-one.count, one.name))[:top])


__all__ = [
    "MOST_FACETS", "SAMPLE", "FacetCount", "Facets", "SamplePlan", "exact_facets", "exact_text", "facets", "unpaged",
]  # fmt: skip
