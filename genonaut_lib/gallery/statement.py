"""The statement of a page or a count: a strategy's narrowing with the shared clauses, merged over both sources.

Every statement reads source by source, so that the partition, the tag's source and the keyset index
are constants of each branch, and merges the branches last. What only a shown row needs, its tags and
its creator's name, is looked up after that.
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import Any

from sqlalchemy import (
    ColumnElement,
    Executable,
    FromClause,
    Select,
    SelectBase,
    bindparam,
    case,
    func,
    select,
    true,
    union_all,
)
from sqlalchemy.dialects.postgresql import psycopg as psycopg_dialect
from sqlalchemy.types import Integer

from genonaut_lib.db.schema import users
from genonaut_lib.gallery.clauses import LINK, Shape, beyond, fenced, order_by, shared, word
from genonaut_lib.gallery.order import NEWEST
from genonaut_lib.gallery.strategies import STRATEGIES, Narrowing, Strategy
from genonaut_lib.vocabulary import ContentSource

COLUMNS = (
    "id", "source_type", "created_at", "updated_at", "title", "content_type", "creator_id", "quality_score",
    "is_private", "path_thumb", "path_thumbs_alt_res", "prompt", "item_metadata",
)  # fmt: skip
KEPT = 2_048
"""Statements kept compiled of either kind, some 10 KB each; making one takes milliseconds."""
_DIALECT = psycopg_dialect.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy types its dialects loosely


@functools.lru_cache(KEPT)
def page_text(shape: Shape, strategy: str) -> bytes:
    """Return the text of a page's statement; `values_of` fills its names."""
    return _compiled(page_statement(shape, STRATEGIES[strategy]))


def count_text(shape: Shape, strategy: str) -> bytes:
    """Return the text of the statement that counts every row of a filter, source by source.

    Where the page lies and how it is sorted plays no part.
    """
    return _count_text(replace(shape, sort=NEWEST, backwards=False, from_source=None, from_null=False), strategy)


@functools.lru_cache(KEPT)
def _count_text(shape: Shape, strategy: str) -> bytes:
    return _compiled(count_statement(shape, STRATEGIES[strategy]))


def page_statement(shape: Shape, strategy: Strategy) -> Select[Any]:
    """Return the statement of a page; its rows are the page's, as they are read, and one more when there is more."""
    return paged(shape, [select(_branch(shape, strategy, source).subquery()) for source in shape.sources])


def paged(shape: Shape, branches: Sequence[Select[Any]]) -> Select[Any]:
    """Return a page of what the branches of both sources found, with what only a shown row needs."""
    found = union_all(*branches).subquery("found")
    page = (
        select(found)
        .order_by(*order_by(shape, found.c, across=True))
        .limit(bindparam("rows", type_=Integer))
        .offset(bindparam("offset", type_=Integer))
        .subquery("page")
    )
    return select(page, _creator_of(page), _tags_of(page)).order_by(*order_by(shape, page.c, across=True))


def count_statement(shape: Shape, strategy: Strategy) -> Executable:
    """Return the statement whose rows are (partition key, number of items), one for each source that is read."""
    return union_all(*(_matching(shape, strategy, source, lambda _: func.count()) for source in shape.sources))


def match_statement(shape: Shape, strategy: Strategy) -> SelectBase:
    """Return the statement whose rows are (partition key, id) of every item a filter means, whatever the page."""
    return union_all(*(_matching(shape, strategy, source, lambda items: items.c.id) for source in shape.sources))


def _creator_of(rows: FromClause) -> ColumnElement[Any]:
    return select(users.c.username).where(users.c.id == rows.c.creator_id).scalar_subquery().label("creator_username")


def _tags_of(rows: FromClause) -> ColumnElement[Any]:
    """Return a row's tags by the junction, which is the truth before and after the cut over; sorted."""
    regular, auto = ContentSource.REGULAR, ContentSource.AUTO
    junction = case((rows.c.source_type == word(regular.partition), word(regular.junction)), else_=word(auto.junction))
    carried = select(LINK.tag_id).where(LINK.content_id == rows.c.id, LINK.content_source == junction)
    return func.array(carried.order_by(LINK.tag_id).scalar_subquery()).label("tags")


def _branch(shape: Shape, strategy: Strategy, source: ContentSource) -> Select[Any]:
    """Return the rows of one source that may stand on the page."""
    narrowing = _narrowing(shape, strategy, source)
    items = narrowing.items
    rows = (
        select(*(items.c[name] for name in COLUMNS))
        .select_from(items)
        .where(*narrowing.clauses, *shared(shape, source, walks=True, items=items), *beyond(shape, source, items))
    )
    if narrowing.matched is not None:
        rows = _fetched(rows, narrowing)
    columns = items.c if narrowing.matched is None else rows.selected_columns
    return rows.order_by(*order_by(shape, columns, across=False)).limit(bindparam("reach", type_=Integer))


def _fetched(rows: Select[Any], narrowing: Narrowing) -> Select[Any]:
    """Return the matched items, each looked up by its id.

    PostgreSQL misjudges how many items carry correlated tags; free to choose, it would then read the
    whole table for a few of them, or walk it by date in vain.
    """
    matched = narrowing.matched
    assert matched is not None
    item = fenced(rows.where(narrowing.items.c.id == matched.c.content_id)).lateral("item")
    return select(*item.c).select_from(matched.join(item, true()))


def _matching(
    shape: Shape, strategy: Strategy, source: ContentSource, wanted: Callable[[FromClause], ColumnElement[Any]]
) -> Select[Any]:
    """Return what is `wanted` of the items of a source that the filter means, beside its partition key."""
    narrowing = _narrowing(shape, strategy, source)
    items, matched = narrowing.items, narrowing.matched
    columns: list[ColumnElement[Any]] = [word(source.partition).label("source_type"), wanted(items)]
    rows: Select[Any] = select(*columns).select_from(items)
    if matched is not None:
        rows = rows.join(matched, matched.c.content_id == items.c.id)
    return rows.where(*narrowing.clauses, *shared(shape, source, walks=narrowing.walks, items=items))


def _narrowing(shape: Shape, strategy: Strategy, source: ContentSource) -> Narrowing:
    """Return how the strategy narrows a source; without tags there is nothing to narrow by."""
    return strategy.narrow(shape, source) if shape.singles + shape.families else Narrowing(walks=True)


def _compiled(statement: Executable) -> bytes:
    return str(statement.compile(dialect=_DIALECT)).encode()  # type: ignore[attr-defined]
