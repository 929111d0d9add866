"""A real PgBouncer before the tests' server."""

from __future__ import annotations

import os
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import closing, contextmanager
from pathlib import Path

import psycopg
from psycopg import conninfo

# Debian puts it where only root's PATH leads.
BINARY = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin:/usr/local/sbin")
POOL_SIZE = 12
CONFIGURATION = """
[databases]
* = {target}
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = {mode}
default_pool_size = {size}
logfile = {folder}/log
"""


@contextmanager
def pgbouncer(server_url: str, mode: str = "transaction") -> Iterator[int]:
    """Run PgBouncer before the server for the length of the block; yields its port on 127.0.0.1."""
    server = {key: str(value) for key, value in conninfo.conninfo_to_dict(server_url).items() if value}
    target = " ".join(f"{key}={server[key]}" for key in ("host", "port", "user", "password") if key in server)
    with tempfile.TemporaryDirectory(prefix="gnp-") as name:
        folder, port = Path(name), free_port()
        text = CONFIGURATION.format(target=target, port=port, mode=mode, size=POOL_SIZE, folder=folder)
        (folder / "pgbouncer.ini").write_text(text)
        process = subprocess.Popen([*command(folder, server.get("host", "")), str(folder / "pgbouncer.ini")])
        try:
            wait_until_it_answers(process, conninfo.make_conninfo(server_url, host="127.0.0.1", port=port), folder)
            yield port
        finally:
            process.kill()
            process.wait()


def command(folder: Path, host: str) -> list[str]:
    """PgBouncer refuses to run as root, and must be able to enter the folder of the server's socket."""
    assert BINARY is not None
    if os.geteuid():
        return [BINARY, "-q"]
    owner = Path(host).owner() if host.startswith("/") else "postgres"
    for path in (folder, *folder.iterdir()):
        shutil.chown(path, owner)
    return [BINARY, "-q", "-u", owner]


def wait_until_it_answers(process: subprocess.Popen[bytes], address: str, folder: Path) -> None:
    deadline = time.monotonic() + 30
    while True:
        try:
            psycopg.connect(address, connect_timeout=5).close()
        except psycopg.OperationalError:
            assert process.poll() is None, (folder / "log").read_text()
            assert time.monotonic() < deadline
            time.sleep(0.1)
        else:
            return


def free_port() -> int:
    with closing(socket.socket()) as taken:
        taken.bind(("127.0.0.1", 0))
        port: int = taken.getsockname()[1]
        return port
