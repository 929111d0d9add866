"""Sessions for readers: a pool of asynchronous connections, and a single one.

Reading sessions are set up as every session of ours is, and planned for reading (see `sql/session.sql`).
"""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool

from genonaut_lib.db import engine
from genonaut_lib.db.engine import APPLICATION_NAME
from genonaut_lib.db.statements import block
from genonaut_lib.settings import Settings

AsyncConnection = psycopg.AsyncConnection[Any]
Pool = AsyncConnectionPool[AsyncConnection]


@contextlib.asynccontextmanager
async def open_pool(settings: Settings, *, sessions: int = 4) -> AsyncIterator[Pool]:
    """Open a pool of at most `sessions` connections for a block, and close it."""
    pool: Pool = AsyncConnectionPool(
        engine.database_url(settings),
        min_size=1,
        max_size=sessions,
        open=False,
        configure=settle,
        kwargs={"autocommit": True, "application_name": APPLICATION_NAME},
    )
    async with pool:
        yield pool


@contextlib.asynccontextmanager
async def open_session(settings: Settings) -> AsyncIterator[AsyncConnection]:
    """Open one asynchronous session for a block, and close it."""
    address = engine.database_url(settings)
    connecting = psycopg.AsyncConnection.connect(address, autocommit=True, application_name=APPLICATION_NAME)
    async with await connecting as connection:
        await settle(connection)
        yield connection


async def settle(connection: AsyncConnection) -> None:
    """Give a fresh session the settings every session of ours has, and those of a reader."""
    await connection.execute(block("session", "settle").sql())
    await connection.execute(block("session", "settle_reader").sql())
