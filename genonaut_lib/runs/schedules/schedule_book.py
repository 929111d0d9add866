"""The database side of the scheduler: which times are claimed, by whom, and the lease on each sequence.

A claim is a row that only one scheduler can enter. The lease is an advisory lock of the scheduler's
session, held while the sequence runs; it is free again as soon as that session is gone.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

import psycopg
from psycopg.rows import TupleRow

from genonaut_lib.db import advisory
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.processes import alive
from genonaut_lib.db.statements import block

SILENT_S = 30.0
"""A scheduler that was not seen for so long is believed to be gone, wherever it ran."""
KEPT_DAYS = 90

Cursor = psycopg.Cursor[TupleRow]


@dataclass(frozen=True)
class Slot:
    """A sequence and a time at which it was due, in UTC."""

    pipeline: str
    due_at: datetime

    def __str__(self) -> str:
        """Say both as people read them."""
        return f"{self.pipeline}, due {self.due_at:%Y-%m-%d %H:%M} UTC"


@dataclass(frozen=True)
class Holder:
    """A scheduler: its id, and where it runs."""

    scheduler_id: uuid.UUID = field(default_factory=uuid.uuid4)
    host: str = field(default_factory=socket.gethostname)
    process_id: int = field(default_factory=os.getpid)


@dataclass(frozen=True)
class Held:
    """A time that another scheduler holds, how often it was started, and since when nobody saw the holder."""

    slot: Slot
    holder: Holder
    attempts: int
    silent_s: float

    @property
    def is_dead(self) -> bool:
        """Whether the holder is known to be gone: this machine is asked about its own processes."""
        return self.holder.host == socket.gethostname() and not alive(self.holder.process_id)

    @property
    def is_silent(self) -> bool:
        """Whether nobody saw the holder for long."""
        return self.silent_s > SILENT_S


class Book:
    """What one scheduler reads and writes over one session, in autocommit mode; raises what the driver raises."""

    def __init__(self, connection: Connection, holder: Holder) -> None:
        self._connection = connection
        self._holder = holder

    def newest(self, pipelines: Iterable[str]) -> dict[str, tuple[datetime, str]]:
        """Return the newest known time of each sequence, and what it was due by."""
        rows = self._execute("newest_times", pipelines=list(pipelines)).fetchall()
        return {name: (due_at, times) for name, due_at, times in rows}

    def claim(self, pipeline: str, dues: Sequence[datetime], times: str, state: str) -> list[datetime]:
        """Enter times in a state and return those that nobody had entered before."""
        return [row[0] for row in self._execute(
            "claim_times", pipeline=pipeline, dues=list(dues), times=times, state=state, **vars(self._holder)
        ).fetchall()]  # fmt: skip

    def start(self, slot: Slot) -> bool:
        """Write down that a claimed time is at work; return False where it is not ours any more."""
        if self._execute("start_time", **vars(slot), scheduler_id=self._holder.scheduler_id).rowcount != 1:
            return False
        self._execute("give_up_older", **vars(slot))
        return True

    def put_back(self, slot: Slot, exit_code: int, remark: str) -> None:
        """Write down that a time waits for another try."""
        values = {"exit_code": exit_code, "remark": remark, "scheduler_id": self._holder.scheduler_id}
        self._execute("put_back", **vars(slot), **values)

    def end(self, slot: Slot, state: str, exit_code: int | None, remark: str | None) -> None:
        """Write down how a time ended; one that was taken over meanwhile stays as it is."""
        values = {"state": state, "exit_code": exit_code, "remark": remark}
        self._execute("end_time", **vars(slot), **values, scheduler_id=self._holder.scheduler_id)

    def waits_already(self, slot: Slot) -> bool:
        """Return whether an earlier time of the sequence still waits, with any scheduler."""
        row = self._execute("waits_already", **vars(slot)).fetchone()
        return bool(row and row[0])

    def beat(self) -> set[Slot]:
        """Show that this scheduler lives, and return what it still holds."""
        rows = self._execute("beat_times", scheduler_id=self._holder.scheduler_id).fetchall()
        return {Slot(*row) for row in rows}

    def held_by_others(self, pipelines: Iterable[str]) -> list[Held]:
        """Return the times that other schedulers hold, oldest first."""
        values = {"pipelines": list(pipelines), "scheduler_id": self._holder.scheduler_id}
        return [
            Held(Slot(*row[:2]), Holder(*row[2:5]), *row[5:])
            for row in self._execute("held_by_others", **values).fetchall()
        ]

    def take_over(self, held: Held) -> bool:
        """Make a time ours whose holder is gone; return False if somebody else did or its lease is held."""
        if not self.lease(held.slot.pipeline):
            return False
        values = {**vars(held.slot), **vars(self._holder), "before": held.holder.scheduler_id}
        taken = self._execute("take_over", **values)
        self.release(held.slot.pipeline)
        return taken.rowcount == 1

    def lease(self, pipeline: str) -> bool:
        """Take the lease of a sequence; a session that holds it already may get it again."""
        return advisory.try_hold(self._connection, f"genonaut.schedule.{pipeline}")

    def release(self, pipeline: str) -> None:
        """Give the lease of a sequence back."""
        advisory.release(self._connection, f"genonaut.schedule.{pipeline}")

    def forget(self) -> None:
        """Delete what is older than anybody asks for."""
        self._execute("forget_times", days=KEPT_DAYS)

    def _execute(self, name: str, **values: Any) -> Cursor:
        return self._connection.execute(block("scheduled_runs", name).sql(), values)


def recent_times(connection: Connection, limit: int) -> list[dict[str, Any]]:
    """Return the newest times that were due, newest first, with how they ended."""
    columns = ["pipeline", "due_at", "state", "host", "attempts", "exit_code", "remark", "started_at", "ended_at"]
    rows = connection.execute(block("scheduled_runs", "recent_times").sql(), {"limit": limit}).fetchall()
    return [dict(zip(columns, row, strict=True)) for row in rows]
