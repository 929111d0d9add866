"""What the service depends on, and how each of it stands: asked at once, each with a time limit of its own.

The database is asked over a session beside the pool, so that a pool without a free session does not make it
look gone.
"""

from __future__ import annotations

import asyncio
import contextlib
import enum
import os
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import psycopg
from redis.asyncio import Redis
from redis.asyncio.retry import Retry
from redis.backoff import NoBackoff
from redis.exceptions import RedisError

from genonaut_lib.db import engine
from genonaut_lib.db.engine import APPLICATION_NAME
from genonaut_lib.db.pool import AsyncConnection, settle
from genonaut_lib.errors import InvalidSettings, StatisticsMissing
from genonaut_lib.gallery import statistics
from genonaut_lib.gallery.bitmaps import standing
from genonaut_lib.gallery.reading import begun
from genonaut_lib.service.watching import Watched
from genonaut_lib.settings import Settings

LIMIT_S = 0.8
"""How long a dependency may take to answer; all are asked at once, and an answer is due within a second."""

PART_MS = 200
"""Time limit of a statement that looks at a part of the database: a table may be locked while the rest is well. There
are three at most, so that what takes longer than all of them is the database itself."""

CONNECT_S = 2
"""How long connecting may hang; psycopg allows no less."""

SILENT_MS = 5_000
"""A session whose host is silent for so long is given up by the operating system."""


class State(enum.StrEnum):
    """How a dependency stands; `off` is one that is not meant to be there, `unknown` one that could not be asked."""

    OK = "ok"
    DEGRADED = "degraded"
    DOWN = "down"
    OFF = "off"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class Finding:
    """How a dependency stands, how long it took to say so, None where it did not, and what is to be said of it."""

    state: State
    latency_ms: float | None = None
    detail: str | None = None


Findings = Mapping[str, Finding]
HUNG = f"no answer within {LIMIT_S * 1000:.0f} ms"
PARTS = ("statistics", "bitmaps")


@dataclass(frozen=True)
class Report:
    """How the service stands with everything it depends on."""

    status: State
    findings: Findings

    @classmethod
    def of(cls, findings: Findings) -> Report:
        """Return the whole of single findings: without a database it is down, without anything else degraded."""
        if findings["database"].state is State.DOWN:
            return cls(State.DOWN, findings)
        well = all(finding.state in (State.OK, State.OFF) for finding in findings.values())
        return cls(State.OK if well else State.DEGRADED, findings)

    def body(self) -> dict[str, Any]:
        """Return the report as it is sent."""
        return {
            "status": self.status,
            "dependencies": {name: asdict(finding) for name, finding in self.findings.items()},
        }


class DatabaseWatch:
    """The database, its statistics and its tag bitmap index, seen from one session."""

    def __init__(self, address: str, settings: Settings) -> None:
        self._address = address
        self._settings = settings
        self._session: AsyncConnection | None = None
        self._standing: standing.Standing = standing.UNKNOWN
        self._watched = Watched(self._look)

    async def findings(self) -> Findings:
        """Return how the database stands, and its parts; within LIMIT_S, whatever hangs."""
        try:
            return await self._watched.answer(LIMIT_S)
        except TimeoutError:
            return _without_database(HUNG)

    async def close(self) -> None:
        """End the session, whatever it waits for."""
        if self._session is not None:
            with contextlib.suppress(OSError, psycopg.Error), socket.socket(fileno=_copy(self._session)) as line:
                line.shutdown(socket.SHUT_RDWR)
        await self._watched.end(within_s=0.5)
        await self._forget()

    async def _look(self) -> Findings:
        started = time.perf_counter()
        try:
            session = await self._greeted()
        except (psycopg.Error, OSError) as error:
            return _without_database(f"the connection failed ({type(error).__name__})")
        found = {"database": Finding(State.OK, _since(started))}
        for name, look in (("statistics", self._statistics), ("bitmaps", self._bitmaps)):
            found[name] = await _part(session, look)
        return found

    async def _greeted(self) -> AsyncConnection:
        """Return a session that answers: the one there was, or a new one where that was lost."""
        if self._session is not None:
            try:
                await self._session.execute("select 1")
            except psycopg.Error:
                await self._forget()
        if self._session is None:
            self._session = await self._opened()
            await self._session.execute("select 1")
        return self._session

    async def _opened(self) -> AsyncConnection:
        session = await psycopg.AsyncConnection.connect(
            self._address, autocommit=True, application_name=APPLICATION_NAME,
            connect_timeout=CONNECT_S, tcp_user_timeout=SILENT_MS,
        )  # fmt: skip
        try:
            await settle(session)
        except BaseException:
            await session.close()
            raise
        return session

    async def _forget(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def _statistics(self, session: AsyncConnection) -> tuple[State, str]:
        freshest = self._settings.planner.stats.freshness_seconds
        try:
            found = await statistics.freshness(session)
        except StatisticsMissing as missing:
            return State.DEGRADED, missing.message
        return State.OK if found.is_fresh(freshest) else State.DEGRADED, found.sentence(freshest)

    async def _bitmaps(self, session: AsyncConnection) -> tuple[State, str]:
        found = self._standing = await standing.look(session, self._settings.bitmaps, self._standing)
        if isinstance(found, standing.Ready):
            return State.OK, f"{found.ranks:,} items in {found.chunks:,} chunks, {found.marks:,} marked since"
        return State.OFF if found in (standing.SWITCHED_OFF, standing.ABSENT) else State.DEGRADED, found.why


class RedisWatch:
    """Redis, which nothing needs: None where the environment has none."""

    def __init__(self, client: Redis | None) -> None:
        self._client = client

    async def finding(self) -> Finding:
        """Return how Redis stands."""
        if self._client is None:
            return Finding(State.OFF, detail="no Redis is configured (REDIS_URL)")
        started = time.perf_counter()
        try:
            async with asyncio.timeout(LIMIT_S):
                await self._client.execute_command("PING")  # type: ignore[no-untyped-call]
        except TimeoutError:
            return Finding(State.DOWN, detail=HUNG)
        except (RedisError, OSError) as error:
            return Finding(State.DOWN, detail=f"no answer ({type(error).__name__})")
        return Finding(State.OK, _since(started))


class Dependencies:
    """All that the service depends on."""

    def __init__(self, database: DatabaseWatch, redis: RedisWatch) -> None:
        self._database = database
        self._redis = redis

    async def report(self) -> Report:
        """Return how everything stands; within a second, whatever hangs."""
        database, redis = await asyncio.gather(self._database.findings(), self._redis.finding())
        return Report.of({**database, "redis": redis})


@contextlib.asynccontextmanager
async def watch(settings: Settings, client: Redis | None) -> AsyncIterator[Dependencies]:
    """Watch the dependencies for a block; nothing is asked before somebody wants to know."""
    database = DatabaseWatch(engine.database_url(settings), settings)
    try:
        yield Dependencies(database, RedisWatch(client))
    finally:
        await database.close()


@contextlib.asynccontextmanager
async def open_redis(settings: Settings) -> AsyncIterator[Redis | None]:
    """Open a client of the environment's Redis for a block, None where it has none; no server is asked or started.

    Raises InvalidSettings for an address that cannot be read.
    """
    address = engine.redis_address(settings)
    if address is None:
        yield None
        return
    limit_s = min(settings.redis.connect_timeout_s, LIMIT_S)
    options: dict[str, Any] = {"socket_connect_timeout": limit_s, "socket_timeout": limit_s}
    try:
        client = Redis.from_url(address, retry=Retry(NoBackoff(), 0), **options)
    except ValueError:
        raise InvalidSettings("REDIS_URL cannot be read.", hint="Write redis://host:6379/0.") from None
    try:
        yield client
    finally:
        await client.aclose()


async def _part(session: AsyncConnection, look: Callable[[AsyncConnection], Awaitable[tuple[State, str]]]) -> Finding:
    """Return how a part of the database stands."""
    started = time.perf_counter()
    try:
        async with begun(session, PART_MS):
            state, detail = await look(session)
    except psycopg.Error as error:
        return Finding(State.DEGRADED, detail=f"no answer ({type(error).__name__})")
    return Finding(state, _since(started), detail)


def _without_database(why: str) -> Findings:
    unknown = Finding(State.UNKNOWN, detail="the database could not be asked")
    return {"database": Finding(State.DOWN, detail=why)} | dict.fromkeys(PARTS, unknown)


def _since(started: float) -> float:
    return round((time.perf_counter() - started) * 1000, 3)


def _copy(session: AsyncConnection) -> int:
    """Return a descriptor of the session's socket that is ours to close."""
    return os.dup(session.fileno())
