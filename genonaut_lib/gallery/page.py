"""Reading one page: the statement of a strategy, executed, its rows split into page and next position."""

from __future__ import annotations

import functools
from dataclasses import dataclass
from typing import Any

from psycopg.rows import dict_row
from sqlalchemy.dialects.postgresql import psycopg as psycopg_dialect

from genonaut_lib.db.engine import Connection
from genonaut_lib.gallery.query import GalleryQuery, Position
from genonaut_lib.gallery.strategies import STRATEGIES, Shape, shape_of, values_of
from genonaut_lib.vocabulary import ContentSource

_DIALECT = psycopg_dialect.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy types its dialects loosely


@dataclass(frozen=True)
class Page:
    """The rows of one page, each a mapping by column, and the position the next page starts after."""

    rows: tuple[dict[str, Any], ...]
    next_position: Position | None

    @property
    def keys(self) -> list[str]:
        """The identity of each row, `regular/17`, in page order."""
        return [f"{ContentSource.from_partition(row['source_type']).junction}/{row['id']}" for row in self.rows]


@functools.cache
def compiled(shape: Shape, strategy: str = "time_walk") -> bytes:
    """Return the statement text of a shape under a strategy; `values_of` fills its names."""
    return str(STRATEGIES[strategy].statement(shape).compile(dialect=_DIALECT)).encode()


def read_page(connection: Connection, query: GalleryQuery, strategy: str = "time_walk") -> Page:
    """Return the page; an empty one, without asking the database, where no source is read."""
    if not query.sources:
        return Page((), None)
    text = compiled(shape_of(query), strategy)
    with connection.cursor(row_factory=dict_row) as cursor:
        rows = cursor.execute(text, values_of(query)).fetchall()
    shown = tuple(rows[: query.page_size])
    return Page(shown, _position(shown[-1]) if len(rows) > query.page_size else None)


def _position(row: dict[str, Any]) -> Position:
    return Position(row["created_at"], ContentSource.from_partition(row["source_type"]), row["id"])
