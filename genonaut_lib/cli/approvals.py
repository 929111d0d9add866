"""The command by which a second person allows what cannot be taken back: approve.

What reads records takes some time to import, so the command imports it itself.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from genonaut_lib.cli.options import AsJson, Env, out, print_json, print_table
from genonaut_lib.db import engine
from genonaut_lib.settings import Settings, load_settings

if TYPE_CHECKING:
    from genonaut_lib.runs.approving import Approved, Shown


def register(app: typer.Typer) -> None:
    """Add the commands of this room."""
    app.command(rich_help_panel="Migration")(approve)


def approve(
    run: Annotated[str, typer.Argument(help="The id of a dry run, or its beginning: six characters at least.")],
    env: Env = None,
    note: Annotated[str | None, typer.Option("--note", metavar="TEXT", help="Why, for whoever audits this.")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="Show what would be approved, and write nothing.")] = False,
    as_json: AsJson = False,
) -> None:
    """Allow the plan that somebody else's dry run showed, where it belongs to a
    phase that cannot be taken back and the environment wants a second person for
    that (approval.required).

        genonaut approve 3f2a9c21 --env production --dry-run
        genonaut approve 3f2a9c21 --env production --note "backup checked"

    You are who your login says; whoever ran the dry run cannot approve it, and
    what was approved from an account cannot be applied from the same one. The
    approval holds for approval.valid_h hours, for this plan or what is left of
    it, in any number of runs.

    Exit codes: 0 approved, also by you before; 2 refused.
    """
    from genonaut_lib.runs import approving

    settings = load_settings(env)
    if not dry_run:
        _say_approved(approving.approve(settings, run, note), settings, as_json=as_json)
        return
    with engine.session(settings, writing=False) as connection:
        asked = approving.shown(connection, settings, run)
    if as_json:
        print_json(_plain(asked))
    else:
        _show(asked)


def _show(asked: Shown) -> None:
    start = asked.run.start
    about = {"notebook": start.notebook, "run": start.run_id, "ran by": start.actor, "at": asked.run.started_at}
    print_table("To be approved", ["what", "value"], [(name, str(value)) for name, value in about.items()])
    print_table("Parameters", ["name", "value"], [(name, str(value)) for name, value in start.parameters.items()])
    rows = [(step["id"], step["lock"] or "none", "yes" if step["reversible"] else "NO") for step in asked.steps]
    print_table("Plan", ["action", "lock", "reversible"], rows)
    for step in asked.steps:
        out.print(f"\n-- {step['id']}\n{step['statement']};", markup=False)
    out.print(f"\nPlan digest {asked.plan_digest}. Nothing was written.", markup=False)


def _plain(asked: Shown) -> dict[str, Any]:
    start = asked.run.start
    about = {"run_id": start.run_id, "notebook": start.notebook, "actor": start.actor, "parameters": start.parameters}
    return {**about, "started_at": asked.run.started_at, "plan_digest": asked.plan_digest, **asked.plan}


def _say_approved(found: Approved, settings: Settings, *, as_json: bool) -> None:
    approval = found.approval
    until = approval.approved_at + timedelta(hours=settings.approval.valid_h)
    if as_json:
        said = {name: value for name, value in vars(approval).items() if name not in ("age_s", "plan")}
        print_json({**said, "digest": approval.digest, "valid_until": until, "new": found.is_new})
        return
    how = "Approved" if found.is_new else f"You approved this already, at {approval.approved_at:%Y-%m-%d %H:%M}"
    told = f"{how}: plan {approval.plan_digest[:12]} of {approval.phase}, as {approval.approver}"
    out.print(f"{told}. Approval {approval.approval_id} holds until {until:%Y-%m-%d %H:%M %Z}.", markup=False)
