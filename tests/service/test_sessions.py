"""The pool of the service, apart from HTTP: what a request may wait for its sessions, and what they are set to."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Iterator

import pytest
from psycopg_pool import PoolTimeout, TooManyRequests
from pydantic import SecretStr

from genonaut_lib.gallery.knowledge import Knowledge
from genonaut_lib.service.sessions import Sessions
from genonaut_lib.service.trace import CURRENT, Trace
from genonaut_lib.settings import Settings
from tests.gallery.built import Built
from tests.gallery.served import with_knobs

WAIT_MS = 400


@pytest.fixture
def few(content: Built) -> Settings:
    """Settings of a service with one session, and little patience."""
    return with_knobs(content.settings, "service", sessions=1, pool_wait_ms=WAIT_MS, pool_queue=1)


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for a test."""
    with asyncio.Runner() as found:
        yield found


def test_all_waits_of_a_request_share_one_patience(few: Settings, runner: asyncio.Runner) -> None:
    """Whoever has waited once for a session waits the less for the next."""

    async def asked_thrice() -> float:
        async with Sessions(few) as pool, pool.connection(timeout=30):
            CURRENT.set(Trace())
            started = time.monotonic()
            for _ in range(3):
                with pytest.raises(PoolTimeout):
                    await pool.getconn()
            return time.monotonic() - started

    assert WAIT_MS / 1000 <= runner.run(asked_thrice()) < 2 * WAIT_MS / 1000


def test_more_requests_than_may_wait_are_sent_off_at_once(few: Settings, runner: asyncio.Runner) -> None:
    """Rather than that all of them wait in vain."""

    async def crowded() -> list[BaseException]:
        async with Sessions(few) as pool, pool.connection(timeout=30):
            found = await asyncio.gather(*(pool.getconn() for _ in range(3)), return_exceptions=True)
            return [error for error in found if isinstance(error, BaseException)]

    assert sorted(type(error).__name__ for error in runner.run(crowded())) == [
        PoolTimeout.__name__, TooManyRequests.__name__, TooManyRequests.__name__,
    ]  # fmt: skip


def test_a_database_that_is_away_is_waited_for_together(few: Settings, runner: asyncio.Runner) -> None:
    """Not by one after another of those who want to know what the planner knows."""
    nowhere = few.model_copy(update={"database_url": SecretStr("postgresql:///gallery?host=/nonexistent")})

    async def looked() -> float:
        async with Sessions(nowhere) as pool:
            knowledge = Knowledge(pool, 60)
            started = time.monotonic()
            found = await asyncio.gather(*(knowledge.current() for _ in range(6)), return_exceptions=True)
            assert {type(error) for error in found} == {PoolTimeout}
            return time.monotonic() - started

    assert runner.run(looked()) < 3 * WAIT_MS / 1000


def test_the_databases_time_is_that_of_the_request_that_asked(few: Settings, runner: asyncio.Runner) -> None:
    """As the client's side sees it."""

    async def asked() -> float | None:
        trace = Trace()
        async with Sessions(few) as pool:
            CURRENT.set(trace)
            async with pool.connection(timeout=30) as connection:
                await connection.execute("select pg_sleep(0.2)")
        return trace.database_ms

    assert 200 <= (runner.run(asked()) or 0) < 5_000


def test_a_session_keeps_its_limits_whatever_the_role_says(few: Settings, runner: asyncio.Runner) -> None:
    """All three of them, from the start."""

    async def in_force() -> list[str]:
        names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
        async with Sessions(few) as pool, pool.connection(timeout=30) as connection:
            found = [await (await connection.execute(f"show {name}".encode())).fetchone() for name in names]
        return [row[0] for row in found if row]

    assert runner.run(in_force()) == ["15s", "3s", "10s"]
