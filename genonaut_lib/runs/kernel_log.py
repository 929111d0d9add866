"""The log of a kernel's process, free of secrets: what it prints goes through a pipe, never straight into the file."""

from __future__ import annotations

import contextlib
import io
import os
import threading
from collections.abc import Iterator
from pathlib import Path

from genonaut_lib.runs.secrets.redaction import Redactor

CHUNK = 65_536
LAST_WORDS_S = 2.0
"""How long a kernel that has ended is listened to; a process it left behind may hold the pipe for ever."""


class KernelLog:
    """A file that takes what processes print, each secret replaced by its mark.

    The last bytes, as many as the longest secret could cover, wait for what comes after them; they are written
    when the processes have ended.
    """

    def __init__(self, file: Path, redactor: Redactor) -> None:
        self.file, self._redactor = file, redactor
        self._threads: list[threading.Thread] = []

    @contextlib.contextmanager
    def inlet(self) -> Iterator[int]:
        """Open a pipe for a process to be started in the block; its end of it is closed here afterwards."""
        outlet, inlet = os.pipe()
        self.file.touch()
        thread = threading.Thread(target=self._take, args=(outlet,), name="kernel log", daemon=True)
        thread.start()
        self._threads.append(thread)
        try:
            yield inlet
        finally:
            os.close(inlet)

    def close(self) -> None:
        """Wait for the last words of processes that have ended; they are in the file then."""
        for thread in self._threads:
            thread.join(LAST_WORDS_S)

    def _take(self, outlet: int) -> None:
        with os.fdopen(outlet, "rb", buffering=0) as pipe:
            try:
                self._copy(pipe)
            finally:
                # On a full disk the log ends, and the thread with its error; but a pipe that nobody reads would hold up
                # the kernel itself.
                while pipe.read(CHUNK):
                    continue

    def _copy(self, pipe: io.FileIO) -> None:
        waiting = b""
        with self.file.open("ab", buffering=0) as log:
            while chunk := pipe.read(CHUNK):
                ready, waiting = self._redactor.begin(waiting + chunk)
                log.write(ready)
            log.write(self._redactor.bytes_(waiting))
