"""A small project with notebooks made to order, on an adopted gallery, for tests of runs and their records."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import nbformat
import pytest
from psycopg import conninfo, sql

from genonaut_lib.db import engine
from genonaut_lib.migration import adoption
from genonaut_lib.settings import Settings, load_settings
from tests.databases import database, server_folder
from tests.waiting import eventually

ROOT = Path(__file__).parents[2]
PARAMETERS = 'environment: str = ""\ndry_run: bool = True\nword: str = "none"'
LIMITED = (
    "import resource, sys; resource.setrlimit(resource.RLIMIT_FSIZE, ({limit}, {limit}));"
    "from genonaut_lib.cli.app import run_guarded; sys.exit(run_guarded(sys.argv[1:]))"
)


@dataclass(frozen=True)
class Stage:
    """A project folder, current while the tests run, and a database the environment leads to."""

    root: Path

    @property
    def settings(self) -> Settings:
        return load_settings("test")

    def notebook(self, name: str, *cells: str) -> str:
        """Write a notebook of these code cells behind its parameters and return its name."""
        book = nbformat.v4.new_notebook()
        book.metadata["kernelspec"] = {"name": "python3", "display_name": "Python 3", "language": "python"}
        first = nbformat.v4.new_code_cell(PARAMETERS, metadata={"tags": ["parameters"]})
        book.cells = [first, *(nbformat.v4.new_code_cell(cell) for cell in cells)]
        nbformat.write(book, self.root / "notebooks" / f"{name}.ipynb")
        return name

    def rows(self, columns: str, name: str) -> list[tuple[Any, ...]]:
        """Return columns of a notebook's rows in the ledger, oldest first."""
        statement = sql.SQL("select {} from workbench.runs where notebook = %s order by started_at")
        named = sql.SQL(", ").join(sql.Identifier(column) for column in columns.split())
        with engine.connect(self.settings) as connection:
            return connection.execute(statement.format(named), [name]).fetchall()

    def row(self, columns: str, name: str) -> tuple[Any, ...]:
        """Return columns of the newest row of a notebook."""
        return self.rows(columns, name)[-1]

    def record_path(self, name: str) -> Path:
        """Return the newest record of a notebook, waiting for the first one."""
        folder = self.root / "outputs"
        eventually(lambda: any(folder.rglob(f"[0-9]*_{name}_*.ipynb")))
        return max(folder.rglob(f"[0-9]*_{name}_*.ipynb"), key=lambda path: path.stat().st_mtime_ns)

    def record(self, name: str) -> Any:
        """Return the newest record of a notebook."""
        return nbformat.read(self.record_path(name), as_version=4)

    def start(self, *arguments: str, limit: int | None = None, **variables: str) -> subprocess.Popen[str]:
        """Start `genonaut` with these arguments, its files limited to `limit` bytes."""
        genonaut = [str(Path(sys.executable).with_name("genonaut"))]
        command = genonaut if limit is None else [sys.executable, "-c", LIMITED.format(limit=limit)]
        return subprocess.Popen(
            [*command, *arguments],
            env={**os.environ, **variables},
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            preexec_fn=_hears_ctrl_c,  # noqa: PLW1509  # this process starts no threads of its own
        )


def _hears_ctrl_c() -> None:
    """Undo what a shell does to processes in the background; a run heeds no signal that it was told to ignore."""
    signal.signal(signal.SIGINT, signal.SIG_DFL)


@contextmanager
def staged(admin_url: str, root: Path) -> Iterator[Stage]:
    """Make the project in `root` and an adopted database on the server for a block."""
    (root / "notebooks").mkdir()
    for part in ("params", "migrations"):
        shutil.copytree(ROOT / part, root / part)
    shutil.copy(ROOT / "alembic.ini", root)
    with pytest.MonkeyPatch.context() as patch, database(admin_url) as name:
        patch.setenv("DATABASE_URL", conninfo.make_conninfo(admin_url, dbname=name))
        patch.setenv("GENONAUT_ENVIRONMENT", "test")
        patch.chdir(root)
        stage = Stage(root)
        with engine.connect(stage.settings) as connection:
            adoption.adopt(connection, stage.settings)
        yield stage


@contextmanager
def folder_of_a_stage() -> Iterator[Path]:
    """Make a folder for a project whose runs are timed: in memory, if there is room, since the disk is not judged."""
    root = server_folder("gr-")
    try:
        yield root
    finally:
        # A child that was killed may write its last word meanwhile.
        shutil.rmtree(root, ignore_errors=True)


def statuses(record: Any) -> list[str]:
    """Return what a record says of its code cells, the parameters' own and the injected one left out."""
    tagged = ("parameters", "injected-parameters")
    cells = [cell for cell in record.cells if not set(cell.metadata.get("tags", [])) & set(tagged)]
    return [cell.metadata.papermill.status for cell in cells if cell.cell_type == "code"]


def says(path: Path, text: str) -> bool:
    """Return whether an output of a record contains a text."""
    found = json.loads(path.read_text())
    return any(text in json.dumps(cell.get("outputs", [])) for cell in found["cells"])
