"""The service's sessions: a pool that bounds every wait, finds dead sessions before they are used, and keeps time."""

from __future__ import annotations

import select
import time
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.adapt import AdaptersMap
from psycopg_pool import AsyncConnectionPool

from genonaut_lib.db import engine
from genonaut_lib.db.engine import APPLICATION_NAME
from genonaut_lib.db.pool import AsyncConnection, Bounds, settle
from genonaut_lib.db.statements import block
from genonaut_lib.service.trace import CURRENT
from genonaut_lib.settings import ServiceSettings, Settings

RV = TypeVar("RV")

CONNECT_S = 3
"""How long one attempt to connect may take: no longer than a service may take to recover."""
RECONNECT_S = 0.5
"""After a failed attempt there is one more; then it is for the next request to try. The pool's own waits double."""
LEAST_WAIT_S = 0.02
"""What a request that has used up its waiting gets for a session that is free."""


class Session(psycopg.AsyncConnection[Any]):
    """A session that writes into the trace of the request at hand how long the database took.

    `bounds` are set in each transaction, where the session is not our own. `opened_at` is on the monotonic clock.
    """

    bounds: Bounds | None = None
    opened_at: float = 0.0

    async def wait(self, gen: PQGen[RV], *arguments: Any, **options: Any) -> RV:
        """Do as psycopg does, on the clock."""
        started = time.perf_counter()
        try:
            return await super().wait(gen, *arguments, **options)
        finally:
            trace = CURRENT.get(None)
            if trace is not None:
                trace.asked_database((time.perf_counter() - started) * 1000)


class Sessions(AsyncConnectionPool[AsyncConnection]):
    """At most `service.sessions` sessions of one process; opening it does not wait for the database.

    Raises PoolTimeout for a request that would wait longer than `service.pool_wait_ms`, all its waits taken
    together, and TooManyRequests where `service.pool_queue` others wait already. `is_cut_off` tells whether
    that is for want of a database.
    """

    def __init__(self, settings: Settings, *, adapters: AdaptersMap | None = None) -> None:
        knobs = settings.service
        self._knobs: ServiceSettings = knobs
        self._errors_by_then = 0
        self._emptied_at = 0.0
        super().__init__(
            engine.database_url(settings), connection_class=Session, name="gallery", open=False,
            kwargs={
                "autocommit": True, "application_name": APPLICATION_NAME, "context": adapters,
                "connect_timeout": min(CONNECT_S, settings.database.connect_timeout_s),
            },
            min_size=min(2, knobs.sessions), max_size=knobs.sessions, max_waiting=knobs.pool_queue,
            timeout=knobs.pool_wait_ms / 1000, reconnect_timeout=RECONNECT_S,
            configure=self._settle, check=self._require_alive,
        )  # fmt: skip

    @property
    def is_cut_off(self) -> bool:
        """Whether no attempt to connect has succeeded since one failed."""
        return self._connection_errors() > self._errors_by_then

    async def getconn(self, timeout: float | None = None) -> AsyncConnection:  # noqa: ASYNC109  # psycopg's own
        """Return a session; without a `timeout` of its own the request waits as long as it still may."""
        trace = CURRENT.get(None)
        if trace is None or timeout is not None:
            return await super().getconn(timeout)
        started = time.perf_counter()
        try:
            return await super().getconn(max(self.timeout - trace.waited_s, LEAST_WAIT_S))
        finally:
            trace.waited_s += time.perf_counter() - started

    async def _settle(self, connection: AsyncConnection) -> None:
        """Give a fresh session its limits; behind a pooler they are set in each transaction (see `db/pooling.py`)."""
        assert isinstance(connection, Session)
        knobs = self._knobs
        bounds = Bounds(knobs.lock_timeout_ms, knobs.idle_transaction_ms)
        await settle(connection)
        if connection.prepare_threshold is None:
            connection.bounds = bounds
        else:
            values = {"lock_ms": bounds.lock_ms, "idle_ms": bounds.idle_ms, "statement_ms": knobs.statement_timeout_ms}
            await connection.execute(block("session", "settle_bounds").sql(), values)
        self._errors_by_then = self._connection_errors()
        connection.opened_at = time.monotonic()

    async def _require_alive(self, connection: AsyncConnection) -> None:
        """Raise psycopg.OperationalError for a session that has ended while it lay in the pool, and drop the others.

        A session that lies idle has nothing to say but that it ends: so looking at its socket does, which costs
        microseconds where asking the server costs a round trip. Where one has ended the others mostly have as
        well, since the server was restarted; they are replaced all at once.
        """
        try:
            if _has_news(connection):
                await self.check_connection(connection)
        except psycopg.Error:
            assert isinstance(connection, Session)
            # Several requests may find a dead session at once; what came after the first of them is alive.
            if connection.opened_at > self._emptied_at:
                self._emptied_at = time.monotonic()
                await self.drain()
            raise

    def _connection_errors(self) -> int:
        return self.get_stats().get("connections_errors", 0)


def _has_news(connection: AsyncConnection) -> bool:
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))
