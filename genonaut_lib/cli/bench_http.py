"""`genonaut bench http`: how fast the HTTP API answers, beside a plain one."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from genonaut_lib.cli.options import AsJson, Env, err, out, print_json, print_table
from genonaut_lib.db import engine, guard
from genonaut_lib.errors import InvalidInput
from genonaut_lib.settings import Settings, load_settings


def http(  # noqa: PLR0913, PLR0917  # each is an option of the command
    shape: Annotated[
        str | None, typer.Option("--shape", help="dense, zipf, adversarial or debian. Default: dense.")
    ] = None,
    items: Annotated[int, typer.Option("--items", min=1, help="How many content items; debian has its own.")] = 20_000,
    here: Annotated[
        bool, typer.Option("--here", help="Serve the environment's own gallery; nothing is written.")
    ] = False,
    section: Annotated[
        list[str] | None,
        typer.Option("--section", help="latency, throughput or soak; may be repeated. Default: all."),
    ] = None,
    queries: Annotated[int, typer.Option("--queries", min=1, help="How many questions of the grid at most.")] = 200,
    repeats: Annotated[int, typer.Option("--repeats", min=1, help="Timed rounds, after one to warm up.")] = 5,
    timeout_s: Annotated[
        float, typer.Option("--timeout-s", min=0.01, help="For one statement of the baseline, which is told.")
    ] = 5.0,
    clients: Annotated[int, typer.Option("--clients", min=1, help="Clients that ask at once.")] = 8,
    rounds: Annotated[int, typer.Option("--rounds", min=1, help="Rounds of each server under load.")] = 4,
    round_s: Annotated[float, typer.Option("--round-s", min=0.1, help="Seconds of such a round.")] = 5.0,
    soak_s: Annotated[float, typer.Option("--soak-s", min=1, help="Seconds of the soak; 600 tell something.")] = 30.0,
    seed: Annotated[int, typer.Option("--seed", help="Another seed makes other content and another grid.")] = 1,
    env: Env = None,
    as_json: AsJson = False,
) -> None:
    """Measure the HTTP API: `genonaut serve` beside a plain FastAPI, SQLAlchemy ORM
    and pydantic endpoint, the same questions to both, the same answers expected.

    latency: one client, the adversarial grid with exact totals, beside the library
    without HTTP. throughput: several clients, both servers in turn. soak: the
    service alone, its memory watched.

    Clients, servers and PostgreSQL share this machine, so let nothing else run.
    Exit code 1 when an answer was another.

        genonaut bench http --shape dense --items 50000 --env dev
        genonaut bench http --here --section soak --soak-s 600 --env dev --json
    """
    from genonaut_lib.tuning.bitmap_bench import require_same_answers
    from genonaut_lib.tuning.gallery_bench import Content
    from genonaut_lib.tuning.http_bench import HttpBench
    from genonaut_lib.tuning.http_effort import SECTIONS, HttpEffort

    if here and shape is not None:
        raise InvalidInput("--here measures the gallery that is there; --shape makes another one. Say one of them.")
    effort = HttpEffort(
        tuple(section or SECTIONS), queries=queries, repeats=repeats, timeout_s=timeout_s, clients=clients,
        rounds=rounds, round_s=round_s, soak_s=soak_s, seed=seed,
    )  # fmt: skip
    settings = load_settings(env)
    bench = HttpBench(settings, None if here else Content(shape or "dense", items, seed), effort, err.print)
    _require_place(settings, here=here)
    found = bench.run()
    if as_json:
        print_json(found)
    else:
        _print(found)
    require_same_answers(found)


def _require_place(settings: Settings, *, here: bool) -> None:
    if not here:
        with engine.session(settings) as connection:
            guard.require_writable(connection, settings)


def _print(found: dict[str, Any]) -> None:
    """Print each section's figures beside what they are to meet, and what all of them were measured on."""
    for name, section in found["sections"].items():
        rows = [(figure, value, section["targets"].get(figure)) for figure, value in section["figures"].items()]
        print_table(name.capitalize(), ["figure", "found", "target"], rows)
    content, machine = found["content"], found["machine"]
    made = f"{content['items']:,} items of shape {content['shape']}" if content else "the environment's own gallery"
    out.print(
        f"{made}; PostgreSQL {found['postgresql']}; clients, servers and database share {machine['processors']}"
        f" processors and {machine['memory_gibibytes']} GiB of memory."
    )
