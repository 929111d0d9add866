"""Run one notebook: parameters checked, executed by our papermill engine, recorded however it ends."""

from __future__ import annotations

import ast
import contextlib
import difflib
import hashlib
import time
import uuid
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import papermill
import yaml

from genonaut_lib.db import engine, guard
from genonaut_lib.errors import InvalidInput
from genonaut_lib.migration import ledger
from genonaut_lib.migration.actors import actor
from genonaut_lib.migration.ledger import RunStart
from genonaut_lib.runs import job, reaper, report
from genonaut_lib.runs.job import Job
from genonaut_lib.runs.pulse import beating
from genonaut_lib.runs.record_file import require_room, sweep
from genonaut_lib.runs.records import sealing
from genonaut_lib.runs.secrets import references
from genonaut_lib.runs.secrets.redaction import Redactor
from genonaut_lib.runs.stops import Limits, listening
from genonaut_lib.settings import Settings, nearest, project_root

READ_ONLY = {"00_preflight", "63_explain_gallery"}
"""Notebooks that write nothing, and may run on a database the workbench has not adopted."""


@dataclass(frozen=True)
class RunRequest:
    """A notebook to run: its name, the parameters given by hand, and the pipeline step it is, if any.

    `deadline_s` replaces the environment's; `resumed_from` is the run that this one goes on with.
    """

    notebook: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    pipeline_id: uuid.UUID | None = None
    step: str | None = None
    deadline_s: float | None = None
    resumed_from: uuid.UUID | None = None


@dataclass(frozen=True)
class RunResult:
    """A notebook that ran to its end, and where its record lies."""

    run_id: uuid.UUID
    notebook: str
    output: Path
    html: Path
    seconds: float


_Admission = tuple[Settings, sealing.Opened, Redactor]


def notebook_names() -> list[str]:
    """Return the names of all notebooks, in order."""
    return sorted(path.stem for path in (project_root() / "notebooks").glob("[0-9][0-9]_*.ipynb"))


def notebook_path(name: str) -> Path:
    """Return the file of a notebook; raise InvalidInput naming the nearest known one."""
    name = Path(name).name.removesuffix(".ipynb")
    known = notebook_names()
    matches = [known_name for known_name in known if known_name == name or known_name.startswith(f"{name}_")]
    if len(matches) != 1:
        raise InvalidInput(f"There is no notebook {name!r}.", hint=f"{nearest(name, known)}Known: {', '.join(known)}.")
    return project_root() / "notebooks" / f"{matches[0]}.ipynb"


def parse_parameters(pairs: list[str]) -> dict[str, Any]:
    """Return `key=value` pairs as parameters, values read as YAML; raise InvalidInput for anything else."""
    parameters = {}
    for pair in pairs:
        key, separator, text = pair.partition("=")
        if not separator or not key:
            # An address given without its key would stand on the screen, and in a scheduler's log.
            raise InvalidInput(f"{Redactor().text(pair)!r} is not key=value.", hint="For example: -p dry_run=false")
        try:
            parameters[key] = yaml.safe_load(text)
        except yaml.YAMLError as error:
            raise InvalidInput(
                f"The value of {key!r} is not YAML.", hint="Put text with : or [ into quotes."
            ) from error
    return parameters


def resolve_parameters(settings: Settings, path: Path, given: Mapping[str, Any]) -> dict[str, Any]:
    """Return all parameters of a run: the notebook's defaults, the environment's over them, the given ones on top.

    Raises InvalidInput for a parameter the notebook does not have, or a value of another type than
    the notebook's default, and SecretInParameter for one that holds a secret instead of a reference to it.
    """
    found = papermill.inspect_notebook(path)
    known = {name: spec["inferred_type_name"] for name, spec in found.items()}
    defaults = {name: ast.literal_eval(spec["default"]) for name, spec in found.items()}
    values = {**defaults, **settings.notebooks.get(path.stem, {}), **given, "environment": settings.environment}
    # First of all, since the other refusals repeat what was given.
    references.require_none_secret(values, Redactor.of_environment(settings))
    for name, value in values.items():
        if name not in known:
            match = difflib.get_close_matches(name, known, n=1)
            hint = f"Did you mean {match[0]!r}? " if match else ""
            raise InvalidInput(
                f"{path.stem} has no parameter {name!r}.", hint=f"{hint}It has: {', '.join(sorted(known))}."
            )
        _require_type(path.stem, name, value, str(known[name]))
    return values


def run_notebook(settings: Settings, request: RunRequest) -> RunResult:
    """Run a notebook and return where its record lies.

    Raises InvalidInput for bad parameters, NoRoom and the guard's refusals before anything ran.
    Once it ran, its record is kept and named: NotebookFailed when a cell raised, KernelDied,
    RunOverdue, RecordUnwritable, RunInterrupted at a signal (SIGINT, SIGTERM or SIGHUP),
    LedgerBehind when it ended well and the ledger could not be told.
    """
    path = notebook_path(request.notebook)
    parameters = resolve_parameters(settings, path, request.parameters)
    began = time.monotonic()
    with listening() as orders:
        settings, opened, redactor = _admitted(settings, path.stem, parameters)
        start = _start(settings, request, path, references.with_fingerprints(parameters, redactor))
        limits = Limits.within(orders, _deadline_s(settings, request), settings.runs.stop_grace_s)
        orders.obey()
        with beating(settings, start) if opened.ledger else contextlib.nullcontext():
            job.run(Job(settings, path, start, limits, opened, redactor))
    output = Path(str(start.output_path))
    return RunResult(start.run_id, path.stem, output, report.html_path(output), time.monotonic() - began)


def notebook_digest(path: Path) -> str:
    """Return the SHA-256 of a notebook's file, in hexadecimal."""
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _admitted(settings: Settings, notebook: str, parameters: Mapping[str, Any]) -> _Admission:
    """Return what the run goes by; runs left by a kill are settled first."""
    writing = notebook not in READ_ONLY
    with engine.session(settings, writing=writing) as connection:
        if writing:
            # A dry run changes nothing but the ledger, so it needs no confirmation by name.
            unconfirmed = settings.environment if parameters.get("dry_run") else None
            guard.require_adopted(connection, settings, unconfirmed)
        ledgered = ledger.exists(connection) and not engine.facts(connection).in_recovery
        if ledgered:
            reaper.reap(connection, settings)
        redactor = Redactor.of_environment(settings, connection).also(references.referenced(parameters).values())
        opened = sealing.opened(settings, connection, ledgered=ledgered)
    return engine.pinned(settings), opened, redactor


def _start(settings: Settings, request: RunRequest, path: Path, parameters: Mapping[str, Any]) -> RunStart:
    """Return what is known of the run beforehand; raise NoRoom where its record would not fit."""
    run_id = uuid.uuid4()
    output = _output_path(settings.environment, path.stem, run_id)
    require_room(output.parent)
    sweep(output.parent)
    deadline_s = _deadline_s(settings, request)
    return RunStart(
        run_id,
        path.stem,
        actor(),
        parameters,
        notebook_digest(path),
        str(output),
        request.pipeline_id,
        request.step,
        None if deadline_s is None else datetime.now(UTC) + timedelta(seconds=deadline_s),
        request.resumed_from,
    )


def _deadline_s(settings: Settings, request: RunRequest) -> float | None:
    return settings.runs.deadline_s if request.deadline_s is None else request.deadline_s


def _output_path(environment: str, name: str, run_id: uuid.UUID) -> Path:
    now = datetime.now(UTC)
    folder = project_root() / "outputs" / environment / now.strftime("%Y-%m-%d")
    return folder / f"{now.strftime('%H%M%S')}_{name}_{run_id.hex[:6]}.ipynb"


def _require_type(notebook: str, name: str, value: Any, wanted: str) -> None:
    accepted: Any = {"str": str, "bool": bool, "int": int, "float": (int, float)}.get(wanted)
    if accepted is None:
        return
    if not isinstance(value, accepted) or (isinstance(value, bool) and wanted != "bool"):
        raise InvalidInput(f"{notebook}: parameter {name} is {value!r}, and must be of type {wanted}.")
