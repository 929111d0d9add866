"""Fill the junction from the arrays, batch by batch, while the triggers carry what is written meanwhile."""

from __future__ import annotations

from dataclasses import dataclass

from genonaut_lib.db.statements import block
from genonaut_lib.migration import backfill, revisions
from genonaut_lib.migration.backfill import BackfillTask
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
from genonaut_lib.migration.verify import SAMPLES, Comparison, compare
from genonaut_lib.vocabulary import ContentSource

FILE = "backfill_content_tags"
TASK = BackfillTask("backfill_content_tags", block(FILE, "batch"))
VACUUM = action("vacuum:content_tags", block("upkeep", "vacuum"), table="content_tags")


@dataclass(frozen=True)
class BackfillContentTags:
    """Phase 21; see the module."""

    name: str = "backfill_content_tags"
    title: str = "Backfill the junction from the arrays"
    notebook: str = "21_backfill_content_tags"

    def check(self, context: Context) -> list[Check]:
        """Return whether the junction and its triggers are there, and every id in the arrays has its tag."""
        checks = [revision_check(context.connection, revisions.CREATE_CONTENT_TAGS)]
        if junction_is_truth(context.connection):
            return [*checks, settled_check()]
        for source in ContentSource if checks[0].holds else ():
            rows = context.connection.execute(block(FILE, "unknown_ids").sql(table=source.table)).fetchall()
            named = ", ".join(f"item {item}: {tag}" for item, tag in rows) or "every id has its tag"
            checks.append(Check(f"ids in {source.table}.tags", not rows, named))
        return checks

    def plan(self, context: Context) -> Plan:
        """Return the batches of each table and the vacuum, or nothing once every range is worked off."""
        if junction_is_truth(context.connection):
            return settled_plan(self.name)
        if backfill.status(context.connection, TASK.name).complete:
            return Plan(self.name, (), note="done: every range is worked off, the triggers carry the rest")
        ready = revisions.at_least(context.connection, revisions.CREATE_CONTENT_TAGS)
        facts = table_facts(context.connection)
        if ready:
            facts["relationships to come"] = expected_relationships(context)
        return Plan(self.name, (*(_batch_action(source) for source in ContentSource), VACUUM), facts)

    def apply(self, context: Context) -> Outcome:
        """Run the backfill to its end, from the last checkpoint."""
        if not self.plan(context).actions:
            return Outcome(self.name, {"relationships written": 0})
        result = run_backfill(context, TASK)
        revisions.run_actions(context.connection, [VACUUM], context.settings.database)
        figures = {"items read": result.rows_read, "relationships written": result.rows_changed}
        return Outcome(self.name, {**figures, "batches": result.batches, "retries": result.retries})

    def verify(self, context: Context) -> Verification:
        """Compare arrays and junction pair by pair, both ways."""
        if junction_is_truth(context.connection):
            return settled(self.name)
        found = compare_junction(context)
        return Verification(
            self.name, found.examined, found.mismatches, junction_figures(context), tuple(found.samples)
        )

    def require_undoable(self, context: Context) -> None:
        """Raise CannotUndo while a later phase is applied."""
        require_newest(context, revisions.CREATE_CONTENT_TAGS)

    def undo(self, context: Context) -> Outcome:
        """Empty the junction and forget the checkpoints; the arrays hold everything."""
        self.require_undoable(context)
        backfill.forget(context.connection, TASK.name)
        removed = 0
        for source in ContentSource:
            cursor = context.connection.execute(block(FILE, "empty_out").sql(), {"source": source.junction})
            removed += cursor.rowcount
        return Outcome(self.name, {"relationships removed": removed})


def compare_junction(context: Context) -> Comparison:
    """Return every difference between arrays and junction, orphans beyond the last item included."""
    found = compare(context.connection, block(FILE, "mismatches"))
    for source in ContentSource:
        values = {"source": source.junction, "limit": SAMPLES}
        beyond = block(FILE, "beyond").sql(table=source.table)
        found.add(source, context.connection.execute(beyond, values).fetchall())
    return found


def junction_figures(context: Context) -> dict[str, int | str]:
    """Return relationships and distinct tags by source."""
    figures: dict[str, int | str] = {}
    for source in ContentSource:
        row = context.connection.execute(block(FILE, "counts").sql(), {"source": source.junction}).fetchone()
        assert row is not None
        figures[f"relationships {source.junction}"] = int(row[0])
        figures[f"tags used {source.junction}"] = int(row[1])
    return figures


def _batch_action(source: ContentSource) -> Action:
    step = action(f"backfill:{source.table}", TASK.batch, table=source.table)
    return Action(step.id, step.statement, "ROW EXCLUSIVE on content_tags, row share of one batch", step.why)
