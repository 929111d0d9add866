"""The last steps of a run, whichever way it ended: its HTML copy, its row in the ledger, its seal, in this order.

A process killed on the way leaves a row that still says `running`, or a run without a seal; the next
start finds either and takes the steps that are left (see `runs/reaper.py`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import DatabaseUnreachable, RecordNotSealed, RecordsBusy, RunDisowned
from genonaut_lib.migration import ledger
from genonaut_lib.migration.ledger import RunStart
from genonaut_lib.runs import replication, report
from genonaut_lib.runs.ending import Ending
from genonaut_lib.runs.record_file import as_bytes, noted, read_record, write_atomically
from genonaut_lib.runs.records import sealing
from genonaut_lib.runs.records.sealing import Opened
from genonaut_lib.runs.secrets.redaction import Redactor
from genonaut_lib.settings import Settings

PATIENCE_S = 3.0
"""How long the database is waited for once a run has ended; the notebook on the disk is complete by then."""


def close(settings: Settings, opened: Opened, start: RunStart, ending: Ending, redactor: Redactor) -> list[str]:
    """Take the last steps of a run and return what could not be done, in sentences.

    Raises RunDisowned when others had declared the run lost meanwhile: its end is theirs to tell then.
    """
    with _session(settings) if opened.ledger else contextlib.nullcontext() as connection:
        if connection is not None:
            _require_own(connection, start)
        remarks = write_html(start, redactor, replication.lags(connection))
        if connection is not None:
            settle(connection, start, ending)
        elif opened.ledger:
            remarks.append("The ledger could not be told how the run ended; the next start tells it.")
        try:
            sealing.seal(opened, connection, start, ending.state)
        except (RecordNotSealed, RecordsBusy) as error:
            remarks.append(str(error))
    return remarks


def settle(connection: Connection, start: RunStart, ending: Ending) -> None:
    """Write down in the ledger how a run ended; raise RunDisowned for one that others settled before."""
    if not ledger.end_run(connection, start.run_id, ending.state, ending.failure):
        raise _disowned(start)


def _require_own(connection: Connection, start: RunStart) -> None:
    """Raise RunDisowned for a run that others settled: its record may be sealed, and is not to be touched."""
    if not ledger.is_running(connection, start.run_id):
        raise _disowned(start)


def _disowned(start: RunStart) -> RunDisowned:
    return RunDisowned(
        f"Run {start.run_id} was declared lost while it was still at work.",
        hint="Its machine could not reach the database for a while; look at what it did before you run it again.",
    )


def write_html(start: RunStart, redactor: Redactor, replicas: list[dict[str, Any]] | None = None) -> list[str]:
    """Write the HTML copy of a record, if there is one; return in a sentence why it could not be written.

    `replicas` says how far each was behind, None where that is unknown; the record says it from then on.
    """
    path = Path(start.output_path) if start.output_path else None
    if path is None or not path.is_file():
        return []
    try:
        if replicas is not None and (found := read_record(path)) is not None:
            write_atomically(path, as_bytes(noted(found, "replicas", redactor.node(replicas))))
        report.write_html(path, redactor, start.actor)
    except OSError as error:
        return [f"Its HTML copy could not be written: {error.strerror or error}."]
    return []


@contextlib.contextmanager
def _session(settings: Settings) -> Iterator[Connection | None]:
    """Open a session, waiting a little for a server that is away; None where it stays away."""
    connection = _connected(settings)
    if connection is None:
        yield None
        return
    with connection, engine.translated():
        yield connection


def _connected(settings: Settings) -> Connection | None:
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return engine.connect(settings)
        except (DatabaseUnreachable, psycopg.OperationalError):
            if time.monotonic() > deadline:
                return None
            time.sleep(0.25)
