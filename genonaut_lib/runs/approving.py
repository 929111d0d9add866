"""Approving the plan that a dry run showed, as somebody else than whoever ran it."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from genonaut_lib.db import engine, guard
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import CannotApprove, WrongEnvironment
from genonaut_lib.migration import approvals, ledger
from genonaut_lib.migration.actors import account, actor, is_same_person
from genonaut_lib.migration.approvals import Approval
from genonaut_lib.migration.ledger import RunRecord
from genonaut_lib.migration.plan import content_digest
from genonaut_lib.runs.ending import OK
from genonaut_lib.runs.records.ledger_records import records_of
from genonaut_lib.runs.resume import require_own, the_run
from genonaut_lib.runs.secrets import references
from genonaut_lib.runs.secrets.redaction import Redactor
from genonaut_lib.settings import Settings


@dataclass(frozen=True)
class Shown:
    """A dry run with the plan that it showed: its digest, and its content (see `Plan.content`)."""

    run: RunRecord
    plan_digest: str
    plan: Mapping[str, Any]
    age_s: float

    @property
    def phase(self) -> str:
        """The phase whose plan it is."""
        return str(self.plan["phase"])

    @property
    def steps(self) -> list[Mapping[str, Any]]:
        """The actions of the plan, in order."""
        return list(self.plan["actions"])


@dataclass(frozen=True)
class Approved:
    """An approval that holds; `is_new` is False for one this person gave before."""

    approval: Approval
    is_new: bool


def shown(connection: Connection, settings: Settings, run: str) -> Shown:
    """Return what would be approved with a run, given by its id or the beginning of it.

    Raises CannotApprove for a run that nobody knows, that is no dry run, did not end well, is too old, has no plan
    that cannot be taken back, or whose plan was changed since; WrongEnvironment for one of another environment.
    """
    _require_ours(connection, settings)
    found = the_run(connection, run, CannotApprove)
    require_own(found, settings)
    _require_ended_well(found)
    asked = _asked(connection, found)
    _require_dry(found)
    _require_fresh(asked, settings)
    _require_as_sealed(connection, asked)
    return asked


def approve(settings: Settings, run: str, note: str | None = None) -> Approved:
    """Approve the plan of a run as whoever this process belongs to.

    Raises what `shown` raises, CannotApprove for the runner's own plan, and SecretInParameter for a note that
    holds a secret. A plan that this person approved before, and whose approval holds, stays as it is.
    """
    with engine.session(settings) as connection:
        references.require_none_secret({"note": note or ""}, Redactor.of_environment(settings, connection))
        asked, approver = shown(connection, settings, run), actor()
        _require_somebody_else(asked, approver)
        known = _known(connection, settings, asked, approver)
        return Approved(known, False) if known else Approved(_entered(connection, settings, asked, note), True)


def _require_ours(connection: Connection, settings: Settings) -> None:
    if not ledger.exists(connection):
        raise CannotApprove("This database has no ledger, so no run of it is known.")
    # Nothing but the ledger is written: whoever approves needs neither the gallery's tables nor a confirmation by name.
    marked = guard.marked_environment(connection)
    if marked != settings.environment:
        raise WrongEnvironment(
            f"This database belongs to environment {marked!r}, the command is for {settings.environment!r}.",
            hint=f"Say --env {marked}, or point DATABASE_URL at the right database.",
        )


def _asked(connection: Connection, run: RunRecord) -> Shown:
    row = connection.execute(block(approvals.FILE, "plan_of_run").sql(), {"run_id": run.start.run_id}).fetchone()
    if row is None:
        raise CannotApprove(
            f"That run of {run.start.notebook} has no plan digest.",
            hint="Only a plan with steps left is approved, and only of a phase that cannot be taken back.",
        )
    return Shown(run, *row)


def _require_somebody_else(asked: Shown, approver: str) -> None:
    """Raise CannotApprove where the approver ran the dry run, on whichever machine."""
    runner = asked.run.start.actor
    if is_same_person(approver, runner):
        raise CannotApprove(
            f"{runner} ran it, so {approver} is no second person.",
            hint="Somebody else types this command, as a user of their own.",
        )


def _entered(connection: Connection, settings: Settings, asked: Shown, note: str | None) -> Approval:
    values = {
        "run_id": asked.run.start.run_id,
        "environment": settings.environment,
        "phase": asked.phase,
        "plan_digest": asked.plan_digest,
        "plan": dict(asked.plan),
        "approver": actor(),
        "account": account(),
        "note": note,
    }
    return approvals.approve(connection, values)


def _known(connection: Connection, settings: Settings, asked: Shown, approver: str) -> Approval | None:
    """Return the approval of this plan that this person gave and that holds, None where there is none."""
    for found in approvals.approvals_of(connection, settings.environment, asked.phase):
        same = (found.plan_digest, found.approver) == (asked.plan_digest, approver)
        if same and found.is_whole and found.age_s <= settings.approval.valid_s:
            return found
    return None


def _require_ended_well(run: RunRecord) -> None:
    if run.state != OK.state:
        state = "is still at work" if run.state == "running" else f"ended as {run.state}"
        raise CannotApprove(f"That run of {run.start.notebook} {state}.", hint=_anew(run))


def _require_dry(run: RunRecord) -> None:
    if run.start.parameters.get("dry_run") is not True:
        raise CannotApprove(f"That run of {run.start.notebook} was no dry run: it applied its plan.", hint=_anew(run))


def _require_fresh(asked: Shown, settings: Settings) -> None:
    if asked.age_s > settings.approval.valid_s:
        raise CannotApprove(
            f"That dry run is {approvals.age_text(asked.age_s)} old; {settings.approval.valid_h:g} h are allowed.",
            hint=_anew(asked.run),
        )


def _require_as_sealed(connection: Connection, asked: Shown) -> None:
    """Raise CannotApprove where the ledger says another plan than the dry run showed and was sealed with."""
    records = records_of(connection)
    link = None if records is None else records.of_run(str(asked.run.start.run_id))
    sealed = asked.plan_digest if link is None else link.content.get("plan_digest")
    if content_digest(asked.plan) != asked.plan_digest or sealed != asked.plan_digest:
        raise CannotApprove(
            "The plan in the ledger is not the one that the dry run showed: it was changed since.",
            hint="`genonaut runs verify` names what was changed; a new dry run can be approved.",
        )


def _anew(run: RunRecord) -> str:
    environment = run.start.parameters.get("environment")
    return f"Make a dry run and approve that: genonaut run {run.start.notebook} --env {environment} --dry-run"
