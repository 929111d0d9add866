"""One run as its record tells it: found by the beginning of its id, with its place in the chain and its files."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import InvalidInput
from genonaut_lib.migration.approvals import Approval
from genonaut_lib.runs.records.audit import record_files
from genonaut_lib.runs.records.audit.findings import Evidence, Problem
from genonaut_lib.runs.records.audit.verification import gather
from genonaut_lib.runs.records.ledger_records import Row, RunRow, records_of
from genonaut_lib.runs.records.links import Link

_SHORTEST = 4
_START = re.compile(r"[0-9a-f-]+\Z")


@dataclass(frozen=True)
class Record:
    """A run: its link in the chain (None until it is sealed), its rows in the ledger, its parameters, its files.

    `parameters` is None where neither ledger nor notebook tells them any more. `troubles` are what is wrong with
    its own files; the chain as a whole is judged by `chain.verify`. `approvals` are those of the plan it showed.
    """

    run_id: str
    link: Link | None
    row: RunRow | None
    entered: Row | None
    parameters: Mapping[str, Any] | None
    files: tuple[tuple[str, str, str], ...]
    troubles: tuple[Problem, ...]
    is_retired: bool
    approvals: tuple[Approval, ...] = ()


def record_of(connection: Connection | None, folder: Path, word: str) -> Record:
    """Return the run whose id begins with `word`, from files and ledger; raise InvalidInput for none or several."""
    start = word.strip().lower()
    if len(start) < _SHORTEST or not _START.match(start):
        raise InvalidInput(f"{word!r} is not the beginning of a run's id.", hint="`genonaut runs list` shows the ids.")
    evidence, records = gather(connection, folder), records_of(connection)
    rows = {str(row.run_id): row for row in (records.runs_called(start) if records else [])}
    sealed = {link.run_id: link for link in _links(evidence) if link.run_id and link.run_id.startswith(start)}
    found = sorted({*rows, *sealed})
    if len(found) != 1:
        which = f"Several runs begin with it: {', '.join(found)}." if found else "`genonaut runs list` shows the runs."
        raise InvalidInput(f"{word!r} does not mean one run.", hint=which)
    return _record(evidence, folder, sealed.get(found[0]), rows.get(found[0]), found[0])


def _record(evidence: Evidence, folder: Path, link: Link | None, row: RunRow | None, run_id: str) -> Record:
    entries = evidence.ledger.rows if evidence.ledger else ()
    retired = run_id in record_files.retired(evidence)
    troubles = [] if link is None or retired else record_files.problems_of(evidence, folder, link)
    return Record(
        run_id,
        link,
        row,
        next((entry for entry in entries if entry.run == run_id), None),
        row.parameters if row is not None else _parameters(folder, link),
        tuple(_files(link, {problem.where: problem.kind for problem in troubles}, retired)) if link else (),
        tuple(troubles),
        retired,
        tuple(one for one in (evidence.ledger.approvals if evidence.ledger else ()) if str(one.run_id) == run_id),
    )


def _links(evidence: Evidence) -> list[Link]:
    return [*(link for _, link in evidence.entered if link is not None), *evidence.best.values()]


def _files(link: Link, troubles: Mapping[str, str], retired: bool) -> list[tuple[str, str, str]]:
    """Return role, path and state of each file a link seals."""
    files = record_files.named_files(link)
    return [(role, path, "retired" if retired else troubles.get(path, "as sealed")) for role, path in files]


def _parameters(folder: Path, link: Link | None) -> Mapping[str, Any] | None:
    """Return the parameters that the executed notebook itself holds, None when it is not there."""
    path = folder / str(link.content.get("output")) if link is not None else folder
    if not path.is_file():
        return None
    try:
        found = json.loads(path.read_bytes())["metadata"]["papermill"]["parameters"]
    except (ValueError, KeyError, TypeError):
        return None
    return found if isinstance(found, dict) else None
