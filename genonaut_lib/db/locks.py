"""One way to run DDL: a short lock_timeout, retries with jitter outside any transaction, a fixed budget.

A waiting ACCESS EXCLUSIVE request makes every later session wait behind it, so a DDL statement
must give up quickly and come back. Nobody is ever killed; the blockers are named instead.

In a transaction the timeout is set with SET LOCAL and read back, which a pooler in transaction mode
cannot break. Statements that refuse a transaction block (CONCURRENTLY, VACUUM) have two ways. On a
server session of our own, the session's lock_timeout is set, read back and reset. Behind a pooler a
session-level setting would stay on a server session of other applications, one inside the same message
makes PostgreSQL refuse the statement (it is a transaction block), and PgBouncer refuses one at connect.
There a watch bounds the wait: it sees from a second session how long the statement waits for locks, and
cancels that statement, through its own connection, when it has waited for its time.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, replace

from psycopg import errors, sql

from genonaut_lib.db import pooling
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.db.watch import LOOK_EVERY_S, Blocker, Watch
from genonaut_lib.errors import LockNotAcquired, SettingNotTaken
from genonaut_lib.settings import DatabaseSettings

_LOG = logging.getLogger(__name__)


@dataclass(frozen=True)
class Attempt:
    """What it took to run a DDL statement: attempts made and seconds spent, waiting included."""

    attempts: int
    seconds: float


@dataclass(frozen=True)
class Waiting:
    """An attempt that got no lock: which one, of how many, seconds since the first, who was in the way."""

    attempt: int
    of: int
    seconds: float
    blockers: tuple[str, ...]

    def __str__(self) -> str:
        """One line for a log."""
        named = "; ".join(self.blockers) or "none visible any more"
        return f"no lock in attempt {self.attempt} of {self.of}, after {self.seconds:.1f} s; in the way: {named}"


def log_waiting(waiting: Waiting) -> None:
    """Write an attempt that got no lock to the log, where notebooks and terminals show it."""
    _LOG.warning("%s", waiting)


@dataclass(frozen=True)
class Manner:
    """How one statement takes its locks.

    `patient`: no reader or writer queues behind the statement's lock request, so it waits once, for
    `concurrent_wait_s`; None means whatever refuses a transaction block. `waits`: how many locks it
    may have to wait for while it holds the first; they share `lock_timeout_ms`. `before` looks at the
    catalogue in the statement's own transaction and raises what forbids it. `settled` tells, after an
    attempt without a lock, that what it left is enough to go on with. `report` hears of each retry.
    """

    patient: bool | None = None
    waits: int = 1
    before: Callable[[Connection], None] = lambda connection: None
    settled: Callable[[], bool] = lambda: False
    report: Callable[[Waiting], None] = log_waiting


def run_ddl(
    connection: Connection,
    statement: sql.Composed,
    settings: DatabaseSettings,
    *,
    transactional: bool = True,
    manner: Manner | None = None,
) -> Attempt:
    """Run one DDL statement under a lock timeout, retrying on SQLSTATE 55P03 only.

    `connection` is in autocommit mode and outside a transaction. A transactional statement waits
    `lock_timeout_ms` at a time and had no effect when it gave up. A patient one (CREATE INDEX
    CONCURRENTLY, VACUUM) queues for a lock that no reader or writer waits behind, so it waits once, for
    `concurrent_wait_s`: a second try would take the invalid index of the first for its work.
    Raises LockNotAcquired, naming the sessions in the way, and SettingNotTaken where the timeout did
    not take effect; the statement was not sent then.
    """
    manner = manner or Manner()
    if manner.patient is None:
        manner = replace(manner, patient=not transactional)
    return _Job(connection, statement, settings, transactional, manner).run()


def blockers(connection: Connection) -> list[str]:
    """Return one line for each other session that holds a lock on a gallery table: pid, user, query."""
    rows = connection.execute(block("catalog", "lock_holders").sql()).fetchall()
    return [str(Blocker(*row)) for row in rows]


@dataclass(frozen=True)
class _Job:
    """One statement on its way through its attempts."""

    connection: Connection
    statement: sql.Composed
    settings: DatabaseSettings
    transactional: bool
    manner: Manner

    @property
    def attempts(self) -> int:
        return 1 if self.manner.patient else self.settings.lock_attempts

    @property
    def timeout_ms(self) -> int:
        if self.manner.patient:
            return self.settings.concurrent_wait_s * 1000
        return max(1, self.settings.lock_timeout_ms // self.manner.waits)

    def run(self) -> Attempt:
        start = time.monotonic()
        for attempt in range(1, self.attempts + 1):
            watch = Watch(self.connection)
            try:
                self._execute(watch)
            except (errors.LockNotAvailable, errors.QueryCanceled) as error:
                if isinstance(error, errors.QueryCanceled) and not watch.cancelled:
                    raise
                if self.manner.settled():
                    return Attempt(attempt, time.monotonic() - start)
                waiting = Waiting(attempt, self.attempts, time.monotonic() - start, self._in_the_way(watch))
                if attempt == self.attempts:
                    raise _given_up(waiting, error) from error
                self.manner.report(waiting)
                time.sleep(_pause_s(attempt, self.settings.lock_retry_max_s))
            else:
                return Attempt(attempt, time.monotonic() - start)
        raise AssertionError("unreachable: lock_attempts is at least 1")

    def _execute(self, watch: Watch) -> None:
        if self.transactional:
            self._in_transaction(watch)
        elif pooling.is_pooled(self.connection):
            self._bounded_by_watch(watch)
        else:
            self._on_own_session(watch)

    def _in_transaction(self, watch: Watch) -> None:
        with self.connection.transaction():
            watch.pid = self._set_timeout("set_lock_timeout")
            self.manner.before(self.connection)
            with watch:
                self.connection.execute(self.statement)

    def _on_own_session(self, watch: Watch) -> None:
        try:
            watch.pid = self._set_timeout("set_session_lock_timeout")
            self.manner.before(self.connection)
            with watch:
                self.connection.execute(self.statement)
        finally:
            # A session that was lost took its settings with it.
            if not self.connection.closed:
                self.connection.execute("reset lock_timeout")

    def _bounded_by_watch(self, watch: Watch) -> None:
        self.manner.before(self.connection)
        # The watch looks now and then, so it sees late that the time is over.
        watch.limit_s = max(LOOK_EVERY_S, self.timeout_ms / 1000 - 2 * LOOK_EVERY_S)
        with watch:
            self.connection.execute(watch.marked(self.statement))

    def _set_timeout(self, name: str) -> int:
        """Set the lock timeout, see that it is in force, and return the server session it is in force on."""
        self.connection.execute(block("session", name).sql(), {"lock_timeout": f"{self.timeout_ms}ms"})
        row = self.connection.execute(block("session", "lock_timeout").sql()).fetchone()
        assert row is not None
        if row[0] != self.timeout_ms:
            raise SettingNotTaken(
                f"lock_timeout was set to {self.timeout_ms} ms and is {row[0]} ms; the statement was not sent.",
                hint="Something on the way to the server drops settings: let DATABASE_URL lead to the server itself.",
            )
        return int(row[1])

    def _in_the_way(self, watch: Watch) -> tuple[str, ...]:
        """Return who was seen while waiting, or else who holds locks on the gallery now."""
        seen = tuple(str(one) for one in watch.blockers) or tuple(blockers(self.connection))
        return (*seen, f"no second session could look ({watch.blind})") if watch.blind else seen


def _pause_s(attempt: int, longest_s: float) -> float:
    ceiling: float = min(longest_s, 0.1 * 2**attempt)
    return ceiling * (0.5 + random.random() / 2)  # noqa: S311  # jitter, not a secret


def _given_up(waiting: Waiting, error: Exception) -> LockNotAcquired:
    named = "; ".join(waiting.blockers) or "none visible any more"
    return LockNotAcquired(
        f"No lock after {waiting.of} attempts in {waiting.seconds:.1f} s ({str(error).strip()}). "
        f"Sessions in the way: {named}.",
        hint="Let them finish or ask their owner, then run the same command again.",
    )
