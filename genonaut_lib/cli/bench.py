"""Commands that measure: `genonaut bench ...`. Ratios first; each mode beside its baseline in the same run."""

from __future__ import annotations

from typing import Annotated

import typer

from genonaut_lib.cli.options import AsJson, Env, err, print_json, print_table
from genonaut_lib.content import generation
from genonaut_lib.db import engine, guard
from genonaut_lib.settings import load_settings

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")


def register(parent: typer.Typer) -> None:
    """Add the commands of this room."""
    parent.add_typer(app, name="bench", rich_help_panel="Measuring")


@app.callback()
def _room() -> None:
    """Measure the workbench on this server, each mode beside its baseline in the
    same run.

    Content is made in throw-away databases on the environment's server; its
    gallery is not touched.

        genonaut bench backfill --items 20000 --env dev
    """


@app.command()
def backfill(
    shape: Annotated[str, typer.Option("--shape", help="dense, zipf or adversarial.")] = "dense",
    items: Annotated[int, typer.Option("--items", min=1, help="How many content items.")] = 100_000,
    seed: Annotated[int, typer.Option("--seed", help="Another seed makes other content of the same shape.")] = 1,
    mode: Annotated[
        list[str] | None, typer.Option("--mode", help="uuids, online, bulk or attach; may be repeated. Default: all.")
    ] = None,
    env: Env = None,
    as_json: AsJson = False,
) -> None:
    """Measure the backfills: rows a second beside one plain statement, with one
    worker and with two, in bulk, and the attachment under a writer.

    100,000 dense items take some minutes and 3 GB, full scale (1,175,000) an hour
    and 60 GB.

        genonaut bench backfill --shape dense --items 100000 --env dev --json
        genonaut bench backfill --items 1175000 --mode bulk --env dev
    """
    from genonaut_lib.tuning.backfill_bench import MODES, BackfillBench

    generation.shape_named(shape)
    settings = load_settings(env)
    with engine.session(settings) as connection:
        guard.require_writable(connection, settings)
    found = BackfillBench(settings, shape, items, seed, tuple(mode or MODES), err.print).run()
    if as_json:
        print_json(found)
        return
    columns = ["mode", "ratio", "rows_per_second", "baseline_rows_per_second", "seconds", "extra"]
    rows = [[one[name] for name in columns[:-1]] + [_brief(one["extra"])] for one in found["modes"].values()]
    print_table("Backfills", ["mode", "ratio", "rows/s", "baseline rows/s", "seconds", ""], rows)


def _brief(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in figures.items())
