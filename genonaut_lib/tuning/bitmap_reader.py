"""Asking the tag bitmap index from synchronous code, the clock in hand: by itself, through the gallery, and cold."""

from __future__ import annotations

import contextlib
import gc
import time
from collections.abc import Coroutine
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from genonaut_lib.db.pool import AsyncConnection, Pool, open_pool
from genonaut_lib.gallery import facets, statistics
from genonaut_lib.gallery.bitmaps.reader import Bitmaps
from genonaut_lib.gallery.counts import CountMode
from genonaut_lib.gallery.facets import FacetCount
from genonaut_lib.gallery.gallery import Gallery
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.gallery.reading import reading
from genonaut_lib.gallery.statistics import Statistics
from genonaut_lib.settings import Settings
from genonaut_lib.tuning.reader import Loop

T = TypeVar("T")
LIMIT_MS = 60_000


@dataclass(frozen=True)
class Shown:
    """One answer: milliseconds from Python, all round trips; identities of the rows, exact total, and by what."""

    milliseconds: float
    keys: tuple[str, ...]
    total: int | None
    strategy: str = "bitmap"


class BitmapReader:
    """The index and the gallery over one pool, on an event loop of their own, for as long as a block lasts.

    The index keeps its memory from one question to the next, as in a process that serves.
    """

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self._loop = Loop()
        self._stack = contextlib.AsyncExitStack()
        self._warm = Bitmaps(settings.bitmaps)

    def __enter__(self) -> Self:
        try:
            self._pool: Pool = self._run(self._stack.enter_async_context(open_pool(self.settings, sessions=2)))
            self._gallery = Gallery(self._pool, self.settings)
            self._stack.push_async_callback(self._gallery.close)
        except BaseException:
            self._loop.close()
            raise
        # What lives as long as the process need not be looked through by every collection, as a server sees to it.
        gc.collect()
        gc.freeze()
        return self

    def __exit__(self, *_: object) -> None:
        gc.unfreeze()
        try:
            self._run(self._stack.aclose())
        finally:
            self._loop.close()

    def statistics(self) -> Statistics:
        """Return the gallery's statistics; raise StatisticsMissing where there are none."""
        return self._run(self._statistics())

    def warm(self, query: GalleryQuery) -> Shown:
        """Read page and total from the index, by a reader that has its memory."""
        return self._run(self._page(self._warm, query))

    def cold(self, query: GalleryQuery) -> Shown:
        """Read page and total from the index, by a reader that has just begun."""
        return self._run(self._page(Bitmaps(self.settings.bitmaps), query))

    def gallery(self, query: GalleryQuery) -> Shown:
        """Read page and exact total through the gallery, by whatever its planner takes."""
        return self._run(self._through_gallery(query))

    def total(self, query: GalleryQuery) -> Shown:
        """Read the exact total alone."""
        return self._run(self._total(self._warm, query))

    def cold_total(self, query: GalleryQuery) -> Shown:
        """Read the exact total alone, by a reader that has just begun."""
        return self._run(self._total(Bitmaps(self.settings.bitmaps), query))

    def first_page(self, query: GalleryQuery) -> Shown:
        """Read the page alone."""
        return self._run(self._page(self._warm, query, total=False))

    def facets(self, query: GalleryQuery, top: int) -> tuple[float, tuple[FacetCount, ...]]:
        """Return milliseconds and the most frequent tags of what matches, by the index."""
        return self._run(self._facets(query, top))

    def plain_facets(
        self, query: GalleryQuery, top: int, budget_ms: int
    ) -> tuple[float, tuple[FacetCount, ...] | None]:
        """Return the same from the junction; None for what took longer than the budget."""
        return self._run(self._plain_facets(query, top, budget_ms))

    async def _statistics(self) -> Statistics:
        async with self._pool.connection() as connection:
            return await statistics.load(connection)

    async def _page(self, bitmaps: Bitmaps, query: GalleryQuery, *, total: bool = True) -> Shown:
        started = time.perf_counter()
        async with self._reading() as connection:
            found = await bitmaps.page(connection, query, total=total)
        return Shown(_since(started), tuple(found.page.keys), found.total)

    async def _total(self, bitmaps: Bitmaps, query: GalleryQuery) -> Shown:
        started = time.perf_counter()
        async with self._reading() as connection:
            total = await bitmaps.total(connection, query)
        return Shown(_since(started), (), total)

    async def _through_gallery(self, query: GalleryQuery) -> Shown:
        started = time.perf_counter()
        answer = await self._gallery.page(query, CountMode.EXACT)
        return Shown(_since(started), tuple(answer.page.keys), answer.total.value, answer.choice.strategy)

    async def _facets(self, query: GalleryQuery, top: int) -> tuple[float, tuple[FacetCount, ...]]:
        started = time.perf_counter()
        async with self._reading() as connection:
            found = await self._warm.facets(connection, query, top)
        return _since(started), found

    async def _plain_facets(
        self, query: GalleryQuery, top: int, budget_ms: int
    ) -> tuple[float, tuple[FacetCount, ...] | None]:
        started = time.perf_counter()
        async with self._reading() as connection:
            found = await facets.facets(connection, query, top=top, budget_ms=budget_ms)
        return _since(started), None if found.sampled else found.counts

    def _reading(self) -> contextlib.AbstractAsyncContextManager[AsyncConnection]:
        return reading(self._pool, LIMIT_MS, one_snapshot=True, by_bitmaps=True)

    def _run(self, work: Coroutine[Any, Any, T]) -> T:
        return self._loop.run(work)


def _since(started: float) -> float:
    return (time.perf_counter() - started) * 1000
