"""Commands for servers and databases: up, down, status, adopt."""

from __future__ import annotations

from typing import Annotated, Any

import typer

from genonaut_lib.cli.options import AsJson, Confirm, Env, out, print_json, print_table, remember
from genonaut_lib.db import embedded, engine, guard
from genonaut_lib.db.engine import ServerFacts
from genonaut_lib.migration import adoption, revisions
from genonaut_lib.settings import Settings, load_settings


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    app.command(rich_help_panel="Servers")(up)
    app.command(rich_help_panel="Servers")(down)
    app.command(rich_help_panel="Servers")(status)
    app.command(rich_help_panel="Servers")(adopt)


def up(env: Env = None) -> None:
    """Start the embedded PostgreSQL and Redis of an environment and print their
    addresses.

    Their data lies in .genonaut/<environment> (or below GENONAUT_STATE); their
    settings fit this machine's memory. Commands that need them start them by
    themselves.

        genonaut up --env demo
        psql "$(genonaut status --env demo --json | jq -r '.servers[0].url')"
    """
    settings = load_settings(env)
    with engine.session(settings, writing=False) as connection:
        facts = engine.facts(connection)
    engine.connect_redis(settings).close()
    out.print(f"PostgreSQL {facts.version_text} and Redis are up for {settings.environment!r}.")
    _print_servers(settings)


def down(
    env: Env = None,
    all_: Annotated[bool, typer.Option("--all", help="Stop the servers of every environment.")] = False,
) -> None:
    """Stop the embedded servers of an environment; their data stays.

    PostgreSQL stops in its fast mode: open sessions are ended and a checkpoint
    is written, so nothing is lost.

        genonaut down --env demo
        genonaut down --all
    """
    names = embedded.known_environments() if all_ else [load_settings(env).environment]
    stopped = [server for name in names for server in embedded.stop(name)]
    for server in stopped:
        out.print(f"Stopped {server.name} of {server.environment!r} (pid {server.pid}).")
    if not stopped:
        out.print("No embedded server was running.")


def status(env: Env = None, as_json: AsJson = False) -> None:
    """Show the servers of an environment, its database and how far its migration
    is; starts nothing.

    The schema revision tells the last phase applied: 0002 is the legacy gallery,
    0010 the finished one, 0011 the one that was cut over.

        genonaut status --env demo
        genonaut status --env production --json
    """
    settings = load_settings(env)
    database = _database(settings)
    if as_json:
        servers = [vars(server) for server in embedded.status(settings.environment)]
        external = settings.database_kind == "external"
        print_json({"environment": settings.environment, "servers": [] if external else servers, "database": database})
        return
    if settings.database_kind == "embedded":
        _print_servers(settings)
    if database is not None:
        print_table("Database", ["fact", "value"], database.items())


def adopt(env: Env = None, confirm: Confirm = None) -> None:
    """Take a gallery of your own into the workbench: check its shape, mark it,
    create the ledger.

    Writes only the schema `workbench`; the gallery's own tables are not
    touched. Every later command compares its --env with the mark.

        DATABASE_URL=postgresql://owner@host/gallery genonaut adopt --env production --confirm production
    """
    remember(confirm)
    settings = load_settings(env)
    with engine.session(settings) as connection:
        guard.require_writable(connection, settings)
        done = adoption.adopt(connection, settings)
    out.print(f"This gallery is marked {settings.environment!r}." if done else "This gallery was adopted before.")


def _print_servers(settings: Settings) -> None:
    rows = [
        (server.name, "up" if server.pid else "down", server.pid and str(server.pid), server.url, str(server.folder))
        for server in embedded.status(settings.environment)
    ]
    print_table(f"Embedded servers of {settings.environment!r}", ["server", "state", "pid", "address", "data"], rows)


def _database(settings: Settings) -> dict[str, Any] | None:
    """Return what the database says of itself; None when it is the embedded one and down."""
    if settings.database_kind == "embedded" and embedded.status(settings.environment)[0].pid is None:
        return None
    with engine.session(settings, writing=False) as connection:
        facts: ServerFacts = engine.facts(connection)
        return {
            "PostgreSQL": facts.version_text,
            "database": facts.database,
            "user": facts.user,
            "replica": facts.in_recovery,
            "MB": round(facts.database_bytes / 1e6),
            "kind": guard.kind_of(connection).value,
            "environment": guard.marked_environment(connection),
            "schema revision": revisions.current(connection),
        }
