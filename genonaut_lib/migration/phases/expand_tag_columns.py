"""Rename `tags` to `tags_old` and add `tags uuid[]` beside it, on both content tables.

Catalogue only. A trigger keeps `tags_old` true for whoever writes the new column, so going back
loses nothing until the legacy column is dropped.
"""

from __future__ import annotations

from dataclasses import dataclass

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import CannotUndo
from genonaut_lib.migration import backfill, revisions
from genonaut_lib.migration.backfill import forget_action
from genonaut_lib.migration.phases.base import Context, SchemaPhase
from genonaut_lib.migration.plan import Action, Check, Probe, Verification, action, probe
from genonaut_lib.vocabulary import ContentSource

FILE = "expand_tag_columns"
TRIGGERS = ("mirror_on_insert", "mirror_on_update")


@dataclass(frozen=True)
class ExpandTagColumns(SchemaPhase):
    """Phase 11; see the module."""

    name: str = "expand_tag_columns"
    title: str = "Add the tags uuid[] column beside the legacy names"
    notebook: str = "11_expand_tag_columns"
    revision: str = revisions.EXPAND_TAG_COLUMNS
    before: str = revisions.SEED_TAGS

    def check(self, context: Context) -> list[Check]:
        """Besides the revision: both legacy columns are JSONB, unless they were swapped already."""
        checks = super().check(context)
        if revisions.at_least(context.connection, self.revision):
            return checks
        for source in ContentSource:
            swapped = _swapped(source.table).holds(context.connection)
            row = context.connection.execute(
                block("catalog", "column_type").sql(), {"relation": source.table, "column": "tags"}
            ).fetchone()
            found = str(row[0]) if row else "missing"
            checks.append(Check(f"{source.table}.tags", swapped or found == "jsonb", found))
        return checks

    def verify(self, context: Context) -> Verification:
        """Ask the catalogue, unless the legacy column, and the mirror with it, has been dropped since."""
        if revisions.at_least(context.connection, revisions.DROP_LEGACY_TAGS):
            return Verification(self.name, 0, 0, {"note": "verified before the legacy column was dropped"})
        return super().verify(context)

    def require_undoable(self, context: Context) -> None:
        """Raise CannotUndo while the column's backfill is applied, or once the legacy column is going."""
        super().require_undoable(context)
        if not self.begun(context.connection):
            require_whole(context.connection)

    def actions(self) -> list[Action]:
        """The mirror function first, so that no row is written between the column and its trigger's body."""
        steps = [action("create:mirror_function", block(FILE, "create_mirror_function"))]
        for source in ContentSource:
            swap = block(FILE, "swap_tags_column")
            steps.append(action(f"swap:{source.table}", swap, done=_swapped(source.table), table=source.table))
        return steps

    def undo_actions(self) -> list[Action]:
        """Drop the new column with its mirror, give the legacy column its name back."""
        steps = [forget_action("backfill_tag_uuids")]
        for source in ContentSource:
            table = source.table
            still_there = probe("has_column", table, wanted=False, column="tags_old")
            steps.append(action(f"restore:{table}", block(FILE, "restore_tags_column"), done=still_there, table=table))
        gone = probe("has_function", "mirror_tags_to_names()", wanted=False)
        return [*steps, action("drop:mirror_function", block(FILE, "drop_mirror_function"), done=gone)]


def create_mirror() -> list[Action]:
    """Return the actions that mirror the new column into the old one on tables that have both."""
    steps = [action("create:mirror_function", block(FILE, "create_mirror_function"))]
    return steps + [
        action(f"create:{name}:{source.table}", block(FILE, f"create_{name}"), table=source.table)
        for source in ContentSource
        for name in TRIGGERS
    ]


def require_whole(connection: Connection) -> None:
    """Raise CannotUndo once a legacy column is gone, or while the backfill of the new one is applied."""
    require_whole_names(connection)
    if backfill.status(connection, "backfill_tag_uuids").ranges:
        raise CannotUndo("The backfill of the new column is applied.", hint="`genonaut undo backfill_tag_uuids` first.")


def require_whole_names(connection: Connection) -> None:
    """Raise CannotUndo once 13 has dropped a legacy column: its table cannot get it back."""
    if any(_lost_names(connection, source.table) for source in ContentSource):
        raise CannotUndo(
            "13_drop_legacy_tags has begun to drop.", hint="Run it to its end, or restore a backup from before."
        )


def _lost_names(connection: Connection, table: str) -> bool:
    """Whether a table has the new column only; one whose swap was taken back has its names in `tags`."""
    row = connection.execute(block("catalog", "column_type").sql(), {"relation": table, "column": "tags"}).fetchone()
    return row == ("uuid[]",) and not _swapped(table).holds(connection)


def _swapped(table: str) -> Probe:
    return probe("has_column", table, column="tags_old")
