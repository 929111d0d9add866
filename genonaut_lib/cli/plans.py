"""The command that shows plans: what a phase would do and what it would cost, without running a notebook."""

from __future__ import annotations

from typing import Annotated

import typer

from genonaut_lib.cli.options import AsJson, Env, out, print_json, print_table
from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import InvalidInput, NotAGallery
from genonaut_lib.migration import ledger
from genonaut_lib.migration.figures import COSTS, estimate_texts, total_texts
from genonaut_lib.migration.lock_modes import blocks
from genonaut_lib.migration.phases import BY_NOTEBOOK, PHASES, Context, Phase
from genonaut_lib.migration.preview import Preview, Stand, preview, stands
from genonaut_lib.settings import Settings, load_settings, nearest


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    app.command(rich_help_panel="Migration")(plan)


def plan(
    phase: Annotated[
        str | None,
        typer.Argument(help="A phase, as backfill_tag_uuids, or its number, as 12. Without one: all phases."),
    ] = None,
    env: Env = None,
    as_json: AsJson = False,
) -> None:
    """Show what a phase of the migration would do and what it would cost. Nothing
    is written, and no lock is taken that anybody would wait for.

    For every statement: the lock it takes and what that holds up; the rows it
    reads or writes; the WAL, the disk and the time it will take. Figures with a
    tilde are estimated from a sample of a large table. WAL, disk and duration
    are always estimates; the duration learns from the backfills this database
    has run. "Disk needed" is the highest point on the way, WAL included.

    Without a phase: which phases are done, which one is next, which ones wait.

        genonaut plan --env demo
        genonaut plan backfill_content_tags --env demo
        genonaut plan 12 --env production --json
    """
    chosen = None if phase is None else _phase(phase)
    settings = load_settings(env)
    with engine.session(settings, writing=False) as connection:
        _require_ledger(connection, settings)
        context = Context(connection, settings)
        stand = stands(context)
        if chosen is None:
            _show_stands(stand, as_json=as_json)
        else:
            _show_plan(chosen, stand[chosen.name], preview(chosen, context), as_json=as_json)


def _phase(word: str) -> Phase:
    """Return the phase of a name, a notebook's name or its number."""
    notebooks = [name for name in BY_NOTEBOOK if name == word or name.startswith(f"{word}_")]
    if word in PHASES:
        return PHASES[word]
    if len(notebooks) != 1:
        known = list(PHASES)
        raise InvalidInput(f"There is no phase {word!r}.", hint=f"{nearest(word, known)}Known: {', '.join(known)}.")
    return BY_NOTEBOOK[notebooks[0]]


def _require_ledger(connection: Connection, settings: Settings) -> None:
    if not ledger.exists(connection):
        hint = (
            f"`genonaut adopt --env {settings.environment}` first; `genonaut run 00_preflight` looks at any database."
        )
        raise NotAGallery("This database is no gallery of the workbench yet, so there is nothing to plan.", hint=hint)


def _show_stands(found: dict[str, Stand], *, as_json: bool) -> None:
    rows = [(PHASES[name].notebook[:2], name, stand.value, PHASES[name].title) for name, stand in found.items()]
    if as_json:
        columns = ("number", "phase", "state", "title")
        print_json([dict(zip(columns, row, strict=True)) for row in rows])
        return
    print_table("Phases", ["no", "phase", "state", "what it does"], rows)
    coming = next((name for name, stand in found.items() if stand is Stand.NEXT), None)
    out.print(f"Look at the next one: genonaut plan {coming}" if coming else "The migration is done.")


def _show_plan(phase: Phase, stand: Stand, found: Preview, *, as_json: bool) -> None:
    if as_json:
        about = {"notebook": phase.notebook, "title": phase.title, "state": stand.value}
        print_json({**about, **found.as_dict()})
        return
    out.print(f"{phase.notebook}: {phase.title} ({stand.value})", markup=False)
    if not found.plan.actions:
        out.print(f"Nothing to do: {found.plan.note}.", markup=False)
        return
    _show_statements(found)
    for name, value in found.plan.facts.items():
        out.print(f"{name}: {value:,}" if isinstance(value, int) else f"{name}: {value}", markup=False)
    out.print(found.disk_text, markup=False)
    out.print(f"Digest {found.plan.digest[:12]}. Apply it with: genonaut run {phase.notebook} --apply", markup=False)


def _show_statements(found: Preview) -> None:
    """Print the table of costs, then every statement in full under its id."""
    pairs = list(zip(found.plan.actions, found.estimate.actions, strict=True))
    name = "total" if found.estimate.complete else "total, at least"
    rows = [(step.id, step.lock or "none", blocks(step.lock), *estimate_texts(cost)) for step, cost in pairs]
    total = (name, "", "", *total_texts(found.estimate.total))
    print_table("Plan", ["action", "lock", "blocks", *COSTS], [*rows, total])
    for step, _ in pairs:
        note = "" if step.reversible else " (cannot be taken back)"
        out.print(f"\n-- {step.id}{note}", markup=False)
        out.print(f"{step.text};", markup=False)
    out.print()
