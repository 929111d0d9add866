"""One worker of a backfill: a session that claims ranges and works them off, batch by batch.

A batch is one transaction: the claim of the range, the rows, and the checkpoint. Whatever instant
the worker, its session or the server dies at, whole batches are left behind.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import psycopg
from psycopg import errors

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import DatabaseUnreachable, LockNotAcquired
from genonaut_lib.migration.backfill import BackfillTask
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import ContentSource

ROW_LOCK_TIMEOUT = "400ms"
"""Below PostgreSQL's deadlock_timeout (1 s): in a deadlock it is the backfill that steps back."""
MAX_RETRIES = 20
IDLE_S = 0.1
"""How long a worker waits where every range left is being worked on by others."""
_RETRIED = (errors.LockNotAvailable, errors.QueryCanceled, errors.DeadlockDetected, errors.SerializationFailure)


@dataclass
class Orders:
    """What the coordinator tells its workers, and they look at between batches."""

    batch_target_s: float
    pause_s: float
    go: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)


@dataclass(frozen=True)
class Batch:
    """What one batch did: rows read and really changed, of which source."""

    source: ContentSource
    rows_read: int
    rows_changed: int


@dataclass(frozen=True)
class _Claim:
    """A range held by the running transaction: ids above `cursor` up to `upto` are still to do."""

    source: ContentSource
    range_no: int
    cursor: int
    upto: int


@dataclass
class Worker:
    """A thread's work on a task; `failure` holds what ended it, if something did."""

    settings: Settings
    task: BackfillTask
    orders: Orders
    done: Callable[[Batch], None]
    size: int = 0
    retries: int = 0
    dismissed: bool = False
    failure: BaseException | None = None
    connection: Connection | None = None
    _last: _Claim | None = None
    _tries: int = 0
    _is_careful: bool = False

    @property
    def pid(self) -> int | None:
        """The server process of the worker's session, None while there is none."""
        session = self.connection
        return None if session is None or session.closed else session.info.backend_pid

    def run(self) -> None:
        """Work until nothing is left or the coordinator says stop; keep a failure for the coordinator."""
        self.size = self.size or self.settings.throttle.batch_rows_first
        try:
            while self._may_go_on() and self._step():
                pass
        except BaseException as error:  # noqa: BLE001  # the coordinator raises it in its own thread
            self.failure = error
        finally:
            self._close()

    def _may_go_on(self) -> bool:
        """Wait while the backfill is paused; return False once this worker is to end."""
        while not self.orders.go.wait(0.2):
            if self.orders.stop.is_set() or self.dismissed:
                return False
        return not (self.orders.stop.is_set() or self.dismissed)

    def _step(self) -> bool:
        """Carry out one batch, halved and tried again when it is in somebody's way; False when all is done."""
        lost_at = None
        while not self.orders.stop.is_set():
            try:
                return self._batch()
            except errors.UniqueViolation as error:
                self._be_careful(error)
            except _RETRIED as error:
                self._step_back(error)
            except psycopg.OperationalError as error:
                if self.connection is not None and not self.connection.closed:
                    raise
                lost_at = lost_at or time.monotonic()
                self._await_server(lost_at, error)
        return False

    def _batch(self) -> bool:
        connection = self._session()
        started = time.monotonic()
        with connection.transaction():
            self._execute("set_local", **self._limits())
            claim = self._claim()
            done = self._work(claim, started) if claim else None
        if claim is None:
            return self._is_more_to_come()
        self._tries, self._is_careful = 0, False
        if done is not None:
            self.done(done)
            self._steer(done.rows_read, time.monotonic() - started)
            self.orders.stop.wait(self.orders.pause_s)
        return True

    def _claim(self) -> _Claim | None:
        """Claim the range worked on last, or the first one that nobody works on."""
        last = self._last
        preferred = {"source": last.source.junction if last else "", "range_no": last.range_no if last else 0}
        rows = self._execute("claim", **preferred)
        if not rows:
            return None
        source, range_no, cursor, upto = rows[0]
        self._last = _Claim(ContentSource.from_junction(source), range_no, cursor, upto)
        return self._last

    def _work(self, claim: _Claim, started: float) -> Batch | None:
        """Carry out the next rows of the claimed range and move its cursor with them."""
        place = {"source": claim.source.junction, "range_no": claim.range_no}
        end = self._batch_end(claim)
        if end is None:
            self._execute("finish_range", **place)
            return None
        read, changed = self._change(claim, end)
        seconds = time.monotonic() - started
        self._execute("checkpoint", **place, cursor=end, rows_read=read, rows_changed=changed, seconds=seconds)
        return Batch(claim.source, read, changed)

    def _batch_end(self, claim: _Claim) -> int | None:
        statement = block("backfill", "batch_end").sql(table=claim.source.table)
        values = {"after": claim.cursor, "upto": claim.upto, "rows": self.size}
        row = self._session().execute(statement, values).fetchone()
        return row[0] if row else None

    def _change(self, claim: _Claim, end: int) -> tuple[int, int]:
        chosen = self.task.careful if self._is_careful and self.task.careful else self.task.batch
        statement = chosen.sql(table=claim.source.table)
        values = {"after": claim.cursor, "upto": end, "source": claim.source.junction}
        # Not prepared: a generic plan would be made for batches of any size.
        row = self._session().execute(statement, values, prepare=False).fetchone()
        assert row is not None
        return int(row[0]), int(row[1])

    def _is_more_to_come(self) -> bool:
        """Nothing was to be claimed: return False when all is done, after a moment when others are at it."""
        if self._execute("is_complete")[0][0]:
            return False
        time.sleep(IDLE_S)
        return True

    def _steer(self, rows: int, seconds: float) -> None:
        """Move the batch size towards the target time, at most doubled or halved.

        A batch that its range cut short counts as if it had been a whole one.
        """
        whole_s = max(seconds, 1e-6) * self.size / max(rows, 1)
        factor = min(2.0, max(0.5, self.orders.batch_target_s / whole_s))
        self.size = max(1, min(int(self.size * factor), self.settings.throttle.batch_rows_max))

    def _step_back(self, error: Exception) -> None:
        """Come again with half a batch; give up where no batch got through in MAX_RETRIES tries."""
        self.retries += 1
        self._tries += 1
        if self._tries > MAX_RETRIES:
            raise self._stuck(error) from error
        self.size = max(1, self.size // 2)
        self.orders.stop.wait(min(2.0, 0.05 * 2**self._tries))

    def _be_careful(self, error: errors.UniqueViolation) -> None:
        """Take the careful statement for this batch; raise where there is none, or it failed too."""
        if self.task.careful is None or self._is_careful:
            raise error
        self._is_careful = True
        self.retries += 1

    def _await_server(self, lost_at: float, error: Exception) -> None:
        """Wait a moment for a server that went away; raise once it stayed away for `reconnect_s`."""
        self._close()
        if time.monotonic() - lost_at > self.settings.throttle.reconnect_s:
            raise error
        self.orders.stop.wait(0.5)

    def _session(self) -> Connection:
        if self.connection is None:
            try:
                self.connection = engine.connect(self.settings)
            except DatabaseUnreachable as error:
                raise psycopg.OperationalError(error.message) from error
        return self.connection

    def _close(self) -> None:
        if self.connection is not None:
            self.connection.close()
            self.connection = None

    def _limits(self) -> dict[str, str]:
        timeout = f"{self.settings.throttle.batch_timeout_s}s"
        return {"lock_timeout": ROW_LOCK_TIMEOUT, "statement_timeout": timeout}

    def _stuck(self, error: Exception) -> LockNotAcquired:
        place = f"id {self._last.cursor} of {self._last.source.table}" if self._last else "its first row"
        return LockNotAcquired(
            f"{self.task.name} could not pass {place} in {MAX_RETRIES} tries (a locked row, or one over its time): "
            f"{str(error).strip()}.",
            hint="Let the blocking transaction end, then run the notebook again; it goes on from here.",
        )

    def _execute(self, name: str, **values: object) -> list[tuple[Any, ...]]:
        statement = block("backfill", name).sql()
        cursor = self._session().execute(statement, {"task": self.task.name, **values})
        return cursor.fetchall() if cursor.description else []
