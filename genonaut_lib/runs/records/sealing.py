"""What the engine calls: every run ends in one sealed record, whichever way it ends."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import RecordNotSealed
from genonaut_lib.migration.ledger import RunStart
from genonaut_lib.runs.records import chain, manifest, signing
from genonaut_lib.runs.records.chain import Link
from genonaut_lib.runs.records.ledger_records import RunRow, records_of
from genonaut_lib.runs.records.manifest import Ground
from genonaut_lib.runs.records.signing import SigningKey
from genonaut_lib.settings import Settings, project_root


@dataclass(frozen=True)
class Opened:
    """What a record needs and could not be asked for at the end of its run; `ledger` is None without one."""

    folder: Path
    key: SigningKey | None
    ground: Ground
    ledger: str | None
    started_at: datetime


def environment_folder(settings: Settings) -> Path:
    """Return the folder that holds an environment's records and their chain."""
    return project_root() / "outputs" / settings.environment


def opened(settings: Settings, connection: Connection, *, ledgered: bool) -> Opened:
    """Return what the record of a run that is about to begin will need.

    Raises InvalidSettings for a signing key that cannot be used, so that nothing runs that could not be sealed.
    """
    key, folder = signing.signing_key(settings), environment_folder(settings)
    records = records_of(connection) if ledgered else None
    on = manifest.ground(project_root(), connection.info.parameter_status("server_version"))
    return Opened(folder, key, on, None if records is None else records.id, datetime.now(UTC))


def seal(opened: Opened, connection: Connection | None, start: RunStart, outcome: str) -> Link:
    """Seal the record of a run that has written its last byte, and its state if there is a ledger.

    Without a connection the link is kept in the folder's files, and the next start enters it in the ledger.
    What is sealed is what the ledger says of the run, so that the two agree; without it, what is known
    here. Raises RecordNotSealed where the folder cannot be written; the next start seals the run then.
    """
    records = records_of(connection)
    found = [] if records is None else records.runs_called(str(start.run_id))
    row = next((row for row in found if row.ended_at is not None), None) or _row(opened, start, outcome)
    with _told():
        sealed = chain.manifest_of(row, opened.folder, opened.ground)
        return chain.seal(connection, opened.folder, sealed, opened.key, opened.ledger)


def seal_left_over(settings: Settings, connection: Connection) -> None:
    """Seal what ended without a record: runs that were lost, and those killed before their sealing."""
    key, folder = signing.signing_key(settings), environment_folder(settings)
    if records_of(connection) is not None:
        with _told():
            chain.seal_left_over(connection, folder, key)


def _row(opened: Opened, start: RunStart, outcome: str) -> RunRow:
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
