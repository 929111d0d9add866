"""Where a runner and its kernel meet: Unix sockets in a folder that only this user may enter.

TCP ports, which are jupyter's default, are drawn by the runner and taken by the kernel a second later: of kernels that
start on one machine at the same time, one may find a port of its own taken, and die before its first word.
"""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path


@contextlib.contextmanager
def sockets(run_id: uuid.UUID) -> Iterator[Path]:
    """Make the folder for the sockets of a run's kernel, for a block."""
    folder = _folder(run_id)
    folder.mkdir(mode=0o700)
    try:
        yield folder
    finally:
        remove(run_id)


def remove(run_id: uuid.UUID) -> None:
    """Remove the folder of a run that is over, where it is still there: a runner that was killed has left it."""
    shutil.rmtree(_folder(run_id), ignore_errors=True)


def _folder(run_id: uuid.UUID) -> Path:
    # Short, since the path of a socket is: 107 bytes on Linux, 103 on macOS.
    return Path(tempfile.gettempdir()) / f"gk-{run_id.hex}"
