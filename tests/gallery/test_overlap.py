"""Counting on while a statement runs: what either finds, and what becomes of the session when one of them fails."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable

import psycopg
import pytest
from psycopg import errors
from psycopg.pq import TransactionStatus

from genonaut_lib.db.pool import AsyncConnection, open_address
from genonaut_lib.gallery.bitmaps.overlap import beside

Story = Callable[[AsyncConnection], Awaitable[None]]


@pytest.fixture
def told(admin_url: str) -> Callable[[Story], None]:
    """Tell a story in a transaction; the session must be there and idle in it at the end."""

    async def run(story: Story) -> None:
        async with open_address(admin_url) as connection:
            await connection.execute("begin")
            await story(connection)
            assert connection.info.transaction_status in (TransactionStatus.INTRANS, TransactionStatus.INERROR)
            await connection.rollback()
            assert await one(connection, "select 1") == 1

    return lambda story: asyncio.run(run(story))


async def one(connection: AsyncConnection, text: str) -> int:
    """Return the one value that a statement yields."""
    row = await (await connection.execute(text.encode())).fetchone()
    assert row is not None
    return int(row[0])


async def steps(connection: AsyncConnection, *statements: str) -> AsyncIterator[None]:
    """Take a step with each statement."""
    for statement in statements:
        await one(connection, statement)
        yield


def test_both_are_done_and_the_statement_is_sent_first(told: Callable[[Story], None]) -> None:
    """Steps that need the session wait for it; what needs only this process goes on meanwhile."""

    async def story(connection: AsyncConnection) -> None:
        moments: dict[str, float] = {}

        async def fetched() -> int:
            found = await one(connection, "select 42 from pg_sleep(0.2)")
            moments["fetched"] = time.monotonic()
            return found

        async def counted() -> AsyncIterator[None]:
            moments["counted"] = time.monotonic()
            yield
            async for _ in steps(connection, "select 7"):
                moments["asked"] = time.monotonic()
                yield

        assert await beside(fetched(), counted()) == 42
        assert moments["counted"] < moments["fetched"] < moments["asked"]

    told(story)


def test_a_statement_that_fails_is_what_is_told_though_steps_fail_by_it(told: Callable[[Story], None]) -> None:
    """The transaction is over for whoever asks next, and that would say nothing."""

    async def story(connection: AsyncConnection) -> None:
        await connection.execute("set local statement_timeout = 300")
        with pytest.raises(errors.QueryCanceled, match="timeout"):
            await beside(one(connection, "select 1 from pg_sleep(5)"), steps(connection, "select 2"))

    told(story)


def test_steps_that_fail_end_the_statement(told: Callable[[Story], None]) -> None:
    """Nothing uses the session when the failure arrives."""

    async def story(connection: AsyncConnection) -> None:
        async def failing() -> AsyncIterator[None]:
            yield
            await asyncio.sleep(0.05)
            raise LookupError

        await connection.execute("set local statement_timeout = 0")
        started = time.monotonic()
        with pytest.raises(LookupError):
            await beside(one(connection, "select 1 from pg_sleep(30)"), failing())
        assert time.monotonic() - started < 20

    told(story)


@pytest.mark.parametrize("after_steps", [True, False])
def test_whoever_gives_up_ends_the_statement_too(told: Callable[[Story], None], after_steps: bool) -> None:
    """While steps are taken, and while only the statement is waited for."""

    async def story(connection: AsyncConnection) -> None:
        async def slow() -> AsyncIterator[None]:
            if not after_steps:
                await asyncio.sleep(30)
            yield

        await connection.execute("set local statement_timeout = 0")
        work = asyncio.create_task(beside(one(connection, "select 1 from pg_sleep(30)"), slow()))
        await asyncio.sleep(0.1)
        started = time.monotonic()
        work.cancel()
        with pytest.raises(asyncio.CancelledError):
            await work
        assert time.monotonic() - started < 20

    told(story)


def test_a_lost_session_is_told_as_one(admin_url: str) -> None:
    """As the statement alone would tell it."""

    async def story() -> None:
        async with open_address(admin_url) as connection, open_address(admin_url) as other:
            pid = connection.info.backend_pid
            fetched = one(connection, "select 1 from pg_sleep(30)")

            async def killing() -> AsyncIterator[None]:
                await other.execute("select pg_terminate_backend(%s)", (pid,))
                async for _ in steps(connection, "select 1"):
                    yield

            with pytest.raises(psycopg.OperationalError):
                await beside(fetched, killing())

    asyncio.run(story())
