"""Commands that run sequences by the clock: scheduler, schedule list, schedule export.

What runs notebooks takes seconds to import, so each command imports it itself.
"""

from __future__ import annotations

import sys
from collections.abc import Mapping
from datetime import UTC, datetime
from itertools import islice
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genonaut_lib.cli.options import AsJson, Confirm, Env, out, print_json, print_table, remember
from genonaut_lib.db import engine
from genonaut_lib.errors import InvalidInput
from genonaut_lib.settings import load_settings, nearest

if TYPE_CHECKING:
    from genonaut_lib.runs.sequences import Schedule

OK, FAILED, REFUSED, TRY_LATER = 0, 1, 2, 75
SHOWN_TIMES = 3
_CODES = {"ok": OK, "refused": REFUSED, "later": TRY_LATER, "skipped": TRY_LATER}
_WORST_FIRST = (FAILED, REFUSED, TRY_LATER, OK)

schedule = typer.Typer(
    no_args_is_help=True,
    rich_markup_mode="rich",
    help="""See when sequences run by themselves, and hand their times to a scheduler of your own.

    genonaut schedule list --env demo
    genonaut schedule export --format systemd --env production

Their times stand in params/pipelines.yaml.""",
)


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    app.command(rich_help_panel="Migration")(scheduler)
    app.add_typer(schedule, name="schedule", rich_help_panel="Migration")


def scheduler(
    env: Env = None,
    once: Annotated[bool, typer.Option("--once", help="Run what is due now, then leave.")] = False,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show the next times and leave.")] = False,
    as_json: AsJson = False,
    confirm: Confirm = None,
) -> None:
    """Run the sequences of params/pipelines.yaml that have a cron time, each in a
    process of its own, until SIGTERM; then end them within ten seconds.

        genonaut scheduler --env demo
        genonaut scheduler --env production --confirm production

    Any number of them may run on one database: each time is run once, and taken
    over when its scheduler died. What was missed is recorded and said. What is
    run is applied, as by `genonaut pipeline NAME --apply`.

    Exit codes: 0 ended by SIGTERM or Ctrl-C; 2 refused before doing anything.
    With --once: 0 ok, also with nothing due; 1 failed; 2 refused; 75 try again
    later (the sequence is at work, the database is starting).
    """
    from genonaut_lib.runs.schedules.scheduler import Scheduler, World
    from genonaut_lib.runs.sequences import scheduled_sequences

    remember(confirm)
    settings, schedules = load_settings(env), scheduled_sequences()
    if dry_run:
        _show_times(schedules, as_json)
        return
    if not schedules:
        raise InvalidInput(
            "No sequence has a cron time.", hint="Give one in params/pipelines.yaml: docs/scheduling.md."
        )
    world = World(lambda name: _command(name, settings.environment), _say)
    keeper = Scheduler(settings, schedules, world)
    if not once:
        keeper.run()
        return
    codes = {_CODES.get(state, FAILED) for state in keeper.run_once()} or {OK}
    raise typer.Exit(next(code for code in _WORST_FIRST if code in codes))


@schedule.command("list")
def list_times(
    env: Env = None,
    limit: Annotated[int, typer.Option("--limit", min=1, help="How many of the last times.")] = 20,
    as_json: AsJson = False,
) -> None:
    """List the sequences that run by themselves with their next times, and how
    their last times went.

        genonaut schedule list --env demo
        genonaut schedule list --env demo --limit 100 --json
    """
    from genonaut_lib.migration import ledger
    from genonaut_lib.runs.schedules.schedule_book import recent_times
    from genonaut_lib.runs.sequences import scheduled_sequences

    settings, schedules = load_settings(env), scheduled_sequences()
    with engine.session(settings, writing=False) as connection:
        recent = recent_times(connection, limit) if ledger.exists(connection) else []
    if as_json:
        print_json({"sequences": _described(schedules), "recent": recent})
        return
    _show_times(schedules, as_json)
    shown = [(row["pipeline"], f"{row['due_at']:%Y-%m-%d %H:%M}", row["state"], row["remark"]) for row in recent]
    print_table("Last times", ["sequence", "due", "state", "remark"], shown)


@schedule.command()
def export(
    form: Annotated[str, typer.Option("--format", help="cron, systemd, k8s or airflow.")],
    env: Env = None,
    project: Annotated[str, typer.Option("--project", help="The folder of the project there.")] = "/srv/genonaut",
    secrets: Annotated[
        str, typer.Option("--secrets", help="The file (k8s: the Secret) that DATABASE_URL and keys stand in there.")
    ] = "",
    image: Annotated[str, typer.Option("--image", help="The container image, for k8s.")] = "genonaut:latest",
) -> None:
    """Print the schedules for a scheduler of your own. No secret is in them: they
    say where it stands. What the format cannot express is a comment.

        genonaut schedule export --format cron --env production
        genonaut schedule export --format k8s --env production --image registry/genonaut:1.2
    """
    from genonaut_lib.runs.schedules.schedule_export import FORMATS, Target
    from genonaut_lib.runs.sequences import scheduled_sequences

    if form not in FORMATS:
        known = sorted(FORMATS)
        raise InvalidInput(f"There is no format {form!r}.", hint=f"{nearest(form, known)}Known: {', '.join(known)}.")
    settings = load_settings(env)
    target = Target(settings.environment, settings.protected, project, secrets, image)
    typer.echo(FORMATS[form](scheduled_sequences(), target), nl=False)


def _command(name: str, environment: str) -> list[str]:
    return [sys.executable, "-m", "genonaut_lib.cli", "pipeline", name, "--env", environment, "--apply"]


def _say(text: str) -> None:
    out.print(f"{datetime.now(UTC):%Y-%m-%d %H:%M:%S} {text}", markup=False)


def _described(schedules: Mapping[str, Schedule]) -> list[dict[str, Any]]:
    now = datetime.now(UTC)
    return [
        {"sequence": name, **found.model_dump(), "next": list(islice(found.upcoming(now), SHOWN_TIMES))}
        for name, found in schedules.items()
    ]


def _show_times(schedules: Mapping[str, Schedule], as_json: bool) -> None:
    described = _described(schedules)
    if as_json:
        print_json(described)
        return
    rows = [
        (one["sequence"], one["cron"], one["time_zone"], one["overlap"], one["catch_up"],
         ", ".join(f"{due:%Y-%m-%d %H:%M}" for due in one["next"]))
        for one in described
    ]  # fmt: skip
    print_table("Next times, in UTC", ["sequence", "cron", "zone", "overlap", "catch up", "next"], rows)
