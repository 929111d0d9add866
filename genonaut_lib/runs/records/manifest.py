"""What is sealed of a run, and the one form of JSON whose digest means one thing only."""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path, PurePosixPath
from typing import Any

from genonaut_lib.errors import InvalidInput

MANIFEST = ".manifest.json"
_GIT_TIMEOUT_S = 10.0
_BESIDE = {"output": ".ipynb", "html": ".html", "kernel_log": ".kernel.log"}
"""The files of a record: they lie in one folder and differ by their ending only."""


@dataclass(frozen=True)
class RecordFile:
    """A file of a record: what it is, its path below the environment's folder, and its SHA-256 in hex."""

    role: str
    path: str
    sha256: str


@dataclass(frozen=True)
class Ground:
    """What a run stood on: git commit, digest of the lock file, version of the server; None is unknown."""

    git_commit: str | None = None
    lock_digest: str | None = None
    server_version: str | None = None


@dataclass(frozen=True)
class Manifest:
    """What is sealed of one run. `late`: sealed by a later start, since nobody was left to do it at its end.

    `output` is the path of the executed notebook below the environment's folder, whether or not the
    run came so far that it was written; `files` are those that are there. Digests are SHA-256 in hex,
    `outcome` is a state of `workbench.runs`. `plan_digest` and `approval` belong to a plan that cannot be
    taken back: what was shown, and who allowed it (None: nobody was asked).
    """

    run_id: uuid.UUID
    notebook: str
    outcome: str
    actor: str
    parameters_digest: str
    started_at: datetime
    ended_at: datetime
    notebook_digest: str
    output: str | None = None
    files: tuple[RecordFile, ...] = ()
    pipeline: uuid.UUID | None = None
    step: str | None = None
    ground: Ground = Ground()
    late: bool = False
    plan_digest: str | None = None
    approval: Mapping[str, Any] | None = None

    def content(self) -> dict[str, Any]:
        """Return the manifest as a JSON object of texts, numbers, booleans and nulls; times are UTC."""
        return {
            "run_id": str(self.run_id),
            "notebook": self.notebook,
            "outcome": self.outcome,
            "actor": self.actor,
            "parameters_digest": self.parameters_digest,
            "started_at": moment(self.started_at),
            "ended_at": moment(self.ended_at),
            "notebook_digest": self.notebook_digest,
            "output": self.output,
            "files": {file.role: {"path": file.path, "sha256": file.sha256} for file in self.files},
            "pipeline": None if self.pipeline is None else str(self.pipeline),
            "step": self.step,
            **vars(self.ground),
            "late": self.late,
            "plan_digest": self.plan_digest,
            "approval": None if self.approval is None else dict(self.approval),
        }


def canonical(value: Any) -> bytes:
    """Return a JSON value as bytes, always the same for the same value: sorted keys, no blanks, UTF-8.

    Raises InvalidInput for a number with a fraction, whose digits are not the same everywhere, and for
    text that is not Unicode.
    """
    if _holds_float(value):
        raise InvalidInput("A number with a fraction cannot be sealed.", hint="Seal it as text.")
    try:
        return dumped(value)
    except UnicodeEncodeError as error:
        raise InvalidInput(f"A text cannot be sealed, it is not Unicode: {error.reason}.") from None


def dumped(value: Any) -> bytes:
    """Return a value that is known to hold no fraction in the canonical form; see `canonical`."""
    return json.dumps(value, sort_keys=True, separators=(",", ":"), ensure_ascii=False).encode("utf-8")


def digest(data: bytes) -> str:
    """Return the SHA-256 of bytes, in hex."""
    return hashlib.sha256(data).hexdigest()


def file_digest(path: Path) -> str:
    """Return the SHA-256 of a file, in hex; raise OSError for one that cannot be read."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def parameters_digest(parameters: Mapping[str, Any]) -> str:
    """Return the digest of parameters, the same before they go into the ledger's jsonb and after.

    What JSON has no word for counts as its text; whole numbers are the same with and without a point.
    """
    return digest(canonical(_exact(json.loads(json.dumps(dict(parameters), default=str)))))


def moment(at: datetime) -> str:
    """Return a point in time as text: UTC, microseconds, a trailing Z."""
    return at.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


def record_files(folder: Path, output: Path) -> tuple[RecordFile, ...]:
    """Return the files of the record whose executed notebook is `output`, those that are there."""
    found = ((role, output.with_suffix(ending)) for role, ending in _BESIDE.items())
    return tuple(RecordFile(role, below(folder, path), file_digest(path)) for role, path in found if path.is_file())


def below(folder: Path, path: Path) -> str:
    """Return a path relative to a folder, with slashes; raise ValueError for one that lies elsewhere."""
    return path.resolve().relative_to(folder.resolve()).as_posix()


def manifest_path(content: Mapping[str, Any]) -> str:
    """Return where the manifest of a run lies below the environment's folder: beside its record."""
    output = content.get("output")
    stem = PurePosixPath(str(output)) if output else PurePosixPath(str(content["run_id"]))
    return str(stem.with_suffix(MANIFEST))


def ground(root: Path, server_version: str | None) -> Ground:
    """Return what a run in the project at `root` stands on; `server_version` is as the server says it."""
    lock = root / "requirements.lock"
    return Ground(_commit(root), file_digest(lock) if lock.is_file() else None, server_version)


def _commit(root: Path) -> str | None:
    """Return the commit that is checked out at `root`, with `+` when files differ from it; None without git."""
    found = _git(root, "rev-parse", "--show-toplevel", "HEAD")
    if found is None or Path(found.split("\n")[0]).resolve() != root.resolve():
        return None
    changed = _git(root, "status", "--porcelain", "--untracked-files=no")
    return found.split("\n")[1].strip() + ("+" if changed else "")


def _git(root: Path, *arguments: str) -> str | None:
    variables = {**os.environ, "GIT_OPTIONAL_LOCKS": "0"}
    try:
        ended = subprocess.run(  # git of the PATH, as the user's own
            ["git", "-C", str(root), *arguments],  # noqa: S607
            capture_output=True, text=True, check=False, timeout=_GIT_TIMEOUT_S, env=variables,
        )  # fmt: skip
    except (OSError, subprocess.TimeoutExpired):
        return None
    return ended.stdout if ended.returncode == 0 else None


def _exact(value: Any) -> Any:
    """Return a JSON value without fractions: whole numbers as such, others as the shortest text that means them."""
    if isinstance(value, dict):
        return {key: _exact(held) for key, held in value.items()}
    if isinstance(value, list):
        return [_exact(held) for held in value]
    if isinstance(value, float):
        return int(value) if value.is_integer() else f"number {value!r}"
    return value


def _holds_float(value: Any) -> bool:
    if isinstance(value, Mapping):
        return any(_holds_float(held) for held in value.values())
    if isinstance(value, list | tuple):
        return any(_holds_float(held) for held in value)
    return isinstance(value, float)
