"""Fill `tags uuid[]` from the legacy names, batch by batch.

An element that means no tag goes to `workbench.unmapped_tags` with its place and the reason;
doubles within one array fall together. Nothing is dropped unsaid: elements found equals tags
written plus doubles plus quarantine.
"""

from __future__ import annotations

from dataclasses import dataclass

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.migration import backfill, revisions
from genonaut_lib.migration.backfill import BackfillTask
from genonaut_lib.migration.indexes import build_index
from genonaut_lib.migration.phases.base import (
    Context,
    require_newest,
    revision_check,
    run_backfill,
    table_facts,
)
from genonaut_lib.migration.plan import Action, Check, Outcome, Plan, Verification, action, probe
from genonaut_lib.migration.verify import compare
from genonaut_lib.vocabulary import ContentSource

FILE = "backfill_tag_uuids"
TASK = BackfillTask("backfill_tag_uuids", block(FILE, "batch"))
UNDO = BackfillTask("backfill_tag_uuids_undo", block(FILE, "empty_out"))


@dataclass(frozen=True)
class BackfillTagUuids:
    """Phase 12; see the module.

    `keep_legacy_index` leaves the GIN index on the old names in place: tag filters on `tags_old` stay
    fast while the backfill becomes many times slower.
    """

    name: str = "backfill_tag_uuids"
    title: str = "Backfill tag UUIDs from the legacy names"
    notebook: str = "12_backfill_tag_uuids"
    keep_legacy_index: bool = False

    def check(self, context: Context) -> list[Check]:
        """Return whether the new column is there to be filled."""
        return [revision_check(context.connection, revisions.EXPAND_TAG_COLUMNS)]

    def plan(self, context: Context) -> Plan:
        """Return what is left: the index to drop, the batches of each table with rows to fill, the vacuum."""
        if revisions.at_least(context.connection, revisions.DROP_LEGACY_TAGS):
            return Plan(self.name, (), note="done: the legacy column is gone")
        todo = [source for source in ContentSource if has_untagged(context.connection, source)]
        steps = [] if self.keep_legacy_index else [_drop_index(source) for source in todo]
        steps += [_batch_action(source) for source in todo] + [_vacuum(source) for source in todo]
        left = tuple(step for step in steps if not step.is_done(context.connection))
        return Plan(self.name, left, table_facts(context.connection) if left else {})

    def apply(self, context: Context) -> Outcome:
        """Run the backfill to its end, from the last checkpoint."""
        steps = self.plan(context).actions
        if not steps:
            return Outcome(self.name, {"items changed": 0})
        ddl = [step for step in steps if not step.id.startswith("backfill:")]
        self._run(context, [step for step in ddl if step.id.startswith("drop:")])
        if backfill.status(context.connection, TASK.name).complete:
            # Rows without ids below a finished cursor come from an undone apply: begin anew.
            backfill.forget(context.connection, TASK.name)
        result = run_backfill(context, TASK)
        self._run(context, [step for step in ddl if step.id.startswith("vacuum:")])
        figures = {"items read": result.rows_read, "items changed": result.rows_changed}
        return Outcome(self.name, {**figures, "batches": result.batches, "retries": result.retries})

    def verify(self, context: Context) -> Verification:
        """Compare every row's ids with what its names mean, computed another way than by the backfill."""
        if revisions.at_least(context.connection, revisions.DROP_LEGACY_TAGS):
            return Verification(self.name, 0, 0, {"note": "verified before the legacy column was dropped"})
        found = compare(context.connection, block(FILE, "mismatches"))
        figures = self.figures(context)
        return Verification(self.name, found.examined, found.mismatches, figures, tuple(found.samples))

    def figures(self, context: Context) -> dict[str, int | str]:
        """Return the balance: elements found, tags written, quarantined by reason, doubles merged."""
        elements = tags = 0
        for source in ContentSource:
            row = context.connection.execute(block(FILE, "element_counts").sql(table=source.table)).fetchone()
            assert row is not None
            elements, tags = elements + int(row[0]), tags + int(row[1])
        reasons = context.connection.execute(block(FILE, "unmapped_by_reason").sql()).fetchall()
        unmapped = {f"unmapped {reason}": int(count) for reason, count, _, _ in reasons}
        in_arrays = sum(count for reason, count in unmapped.items() if reason != "unmapped not_an_array")
        return {
            "elements found": elements,
            "tags written": tags,
            **unmapped,
            "doubles merged": elements - tags - in_arrays,
        }

    def require_undoable(self, context: Context) -> None:
        """Raise CannotUndo while a later phase is applied."""
        require_newest(context, revisions.EXPAND_TAG_COLUMNS)

    def undo(self, context: Context) -> Outcome:
        """Set the new column back to null everywhere and build the legacy index again; the names are untouched."""
        self.require_undoable(context)
        backfill.forget(context.connection, UNDO.name)
        result = run_backfill(context, UNDO)
        create = block(FILE, "create_legacy_index")
        for source in ContentSource:
            self._run(context, build_index(create, source.table, _index(source)))
        for task in (TASK.name, UNDO.name):
            backfill.forget(context.connection, task)
        return Outcome(self.name, {"items cleared": result.rows_changed})

    def _run(self, context: Context, steps: list[Action]) -> None:
        revisions.run_actions(context.connection, steps, context.settings.database)


def has_untagged(connection: Connection, source: ContentSource) -> bool:
    """Return whether a row of the source waits for its tag ids."""
    row = connection.execute(block(FILE, "untagged").sql(table=source.table)).fetchone()
    return bool(row and row[0])


def _index(source: ContentSource) -> str:
    return f"idx_{source.table}_tags_gin"


def _drop_index(source: ContentSource) -> Action:
    index = _index(source)
    gone = probe("has_relation", index, wanted=False)
    return action(f"drop:{index}", block(FILE, "drop_legacy_index"), done=gone, index=index)


def _vacuum(source: ContentSource) -> Action:
    return action(f"vacuum:{source.table}", block("upkeep", "vacuum"), table=source.table)


def _batch_action(source: ContentSource) -> Action:
    step = action(f"backfill:{source.table}", TASK.batch, table=source.table)
    return Action(step.id, step.statement, "ROW EXCLUSIVE, row locks of one batch", step.why)
