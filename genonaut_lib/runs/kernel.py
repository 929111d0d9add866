"""The kernel a notebook runs on: its own standard error goes to a file, not over the caller's screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from jupyter_client.manager import AsyncKernelManager
from traitlets import Unicode
from traitlets.config import Config


class LoggedKernelManager(AsyncKernelManager):
    """A kernel manager that keeps what the kernel process itself prints in `log`.

    A kernel killed or shut down writes tracebacks of its sockets there; they say nothing of the
    notebook, whose own output is in the notebook.
    """

    log_file = Unicode(help="File that takes the kernel process's standard error.").tag(config=True)

    async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]  # theirs is wrapped
        """Start the kernel with its standard error appended to `log_file`."""
        with Path(self.log_file).open("ab") as stderr:  # noqa: ASYNC230  # opened once, before anything runs
            await super().start_kernel(**{**options, "stderr": stderr})


def engine_options(log_file: Path) -> dict[str, Any]:
    """Return what papermill's engine needs to run a notebook on a logged kernel.

    What passes between runner and kernel is encrypted, so that other users of the machine cannot
    read it.
    """
    manager = {"transport_encryption": "auto", "log_file": str(log_file)}
    return {"kernel_manager_class": LoggedKernelManager, "config": Config({"LoggedKernelManager": manager})}
