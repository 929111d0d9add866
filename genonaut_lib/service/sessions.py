"""The service's sessions: a pool that bounds every wait, finds dead sessions before they are used, and keeps time."""

from __future__ import annotations

import select
import time
from typing import Any, TypeVar

import psycopg
from psycopg.abc import PQGen
from psycopg.adapt import AdaptersMap
from psycopg.conninfo import conninfo_to_dict
from psycopg_pool import AsyncConnectionPool

from genonaut_lib.db import engine
from genonaut_lib.db.engine import APPLICATION_NAME
from genonaut_lib.db.pool import AsyncConnection, Bounds, settle
from genonaut_lib.db.statements import block
from genonaut_lib.service.trace import CURRENT, Trace
from genonaut_lib.service_settings import ServiceSettings
from genonaut_lib.settings import Settings

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
        knobs, address = settings.service, engine.database_url(settings)
        self._knobs: ServiceSettings = knobs
        self._errors_by_then = 0
        self._emptied_at = 0.0
        super().__init__(
            address, connection_class=Session, name="gallery", open=False,
            kwargs={"autocommit": True, "context": adapters, **_parameters(address, settings)},
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
        trace = CURRENT.get(None) or Trace()
        started = time.perf_counter()
        try:
            return await super().getconn(timeout or max(self.timeout - trace.waited_s, LEAST_WAIT_S))
        finally:
            trace.waited_s += time.perf_counter() - started
            self._forget_gone()

    def _forget_gone(self) -> None:
        """Take those out of the queue that wait no longer, which the pool does only when it hands a session out.

        While no session comes back they would fill the queue, and a full one keeps requests from even trying to
        connect: a database that was away for long would never be found again.
        """
        while self._waiting and self._waiting[0].error is not None:
            self._waiting.popleft()

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

    async def replace_idle(self, since: float) -> None:
        """Close the sessions that lie idle in favour of new ones, unless that was done since (by time.monotonic).

        Where one session has ended the others mostly have as well, or will in an instant: the server was restarted.
        Several requests may find that out at once; the sessions that came after the first of them are alive.
        """
        if since > self._emptied_at:
            self._emptied_at = time.monotonic()
            await self.drain()

    async def _require_alive(self, connection: AsyncConnection) -> None:
        """Raise psycopg.OperationalError for a session that has ended while it lay in the pool.

        A session that lies idle has nothing to say but that it ends: so looking at its socket does, which costs
        microseconds where asking the server costs a round trip.
        """
        assert isinstance(connection, Session)
        try:
            if _has_news(connection):
                await self.check_connection(connection)
        except psycopg.Error:
            await self.replace_idle(connection.opened_at)
            raise

    def _connection_errors(self) -> int:
        return self.get_stats().get("connections_errors", 0)


def _parameters(address: str, settings: Settings) -> dict[str, Any]:
    """Return what a connection is opened with, beside what its address says itself.

    A peer that is gone without a word, machine and all, would be waited for by the hour: TCP's own patience.
    """
    parameters = {
        "application_name": APPLICATION_NAME, "connect_timeout": min(CONNECT_S, settings.database.connect_timeout_s),
        "keepalives_idle": 10, "keepalives_interval": 5, "keepalives_count": 3,
        "tcp_user_timeout": int(settings.service.deadline_s * 1000),
    }  # fmt: skip
    given = conninfo_to_dict(address)
    return {name: value for name, value in parameters.items() if name not in given}


def _has_news(connection: AsyncConnection) -> bool:
    poll = select.poll()
    poll.register(connection.fileno(), select.POLLIN | select.POLLHUP | select.POLLERR)
    return bool(poll.poll(0))
