"""What several integration tests need: a project folder of one's own, and sentences instead of tracebacks."""

from __future__ import annotations

import asyncio
import itertools
import os
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psycopg
import pytest
from psycopg import conninfo, sql

from genonaut_lib.cli import options
from genonaut_lib.cli.app import run_guarded
from genonaut_lib.db.pool import AsyncConnection, open_session
from genonaut_lib.migration.phases import PHASES, Context
from genonaut_lib.settings import Settings, load_settings, project_root
from tests.factories import Gallery
from tests.migration.test_phases import apply

PARTS = ("params", "notebooks", "migrations", "alembic.ini")
_numbers = itertools.count(1)


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, and what it said on both streams."""

    code: int
    said: str


@pytest.fixture
def settings(admin_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """As in tests/conftest.py, with the faster way to make a database (20 ms instead of 80 to 500, measured)."""
    name = f"genonaut_integration_{os.getpid()}_{next(_numbers)}"
    identifier = sql.Identifier(name)
    with psycopg.connect(admin_url, autocommit=True) as admin:
        strategy = "strategy file_copy" if admin.info.server_version >= 150_000 else ""
        admin.execute(sql.SQL("create database {} {}").format(identifier, sql.SQL(strategy)))
    monkeypatch.setenv("DATABASE_URL", conninfo.make_conninfo(admin_url, dbname=name))
    monkeypatch.setenv("GENONAUT_ENVIRONMENT", "test")
    yield load_settings("test")
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(sql.SQL("drop database {} with (force)").format(identifier))


@pytest.fixture
def project(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A project folder whose outputs are this test's own; the current folder while the test runs."""
    root = tmp_path / "project"
    root.mkdir()
    for part in PARTS:
        (root / part).symlink_to(project_root() / part)
    monkeypatch.chdir(root)
    return root


@pytest.fixture
def command(project: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> Callable[..., Ended]:
    """Run `genonaut` with the given arguments in the project; a traceback fails the test."""
    # The console reads COLUMNS once, when it is made; another test may have made it.
    monkeypatch.setattr(options.out, "_width", 500)

    def run(*arguments: str) -> Ended:
        code = run_guarded(list(arguments))
        captured = capsys.readouterr()
        return Ended(code, captured.out + captured.err)

    return run


@pytest.fixture
def quick(settings: Settings) -> Settings:
    """Settings that give up on a lock after three short attempts."""
    database = settings.database.model_copy(
        update={"lock_timeout_ms": 50, "lock_attempts": 3, "lock_retry_max_s": 0.05}
    )
    return settings.model_copy(update={"database": database})


@pytest.fixture
def migrate(context: Context, gallery: Gallery) -> Callable[[], None]:
    """Take the gallery through every phase, as it is filled by then."""

    def run() -> None:
        for name in PHASES:
            apply(context, name)

    return run


@pytest.fixture
def ask(settings: Settings) -> Iterator[Callable[[Callable[[AsyncConnection], Coroutine[Any, Any, Any]]], Any]]:
    """Ask the test's own database a reader's question: `ask(lambda reader: read_page(reader, query))`."""
    with asyncio.Runner() as runner:
        session = open_session(settings)
        reader = runner.run(session.__aenter__())  # type: ignore[arg-type]  # one session for all questions
        yield lambda question: runner.run(question(reader))
        runner.run(session.__aexit__(None, None, None))  # type: ignore[arg-type]
