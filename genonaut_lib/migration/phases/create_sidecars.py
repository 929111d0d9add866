"""Create `content_items_more` and `content_items_auto_more`: rarely used fields, kept out of the hot rows.

Additive: two new, empty tables, each pointing at the content table of its source. They go with an
undo only while they are empty, since what they hold exists nowhere else.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from psycopg import errors, sql

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import CannotUndo
from genonaut_lib.migration import revisions
from genonaut_lib.migration.phases.base import Context, SchemaPhase
from genonaut_lib.migration.plan import Action, Check, Outcome, Probe, action, probe
from genonaut_lib.vocabulary import ContentSource

FILE = "create_sidecars"


@dataclass(frozen=True)
class CreateSidecars(SchemaPhase):
    """Phase 31; see the module."""

    name: str = "create_sidecars"
    title: str = "Create a sidecar for the rarely used fields of each source"
    notebook: str = "31_create_sidecars"
    revision: str = revisions.CREATE_SIDECARS
    before: str = revisions.ATTACH_PARTITIONS

    def check(self, context: Context) -> list[Check]:
        """Besides the revision: no table of somebody else stands where a sidecar is to stand."""
        return [*super().check(context), *(_name_check(context.connection, source) for source in ContentSource)]

    def actions(self) -> list[Action]:
        """Each table with its foreign key and rights, in one statement list."""
        return [
            action(
                f"create:{sidecar(source)}",
                block(FILE, "create_table"),
                done=_points_at_content(source),
                sidecar=sidecar(source),
                sidecar_name=sql.Literal(sidecar(source)),
                table=source.table,
                table_name=sql.Literal(source.table),
            )
            for source in ContentSource
        ]

    def undo_actions(self) -> list[Action]:
        """Drop both tables, each only while it is empty."""
        return [
            action(
                f"drop:{sidecar(source)}",
                block(FILE, "drop_table"),
                done=replace(_points_at_content(source), wanted=False),
                sidecar=sidecar(source),
                refusal=sql.Literal(_refusal(source)),
            )
            for source in ContentSource
        ]

    def require_undoable(self, context: Context) -> None:
        """Raise CannotUndo while a sidecar holds a row."""
        super().require_undoable(context)
        require_empty(context.connection)

    def undo(self, context: Context) -> Outcome:
        """Drop both tables; raise CannotUndo for a row that was written while the drop waited for its lock."""
        try:
            return super().undo(context)
        except errors.ObjectInUse as error:
            raise CannotUndo(error.diag.message_primary, hint=_HINT) from error


_HINT = "Copy the rows and empty the table first, then undo again."


def sidecar(source: ContentSource) -> str:
    """Return the name of the source's sidecar."""
    return f"{source.table}_more"


def require_empty(connection: Connection) -> None:
    """Raise CannotUndo while a sidecar holds a row: its fields exist nowhere else. Nothing is dropped then."""
    for source in ContentSource:
        if _points_at_content(source).holds(connection):
            row = connection.execute(block("catalog", "is_empty").sql(table=sidecar(source))).fetchone()
            if row is not None and not row[0]:
                raise CannotUndo(_refusal(source), hint=_HINT)


def _refusal(source: ContentSource) -> str:
    return f"{sidecar(source)} holds rows, which exist nowhere else."


def _points_at_content(source: ContentSource) -> Probe:
    """The foreign key tells our table from one of the same name that somebody else made."""
    constraint = f"{sidecar(source)}_source_id_fkey"
    return probe("has_valid_constraint", sidecar(source), constraint=constraint)


def _name_check(connection: Connection, source: ContentSource) -> Check:
    ours = _points_at_content(source).holds(connection)
    free = probe("has_relation", sidecar(source), wanted=False).holds(connection)
    finding = "free" if free else "there" if ours else "a table that the migration did not make; rename it first"
    return Check(f"name {sidecar(source)}", free or ours, finding)
