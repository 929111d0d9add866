"""What the models in `db/schema.py` say of a database, in the words of a snapshot.

They describe tables with their partitions, columns with type and nullability, keys and indexes.
Views, defaults, checks, triggers, functions, sequences and rights are the business of the SQL files, so two
databases are compared for those.
"""

from __future__ import annotations

import re
from collections.abc import Iterator

from sqlalchemy import (
    Column,
    Constraint,
    ForeignKeyConstraint,
    Index,
    PrimaryKeyConstraint,
    Table,
    UniqueConstraint,
)
from sqlalchemy.dialects import postgresql

from genonaut_lib.db.schema import LEDGER_SCHEMA, content_items_all, is_owners, metadata
from genonaut_lib.db.snapshot import Snapshot
from genonaut_lib.vocabulary import ContentSource

_DIALECT = postgresql.dialect()  # type: ignore[no-untyped-call]
_NOT_DESCRIBED = re.compile(r" (default|collate|generated (always|by default)) .*")
_KEY = re.compile(r"(PRIMARY KEY|UNIQUE|FOREIGN KEY) ")
_INDEXED = re.compile(r" ON (?:ONLY )?(\S+) USING ")
_ALEMBIC = f"{LEDGER_SCHEMA}.alembic_version"
_PARTITION_OF = {source.table: source.partition for source in ContentSource}


def of_models() -> Snapshot:
    """Return the finished schema as the models describe it."""
    return dict(sorted(pair for table in metadata.tables.values() for pair in _table(table)))


def as_models_say(snapshot: Snapshot) -> Snapshot:
    """Return the part of a database's snapshot that the models would describe, in their words.

    Constraints are named by what they say, since a gallery may have given them other names. What the
    gallery's owner put on the tables that were taken over is left out.
    """
    model = of_models()
    said = (pair for name, definition in snapshot.items() for pair in _said(name, definition))
    return {name: text for name, text in sorted(said) if name in model or not _is_owners(name)}


def _table(table: Table) -> Iterator[tuple[str, str]]:
    full = f"{table.schema or 'public'}.{table.name}"
    yield f"table {full}", _kind(table)
    yield from ((f"column {full}.{column.name}", _column(column)) for column in table.columns)
    keys = (_key(constraint) for constraint in table.constraints)
    yield from ((f"constraint {full} {key}", "valid") for key in keys if key)
    yield from ((f"index {full} {index.name}", _index(index, full)) for index in table.indexes)


def _kind(table: Table) -> str:
    if table is content_items_all:
        return f"table, partitioned by {table.dialect_options['postgresql']['partition_by']}"
    if table.name in _PARTITION_OF and table.schema is None:
        value = _PARTITION_OF[table.name]
        return f"table, partition of public.{content_items_all.name} FOR VALUES IN ('{value}')"
    return "table"


def _column(column: Column[object]) -> str:
    kind = column.type.compile(dialect=_DIALECT).lower().replace("varchar", "character varying")
    return kind if column.nullable else f"{kind} not null"


def _key(constraint: Constraint) -> str | None:
    """Return a key as PostgreSQL writes it; None for a check, whose text PostgreSQL rewrites."""
    if isinstance(constraint, ForeignKeyConstraint):
        return _foreign_key(constraint)
    if not isinstance(constraint, PrimaryKeyConstraint | UniqueConstraint) or not constraint.columns:
        return None
    word = "PRIMARY KEY" if isinstance(constraint, PrimaryKeyConstraint) else "UNIQUE"
    return f"{word} ({', '.join(column.name for column in constraint.columns)})"


def _foreign_key(key: ForeignKeyConstraint) -> str:
    there = key.referred_table
    target = f"{there.schema}.{there.name}" if there.schema else there.name
    columns = ", ".join(element.column.name for element in key.elements)
    deleting = f" ON DELETE {key.ondelete}" if key.ondelete else ""
    return f"FOREIGN KEY ({', '.join(key.column_keys)}) REFERENCES {target}({columns}){deleting}"


def _index(index: Index, full: str) -> str:
    unique = "UNIQUE " if index.unique else ""
    only = "ONLY " if index.table is content_items_all else ""
    parts = [part for part in index.expressions if not isinstance(part, str)]
    texts = [str(part.compile(dialect=_DIALECT, compile_kwargs={"include_table": False})) for part in parts]
    return f"CREATE {unique}INDEX {index.name} ON {only}{full} USING btree ({', '.join(texts)})"


def _said(name: str, definition: str) -> Iterator[tuple[str, str]]:
    """Yield an entry in the words of the models, or nothing for a kind of object they do not describe."""
    kind, _, full = name.partition(" ")
    if full == _ALEMBIC or full.startswith(f"{_ALEMBIC}."):
        return
    if kind == "table" and not definition.startswith("view "):
        yield name, definition
    elif kind == "column":
        yield name, _NOT_DESCRIBED.sub("", definition)
    elif kind == "constraint" and _KEY.match(definition):
        key = definition.removesuffix(" NOT VALID")
        unquoted = key.replace('"', "")
        yield f"constraint {full.rpartition('.')[0]} {unquoted}", "valid" if key == definition else "NOT VALID"
    elif kind == "index" and (indexed := _INDEXED.search(definition)):
        yield f"index {indexed[1]} {full.rpartition('.')[2]}", definition


def _is_owners(name: str) -> bool:
    """Return whether an entry that no model has is the gallery owner's own."""
    kind, _, full = name.partition(" ")
    schema, _, rest = full.partition(".")
    if schema == LEDGER_SCHEMA:
        return False
    table, _, member = rest.partition("." if kind == "column" else " ")
    return kind == "table" or table not in metadata.tables or is_owners(table, member)
