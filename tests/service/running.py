"""The real service in a process of its own, on a migrated gallery."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import psutil

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.migration import adoption, tag_stats
from genonaut_lib.migration.phases import PHASES, Context
from genonaut_lib.settings import Settings
from tests.factories import Gallery
from tests.gallery.built import database, settings_of
from tests.migration.test_phases import apply

COMMAND = [sys.executable, "-c", "from genonaut_lib.cli import main; main()", "serve"]
ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
NOWHERE = "unix:///nowhere/redis.sock"


@dataclass
class Served:
    """A service that runs, and a client of it."""

    url: str
    client: httpx.Client
    settings: Settings
    process: subprocess.Popen[bytes]
    log_path: Path

    def get(self, path: str, **parameters: Any) -> httpx.Response:
        return self.client.get(f"/api/v1{path}", params=parameters or None)


@contextlib.contextmanager
def served(settings: Settings, *arguments: str, **variables: str) -> Iterator[Served]:
    """Start the service on any free port, and end it by SIGTERM."""
    assert settings.database_url is not None
    environment = os.environ | {
        "DATABASE_URL": settings.database_url.get_secret_value(), "REDIS_URL": NOWHERE,
        "GENONAUT_ENVIRONMENT": "test", "GENONAUT_SERVICE__PORT": "0", **variables,
    }  # fmt: skip
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as file:
            process = subprocess.Popen([*COMMAND, *arguments], env=environment, stdout=file, stderr=file)
        try:
            url = _address(process, log)
            with httpx.Client(base_url=url, timeout=30) as client:
                # Several processes listen only once they are up.
                eventually(lambda: _listens(client), seconds=60)
                yield Served(url, client, settings, process, log)
        finally:
            process.terminate()
            process.wait(30)
            # Shown where the test fails.
            print(log.read_text())  # noqa: T201


def _address(process: subprocess.Popen[bytes], log: Path) -> str:
    """Return where the service listens, as its log says."""
    deadline = time.monotonic() + 60
    while time.monotonic() < deadline:
        said = log.read_text()
        if found := ADDRESS.search(said):
            return found[0]
        assert process.poll() is None, said
        time.sleep(0.02)
    raise AssertionError(log.read_text())


def _listens(client: httpx.Client) -> bool:
    try:
        return client.get("/health").status_code > 0
    except httpx.ConnectError:
        return False


@contextlib.contextmanager
def migrated(admin_url: str, fill: Callable[[Gallery], None]) -> Iterator[tuple[Settings, Connection]]:
    """Make a gallery, fill it in its legacy shape, take it through all phases and count its statistics."""
    with database(admin_url, "template1") as name:
        settings = settings_of(admin_url, name)
        with closing(engine.connect(settings)) as connection:
            adoption.adopt(connection, settings)
            fill(Gallery(connection))
            for phase in PHASES:
                apply(Context(connection, settings), phase)
            tag_stats.refresh(connection)
            yield settings, connection


@contextlib.contextmanager
def stopped(*processes: psutil.Process) -> Iterator[None]:
    """Have processes hang for a block, as SIGSTOP does."""
    try:
        for process in processes:
            process.suspend()
        yield
    finally:
        for process in reversed(processes):
            process.resume()


def server_of(connection: Connection) -> list[psutil.Process]:
    """Return the processes of the database server behind a session, the one that starts the others first."""
    postmaster = psutil.Process(connection.info.backend_pid).parent()
    assert postmaster is not None
    return [postmaster, *postmaster.children(recursive=True)]


def eventually(holds: Callable[[], bool], seconds: float = 10) -> None:
    """Wait until something holds; fail when it does not within so many seconds."""
    deadline = time.monotonic() + seconds
    while not holds():
        assert time.monotonic() < deadline, "it never came to hold"
        time.sleep(0.05)
