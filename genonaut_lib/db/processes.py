"""Processes of this machine, by process id: whether one runs, ending one, waiting for those that work on something."""

from __future__ import annotations

import contextlib
import signal
import time

import psutil

from genonaut_lib.errors import ServerStartFailed, ServerStopFailed

STOP_TIMEOUT_S = 120


def alive(pid: int) -> bool:
    """Return whether a process runs; one that ended and was not reaped by its parent does not."""
    try:
        return pid > 0 and bool(psutil.Process(pid).status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def terminate(pid: int, *, fast: bool) -> None:
    """Ask a server's process to end, by SIGINT if `fast`, and wait for it; raise ServerStopFailed if it stays."""
    with contextlib.suppress(psutil.NoSuchProcess):
        psutil.Process(pid).send_signal(signal.SIGINT if fast else signal.SIGTERM)
    deadline = time.monotonic() + STOP_TIMEOUT_S
    while alive(pid):
        if time.monotonic() > deadline:
            raise ServerStopFailed(f"Process {pid} did not end within {STOP_TIMEOUT_S} s.")
        time.sleep(0.05)


def wait_until_gone(word: str, seconds: float = 30) -> None:
    """Wait until no process has `word` among its arguments; raise ServerStartFailed after `seconds`.

    An initdb, for one, outlives the command that started it.
    """
    deadline = time.monotonic() + seconds
    while any(word in (process.info["cmdline"] or ()) for process in psutil.process_iter(["cmdline"])):
        if time.monotonic() > deadline:
            raise ServerStartFailed(f"A process still works on {word}.", hint="End it, then try again.")
        time.sleep(0.2)
