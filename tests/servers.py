"""PostgreSQL servers of a test's own: a primary with settings the suite's server has not, and a streaming replica."""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import sql

from genonaut_lib.db import embedded
from genonaut_lib.db.engine import Connection
from genonaut_lib.settings import load_settings
from tests.databases import one_at_a_time, server_folder
from tests.waiting import until_found

ENVIRONMENT = "test"


def session(url: str) -> Connection:
    """Open a session in autocommit mode."""
    return psycopg.connect(url, autocommit=True)


def wait_until_caught_up(connection: Connection) -> None:
    """Return once every receiver has replayed what is written by now, and there is one."""
    row = connection.execute("select pg_current_wal_lsn()").fetchone()
    assert row is not None
    until_found(
        connection, "select from pg_stat_replication having every(coalesce(replay_lsn >= %s::pg_lsn, false))", row[0]
    )


@contextlib.contextmanager
def primary(**options: str) -> Iterator[str]:
    """Start a server of its own with the given server settings, and yield its address."""
    folder = server_folder("gp-")
    try:
        with _state(folder), one_at_a_time():
            _write(embedded.start_postgres(ENVIRONMENT, load_settings(ENVIRONMENT).servers), options)
            embedded.stop(ENVIRONMENT)
            url = embedded.start_postgres(ENVIRONMENT, load_settings(ENVIRONMENT).servers)
        yield url
    finally:
        with _state(folder):
            embedded.stop(ENVIRONMENT)
        shutil.rmtree(folder)


@contextlib.contextmanager
def replica(url: str) -> Iterator[str]:
    """Copy the server at `url` with pg_basebackup, start the copy as its streaming replica, yield its address."""
    folder = Path(_ask(url, "show data_directory")).parents[1] / "replica"
    folder.mkdir(mode=0o700)
    if os.geteuid() == 0:
        shutil.chown(folder, user=_system_user())
    try:
        _run("pg_basebackup", "--pgdata", str(folder), "--dbname", url, "--write-recovery-conf", "--checkpoint=fast")
        # The primary's socket lies in its data folder, and the lock beside it was copied too.
        (folder / ".s.PGSQL.5432.lock").unlink()
        control = ("--pgdata", str(folder), "--wait", "--log", str(folder / "log"))
        _run("pg_ctl", "start", *control, "--options", f"-h '' -k {folder}")
        try:
            yield f"postgresql://postgres:@/postgres?host={folder}"
        finally:
            _run("pg_ctl", "stop", "--mode", "immediate", *control[:3])
    finally:
        shutil.rmtree(folder)


@contextlib.contextmanager
def _state(folder: Path) -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENONAUT_STATE", str(folder))
        yield


def _write(url: str, options: dict[str, str]) -> None:
    with session(url) as connection:
        for name, value in options.items():
            connection.execute(sql.SQL("alter system set {} = {}").format(sql.Identifier(name), sql.Literal(value)))


def _ask(url: str, query: str) -> str:
    with session(url) as connection:
        row = connection.execute(query).fetchone()
    assert row is not None
    return str(row[0])


def _run(name: str, *arguments: str) -> None:
    # pg_ctl's server would keep a pipe open, so that reading it never ends.
    user = _system_user() if os.geteuid() == 0 else None
    log = subprocess.DEVNULL
    subprocess.run([_binary(name), *arguments], check=True, user=user, stdout=log, stderr=log, cwd="/", timeout=120)


def _binary(name: str) -> str:
    return str(_package_server().bin_path / name)


def _system_user() -> str:
    """The wheel's own user, who runs the servers where the tests are run by root."""
    return str(_package_server().system_user)


def _package_server() -> Any:
    get_server, _ = embedded._pgserver()
    return get_server(Path(tempfile.gettempdir()), cleanup_mode=None, start=False)
