"""The statement of a page or a count: a strategy's narrowing with the shared clauses, merged over both sources.

Every statement reads the partitioned parent source by source, so that the partition, the tag's source
and the keyset index are constants of each branch, and merges the branches last.
"""

from __future__ import annotations

import functools
from collections.abc import Sequence
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
    literal_column,
    select,
    union_all,
)
from sqlalchemy.dialects.postgresql import psycopg as psycopg_dialect
from sqlalchemy.types import Integer

from genonaut_lib.db.schema import content_items_all, users
from genonaut_lib.gallery.clauses import ITEM, LINK, Shape, beyond, order_by, shared, word
from genonaut_lib.gallery.strategies import STRATEGIES, Narrowing, Strategy
from genonaut_lib.vocabulary import ContentSource

COLUMNS = tuple(
    ITEM[name]
    for name in (
        "id", "source_type", "created_at", "updated_at", "title", "content_type", "creator_id", "quality_score",
        "is_private", "path_thumb", "path_thumbs_alt_res", "prompt", "item_metadata",
    )
)  # fmt: skip
_DIALECT = psycopg_dialect.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy types its dialects loosely


@functools.cache
def page_text(shape: Shape, strategy: str) -> bytes:
    """Return the text of a page's statement; `values_of` fills its names."""
    return _compiled(page_statement(shape, STRATEGIES[strategy]))


@functools.cache
def count_text(shape: Shape, strategy: str) -> bytes:
    """Return the text of the statement that counts every row of a filter, source by source."""
    return _compiled(count_statement(shape, STRATEGIES[strategy]))


def page_statement(shape: Shape, strategy: Strategy) -> Select[Any]:
    """Return the statement of a page; its rows are the page's, as they are read, and one more when there is more."""
    branches = [select(_branch(shape, strategy, source).subquery()) for source in shape.sources]
    rows = union_all(*branches).subquery("page")
    return (
        select(*rows.c, users.c.username.label("creator_username"), _tags_of(rows))
        .join_from(rows, users, users.c.id == rows.c.creator_id)
        .order_by(*order_by(shape, rows.c, across=True))
        .limit(bindparam("rows", type_=Integer))
        .offset(bindparam("offset", type_=Integer))
    )


def count_statement(shape: Shape, strategy: Strategy) -> Executable:
    """Return the statement whose rows are (partition key, number of items), one for each source that is read."""
    counts = [
        _matching(shape, strategy, source, [literal_column(f"'{source.partition}'"), func.count()])
        for source in shape.sources
    ]
    return union_all(*counts)


def match_statement(shape: Shape, strategy: Strategy) -> SelectBase:
    """Return the statement whose rows are (partition key, id) of every item a filter means, whatever the page."""
    return union_all(
        *(
            _matching(shape, strategy, source, [word(source.partition).label("source_type"), ITEM.id])
            for source in shape.sources
        )
    )


def _tags_of(rows: FromClause) -> ColumnElement[Any]:
    """Return a row's tags by the junction, which is the truth before and after the cut over; sorted."""
    junction = case({source.partition: word(source.junction) for source in ContentSource}, value=rows.c.source_type)
    carried = select(LINK.tag_id).where(LINK.content_id == rows.c.id, LINK.content_source == junction)
    return func.array(carried.order_by(LINK.tag_id).scalar_subquery()).label("tags")


def _branch(shape: Shape, strategy: Strategy, source: ContentSource) -> Select[Any]:
    return (
        _matching(shape, strategy, source, COLUMNS)
        .where(*beyond(shape, source))
        .order_by(*order_by(shape, ITEM, across=False))
        .limit(bindparam("reach", type_=Integer))
    )


def _matching(
    shape: Shape, strategy: Strategy, source: ContentSource, columns: Sequence[ColumnElement[Any]]
) -> Select[Any]:
    """Return the items of a source that the filter means, whatever the page."""
    narrowing = strategy.narrow(shape, source) if shape.singles + shape.families else Narrowing(walks=True)
    statement = select(*columns).select_from(content_items_all)
    if narrowing.matched is not None:
        statement = statement.join(narrowing.matched, narrowing.matched.c.content_id == ITEM.id)
    return statement.where(*narrowing.clauses, *shared(shape, source, walks=narrowing.walks))


def _compiled(statement: Executable) -> bytes:
    return str(statement.compile(dialect=_DIALECT)).encode()  # type: ignore[attr-defined]
