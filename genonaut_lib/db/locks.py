"""One way to run DDL: a short lock_timeout, retries with jitter outside any transaction, a fixed budget.

A waiting ACCESS EXCLUSIVE request makes every later session wait behind it, so a DDL statement
must give up quickly and come back. Nobody is ever killed; the blockers are named instead.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass

from psycopg import errors, sql

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import LockNotAcquired
from genonaut_lib.settings import DatabaseSettings


@dataclass(frozen=True)
class Attempt:
    """What it took to run a DDL statement: attempts made and seconds spent, waiting included."""

    attempts: int
    seconds: float


def run_ddl(
    connection: Connection, statement: sql.Composed, settings: DatabaseSettings, *, transactional: bool = True
) -> Attempt:
    """Run one DDL statement under a lock timeout, retrying on SQLSTATE 55P03 only.

    `connection` is in autocommit mode and outside a transaction. A transactional statement waits
    `lock_timeout_ms` at a time and had no effect when it gave up. One that is not (CONCURRENTLY,
    VACUUM) queues for a lock that no reader or writer waits behind, so it waits once, for
    `concurrent_wait_s`: a second try would take the invalid index of the first for its work.
    Raises LockNotAcquired, naming the sessions in the way.
    """
    start = time.monotonic()
    attempts = settings.lock_attempts if transactional else 1
    timeout_ms = settings.lock_timeout_ms if transactional else settings.concurrent_wait_s * 1000
    for attempt in range(1, attempts + 1):
        try:
            _execute(connection, statement, timeout_ms, transactional)
        except errors.LockNotAvailable as error:
            if attempt == attempts:
                raise _given_up(connection, attempt, error) from error
            time.sleep(_pause_s(attempt, settings.lock_retry_max_s))
        else:
            return Attempt(attempt, time.monotonic() - start)
    raise AssertionError("unreachable: lock_attempts is at least 1")


def blockers(connection: Connection) -> list[str]:
    """Return one line for each other session that holds a lock on a gallery table: pid, user, query."""
    rows = connection.execute(block("catalog", "lock_holders").sql()).fetchall()
    return [f"pid {pid} (user {user}, {state}): {query}" for pid, user, state, query in rows]


def _execute(connection: Connection, statement: sql.Composed, timeout_ms: int, transactional: bool) -> None:
    if transactional:
        with connection.transaction():
            connection.execute("select set_config('lock_timeout', %s, true)", [f"{timeout_ms}ms"])
            connection.execute(statement)
        return
    # CREATE INDEX CONCURRENTLY and its like refuse a transaction block, so the timeout is the session's.
    connection.execute("select set_config('lock_timeout', %s, false)", [f"{timeout_ms}ms"])
    try:
        connection.execute(statement)
    finally:
        connection.execute("reset lock_timeout")


def _pause_s(attempt: int, longest_s: float) -> float:
    ceiling: float = min(longest_s, 0.1 * 2**attempt)
    return ceiling * (0.5 + random.random() / 2)  # noqa: S311  # jitter, not a secret


def _given_up(connection: Connection, attempts: int, error: Exception) -> LockNotAcquired:
    holders = blockers(connection)
    named = "; ".join(holders) if holders else "none visible any more"
    return LockNotAcquired(
        f"No lock after {attempts} attempts ({str(error).strip()}). Sessions in the way: {named}.",
        hint="Let them finish or ask their owner, then run the same command again.",
    )
