"""Roll back to the end of an earlier phase: undo every later one, newest first.

No step of the pipeline but a way back over it. It goes phase by phase, each undone as `genonaut
undo` does it, so that a killed start goes on with the phase it was in.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace

from psycopg import sql

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import CannotUndo
from genonaut_lib.migration import backfill, bulk, ledger, revisions
from genonaut_lib.migration.backfill import BackfillTask
from genonaut_lib.migration.phases import backfill_tag_uuids, cut_over
from genonaut_lib.migration.phases.base import Context, Phase, SchemaPhase, is_point_of_no_return, take_back
from genonaut_lib.migration.phases.drop_legacy_tags import is_empty
from genonaut_lib.migration.plan import Action, Check, Outcome, Plan, Verification, action
from genonaut_lib.vocabulary import ContentSource

LEGACY = "legacy"
"""The target before the first phase: the gallery as it was adopted."""
LOSSES = {
    "seed_tags": "tags, parents and aliases, with what was changed in them by hand; the names in the content stay",
    "expand_tag_columns": "nothing: the mirror kept the names true",
    "backfill_tag_uuids": "nothing: the names hold everything; filters by name are slow until the index is built",
    "drop_legacy_tags": "nothing: there is no content",
    "create_content_tags": "nothing: the arrays hold everything",
    "backfill_content_tags": "nothing: the arrays hold everything",
    "verify_content_tags": "its finding in the ledger",
    "attach_partitions": "nothing, but whoever reads content_items_all fails from here on",
    "create_sidecars": "nothing: it goes only while both sidecars are empty",
    "create_tag_bitmaps": "the bitmaps, which 40 builds anew; other strategies answer meanwhile",
    "create_gallery_stats": "the statistics, which 50 makes anew; cursors given out so far, with their key",
    "cut_over": "nothing: the arrays are rebuilt from the junction first; whoever writes the junction is refused "
    "from here on",
}


@dataclass(frozen=True)
class RollBack:
    """The roll back to `target`, the last phase that stays applied; `order` holds all phases as they are applied."""

    order: tuple[Phase, ...]
    target: str = ""
    name: str = "roll_back"
    title: str = "Roll back to an earlier phase"
    notebook: str = "90_roll_back"

    def check(self, context: Context) -> list[Check]:
        """Return whether the target is a phase that is applied, and no point of no return lies on the way."""
        known = [LEGACY, *(phase.name for phase in self.order)]
        if self.target not in known:
            return [Check("target", False, f"{self.target!r} is none; give one of {', '.join(known)}")]
        staying = self.order[: self._place()]
        reached = not staying or is_applied(context, self.order, staying[-1])
        finding = self.target if reached else f"{self.target} is not applied, so there is nothing to go back to"
        return [Check("target", reached, finding), self._no_return_check(context)]

    def plan(self, context: Context) -> Plan:
        """Return the undo statements of every phase to undo, newest first; the first of each says what is lost."""
        if self.check(context)[0].holds:
            going = self._going(context)
            steps = tuple(step for phase in going for step in undo_steps(phase))
            note = "" if steps else f"done: nothing after {self.target} is applied"
            return Plan(self.name, steps, {"phases to undo": len(going), "target": self.target}, note)
        return Plan(self.name, (), note="give the parameter target a phase that is applied")

    def apply(self, context: Context) -> Outcome:
        """Undo phase by phase, from wherever a killed start stopped."""
        going = self._going(context)
        for phase in going:
            self._take_back(phase, context)
        figures = {phase.name: "undone" for phase in going}
        return Outcome(self.name, {**figures, "revision": revisions.current(context.connection) or "none"})

    def verify(self, context: Context) -> Verification:
        """Check the revision, and that no later phase has left an object, rows of its own, or an open gate."""
        connection, later = context.connection, self.order[self._place() :]
        found, wanted = revisions.current(connection), self._revision()
        left = [] if found == wanted else [f"revision {found}, not {wanted}"]
        for phase in later:
            record = ledger.last_verification(connection, phase.name)
            left += [f"{phase.name} left {trace}" for trace in _traces(connection, phase)]
            left += [f"the gate of {phase.name} is open"] if record and record.passed else []
            left += [f"{phase.name} is applied"] if is_applied(context, self.order, phase) else []
        figures: dict[str, int | str] = {"target": self.target, "revision": found or "none", "undone": len(later)}
        return Verification(self.name, 1 + len(later), len(left), figures, tuple(left))

    def require_undoable(self, context: Context) -> None:
        """Raise CannotUndo: the way forward is the pipeline."""
        raise CannotUndo("A roll back is not undone.", hint="Run the phases again: `genonaut pipeline migrate`.")

    def undo(self, context: Context) -> Outcome:
        """Raise CannotUndo."""
        self.require_undoable(context)
        raise AssertionError("unreachable")

    def _place(self) -> int:
        """Return how many phases stay."""
        names = [phase.name for phase in self.order]
        return 0 if self.target == LEGACY else names.index(self.target) + 1

    def _revision(self) -> str:
        """Return the revision of a database that stands at the target."""
        staying = [phase.revision for phase in self.order[: self._place()] if isinstance(phase, SchemaPhase)]
        return staying[-1] if staying else revisions.LEDGER

    def _going(self, context: Context) -> list[Phase]:
        """Return the phases to undo, newest first."""
        later = reversed(self.order[self._place() :])
        return [phase for phase in later if is_applied(context, self.order, phase) or _begun(context, phase)]

    def _take_back(self, phase: Phase, context: Context) -> None:
        names = [one.name for one in self.order]
        take_back(phase, names[names.index(phase.name) :], context)

    def _no_return_check(self, context: Context) -> Check:
        passed = [phase for phase in self._going(context) if is_point_of_no_return(phase)]
        if not passed or is_empty(context.connection):
            return Check("point of no return", True, "not on the way")
        point = passed[0].name
        names = [phase.name for phase in self.order]
        possible = [name for name in names[names.index(point) :] if self._reachable(context, name)]
        remains = f"targets {', '.join(possible)}" if possible else f"run {passed[0].notebook} to its end"
        gone = f"{point} was applied or begun, and what it dropped cannot be made again"
        return Check("point of no return", False, f"{gone}; what remains: {remains}, or a backup from before")

    def _reachable(self, context: Context, name: str) -> bool:
        phase = next(phase for phase in self.order if phase.name == name)
        return is_applied(context, self.order, phase)


def is_applied(context: Context, order: tuple[Phase, ...], phase: Phase) -> bool:
    """Return whether a phase is applied, in whole or, for one that moves rows, in part."""
    connection = context.connection
    if isinstance(phase, SchemaPhase):
        return revisions.at_least(connection, phase.revision)
    grounds = [one for one in order[: order.index(phase)] if isinstance(one, SchemaPhase)]
    if grounds and not revisions.at_least(connection, grounds[-1].revision):
        return False
    record = ledger.last_verification(connection, phase.name)
    begun = backfill.status(connection, phase.name).ranges > 0
    half_undone = record is not None and record.details.get("undone") and not record.details.get("finished")
    return begun or bool(half_undone) or (record is not None and record.passed)


def undo_steps(phase: Phase) -> list[Action]:
    """Return what undoing a phase runs: its gate first, with what is lost, then statement by statement."""
    lost = LOSSES.get(phase.name, "see its notebook")
    close = action("close_gate", block("roll_back", "close_gate"), phase=sql.Literal(phase.name))
    steps = [replace(close, why=f"Lost: {lost}"), *UNDO_DATA.get(phase.name, list)()]
    if isinstance(phase, SchemaPhase):
        steps += phase.undo_actions()
    return [replace(step, id=f"{phase.name}/{step.id}") for step in steps]


def _begun(context: Context, phase: Phase) -> bool:
    return isinstance(phase, SchemaPhase) and phase.begun(context.connection)


def _traces(connection: Connection, phase: Phase) -> list[str]:
    return phase.traces(connection) if isinstance(phase, SchemaPhase) else []


def _batches(task: BackfillTask) -> list[Action]:
    steps = [action(f"batches:{source.table}", task.batch, table=source.table) for source in task.sources]
    return [replace(step, lock="ROW EXCLUSIVE, row locks of one batch") for step in steps]


def _empty_arrays() -> list[Action]:
    create = block("backfill_tag_uuids", "create_legacy_index")
    indexes = {source.table: f"idx_{source.table}_tags_gin" for source in ContentSource}
    built = [action(f"create:{index}", create, table=table, index=index) for table, index in indexes.items()]
    return [*_batches(backfill_tag_uuids.UNDO), *built]


def _empty_junction() -> list[Action]:
    return bulk.empty_actions()


def _rebuild_arrays() -> list[Action]:
    return [*cut_over.mirror_actions(), *_batches(cut_over.UNDO)]


UNDO_DATA: dict[str, Callable[[], list[Action]]] = {
    "backfill_tag_uuids": _empty_arrays,
    "backfill_content_tags": _empty_junction,
    "cut_over": _rebuild_arrays,
}
"""What the undo of a phase runs besides its DDL."""
