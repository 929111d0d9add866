"""Free space where the server keeps its files, for a server that runs on this machine."""

from __future__ import annotations

import shutil
from pathlib import Path

import psutil

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block

UNKNOWN = "unknown: ask the server's owner"
"""What is said of a disk that cannot be seen from here."""


def free_bytes(connection: Connection) -> int | None:
    """Return the bytes free on the disk of the content's files, None where they cannot be seen from here.

    PostgreSQL tells nobody how full its disk is. The folder is looked at only when the session's own
    server process is one of this machine, which a folder of the same name elsewhere cannot feign.
    """
    row = connection.execute(block("estimates", "data_folder").sql()).fetchone()
    folder = Path(str(row[0])) if row and row[0] else None
    if row is None or folder is None or not _is_local(connection) or not _is_server(int(row[1])):
        return None
    return shutil.disk_usage(folder).free if folder.is_dir() else None


def _is_local(connection: Connection) -> bool:
    """Return whether the session goes through a socket file or the loopback interface."""
    info = connection.info
    return info.host.startswith(("/", "@")) or info.hostaddr.startswith("127.") or info.hostaddr == "::1"


def _is_server(pid: int) -> bool:
    """Return whether `pid` is a process of PostgreSQL here; in a container it would be another, or none."""
    return psutil.pid_exists(pid) and psutil.Process(pid).name().startswith(("postgres", "postmaster"))
