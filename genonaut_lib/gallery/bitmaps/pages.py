"""Pages from bitmaps: by created_at from ranks, by anything else from the ids of all that matches."""

from __future__ import annotations

import contextlib
from collections.abc import Sequence
from dataclasses import dataclass, replace

from psycopg.rows import dict_row, tuple_row

from genonaut_lib.errors import BitmapsUnavailable
from genonaut_lib.gallery.bitmaps import loading
from genonaut_lib.gallery.bitmaps.algebra import by_source
from genonaut_lib.gallery.bitmaps.bounds import bound_of, key_of
from genonaut_lib.gallery.bitmaps.fetching import Ids, count_text, found_text, order_of, page_text, rest_of, values_with
from genonaut_lib.gallery.bitmaps.layout import Ranks
from genonaut_lib.gallery.bitmaps.marked_items import MarkedItem
from genonaut_lib.gallery.bitmaps.operands import Key
from genonaut_lib.gallery.bitmaps.overlap import beside
from genonaut_lib.gallery.bitmaps.picking import Picker
from genonaut_lib.gallery.bitmaps.sieve import Sieve
from genonaut_lib.gallery.clauses import Shape, shape_of
from genonaut_lib.gallery.page import Page, page_of
from genonaut_lib.gallery.query import GalleryQuery, SortField
from genonaut_lib.vocabulary import ContentSource


@dataclass(frozen=True)
class Reading:
    """A page, and how many items match in all, if that was asked for."""

    page: Page
    total: int | None = None


@dataclass(frozen=True)
class Asked:
    """A query on its way: its filter over what is sealed, and the marked items that match it."""

    query: GalleryQuery
    sieve: Sieve
    marked: Sequence[MarkedItem]
    filter_max: int

    @property
    def by_rank(self) -> bool:
        """Whether the order of ranks is the page's, so that few items need to be looked at."""
        return self.query.sort.field is SortField.CREATED_AT and not self.query.search

    async def page(self, *, total: bool) -> Reading:
        """Return the page. Raises BitmapsUnavailable when too many ids would have to be handed on."""
        return await (self._ranked(total=total) if self.by_rank else self._sorted(total=total))

    async def total(self) -> int:
        """Return how many items match. Raises BitmapsUnavailable when too many would have to be searched."""
        if self.query.search:
            return await self._searched(await self.matching())
        picker = await self.sieve.walk(Picker(0, 0), total=True)
        return picker.counted + len(self.marked)

    async def _ranked(self, *, total: bool) -> Reading:
        """Sealed and marked items meet in the page's statement, which sorts them; few of either can show.

        So many sealed items as there are marked ones before the page may have to give way to them, so
        those before that many never show.
        """
        query, turn = self.query, shape_of(self.query).descending
        offset = (query.page - 1) * query.page_size
        end = offset + query.page_size + 1
        marked = self._marked_beyond(turn)[:end]
        dropped = max(0, offset - len(marked))
        bound = await bound_of(self.sieve, query.position, descending=turn)
        picker = Picker(dropped, end - dropped, turn, bound)
        async with contextlib.aclosing(self.sieve.steps(picker, total=total)) as steps:
            async for _ in steps:
                if picker.full:
                    break
            ids = await self._ids(picker.ranks, marked)
            fetched = self._fetched(order_of(query), ids, offset - dropped)
            page = await (beside(fetched, steps) if picker.full and total else fetched)
        return Reading(page, picker.counted + len(self.marked) if total else None)

    def _marked_beyond(self, descending: bool) -> list[MarkedItem]:  # a direction, from one place
        """Return the marked items beyond the position, in the order they are read in."""
        start = None if self.query.position is None else key_of(self.query.position)
        items = sorted(self.marked, key=_key, reverse=descending)
        if start is None:
            return items
        return [item for item in items if (_key(item) < start if descending else _key(item) > start)]

    async def _sorted(self, *, total: bool) -> Reading:
        """Hand all that matches to a statement that searches, sorts and limits."""
        query = self.query
        ids = await self.matching()
        number = None
        if total:
            number = await self._searched(ids) if query.search else sum(map(len, ids.values()))
        page = await self._fetched(rest_of(query), ids, (query.page - 1) * query.page_size)
        return Reading(page, number)

    async def matching(self) -> Ids:
        """Return the ids of all that matches but for the search. Raises BitmapsUnavailable when there are too many."""
        most = max(0, self.filter_max - len(self.marked))
        picker = await self.sieve.walk(Picker(0, most + 1), total=False)
        if len(picker.ranks) + len(self.marked) > self.filter_max:
            raise BitmapsUnavailable(
                f"More than {self.filter_max:,} items match but for search and order.",
                hint="Raise bitmaps.filter_max, or narrow the filter.",
            )
        return await self._ids(picker.ranks, self.marked)

    async def found(self, ids: Ids) -> Ids:
        """Return those items that the search finds."""
        async with self.sieve.operands.connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(found_text(_anywhere(self.query)), values_with(self.query, ids), prepare=False)
            rows = await cursor.fetchall()
        return {source: [number for name, number in rows if name == source.partition] for source in ContentSource}

    async def _searched(self, ids: Ids) -> int:
        async with self.sieve.operands.connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(count_text(_anywhere(self.query)), values_with(self.query, ids), prepare=False)
            return sum([number async for (number,) in cursor])

    async def _ids(self, ranks: Ranks, marked: Sequence[MarkedItem]) -> Ids:
        ids = by_source(await self.sieve.operands.signed_ids(ranks))
        for item in marked:
            ids[item.source].append(item.id)
        return ids

    async def _fetched(self, rest: Shape, ids: Ids, offset: int) -> Page:
        """Return the page of these items. Many ids are planned for as many, few as whoever asked before."""
        number = sum(map(len, ids.values()))
        if number <= offset:
            return page_of(self.query, [])
        values = values_with(self.query, ids, offset=offset, reach=offset + self.query.page_size + 1)
        async with self.sieve.operands.connection.cursor(row_factory=dict_row, binary=True) as cursor:
            loading.adapt(cursor.adapters)
            await cursor.execute(page_text(rest), values, prepare=None if self.by_rank else False)
            return page_of(self.query, await cursor.fetchall())


def _key(item: MarkedItem) -> Key:
    return item.created_at, item.source.partition, item.id


def _anywhere(query: GalleryQuery) -> Shape:
    """Return what is left to ask of a query's items wherever its page lies."""
    return rest_of(replace(query, after=None, before=None, page=1))
