"""Commands that look after the tag bitmap index: bitmaps status, seal, check, drop."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any

import typer

from genonaut_lib.cli.options import AsJson, Confirm, Env, out, print_json, print_table, remember
from genonaut_lib.db import engine, guard
from genonaut_lib.migration import bitmap_health, bitmap_seal
from genonaut_lib.migration.bitmap_health import BitmapStatus
from genonaut_lib.migration.bitmap_seal import SealResult
from genonaut_lib.settings import load_settings

DIFFERENT = 1

group = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""Look after the tag bitmap index, which answers filters by tags. 40_build_tag_bitmaps builds it.

    genonaut bitmaps status --env production
    genonaut bitmaps seal --env production --confirm production
    genonaut bitmaps check --chunks 8

Without an index the gallery answers by its other strategies.""",
)


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    app.add_typer(group, name="bitmaps", rich_help_panel="Gallery")


@group.command()
def status(env: Env = None, as_json: AsJson = False) -> None:
    """Show what is sealed, marked and waiting, what it takes on disk, and what to
    do next.

        genonaut bitmaps status --env demo --json
    """
    from genonaut_lib.runs.bitmap_upkeep import standing_figures

    settings = load_settings(env)
    with engine.session(settings, writing=False) as connection:
        found = bitmap_health.status(connection)
    step = found.next_step(settings.bitmaps)
    if as_json:
        print_json(_plain(found) | {"next_step": step})
        return
    if found.present:
        print_table("Tag bitmaps", ["", ""], list(standing_figures(found).items()))
        print_table("On disk", ["table", "bytes"], list(found.bytes.items()))
    out.print(step, markup=False)


@group.command()
def seal(
    items: Annotated[int | None, typer.Option("--items", min=1, help="Items of one transaction.")] = None,
    force: Annotated[bool, typer.Option("--force", help="However few and new the marks are.")] = False,
    env: Env = None,
    confirm: Confirm = None,
    as_json: AsJson = False,
) -> None:
    """Take what was changed into the bitmaps, so that readers need not look at it
    item by item.

    Without --force nothing is done until marked items are as many or as old as
    bitmaps.seal_items and bitmaps.seal_age_s say. Run it every minute.

        genonaut bitmaps seal --env demo
        genonaut bitmaps seal --force --items 1000 --json
    """
    from genonaut_lib.runs.bitmap_upkeep import seal_figures

    remember(confirm)
    settings = load_settings(env)
    with engine.session(settings) as connection:
        guard.require_adopted(connection, settings)

    def say(so_far: SealResult) -> None:
        if not as_json:
            out.print(f"{so_far.batches}: {so_far.sealed:,} items sealed", markup=False)

    found = bitmap_seal.seal(settings, items=items, force=force, report=say)
    if as_json:
        print_json(asdict(found))
    elif found.batches:
        print_table("Sealed", ["", ""], list(seal_figures(found).items()))
    else:
        out.print("Nothing is due; --force seals whatever is marked.", markup=False)


@group.command()
def check(
    chunks: Annotated[int, typer.Option("--chunks", min=1, help="How many chunks, of 15,872 items each.")] = 4,
    seed: Annotated[int, typer.Option("--seed", help="Draws the chunks; another one draws others.")] = 1,
    env: Env = None,
    as_json: AsJson = False,
) -> None:
    """Compare chunks drawn by chance with content and junction, bit by bit.

    In one snapshot, so that writers are in nobody's way; marked items are left
    out, since nobody reads their bits. Ends with 1 when anything differs.

        genonaut bitmaps check --chunks 8 --seed 7
    """
    with engine.session(load_settings(env), writing=False) as connection:
        found = bitmap_health.check(connection, chunks, seed)
    if as_json:
        print_json(asdict(found) | {"passed": found.passed})
    else:
        if found.differences:
            rows = [(one.source, one.id, one.subject, one.sealed, one.found) for one in found.differences]
            print_table("Differences", ["source", "id", "about", "sealed", "found"], rows)
        out.print(str(found), markup=False)
    if not found.passed:
        raise typer.Exit(DIFFERENT)


@group.command()
def drop(env: Env = None, confirm: Confirm = None, as_json: AsJson = False) -> None:
    """Take the index out of service, have writes leave no marks, and delete it.

    The gallery answers as it did without it. 40_build_tag_bitmaps makes a new
    one.

        genonaut bitmaps drop --env demo
    """
    remember(confirm)
    settings = load_settings(env)
    with engine.session(settings) as connection:
        guard.require_adopted(connection, settings)
        freed = bitmap_health.drop(connection, settings.database)
    if as_json:
        print_json({"bytes_before": freed})
    else:
        out.print(f"The index is gone; it took {sum(freed.values()) / 1e6:,.1f} MB.", markup=False)


def _plain(found: BitmapStatus) -> dict[str, Any]:
    return asdict(found) | {"dead_share": found.dead_share}
