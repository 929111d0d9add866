"""Sequences of notebooks: `params/pipelines.yaml` names them, and a stopped one goes on where it stopped."""

from __future__ import annotations

import contextlib
import time
import uuid
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

import papermill
import psycopg

from genonaut_lib.db import advisory, engine, guard
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import DatabaseUnreachable, InvalidInput, PipelineBusy
from genonaut_lib.runs import reaper
from genonaut_lib.runs.engine import (
    RunRequest,
    RunResult,
    notebook_path,
    resolve_parameters,
    run_notebook,
)
from genonaut_lib.runs.sequences import Sequence, Step, sequence_of
from genonaut_lib.runs.stops import Orders, listening
from genonaut_lib.settings import Settings, nearest

LOCK = "genonaut.pipeline"
LOCK_WAIT_S = 10.0


@dataclass(frozen=True)
class StepReport:
    """How one step went: `result` is None for a step that an earlier start had finished."""

    step: Step
    number: int
    of: int
    result: RunResult | None


def pipeline_steps(name: str) -> list[Step]:
    """Return the steps of a sequence; raise InvalidInput naming the nearest known one."""
    return sequence_of(name).steps


def with_parameters(steps: list[Step], given: Mapping[str, Any], *, dry_run: bool | None = None) -> list[Step]:
    """Return the steps with parameters put on top: `given` by `step.parameter`, `dry_run` where a notebook has it.

    Raises InvalidInput for a name that is not a step's and a parameter's, joined by a dot.
    """
    known = {step.key for step in steps}
    for name in given:
        key, dot, _ = name.partition(".")
        if not dot or key not in known:
            hint = f"{nearest(key, sorted(known))}Steps: {', '.join(step.key for step in steps)}."
            raise InvalidInput(f"{name!r} is not STEP.PARAMETER.", hint=hint)
    return [_with_parameters(step, given, dry_run) for step in steps]


def _with_parameters(step: Step, given: Mapping[str, Any], dry_run: bool | None) -> Step:
    own = {name.partition(".")[2]: value for name, value in given.items() if name.partition(".")[0] == step.key}
    if dry_run is not None and "dry_run" in papermill.inspect_notebook(notebook_path(step.notebook)):
        own.setdefault("dry_run", dry_run)
    return step.model_copy(update={"parameters": {**step.parameters, **own}})


def run_pipeline(
    settings: Settings, name: str, report: Callable[[StepReport], None], steps: list[Step] | None = None
) -> list[StepReport]:
    """Run a sequence in order and stop at the first notebook that fails.

    `steps` are the sequence's own unless given (see `with_parameters`); all their parameters are
    checked before the first one runs. A sequence that did not end well goes on with its first
    unfinished step. Raises what `run_notebook` raises, and RunInterrupted at a signal between two steps.
    """
    sequence = sequence_of(name)
    steps = steps or sequence.steps
    for step in steps:
        resolve_parameters(settings, notebook_path(step.notebook), step.parameters)
    with listening() as orders, engine.session(settings) as connection:
        guard.require_adopted(connection, settings)
        _lock(connection, name, sequence, orders)
        reaper.reap(connection, settings)
        with _started(settings, connection, name, sequence) as pipeline_id:
            return _run_steps(settings, steps, (pipeline_id, _finished(connection, pipeline_id)), report, orders)


@contextlib.contextmanager
def _started(settings: Settings, connection: Connection, name: str, sequence: Sequence) -> Iterator[uuid.UUID]:
    """Keep the row of a sequence true, whichever way the block ends, and release the lock then."""
    pipeline_id, settings = _start(connection, name), engine.pinned(settings)
    try:
        yield pipeline_id
    except BaseException:
        # The step's error is what counts. A pipeline that still says `running` is gone on with, too.
        with contextlib.suppress(DatabaseUnreachable):
            _end(settings, pipeline_id, "failed")
        raise
    else:
        _end(settings, pipeline_id, "ok")
    finally:
        with contextlib.suppress(psycopg.OperationalError):
            for key, shared in _locks(name, sequence):
                advisory.release(connection, key, shared=shared)


def _run_steps(
    settings: Settings,
    steps: list[Step],
    progress: tuple[uuid.UUID, set[str]],
    report: Callable[[StepReport], None],
    orders: Orders,
) -> list[StepReport]:
    pipeline_id, finished = progress
    reports = []
    for number, step in enumerate(steps, start=1):
        orders.obey()
        result = None
        if step.key not in finished:
            request = RunRequest(step.notebook, step.parameters, pipeline_id, step.key)
            result = run_notebook(settings, request)
        reports.append(StepReport(step, number, len(steps), result))
        report(reports[-1])
    return reports


def _locks(name: str, sequence: Sequence) -> list[tuple[str, bool]]:
    """Return the locks of a sequence, and whether each is shared.

    One that has a schedule may run beside others that have one, though not beside itself: sealing by the
    minute must not wait for a review that takes an hour. Any other is alone on its database.
    """
    return [(LOCK, False)] if sequence.schedule is None else [(LOCK, True), (f"{LOCK}.{name}", False)]


def _lock(connection: Connection, name: str, sequence: Sequence, orders: Orders) -> None:
    """Hold this database's pipeline locks for the session; a killed predecessor's go with its session."""
    deadline = time.monotonic() + LOCK_WAIT_S
    for key, shared in _locks(name, sequence):
        while not advisory.try_hold(connection, key, shared=shared):
            orders.obey()
            if time.monotonic() > deadline:
                raise PipelineBusy(hint="Wait for it to end; `genonaut runs` shows what it does.")
            time.sleep(0.25)


def _start(connection: Connection, name: str) -> uuid.UUID:
    """Return the unfinished start of this sequence, or a new one."""
    row = connection.execute(block("ledger", "unfinished_pipeline").sql(), {"name": name}).fetchone()
    pipeline_id: uuid.UUID = row[0] if row else uuid.uuid4()
    connection.execute(block("ledger", "start_pipeline").sql(), {"pipeline_id": pipeline_id, "name": name})
    return pipeline_id


def _finished(connection: Connection, pipeline_id: uuid.UUID) -> set[str]:
    rows = connection.execute(block("ledger", "finished_steps").sql(), {"pipeline_id": pipeline_id}).fetchall()
    return {str(row[0]) for row in rows}


def _end(settings: Settings, pipeline_id: uuid.UUID, state: str) -> None:
    """Write down how a sequence ended, in a session of its own: the one it began with may be lost by then."""
    with engine.session(settings) as connection:
        connection.execute(block("ledger", "end_pipeline").sql(), {"pipeline_id": pipeline_id, "state": state})
