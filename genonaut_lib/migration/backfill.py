"""The backfill engine: keyset batches, each in one transaction with its checkpoint.

A task supplies the SQL of one batch; the engine owns the cursor, the checkpoint, the size of a
batch, retries and progress. A process killed at any instant leaves whole batches behind: the next
start goes on after the last committed one.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from psycopg import errors, sql

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import Block, block
from genonaut_lib.errors import BackfillBusy, LockNotAcquired
from genonaut_lib.migration.plan import Action, action
from genonaut_lib.settings import ThrottleSettings
from genonaut_lib.vocabulary import ContentSource

LOCK_WAIT_S = 30.0
"""How long a start waits for a predecessor whose session the server has not noticed to be gone."""
ROW_LOCK_TIMEOUT = "400ms"
"""Below PostgreSQL's deadlock_timeout (1 s): in a deadlock it is the backfill that steps back."""
MAX_RETRIES = 20


@dataclass(frozen=True)
class BackfillTask:
    """One backfill: the SQL of a batch and the sources it walks.

    `batch` takes %(after)s, %(upto)s and %(source)s, and returns (rows read, rows changed).
    """

    name: str
    batch: Block
    sources: tuple[ContentSource, ...] = tuple(ContentSource)


@dataclass(frozen=True)
class Progress:
    """How far a task is: rows read of how many in this source, and rows really changed."""

    task: str
    source: str
    rows_read: int
    rows_total: int
    rows_changed: int


@dataclass
class BackfillResult:
    """What one start of the engine did; rows of earlier starts are not in it."""

    rows_read: int = 0
    rows_changed: int = 0
    batches: int = 0
    retries: int = 0
    seconds: float = 0.0


@dataclass
class _Range:
    """A range being worked on: ids above `cursor` up to `upto` are still to do."""

    source: ContentSource
    number: int
    upto: int
    cursor: int
    rows_total: int
    rows_read: int
    rows_changed: int


@dataclass
class Backfill:
    """One run of a task on one session."""

    connection: Connection
    task: BackfillTask
    throttle: ThrottleSettings
    report: Callable[[Progress], None] = lambda progress: None
    result: BackfillResult = field(default_factory=BackfillResult)

    def run(self) -> BackfillResult:
        """Work off what is left of the task and return what this start did.

        Raises BackfillBusy when another session works on it, LockNotAcquired when a single row
        stays locked through all retries.
        """
        self._lock()
        started = time.monotonic()
        try:
            for source in self.task.sources:
                self._run_source(source)
        finally:
            self.result.seconds = time.monotonic() - started
            self._execute("unlock")
        return self.result

    def _run_source(self, source: ContentSource) -> None:
        self._open_range(source)
        for part in self._ranges(source):
            self._run_range(part)

    def _open_range(self, source: ContentSource) -> None:
        """Open the first range, or a further one for rows that came after an earlier run was done."""
        ranges = self._ranges(source)
        row = self.connection.execute(block("catalog", "id_bounds").sql(table=source.table)).fetchone()
        assert row is not None
        after, upto = ranges[-1].upto if ranges else row[0], row[1]
        if ranges and upto <= after:
            return
        values = {"range_no": len(ranges) + 1, "after_id": after, "upto_id": max(after, upto)}
        self.connection.execute(
            block("backfill", "open_range").sql(table=source.table),
            {"task": self.task.name, "source": source.junction, **values},
        )

    def _ranges(self, source: ContentSource) -> list[_Range]:
        rows = self._execute("ranges", source=source.junction)
        return [_Range(source, *row) for row in rows]

    def _run_range(self, part: _Range) -> None:
        size = self.throttle.batch_rows_first
        retries = 0
        while part.cursor < part.upto:
            end = self._batch_end(part, size)
            if end is None:
                self._execute("finish_range", source=part.source.junction, range_no=part.number)
                return
            try:
                seconds = self._run_batch(part, end)
            except (errors.LockNotAvailable, errors.QueryCanceled, errors.DeadlockDetected) as error:
                retries += 1
                self.result.retries += 1
                if retries > MAX_RETRIES:
                    raise self._stuck(part, error) from error
                size = max(1, size // 2)
                time.sleep(min(2.0, 0.05 * 2**retries))
                continue
            retries = 0
            size = self._steer(size, seconds)
            time.sleep(self.throttle.pause_s)

    def _batch_end(self, part: _Range, size: int) -> int | None:
        statement = block("backfill", "batch_end").sql(table=part.source.table)
        values = {"after": part.cursor, "upto": part.upto, "rows": size}
        row = self.connection.execute(statement, values).fetchone()
        return row[0] if row else None

    def _run_batch(self, part: _Range, end: int) -> float:
        """Carry out the rows above the cursor up to `end`, move the cursor with them, return seconds."""
        started = time.monotonic()
        with self.connection.transaction():
            self._set_local()
            read, changed = self._change(part, end)
            self._checkpoint(part, end, read, changed, time.monotonic() - started)
        part.cursor = end
        part.rows_read += read
        part.rows_changed += changed
        self.result.rows_read += read
        self.result.rows_changed += changed
        self.result.batches += 1
        self.report(Progress(self.task.name, part.source.junction, part.rows_read, part.rows_total, part.rows_changed))
        return time.monotonic() - started

    def _set_local(self) -> None:
        values = {"lock_timeout": ROW_LOCK_TIMEOUT, "statement_timeout": f"{self.throttle.batch_timeout_s}s"}
        self._execute("set_local", **values)

    def _change(self, part: _Range, end: int) -> tuple[int, int]:
        statement = self.task.batch.sql(table=part.source.table)
        values = {"after": part.cursor, "upto": end, "source": part.source.junction}
        # Not prepared: a generic plan would be made for batches of any size.
        row = self.connection.execute(statement, values, prepare=False).fetchone()
        assert row is not None
        return int(row[0]), int(row[1])

    def _checkpoint(self, part: _Range, end: int, read: int, changed: int, seconds: float) -> None:
        moved = self._execute(
            "checkpoint",
            source=part.source.junction,
            range_no=part.number,
            after=part.cursor,
            cursor=end,
            rows_read=read,
            rows_changed=changed,
            seconds=seconds,
        )
        if not moved:
            raise BackfillBusy(
                f"The checkpoint of {self.task.name} was moved by another worker; this batch was rolled back."
            )

    def _steer(self, size: int, seconds: float) -> int:
        """Return the next batch size: towards the target time, at most doubled or halved."""
        factor = min(2.0, max(0.5, self.throttle.batch_target_s / max(seconds, 1e-6)))
        return max(1, min(int(size * factor), self.throttle.batch_rows_max))

    def _lock(self) -> None:
        deadline = time.monotonic() + LOCK_WAIT_S
        while not self._execute("try_lock")[0][0]:
            if time.monotonic() > deadline:
                raise BackfillBusy(
                    f"Another session works on {self.task.name}.",
                    hint="Wait for it to end; two workers on one range would only wait for each other.",
                )
            time.sleep(0.25)

    def _stuck(self, part: _Range, error: Exception) -> LockNotAcquired:
        return LockNotAcquired(
            f"{self.task.name} could not pass id {part.cursor} of {part.source.table} in "
            f"{MAX_RETRIES} tries (a locked row, or one over its time): {str(error).strip()}.",
            hint="Let the blocking transaction end, then run the notebook again; it goes on from here.",
        )

    def _execute(self, name: str, **values: object) -> list[tuple[Any, ...]]:
        statement: sql.Composed = block("backfill", name).sql()
        cursor = self.connection.execute(statement, {"task": self.task.name, **values})
        return cursor.fetchall() if cursor.description else []


def forget(connection: Connection, task: str) -> None:
    """Drop the checkpoints of a task, so that its next start begins anew."""
    connection.execute(block("backfill", "forget").sql(), {"task": task})


def forget_action(task: str) -> Action:
    """Return the undo action that drops the checkpoints of a task whose target goes away."""
    return action(f"forget:{task}", block("backfill", "forget_with_schema"), task=sql.Literal(task))


@dataclass(frozen=True)
class BackfillStatus:
    """How a task stands over all its ranges and starts."""

    ranges: int
    rows_read: int
    rows_changed: int
    complete: bool
    seconds: float


def status(connection: Connection, task: str) -> BackfillStatus:
    """Return how a task stands; `ranges` is 0 for one that never started."""
    row = connection.execute(block("ledger", "phase_applied").sql(), {"task": task}).fetchone()
    assert row is not None
    return BackfillStatus(row[0], int(row[1]), int(row[2]), row[0] > 0 and row[3], float(row[4]))
