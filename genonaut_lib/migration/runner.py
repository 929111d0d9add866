"""Carrying phases out: a plan that was shown is applied, what was done is verified, a phase is taken back."""

from __future__ import annotations

from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import CannotUndo, PlanChanged
from genonaut_lib.migration import ledger
from genonaut_lib.migration.phases import PHASES, Context, Phase, SchemaPhase
from genonaut_lib.migration.phases.base import require
from genonaut_lib.migration.plan import Outcome, Plan, Verification
from genonaut_lib.migration.preview import preflight_checks


def apply_plan(phase: Phase, context: Context, plan: Plan) -> Outcome:
    """Apply a phase whose plan was shown; raise PlanChanged when it is another one by now.

    A plan that became shorter because a killed start got further is the same work; anything new is not.
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
    return phase.apply(context)


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
    phase.require_undoable(context)
    with context.connection.transaction():
        for name in _from(phase.name):
            ledger.record_undo(context.connection, name, context.run_id)
    return phase.undo(context)


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
