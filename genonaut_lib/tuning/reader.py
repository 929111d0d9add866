"""A bridge for synchronous code: one asynchronous session of the gallery's reader, on a thread of its own.

The thread is what lets a notebook ask: its kernel runs an event loop already, and a second one cannot
be run in the same thread.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Coroutine, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AsyncExitStack
from dataclasses import dataclass
from typing import Any, Self, TypeVar

from psycopg import conninfo

from genonaut_lib.db import engine, pool
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.gallery import page as gallery_page
from genonaut_lib.gallery.page import Page
from genonaut_lib.gallery.planner import Choice
from genonaut_lib.gallery.query import GalleryQuery, Group
from genonaut_lib.settings import Settings

T = TypeVar("T")


class Loop:
    """An event loop on a thread of its own, for as long as the block lasts."""

    def __init__(self) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="genonaut-loop")
        self._runner = asyncio.Runner()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine returns; raise what it raises."""
        return self._thread.submit(self._runner.run, work).result()

    def close(self) -> None:
        """End the loop and its thread."""
        self._thread.submit(self._runner.close).result()
        self._thread.shutdown()


@dataclass(frozen=True)
class Timed:
    """A page and how many milliseconds its statement took, from Python and without the bridge."""

    page: Page
    milliseconds: float


class Reader:
    """Pages of one gallery for code that is not asynchronous; closed at the end of a block.

    `place` is an environment or a session whose database and user are meant. The reader has a session
    of its own, with the server's own setting for JIT: that is how an application reads. Raises what
    connecting raises.
    """

    def __init__(self, place: Connection | Settings) -> None:
        self._loop = Loop()
        self._opened = AsyncExitStack()
        try:
            self._session = self._loop.run(self._open(_address_of(place)))
        except BaseException:
            self._loop.close()
            raise

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        """Close session, loop and thread."""
        try:
            self._loop.run(self._opened.aclose())
        finally:
            self._loop.close()

    def run(self, work: Callable[[AsyncConnection], Awaitable[T]]) -> T:
        """Return what asynchronous `work` returns, which is given the reader's session."""

        async def on_session() -> T:
            return await work(self._session)

        return self._loop.run(on_session())

    def page(self, query: GalleryQuery, strategy: str = "time_walk", ranked: Sequence[Group] | None = None) -> Page:
        """Return the page of a query by a strategy."""
        return self.run(lambda session: gallery_page.read_page(session, query, strategy, ranked))

    def timed(self, query: GalleryQuery, choice: Choice, timeout_s: float) -> Timed:
        """Return the page by the chosen strategy, and its time.

        Raises QueryCanceled when its statement runs into the time limit.
        """
        return self.run(lambda session: _timed(session, query, choice, timeout_s))

    async def _open(self, address: str) -> AsyncConnection:
        session = await self._opened.enter_async_context(pool.open_address(address))
        await session.execute("reset jit")
        return session


async def _timed(session: AsyncConnection, query: GalleryQuery, choice: Choice, timeout_s: float) -> Timed:
    async with session.transaction():
        await session.execute("select set_config('statement_timeout', %s, true)", [f"{int(timeout_s * 1000)}ms"])
        started = time.perf_counter()
        page = await gallery_page.read_page(session, query, choice.strategy, choice.ranked or None)
        return Timed(page, (time.perf_counter() - started) * 1000)


def _address_of(place: Connection | Settings) -> str:
    """Return an address; that of a session does not name its password, which is asked for besides."""
    if isinstance(place, Settings):
        return engine.database_url(place)
    return conninfo.make_conninfo(place.info.dsn, password=place.info.password or None)
