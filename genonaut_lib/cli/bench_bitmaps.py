"""`genonaut bench bitmaps`: what the tag bitmap index costs and gives."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from genonaut_lib.cli.options import AsJson, Env, err, out, print_json, print_table
from genonaut_lib.db import engine, guard
from genonaut_lib.errors import InvalidInput
from genonaut_lib.settings import Settings, load_settings

HERE = ("grid", "facets")
"""What is measured of the environment's own gallery unless more is asked for by name."""


def bitmaps(  # noqa: PLR0913, PLR0917  # each is an option of the command
    shape: Annotated[
        str | None, typer.Option("--shape", help="dense, zipf, adversarial or debian. Default: dense.")
    ] = None,
    items: Annotated[int, typer.Option("--items", min=1, help="How many content items; debian has its own.")] = 50_000,
    here: Annotated[
        bool, typer.Option("--here", help="Measure the environment's own gallery and index: grid and facets.")
    ] = False,
    section: Annotated[
        list[str] | None,
        typer.Option(
            "--section", help="build, grid, facets, seal, writers or simulated; may be repeated. Default: all."
        ),
    ] = None,
    marked: Annotated[
        int | None,
        typer.Option("--marked", min=0, help="Items marked for the second grid. Default: 5000; with --here none."),
    ] = None,
    seal_items: Annotated[int, typer.Option("--seal-items", min=1, help="Items inserted and sealed.")] = 5_000,
    queries: Annotated[int, typer.Option("--queries", min=1, help="How many questions of the grid at most.")] = 200,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Timed rounds, after one to warm up.")] = 5,
    timeout_s: Annotated[
        float, typer.Option("--timeout-s", min=0, help="For one question to the plain oracle; 0 asks it nothing.")
    ] = 20.0,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Rounds of writers with the index, and without.")] = 4,
    round_s: Annotated[float, typer.Option("--round-s", min=0.1, help="Seconds of such a round.")] = 5.0,
    rate: Annotated[float, typer.Option("--rate", min=0.1, help="Items a second the writers aim at.")] = 200.0,
    sessions: Annotated[int, typer.Option("--sessions", min=1, help="Sessions that write at once.")] = 4,
    simulated_items: Annotated[int, typer.Option("--simulated-items", min=1)] = 51_000_000,
    simulated_tags: Annotated[
        list[int] | None, typer.Option("--simulated-tags", min=6, help="May be repeated. Default: 24.")
    ] = None,
    seed: Annotated[int, typer.Option("--seed", help="Another seed makes other content and another grid.")] = 1,
    env: Env = None,
    as_json: AsJson = False,
) -> None:
    """Measure the tag bitmap index: building and sealing it, what writers pay for it,
    the adversarial grid and facets, each answer compared with a plain statement's,
    and 51 million simulated items.

    Exit code 1 when an answer was another. With --here the index that serves is
    read; build, seal and --marked write to the gallery, and take out what they
    inserted. 50,000 dense items take some minutes, 51 million simulated ones 3 GB.

        genonaut bench bitmaps --shape dense --items 50000 --env dev
        genonaut bench bitmaps --here --section grid --env dev --json
    """
    from genonaut_lib.tuning.bitmap_bench import BitmapsBench, require_same_answers
    from genonaut_lib.tuning.bitmap_effort import SECTIONS, BitmapEffort
    from genonaut_lib.tuning.gallery_bench import Content

    if here and shape is not None:
        raise InvalidInput("--here measures the gallery that is there; --shape makes another one. Say one of them.")
    effort = BitmapEffort(
        tuple(section or (HERE if here else SECTIONS)),
        marked=(0 if here else 5_000) if marked is None else marked,
        seal_items=seal_items, queries=queries, repeats=repeats, timeout_s=timeout_s, seed=seed, rate=rate,
        rounds=rounds, round_s=round_s, sessions=sessions, simulated_items=simulated_items,
        simulated_tags=tuple(simulated_tags or (24,)),
    )  # fmt: skip
    settings = load_settings(env)
    bench = BitmapsBench(settings, None if here else Content(shape or "dense", items, seed), effort, err.print)
    _require_place(settings, writes=not here or effort.writes or "simulated" in effort.sections)
    found = bench.run()
    if as_json:
        print_json(found)
    else:
        _print(found)
    require_same_answers(found)


def _require_place(settings: Settings, *, writes: bool) -> None:
    if writes:
        with engine.session(settings) as connection:
            guard.require_writable(connection, settings)


def _print(found: dict[str, Any]) -> None:
    """Print each section's figures beside what they are to meet."""
    for name, section in found["sections"].items():
        rows = [(figure, value, section["targets"].get(figure)) for figure, value in section["figures"].items()]
        print_table(name.capitalize(), ["figure", "found", "target"], rows)
        if table := section["details"].get("rows"):
            print_table(f"{name.capitalize()}, one by one", list(table[0]), [list(row.values()) for row in table])
    content, machine = found["content"], found["machine"]
    made = f"{content['items']:,} items of shape {content['shape']}" if content else "the environment's own gallery"
    out.print(
        f"{made}; PostgreSQL {found['postgresql']}, {machine['processors']} processors,"
        f" {machine['memory_gibibytes']} GiB of memory."
    )
