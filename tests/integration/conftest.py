"""What several integration tests need: a project folder of one's own, and sentences instead of tracebacks."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from genonaut_lib.cli import options
from genonaut_lib.cli.app import run_guarded
from genonaut_lib.db.pool import AsyncConnection, open_session
from genonaut_lib.migration.phases import PHASES, Context
from genonaut_lib.settings import Settings, project_root
from tests.factories import Gallery
from tests.migration.test_phases import apply

PARTS = ("params", "notebooks", "migrations", "alembic.ini")


@dataclass(frozen=True)
class Ended:
    """How a command ended: its exit code, and what it said on both streams."""

    code: int
    said: str


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
