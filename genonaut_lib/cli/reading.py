"""Commands that read records for people: `genonaut runs diff` and `genonaut runs open`."""

from __future__ import annotations

import os
import sys
import webbrowser
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from genonaut_lib.cli.options import AsJson, Env, err, out, print_json, print_table
from genonaut_lib.db import engine
from genonaut_lib.errors import InvalidInput
from genonaut_lib.settings import Settings, load_settings

if TYPE_CHECKING:
    from genonaut_lib.runs.reading.comparison import Comparison
    from genonaut_lib.runs.record_view import Record

FilesOnly = Annotated[bool, typer.Option("--files-only", help="Do not ask the database.")]
_STYLES = {"+": "green", "-": "red", "@": "cyan"}


def diff(
    before: Annotated[str, typer.Argument(help="A run's id, or its beginning.")],
    after: Annotated[str, typer.Argument(help="The run to compare it with.")],
    env: Env = None,
    files_only: FilesOnly = False,
    as_json: AsJson = False,
) -> None:
    """Show in what two runs differ: parameters, notebook, code, lock file and
    server, planned actions, figures, outcome, times, and what each cell showed.

        genonaut runs diff 3f2a 9c41 --env production

    Exit codes: 0 compared, whether or not they differ (--json: "same" says);
    2 refused.
    """
    from genonaut_lib.runs.reading.comparison import compare, told_by
    from genonaut_lib.runs.record_view import record_of
    from genonaut_lib.runs.records.sealing import environment_folder

    settings = load_settings(env)
    folder = environment_folder(settings)
    if files_only:
        records = [record_of(None, folder, run) for run in (before, after)]
    else:
        with engine.session(settings, writing=False) as connection:
            records = [record_of(connection, folder, run) for run in (before, after)]
    _warn(*records)
    found = compare(*(told_by(folder, record) for record in records))
    if as_json:
        print_json({"same": found.is_same, **asdict(found)})
    else:
        _print(found)


def open_run(
    run: Annotated[str | None, typer.Argument(help="A run's id, or its beginning.")] = None,
    env: Env = None,
    index: Annotated[bool, typer.Option("--index", help="Open the page of all runs.")] = False,
    rebuild: Annotated[bool, typer.Option("--rebuild", help="Make all pages anew from the records first.")] = False,
) -> None:
    """Print the path of a run's HTML report, or of the index of all runs, and open
    it in a browser where there is a display. No database is asked.

        genonaut runs open 3f2a --env demo
        genonaut runs open --index --env demo
    """
    settings = load_settings(env)
    if (run is None) == (not index and not rebuild):
        raise InvalidInput("Give a run, or --index.", hint="`genonaut runs list` shows the runs.")
    path = _report(settings, run) if run is not None else _index(settings, rebuild=rebuild)
    out.print(str(path), markup=False)
    if _has_display():
        webbrowser.open(path.as_uri())


def _report(settings: Settings, run: str) -> Path:
    from genonaut_lib.runs.record_view import record_of
    from genonaut_lib.runs.records.sealing import environment_folder

    folder = environment_folder(settings)
    record = record_of(None, folder, run)
    _warn(record)
    path = next((folder / path for role, path, _ in record.files if role == "html"), None)
    if path is None or not path.is_file():
        why = "Its files were retired by policy." if record.is_retired else "The run wrote none."
        raise InvalidInput(f"There is no HTML report of run {record.run_id}.", hint=why)
    return path.absolute()


def _index(settings: Settings, *, rebuild: bool) -> Path:
    from genonaut_lib.runs.reading import index
    from genonaut_lib.runs.records.sealing import environment_folder
    from genonaut_lib.runs.secrets.redaction import Redactor

    folder = environment_folder(settings)
    if not folder.is_dir():
        raise InvalidInput(f"Environment {settings.environment!r} has no records yet.", hint="Run a notebook first.")
    return index.update(folder, Redactor.of_environment(settings), anew=rebuild).absolute()


def _warn(*records: Record) -> None:
    """Say what is not as it was sealed: whoever reads on should know."""
    for record in records:
        for problem in record.troubles:
            err.print(problem.sentence, style="bold red", markup=False)


def _has_display() -> bool:
    return sys.platform == "darwin" or bool(os.environ.get("DISPLAY") or os.environ.get("WAYLAND_DISPLAY"))


def _print(found: Comparison) -> None:
    for title, pairs in found.groups.items():
        rows = [(pair.name, _word(pair.before), _word(pair.after)) for pair in pairs if not pair.is_same]
        if rows:
            print_table(title.capitalize(), ["what", found.before[:8], found.after[:8]], rows)
    for cell in found.cells or ():
        if cell.diff:
            times = f"{_word(cell.seconds.before)} s, {_word(cell.seconds.after)} s"
            out.print(
                f"Cell {cell.number} ({times}): {next(iter(cell.source.splitlines()), '')}", style="bold", markup=False
            )
            for line in cell.diff:
                out.print(line, style=_STYLES.get(line[:1], ""), markup=False)
    if found.cells is None:
        out.print("The cells cannot be compared: an executed notebook is not there any more.")
    if found.is_same:
        out.print("Nothing but times differs.", style="bold")
    elif found.cells is not None:
        out.print("They differ.", style="bold")


def _word(value: object) -> str:
    return "unknown" if value is None else f"{value:.2f}" if isinstance(value, float) else str(value)
