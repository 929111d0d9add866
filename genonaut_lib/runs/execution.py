"""One execution of a notebook by our papermill engine.

What it promises: a cell that did not run is `pending`, one that was at work when the run ended is
`failed`, and `metadata.genonaut.status` of the record says how the run ended. The record is less than
two seconds behind and is replaced as a whole, so its last good copy survives whatever kills the process.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from nbclient.exceptions import CellExecutionError
from papermill.iorw import papermill_io
from papermill.log import logger
from traitlets.config import Config

from genonaut_lib.errors import ProjectNotFound
from genonaut_lib.runs.client import RecordedClient
from genonaut_lib.runs.ending import OK, ending_of
from genonaut_lib.runs.kernel_sockets import sockets
from genonaut_lib.runs.record import Record, Target
from genonaut_lib.runs.record_file import HANDLER, path_of
from genonaut_lib.runs.secrets.redaction import Redactor
from genonaut_lib.runs.stops import Limits, listening
from genonaut_lib.settings import load_settings

_OWN = ("target", "run_id", "limits", "input_path", "progress_bar", "log_output")
_RENAMED = {"start_timeout": "startup_timeout", "execution_timeout": "timeout"}
_UNUSED = ("autosave_cell_every",)


def execute(nb: Any, kernel_name: str, output_path: str | None, options: Mapping[str, Any]) -> Any:
    """Execute a notebook and return it; `options` are papermill's, and those of `GenonautEngine`.

    A cell that raised is left to papermill to report. Raises DeadKernelError when the kernel is gone,
    RunInterrupted at a signal, RunOverdue, and RecordUnwritable or OSError when the disk is full.
    """
    shown = {name: options.get(name, default) for name, default in (("progress_bar", True), ("log_output", False))}
    with listening() as orders, sockets(options.get("run_id") or uuid.uuid4()) as place:
        record = Record(nb, options.get("target") or _target(output_path), options.get("run_id"), **shown)
        limits = options.get("limits") or Limits(orders)
        record.notebook_start()
        try:
            RecordedClient(record, limits, **_client_options(kernel_name, place, options)).execute()
        except CellExecutionError as error:
            record.end(ending_of(error))
        except BaseException as error:
            record.end(ending_of(error))
            raise
        else:
            record.end(OK)
    return record.nb


def _client_options(kernel_name: str, place: str, options: Mapping[str, Any]) -> dict[str, Any]:
    """Return nbclient's options; its manager meets the kernel at the sockets whose paths begin with `place`."""
    passed = {name: value for name, value in options.items() if name not in (*_OWN, *_UNUSED)}
    renamed = {_RENAMED.get(name, name): value for name, value in passed.items()}
    config = Config({"KernelManager": {"transport": "ipc", "ip": place}})
    config.merge(options.get("config") or {})
    own = {"kernel_name": kernel_name, "log": logger, "log_output": options.get("log_output", False)}
    return {**renamed, **own, "config": config}


def _target(output_path: str | None) -> Target:
    """Return where papermill wants the notebook: a file of ours to replace, or whatever else it can write to."""
    if output_path is None:
        return Target()
    local = papermill_io.get_handler("local")
    if papermill_io.get_handler(output_path) in (local, HANDLER):
        path = _from_where_papermill_started(local) / path_of(output_path)
        # Papermill writes the notebook once more when it is done; this way it replaces the file, too.
        papermill_io.register(output_path, HANDLER)
        return Target(path, redactor=_redactor())
    return Target(address=output_path, redactor=_redactor())


def _redactor() -> Redactor:
    """Return what knows the secrets of this process; outside a project it still hides those of any address."""
    try:
        return Redactor.of_environment(load_settings())
    except ProjectNotFound:
        return Redactor()


def _from_where_papermill_started(local: Any) -> Path:
    """Papermill keeps the folder it started in with its handler of local files, and executes in another one."""
    folder = local.cwd(None)
    local.cwd(folder)
    return Path(folder) if folder else Path.cwd()
