"""What the engine calls: every run ends in one sealed record, whichever way it ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

import psycopg

from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import GenonautError, NotebookFailed, RecordNotSealed
from genonaut_lib.migration import ledger
from genonaut_lib.migration.ledger import RunStart
from genonaut_lib.runs import chain, manifest, signing
from genonaut_lib.runs.chain import Link
from genonaut_lib.runs.ledger_records import RunRow, records_of
from genonaut_lib.runs.manifest import Ground
from genonaut_lib.runs.signing import SigningKey
from genonaut_lib.settings import Settings, project_root


@dataclass(frozen=True)
class _Opened:
    """A run that has begun: all that its record needs and that could not be asked for at its end."""

    connection: Connection
    start: RunStart
    folder: Path
    key: SigningKey | None
    ground: Ground
    ledger: str | None
    started_at: datetime


def environment_folder(settings: Settings) -> Path:
    """Return the folder that holds an environment's records and their chain."""
    return project_root() / "outputs" / settings.environment


@contextlib.contextmanager
def sealed(settings: Settings, connection: Connection, start: RunStart) -> Iterator[None]:
    """Seal the run's record when the block has ended, and before it begins what earlier runs left unsealed.

    The block must have written its last byte and the run's state by its end. Raises InvalidSettings for a
    signing key that cannot be used, before anything runs; RecordNotSealed when the run ended well and the
    folder cannot be written. A run that failed keeps its own error, with a word about the record.
    """
    opened = _open(settings, connection, start)
    try:
        yield
    except BaseException as error:
        _seal_failed(opened, error)
        raise
    _seal(opened, "ok")


def _open(settings: Settings, connection: Connection, start: RunStart) -> _Opened:
    key, folder = signing.signing_key(settings), environment_folder(settings)
    records = records_of(connection)
    if records is not None:
        ledger.mark_lost_runs(connection)
        with _told():
            chain.seal_left_over(connection, folder, key)
    on = manifest.ground(project_root(), connection.info.parameter_status("server_version"))
    return _Opened(connection, start, folder, key, on, None if records is None else records.id, datetime.now(UTC))


def _seal_failed(opened: _Opened, error: BaseException) -> None:
    """Seal a run that did not end well; what hinders the sealing is said beside the run's own error."""
    try:
        _seal(opened, "failed" if isinstance(error, NotebookFailed) else "cancelled")
    except (GenonautError, psycopg.Error) as hindrance:
        error.add_note(str(hindrance))
        if isinstance(error, GenonautError):
            error.hint = f"{error.hint or ''} {hindrance}".strip()


def _seal(opened: _Opened, outcome: str) -> Link:
    """Seal what the ledger says of the run, so that the two agree; without a ledger, what is known here."""
    records = records_of(opened.connection)
    found = [] if records is None else records.runs_called(str(opened.start.run_id))
    row = next((row for row in found if row.ended_at is not None), None) or _row(opened, outcome)
    with _told():
        sealed = chain.manifest_of(row, opened.folder, opened.ground)
        return chain.seal(opened.connection, opened.folder, sealed, opened.key, opened.ledger)


def _row(opened: _Opened, outcome: str) -> RunRow:
    start = opened.start
    return RunRow(
        start.run_id, start.notebook, outcome, start.actor, start.parameters, start.notebook_digest,
        start.output_path, start.pipeline_id, start.step, opened.started_at, datetime.now(UTC),
    )  # fmt: skip


@contextlib.contextmanager
def _told() -> Iterator[None]:
    try:
        yield
    except OSError as error:
        raise RecordNotSealed(
            f"The record could not be sealed: {error.strerror or error}.",
            hint="Mend that (a full disk, a folder that is not yours); the next start of a notebook seals it.",
        ) from error
