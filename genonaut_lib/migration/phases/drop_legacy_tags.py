"""Drop `tags_old`: the point of no return.

Refuses until the ledger holds a passed verification of the UUID backfill, until no row waits for
its ids, and until the caller typed the confirmation.
"""

from __future__ import annotations

from dataclasses import dataclass

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import CannotUndo, ConfirmationMissing
from genonaut_lib.migration import ledger, revisions
from genonaut_lib.migration.phases.backfill_tag_uuids import has_untagged
from genonaut_lib.migration.phases.base import Context, SchemaPhase
from genonaut_lib.migration.phases.expand_tag_columns import create_mirror, require_whole_names
from genonaut_lib.migration.plan import Action, Check, Outcome, action, probe
from genonaut_lib.vocabulary import ContentSource

FILE = "drop_legacy_tags"
CONFIRMATION = "drop tags_old for ever"
GATE = ("backfill_tag_uuids", "12_backfill_tag_uuids")


@dataclass(frozen=True)
class DropLegacyTags(SchemaPhase):
    """Phase 13; see the module. `confirm` must be the text of CONFIRMATION."""

    name: str = "drop_legacy_tags"
    title: str = "Drop the legacy tag names"
    notebook: str = "13_drop_legacy_tags"
    revision: str = revisions.DROP_LEGACY_TAGS
    before: str = revisions.EXPAND_TAG_COLUMNS
    confirm: str = ""

    def check(self, context: Context) -> list[Check]:
        """Besides the revision: the UUID backfill is verified and no row was left behind since."""
        checks = super().check(context)
        if revisions.at_least(context.connection, self.revision):
            return checks
        record = ledger.last_verification(context.connection, GATE[0])
        found = "never verified" if record is None else f"{record.mismatches} mismatches, {record.verified_at:%F %T}"
        passed = record is not None and record.passed
        checks.append(Check("UUID backfill verified", passed, f"{found}; run {GATE[1]}" if not passed else found))
        waiting = [source.table for source in ContentSource if has_untagged(context.connection, source)]
        finding = f"rows without ids in {', '.join(waiting)}; run {GATE[1]}" if waiting else "none left"
        return [*checks, Check("rows without ids", not waiting, finding)]

    def actions(self) -> list[Action]:
        """Prove NOT NULL without a scan under the lock, stop the mirror, drop the column."""
        steps: list[Action] = []
        for source in ContentSource:
            steps += _not_null(source.table)
        for source in ContentSource:
            gone = probe("has_column", source.table, wanted=False, column="tags_old")
            drop = block(FILE, "drop_legacy_column")
            steps.append(action(f"drop:{source.table}.tags_old", drop, done=gone, reversible=False, table=source.table))
        return [*steps, action("drop:mirror_function", block("expand_tag_columns", "drop_mirror_function"))]

    def undo_actions(self) -> list[Action]:
        """Give empty tables their legacy column, index and mirror back."""
        steps: list[Action] = []
        for source in ContentSource:
            table = source.table
            there = probe("has_column", table, column="tags_old")
            steps.append(
                action(f"restore:{table}.tags_old", block(FILE, "restore_legacy_column"), done=there, table=table)
            )
            index = f"idx_{table}_tags_gin"
            steps.append(action(f"create:{index}", block(FILE, "restore_gin_index"), table=table, index=index))
        return steps + create_mirror()

    def retreat_actions(self) -> list[Action]:
        """Take the proofs of NOT NULL back; of use only before the first column is dropped."""
        return [step for source in ContentSource for step in _nullable(source.table)]

    def apply(self, context: Context) -> Outcome:
        """Drop the column; raise ConfirmationMissing unless `confirm` is the agreed text."""
        todo = self.plan(context).actions
        if todo:
            require_confirmed(self.confirm)
        revisions.upgrade(context.settings, self.revision, self.confirm)
        return Outcome(self.name, {"statements run": len(todo), "revision": self.revision})

    def require_undoable(self, context: Context) -> None:
        """Raise CannotUndo while there is content, since its names are gone; before the drop, allow it."""
        super().require_undoable(context)
        if self.begun(context.connection):
            require_whole_names(context.connection)
        else:
            require_empty(context.connection)

    def undo(self, context: Context) -> Outcome:
        """Take the proofs back before the drop; after it, give empty tables their legacy column back."""
        self.require_undoable(context)
        if self.begun(context.connection):
            return super().undo(context)
        # Statements first, revision last: a killed undo is found at this phase's revision again.
        revisions.downgrade(context.settings, self.before)
        return Outcome(self.name, {"revision": self.before})


def gate(connection: Connection, confirm: str) -> None:
    """Raise GateClosed for content not verified, ConfirmationMissing for a drop nobody typed out."""
    if not is_empty(connection):
        revisions.require_verified(connection, *GATE)
        require_confirmed(confirm)


def require_confirmed(confirm: str) -> None:
    """Raise ConfirmationMissing unless `confirm` is the agreed text."""
    if confirm != CONFIRMATION:
        raise ConfirmationMissing(
            "Dropping tags_old cannot be undone.",
            hint=f'Give the parameter confirm="{CONFIRMATION}" (alembic: -x confirm="{CONFIRMATION}").',
        )


def require_empty(connection: Connection) -> None:
    """Raise CannotUndo while either content table holds a row."""
    if not is_empty(connection):
        raise CannotUndo(
            "The legacy tag names were dropped and cannot be made again.", hint="Restore a backup from before."
        )


def require_no_content(connection: Connection) -> None:
    """Raise CannotUndo while either content table holds a row: the workbench drops nobody's content."""
    if not is_empty(connection):
        raise CannotUndo("The gallery holds content, which the workbench does not drop.")


def require_no_quarantine(connection: Connection) -> None:
    """Raise CannotUndo while the ledger holds quarantined elements: after step 13 it is their only copy."""
    row = connection.execute(block("catalog", "is_empty").sql(table="workbench.unmapped_tags")).fetchone()
    if row is not None and not row[0]:
        raise CannotUndo("workbench.unmapped_tags holds elements that exist nowhere else.", hint="Copy them first.")


def is_empty(connection: Connection) -> bool:
    """Return whether both content tables are without a row."""
    rows = [
        connection.execute(block("catalog", "is_empty").sql(table=source.table)).fetchone() for source in ContentSource
    ]
    return all(row is not None and row[0] for row in rows)


def _not_null(table: str) -> list[Action]:
    """Return the statements that make `tags` NOT NULL without a scan under an exclusive lock."""
    constraint = f"{table}_tags_present"
    proved = probe("column_is_not_null", table, column="tags")
    there = probe("has_constraint", table, constraint=constraint)
    valid = probe("has_valid_constraint", table, constraint=constraint)
    add, validate = block(FILE, "add_present_check"), block(FILE, "validate_present_check")
    drop = block(FILE, "drop_present_check")
    return [
        action(f"add:{constraint}", add, done=(proved, there), table=table, constraint=constraint),
        action(f"validate:{constraint}", validate, done=(proved, valid), table=table, constraint=constraint),
        action(f"not_null:{table}.tags", block(FILE, "set_not_null"), done=proved, table=table),
        action(f"drop:{constraint}", drop, table=table, constraint=constraint),
    ]


def _nullable(table: str) -> list[Action]:
    """Return the statements that take `_not_null` back."""
    constraint = f"{table}_tags_present"
    gone = probe("has_constraint", table, wanted=False, constraint=constraint)
    nullable = probe("column_is_not_null", table, wanted=False, column="tags")
    return [
        action(f"drop:{constraint}", block(FILE, "drop_present_check"), done=gone, table=table, constraint=constraint),
        action(f"nullable:{table}.tags", block(FILE, "drop_not_null"), done=nullable, table=table),
    ]
