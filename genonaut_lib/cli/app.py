"""The application: its groups of commands, and how a refusal becomes a sentence and an exit code."""

from __future__ import annotations

import psycopg
import typer

from genonaut_lib import __version__, errors
from genonaut_lib.cli import (
    approvals,
    backfill,
    bench,
    bitmaps,
    content,
    decisions,
    gallery,
    notebooks,
    plans,
    runs,
    scheduling,
    schema,
    serve,
    servers,
    tags,
)
from genonaut_lib.cli.options import err
from genonaut_lib.db.engine import translate
from genonaut_lib.errors import (
    ApprovalMissing,
    DatabaseLost,
    GenonautError,
    NotebookFailed,
    PlanChanged,
    Refused,
    RunInterrupted,
    TryLater,
)

OK, FAILED, REFUSED, REJECTS, TRY_LATER, INTERRUPTED = 0, 1, 2, 3, 75, 130

_NOTHING_DONE = (ApprovalMissing.__name__, PlanChanged.__name__)
"""What stops a notebook in its apply cell before it did anything."""

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    help="""Take a live PostgreSQL gallery from JSONB tag names to a normalised, partitioned, fast schema.

Without DATABASE_URL and REDIS_URL the demo, dev and test environments use embedded servers.

[bold]A first look[/bold]

    genonaut demo            load, measure, migrate, measure again

[bold]Your own database[/bold]

    export DATABASE_URL=postgresql://owner@host/gallery
    genonaut run 00_preflight --env production
    genonaut adopt --env production --confirm production
    genonaut run 10_seed_tags --env production --dry-run
    genonaut pipeline migrate --env production --confirm production --apply

Exit codes: 0 done; 1 failed; 2 refused before doing anything; 3 loaded, but lines were rejected;
75 try again later; 130 interrupted with Ctrl-C.""",
)


def _version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"genonaut {__version__}")
        raise typer.Exit


@app.callback()
def _root(
    version: bool = typer.Option(
        False, "--version", callback=_version, is_eager=True, help="Show the version and leave."
    ),
) -> None: ...


for room in (
    servers,
    content,
    notebooks,
    plans,
    backfill,
    decisions,
    schema,
    bench,
    gallery,
    tags,
    bitmaps,
    serve,
    runs,
    approvals,
):
    room.register(app)
scheduling.register(app)


def run_guarded(arguments: list[str]) -> int:
    """Run the command line and return its exit code; refusals and driver errors become sentences."""
    try:
        app(arguments, prog_name="genonaut")
    except SystemExit as leaving:
        code = leaving.code if isinstance(leaving.code, int) else OK
    except GenonautError as error:
        code = _say(error)
    except psycopg.Error as error:
        known = translate(error)
        if known is None:
            raise
        code = _say(known)
    if code == INTERRUPTED:
        err.print("Interrupted. Run the same command again; a migration goes on where it stopped.")
    return code


def _say(error: GenonautError) -> int:
    err.print(error.message, style="bold red", markup=False)
    if error.hint:
        err.print(error.hint, markup=False)
    return code_of(error)


def code_of(error: GenonautError) -> int:
    """Return the exit code of an error.

    A run that a signal other than Ctrl-C stopped has failed: it did a part of its work, so it is not
    among those that were refused for now and did nothing.
    """
    if isinstance(error, RunInterrupted):
        return INTERRUPTED if error.by == "SIGINT" else FAILED
    if isinstance(error, TryLater) or (isinstance(error, NotebookFailed) and _goes_away(error.cause)):
        return TRY_LATER
    if isinstance(error, NotebookFailed) and error.cause in _NOTHING_DONE:
        return REFUSED
    return REFUSED if isinstance(error, Refused) and not isinstance(error, DatabaseLost) else FAILED


def _goes_away(cause: str | None) -> bool:
    """Return whether what stopped a cell goes away by itself: another session at the same work, for one."""
    kind = getattr(errors, cause or "", None)
    return isinstance(kind, type) and issubclass(kind, TryLater)
