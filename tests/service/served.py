"""The service as it runs: a process of its own, asked over HTTP."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import httpx

from genonaut_lib.settings import Settings, project_root

COMMAND = (sys.executable, "-c", "from genonaut_lib.cli import main; main()", "serve")
_PLACE = re.compile(r"http://127\.0\.0\.1:[1-9][0-9]*")
STARTS_S, STOPS_S = 90, 30
"""Longer than it ever takes, for machines that do much else."""


@dataclass
class Served:
    """A running service; `client` asks below /api/v1, `url` is where the service itself is."""

    url: str
    client: httpx.Client
    settings: Settings
    process: subprocess.Popen[bytes]
    log_path: Path

    def log(self) -> str:
        """Return what it has written so far."""
        return self.log_path.read_text(encoding="utf-8", errors="replace")


@contextlib.contextmanager
def serve(settings: Settings, workers: int = 1, **env: str) -> Iterator[Served]:
    """Start the service on the settings' database and stop it by SIGTERM; `env` are further environment variables.

    Knobs are given by environment variables only, `GENONAUT_SERVICE__STATS_FRESH_S="0"`: the process reads its own
    settings.
    """
    with tempfile.TemporaryDirectory(prefix="gs-") as folder:
        log_path = Path(folder) / "log"
        with log_path.open("wb") as log:
            process = subprocess.Popen(
                [*COMMAND, "--workers", str(workers)], env=_environment(settings) | env, cwd=project_root(),
                stdin=subprocess.DEVNULL, stdout=log, stderr=subprocess.STDOUT,
            )  # fmt: skip
        try:
            url = _place(process, log_path)
            with httpx.Client(base_url=f"{url}/api/v1", timeout=60, trust_env=False) as client:
                yield Served(url, client, settings, process, log_path)
        finally:
            _stop(process)


def _environment(settings: Settings) -> dict[str, str]:
    assert settings.database_url is not None
    return os.environ | {
        "DATABASE_URL": settings.database_url.get_secret_value(),
        "GENONAUT_ENVIRONMENT": settings.environment,
        "GENONAUT_SERVICE__PORT": "0",
    }


def _place(process: subprocess.Popen[bytes], log_path: Path) -> str:
    """Return the address that the service says it listens at, once it does."""
    ends = time.monotonic() + STARTS_S
    while time.monotonic() < ends and process.poll() is None:
        found = _PLACE.search(log_path.read_text(encoding="utf-8", errors="replace"))
        if found is not None:
            return found[0]
        time.sleep(0.05)
    raise AssertionError(f"the service did not start:\n{log_path.read_text(encoding='utf-8', errors='replace')}")


def _stop(process: subprocess.Popen[bytes]) -> None:
    process.terminate()
    try:
        process.wait(STOPS_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
