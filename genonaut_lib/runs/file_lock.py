"""A lock that a file stands for. It is the open file's own: the end of a process, however it ends, gives it back."""

from __future__ import annotations

import contextlib
import fcntl
import os
import time
from collections.abc import Iterator
from pathlib import Path

from genonaut_lib.errors import RecordsBusy

_LOOK_S = 0.02


@contextlib.contextmanager
def held(path: Path, wait_s: float, busy: RecordsBusy, *, shared: bool = False) -> Iterator[None]:
    """Hold a file's lock for a block; `shared` beside others who only read, which needs no right to write.

    The file is made where it is missing, but for one who only reads. Raises `busy` when others hold the lock for
    `wait_s` seconds, OSError.
    """
    opened = os.open(path, os.O_RDONLY if shared else os.O_RDWR | os.O_CREAT, 0o644)
    try:
        _take(opened, fcntl.LOCK_SH if shared else fcntl.LOCK_EX, wait_s, busy)
        yield
    finally:
        os.close(opened)


def _take(opened: int, how: int, wait_s: float, busy: RecordsBusy) -> None:
    deadline = time.monotonic() + wait_s
    while True:
        try:
            fcntl.flock(opened, how | fcntl.LOCK_NB)
        except BlockingIOError:
            if time.monotonic() > deadline:
                raise busy from None
            time.sleep(_LOOK_S)
        else:
            return
