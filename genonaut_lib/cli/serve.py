"""The command that serves the gallery over HTTP: serve."""

from __future__ import annotations

from typing import Annotated

import typer

from genonaut_lib.cli.options import Env
from genonaut_lib.settings import load_settings


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    app.command(rich_help_panel="Gallery")(serve)


def serve(
    env: Env = None,
    workers: Annotated[int, typer.Option("--workers", min=1, help="How many processes.")] = 1,
) -> None:
    """Serve the gallery over HTTP, until a signal ends it.

    genonaut serve --env demo
    """
    from genonaut_lib.service.server import serve as run

    run(load_settings(env), workers)
