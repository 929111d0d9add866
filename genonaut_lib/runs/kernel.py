"""The kernel a notebook runs on: its own standard error goes to a file, not over the caller's screen."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from jupyter_client.manager import AsyncKernelManager
from traitlets.config import Config

from genonaut_lib.runs.kernel_log import KernelLog


class LoggedKernelManager(AsyncKernelManager):
    """A kernel manager that keeps what the kernel process itself prints, without secrets.

    A kernel killed or shut down writes tracebacks of its sockets there; they say nothing of the
    notebook, whose own output is in the notebook.
    """

    log_of_process: ClassVar[KernelLog]

    async def start_kernel(self, **options: Any) -> None:  # type: ignore[override]  # theirs is wrapped
        """Start the kernel with its standard error led into the log."""
        with self.log_of_process.inlet() as stderr:
            await super().start_kernel(**{**options, "stderr": stderr})


def engine_options(log: KernelLog, sockets: Path) -> dict[str, Any]:
    """Return what papermill's engine needs to run a notebook on a logged kernel, to be met in the folder `sockets`."""

    # nbclient makes the manager itself, from a class and a configuration that it copies: the log goes with the class.
    class LoggedKernel(LoggedKernelManager):
        log_of_process = log

    manager = {"transport": "ipc", "ip": str(sockets / "k")}
    return {"kernel_manager_class": LoggedKernel, "config": Config({"LoggedKernelManager": manager})}
