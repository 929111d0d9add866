"""The servers that are measured, each in a process of its own: the service by `genonaut serve`, and the baseline."""

from __future__ import annotations

import contextlib
import os
import re
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import psutil

from genonaut_lib.db import engine
from genonaut_lib.errors import ServerStartFailed
from genonaut_lib.settings import ENVIRONMENT_VARIABLE, PREFIX, Settings
from genonaut_lib.tuning.http_client import Address

START_S, STOP_S = 60.0, 20.0
SERVICE = ("-c", "from genonaut_lib.cli import main; main()", "serve")
BASELINE = ("-m", "genonaut_lib.tuning.http_baseline")
_LISTENS = re.compile(r"http://(127\.0\.0\.1):([1-9][0-9]*)")


@dataclass(frozen=True)
class Served:
    """A server that runs: where it listens, and its process."""

    address: Address
    process: psutil.Process

    @property
    def processes(self) -> list[psutil.Process]:
        """The process and what it started."""
        return [self.process, *self.process.children(recursive=True)]

    def cpu_seconds(self) -> float:
        """Return the processor time that its processes took so far."""
        times = [process.cpu_times() for process in self.processes]
        return sum(one.user + one.system for one in times)


@contextlib.contextmanager
def service(settings: Settings) -> Iterator[Served]:
    """Serve the gallery of these settings by one process, on any free port, for a block.

    Raises ServerStartFailed where it ends or does not say where it listens.
    """
    with _started((*SERVICE, "--env", settings.environment), _environment(settings)) as found:
        yield found


@contextlib.contextmanager
def baseline(settings: Settings, timeout_s: float) -> Iterator[Served]:
    """Serve the same gallery by the baseline, with as many sessions; raises as `service` does."""
    limits = ("--timeout-ms", str(int(timeout_s * 1000)), "--sessions", str(settings.service.sessions))
    with _started((*BASELINE, *limits), _environment(settings)) as found:
        yield found


def _environment(settings: Settings) -> dict[str, str]:
    """Return what a server is told; the address may hold a password, and is no business of a process list."""
    service = f"{PREFIX}SERVICE__"
    told = {"DATABASE_URL": engine.database_url(settings), ENVIRONMENT_VARIABLE: settings.environment}
    return {**os.environ, **told, f"{service}HOST": "127.0.0.1", f"{service}PORT": "0"}


@contextlib.contextmanager
def _started(arguments: tuple[str, ...], environment: Mapping[str, str]) -> Iterator[Served]:
    with tempfile.TemporaryDirectory() as folder:
        log = Path(folder) / "log"
        with log.open("wb") as written:
            process = subprocess.Popen([sys.executable, *arguments], stdout=written, stderr=written, env=environment)
        try:
            yield Served(_listening(process, log), psutil.Process(process.pid))
        finally:
            _stop(process)


def _listening(process: subprocess.Popen[bytes], log: Path) -> Address:
    deadline = time.monotonic() + START_S
    while time.monotonic() < deadline:
        said = log.read_text(errors="replace")
        if (found := _LISTENS.search(said)) is not None:
            return Address(found[1], int(found[2]))
        if process.poll() is not None:
            raise ServerStartFailed(f"A server that was to be measured ended at once: {_last_line(said)}")
        time.sleep(0.05)
    raise ServerStartFailed(f"A server that was to be measured did not say where it listens within {START_S:.0f} s.")


def _last_line(said: str) -> str:
    return next((line for line in reversed(said.splitlines()) if line.strip()), "it said nothing")


def _stop(process: subprocess.Popen[bytes]) -> None:
    """End a server, the hard way where it does not end by itself."""
    process.terminate()
    try:
        process.wait(STOP_S)
    except subprocess.TimeoutExpired:
        process.kill()
        process.wait()
