"""The rows of the ledger: each whole, none missing, none replaced; and what files and runs say of them."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from genonaut_lib.runs.records.audit.file_chain import describe
from genonaut_lib.runs.records.audit.findings import Evidence, LedgerCopy, Problem
from genonaut_lib.runs.records.ledger_records import Row, RunRow, row_hash
from genonaut_lib.runs.records.links import ACCEPTED, NOTHING, Link
from genonaut_lib.runs.records.manifest import parameters_digest

RUNNING = "running"


def problems(evidence: Evidence) -> Iterator[Problem]:
    """Yield what is wrong with the rows, and between them, the files and the runs; nothing without a database."""
    if not evidence.has_database:
        return
    yield from _other_ledgers(evidence)
    if evidence.ledger is None:
        return
    yield from _rows(evidence, evidence.ledger)
    yield from _signatures(evidence)
    yield from _cut(evidence, evidence.ledger)
    yield from _rewritten(evidence, evidence.ledger)
    yield from _replaced_folders(evidence)
    yield from _runs(evidence, evidence.ledger)


def elsewhere(evidence: Evidence) -> int:
    """Return how many rows were sealed in other folders, whose files are not here."""
    rows = evidence.ledger.rows if evidence.ledger else ()
    return sum(1 for row in rows if row.folder_id != evidence.folder_id)


def _rows(evidence: Evidence, ledger: LedgerCopy) -> Iterator[Problem]:
    before, last = NOTHING, 0
    for row, link in evidence.entered:
        if row.place != last + 1:
            sentence = f"Rows {last + 1} to {row.place - 1} are deleted from workbench.run_records."
            yield Problem("deleted", "ledger", sentence, last + 1)
        elif row.previous != before:
            sentence = f"Row {row.place}, {_named(row, link)}, does not follow the row before it."
            yield Problem("edited", "ledger", sentence, row.place, row.run)
        if why := _edited(ledger.id, row, link):
            runs = sorted({run for run in (row.run, link.run_id if link else None) if run})
            sentence = f"Row {row.place}, {_named(row, link)}, was edited in workbench.run_records: {why}."
            yield from (Problem("edited", "ledger", sentence, row.place, run) for run in runs or (None,))
        before, last = row.hash, row.place


def _edited(ledger: str, row: Row, link: Link | None) -> str | None:
    """Return what of a row contradicts itself, None when nothing does."""
    if link is None or not link.is_sound:
        return "its body is not what was sealed"
    told = (link.hash, link.folder.id, link.place, link.kind, link.run_id)
    if told != (row.record_hash, row.folder_id, row.folder_place, row.kind, row.run):
        return "its columns are not what its body says"
    if row.hash != row_hash(ledger, row.place, row.previous, row.record_hash):
        return "its hash is not that of its place and body"
    return None


def _signatures(evidence: Evidence) -> Iterator[Problem]:
    """Yield rows of other folders that are not signed as they say; those of this folder are verified in its file."""
    for row, link in evidence.entered:
        ours = link is not None and (own := evidence.sound.get(link.place)) is not None and own.hash == link.hash
        if link is not None and link.is_sound and not ours and link.key is not None:
            known = link.key in evidence.trust.keys
            # Another machine may sign with a key of its own, whose public half only a given file can bring.
            if (known or evidence.trust.given) and not link.is_signed(evidence.trust):
                sentence = f"Row {row.place}, {_named(row, link)}, does not carry the signature it names."
                yield Problem("forged", "ledger", sentence, row.place, link.run_id)


def _cut(evidence: Evidence, ledger: LedgerCopy) -> Iterator[Problem]:
    """Yield records that the file says were entered, and that the ledger does not hold."""
    held = {row.record_hash for row in ledger.rows} | {link.hash for link in evidence.waiting}
    taken = {(row.folder_id, row.folder_place) for row in ledger.rows}
    for place, link in evidence.sound.items():
        if link.ledger is None or link.ledger.id != ledger.id or link.hash in held:
            continue
        how = "is another one" if (link.folder.id, place) in taken else "is missing"
        sentence = f"Record {place}, {describe(link)}, {how} in workbench.run_records."
        yield Problem("deleted", "ledger", sentence, place, link.run_id)


def _rewritten(evidence: Evidence, ledger: LedgerCopy) -> Iterator[Problem]:
    """Yield the first row that is no longer the one a record of this folder saw when it was sealed."""
    rows = {row.place: row for row in ledger.rows}
    for link in evidence.sound.values():
        seen = link.ledger
        if seen is None or seen.id != ledger.id or not seen.place:
            continue
        row = rows.get(seen.place)
        if row is None or row.hash != seen.hash:
            what = "is gone" if row is None else "is another one now"
            sentence = f"The ledger was rewritten: row {seen.place}, which {describe(link)} saw, {what}."
            yield Problem("edited", "ledger", sentence, seen.place, None if row is None else row.run)
            return


def _replaced_folders(evidence: Evidence) -> Iterator[Problem]:
    """Yield folders that lay where this one lies: somebody removed a whole chain and another one was begun."""
    others: dict[str, int] = {}
    for _, link in evidence.entered:
        here = link is not None and (link.folder.host, link.folder.path) == evidence.place
        if link is not None and here and link.folder.id != evidence.folder_id:
            others[link.folder.id] = others.get(link.folder.id, 0) + 1
    for folder, count in others.items():
        sentence = f"A chain of {count} records lay in this very folder (id {folder}), and is gone."
        yield Problem("replaced", "chain", sentence)


def _other_ledgers(evidence: Evidence) -> Iterator[Problem]:
    """Yield ledgers that records of the file belong in, and that this database does not have."""
    ours = evidence.ledger.id if evidence.ledger else None
    accepted = {str(found) for link in evidence.sound.values() if link.kind == ACCEPTED for found in _told(link)}
    places: dict[str, list[int]] = {}
    for place, link in evidence.sound.items():
        if link.ledger is not None and link.ledger.id != ours and link.ledger.id not in accepted:
            places.setdefault(link.ledger.id, []).append(place)
    for found, theirs in places.items():
        sentence = (
            f"{len(theirs)} records ({min(theirs)} to {max(theirs)}) belong in ledger {found}, which is not the one of "
            "this database."
        )
        yield Problem("replaced", "ledger", sentence, min(theirs), evidence.sound[min(theirs)].run_id)


def _told(link: Link) -> list[Any]:
    found = link.content.get("ledgers")
    return found if isinstance(found, list) else []


def _runs(evidence: Evidence, ledger: LedgerCopy) -> Iterator[Problem]:
    """Yield runs whose row says something else than their record, runs without a record, and records without a row."""
    sealed = {link.run_id: link for link in (*(link for _, link in evidence.entered if link), *evidence.best.values())}
    for run in ledger.runs:
        link = sealed.pop(str(run.run_id), None)
        if run.state == RUNNING:
            continue
        if link is None:
            sentence = f"Run {run.run_id} ({run.notebook}, {run.state}) has ended and has no record."
            yield Problem("unsealed", "runs", sentence, None, str(run.run_id))
        elif differing := _differing(run, link):
            sentence = f"Run {run.run_id} was edited in workbench.runs: {', '.join(differing)}."
            yield Problem("edited", "runs", sentence, link.place, link.run_id)
    for link in sealed.values():
        if link.run_id is not None and link.ledger is not None and link.ledger.id == ledger.id:
            sentence = f"Of {describe(link)} the row in workbench.runs is deleted."
            yield Problem("deleted", "runs", sentence, link.place, link.run_id)


def _differing(run: RunRow, link: Link) -> list[str]:
    """Return the columns of a run that are not what was sealed.

    A run that ended while its server was gone is marked lost there by a later start, whatever its record says.
    """
    said = {
        "notebook": run.notebook,
        "outcome": link.content.get("outcome") if run.state == "lost" else run.state,
        "actor": run.actor,
        "notebook_digest": run.notebook_digest,
        "parameters_digest": parameters_digest(run.parameters),
        "step": run.step,
        "pipeline": None if run.pipeline_id is None else str(run.pipeline_id),
    }
    if link.ledger is not None and link.ledger.place is not None:
        # A run whose server was gone at its end was sealed without asking what its notebook had written there.
        said |= {"plan_digest": run.plan_digest, "approval": run.approval}
    return [name for name, value in said.items() if link.content.get(name) != value]


def _named(row: Row, link: Link | None) -> str:
    return describe(link) if link is not None else f"run {row.run}"
