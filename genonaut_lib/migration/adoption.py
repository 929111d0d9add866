"""Taking a database into the workbench: an empty one gets the legacy schema, a gallery gets the ledger."""

from __future__ import annotations

from collections.abc import Collection

from genonaut_lib.db import guard
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.schema import content_items
from genonaut_lib.db.statements import block
from genonaut_lib.errors import NotAGallery
from genonaut_lib.migration import ledger, revisions
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import ContentSource

NEEDED_COLUMNS = {column.name for column in content_items.columns} - {"source_type"}
NEEDED_TYPES = {
    "id": "integer",
    "tags": "jsonb",
    "creator_id": "uuid",
    "created_at": "timestamp with time zone",
    "updated_at": "timestamp with time zone",
}
OURS = (
    "tags",
    "tag_parents",
    "tag_aliases",
    "content_tags",
    "content_items_all",
    "content_items_more",
    "content_items_auto_more",
)
"""Tables the migration makes; a gallery that has one of these names already is refused."""
OUR_COLUMNS = ("tags_old", "source_type")
"""Columns the migration gives the content tables, and takes away again when it is undone."""


def adopt(connection: Connection, settings: Settings) -> bool:
    """Mark an empty or a legacy database and create the ledger in it; return False when it was done before.

    Only the schema `workbench` is written, except in an empty database, which gets the legacy
    schema. Killed half-way, it goes on at the next call. Raises NotAGallery for content tables of
    another shape, and for tables of the names that the migration gives.
    """
    kind = guard.kind_of(connection)
    if kind is guard.Kind.MARKED_GALLERY:
        return False
    if kind is guard.Kind.UNMARKED_GALLERY:
        _require_legacy_shape(connection)
        _require_free_names(connection)
    connection.execute(block("catalog", "schema").sql())
    if kind is guard.Kind.EMPTY:
        connection.execute(block("catalog", "note_empty_at_adoption").sql())
    elif revisions.current(connection) is None:
        revisions.stamp(settings, revisions.LEGACY)
    revisions.upgrade(settings, revisions.LEDGER)
    ledger.mark_environment(connection, settings.environment)
    connection.execute(block("catalog", "note_adopted").sql())
    return True


def _require_legacy_shape(connection: Connection) -> None:
    for source in ContentSource:
        rows = connection.execute(block("catalog", "columns").sql(), {"relation": source.table}).fetchall()
        columns = {str(name): str(kind) for name, kind, _ in rows}
        missing = sorted(NEEDED_COLUMNS - set(columns))
        _require_free_columns(source.table, columns)
        wrong = [f"{name} {columns[name]}" for name, kind in NEEDED_TYPES.items() if columns.get(name, kind) != kind]
        if missing or wrong:
            found = f"lacks {', '.join(missing)}" if missing else f"has {', '.join(wrong)}"
            wanted = ", ".join(f"{name} {kind}" for name, kind in NEEDED_TYPES.items())
            raise NotAGallery(f"{source.table} {found}.", hint=f"The workbench migrates tables with {wanted}.")
        _require_own_sequence(connection, source)


def _require_free_columns(table: str, columns: Collection[str]) -> None:
    taken = [name for name in OUR_COLUMNS if name in columns]
    if taken:
        raise NotAGallery(
            f"{table} has {' and '.join(taken)} already, which the migration would add.",
            hint="Rename it first; an undo would drop what the workbench did not make.",
        )


def _require_own_sequence(connection: Connection, source: ContentSource) -> None:
    """Attaching gives both tables one id sequence, and undoing gives each its own back: it must be a plain one."""
    values = {"relation": source.table}
    row = connection.execute(block("catalog", "id_sequence").sql(), values).fetchone()
    wanted = f"public.{source.table}_id_seq"
    if row is None or row[1] or row[0] != wanted:
        found = "is an identity column" if row and row[1] else f"takes its values from {row and row[0]}"
        raise NotAGallery(
            f"{source.table}.id {found}.", hint=f"The workbench needs a serial column with the sequence {wanted}."
        )


def _require_free_names(connection: Connection) -> None:
    taken = []
    for name in OURS:
        row = connection.execute(block("catalog", "has_relation").sql(), {"relation": f"public.{name}"}).fetchone()
        if row and row[0]:
            taken.append(name)
    if taken:
        raise NotAGallery(
            f"This database has tables of its own called {', '.join(taken)}, which the migration would create.",
            hint="Rename them first; the workbench neither uses nor drops what it did not make.",
        )
