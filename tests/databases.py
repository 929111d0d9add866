"""Where the suite's servers keep their data, and databases that are made for a moment."""

from __future__ import annotations

import fcntl
import itertools
import os
import shutil
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import psutil
import psycopg
from psycopg import conninfo, sql
from pydantic import SecretStr

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.migration.phases import Context
from genonaut_lib.settings import Settings, load_settings

EMPTY = "template1"
"""The database that PostgreSQL makes others like."""
MEMORY = Path("/dev/shm")
ROOM_BYTES = 3 << 30
"""What the data and the log of changes of a few servers may grow to; the suite's own take a third of it."""

_numbers = itertools.count(1)


def server_folder(prefix: str) -> Path:
    """Make a folder for the data of servers; its path is short, since their sockets lie below it.

    It lies in memory where there is room: to make a database of 300 files takes 10 ms there, and 100 to 300 ms on
    an ext4 disk.
    """
    return Path(tempfile.mkdtemp(prefix=prefix, dir=MEMORY if _has_room() else "/tmp"))


@contextmanager
def one_at_a_time() -> Iterator[None]:
    """Let the workers of one run start their servers in turn: as root, the first one makes a system user."""
    with (Path(tempfile.gettempdir()) / "genonaut-tests.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _has_room() -> bool:
    """Say whether there is room in memory; containers often have 64 MB of it."""
    if not MEMORY.is_dir() or not os.access(MEMORY, os.W_OK):
        return False
    return min(shutil.disk_usage(MEMORY).free, psutil.virtual_memory().available) > ROOM_BYTES


@contextmanager
def database(admin_url: str, model: str = EMPTY, prefix: str = "genonaut_test") -> Iterator[str]:
    """Make a database like another one, yield its name, and drop it."""
    name = f"{prefix}_{os.getpid()}_{next(_numbers)}"
    create(admin_url, name, model)
    try:
        yield name
    finally:
        drop(admin_url, name)


def create(admin_url: str, name: str, model: str = EMPTY) -> None:
    """Make a database like another one, to which nobody is connected."""
    with psycopg.connect(admin_url, autocommit=True) as admin:
        # Copying files takes less time than logging every page; 14 knows no other way.
        strategy = "strategy file_copy" if admin.info.server_version >= 150_000 else ""
        statement = sql.SQL("create database {} template {} {}")
        admin.execute(statement.format(sql.Identifier(name), sql.Identifier(model), sql.SQL(strategy)))


def drop(admin_url: str, name: str) -> None:
    """Drop a database, whoever is connected to it."""
    with psycopg.connect(admin_url, autocommit=True) as admin:
        _see_off(admin, name)
        admin.execute(sql.SQL("drop database {} with (force)").format(sql.Identifier(name)))


def _see_off(admin: Connection, name: str) -> None:
    """End the sessions on a database; DROP DATABASE would wait 100 ms for one that was closed a moment ago."""
    deadline = time.monotonic() + 1
    ending = "select pg_terminate_backend(pid) from pg_stat_activity where datname = %s"
    while admin.execute(ending, [name]).rowcount and time.monotonic() < deadline:
        time.sleep(0.002)


def settings_of(admin_url: str, name: str) -> Settings:
    """Return the settings of environment `test` with a database of the server's."""
    address = SecretStr(conninfo.make_conninfo(admin_url, dbname=name))
    return load_settings("test").model_copy(update={"database_url": address})


@contextmanager
def prepared(admin_url: str, make: Callable[[Context], None], model: str = EMPTY) -> Iterator[str]:
    """Make a database to be copied: `make` fills it, and nobody stays connected to it."""
    with database(admin_url, model) as name:
        settings = settings_of(admin_url, name)
        with closing(engine.connect(settings)) as connection:
            make(Context(connection, settings))
        yield name


@dataclass
class Models:
    """Databases to be copied, by the function that fills them."""

    admin_url: str
    stack: ExitStack
    made: dict[Callable[[Context], None], str] = field(default_factory=dict)

    def name(self, make: Callable[[Context], None], model: str) -> str:
        """Return the name of the database that `make` fills, a copy of `model`; it is made when there is none yet."""
        if make not in self.made:
            self.made[make] = self.stack.enter_context(prepared(self.admin_url, make, model))
        return self.made[make]
