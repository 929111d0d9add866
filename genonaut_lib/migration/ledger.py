"""The database side of the records: environment, runs, pipelines and verifications.

Every statement stands in `sql/ledger.sql`; the tables in `sql/ledger_schema.sql`.
"""

from __future__ import annotations

import json
import os
import socket
import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Json, Jsonb

from genonaut_lib.db import advisory
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.processes import alive
from genonaut_lib.db.statements import block
from genonaut_lib.migration.plan import Verification


@dataclass(frozen=True)
class VerificationRecord:
    """The last verification of a phase as the ledger holds it."""

    passed: bool
    examined: int
    mismatches: int
    details: dict[str, Any]
    verified_at: datetime
    coverage: float
    started_at: datetime


def exists(connection: Connection) -> bool:
    """Return whether this database has a ledger."""
    row = connection.execute(block("catalog", "has_relation").sql(), {"relation": "workbench.identity"}).fetchone()
    return bool(row and row[0])


def mark_environment(connection: Connection, environment: str) -> None:
    """Mark this database as belonging to `environment`."""
    connection.execute(block("ledger", "mark_environment").sql(), {"environment": environment})


def record_verification(connection: Connection, verification: Verification, run_id: uuid.UUID | None) -> None:
    """Write down what a verification found; the newest of a phase is the one that counts."""
    connection.execute(
        block("ledger", "record_verification").sql(),
        {
            "phase": verification.phase,
            "run_id": run_id,
            "passed": verification.passed,
            "examined": verification.examined,
            "mismatches": verification.mismatches,
            "details": Json({**verification.figures, "samples": list(verification.samples)}),
            "coverage": verification.coverage,
            "started_at": verification.started_at,
        },
    )


def record_undo(connection: Connection, phase: str, run_id: uuid.UUID | None, *, finished: bool = False) -> None:
    """Write down that a phase is being taken back: whatever it was verified for before counts no longer.

    `finished` tells an undo that came to its end from one that was killed.
    """
    values = {"phase": phase, "run_id": run_id, "passed": False, "examined": 0, "mismatches": 0, "coverage": 0.0}
    details = Json({"undone": True, "finished": finished})
    connection.execute(block("ledger", "record_verification").sql(), {**values, "details": details, "started_at": None})


def last_verification(connection: Connection, phase: str) -> VerificationRecord | None:
    """Return the newest verification of `phase`, or None when it was never verified here."""
    row = connection.execute(block("ledger", "last_verification").sql(), {"phase": phase}).fetchone()
    return VerificationRecord(*row) if row else None


@dataclass(frozen=True)
class RunStart:
    """What is known of a run when it starts; `deadline_at` and `resumed_from` where it has them."""

    run_id: uuid.UUID
    notebook: str
    actor: str
    parameters: Mapping[str, Any]
    notebook_digest: str
    output_path: str | None = None
    pipeline_id: uuid.UUID | None = None
    step: str | None = None
    deadline_at: datetime | None = None
    resumed_from: uuid.UUID | None = None


@dataclass(frozen=True)
class RunRecord:
    """A run as the ledger holds it; `silent_s` is the age of its last heartbeat, None where it had none."""

    start: RunStart
    state: str
    started_at: datetime
    host: str | None
    process_id: int | None
    silent_s: float | None


def start_run(connection: Connection, start: RunStart) -> None:
    """Write a run down as running, and hold its advisory lock for as long as this session lives.

    The lock tells a later start whether a process is still behind the row. The id is new, so it is free.
    """
    hold_run(connection, start.run_id)
    values = {**vars(start), "parameters": Jsonb(dict(start.parameters), dumps=_dumps)}
    place = {"host": socket.gethostname(), "process_id": os.getpid()}
    connection.execute(block("ledger", "start_run").sql(), {**values, **place})


def hold_run(connection: Connection, run_id: uuid.UUID) -> bool:
    """Take the lock that says a process is behind a run, for the life of the session; return whether it was free."""
    return advisory.try_hold(connection, str(run_id))


def beat(connection: Connection, run_id: uuid.UUID) -> None:
    """Write down that the process behind a run lives."""
    connection.execute(block("ledger", "beat").sql(), {"run_id": run_id})


def end_run(connection: Connection, run_id: uuid.UUID, state: str, failure: Mapping[str, Any] | None) -> bool:
    """Write down how a run ended; return False for one that had ended already, which then stays as it is.

    `failure` holds `cause` and `message`, None for a run that is `ok`.
    """
    values = {"run_id": run_id, "state": state, "failure": Jsonb(dict(failure), dumps=_dumps) if failure else None}
    return connection.execute(block("ledger", "end_run").sql(), values).rowcount == 1


def find_runs(connection: Connection, prefix: str) -> list[RunRecord]:
    """Return the runs whose id begins with `prefix`, newest first, at most a handful."""
    rows = connection.execute(block("ledger", "find_runs").sql(), {"prefix": prefix}).fetchall()
    return [_run_record(row) for row in rows]


def is_running(connection: Connection, run_id: uuid.UUID) -> bool:
    """Return whether a run is still said to be running; another process may have settled it."""
    return any(found.state == "running" for found in find_runs(connection, str(run_id)))


def gone_runs(connection: Connection, lost_after_s: float) -> Iterator[RunRecord]:
    """Yield the runs that say `running` and have no process behind them, each locked until the next is asked for.

    Such a run's lock is free, and its process is known to be gone (this machine is asked), or its
    heartbeat has stopped for `lost_after_s`: a server that was restarted frees locks, too.
    """
    for row in connection.execute(block("ledger", "running_runs").sql()).fetchall():
        found = _run_record(row)
        run_id = found.start.run_id
        if _may_live(found, lost_after_s) or not hold_run(connection, run_id):
            continue
        try:
            if is_running(connection, run_id):
                yield found
        finally:
            advisory.release(connection, str(run_id))


def _may_live(run: RunRecord, lost_after_s: float) -> bool:
    if run.silent_s is None or run.silent_s > lost_after_s:
        return False
    return run.host != socket.gethostname() or run.process_id is None or alive(run.process_id)


def _run_record(row: Sequence[Any]) -> RunRecord:
    return RunRecord(RunStart(*row[:10]), *row[10:])


def _dumps(value: Any) -> str:
    return json.dumps(value, default=str)
