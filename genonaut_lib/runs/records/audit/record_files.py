"""The files of the records: manifest, notebook and HTML copy of each run, as they were sealed."""

from __future__ import annotations

import os
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from itertools import chain
from pathlib import Path
from typing import Any

from genonaut_lib.runs.records.audit.file_chain import describe
from genonaut_lib.runs.records.audit.findings import Evidence, Problem
from genonaut_lib.runs.records.links import RETIRED, Link
from genonaut_lib.runs.records.manifest import MANIFEST, file_digest, manifest_path

_READERS, _BATCH = 4, 64
"""Hashing lets other threads run, and disks answer several at once; handing over single files would cost more."""


def problems(evidence: Evidence, folder: Path) -> Iterator[Problem]:
    """Yield manifests and files that are gone or not as they were sealed; runs retired by policy are left out."""
    gone = retired(evidence)
    kept = [link for link in evidence.best.values() if link.run_id is not None and link.run_id not in gone]
    with ThreadPoolExecutor(_READERS) as pool:
        batches = [kept[start : start + _BATCH] for start in range(0, len(kept), _BATCH)]
        for found in pool.map(lambda batch: [problems_of(evidence, folder, link) for link in batch], batches):
            yield from chain.from_iterable(found)
    yield from _strangers(evidence, {manifest_path(link.content) for link in evidence.best.values() if link.run_id})


def problems_of(evidence: Evidence, folder: Path, link: Link) -> list[Problem]:
    """Return what is wrong with the files of one run."""
    return [*_manifest(evidence, link), *_files(folder, link)]


def named_files(link: Link) -> list[tuple[str, str]]:
    """Return role and path of the files a link seals."""
    files = link.content.get("files")
    found = files.items() if link.run_id is not None and isinstance(files, dict) else ()
    return [(str(role), str(file.get("path"))) for role, file in found if isinstance(file, dict)]


def retired(evidence: Evidence) -> set[str]:
    """Return the runs that an entry of the chain says were retired by policy."""
    entries = (link.content.get("runs") for link in evidence.best.values() if link.kind == RETIRED)
    return {str(run["run"]) for runs in entries for run in _objects(runs)}


def unrecorded(evidence: Evidence, folder: Path) -> int:
    """Return how many notebooks lie below the folder that no record names: running ones, or from before the chain."""
    named = {path for link in evidence.best.values() for path, _ in _sealed_files(link)}
    found = (path.relative_to(folder).as_posix() for path in folder.rglob("*.ipynb"))
    return sum(1 for path in found if path not in named and ".ipynb_checkpoints" not in path)


def _manifest(evidence: Evidence, link: Link) -> Iterator[Problem]:
    path = manifest_path(link.content)
    text = evidence.manifests.get(path)
    if text is None and link not in evidence.waiting:
        sentence = f"The manifest of {describe(link)} is deleted: {path}."
        yield Problem("deleted", path, sentence, link.place, link.run_id)
    elif text is not None and text != link.line:
        sentence = f"The manifest of {describe(link)} was edited: {path} is not what was sealed."
        yield Problem("edited", path, sentence, link.place, link.run_id)


def _files(folder: Path, link: Link) -> Iterator[Problem]:
    for path, sha256 in _sealed_files(link):
        found = _digest_below(folder, path)
        if found is None:
            sentence = f"A file of {describe(link)} is deleted: {path}."
            yield Problem("deleted", path, sentence, link.place, link.run_id)
        elif found != sha256:
            sentence = f"A file of {describe(link)} was edited: {path} is not what was sealed."
            yield Problem("edited", path, sentence, link.place, link.run_id)


def _sealed_files(link: Link) -> list[tuple[str, str]]:
    """Return path and digest of the files a link seals."""
    files = link.content.get("files")
    found = files.values() if link.run_id is not None and isinstance(files, dict) else ()
    return [(str(file.get("path")), str(file.get("sha256"))) for file in _objects(list(found))]


def _digest_below(folder: Path, path: str) -> str | None:
    """Return the digest of a file below the folder, None when it is not there; a path that leads out is not there."""
    target = Path(os.path.realpath(folder / path))
    return file_digest(target) if target.is_relative_to(os.path.realpath(folder)) and target.is_file() else None


def _strangers(evidence: Evidence, expected: set[str]) -> Iterator[Problem]:
    """Yield manifests that belong to no record; those whose record is missing from the file are named there."""
    told = {link.line for link in evidence.best.values()}
    for path, text in evidence.manifests.items():
        if path not in expected and text not in told:
            sentence = f"{path} is the manifest of no record: it was put there, moved, or its record is gone."
            yield Problem("inserted", path, sentence)


def _objects(value: Any) -> list[dict[str, Any]]:
    return [found for found in value if isinstance(found, dict)] if isinstance(value, list) else []


def manifests_below(folder: Path) -> dict[str, bytes]:
    """Return every manifest below the folder by its path there."""
    found = sorted(folder.rglob(f"*{MANIFEST}"))
    return {path.relative_to(folder).as_posix(): path.read_bytes() for path in found if path.is_file()}
