"""Sessions for readers: a pool of asynchronous connections, and a single one.

Reading sessions are set up as every session of ours is, and planned for reading (see `sql/session.sql`).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Any

import psycopg
from psycopg.adapt import AdaptersMap
from psycopg_pool import AsyncConnectionPool

from genonaut_lib.db import engine
from genonaut_lib.db.engine import APPLICATION_NAME
from genonaut_lib.db.statements import block
from genonaut_lib.settings import Settings

AsyncConnection = psycopg.AsyncConnection[Any]
Pool = AsyncConnectionPool[AsyncConnection]


@dataclass(frozen=True)
class Bounds:
    """How long a statement may wait for a lock, and a transaction for its next statement, in milliseconds."""

    lock_ms: int
    idle_ms: int


@contextlib.asynccontextmanager
async def open_pool(
    settings: Settings, *, sessions: int = 4, adapters: AdaptersMap | None = None
) -> AsyncIterator[Pool]:
    """Open a pool of at most `sessions` connections for a block, and close it.

    `adapters` say how values come and go in place of psycopg's own.
    """
    pool: Pool = AsyncConnectionPool(
        engine.database_url(settings),
        min_size=1,
        max_size=sessions,
        open=False,
        configure=settle,
        kwargs={"autocommit": True, "application_name": APPLICATION_NAME, "context": adapters},
    )
    async with pool:
        yield pool


@contextlib.asynccontextmanager
async def open_session(settings: Settings) -> AsyncIterator[AsyncConnection]:
    """Open one asynchronous session for a block, and close it."""
    async with open_address(engine.database_url(settings)) as connection:
        yield connection


@contextlib.asynccontextmanager
async def open_address(address: str) -> AsyncIterator[AsyncConnection]:
    """Open one asynchronous session on the database at an address for a block, and close it."""
    connecting = psycopg.AsyncConnection.connect(address, autocommit=True, application_name=APPLICATION_NAME)
    async with await connecting as connection:
        await settle(connection)
        yield connection


async def settle(connection: AsyncConnection) -> None:
    """Give a fresh session the settings every session of ours has, and those of a reader.

    Behind a pooler nothing is left behind in it, and no statement is prepared: there, sessions belong to
    others as well; see `db/pooling.py`.
    """
    cursor = await connection.execute("select pg_backend_pid()")
    row = await cursor.fetchone()
    assert row is not None
    if row[0] == connection.info.backend_pid:
        await connection.execute(block("session", "settle").sql())
        await connection.execute(block("session", "settle_reader").sql())
    else:
        connection.prepare_threshold = None
