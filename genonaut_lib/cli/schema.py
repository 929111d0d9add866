"""Commands that look at schemas: dump, diff. They only read."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from genonaut_lib.cli.options import AsJson, Env, out, print_json
from genonaut_lib.db import engine, models, snapshot
from genonaut_lib.db.snapshot import Difference, Snapshot
from genonaut_lib.errors import InvalidInput
from genonaut_lib.migration.phases import notebooks_after
from genonaut_lib.settings import Settings, load_other_settings, load_settings

DIFFERENT = 1

schema = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Look at the schema of a gallery: as text, or compared with what it should be.

    genonaut schema dump --env production --output production.schema
    genonaut schema diff --env production

Both only read.""",
)


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    app.add_typer(schema, name="schema", rich_help_panel="Servers")


@schema.command()
def dump(
    env: Env = None,
    as_json: AsJson = False,
    output: Annotated[Path | None, typer.Option("--output", "-o", help="Write a file instead of the screen.")] = None,
) -> None:
    """Print the schema of gallery and ledger from the catalogue, one object a line,
    always in the same order. Only reads.

    Tables with their partition bounds, columns, constraints and indexes with
    their validity, triggers, functions with a digest of the body, sequences and
    rights; no data. Tables of your own beside the gallery are left out.

        genonaut schema dump --env production > before.schema
        genonaut schema dump --env production --json --output before.json
    """
    found = _take(load_settings(env))
    text = snapshot.to_json(found) if as_json else snapshot.to_text(found)
    if output is None:
        typer.echo(text, nl=False)
        return
    try:
        output.write_text(text, encoding="utf-8")
    except OSError as error:
        raise InvalidInput(f"{output} cannot be written: {error.strerror}.") from error


@schema.command()
def diff(
    env: Env = None,
    file: Annotated[
        Path | None, typer.Option("--with", metavar="FILE", help="Compare with a dump of another database.")
    ] = None,
    other: Annotated[
        str | None,
        typer.Option(
            "--with-env",
            metavar="NAME",
            help="Compare with the database of another environment: the one at DATABASE_URL_<NAME>, or its "
            "embedded server.",
        ),
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Compare the schema of a database with the models, with a dump, or with
    another database. Only reads.

    A minus is what was expected, a plus is what this database has. The models
    describe the finished schema: tables, columns, keys and indexes; a database
    half-way differs, and is told which notebook comes next. Two databases are
    compared in everything that `dump` shows.

        genonaut schema diff --env production
        genonaut schema diff --env production --with before.schema
        genonaut schema diff --env production --with-env test

    Exit codes: 0 equal; 1 different; 2 refused.
    """
    if file and other:
        raise InvalidInput("--with and --with-env name two things to compare with.", hint="Say one of them.")
    settings = load_settings(env)
    expected = _expected(file, other)
    found = _take(settings)
    against_models = expected is None
    differing = snapshot.differences(
        models.of_models() if expected is None else expected, models.as_models_say(found) if against_models else found
    )
    coming = notebooks_after(found.get(snapshot.REVISION, "")) if against_models else []
    if as_json:
        print_json({"equal": not differing, "differences": [vars(one) for one in differing], "next": coming})
    else:
        _show(differing, found, coming)
    raise typer.Exit(DIFFERENT if differing else 0)


def _expected(file: Path | None, other: str | None) -> Snapshot | None:
    """Return the snapshot to compare with, None for the models."""
    if file is not None:
        return snapshot.read(file)
    return _take(load_other_settings(other)) if other else None


def _take(settings: Settings) -> Snapshot:
    with engine.session(settings, writing=False) as connection:
        return snapshot.take(connection)


def _show(differing: list[Difference], found: Snapshot, coming: list[str]) -> None:
    for line in (line for one in differing for line in one.lines):
        typer.echo(line)
    out.print(f"{len(differing)} objects differ." if differing else "Nothing differs.")
    if coming:
        at = found.get(snapshot.REVISION, "none")
        out.print(f"The models describe the finished schema; this database is at revision {at}.")
        out.print(f"What comes next: {', then '.join(coming)}.")
