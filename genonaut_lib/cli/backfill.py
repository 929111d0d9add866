"""Commands that talk to a running backfill from another process: `genonaut backfill ...`."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import asdict
from typing import Annotated, Any

import typer

from genonaut_lib.cli.options import AsJson, Confirm, Env, out, print_json, print_table, remember
from genonaut_lib.db import engine, guard
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import InvalidInput
from genonaut_lib.migration import backfill, control
from genonaut_lib.migration.control import Knobs
from genonaut_lib.settings import load_settings, nearest

Task = Annotated[
    str | None, typer.Argument(help="A task, as `genonaut backfill status` lists them. Default: the one at work.")
]

app = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""See, pause, resume, cancel or retune a backfill that runs in another process.

The engine looks twice a second and acts between two batches. Whatever is said holds for later starts
too, except a cancel, which ends the engines that run.

    genonaut backfill status --env production
    genonaut backfill set --workers 1 --pause-s 0.2 --env production --confirm production""",
)


def register(parent: typer.Typer) -> None:
    """Add the commands of this room."""
    parent.add_typer(app, name="backfill", rich_help_panel="Migration")


@app.command()
def status(task: Task = None, env: Env = None, as_json: AsJson = False) -> None:
    """Show every backfill that was ever started: rows, speed, the time left, why
    it waits, and its latest events.

        genonaut backfill status --env demo
        genonaut backfill status backfill_content_tags --env demo --json
    """
    with engine.session(load_settings(env), writing=False) as connection:
        known = control.tasks(connection)
        if task is not None:
            _require_known(task, known)
        found = [_status_of(connection, name) for name in ([task] if task else known)]
    if as_json:
        print_json(found)
        return
    rows = [(one["task"], one["state"], _part(one), one["rows_changed"], _eta(one), _why(one)) for one in found]
    print_table("Backfills", ["task", "state", "rows read", "rows changed", "left", "waiting for"], rows)
    for one in found[:1]:
        events = [(f"{at:%Y-%m-%d %H:%M:%S}", event, _brief(details)) for at, event, details in one["events"]]
        print_table(f"Latest of {one['task']}", ["when", "event", "details"], events)


@app.command()
def pause(task: Task = None, env: Env = None, confirm: Confirm = None) -> None:
    """Hold a backfill after its running batches, within two seconds, until it is
    resumed.

        genonaut backfill pause --env demo
    """
    _say("paused", task, env, confirm, wanted="pause")


@app.command()
def resume(task: Task = None, env: Env = None, confirm: Confirm = None) -> None:
    """Let a paused backfill go on.

    genonaut backfill resume backfill_tag_uuids --env demo
    """
    _say("let go on", task, env, confirm, wanted="run")


@app.command()
def cancel(task: Task = None, env: Env = None, confirm: Confirm = None) -> None:
    """End a backfill after its running batches; what is done is kept, and the
    next start goes on from there.

        genonaut backfill cancel --env demo
    """
    _say("cancelled", task, env, confirm, wanted="cancel")


@app.command(name="set")
def set_knobs(
    task: Task = None,
    workers: Annotated[int | None, typer.Option(min=1, max=64, help="Sessions at work at once.")] = None,
    batch_target_s: Annotated[
        float | None, typer.Option(min=0.01, max=60, help="How long a batch should take, in seconds.")
    ] = None,
    pause_s: Annotated[
        float | None, typer.Option(min=0, max=60, help="Rest of a worker after each batch, in seconds.")
    ] = None,
    env: Env = None,
    confirm: Confirm = None,
) -> None:
    """Turn the knobs of a backfill while it runs.

    genonaut backfill set --workers 1 --batch-target-s 0.2 --env demo
    """
    if workers is None and batch_target_s is None and pause_s is None:
        raise InvalidInput("Nothing to set.", hint="Give --workers, --batch-target-s or --pause-s.")
    _say("retuned", task, env, confirm, knobs=Knobs(workers, batch_target_s, pause_s))


def _say(done: str, task: str | None, env: str | None, confirm: str | None, **wanted: Any) -> None:
    remember(confirm)
    with _controls(env) as (connection, choose):
        chosen = choose(task)
        wish = control.ask(connection, chosen, **wanted)
    knobs = ", ".join(f"{name} {value}" for name, value in asdict(wish).items() if value is not None)
    out.print(f"{chosen} is {done} ({knobs}).", markup=False)


@contextmanager
def _controls(env: str | None) -> Iterator[tuple[Connection, Callable[[str | None], str]]]:
    settings = load_settings(env)
    with engine.session(settings) as connection:
        guard.require_adopted(connection, settings)
        yield connection, lambda task: _chosen(connection, task)


def _chosen(connection: Connection, task: str | None) -> str:
    """Return the task meant: the one named, or the only one at work."""
    known = control.tasks(connection)
    if task is not None:
        _require_known(task, known)
        return task
    at_work = [name for name in known if control.engines(connection, name)]
    if len(at_work) != 1:
        found = f"at work: {', '.join(at_work)}" if at_work else "none is at work"
        raise InvalidInput(f"Which backfill? ({found})", hint=f"Name it. Known: {', '.join(known) or 'none yet'}.")
    return at_work[0]


def _require_known(task: str, known: list[str]) -> None:
    if task not in known:
        hint = f"{nearest(task, known)}Known: {', '.join(known) or 'none yet'}."
        raise InvalidInput(f"There is no backfill {task!r} here.", hint=hint)


def _status_of(connection: Connection, task: str) -> dict[str, Any]:
    found = backfill.status(connection, task)
    engines = control.engines(connection, task)
    return {
        "task": task,
        "state": "done" if found.complete and not engines else engines[0].state if engines else "stopped",
        **asdict(found),
        "wish": asdict(control.wish(connection, task)),
        "engines": [asdict(engine) for engine in engines],
        "events": control.events(connection, task),
    }


def _part(one: dict[str, Any]) -> str:
    share = 100 * one["rows_read"] / one["rows_total"] if one["rows_total"] else 100.0
    return f"{one['rows_read']:,} of {one['rows_total']:,} ({share:.1f} %)"


def _eta(one: dict[str, Any]) -> str:
    known = [engine["eta_s"] for engine in one["engines"] if engine["eta_s"] is not None]
    return f"{min(known):,.0f} s" if known else ""


def _why(one: dict[str, Any]) -> str:
    return "; ".join(reason["finding"] for engine in one["engines"] for reason in engine["reasons"])


def _brief(details: dict[str, Any]) -> str:
    if "reasons" in details:
        return "; ".join(reason["finding"] for reason in details["reasons"])
    return ", ".join(f"{name} {value}" for name, value in details.items())
