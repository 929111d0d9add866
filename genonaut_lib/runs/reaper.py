"""Runs without a process behind them: the ledger and the record on the disk are made to say so.

Every start reaps first, and `genonaut runs reap` does it at any time; a run whose runner was killed is
settled by the first of them that comes by.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from genonaut_lib.db.engine import Connection
from genonaut_lib.migration import ledger
from genonaut_lib.migration.ledger import RunRecord
from genonaut_lib.runs import closing, kernel_sockets
from genonaut_lib.runs.ending import LOST, STATES, Ending
from genonaut_lib.runs.reading import index
from genonaut_lib.runs.record_file import as_bytes, mend, read_record, status_of, sweep, write_atomically
from genonaut_lib.runs.records import sealing
from genonaut_lib.runs.secrets.redaction import Redactor
from genonaut_lib.settings import Settings

GONE = "The process that ran it is gone; nobody was left to say how it ended."


@dataclass(frozen=True)
class Settled:
    """A run that had no process behind it, what it was settled as, and what could not be mended of its files."""

    run: RunRecord
    ending: Ending
    remarks: tuple[str, ...] = ()


def reap(connection: Connection, settings: Settings) -> list[Settled]:
    """Settle every run that says `running` without a process behind it, and return them.

    A run whose record on this machine tells how it ended gets that ending: its database was gone, or
    its process was killed after the last cell. Any other is lost, and its record says so from then on.
    Whatever ended without a seal is sealed. Raises RecordNotSealed, InvalidSettings for a signing key that
    cannot be used, and what the driver raises.
    """
    settled, redactor = [], Redactor.of_environment(settings, connection)
    for run in ledger.gone_runs(connection, settings.runs.lost_after_s):
        ending, remarks = _mended(run)
        remarks += closing.write_html(run.start, redactor)
        kernel_sockets.remove(run.start.run_id)
        closing.settle(connection, run.start, _with_remarks(ending, remarks))
        settled.append(Settled(run, ending, tuple(remarks)))
    sealing.seal_left_over(settings, connection)
    if settled:
        index.keep_up(sealing.environment_folder(settings), redactor)
    return settled


def _mended(run: RunRecord) -> tuple[Ending, list[str]]:
    """Return how a run ended, by its record, which is made to say so where it did not."""
    lost = Ending(LOST, {"cause": "RunnerGone", "message": GONE})
    path = Path(run.start.output_path) if run.start.output_path else None
    if path is None:
        return lost, []
    try:
        sweep(path.parent)
        found = read_record(path)
        if found is None:
            return lost, [] if run.host is None else [f"Its record {path.name} is not on this machine."]
        told = _told(found)
        if told is None:
            write_atomically(path, as_bytes(mend(found, LOST, lost.failure)))
    except (OSError, ValueError) as error:
        return lost, [f"Its record could not be mended: {error}."]
    return told or lost, []


def _told(record: Mapping[str, Any]) -> Ending | None:
    """Return the ending a record tells of, None for one that was still at work."""
    said = status_of(record)
    return Ending(str(said["status"]), said.get("failure")) if said.get("status") in STATES else None


def _with_remarks(ending: Ending, remarks: list[str]) -> Ending:
    return replace(ending, failure={**(ending.failure or {}), "remarks": remarks}) if remarks else ending
