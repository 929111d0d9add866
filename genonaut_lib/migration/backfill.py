"""What a backfill is: a task, its ranges and checkpoints in the ledger, and how far it is.

A task supplies the SQL of one batch. Its tables are cut into ranges of ids once, at the start; each
range carries its own checkpoint. `crew` works them off.
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any

from psycopg import sql

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import Block, block
from genonaut_lib.errors import BackfillBusy
from genonaut_lib.migration import control
from genonaut_lib.migration.plan import Action, action
from genonaut_lib.vocabulary import ContentSource


@dataclass(frozen=True)
class BackfillTask:
    """One backfill: the SQL of a batch and the sources it walks.

    `batch` takes %(after)s, %(upto)s and %(source)s, and returns (rows read, rows changed). `careful`
    does the same where `batch` failed on a key that is there already. `workers` bounds the sessions
    where batches would lock the same rows. `writes` are the tables a batch changes besides the
    source's own.
    """

    name: str
    batch: Block
    sources: tuple[ContentSource, ...] = tuple(ContentSource)
    workers: int = 64
    writes: tuple[str, ...] = ()
    careful: Block | None = None

    @property
    def tables(self) -> tuple[str, ...]:
        """Every table a batch reads or writes."""
        return (*(source.table for source in self.sources), *self.writes)


@dataclass(frozen=True)
class Progress:
    """How far a task is: rows read of how many in this source, and rows really changed.

    `held` says why it waits, if it does; `eta_s` is the seconds of work left over all sources, None
    until enough is done to tell.
    """

    task: str
    source: str
    rows_read: int
    rows_total: int
    rows_changed: int
    held: tuple[str, ...] = ()
    eta_s: float | None = None
    counted: str = "changed"


@dataclass
class BackfillResult:
    """What one start of the engine did; rows of earlier starts are not in it.

    `seconds` is the whole time, `held_s` the part of it spent paused, `reasons` why.
    """

    rows_read: int = 0
    rows_changed: int = 0
    batches: int = 0
    retries: int = 0
    seconds: float = 0.0
    held_s: float = 0.0
    reasons: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class BackfillStatus:
    """How a task stands over all its ranges and starts; `ranges` is 0 for one that never started."""

    ranges: int
    rows_total: int
    rows_read: int
    rows_changed: int
    complete: bool
    seconds: float


def open_ranges(connection: Connection, task: BackfillTask, least_rows: int) -> None:
    """Cut the sources of a task into ranges, or the rows that came since it was last cut."""
    with connection.transaction():
        _execute(connection, "lock_task", task.name)
        for source in task.sources:
            _open_source(connection, task, source, least_rows)


def _open_source(connection: Connection, task: BackfillTask, source: ContentSource, least_rows: int) -> None:
    last_range, last_id = _execute(connection, "last_range", task.name, source=source.junction)[0]
    size = _execute(connection, "rows_in_range", task.name, least=least_rows, relation=source.table)[0][0]
    bounds = connection.execute(block("catalog", "id_bounds").sql(table=source.table)).fetchone()
    assert bounds is not None
    values = {
        "task": task.name,
        "source": source.junction,
        "last_range": last_range,
        "after": bounds[0] if last_id is None else last_id,
        "rows": size,
    }
    opened = connection.execute(block("backfill", "open_ranges").sql(table=source.table), values).rowcount
    if not last_range and not opened:
        _execute(connection, "open_empty_range", task.name, source=source.junction)


def totals(connection: Connection, task: str) -> Mapping[str, tuple[int, int, int]]:
    """Return (rows in all, rows read, rows changed) of a task by source, over all starts."""
    return {source: (total, read, changed) for source, total, read, changed in _execute(connection, "totals", task)}


def status(connection: Connection, task: str) -> BackfillStatus:
    """Return how a task stands."""
    ranges, total, read, changed, whole, seconds = _execute(connection, "status", task)[0]
    return BackfillStatus(ranges, total, read, changed, ranges > 0 and whole, float(seconds))


def forget(connection: Connection, task: str) -> None:
    """Drop the checkpoints of a task, so that its next start begins anew.

    Raises BackfillBusy while an engine works on it; one that was killed is waited for until it counts
    as gone.
    """
    deadline = time.monotonic() + control.SILENT_S + 1
    while at_work := control.engines(connection, task):
        if time.monotonic() > deadline:
            where = ", ".join(f"process {engine.process_id} on {engine.host}" for engine in at_work)
            hint = f"`genonaut backfill cancel {task}` stops it at its next checkpoint."
            raise BackfillBusy(f"{task} is being worked on by {where}.", hint=hint)
        time.sleep(0.5)
    _execute(connection, "forget", task)


def forget_action(task: str) -> Action:
    """Return the undo action that drops the checkpoints of a task whose target goes away."""
    return action(f"forget:{task}", block("backfill", "forget_with_schema"), task=sql.Literal(task))


def _execute(connection: Connection, name: str, task: str, **values: Any) -> list[tuple[Any, ...]]:
    cursor = connection.execute(block("backfill", name).sql(), {"task": task, **values})
    return cursor.fetchall() if cursor.description else []
