"""Options and output shared by the commands."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Sequence
from typing import Annotated, Any

import typer
from rich.console import Console
from rich.markup import escape
from rich.table import Table

from genonaut_lib.db import guard

Env = Annotated[
    str | None,
    typer.Option(
        "--env", "-e", help="Environment: a file params/<name>.yaml. Default: GENONAUT_ENVIRONMENT, else demo."
    ),
]
Confirm = Annotated[
    str | None,
    typer.Option(
        "--confirm", help="Name of a protected environment, typed out to allow writing to it.", metavar="NAME"
    ),
]
AsJson = Annotated[bool, typer.Option("--json", help="Print JSON, for scripts.")]

out = Console(highlight=False, soft_wrap=True)
err = Console(stderr=True, highlight=False, soft_wrap=True)


def remember(confirm: str | None) -> None:
    """Hand a confirmation on to whatever this process starts: revisions, kernels."""
    if confirm:
        os.environ[guard.CONFIRM_VARIABLE] = confirm


def print_json(value: Any) -> None:
    """Print a value as JSON on standard output; what JSON does not know becomes text."""
    typer.echo(json.dumps(value, indent=2, default=str))


def print_table(title: str, columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    """Print a table; numbers to the right. Brackets and control characters in a cell are shown, never obeyed."""
    table = Table(title=title, title_justify="left", box=None, header_style="bold", padding=(0, 2, 0, 0))
    kept = [list(row) for row in rows]
    for place, column in enumerate(columns):
        numeric = bool(kept) and all(isinstance(row[place], int | float) for row in kept)
        table.add_column(column, justify="right" if numeric else "left", overflow="fold")
    for row in kept:
        table.add_row(*(_harmless(_cell(value)) for value in row))
    out.print(table)


def _harmless(text: str) -> str:
    shown = (letter if letter.isprintable() or letter == "\n" else "\N{REPLACEMENT CHARACTER}" for letter in text)
    return escape("".join(shown))


def _cell(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    return f"{value:,.2f}" if isinstance(value, float) else f"{value:,}" if isinstance(value, int) else str(value)
