"""A run at work: its notebook executed by papermill on our engine, and its record closed whichever way it ends."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import papermill
from nbclient.exceptions import CellTimeoutError, DeadKernelError
from papermill.engines import papermill_engines
from papermill.exceptions import PapermillExecutionError

from genonaut_lib.errors import GenonautError, KernelDied, LedgerBehind, NotebookFailed
from genonaut_lib.migration.ledger import RunStart
from genonaut_lib.runs import closing, executor, report
from genonaut_lib.runs.ending import DEAD, OK, Ending, ending_of
from genonaut_lib.runs.kernel import manager_class
from genonaut_lib.runs.kernel_log import KernelLog
from genonaut_lib.runs.reading import index
from genonaut_lib.runs.record import Target
from genonaut_lib.runs.records.sealing import Opened
from genonaut_lib.runs.secrets.redacted import redacted
from genonaut_lib.runs.secrets.redaction import Redactor
from genonaut_lib.runs.session import RUN_VARIABLE
from genonaut_lib.runs.stops import Limits
from genonaut_lib.settings import ENVIRONMENT_VARIABLE, Settings, project_root


@dataclass(frozen=True)
class Job:
    """All that is needed to execute a notebook as the run `start`."""

    settings: Settings
    path: Path
    start: RunStart
    limits: Limits
    opened: Opened
    redactor: Redactor

    @property
    def output(self) -> Path:
        """Where the record lies."""
        return Path(str(self.start.output_path))

    @property
    def kernel_log(self) -> Path:
        """Where the kernel's own messages go; removed when the run ends well."""
        return self.output.with_suffix(".kernel.log")


def run(job: Job) -> None:
    """Execute the notebook and close its record; raises what `run_notebook` says."""
    try:
        with redacted(job.redactor):
            _execute(job)
    except BaseException as error:
        remarks = _close(job, ending_of(error))
        if remarks and isinstance(error, GenonautError):
            error.hint = " ".join([error.hint or "", *remarks]).strip()
        raise
    # Before the seal, which counts the files of the record.
    job.kernel_log.unlink(missing_ok=True)
    remarks = _close(job, OK)
    if remarks:
        raise LedgerBehind(f"{job.path.stem} ended well, but not all of it is told.", hint=" ".join(remarks))


def _close(job: Job, ending: Ending) -> list[str]:
    told = replace(ending, failure=job.redactor.node(ending.failure))
    try:
        return closing.close(job.settings, job.opened, job.start, told, job.redactor)
    finally:
        # Last of all, since it shows what the steps before have left.
        index.keep_up(job.opened.folder, job.redactor)


def _execute(job: Job) -> None:
    """Have the notebook executed; whatever stops it leaves as one of the library's errors."""
    name = job.path.stem
    try:
        status = _executed(job)
    except PapermillExecutionError as error:
        raise _stopped_in_a_cell(job, error) from None
    except DeadKernelError:
        hint = f"What it had done is in {job.output}, what its process said in {job.kernel_log}. {_again(job)}"
        raise KernelDied(f"{name}: {DEAD}", hint=hint) from None
    except (CellTimeoutError, RuntimeError) as error:
        raise NotebookFailed(f"{name}: {error}", hint=_again(job), cause=type(error).__name__) from None
    except GenonautError as error:
        error.message = f"{name}: {error.message}"
        error.hint = f"Its record is {job.output}. {_again(job)}"
        raise
    if status != OK.state:
        # Papermill takes `sys.exit(0)` for a good end; the cells behind it did not run.
        raise NotebookFailed(f"{name} left before its end.", hint=f"Its output is {job.output}.", cause="SystemExit")


def _executed(job: Job) -> str:
    """Execute the notebook and return how its record says it ended."""
    papermill_engines.register(executor.NAME, executor.GenonautEngine)
    variables = {RUN_VARIABLE: str(job.start.run_id), ENVIRONMENT_VARIABLE: job.settings.environment}
    with _environment(variables), contextlib.closing(KernelLog(job.kernel_log, job.redactor)) as log:
        executed = papermill.execute_notebook(
            job.path,
            None,
            parameters=dict(job.start.parameters),
            engine_name=executor.NAME,
            cwd=project_root(),
            progress_bar=False,
            kernel_name="python3",
            target=Target(job.output, redactor=job.redactor),
            run_id=job.start.run_id,
            limits=job.limits,
            kernel_manager_class=manager_class(log),
        )
    return str(executed.metadata["genonaut"]["status"])


def _stopped_in_a_cell(job: Job, error: PapermillExecutionError) -> NotebookFailed:
    return NotebookFailed(
        f"{job.path.stem} stopped in cell {error.exec_count}: {error.ename}: {error.evalue}",
        hint=f"Its output is {job.output} (and {report.html_path(job.output).name}). Mend the cause. {_again(job)}",
        cause=str(error.ename),
    )


def _again(job: Job) -> str:
    resume = f"genonaut run --resume {job.start.run_id.hex[:8]} --env {job.settings.environment}"
    return f"Then run the same command again, or `{resume}`: it goes on from there."


@contextlib.contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """Set variables for a block: the kernel learns run and environment this way, and addresses as we learnt them."""
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
