"""Run one notebook: parameters checked, executed by papermill, recorded, an HTML copy beside it."""

from __future__ import annotations

import ast
import contextlib
import difflib
import getpass
import hashlib
import os
import socket
import time
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import papermill
import yaml
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.exceptions import PapermillExecutionError

from genonaut_lib.db import engine, guard
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import InvalidInput, NotebookFailed, RunInterrupted
from genonaut_lib.migration import ledger
from genonaut_lib.migration.ledger import RunStart
from genonaut_lib.runs import references, report
from genonaut_lib.runs.kernel import engine_options
from genonaut_lib.runs.kernel_log import KernelLog
from genonaut_lib.runs.redacted import redacted
from genonaut_lib.runs.redaction import Redactor
from genonaut_lib.runs.session import RUN_VARIABLE
from genonaut_lib.settings import ENVIRONMENT_VARIABLE, Settings, nearest, project_root

READ_ONLY = {"00_preflight", "63_explain_gallery"}
"""Notebooks that write nothing, and may run on a database the workbench has not adopted."""


@dataclass(frozen=True)
class RunRequest:
    """A notebook to run: its name, the parameters given by hand, and the pipeline step it is, if any."""

    notebook: str
    parameters: Mapping[str, Any] = field(default_factory=dict)
    pipeline_id: uuid.UUID | None = None
    step: str | None = None


@dataclass(frozen=True)
class RunResult:
    """A notebook that ran to its end, and where its record lies."""

    run_id: uuid.UUID
    notebook: str
    output: Path
    html: Path
    seconds: float


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

    Raises InvalidInput for bad parameters and the guard's refusals before anything ran,
    NotebookFailed when a cell raised (the output is kept and named), RunInterrupted on Ctrl-C.
    """
    path = notebook_path(request.notebook)
    parameters = resolve_parameters(settings, path, request.parameters)
    run_id, started = uuid.uuid4(), time.monotonic()
    with engine.session(settings, writing=path.stem not in READ_ONLY) as connection:
        if path.stem not in READ_ONLY:
            # A dry run changes nothing but the ledger, so it needs no confirmation by name.
            unconfirmed = settings.environment if parameters.get("dry_run") else None
            guard.require_adopted(connection, settings, unconfirmed)
        redactor = Redactor.of_environment(settings, connection).also(references.referenced(parameters).values())
        parameters = references.with_fingerprints(parameters, redactor)
        output = _output_path(settings.environment, path.stem, run_id)
        start = RunStart(
            run_id, path.stem, actor(), parameters, _digest(path), str(output), request.pipeline_id, request.step
        )
        with (
            _recorded(connection, start),
            redacted(output, redactor),
            _environment(_kernel_variables(settings, run_id)),
        ):
            _execute(path, output, parameters, redactor)
    return RunResult(run_id, path.stem, output, report.html_path(output), time.monotonic() - started)


def actor() -> str:
    """Return who runs this: user and host."""
    return f"{getpass.getuser()}@{socket.gethostname()}"


@contextlib.contextmanager
def _recorded(connection: Connection, start: RunStart) -> Iterator[None]:
    """Keep the run's row in the ledger true, whichever way the block ends; no ledger, no row."""
    if not ledger.exists(connection):
        yield
        return
    ledger.mark_lost_runs(connection)
    ledger.start_run(connection, start)
    try:
        yield
    except NotebookFailed as error:
        ledger.end_run(connection, start.run_id, "failed", {"message": error.message})
        raise
    except BaseException as error:
        ledger.end_run(connection, start.run_id, "cancelled", {"message": type(error).__name__})
        raise
    ledger.end_run(connection, start.run_id, "ok", None)


def _execute(path: Path, output: Path, parameters: Mapping[str, Any], redactor: Redactor) -> None:
    output.parent.mkdir(parents=True, exist_ok=True)
    kernel_log = output.with_suffix(".kernel.log")
    log = KernelLog(kernel_log, redactor)
    try:
        with contextlib.closing(log):
            papermill.execute_notebook(
                path,
                output,
                parameters=dict(parameters),
                cwd=project_root(),
                progress_bar=False,
                kernel_name="python3",
                **engine_options(log),
            )
    except PapermillExecutionError as error:
        html = report.write_html(output, redactor)
        raise NotebookFailed(
            f"{path.stem} stopped in cell {error.exec_count}: {error.ename}: {error.evalue}",
            hint=f"Its output is {output} (and {html.name}). Mend the cause, then run the same command again: "
            "it goes on from there.",
        ) from None
    except (DeadKernelError, CellTimeoutError) as error:
        hint = f"What it had done is in {output}, what its process said in {kernel_log}. Run the same command again."
        raise NotebookFailed(f"{path.stem}: {type(error).__name__}, its kernel is gone.", hint=hint) from None
    except KeyboardInterrupt:
        raise RunInterrupted(f"{path.stem} was interrupted.", hint="Run the same command again.") from None
    report.write_html(output, redactor)
    kernel_log.unlink()


def _output_path(environment: str, name: str, run_id: uuid.UUID) -> Path:
    now = datetime.now(UTC)
    folder = project_root() / "outputs" / environment / now.strftime("%Y-%m-%d")
    return folder / f"{now.strftime('%H%M%S')}_{name}_{run_id.hex[:6]}.ipynb"


def _digest(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _kernel_variables(settings: Settings, run_id: uuid.UUID) -> dict[str, str]:
    """The kernel learns run and environment this way; addresses reach it as they reached us, never as parameters."""
    return {RUN_VARIABLE: str(run_id), ENVIRONMENT_VARIABLE: settings.environment}


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    before = {name: os.environ.get(name) for name in variables}
    os.environ.update(variables)
    try:
        yield
    finally:
        for name, value in before.items():
            if value is None:
                del os.environ[name]
            else:
                os.environ[name] = value


def _require_type(notebook: str, name: str, value: Any, wanted: str) -> None:
    accepted: Any = {"str": str, "bool": bool, "int": int, "float": (int, float)}.get(wanted)
    if accepted is None:
        return
    if not isinstance(value, accepted) or (isinstance(value, bool) and wanted != "bool"):
        raise InvalidInput(f"{notebook}: parameter {name} is {value!r}, and must be of type {wanted}.")
