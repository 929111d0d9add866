"""Taking a database into the workbench: an empty one gets the legacy schema, a gallery gets the ledger."""

from __future__ import annotations

from genonaut_lib.db import guard
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import NotAGallery
from genonaut_lib.migration import ledger, revisions
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import ContentSource

NEEDED_COLUMNS = {"id", "title", "content_type", "creator_id", "created_at", "is_private", "tags"}


def adopt(connection: Connection, settings: Settings) -> bool:
    """Mark an empty or a legacy database and create the ledger in it; return False when it was done before.

    Only the schema `workbench` is written, except in an empty database, which gets the legacy
    schema. Raises NotAGallery for content tables of another shape.
    """
    kind = guard.kind_of(connection)
    if kind is guard.Kind.MARKED_GALLERY:
        return False
    if kind is guard.Kind.UNMARKED_GALLERY:
        _require_legacy_shape(connection)
        if revisions.current(connection) is None:
            revisions.stamp(settings, revisions.LEGACY)
    revisions.upgrade(settings, revisions.LEDGER)
    ledger.mark_environment(connection, settings.environment)
    return True


def _require_legacy_shape(connection: Connection) -> None:
    for source in ContentSource:
        rows = connection.execute(block("catalog", "columns").sql(), {"relation": source.table}).fetchall()
        columns = {str(name): str(kind) for name, kind, _ in rows}
        missing = sorted(NEEDED_COLUMNS - set(columns))
        if missing or columns["tags"] != "jsonb" or columns["id"] not in ("integer", "bigint"):
            found = f"lacks {', '.join(missing)}" if missing else f"has tags {columns['tags']}, id {columns['id']}"
            raise NotAGallery(
                f"{source.table} {found}.",
                hint="The workbench migrates tables with an integer id and a JSONB array of tag names.",
            )
