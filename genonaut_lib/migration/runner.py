"""Carrying phases out: a plan that was shown is applied, what was done is verified, a phase is taken back."""

from __future__ import annotations

from dataclasses import replace

from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import CannotUndo, PlanChanged
from genonaut_lib.migration import ledger
from genonaut_lib.migration.approvals import require_approved
from genonaut_lib.migration.phases import PHASES, Context, Phase, SchemaPhase
from genonaut_lib.migration.phases.base import require, take_back
from genonaut_lib.migration.plan import Outcome, Plan, Verification
from genonaut_lib.migration.preview import preflight_checks


def apply_plan(phase: Phase, context: Context, plan: Plan) -> Outcome:
    """Apply a phase whose plan was shown; raise PlanChanged when it is another one by now.

    A plan that became shorter because a killed start got further is the same work; anything new is not.
    Where settings ask for a second person, raises what `require_approved` raises, before anything is done.
    """
    require(preflight_checks(phase, context))
    now = phase.plan(context)
    shown = {(step.id, step.text) for step in plan.actions}
    added = [step.id for step in now.actions if (step.id, step.text) not in shown]
    if added:
        raise PlanChanged(
            f"The plan of {phase.name} changed since it was shown; new: {', '.join(added)}.",
            hint="Run the plan cell again and read it.",
        )
    allowed = require_approved(phase, context, now)
    outcome = phase.apply(context)
    if allowed is None:
        return outcome
    by = f"{allowed.approver}, approval {allowed.approval_id}"
    return replace(outcome, figures={**outcome.figures, "approved by": by})


def verify_phase(phase: Phase, context: Context) -> Verification:
    """Verify a phase and write the finding into the ledger, passed or not.

    A phase that others have built upon since may have nothing left to compare; its record then stays
    the one it was verified with.
    """
    verification = phase.verify(context)
    record = ledger.last_verification(context.connection, phase.name)
    if verification.examined or record is None or not record.passed:
        ledger.record_verification(context.connection, verification, context.run_id)
    return verification


def undo_phase(phase: Phase, context: Context) -> Outcome:
    """Take a phase back; the gates that stood open for it, and for every phase after it, close with it.

    They close when the undo begins to change anything, so that a kill in between leaves them closed.
    A phase whose apply stopped half-way is taken back like one that was applied. Raises CannotUndo,
    with nothing changed, while a later phase is applied or half applied.
    """
    require_none_begun_after(phase.name, context.connection)
    return take_back(phase, _from(phase.name), context)


def require_none_begun_after(name: str, connection: Connection) -> None:
    """Raise CannotUndo while a later phase is half applied: what it left stands on this one."""
    for later in _from(name)[1:]:
        phase = PHASES[later]
        if isinstance(phase, SchemaPhase) and phase.begun(connection):
            raise CannotUndo(
                f"{phase.name} was begun and did not come to its end.",
                hint=f"`genonaut undo {phase.name}` first, or run {phase.notebook} to its end.",
            )


def _from(name: str) -> list[str]:
    """Return the names of the phases from `name` on."""
    names = list(PHASES)
    return names[names.index(name) :]
