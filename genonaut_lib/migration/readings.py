"""What the server shows of the load on it, read in plain SQL; what to make of it is `pressure`'s business.

Nothing here locks a table or waits for one: catalogue, statistics views and the lock manager's own
view. What the role may not see is said in a sentence and never taken for zero.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal
from typing import Any

import psycopg

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.migration_settings import PressureSettings


@dataclass(frozen=True)
class Replica:
    """A physical replica: how far it has replayed, and the lag in seconds it reported last."""

    pid: int
    name: str
    replayed: int
    behind_bytes: int
    reported_s: float | None


@dataclass(frozen=True)
class Slot:
    """A replication slot and the WAL it keeps on the server's disk."""

    name: str
    active: bool
    retained_mb: float


@dataclass(frozen=True)
class Archiver:
    """The archiver: whole segments that wait for it (None: unknown), and what it failed at since it last succeeded."""

    backlog: int | None
    failed_wal: str | None = None
    failed_s: float | None = None


@dataclass(frozen=True)
class Vacuum:
    """A vacuum on one of our tables: `command` says which kind."""

    pid: int
    table: str
    command: str


@dataclass(frozen=True)
class Wait:
    """A session that waits for a lock of ours."""

    pid: int
    seconds: float


@dataclass(frozen=True)
class Answer:
    """What the user's query gave: a boolean or number, or the sentence that says why there is none."""

    value: bool | float | None
    error: str | None = None


@dataclass(frozen=True)
class Readings:
    """One look at the server. `unknown` names the signals it could not read, `blind` says why in sentences."""

    wal_position: int
    replicas: tuple[Replica, ...] = ()
    slots: tuple[Slot, ...] = ()
    archiver: Archiver | None = None
    vacuums: tuple[Vacuum, ...] = ()
    waits: tuple[Wait, ...] = ()
    answer: Answer | None = None
    unknown: frozenset[str] = frozenset()
    blind: tuple[str, ...] = ()


@dataclass(frozen=True)
class _Rights:
    role: str
    all_stats: bool
    archive_files: bool


def read(
    connection: Connection, settings: PressureSettings, tables: Sequence[str], own_pids: Sequence[int]
) -> Readings:
    """Return one look at the server; signals that are switched off are not read.

    The session must be outside a transaction, in which the statistics views would stand still.
    Raises psycopg.Error when the connection is lost; an error of the user's query is in its answer.
    """
    rights = _Rights(*_row(connection, "rights"))
    replicas, hidden = _replicas(connection, settings)
    archiver = _archiver(connection, settings, rights)
    return Readings(
        wal_position=_row(connection, "position")[0],
        replicas=replicas,
        slots=_slots(connection, settings),
        archiver=archiver,
        vacuums=_vacuums(connection, settings, tables),
        waits=_waits(connection, settings, own_pids),
        answer=_answer(connection, settings),
        unknown=_unknown(hidden, archiver),
        blind=tuple(_blind(rights, settings, archiver, _missing(connection, settings, tables))),
    )


def _replicas(connection: Connection, settings: PressureSettings) -> tuple[tuple[Replica, ...], int]:
    """Return the replicas this role may see, and the number of those it may not."""
    if settings.replica_lag_s is None:
        return (), 0
    rows = _rows(connection, "replicas", ignored=list(settings.replicas_ignored))
    seen = tuple(Replica(*row[:5]) for row in rows if row[-1])
    return seen, len(rows) - len(seen)


def _slots(connection: Connection, settings: PressureSettings) -> tuple[Slot, ...]:
    if settings.slot_retained_mb is None:
        return ()
    return tuple(Slot(*row) for row in _rows(connection, "slots"))


def _archiver(connection: Connection, settings: PressureSettings, rights: _Rights) -> Archiver | None:
    """Return how the archiver stands, or None where the server archives nothing."""
    rows = _rows(connection, "archiver") if settings.archiver_backlog_files is not None else []
    if not rows:
        return None
    wal, seconds, failing, backlog = rows[0]
    if backlog is None and rights.archive_files:
        backlog = _row(connection, "archive_files")[0]
    return Archiver(backlog, wal, seconds) if failing else Archiver(backlog)


def _vacuums(connection: Connection, settings: PressureSettings, tables: Sequence[str]) -> tuple[Vacuum, ...]:
    if not settings.pause_for_vacuum:
        return ()
    return tuple(Vacuum(*row) for row in _rows(connection, "vacuums", tables=list(tables)))


def _missing(connection: Connection, settings: PressureSettings, tables: Sequence[str]) -> list[str]:
    if not settings.pause_for_vacuum:
        return []
    return [str(row[0]) for row in _rows(connection, "missing", tables=list(tables))]


def _waits(connection: Connection, settings: PressureSettings, own_pids: Sequence[int]) -> tuple[Wait, ...]:
    """Return who waits for us, also a little below the limit: a signal that paused wants to see that too."""
    if settings.waiting_session_s is None or not own_pids:
        return ()
    seconds = settings.waiting_session_s * settings.resume_share
    return tuple(Wait(*row) for row in _rows(connection, "waits", pids=list(own_pids), seconds=seconds))


def _answer(connection: Connection, settings: PressureSettings) -> Answer | None:
    """Ask the user's query, in a read-only transaction with a timeout that leaves nothing behind."""
    if settings.query is None:
        return None
    try:
        with connection.transaction(force_rollback=True):
            connection.execute(block("pressure", "confine").sql(), {"timeout": f"{settings.query_timeout_ms}ms"})
            # Binary results go through the protocol that takes one statement only: text with a second
            # one, such as a COMMIT that would end the read-only transaction, is a syntax error there.
            cursor = connection.execute(settings.query.encode(connection.info.encoding), binary=True)
            rows = cursor.fetchmany(2) if cursor.description else []
    except psycopg.Error as error:
        if connection.closed:
            raise
        return Answer(None, f"failed: {error.diag.message_primary or error} ({error.sqlstate})")
    return _interpret(rows)


def _interpret(rows: Sequence[tuple[Any, ...]]) -> Answer:
    """Return the one boolean or number the rows hold, or what they hold instead."""
    if len(rows) != 1 or len(rows[0]) != 1:
        return Answer(None, "gave no single value (one row of one column is wanted)")
    value = rows[0][0]
    if isinstance(value, bool):
        return Answer(value)
    if isinstance(value, int | float | Decimal) and math.isfinite(value):
        return Answer(float(value))
    return Answer(None, f"gave {value!r:.60} (a boolean or a finite number is wanted)")


def _unknown(hidden_replicas: int, archiver: Archiver | None) -> frozenset[str]:
    unknown = {
        "replica_lag": hidden_replicas > 0,
        "archiver": archiver is not None and archiver.backlog is None,
    }
    return frozenset(signal for signal, holds in unknown.items() if holds)


def _blind(rights: _Rights, settings: PressureSettings, archiver: Archiver | None, missing: Sequence[str]) -> list[str]:
    """Say in a sentence each what cannot be seen and what would help."""
    found = [f"There is no relation {name}, so no vacuum of it is seen." for name in missing]
    remedy = f"GRANT pg_monitor TO {rights.role} lets it."
    if settings.replica_lag_s is not None and not rights.all_stats:
        found.append(f"The role {rights.role} may not read the lag of replicas. {remedy}")
    if settings.pause_for_vacuum and not rights.all_stats:
        found.append(f"The role {rights.role} may not see vacuums of other roles or of autovacuum. {remedy}")
    if archiver and archiver.backlog is None:
        found.append(
            f"The archiver's backlog cannot be told from the last archived file, and the role {rights.role} "
            f"may not list the files that wait. {remedy}"
        )
    return found


def _rows(connection: Connection, name: str, **values: object) -> list[tuple[Any, ...]]:
    return connection.execute(block("pressure", name).sql(), values or None).fetchall()


def _row(connection: Connection, name: str) -> tuple[Any, ...]:
    return _rows(connection, name)[0]
