"""`Bitmaps`: pages, totals and facets from the tag bitmap index, exact in the snapshot of the caller's transaction."""

from __future__ import annotations

from psycopg import errors

from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import BitmapsUnavailable
from genonaut_lib.gallery.bitmaps.cache import Cache, Stamp, View
from genonaut_lib.gallery.bitmaps.facets import count_tags
from genonaut_lib.gallery.bitmaps.marked import Marked, Marks
from genonaut_lib.gallery.bitmaps.operands import Operands
from genonaut_lib.gallery.bitmaps.pages import Asked, Reading
from genonaut_lib.gallery.bitmaps.sieve import Sieve, filter_of, tags_of
from genonaut_lib.gallery.bitmaps.state import Numbered, State
from genonaut_lib.gallery.facet_sampling import FacetCount
from genonaut_lib.gallery.page import Page
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.settings import BitmapSettings

_BUILD = "Build it: genonaut run 40_build_tag_bitmaps"


class Bitmaps:
    """The index as a process reads it: one for all sessions and tasks of an event loop.

    The connection must be in a REPEATABLE READ, read-only transaction (`reading` with `one_snapshot`).
    All methods raise BitmapsUnavailable where the index is switched off, absent, or has more marked
    items than `marks_max`; the transaction may have failed by then, and is to be ended.
    """

    def __init__(self, knobs: BitmapSettings) -> None:
        self._knobs = knobs
        self._marks = Marks()
        self._cache = Cache(knobs.cache_mb * 2**20)

    @property
    def kept_bytes(self) -> int:
        """How many bytes of bitmaps are kept between requests."""
        return self._cache.used

    async def page(self, connection: AsyncConnection, query: GalleryQuery, *, total: bool) -> Reading:
        """Return the page, and how many items match in all if `total`.

        Another sort than created_at and a search want all ids that match: BitmapsUnavailable for more than
        `filter_max`.
        """
        if not query.sources:
            return Reading(Page(), 0 if total else None)
        asked = await self._asked(connection, query)
        return await asked.page(total=total)

    async def total(self, connection: AsyncConnection, query: GalleryQuery) -> int:
        """Return how many items match; BitmapsUnavailable where more than `filter_max` would have to be searched."""
        if not query.sources:
            return 0
        return await (await self._asked(connection, query)).total()

    async def facets(self, connection: AsyncConnection, query: GalleryQuery, top: int) -> tuple[FacetCount, ...]:
        """Return the `top` tags of the matching items and how many carry them: highest count first, then by name.

        Raises BitmapsUnavailable where tags without bitmaps could be among them and more than `filter_max` items
        would have to be looked at, or searched.
        """
        if not query.sources:
            return ()
        return await count_tags(await self._asked(connection, query), top, self._knobs)

    async def _asked(self, connection: AsyncConnection, query: GalleryQuery) -> Asked:
        state, marked, found = await self._current(connection, query)
        operands = Operands(connection, await self._view(connection, state))
        sieve = Sieve(operands, marked, await filter_of(query, operands, found))
        return Asked(query, sieve, marked.matching(query, found.numbers), self._knobs.filter_max)

    async def _current(self, connection: AsyncConnection, query: GalleryQuery) -> tuple[State, Marked, Numbered]:
        if not self._knobs.enabled:
            raise BitmapsUnavailable("The tag bitmap index is switched off.", hint="Set bitmaps.enabled: true")
        try:
            return await self._marks.current(connection, self._knobs.marks_max, tags_of(query))
        except (errors.UndefinedTable, errors.InvalidSchemaName) as error:
            raise BitmapsUnavailable("There is no tag bitmap index.", hint=_BUILD) from error

    async def _view(self, connection: AsyncConnection, state: State) -> View:
        """Return the cache for this snapshot, brought to its version if that is newer than what is kept."""
        stamp = Stamp.of(state)
        view = View(self._cache, state, stamp)
        kept = self._cache.stamp
        if kept is None or kept.origin.is_replaced_by(stamp.origin):
            self._cache.begin(stamp)
        elif kept.origin == stamp.origin and kept.version < stamp.version:
            values = {"epoch": state.epoch, "version": kept.version}
            cursor = await connection.execute(block("tag_bitmaps", "changed_chunks").sql(), values)
            self._cache.advance(kept, stamp, [chunk for (chunk,) in await cursor.fetchall()])
        return view
