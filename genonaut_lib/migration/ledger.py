"""The database side of the records: environment, runs, pipelines and verifications.

Every statement stands in `sql/ledger.sql`; the tables in `sql/ledger_schema.sql`.
"""

from __future__ import annotations

import json
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Json, Jsonb

from genonaut_lib.db import advisory
from genonaut_lib.db.engine import Connection
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
    """What is known of a run when it starts."""

    run_id: uuid.UUID
    notebook: str
    actor: str
    parameters: Mapping[str, Any]
    notebook_digest: str
    output_path: str | None = None
    pipeline_id: uuid.UUID | None = None
    step: str | None = None


def start_run(connection: Connection, start: RunStart) -> None:
    """Write a run down as running, and hold its advisory lock for as long as this session lives.

    The lock tells a later start whether a process is still behind the row. The id is new, so it is free.
    """
    advisory.try_hold(connection, str(start.run_id))
    values = {**vars(start), "parameters": Jsonb(dict(start.parameters), dumps=_dumps)}
    connection.execute(block("ledger", "start_run").sql(), values)


def end_run(connection: Connection, run_id: uuid.UUID, state: str, failure: Mapping[str, Any] | None) -> None:
    """Write down how a run ended: `ok`, `failed` or `cancelled`; `failure` names cell, error and value."""
    values = {"run_id": run_id, "state": state, "failure": Jsonb(dict(failure)) if failure else None}
    connection.execute(block("ledger", "end_run").sql(), values)
    advisory.release(connection, str(run_id))


def mark_lost_runs(connection: Connection) -> list[str]:
    """Mark runs that say `running` but have no process behind them as lost; return their notebooks."""
    lost = []
    for run_id, notebook, _ in connection.execute(block("ledger", "running_runs").sql()).fetchall():
        key = str(run_id)
        if advisory.try_hold(connection, key):
            connection.execute(block("ledger", "mark_lost").sql(), {"run_id": run_id})
            advisory.release(connection, key)
            lost.append(str(notebook))
    return lost


def _dumps(value: Any) -> str:
    return json.dumps(value, default=str)
