"""Reading one page: the statement of a strategy, executed, its rows split into page and next position."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row
from sqlalchemy.dialects.postgresql import psycopg as psycopg_dialect

from genonaut_lib.db.engine import Connection
from genonaut_lib.gallery.query import GalleryQuery, Position
from genonaut_lib.gallery.strategies import STRATEGIES
from genonaut_lib.vocabulary import ContentSource

_DIALECT = psycopg_dialect.dialect()


@dataclass(frozen=True)
class Page:
    """The rows of one page, each a mapping by column, and the position the next page starts after."""

    rows: tuple[dict[str, Any], ...]
    next_position: Position | None

    @property
    def keys(self) -> list[str]:
        """The identity of each row, `regular/17`, in page order."""
        return [f"{ContentSource.from_partition(row['source_type']).junction}/{row['id']}" for row in self.rows]


def compiled(query: GalleryQuery, strategy: str = "time_walk") -> tuple[bytes, dict[str, Any]]:
    """Return statement text and bound values of a query under a strategy."""
    statement = STRATEGIES[strategy].statement(query).compile(dialect=_DIALECT)
    return str(statement).encode(), dict(statement.params)


def read_page(connection: Connection, query: GalleryQuery, strategy: str = "time_walk") -> Page:
    """Return the page; an empty one, without asking the database, where no source is read."""
    if not query.sources:
        return Page((), None)
    text, values = compiled(query, strategy)
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(text, values).fetchall()
    shown = tuple(rows[: query.page_size])
    return Page(shown, _position(shown[-1]) if len(rows) > query.page_size else None)


def _position(row: dict[str, Any]) -> Position:
    return Position(row["created_at"], ContentSource.from_partition(row["source_type"]), row["id"])
