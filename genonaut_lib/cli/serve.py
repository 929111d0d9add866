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
    workers: Annotated[
        int | None, typer.Option("--workers", min=1, help="How many processes. Default: service.workers.")
    ] = None,
    host: Annotated[
        str | None, typer.Option("--host", help="The address to listen at. Default: service.host, this machine only.")
    ] = None,
    port: Annotated[
        int | None,
        typer.Option("--port", min=0, max=65_535, help="0: any free one. Default: service.port."),
    ] = None,
) -> None:
    """Serve the gallery over HTTP, until a signal ends it.

    The API lies below /api/v1, its description at /api/v1/docs. The gallery must
    be migrated and belong to this environment; a database that does not answer is
    waited for, and may restart while it is served.

        genonaut serve --env demo
        genonaut serve --env production --workers 4 --host 0.0.0.0 --port 8080
        GENONAUT_SERVICE__PORT=0 genonaut serve --env demo

    Every knob of `service` in params/<environment>.yaml can be set by the
    environment, as GENONAUT_SERVICE__DEADLINE_S=30: host, port, workers, sessions
    (with the database, in each process), statement_timeout_ms, lock_timeout_ms,
    pool_wait_ms, pool_queue, deadline_s, shutdown_s, slow_ms. Options go first.

    The log is one JSON object a line, on standard error. Its first line says where
    the service listens; each request has one, with its id, route, strategy and the
    database's time, and never what was asked for or by whom.

    SIGTERM and Ctrl-C refuse new connections and let requests finish, up to
    service.shutdown_s seconds; a second one ends it at once. A worker that dies is
    replaced.

    Exit codes: 0 ended by a signal; 1 failed to start; 2 refused, as a port in use,
    a gallery that is not migrated, or the wrong environment.
    """
    from genonaut_lib.service.server import serve as run

    settings = load_settings(env)
    given = {"workers": workers, "host": host, "port": port}
    options = {name: value for name, value in given.items() if value is not None}
    service = settings.service.model_copy(update=options)
    run(settings.model_copy(update={"service": service}))
