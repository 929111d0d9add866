"""The command that shows what became of dirty data: decisions."""

from __future__ import annotations

import json
from dataclasses import asdict, astuple, fields
from typing import Annotated

import typer

from genonaut_lib.cli.options import AsJson, Env, print_json, print_table
from genonaut_lib.db import engine
from genonaut_lib.migration import decisions as records
from genonaut_lib.migration import ledger
from genonaut_lib.migration.decisions import DecisionCount, Quarantined
from genonaut_lib.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    app.command(rich_help_panel="Migration")(decisions)


def decisions(
    env: Env = None,
    reason: Annotated[
        str | None, typer.Option("--reason", help="List the elements in quarantine for this reason; `all` for any.")
    ] = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many elements, in id order.")] = 20,
    as_json: AsJson = False,
) -> None:
    """Show what was decided about dirty tags, counted, or list the elements in
    quarantine.

    The policy itself is a parameter of the notebooks 10 and 12, called dirty, as
    -p dirty=variant=create for the first of them.

        genonaut decisions --env demo
        genonaut decisions --env demo --reason blank --limit 5 --json
    """
    with engine.session(load_settings(env), writing=False) as connection:
        if reason is None:
            _show_counts(records.summary(connection), as_json)
        else:
            wanted = None if reason == "all" else reason
            found = records.quarantined(connection, wanted, limit) if ledger.exists(connection) else []
            _show_quarantined(found, as_json)


def _show_counts(counts: list[DecisionCount], as_json: bool) -> None:
    if as_json:
        print_json([asdict(count) for count in counts])
        return
    print_table("Decisions", [field.name for field in fields(DecisionCount)], map(astuple, counts))


def _show_quarantined(found: list[Quarantined], as_json: bool) -> None:
    if as_json:
        print_json([asdict(one) for one in found])
        return
    columns = [field.name for field in fields(Quarantined)]
    print_table("Quarantine", columns, [(*astuple(one)[:-1], json.dumps(one.element)) for one in found])
