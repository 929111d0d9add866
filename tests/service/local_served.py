"""The real service as a process of its own, on a free port."""

from __future__ import annotations

import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx

from genonaut_lib.settings import Settings, project_root

_ADDRESS = re.compile(r"http://127\.0\.0\.1:\d+")
_COMMAND = [sys.executable, "-c", "from genonaut_lib.cli import main; main()", "serve", "--env", "test"]
START_S = 60.0


@dataclass
class Served:
    """A running service, and how to reach it."""

    url: str
    client: httpx.Client
    settings: Settings
    process: subprocess.Popen[bytes]
    log_path: Path


@contextmanager
def serve(settings: Settings, **environment: str) -> Iterator[Served]:
    """Start the service on the database of these settings, with these variables; stop it at the end."""
    assert settings.database_url is not None
    given = {"DATABASE_URL": settings.database_url.get_secret_value(), "GENONAUT_SERVICE__PORT": "0", **environment}
    with tempfile.TemporaryDirectory() as folder:
        log_path = Path(folder) / "log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                _COMMAND, env=os.environ | given, stdout=log, stderr=subprocess.STDOUT, cwd=project_root()
            )
        try:
            url = _address(process, log_path)
            with httpx.Client(base_url=f"{url}/api/v1", timeout=30) as client:
                yield Served(url, client, settings, process, log_path)
        finally:
            process.terminate()
            process.wait(30)


def _address(process: subprocess.Popen[bytes], log_path: Path) -> str:
    deadline = time.monotonic() + START_S
    while (found := _ADDRESS.search(log_path.read_text())) is None:
        assert process.poll() is None, log_path.read_text()
        assert time.monotonic() < deadline, log_path.read_text()
        time.sleep(0.05)
    return found[0]
