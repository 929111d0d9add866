"""Retiring records: the chain says first that their files go, then the files go. The chain itself keeps all.

A kill in between leaves files that the chain no longer asks for; the next retiring removes them.
"""

from __future__ import annotations

import contextlib
import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import InvalidSettings
from genonaut_lib.migration import ledger
from genonaut_lib.migration.phases import BY_NOTEBOOK
from genonaut_lib.migration.phases.base import is_point_of_no_return
from genonaut_lib.run_settings import RecordSettings
from genonaut_lib.runs.records import chain
from genonaut_lib.runs.records.audit import record_files
from genonaut_lib.runs.records.audit.findings import Evidence
from genonaut_lib.runs.records.audit.verification import gather
from genonaut_lib.runs.records.chain import Decision
from genonaut_lib.runs.records.links import Link
from genonaut_lib.runs.records.manifest import manifest_path
from genonaut_lib.runs.records.retention import Ground, Start, judge
from genonaut_lib.runs.records.signing import SigningKey
from genonaut_lib.runs.sequences import load_sequences
from genonaut_lib.settings import nearest

AT_ONCE = 500
"""Runs that one entry of the chain retires: its line stays short, and a kill leaves little to catch up with."""
ROLL_BACK = "90_roll_back"
CHANGED = "not as it was sealed: it stays as evidence"


@dataclass(frozen=True)
class Retirement:
    """What would be retired: the runs, how many are kept for which reason, and files that an earlier start left."""

    going: tuple[Link, ...]
    kept: Mapping[str, int]
    left_over: tuple[Path, ...]


def plan(
    connection: Connection | None, folder: Path, policy: RecordSettings, now: datetime | None = None
) -> Retirement:
    """Return what policy lets go of an environment's records; only reads.

    A run whose files are not as they were sealed is kept, or retiring would hide what was done to it. Without a
    connection nothing tells the sequences, so their policies are not applied. Raises InvalidSettings for a policy
    of a sequence that there is not, RecordsBusy, OSError.
    """
    _require_known(policy)
    evidence = gather(connection, folder)
    gone = record_files.retired(evidence)
    waiting = {link.hash for link in evidence.waiting}
    runs = [link for link in evidence.sound.values() if link.run_id is not None and link.run_id not in gone]
    ground = Ground(policy, now or datetime.now(UTC), _starts(connection), lasting_notebooks())
    verdicts = judge([link for link in runs if link.hash not in waiting], ground)
    kept = Counter(verdict.kept_for for verdict in verdicts if verdict.kept_for is not None)
    going = [verdict.link for verdict in verdicts if verdict.kept_for is None]
    sound = tuple(link for link in going if not record_files.problems_of(evidence, folder, link))
    if len(going) > len(sound):
        kept[CHANGED] = len(going) - len(sound)
    return Retirement(sound, dict(kept), tuple(_left_over(evidence, folder, gone)))


def carry_out(
    connection: Connection | None, folder: Path, found: Retirement, decision: Decision, key: SigningKey | None
) -> int:
    """Retire the runs of a plan and remove their files; return how many files went.

    Raises what `chain.retire` raises, and OSError for a file that cannot be removed.
    """
    removed = _remove(folder, found.left_over)
    for start in range(0, len(found.going), AT_ONCE):
        batch = found.going[start : start + AT_ONCE]
        chain.retire(connection, folder, [str(link.run_id) for link in batch], decision, key)
        removed += _remove(folder, [path for link in batch for path in files_of(folder, link)])
    return removed


def files_of(folder: Path, link: Link) -> list[Path]:
    """Return the files of a run that are there, its manifest included; none that lie outside the folder."""
    named = [path for _, path in record_files.named_files(link)] + [manifest_path(link.content)]
    root = os.path.realpath(folder)
    return [folder / path for path in named if _is_below(root, folder / path)]


def lasting_notebooks() -> frozenset[str]:
    """Return the notebooks whose runs are never let go: what they do cannot be undone, or undoes what others did."""
    return frozenset({ROLL_BACK, *(name for name, phase in BY_NOTEBOOK.items() if is_point_of_no_return(phase))})


def _require_known(policy: RecordSettings) -> None:
    known = sorted(load_sequences()) if policy.sequences else []
    for name in policy.sequences:
        if name not in known:
            raise InvalidSettings(
                f"records.sequences: there is no sequence {name!r}.", hint=nearest(name, known) or None
            )


def _starts(connection: Connection | None) -> dict[str, Start]:
    if connection is None or not ledger.exists(connection):
        return {}
    rows = connection.execute(block("ledger", "sequence_runs").sql()).fetchall()
    return {str(pipeline_id): Start(str(name), bool(is_open)) for pipeline_id, name, is_open in rows}


def _left_over(evidence: Evidence, folder: Path, gone: set[str]) -> Iterator[Path]:
    for link in evidence.sound.values():
        if link.run_id in gone:
            yield from files_of(folder, link)


def _is_below(root: str, path: Path) -> bool:
    return Path(os.path.realpath(path)).is_relative_to(root) and path.is_file()


def _remove(folder: Path, paths: list[Path] | tuple[Path, ...]) -> int:
    for path in paths:
        path.unlink(missing_ok=True)
    for parent in {path.parent for path in paths} - {folder}:
        # The day's folder goes with its last record; one that still holds something stays.
        with contextlib.suppress(OSError):
            parent.rmdir()
    return len(paths)
