"""The last steps of a run, whichever way it ended: its HTML copy, its seal, its row in the ledger, in this order.

The ledger comes last, so a process killed on the way leaves a row that still says `running`; the next
start finds it and takes the steps that are left (see `runs/reaper.py`).
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import DatabaseUnreachable, RunDisowned
from genonaut_lib.migration import ledger
from genonaut_lib.migration.ledger import RunStart
from genonaut_lib.runs import report
from genonaut_lib.runs.ending import Ending
from genonaut_lib.settings import Settings

PATIENCE_S = 3.0
"""How long the database is waited for once a run has ended; the record on the disk is complete by then."""


@dataclass(frozen=True)
class Ended:
    """A run that came to its end, by itself or found without a process, for whoever seals it."""

    start: RunStart
    ending: Ending
    environment: str


def seal(connection: Connection | None, settings: Settings, ended: Ended) -> None:
    """Seal the record of a run that ended, after the last write of its files.

    `connection` is None where there is no ledger, or none to be reached. A process killed between here
    and the ledger leaves a sealed run that says `running`, and whoever settles it comes by here again.
    """


def close(settings: Settings, ended: Ended, *, ledgered: bool) -> list[str]:
    """Take the last steps of a run and return what could not be done, in sentences.

    Raises RunDisowned when others had declared the run lost meanwhile: its end is theirs to tell then.
    """
    remarks = write_html(ended.start)
    with _session(settings) if ledgered else contextlib.nullcontext() as connection:
        if connection is None and ledgered:
            remarks.append("The ledger could not be told how the run ended; the next start tells it.")
        settle(connection, settings, ended)
    return remarks


def settle(connection: Connection | None, settings: Settings, ended: Ended) -> None:
    """Seal a run and write down in the ledger how it ended."""
    run_id = ended.start.run_id
    if connection is not None and not ledger.is_running(connection, run_id):
        raise RunDisowned(
            f"Run {run_id} was declared lost while it was still at work.",
            hint="Its machine could not reach the database for a while; look at what it did before you run it again.",
        )
    seal(connection, settings, ended)
    if connection is not None:
        ledger.end_run(connection, run_id, ended.ending.state, ended.ending.failure)


def write_html(start: RunStart) -> list[str]:
    """Write the HTML copy of a record, if there is one; return in a sentence why it could not be written."""
    path = Path(start.output_path) if start.output_path else None
    if path is None or not path.is_file():
        return []
    try:
        report.write_html(path)
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
