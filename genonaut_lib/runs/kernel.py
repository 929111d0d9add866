"""The kernel a notebook runs on: its own standard error goes to a file, not over the caller's screen."""

from __future__ import annotations

from typing import Any, ClassVar

from jupyter_client.manager import AsyncKernelManager

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


def manager_class(log: KernelLog) -> type[LoggedKernelManager]:
    """Return the class of the manager of a kernel whose own words go to a log."""

    # nbclient makes the manager itself, from a class and a configuration that it copies: the log goes with the class.
    class LoggedKernel(LoggedKernelManager):
        log_of_process = log

    return LoggedKernel
