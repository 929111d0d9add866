"""The oracle: a page of the gallery by a statement that shares nothing with any strategy.

One correlated EXISTS for each group of tags, everything sorted, cut by OFFSET. It is as slow as it is
plain, and what the strategies show is compared with it.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg import errors, sql
from psycopg.rows import TupleRow

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import InvalidInput
from genonaut_lib.gallery.order import NEWEST
from genonaut_lib.gallery.query import Creators, GalleryQuery
from genonaut_lib.vocabulary import ContentSource

CREATORS = {
    Creators.MINE: sql.SQL("c.creator_id = %(viewer)s"),
    Creators.COMMUNITY: sql.SQL("c.creator_id <> %(viewer)s"),
    Creators.EVERYBODY: sql.SQL("true"),
}


@dataclass(frozen=True)
class Counted:
    """A first page by the identity of each row, and how many items there are in all."""

    keys: tuple[str, ...]
    total: int


def read_counted(connection: Connection, query: GalleryQuery, timeout_s: float) -> Counted | None:
    """Return a first page and the exact total from one statement; None when it takes too long.

    Raises InvalidInput for what the oracle cannot say: see `read_keys`; and for another page than the first.
    """
    _require_plain(query)
    if query.page != 1:
        raise InvalidInput("The plain gallery counts with the first page only.")
    if not query.sources:
        return Counted((), 0)
    rows = _read(connection, *page_statement(query, "counted_page"), timeout_s)
    return None if rows is None else Counted(_keys(rows), rows[0][2] if rows else 0)


def read_keys(connection: Connection, query: GalleryQuery, timeout_s: float) -> tuple[str, ...] | None:
    """Return the identity of each row of a page, `regular/17`, in page order; None when it takes too long.

    The page is the first one or has a number. Raises InvalidInput for what the oracle cannot say:
    a search, another order than newest first, a position.
    """
    _require_plain(query)
    if not query.sources:
        return ()
    rows = _read(connection, *page_statement(query), timeout_s)
    return None if rows is None else _keys(rows)


def page_statement(query: GalleryQuery, name: str = "page") -> tuple[sql.Composed, dict[str, Any]]:
    """Return the statement of a page, without or with the total, and its bound values."""
    values: dict[str, Any] = {
        "viewer": query.viewer,
        "limit": query.page_size,
        "offset": (query.page - 1) * query.page_size,
    }
    branches = [
        block("plain_gallery", "branch").sql(
            partition=sql.Literal(source.partition),
            creator=CREATORS[query.scope.of(source)],
            tags=_tags_clause(query, source, values),
        )
        for source in query.sources
    ]
    return block("plain_gallery", name).sql(branches=sql.SQL(" union all ").join(branches)), values


def _require_plain(query: GalleryQuery) -> None:
    if query.search or query.sort != NEWEST or query.position is not None:
        raise InvalidInput("The plain gallery knows neither search, nor other orders, nor positions.")


def _read(
    connection: Connection, statement: sql.Composed, values: dict[str, Any], timeout_s: float
) -> list[TupleRow] | None:
    try:
        with connection.transaction():
            limit = {"statement_timeout": f"{int(timeout_s * 1000)}ms"}
            connection.execute(block("gallery_bench", "limit_reads").sql(), limit)
            return connection.execute(statement, values).fetchall()
    except errors.QueryCanceled:
        return None


def _keys(rows: list[TupleRow]) -> tuple[str, ...]:
    return tuple(f"{ContentSource.from_partition(row[0]).junction}/{row[1]}" for row in rows)


def _tags_clause(query: GalleryQuery, source: ContentSource, values: dict[str, Any]) -> sql.Composable:
    clauses: list[sql.Composable] = [sql.SQL("true")]
    for place, group in enumerate(query.groups):
        clauses.append(_carries(source, f"group_{place}"))
        values[f"group_{place}"] = list(group)
    if query.exclude:
        clauses.append(sql.SQL("not ") + _carries(source, "exclude"))
        values["exclude"] = list(query.exclude)
    return sql.SQL(" and ").join(clauses)


def _carries(source: ContentSource, name: str) -> sql.Composed:
    junction = sql.Literal(source.junction)
    return block("plain_gallery", "carries").sql(junction=junction, wanted=sql.Placeholder(name))
