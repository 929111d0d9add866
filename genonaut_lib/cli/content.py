"""Commands that make content: load, generate."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Annotated, Any

import typer
from tqdm import tqdm

from genonaut_lib.cli.options import AsJson, Confirm, Env, out, print_json, remember
from genonaut_lib.content import generation, seeding
from genonaut_lib.db import engine, guard
from genonaut_lib.errors import InvalidInput
from genonaut_lib.migration import adoption
from genonaut_lib.settings import load_settings, project_root

WITH_REJECTS = 3


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    app.command(rich_help_panel="Content")(load)
    app.command(rich_help_panel="Content")(generate)


def load(
    file: Annotated[Path | None, typer.Argument(help="A .jsonl or .jsonl.gz file, one object a line.")] = None,
    debian: Annotated[bool, typer.Option("--debian", help="Load the 29,795 Debian packages shipped inside.")] = False,
    env: Env = None,
    confirm: Confirm = None,
    as_json: AsJson = False,
) -> None:
    """Load content in its legacy shape into an empty or legacy gallery, by COPY,
    in one transaction.

    A line is a JSON object with a title (or name) and, if it likes, tags,
    creator (or maintainer), source (regular or auto), content_type, prompt,
    created_at, quality_score, is_private; further fields are kept as metadata.
    A bad line goes to a rejects file with its number and the reason, and never
    stops the rest. Exit code 3 says that there were some. The same file is
    loaded once.

        genonaut load --debian --env demo
        genonaut load export.jsonl.gz --env dev
    """
    if (file is None) == (not debian):
        raise InvalidInput("Name one file, or say --debian.", hint="`genonaut load --help` shows both.")
    source = seeding.debian_file() if file is None else seeding.content_file(file)
    remember(confirm)
    settings = load_settings(env)
    rejects = project_root() / "outputs" / settings.environment / "rejects"
    with engine.session(settings) as connection:
        guard.require_ours(connection, settings)
        adoption.adopt(connection, settings)
        result = seeding.load(connection, source, rejects, progress(f"loading {source.name}", "lines"))
    if as_json:
        print_json(vars(result))
    elif result.repeated:
        out.print(f"{result.dataset} was loaded before: {result.items_loaded:,} items. Nothing was done.")
    else:
        out.print(
            f"Loaded {result.items_loaded:,} items from {result.dataset}, rejected {result.lines_rejected:,} lines."
        )
        if result.rejects_file:
            out.print(f"The rejected lines with their reasons: {result.rejects_file}")
    raise typer.Exit(WITH_REJECTS if result.lines_rejected and not result.repeated else 0)


def generate(
    shape: Annotated[str, typer.Option("--shape", help="dense, zipf or adversarial.")],
    items: Annotated[int, typer.Option("--items", min=1, max=100_000_000, help="How many content items.")],
    seed: Annotated[int, typer.Option("--seed", help="Another seed makes other content of the same shape.")] = 1,
    env: Env = None,
    confirm: Confirm = None,
    as_json: AsJson = False,
) -> None:
    """Make synthetic legacy content inside PostgreSQL; about one array in a
    hundred is dirty.

    dense: 106 tags, 75 an item. zipf: a long tail of thousands of tags.
    adversarial: popular tags that never meet, supersets, tied dates. The same
    shape, size and seed are made once.

        genonaut generate --shape dense --items 20000 --env demo
        genonaut generate --shape zipf --items 1000000 --seed 7 --env dev --json
    """
    remember(confirm)
    chosen = generation.shape_named(shape)
    settings = load_settings(env)
    with engine.session(settings) as connection:
        guard.require_ours(connection, settings)
        adoption.adopt(connection, settings)
        result = generation.generate(connection, chosen, items, seed, progress(f"generating {shape}", "items"))
    if as_json:
        print_json(vars(result))
    elif result.repeated:
        out.print(f"{result.dataset} is there already. Nothing was done.")
    else:
        out.print(f"Made {result.items:,} items with {result.relationships:,} tag elements ({result.dataset}).")


def progress(title: str, unit: str) -> Callable[[int, int], None]:
    """Return a callback (done, total) that draws a bar on standard error."""
    bar: Any = None

    def show(done: int, total: int) -> None:
        nonlocal bar
        if bar is None:
            bar = tqdm(total=total, desc=title, unit=f" {unit}", leave=False)
        bar.update(done - bar.n)
        if done >= total:
            bar.close()

    return show
