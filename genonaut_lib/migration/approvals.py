"""The second person: who allowed which plan, and whether that allows what is about to be applied.

A plan that cannot be taken back is recorded with the dry run that showed it, approved by somebody else, and
applied by any number of runs for as long as the approval holds. What is left of an approved plan is approved.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from psycopg.types.json import Jsonb

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import ApprovalMissing, GenonautError, PlanChanged
from genonaut_lib.migration import ledger
from genonaut_lib.migration.actors import account, actor, is_same_person
from genonaut_lib.migration.phases.base import Context, Phase, is_point_of_no_return
from genonaut_lib.migration.plan import Plan, content_digest

FILE = "approvals"
_HOUR_S = 3_600
_SHOWN = 12
"""Characters of a digest in a sentence."""


@dataclass(frozen=True)
class Approval:
    """A row of `workbench.approvals`; `plan` is the content of the plan, `age_s` what the server's clock says."""

    approval_id: int
    run_id: uuid.UUID
    environment: str
    phase: str
    plan_digest: str
    plan: Mapping[str, Any]
    approver: str
    account: str
    database_user: str
    note: str | None
    approved_at: datetime
    age_s: float

    @property
    def digest(self) -> str:
        """SHA-256 over the whole row in canonical form, in hex; sealed with every run that it allowed."""
        said = {name: value for name, value in vars(self).items() if name != "age_s"}
        at = self.approved_at.astimezone(UTC).isoformat(timespec="microseconds")
        return content_digest({**said, "run_id": str(self.run_id), "approved_at": at})

    @property
    def is_whole(self) -> bool:
        """Whether its digest is that of its plan."""
        return content_digest(self.plan) == self.plan_digest

    @property
    def told(self) -> dict[str, Any]:
        """What the record of a run says of the approval that allowed it."""
        return {
            "id": self.approval_id,
            "approver": self.approver,
            "plan_digest": self.plan_digest,
            "digest": self.digest,
        }

    def added(self, plan: Plan) -> list[str]:
        """Return the ids of the steps of a plan that are not approved; all of them where only the order differs."""
        approved, asked = self.plan["actions"], plan.content["actions"]
        rest = iter(approved)
        if all(step in rest for step in asked):
            return []
        return [step["id"] for step in asked if step not in approved] or [step["id"] for step in asked]


def concerns(phase: Phase, plan: Plan) -> bool:
    """Return whether a plan has work left, of a phase with a step that cannot be taken back."""
    lasting = any(not step.reversible for step in plan.actions)
    return bool(plan.actions) and (lasting or is_point_of_no_return(phase))


def record_plan(context: Context, plan: Plan) -> None:
    """Write a plan down with the run that shows it, if there is one in a ledger that can be written."""
    connection = context.connection
    if context.run_id is None or not ledger.exists(connection) or engine.facts(connection).in_recovery:
        return
    values = {"run_id": context.run_id, "plan_digest": plan.digest, "plan": Jsonb(plan.content)}
    connection.execute(block(FILE, "record_plan").sql(), values)


def require_approved(phase: Phase, context: Context, plan: Plan) -> Approval | None:
    """Return the approval that allows a plan, None where none is asked for; it goes into the run's record.

    Raises ApprovalMissing where nobody but the runner approved it, or nobody lately enough, and PlanChanged
    where what was approved is another plan. The hint is what to type.
    """
    if not (context.settings.approval.required and concerns(phase, plan)):
        return None
    allowed = _Candidates(plan, runner_of(context), context).chosen(phase)
    if context.run_id is not None:
        values = {"run_id": context.run_id, "approval": Jsonb(allowed.told)}
        context.connection.execute(block(FILE, "record_use").sql(), values)
    return allowed


def runner_of(context: Context) -> str:
    """Return who runs what is at work: as its row in the ledger says, or this process without one."""
    values = {"run_id": context.run_id}
    row = context.connection.execute(block(FILE, "actor_of_run").sql(), values).fetchone()
    return str(row[0]) if row else actor()


def approvals(connection: Connection) -> list[Approval]:
    """Return every approval, the newest first."""
    return list(_read(connection, "approvals", {}))


def approvals_of(connection: Connection, environment: str, phase: str) -> list[Approval]:
    """Return the approvals of a phase's plans in an environment, the newest first."""
    return list(_read(connection, "approvals_of_phase", {"environment": environment, "phase": phase}))


def approve(connection: Connection, values: Mapping[str, Any]) -> Approval:
    """Enter an approval and return it.

    `values` are its columns but for those the server fills in: id, database user and time.
    """
    entered = {**values, "plan": Jsonb(values["plan"])}
    row = connection.execute(block(FILE, "approve").sql(), entered).fetchone()
    assert row is not None
    found = approvals_of(connection, values["environment"], values["phase"])
    return next(approval for approval in found if approval.approval_id == row[0])


def age_text(seconds: float) -> str:
    """Return an age in hours, as people say it."""
    return f"{seconds / _HOUR_S:,.1f} h"


def _read(connection: Connection, name: str, values: Mapping[str, Any]) -> Iterator[Approval]:
    for row in connection.execute(block(FILE, name).sql(), values).fetchall():
        yield Approval(*row)


@dataclass(frozen=True)
class _Candidates:
    """What is asked of the approvals there are: this plan, run by this actor, here."""

    plan: Plan
    runner: str
    context: Context

    def chosen(self, phase: Phase) -> Approval:
        """Return the newest approval that allows the plan; raise what `require_approved` says."""
        found = approvals_of(self.context.connection, self.context.settings.environment, phase.name)
        whole = [approval for approval in found if approval.is_whole]
        fitting = [approval for approval in whole if not approval.added(self.plan)]
        allowing = [approval for approval in fitting if self._is_fresh(approval) and not self._is_own(approval)]
        if not allowing:
            raise self._refusal(phase, whole, fitting)
        return allowing[0]

    def _is_fresh(self, approval: Approval) -> bool:
        return approval.age_s <= self.context.settings.approval.valid_s

    def _is_own(self, approval: Approval) -> bool:
        """Names may be borrowed through the environment; the number of the account that applies may not."""
        return is_same_person(approval.approver, self.runner) or approval.account == account()

    def _refusal(self, phase: Phase, whole: Sequence[Approval], fitting: Sequence[Approval]) -> GenonautError:
        """Return why no approval allows the plan: the nearest miss is the one to tell of."""
        hint = self._next_step(phase)
        others = [approval for approval in fitting if not self._is_own(approval)]
        if others:
            return ApprovalMissing(self._too_old(others[0]), hint=hint)
        if any(self._is_fresh(approval) for approval in fitting):
            return ApprovalMissing(self._own(fitting[0]), hint=hint)
        changed = [approval for approval in whole if approval not in fitting and self._is_fresh(approval)]
        if changed:
            return PlanChanged(self._differs(changed[0]), hint=hint)
        return ApprovalMissing(f"No second person has approved {self._named}, which cannot be taken back.", hint=hint)

    @property
    def _named(self) -> str:
        return f"plan {self.plan.digest[:_SHOWN]} of {self.plan.phase}"

    def _own(self, approval: Approval) -> str:
        if is_same_person(approval.approver, self.runner):
            return f"Only {approval.approver}, who runs it, has approved this plan."
        return f"{approval.approver} approved this plan from the account that applies it ({approval.account})."

    def _too_old(self, approval: Approval) -> str:
        valid_h = self.context.settings.approval.valid_h
        age = age_text(approval.age_s)
        return f"{approval.approver} approved this plan {age} ago, and an approval holds for {valid_h:g} h."

    def _differs(self, approval: Approval) -> str:
        added = ", ".join(approval.added(self.plan))
        approved = f"{approval.plan_digest[:_SHOWN]}, which {approval.approver} approved"
        return f"The {self._named} is not {approved}; not in that one: {added}."

    def _next_step(self, phase: Phase) -> str:
        """Return what to type: the approval of a dry run that showed this plan, or first such a dry run."""
        settings = self.context.settings
        values = {
            "plan_digest": self.plan.digest,
            "environment": settings.environment,
            "valid_s": settings.approval.valid_s,
        }
        row = self.context.connection.execute(block(FILE, "newest_dry_run").sql(), values).fetchone()
        if row is not None:
            return f"Somebody else types: {command(row[0], settings.environment)}"
        dry = f"genonaut run {phase.notebook} --env {settings.environment} --dry-run"
        return f"First type: {dry} - then somebody else types the `genonaut approve` that its plan shows."


def command(run_id: uuid.UUID, environment: str) -> str:
    """Return what a second person types to approve the plan of a run."""
    return f"genonaut approve {run_id.hex[:8]} --env {environment}"
