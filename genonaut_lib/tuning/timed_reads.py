"""Reading pages from synchronous code, the clock in hand: one session, and a limit on every statement."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Coroutine, Sequence
from dataclasses import dataclass, replace
from typing import Any, Self, TypeVar

from psycopg import errors

from genonaut_lib.db.pool import AsyncConnection, open_session
from genonaut_lib.errors import CheckFailed
from genonaut_lib.gallery import statistics
from genonaut_lib.gallery.bitmaps import standing
from genonaut_lib.gallery.bitmaps.reader import Bitmaps
from genonaut_lib.gallery.bitmaps.standing import UNKNOWN, Standing
from genonaut_lib.gallery.clauses import shape_of, values_of
from genonaut_lib.gallery.page import Page, read_page
from genonaut_lib.gallery.query import GalleryQuery, Group
from genonaut_lib.gallery.reading import begun
from genonaut_lib.gallery.statement import page_text
from genonaut_lib.gallery.statistics import Statistics
from genonaut_lib.gallery.strategies import BITMAP, STRATEGIES
from genonaut_lib.settings import Settings
from genonaut_lib.tuning.grid import GridCase, Reach
from genonaut_lib.tuning.reader import Loop

Ranked = Sequence[Group] | None
Answer = TypeVar("Answer")


@dataclass(frozen=True)
class Reading:
    """One read of a page from Python: its time, and the identity of each row; None when it took too long."""

    milliseconds: float
    keys: tuple[str, ...] | None


@dataclass(frozen=True)
class ServerCost:
    """What PostgreSQL says of one execution: milliseconds without the planning, shared buffers touched."""

    execution_ms: float
    planning_ms: float
    shared_buffers: int


class TimedReader:
    """A session of the asynchronous reader for code that is not, with a time limit on every statement."""

    def __init__(self, settings: Settings, timeout_s: float) -> None:
        self.settings = settings
        self.timeout_s = timeout_s
        self._bitmaps = Bitmaps(settings.bitmaps)
        self._loop = Loop()
        self._stack = contextlib.AsyncExitStack()

    def __enter__(self) -> Self:
        try:
            self._connection: AsyncConnection = self._run(self._stack.enter_async_context(open_session(self.settings)))
        except BaseException:
            self._loop.close()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        try:
            self._run(self._stack.aclose())
        finally:
            self._loop.close()

    def statistics(self) -> Statistics:
        """Return the gallery's statistics; raise CheckFailed when they were never made."""
        found = self._run(statistics.load(self._connection))
        if found.refreshed_at is None:
            raise CheckFailed("There are no statistics of this gallery yet.", hint="Run 50_refresh_tag_stats first.")
        return found

    def bitmaps(self) -> Standing:
        """Return how the tag bitmap index stands."""
        return self._run(standing.look(self._connection, self.settings.bitmaps, UNKNOWN))

    def read(self, query: GalleryQuery, strategy: str, ranked: Ranked = None) -> Reading:
        """Read one page; one over the time limit took that limit and has no rows."""
        return self._run(self._read(query, strategy, ranked))

    def explain(self, query: GalleryQuery, strategy: str, ranked: Ranked = None) -> ServerCost | None:
        """Return what one execution costs the server; None when it takes longer than the limit.

        None as well for the bitmaps, which are not one statement.
        """
        is_stated = query.sources and strategy in STRATEGIES
        return self._run(self._explain(query, strategy, ranked)) if is_stated else None

    def positioned(self, case: GridCase, strategy: str, ranked: Ranked = None) -> GalleryQuery:
        """Return the case's query as it is to be timed: by the cursor before its page, where it asks for that.

        Where the pages end before this one, or to go there takes too long, the page keeps its number.
        """
        if case.reach is not Reach.CURSOR:
            return case.query
        position = self._run(self._position_before(case.query, strategy, ranked))
        return case.query if position is None else replace(case.query, page=1, after=position)

    async def _read(self, query: GalleryQuery, strategy: str, ranked: Ranked) -> Reading:
        try:
            async with self._begun(strategy):
                started = time.perf_counter()
                page = await self._page(query, strategy, ranked)
                return Reading((time.perf_counter() - started) * 1000, tuple(page.keys))
        except errors.QueryCanceled:
            return Reading(self.timeout_s * 1000, None)

    async def _explain(self, query: GalleryQuery, strategy: str, ranked: Ranked) -> ServerCost | None:
        # Clocks in every node would cost more than many a page; the time of the whole is told without them.
        text = b"explain (analyze, buffers, timing off, format json) " + page_text(shape_of(query), strategy)
        try:
            async with self._begun(strategy):
                cursor = await self._connection.execute(text, values_of(query, ranked), prepare=False)
                row = await cursor.fetchone()
        except errors.QueryCanceled:
            return None
        assert row is not None
        return _cost_of(row[0][0])

    async def _position_before(self, query: GalleryQuery, strategy: str, ranked: Ranked) -> Any:
        before = replace(query, page=query.page - 1)
        try:
            async with self._begun(strategy):
                return (await self._page(before, strategy, ranked)).next_position
        except errors.QueryCanceled:
            return None

    async def _page(self, query: GalleryQuery, strategy: str, ranked: Ranked) -> Page:
        if strategy == BITMAP.name:
            return (await self._bitmaps.page(self._connection, query, total=False)).page
        return await read_page(self._connection, query, strategy, ranked)

    def _begun(self, strategy: str) -> contextlib.AbstractAsyncContextManager[None]:
        begin = "begin_bitmaps" if strategy == BITMAP.name else "begin_snapshot"
        return begun(self._connection, int(self.timeout_s * 1000), begin)

    def _run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return self._loop.run(work)


def _cost_of(plan: dict[str, Any]) -> ServerCost:
    top = plan["Plan"]
    buffers = int(top["Shared Hit Blocks"]) + int(top["Shared Read Blocks"])
    return ServerCost(float(plan["Execution Time"]), float(plan["Planning Time"]), buffers)
