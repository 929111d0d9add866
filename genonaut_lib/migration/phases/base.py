"""What a phase is, and the two families of phases: those that change the schema, those that move rows."""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import CannotUndo, CheckFailed
from genonaut_lib.migration import ledger, revisions
from genonaut_lib.migration.backfill import BackfillResult, BackfillTask, Progress
from genonaut_lib.migration.crew import Backfill
from genonaut_lib.migration.plan import Action, Check, Outcome, Plan, Verification
from genonaut_lib.migration.tables import rows_of, size_of
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import ContentSource


@dataclass(frozen=True)
class Context:
    """What a phase works with: a session in autocommit mode, the settings, and where progress goes."""

    connection: Connection
    settings: Settings
    run_id: uuid.UUID | None = None
    report: Callable[[Progress], None] = lambda progress: None


class Phase(Protocol):
    """One step of the migration.

    `check` looks, `plan` decides, `apply` does, `verify` compares, `undo` takes back. Only `apply`
    and `undo` change the gallery; both can be killed at any instant and started again.
    """

    @property
    def name(self) -> str:
        """What code and ledger call the phase."""

    @property
    def title(self) -> str:
        """What people call it."""

    @property
    def notebook(self) -> str:
        """The notebook that runs it."""

    def check(self, context: Context) -> list[Check]:
        """Return the preconditions, each with what was found; nothing is changed."""

    def plan(self, context: Context) -> Plan:
        """Return what is left to do; nothing is changed."""

    def apply(self, context: Context) -> Outcome:
        """Do what `plan` says, from wherever an earlier start stopped."""

    def verify(self, context: Context) -> Verification:
        """Compare what is there with what should be; nothing but the ledger is changed."""

    def require_undoable(self, context: Context) -> None:
        """Raise CannotUndo where undoing would lose data or pull the ground from under a later phase."""

    def undo(self, context: Context) -> Outcome:
        """Take the phase back; call `require_undoable` first."""


@dataclass(frozen=True)
class SchemaPhase:
    """A phase that is one Alembic revision: a list of DDL actions and the list that takes them back."""

    name: str
    title: str
    notebook: str
    revision: str
    before: str

    def actions(self) -> list[Action]:
        """Return every DDL statement of the phase, in order."""
        raise NotImplementedError

    def undo_actions(self) -> list[Action]:
        """Return the statements that take the phase back, in order.

        Probes tell which effects of `actions` are gone; that is how an apply or an undo that stopped
        half-way is recognised, so the last statement has one.
        """
        raise NotImplementedError

    def retreat_actions(self) -> list[Action]:
        """Return the statements that take an apply back that stopped half-way."""
        return self.undo_actions()

    def begun(self, connection: Connection) -> bool:
        """Return whether an apply stopped half-way: the revision did not move, and an effect is there."""
        if revisions.current(connection) != self.before:
            return False
        return any(step.done and not step.is_done(connection) for step in self.retreat_actions())

    def check(self, context: Context) -> list[Check]:
        """Return whether the database stands at the revision before this phase, or past it."""
        return [revision_check(context.connection, self.before)]

    def facts(self, context: Context) -> Mapping[str, int | str]:
        """Return figures worth reading before applying: rows and bytes of the tables touched."""
        return table_facts(context.connection)

    def plan(self, context: Context) -> Plan:
        """Return the actions not done yet; empty with a note when the database is past the phase."""
        if revisions.at_least(context.connection, self.revision):
            return Plan(self.name, (), note=f"done: the database is at or past revision {self.revision}")
        todo = tuple(step for step in self.actions() if not step.is_done(context.connection))
        ready = revisions.at_least(context.connection, self.before)
        return Plan(self.name, todo, self.facts(context) if ready else {})

    def apply(self, context: Context) -> Outcome:
        """Upgrade to this phase's revision; actions done by an earlier, killed start are left out."""
        todo = self.plan(context).actions
        revisions.upgrade(context.settings, self.revision)
        return Outcome(self.name, {"statements run": len(todo), "revision": self.revision})

    def verify(self, context: Context) -> Verification:
        """Ask the catalogue for the effect of every action that leaves one."""
        probes = [step for step in self.actions() if step.done]
        missing = [step.id for step in probes if not step.is_done(context.connection)]
        return Verification(self.name, len(probes), len(missing), {"statements": len(probes)}, tuple(missing))

    def require_undoable(self, context: Context) -> None:
        """Raise CannotUndo unless this phase's revision is the newest one, or its apply stopped half-way."""
        if not self.begun(context.connection):
            require_newest(context, self.revision)

    def undo(self, context: Context) -> Outcome:
        """Go back to the revision before this phase, from wherever an apply or an earlier undo stopped.

        The revision moves first: it never says more than what is there, so a killed undo leaves what
        a killed apply leaves, and both ways are open from it.
        """
        self.require_undoable(context)
        steps = self.retreat_actions() if self.begun(context.connection) else self.undo_actions()
        revisions.stamp(context.settings, self.before)
        ran = revisions.run_actions(context.connection, steps, context.settings.database)
        return Outcome(self.name, {"statements run": len(ran), "revision": self.before})

    def traces(self, connection: Connection) -> list[str]:
        """Return the ids of the actions whose effect the catalogue shows, applied or left by a killed start."""
        return [
            step.id for step in self.actions() if any(probe.wanted and probe.holds(connection) for probe in step.done)
        ]


def is_point_of_no_return(phase: Phase) -> bool:
    """Return whether a phase, however much of it is done already, holds a step that cannot be taken back."""
    return isinstance(phase, SchemaPhase) and any(not step.reversible for step in phase.actions())


def take_back(phase: Phase, closing: Sequence[str], context: Context) -> Outcome:
    """Undo a phase and close the gates of `closing`, itself and those after it, before anything is changed.

    Raises CannotUndo, with nothing changed, where the phase cannot be undone.
    """
    phase.require_undoable(context)
    close_gates(context, closing)
    outcome = phase.undo(context)
    close_gates(context, closing, finished=True)
    return outcome


def close_gates(context: Context, phases: Sequence[str], *, finished: bool = False) -> None:
    """Write down for all of `phases` at once that what they were verified for counts no longer."""
    with context.connection.transaction():
        for name in phases:
            ledger.record_undo(context.connection, name, context.run_id, finished=finished)


def require(checks: Iterable[Check]) -> None:
    """Raise CheckFailed naming every precondition that does not hold."""
    failed = [f"{check.subject}: {check.finding}" for check in checks if not check.holds]
    if failed:
        raise CheckFailed("Not ready. " + "; ".join(failed) + ".")


def require_newest(context: Context, revision: str) -> None:
    """Raise CannotUndo unless the database stands exactly at `revision`."""
    found = revisions.current(context.connection)
    if found != revision:
        side = "a later phase is applied" if found and found > revision else "the phase is not applied"
        raise CannotUndo(
            f"The database is at revision {found}, not at {revision}: {side}.", hint="Undo the newest phase first."
        )


def run_backfill(context: Context, task: BackfillTask) -> BackfillResult:
    """Run a backfill with the context's settings and progress; it opens sessions of its own."""
    return Backfill(context.settings, task, context.report, context.run_id).run()


def revision_check(connection: Connection, needed: str) -> Check:
    """Return the check that the database has reached revision `needed`."""
    found = revisions.current(connection)
    holds = found is not None and found >= needed
    return Check("schema revision", holds, f"at {found or 'none'}, needs {needed} or later")


def table_facts(connection: Connection) -> dict[str, int | str]:
    """Return rows (counted, or estimated and marked with a tilde) and bytes of both content tables."""
    figures: dict[str, int | str] = {}
    for source in ContentSource:
        figures[f"{source.table} rows"] = rows_of(connection, source).figure
        figures[f"{source.table} MB"] = round(size_of(connection, source.table).total_bytes / 1_000_000)
    return figures
