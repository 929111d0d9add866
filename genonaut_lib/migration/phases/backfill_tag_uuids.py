"""Fill `tags uuid[]` from the legacy names, batch by batch.

An element that means no tag goes to `workbench.unmapped_tags` with its place and the reason, a double
that falls together with an earlier one to `workbench.repaired_tags`. Nothing is dropped unsaid: elements
found equals tags written plus doubles plus quarantine, in every row. Spellings that no seeding saw are
judged after the first pass; their rows are then mapped once more.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.migration import backfill, decisions, revisions, spellings
from genonaut_lib.migration.backfill import BackfillResult, BackfillTask
from genonaut_lib.migration.comparison import Comparison
from genonaut_lib.migration.indexes import build_index
from genonaut_lib.migration.phases.base import (
    Context,
    require_newest,
    revision_check,
    run_backfill,
    table_facts,
)
from genonaut_lib.migration.plan import Action, Check, Outcome, Plan, Verification, action, probe
from genonaut_lib.migration.policies import DirtyKind, Policy, defaults, policy_text
from genonaut_lib.migration.verify import compare
from genonaut_lib.vocabulary import ContentSource

FILE = "backfill_tag_uuids"
TASK = BackfillTask("backfill_tag_uuids", block(FILE, "batch"))
COMPARISON = Comparison(
    TASK.name, (TASK.name,), *(block("verify_tag_uuids", name) for name in ("sums", "sums", "keys"))
)
LATE = BackfillTask("backfill_tag_uuids_late", block(FILE, "release_late"))
UNDO = BackfillTask("backfill_tag_uuids_undo", block(FILE, "empty_out"))


@dataclass(frozen=True)
class BackfillTagUuids:
    """Phase 12; see the module.

    `keep_legacy_index` leaves the GIN index on the old names in place: tag filters on `tags_old` stay
    fast while the backfill becomes many times slower. `dirty` says what becomes of doubles and of names
    that no seeding saw, as `duplicate=quarantine`; the other kinds are decided by the seeding.
    """

    name: str = "backfill_tag_uuids"
    title: str = "Backfill tag UUIDs from the legacy names"
    notebook: str = "12_backfill_tag_uuids"
    keep_legacy_index: bool = False
    dirty: str = ""

    def check(self, context: Context) -> list[Check]:
        """Return whether the new column is there to be filled."""
        return [revision_check(context.connection, revisions.EXPAND_TAG_COLUMNS)]

    def plan(self, context: Context) -> Plan:
        """Return what is left: the index to drop, the batches of each table with rows to fill, the vacuum.

        Raises InvalidInput for a policy that does not exist, PolicyFixed for one that comes too late.
        """
        decided = decisions.in_force(context.connection, self.name)
        if decided:
            decisions.require_kept(context.connection, self.name, self.dirty, self.name)
        if revisions.at_least(context.connection, revisions.DROP_LEGACY_TAGS):
            return Plan(self.name, (), note="done: the legacy column is gone")
        left = tuple(step for step in self._steps(context.connection) if not step.is_done(context.connection))
        policy = {"policy": policy_text(decided or self.policy())}
        return Plan(self.name, left, table_facts(context.connection) | policy if left else {})

    def policy(self) -> Policy:
        """Return what is decided for each kind this phase decides."""
        return decisions.wanted(self.name, self.dirty)

    def _steps(self, connection: Connection) -> list[Action]:
        late = has_unseen(connection)
        todo = [source for source in ContentSource if late or has_untagged(connection, source)]
        steps = [] if self.keep_legacy_index else [_drop_index(source) for source in todo]
        steps += [_batch_action(source) for source in todo]
        if todo:
            steps.append(action("settle:late_spellings", block("seed_tags", "insert_late_spellings")))
        return steps + [_vacuum(source) for source in todo]

    def apply(self, context: Context) -> Outcome:
        """Run the backfill to its end, from the last checkpoint."""
        steps = self.plan(context).actions
        if not steps:
            return Outcome(self.name, {"items changed": 0})
        if not decisions.in_force(context.connection, self.name):
            with context.connection.transaction():
                decisions.decide(context.connection, self.name, self.policy())
        self._run(context, [step for step in steps if step.id.startswith("drop:")])
        results = [_fill(context)]
        if has_unseen(context.connection):
            results += _fill_late(context)
        self._run(context, [step for step in steps if step.id.startswith("vacuum:")])
        return Outcome(self.name, _figures_of(results))

    def verify(self, context: Context) -> Verification:
        """Compare every row's ids with what its names mean, computed another way than by the backfill.

        A row whose elements are not accounted for counts as a mismatch, too.
        """
        if revisions.at_least(context.connection, revisions.DROP_LEGACY_TAGS):
            return Verification(self.name, 0, 0, {"note": "verified before the legacy column was dropped"})
        found = compare(context.settings, COMPARISON, context.report)
        figures = self.figures(context)
        verification = found.verification(figures)
        return replace(verification, mismatches=verification.mismatches + int(figures["items out of balance"]))

    def figures(self, context: Context) -> dict[str, int | str]:
        """Return the balance: elements found, tags written, quarantined by reason, doubles merged."""
        found = [_balance(context.connection, source) for source in ContentSource]
        elements, tags, unmapped, merged, unbalanced = map(sum, zip(*found, strict=True))
        reasons = context.connection.execute(block(FILE, "unmapped_by_reason").sql()).fetchall()
        by_reason = {f"unmapped {reason}": int(count) for reason, count, _, _ in reasons}
        gone = sum(by_reason.values()) - unmapped
        return {
            "elements found": elements,
            "tags written": tags,
            **by_reason,
            # Only where an item was written or deleted after its elements went into quarantine.
            **({"of these in items changed since": gone} if gone else {}),
            "doubles merged": merged,
            "items out of balance": unbalanced,
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
        with context.connection.transaction():
            _forget(context.connection)
        return Outcome(self.name, {"items cleared": result.rows_changed})

    def _run(self, context: Context, steps: list[Action]) -> None:
        revisions.run_actions(context.connection, steps, context.settings.database)


def _fill(context: Context) -> BackfillResult:
    undoing = backfill.status(context.connection, UNDO.name).ranges
    if undoing or backfill.status(context.connection, TASK.name).complete:
        # Rows without ids below the cursor come from an undo, a killed one too, or wait for a late spelling.
        for task in (TASK.name, UNDO.name):
            backfill.forget(context.connection, task)
    return run_backfill(context, TASK)


def _fill_late(context: Context) -> list[BackfillResult]:
    """Judge what the first pass met for the first time, and map the rows concerned once more."""
    connection = context.connection
    seeded = defaults("seed_tags") | decisions.in_force(connection, "seed_tags")
    unknown = decisions.in_force(connection, "backfill_tag_uuids")[DirtyKind.UNKNOWN_NAME]
    spellings.settle_late(connection, seeded, unknown)
    backfill.forget(connection, LATE.name)
    run_backfill(context, LATE)
    backfill.forget(connection, LATE.name)
    result = _fill(context)
    connection.execute(block(FILE, "settle_deleted").sql())
    return [result]


def _figures_of(results: list[BackfillResult]) -> dict[str, int]:
    """Return the figures of all passes; rows read are those of the first, which reads every one."""
    return {
        "items read": results[0].rows_read,
        "items changed": sum(result.rows_changed for result in results),
        "batches": sum(result.batches for result in results),
        "retries": sum(result.retries for result in results),
    }


def _forget(connection: Connection) -> None:
    """Take out of the ledger, and out of the aliases, whatever the backfill put there."""
    for name in ("forget_late_aliases", "forget_late_spellings"):
        connection.execute(block("seed_tags", name).sql())
    for name in ("clear_records", "clear_repairs"):
        connection.execute(block(FILE, name).sql())
    decisions.forget(connection, "backfill_tag_uuids")
    for task in (TASK, LATE, UNDO):
        backfill.forget(connection, task.name)


def _balance(connection: Connection, source: ContentSource) -> tuple[int, ...]:
    """Return elements, tags, quarantined and merged elements, and rows where they do not add up."""
    statement = block(FILE, "balance").sql(table=source.table)
    row = connection.execute(statement, {"source": source.junction}).fetchone()
    assert row is not None
    return tuple(map(int, row))


def has_unseen(connection: Connection) -> bool:
    """Return whether the backfill met an element that nobody has judged yet."""
    row = connection.execute(block(FILE, "unseen").sql()).fetchone()
    return bool(row and row[0])


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
