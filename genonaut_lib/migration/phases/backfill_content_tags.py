"""Fill the junction from the arrays: in bulk when it is new, online when it is not to be touched.

Online, every batch goes in under all constraints and indexes while the triggers carry what is written
meanwhile. In bulk the junction is loaded bare and its indexes are built afterwards, which is several
times faster; until the end nobody can read it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import InvalidInput
from genonaut_lib.migration import backfill, bulk, revisions
from genonaut_lib.migration.backfill import BackfillTask
from genonaut_lib.migration.junction_check import verify_junction
from genonaut_lib.migration.phases.base import (
    Context,
    require_newest,
    revision_check,
    run_backfill,
    table_facts,
)
from genonaut_lib.migration.phases.create_content_tags import expected_relationships
from genonaut_lib.migration.phases.truth import junction_is_truth, settled, settled_check, settled_plan
from genonaut_lib.migration.plan import Action, Check, Outcome, Plan, Verification, action
from genonaut_lib.vocabulary import ContentSource

FILE = "backfill_content_tags"
TASK = BackfillTask(
    "backfill_content_tags", block(FILE, "batch"), writes=("content_tags",), careful=block(FILE, "careful_batch")
)
VACUUM = action("vacuum:content_tags", block("upkeep", "vacuum"), table="content_tags")
MODES = ("auto", "bulk", "online")


@dataclass(frozen=True)
class BackfillContentTags:
    """Phase 21; see the module.

    `mode` is `bulk`, `online`, or `auto`: bulk unless an online backfill was begun.
    """

    name: str = "backfill_content_tags"
    title: str = "Backfill the junction from the arrays"
    notebook: str = "21_backfill_content_tags"
    mode: str = "auto"

    def check(self, context: Context) -> list[Check]:
        """Return whether the junction and its triggers are there, and every id in the arrays has its tag."""
        checks = [revision_check(context.connection, revisions.CREATE_CONTENT_TAGS)]
        if not checks[0].holds:
            return checks
        if junction_is_truth(context.connection):
            return [*checks, settled_check()]
        checks.append(self._mode_check(context.connection))
        for source in ContentSource:
            rows = context.connection.execute(block(FILE, "unknown_ids").sql(table=source.table)).fetchall()
            named = ", ".join(f"item {item}: {tag}" for item, tag in rows) or "every id has its tag"
            checks.append(Check(f"ids in {source.table}.tags", not rows, named))
        return checks

    def _mode_check(self, connection: Connection) -> Check:
        """Return whether what was begun goes on the way it was begun."""
        if self.mode not in MODES:
            raise InvalidInput(f"There is no mode {self.mode!r}.", hint=f"Known: {', '.join(MODES)}.")
        begun = begun_mode(connection)
        fits = begun is None or self.mode in ("auto", begun)
        finding = f"{begun or self.mode}" if fits else f"begun {begun}; undo it first, or leave the mode to `auto`"
        return Check("mode", fits, finding)

    def plan(self, context: Context) -> Plan:
        """Return the steps that are left, or nothing once the junction is filled and whole."""
        connection = context.connection
        if not revisions.at_least(connection, revisions.CREATE_CONTENT_TAGS):
            return Plan(self.name, (*self._actions(context, "bulk"), VACUUM))
        if junction_is_truth(connection):
            return settled_plan(self.name)
        if is_filled(connection):
            return Plan(self.name, (), note="done: every range is worked off, the triggers carry the rest")
        mode = self._chosen(connection)
        facts = {**table_facts(connection), "relationships to come": expected_relationships(context), "mode": mode}
        steps = self._actions(context, mode)
        if begun_mode(connection) == "bulk":
            steps = [step for step in steps if not step.is_done(connection)]
        # Before a bulk load begins its indexes are there, but its first step drops them: nothing is done yet.
        return Plan(self.name, (*steps, VACUUM), facts)

    def _chosen(self, connection: Connection) -> str:
        return begun_mode(connection) or ("bulk" if self.mode == "auto" else self.mode)

    def _actions(self, context: Context, mode: str) -> list[Action]:
        if mode == "bulk":
            return bulk.actions(context.settings)
        return [_batch_action(source) for source in ContentSource]

    def apply(self, context: Context) -> Outcome:
        """Fill the junction to its end, from wherever an earlier start stopped."""
        if not self.plan(context).actions:
            return Outcome(self.name, {"relationships written": 0})
        mode = self._chosen(context.connection)
        figures: dict[str, int | float | str] = {"mode": mode}
        if mode == "bulk":
            done = bulk.fill(context)
            result = done.loaded
            figures["changed meanwhile"] = done.items_caught_up
        else:
            result = run_backfill(context, TASK)
        revisions.run_actions(context.connection, [VACUUM], context.settings.database)
        figures |= {"items read": result.rows_read, "relationships written": result.rows_changed}
        return Outcome(self.name, {**figures, "batches": result.batches, "retries": result.retries})

    def verify(self, context: Context) -> Verification:
        """Compare arrays and junction pair by pair, both ways."""
        if junction_is_truth(context.connection):
            return settled(self.name)
        return verify_junction(context, self.name)

    def require_undoable(self, context: Context) -> None:
        """Raise CannotUndo while a later phase is applied."""
        require_newest(context, revisions.CREATE_CONTENT_TAGS)

    def undo(self, context: Context) -> Outcome:
        """Empty the junction and forget the checkpoints; the arrays hold everything."""
        self.require_undoable(context)
        removed = sum(backfill.status(context.connection, task.name).rows_changed for task in (TASK, bulk.LOAD))
        for task in (TASK, bulk.LOAD):
            backfill.forget(context.connection, task.name)
        revisions.run_actions(context.connection, bulk.empty_actions(), context.settings.database)
        return Outcome(self.name, {"relationships removed": removed})


def begun_mode(connection: Connection) -> str | None:
    """Return how the junction is being filled, or was; None before anything was done."""
    if backfill.status(connection, TASK.name).ranges:
        return "online"
    if bulk.NOTING.holds(connection) or backfill.status(connection, bulk.LOAD.name).ranges:
        return "bulk"
    return None


def is_filled(connection: Connection) -> bool:
    """Return whether the junction was filled to its end, in either way, and has all its keys."""
    tasks = (TASK, bulk.LOAD)
    return any(backfill.status(connection, task.name).complete for task in tasks) and bulk.is_whole(connection)


def _batch_action(source: ContentSource) -> Action:
    step = action(f"backfill:{source.table}", TASK.batch, table=source.table)
    return replace(step, lock="ROW EXCLUSIVE on content_tags, row share of one batch")
