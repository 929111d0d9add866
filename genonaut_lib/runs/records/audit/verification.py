"""Verifying the chain of one environment: everything is read in one go, then judged."""

from __future__ import annotations

import os
import socket
from collections.abc import Iterator
from pathlib import Path

from genonaut_lib.db.engine import Connection
from genonaut_lib.migration.approvals import approvals
from genonaut_lib.runs.records import chain_folder
from genonaut_lib.runs.records.audit import allowances, file_chain, ledger_chain, record_files
from genonaut_lib.runs.records.audit.findings import Evidence, Findings, LedgerCopy, Problem
from genonaut_lib.runs.records.ledger_records import records_of
from genonaut_lib.runs.records.signing import Trust


def verify(
    connection: Connection | None, folder: Path, trust: Trust | None = None, noted: str | None = None
) -> Findings:
    """Return what is not as it was sealed, in the folder's files and in the ledger; only reads.

    Without a connection the files alone are verified. `trust` are the public keys to believe, by default those
    beside the chain. `noted` is the hash of a head noted down earlier: it must still be in the chain, which shows
    a folder and a ledger that were both put back to an older state. Raises RecordsBusy.
    """
    return judge(gather(connection, folder, trust), folder, noted)


def judge(evidence: Evidence, folder: Path, noted: str | None = None) -> Findings:
    """Return what is wrong with a chain that was read; the files of its records are read now."""
    found = [
        *file_chain.problems(evidence),
        *ledger_chain.problems(evidence),
        *allowances.problems(evidence),
        *record_files.problems(evidence, folder),
        *_noted(evidence, noted),
    ]
    last = max(evidence.sound, default=None)
    return Findings(
        records=len(evidence.read),
        problems=tuple(dict.fromkeys(found)),
        remarks=tuple(_remarks(evidence, folder)),
        head=None if last is None else evidence.sound[last].hash,
        retired=len(record_files.retired(evidence)),
        elsewhere=ledger_chain.elsewhere(evidence),
        keys=tuple(sorted({link.key for link in evidence.sound.values() if link.key is not None})),
    )


def gather(connection: Connection | None, folder: Path, trust: Trust | None = None) -> Evidence:
    """Return the chain as it is at one moment: nobody of this folder seals while it is read."""
    with chain_folder.locked(folder, shared=True):
        return Evidence(
            lines=chain_folder.read_lines(folder),
            head=chain_folder.read_head(folder),
            has_head=(folder / chain_folder.HEAD).exists(),
            waiting=tuple(chain_folder.waiting(folder)),
            manifests=record_files.manifests_below(folder),
            place=(socket.gethostname(), os.fsencode(folder.resolve()).decode("utf-8", "replace")),
            ledger=_ledger(connection),
            trust=trust or chain_folder.own_trust(folder),
            has_database=connection is not None,
        )


def _ledger(connection: Connection | None) -> LedgerCopy | None:
    records = records_of(connection)
    if records is None:
        return None
    allowed = tuple(approvals(records.connection))
    return LedgerCopy(records.id, tuple(records.rows()), tuple(records.runs()), allowed)


def _noted(evidence: Evidence, noted: str | None) -> Iterator[Problem]:
    rows = evidence.ledger.rows if evidence.ledger else ()
    held = {link.hash for link in evidence.sound.values()} | {row.record_hash for row in rows}
    if noted is not None and noted.lower() not in held:
        sentence = f"The head {noted[:16]} that was noted earlier is not in the chain: it was cut or replaced since."
        yield Problem("cut", "head", sentence)


def _remarks(evidence: Evidence, folder: Path) -> Iterator[str]:
    if count := len(evidence.waiting):
        yield f"{count} records are not in every place yet; the next start of a notebook takes them there."
    if count := len(record_files.retired(evidence)):
        yield f"{count} runs were retired by policy: their files are gone, their records stay."
    if count := ledger_chain.elsewhere(evidence):
        yield f"{count} records of the ledger were sealed in other folders; verify their files there."
    if count := record_files.unrecorded(evidence, folder):
        yield f"{count} notebooks have no record: they run now, or ran before there was a chain."
    if not evidence.has_database:
        yield "No database was asked: what was cut from the end is told by the head and the manifests alone."
    elif evidence.ledger is None:
        yield "The database has no ledger of records; the files are the only copy."
    if any(link.key is not None for link in evidence.sound.values()) and not evidence.trust.given:
        yield "The keys beside the chain were believed; --public-key with a copy from elsewhere proves more."
