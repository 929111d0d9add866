"""Commands that run notebooks: run, pipeline, undo, demo.

What runs notebooks (papermill, pandas, matplotlib) takes seconds to import, so each command imports it itself.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Annotated

import typer

from genonaut_lib.cli.options import Confirm, Env, out, print_table, remember
from genonaut_lib.db import engine, guard
from genonaut_lib.errors import InvalidInput
from genonaut_lib.migration.phases import PHASES, Context
from genonaut_lib.migration.runner import undo_phase
from genonaut_lib.settings import load_settings, nearest

if TYPE_CHECKING:
    from genonaut_lib.runs.pipelines import StepReport

Parameters = Annotated[
    list[str] | None,
    typer.Option("--parameter", "-p", metavar="KEY=VALUE", help="A parameter of the notebook; may be repeated."),
]

DryRun = Annotated[
    bool | None,
    typer.Option("--dry-run/--apply", help="Show the plan only, or apply it. Default: the environment's."),
]

Deadline = Annotated[
    float | None,
    typer.Option(
        "--deadline", metavar="SECONDS", min=0.1, help="End a run that takes longer. Default: runs.deadline_s."
    ),
]


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    for command in (demo, run, pipeline, undo):
        app.command(rich_help_panel="Migration")(command)


def demo() -> None:
    """Load real and synthetic content, measure the gallery, migrate it, measure
    again, and report.

    Runs on the embedded servers of the environment `demo` and stops them at the
    end if it started them. Killed at any moment, it goes on where it stopped.

        genonaut demo
    """
    from genonaut_lib.demo import story

    story.tell(out.print)


def run(  # noqa: PLR0913, PLR0917  # the options of a command are its parameters
    notebook: Annotated[
        str | None, typer.Argument(help="A notebook's name or number, as 12_backfill_tag_uuids or 12.")
    ] = None,
    env: Env = None,
    parameter: Parameters = None,
    dry_run: DryRun = None,
    confirm: Confirm = None,
    deadline: Deadline = None,
    resume: Annotated[
        str | None, typer.Option("--resume", metavar="RUN", help="Go on with a run that did not end well, by its id.")
    ] = None,
    changed: Annotated[
        bool, typer.Option("--changed", help="With --resume: the notebook may have been changed since.")
    ] = False,
) -> None:
    """Run one notebook unattended and keep it, executed, as the record.

    Its parameters come from the environment's params file, with those given
    here on top; one it does not have is refused. The record and its HTML copy
    land in outputs/<env>/<date>/, whichever way the run ends. SIGTERM and
    Ctrl-C interrupt it and close its record.

        genonaut run 12_backfill_tag_uuids --env demo --dry-run
        genonaut run 62 --env demo -p moment=after -p repeats=30

    --resume runs the same notebook with the same parameters; the work inside
    goes on from its checkpoints:

        genonaut run --resume 0f3a9c21 --env demo

    Exit codes: 0 ok; 1 failed, also when stopped by SIGTERM; 2 refused before
    doing anything; 75 try again later (somebody else is at that work, the
    database is starting, no room for the record); 130 Ctrl-C.
    """
    from genonaut_lib.runs.engine import RunRequest, parse_parameters, run_notebook

    remember(confirm)
    settings = load_settings(env)
    if resume is not None:
        _require_nothing_else(notebook, parameter, dry_run)
        from genonaut_lib.runs.resume import request_of

        request = request_of(settings, resume, changed=changed)
    elif notebook is None:
        raise InvalidInput("Which notebook?", hint="Name one, or a run with --resume.")
    else:
        parameters = parse_parameters(parameter or [])
        if dry_run is not None:
            parameters["dry_run"] = dry_run
        request = RunRequest(notebook, parameters)
    result = run_notebook(settings, dataclasses.replace(request, deadline_s=deadline))
    out.print(f"{result.notebook} ended well after {result.seconds:.1f} s.")
    out.print(f"Record: {result.output}\nTo read: {result.html}")


def _require_nothing_else(notebook: str | None, parameter: list[str] | None, dry_run: bool | None) -> None:
    if notebook is not None or parameter or dry_run is not None:
        raise InvalidInput(
            "--resume takes the notebook and its parameters from the run.",
            hint="Leave out the notebook, -p, --dry-run and --apply; or run it anew without --resume.",
        )


def pipeline(
    name: Annotated[str, typer.Argument(help="A sequence of params/pipelines.yaml, as migrate.")],
    env: Env = None,
    parameter: Annotated[
        list[str] | None,
        typer.Option("--parameter", "-p", metavar="STEP.KEY=VALUE", help="A parameter of one step; may be repeated."),
    ] = None,
    dry_run: DryRun = None,
    confirm: Confirm = None,
) -> None:
    """Run a sequence of notebooks; a failing one stops it, and the next start goes
    on from there.

        genonaut pipeline migrate --env demo
        genonaut pipeline migrate --env production --confirm production --apply

    The point of no return wants its confirmation typed out:

        -p 13_drop_legacy_tags.confirm="drop tags_old for ever"

    Exit codes: 0 ok; 1 failed, also when stopped by SIGTERM; 2 refused before
    doing anything; 75 try again later (another pipeline runs, the database is
    starting, no room for the records); 130 Ctrl-C.
    """
    from genonaut_lib.runs import pipelines
    from genonaut_lib.runs.engine import parse_parameters

    remember(confirm)
    steps = pipelines.with_parameters(
        pipelines.pipeline_steps(name), parse_parameters(parameter or []), dry_run=dry_run
    )
    pipelines.run_pipeline(load_settings(env), name, print_step, steps)
    out.print(f"Pipeline {name} ended well.")


def undo(
    phase: Annotated[str, typer.Argument(help="A phase, as attach_partitions.")],
    env: Env = None,
    confirm: Confirm = None,
) -> None:
    """Take one phase of the migration back, the last applied one first.

    A phase under a later one is refused, and so is the dropping of the legacy
    names: what is gone cannot be made again.

        genonaut undo attach_partitions --env dev
    """
    remember(confirm)
    if phase not in PHASES:
        known = list(PHASES)
        raise InvalidInput(f"There is no phase {phase!r}.", hint=f"{nearest(phase, known)}Known: {', '.join(known)}.")
    settings = load_settings(env)
    with engine.session(settings) as connection:
        guard.require_adopted(connection, settings)
        outcome = undo_phase(PHASES[phase], Context(connection, settings))
    print_table(f"Undone: {phase}", ["figure", "value"], outcome.figures.items())


def print_step(report: StepReport) -> None:
    """Print one line for a step of a pipeline."""
    ended = f"{report.result.seconds:5.1f} s" if report.result else "done before"
    out.print(f"  {report.number:2}/{report.of}  {report.step.key:28} {ended}")
