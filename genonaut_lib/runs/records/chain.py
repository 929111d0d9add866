"""The chain of records: one sealed link for each run, in the folder's files and in the ledger.

A link is first written down as waiting, then taken to its places one after the other: manifest, chain file, head,
ledger. Whoever comes next takes on what a kill left waiting, by the same steps, so no moment of a kill loses a link
or makes two of it. A file lock keeps one folder's sealers apart, an advisory lock those of one ledger.
"""

from __future__ import annotations

import os
import socket
import uuid
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import InvalidInput
from genonaut_lib.migration.actors import account
from genonaut_lib.runs.records import chain_folder, links, manifest
from genonaut_lib.runs.records.audit.findings import Findings
from genonaut_lib.runs.records.audit.verification import verify
from genonaut_lib.runs.records.chain_folder import Lines
from genonaut_lib.runs.records.ledger_records import Records, RunRow, records_of
from genonaut_lib.runs.records.links import ACCEPTED, NOTHING, RETIRED, RUN, Entry, Folder, Link, Seen, Standing
from genonaut_lib.runs.records.manifest import Ground, Manifest
from genonaut_lib.runs.records.signing import SigningKey

__all__ = [
    "Decision",
    "Findings",
    "Link",
    "accept_ledgers",
    "find",
    "manifest_of",
    "retire",
    "seal",
    "seal_left_over",
    "verify",
]


@dataclass(frozen=True)
class Decision:
    """Why something was decided, in words, and by whom."""

    reason: str
    by: str


def seal(
    connection: Connection | None,
    environment_folder: Path,
    sealed: Manifest,
    signing_key: SigningKey | None = None,
    ledger: str | None = None,
) -> Link:
    """Append the one record of a run and return its link; a run that is sealed already keeps its record.

    Without a connection, or on a database without a ledger, the link is kept in the folder's files. `ledger`
    is the id of the ledger it belongs in, for a caller whose server may be gone: the next start enters it
    then. Call it after the last write of the run. Raises InvalidInput for a manifest without a canonical
    form, RecordsBusy, OSError where the folder cannot be written, MissingPrivilege's causes from psycopg.
    """
    entry = Entry(RUN, sealed.content(), sealed.actor)
    return _append(records_of(connection), environment_folder, entry, signing_key, ledger)


def retire(
    connection: Connection | None, folder: Path, run_ids: Iterable[str], decision: Decision, key: SigningKey | None
) -> Link:
    """Append an entry that says the files of these runs are removed by policy, and return its link.

    Remove the files afterwards: what a kill leaves of them is
    then no contradiction. Their links stay in the chain for ever. Raises InvalidInput for a run without a record.
    """
    records = records_of(connection)
    lines = chain_folder.read_lines(folder)
    wanted = sorted(set(run_ids))
    found = [find(lines, records, run_id) for run_id in wanted]
    missing = [run_id for run_id, link in zip(wanted, found, strict=True) if link is None]
    if missing or not wanted:
        raise InvalidInput(f"No record of run {', '.join(missing)}." if missing else "There is no run to retire.")
    runs = [{"run": link.run_id, "place": link.place, "hash": link.hash} for link in found if link is not None]
    entry = Entry(RETIRED, {"policy": decision.reason, "runs": runs}, decision.by)
    return _append(records, folder, entry, key)


def accept_ledgers(
    connection: Connection | None, folder: Path, ledgers: Iterable[str], decision: Decision, key: SigningKey | None
) -> Link:
    """Append an entry that says these ledgers are gone for a known reason, and return its link.

    From here on their records are vouched for by files and signatures alone.
    """
    entry = Entry(ACCEPTED, {"reason": decision.reason, "ledgers": sorted(ledgers)}, decision.by)
    return _append(records_of(connection), folder, entry, key)


def seal_left_over(connection: Connection, folder: Path, key: SigningKey | None) -> list[Link]:
    """Seal the runs that ended in this folder without a record: lost ones, and those killed before their sealing.

    What a kill left waiting is taken to its places as well. Returns the links that were made.
    """
    records = records_of(connection)
    if records is None:
        return []
    if chain_folder.waiting(folder):
        with chain_folder.locked(folder):
            settle(records, folder, key)
    rows = records.unsealed_runs(str(folder.absolute()))
    made = [Entry(RUN, manifest_of(row, folder, late=True).content(), account()) for row in rows]
    return [_append(records, folder, entry, key) for entry in made]


def manifest_of(row: RunRow, folder: Path, on: Ground | None = None, *, late: bool = False) -> Manifest:
    """Return the manifest of a run that is over, from its row in the ledger and the files it left in the folder."""
    output = None if row.output_path is None else Path(row.output_path)
    return Manifest(
        run_id=row.run_id,
        notebook=row.notebook,
        outcome=row.state,
        actor=row.actor,
        parameters_digest=manifest.parameters_digest(row.parameters),
        started_at=row.started_at,
        ended_at=row.ended_at or datetime.now(UTC),
        notebook_digest=row.notebook_digest,
        output=None if output is None else manifest.below(folder, output),
        files=() if output is None else manifest.record_files(folder, output),
        pipeline=row.pipeline_id,
        step=row.step,
        plan_digest=row.plan_digest,
        approval=row.approval,
        ground=on or Ground(),
        late=late,
    )


def find(lines: Lines, records: Records | None, run_id: str) -> Link | None:
    """Return the link that seals a run, from the folder's file or from the ledger; None when there is none."""
    return lines.of_run(run_id) or (None if records is None else records.of_run(run_id))


def settle(records: Records | None, folder: Path, key: SigningKey | None) -> None:
    """Take every waiting link to the places it belongs in, the earliest first; the folder's lock is held."""
    for link in chain_folder.waiting(folder):
        if not _take_to_files(folder, link, key):
            continue
        home = link.ledger is None or (records is not None and records.id == link.ledger.id and records.enter(link))
        if home:
            chain_folder.no_longer_waiting(folder, link)


def _append(
    records: Records | None, folder: Path, entry: Entry, key: SigningKey | None, ledger: str | None = None
) -> Link:
    with chain_folder.locked(folder):
        settle(records, folder, key)
        lines = chain_folder.read_lines(folder)
        run_id = str(entry.content["run_id"]) if entry.kind == RUN else None
        if run_id is not None and (known := find(lines, records, run_id)) is not None:
            return known
        link = links.make(entry, _standing(records, folder, lines, ledger), key)
        chain_folder.keep_waiting(folder, link)
        settle(records, folder, key)
    return link


def _take_to_files(folder: Path, link: Link, key: SigningKey | None) -> bool:
    """Write manifest, line and head of a waiting link; False when its place was taken by another one meanwhile."""
    lines = chain_folder.read_lines(folder)
    newest = lines.newest()
    if link.line not in lines.whole:
        if newest is not None and newest.place >= link.place:
            return False
        if link.kind == RUN:
            chain_folder.write_manifest(folder, link)
        chain_folder.append(folder, link)
        newest = link
    if newest is not None and newest.line == link.line:
        chain_folder.write_head(folder, link, key)
    return True


def _standing(records: Records | None, folder: Path, lines: Lines, ledger: str | None) -> Standing:
    """Return where the next link goes: behind the newest of this folder that file, head or ledger know.

    The three agree unless somebody cut one of them; the cut then stays visible as a gap.
    """
    newest, head = lines.newest(), chain_folder.read_head(folder)
    place = _place_of(records, folder, newest, head.folder if head else None)
    entered = None if records is None else records.newest_of(place.id)
    mine = None if head is None or head.folder != place.id else head
    known = [(found.place, found.hash) for found in (newest, mine, entered) if found is not None]
    last, previous = max(known, default=(0, NOTHING))
    seen = records.head() if records is not None else None if ledger is None else Seen(ledger)
    return Standing(place, last + 1, previous, seen)


def _place_of(records: Records | None, folder: Path, newest: Link | None, head: str | None) -> Folder:
    """Return this folder with its id: the one of its links, else the one the ledger knows it by, else a new one."""
    host, path = socket.gethostname(), _readable(folder)
    known = newest.folder.id if newest is not None else head
    if known is None and records is not None and (before := records.folder_at(host, path)) is not None:
        known = before.id
    return Folder(known or uuid.uuid4().hex, host, path)


def _readable(folder: Path) -> str:
    """Return the folder's full path; bytes in it that are no UTF-8 are shown as such."""
    return os.fsencode(folder.resolve()).decode("utf-8", "replace")
