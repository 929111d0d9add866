"""Marked items, read from the content itself: what they are in one snapshot, kept in memory for the next."""

from __future__ import annotations

import uuid
from collections.abc import Mapping

from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.gallery.bitmaps.layout import Words
from genonaut_lib.gallery.bitmaps.marked_items import MarkedItem
from genonaut_lib.gallery.bitmaps.state import State
from genonaut_lib.gallery.query import GalleryQuery


class Marked:
    """The marked items of one snapshot. Never changes."""

    @property
    def size(self) -> int:
        """How many items are marked, those that are gone included."""
        raise NotImplementedError

    def dead(self, first_chunk: int, chunks: int) -> Words | None:
        """Return the sealed places of marked items in these chunks, shape (chunks * WORDS,); None where there are none.

        The words are shared, and must not be written to.
        """
        raise NotImplementedError

    def matching(self, query: GalleryQuery, numbers: Mapping[uuid.UUID, int]) -> list[MarkedItem]:
        """Return the marked items that a filter means, in no order; page, sort and search are ignored.

        `numbers` has the tag_no of each tag that exists; any other tag is carried by nothing.
        """
        raise NotImplementedError

    def total(self, query: GalleryQuery, numbers: Mapping[uuid.UUID, int]) -> int:
        """Return how many items `matching` would return, without making the list."""
        raise NotImplementedError


class Marks:
    """The marked items of a process, brought up to date in each snapshot that asks.

    For the tasks of one event loop: views that were handed out never change.
    """

    def __init__(self) -> None:
        self._known: Marked | None = None

    async def current(self, connection: AsyncConnection, marks_max: int) -> tuple[State, Marked]:
        """Return the state of the index and the marked items in this transaction's snapshot.

        The transaction must be REPEATABLE READ. Raises BitmapsUnavailable where no index serves, and where
        more than `marks_max` items are marked; psycopg's UndefinedTable or InvalidSchemaName where there
        are no tables of the index.
        """
        raise NotImplementedError
