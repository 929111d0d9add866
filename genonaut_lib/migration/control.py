"""Talking to a running backfill through the database: what people wish, and what engines say of themselves.

Any process that can reach the database may pause, resume, cancel or retune; the engine looks twice
a second. Nothing here needs a session that stays open, so a pooler in between does no harm.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.migration.actors import user

SILENT_S = 5.0
"""An engine that was not seen for so long has no process behind it; it shows itself every second."""


@dataclass(frozen=True)
class Knobs:
    """The knobs of a backfill that can be turned while it runs; None leaves one as it is."""

    workers: int | None = None
    batch_target_s: float | None = None
    pause_s: float | None = None


@dataclass(frozen=True)
class Wish:
    """What is wanted of a task: `run`, `pause` or `cancel`, and knobs that replace the settings'."""

    wanted: str = "run"
    workers: int | None = None
    batch_target_s: float | None = None
    pause_s: float | None = None
    requested_by: str = ""

    @property
    def knobs(self) -> Knobs:
        """The knobs alone."""
        return Knobs(self.workers, self.batch_target_s, self.pause_s)


@dataclass(frozen=True)
class Beat:
    """What an engine says of itself once a second."""

    state: str
    reasons: Sequence[Mapping[str, Any]]
    workers: int
    batch_target_s: float
    pause_s: float
    rows_per_second: float | None
    eta_s: float | None
    active_s: float


@dataclass(frozen=True)
class EngineState:
    """An engine at work, as its last beat tells; `silent_s` is the age of that beat."""

    engine_id: uuid.UUID
    run_id: uuid.UUID | None
    host: str
    process_id: int
    state: str
    reasons: Sequence[Mapping[str, Any]]
    workers: int | None
    batch_target_s: float | None
    pause_s: float | None
    rows_per_second: float | None
    eta_s: float | None
    active_s: float | None
    started_at: datetime
    silent_s: float


def wish(connection: Connection, task: str) -> Wish:
    """Return what is wanted of a task; to run, where nobody said anything."""
    rows = _execute(connection, "wish", task=task)
    return Wish(*rows[0]) if rows else Wish()


def ask(connection: Connection, task: str, wanted: str | None = None, knobs: Knobs | None = None) -> Wish:
    """Write down what is wanted of a task and return the whole of it; what is not given stays."""
    given = asdict(knobs or Knobs())
    _execute(connection, "make_wish", task=task, wanted=wanted, requested_by=user(), **given)
    return wish(connection, task)


def sign_on(connection: Connection, task: str, run_id: uuid.UUID | None) -> uuid.UUID:
    """Write a new engine down as at work and return its id; a cancel of earlier engines ends here."""
    engine_id = uuid.uuid4()
    _execute(connection, "forget_cancel", task=task)
    values = {"host": socket.gethostname(), "process_id": os.getpid(), "run_id": run_id}
    _execute(connection, "sign_on", engine_id=engine_id, task=task, **values)
    return engine_id


def beat(connection: Connection, engine_id: uuid.UUID, said: Beat) -> None:
    """Write down that an engine lives and how it stands."""
    reasons = Jsonb([dict(reason) for reason in said.reasons])
    _execute(connection, "beat", engine_id=engine_id, **{**vars(said), "reasons": reasons})


def sign_off(connection: Connection, engine_id: uuid.UUID, state: str) -> None:
    """Write down how an engine ended: `done`, `cancelled`, `interrupted` or `failed`."""
    _execute(connection, "sign_off", engine_id=engine_id, state=state)


def note(connection: Connection, task: str, engine_id: uuid.UUID, event: str, **details: Any) -> None:
    """Write an event of an engine down: why it paused, what was retuned, how it ended."""
    _execute(connection, "note_event", task=task, engine_id=engine_id, event=event, details=Jsonb(details))


def engines(connection: Connection, task: str) -> list[EngineState]:
    """Return the engines at work on a task."""
    return [EngineState(*row) for row in _execute(connection, "engines", task=task, silent_s=SILENT_S)]


def tasks(connection: Connection) -> list[str]:
    """Return the tasks that were ever started, the last one first."""
    return [str(row[0]) for row in _execute(connection, "tasks")]


def events(connection: Connection, task: str, limit: int = 20) -> list[tuple[datetime, str, Mapping[str, Any]]]:
    """Return the newest events of a task as (when, event, details), newest first."""
    return [(at, event, details) for at, event, details in _execute(connection, "events", task=task, limit=limit)]


def _execute(connection: Connection, name: str, **values: Any) -> list[tuple[Any, ...]]:
    cursor = connection.execute(block("backfill_control", name).sql(), values)
    return cursor.fetchall() if cursor.description else []
