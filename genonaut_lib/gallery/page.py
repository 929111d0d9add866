"""Reading one page: the statement of a strategy, executed, its rows split into page and neighbours."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg import errors
from psycopg.rows import dict_row

from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.errors import InvalidInput, ViewMissing
from genonaut_lib.gallery.clauses import shape_of, values_of
from genonaut_lib.gallery.query import GalleryQuery, Group, Position, SortField
from genonaut_lib.gallery.statement import page_text
from genonaut_lib.gallery.strategies import strategy_named
from genonaut_lib.vocabulary import ContentSource

Row = dict[str, Any]


@dataclass(frozen=True)
class Page:
    """The rows of one page, each a mapping by column, and whether there are rows on either side of it.

    `next_position` is where the next page starts after, `previous_position` where the one before ends;
    None where there is none. On the side it came from a page always has one: rows were there, and an
    empty page between them leads back.
    """

    rows: tuple[Row, ...] = ()
    next_position: Position | None = None
    previous_position: Position | None = None

    @property
    def keys(self) -> list[str]:
        """The identity of each row, `regular/17`, in page order."""
        return [f"{ContentSource.from_partition(row['source_type']).junction}/{row['id']}" for row in self.rows]

    @property
    def has_next(self) -> bool:
        """Whether rows come after this page."""
        return self.next_position is not None

    @property
    def has_previous(self) -> bool:
        """Whether rows may come before this page: it did not start at the beginning."""
        return self.previous_position is not None


async def read_page(
    connection: AsyncConnection,
    query: GalleryQuery,
    strategy: str = "time_walk",
    ranked: Sequence[Group] | None = None,
) -> Page:
    """Return the page; an empty one, without asking the database, where no source is read.

    `ranked` are the query's groups of tags, rarest first, if that is known. Raises InvalidInput for an
    unknown strategy, or one that may be stale where the query wants none; ViewMissing where the strategy
    reads the materialised view and there is none.
    """
    chosen = strategy_named(strategy)
    if chosen.stale and not query.stale:
        raise InvalidInput(f"{strategy} answers from a view that is refreshed now and then; allow it: stale=True.")
    if not query.sources:
        return Page()
    text = page_text(shape_of(query), strategy)
    try:
        async with connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(text, values_of(query, ranked))
            return page_of(query, await cursor.fetchall())
    except (errors.UndefinedTable, errors.ObjectNotInPrerequisiteState) as error:
        if not chosen.stale:
            raise
        raise ViewMissing(hint="Make and fill it: gallery_view.create and gallery_view.refresh.") from error


def page_of(query: GalleryQuery, rows: Sequence[Row]) -> Page:
    """Return the page that rows make, which came as they were read and one more than asked for if there are more."""
    more = len(rows) > query.page_size
    shown = tuple(rows[: query.page_size])
    if query.backwards:
        shown = shown[::-1]
    if not shown:
        return _empty(query)
    first, last = query.position_of(shown[0]), query.position_of(shown[-1])
    is_first = query.after is None and query.page == 1
    if query.backwards:
        return Page(shown, last, first if more else None)
    return Page(shown, last if more else None, None if is_first else first)


def _empty(query: GalleryQuery) -> Page:
    """Return a page without rows. Where a position led to it, the way back starts with the row at that position."""
    position = query.position
    if position is None:
        return Page()
    step = -1 if query.sort.descending != query.backwards else 1
    by_id = query.sort.field is SortField.ID
    turn = Position(position.id + step if by_id else position.value, position.source, position.id + step)
    return Page(next_position=turn) if query.backwards else Page(previous_position=turn)
