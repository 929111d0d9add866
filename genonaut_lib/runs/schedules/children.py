"""The process of a scheduled sequence: started, ended in time, and never left behind."""

from __future__ import annotations

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

KILL_AFTER_S = 10.0
"""What a process gets after SIGTERM to reach its checkpoint and close its record."""
_PARENT_DEATH_SIGNAL = 1


@dataclass
class Child:
    """A process at work; `ended_for` says why it was asked to end, None where nobody asked."""

    process: subprocess.Popen[bytes]
    deadline: float | None
    ended_for: str | None = None
    kill_at: float | None = None

    @classmethod
    def start(cls, command: Sequence[str], deadline_s: float | None) -> Child:
        """Start a command that gets SIGTERM after `deadline_s` seconds, or when this process dies.

        It has a session of its own, so that Ctrl-C at a terminal reaches it through us only. Raises OSError.
        """
        process = subprocess.Popen(
            command,
            stdin=subprocess.DEVNULL,
            start_new_session=True,
            preexec_fn=_follower(),  # noqa: PLW1509  # it makes two system calls and no more
        )
        return cls(process, None if deadline_s is None else time.monotonic() + deadline_s)

    def poll(self) -> int | None:
        """Return the exit code, None while it is at work; end it where its time is over."""
        code = self.process.poll()
        if code is not None:
            return code
        if self.deadline is not None and time.monotonic() > self.deadline:
            self.terminate("deadline")
        if self.kill_at is not None and time.monotonic() > self.kill_at:
            self.process.kill()
        return None

    def terminate(self, reason: str) -> None:
        """Ask it to end; the first reason counts."""
        if self.ended_for is None:
            self.ended_for, self.kill_at = reason, time.monotonic() + KILL_AFTER_S
            self.process.terminate()


def _follower() -> Callable[[], None] | None:
    """Return what makes a new process follow this one into death, where the system offers that (Linux)."""
    if sys.platform != "linux":
        # Elsewhere an orphan goes on, and the lock of its sequence keeps its successor waiting.
        return None
    prctl, parent = ctypes.CDLL(None).prctl, os.getpid()

    def follow() -> None:
        prctl(_PARENT_DEATH_SIGNAL, signal.SIGTERM)
        if os.getppid() != parent:
            os._exit(1)

    return follow
