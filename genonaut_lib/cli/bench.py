"""Commands that measure: `genonaut bench ...`. Ratios first; each mode beside its baseline in the same run."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from genonaut_lib.cli.bench_bitmaps import bitmaps
from genonaut_lib.cli.bench_http import http
from genonaut_lib.cli.options import AsJson, Env, err, out, print_json, print_table
from genonaut_lib.content import generation
from genonaut_lib.db import engine, guard
from genonaut_lib.errors import InvalidInput
from genonaut_lib.settings import Settings, load_settings

app = typer.Typer(no_args_is_help=True, rich_markup_mode="rich")

MOST_CASES = 20
"""How many questions the terminal shows; JSON holds all."""


def register(parent: typer.Typer) -> None:
    """Add the commands of this room."""
    app.command()(bitmaps)
    app.command()(http)
    parent.add_typer(app, name="bench", rich_help_panel="Measuring")


@app.callback()
def _room() -> None:
    """Measure the workbench on this server, each mode beside its baseline in the
    same run.

    Content is made in throw-away databases on the environment's server; its
    gallery is not touched, and read only with `gallery --here`.

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


@app.command()
def gallery(  # noqa: PLR0913, PLR0917  # each is an option of the command
    shape: Annotated[
        str | None, typer.Option("--shape", help="dense, zipf, adversarial or debian. Default: dense.")
    ] = None,
    items: Annotated[int, typer.Option("--items", min=1, help="How many content items; debian has its own.")] = 20_000,
    here: Annotated[
        bool, typer.Option("--here", help="Read the environment's own gallery; nothing is written.")
    ] = False,
    strategy: Annotated[
        list[str] | None,
        typer.Option("--strategy", help="all, chosen, or a strategy's name; may be repeated. Default: all."),
    ] = None,
    queries: Annotated[int, typer.Option("--queries", min=1, help="How many questions of the grid.")] = 200,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Timed rounds, after one to warm up.")] = 7,
    timeout_s: Annotated[
        float, typer.Option("--timeout-s", min=0.01, help="A statement over it is stopped and counts as it.")
    ] = 20.0,
    seed: Annotated[int, typer.Option("--seed", help="Another seed makes other content and another grid.")] = 1,
    env: Env = None,
    as_json: AsJson = False,
) -> None:
    """Measure the gallery: a grid of questions under every strategy, beside the
    planner's choice, every page compared with a plain statement's.

    Exit code 1 when a strategy showed other rows. 20,000 dense items take some
    minutes.

        genonaut bench gallery --shape zipf --items 50000 --env dev
        genonaut bench gallery --here --queries 50 --env demo --json
    """
    from genonaut_lib.tuning.gallery_bench import Content, Effort, GalleryBench, require_same_rows

    if here and shape is not None:
        raise InvalidInput("--here reads the gallery that is there; --shape makes another one. Say one of them.")
    settings = load_settings(env)
    content = None if here else Content(shape or "dense", items, seed)
    effort = Effort(tuple(strategy or ["all"]), queries, repeats, timeout_s, seed)
    _require_place(settings, here)
    found = GalleryBench(settings, content, effort, err.print).run()
    if as_json:
        print_json(found)
    else:
        _print_gallery(found)
    require_same_rows(found)


def _require_place(settings: Settings, here: bool) -> None:
    if not here:
        with engine.session(settings) as connection:
            guard.require_writable(connection, settings)


def _print_gallery(found: dict[str, Any]) -> None:
    """Print the figures beside what they are to meet, then the questions, the worst choice first."""
    summary, targets = found["summary"], found["targets"]
    rows = [(name, summary[name], targets.get(name)) for name in summary if isinstance(summary[name], int | float)]
    print_table("Gallery", ["figure", "found", "target"], rows)
    cases = sorted(found["cases"], key=lambda case: -(case["ratio"] or 0.0))
    print_table(
        f"The {min(MOST_CASES, len(cases))} worst choices, ms",
        ["ratio", "chosen", "p50", "best", "p50", "oracle", "question"],
        [_case_row(case) for case in cases[:MOST_CASES]],
    )
    out.print(f"{found['items']:,} items, PostgreSQL {found['postgresql']}.")


def _case_row(case: dict[str, Any]) -> list[Any]:
    strategies = case["strategies"]
    times = [strategies.get(case[role], {}).get("p50_ms") for role in ("chosen", "best")]
    verdicts = sorted({one["oracle"] for one in strategies.values()})
    return [case["ratio"], case["chosen"], times[0], case["best"], times[1], ", ".join(verdicts), case["name"]]


def _brief(figures: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:g}" for name, value in figures.items())
