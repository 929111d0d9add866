"""What Alembic's autogenerate looks at: what the workbench made, and never what the gallery's owner has besides."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from genonaut_lib.db.schema import LEDGER_SCHEMA, is_owners, metadata


def include_name(name: str | None, kind: str, parents: Mapping[str, str | None]) -> bool:
    """Return whether a schema or table of the database is read at all.

    Of schema public only the tables of the models are: the others, further partitions among them, are
    the owner's. The ledger's schema is ours, so a table there that no model names is a difference.
    """
    if kind == "schema":
        return name in (None, LEDGER_SCHEMA)
    if kind == "table" and parents.get("schema_name") is None:
        return name in metadata.tables
    return True


def include_object(found: Any, name: str | None, kind: str, reflected: bool, compare_to: Any) -> bool:
    """Return whether a difference is looked into: whatever a model names is, and what lies on tables of our own.

    What only the database has on a table that was taken over is the owner's, or an index that
    PostgreSQL made for a partition by itself.
    """
    if not reflected or compare_to is not None or kind == "table":
        return True
    return found.table.schema is not None or not is_owners(found.table.name, name or "")
