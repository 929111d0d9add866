"""The tables of the tag bitmap index as SQLAlchemy tables, in the ledger's schema and metadata.

Two of their types are none that SQLAlchemy knows; it learns them here, or it could not read the tables.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import BigInteger, Boolean, CheckConstraint, Column, Index, Integer, LargeBinary, Table, Text, Uuid
from sqlalchemy.dialects.postgresql import ARRAY, BIT
from sqlalchemy.dialects.postgresql.base import ischema_names
from sqlalchemy.schema import SchemaItem
from sqlalchemy.types import UserDefinedType

from genonaut_lib.db.ledger_tables import LEDGER_SCHEMA, metadata, timestamp

CHUNK_BITS = 15_872
"""Bits of a chunk, as `gallery/bitmaps/layout.py` has it; a floor above this one."""


class TransactionId(UserDefinedType[str]):
    """A transaction id that never wraps around."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return the type's name."""
        return "xid8"


class TransactionSnapshot(UserDefinedType[str]):
    """Which transactions a snapshot sees."""

    cache_ok = True

    def get_col_spec(self, **_: Any) -> str:
        """Return the type's name."""
        return "pg_snapshot"


ischema_names |= {"xid8": TransactionId, "pg_snapshot": TransactionSnapshot}


def _table(name: str, *items: SchemaItem) -> Table:
    return Table(name, metadata, *items, schema=LEDGER_SCHEMA)


def _in_epoch(name: str, *items: SchemaItem) -> Table:
    return _table(name, Column("epoch", Integer, primary_key=True), *items)


def _marks(name: str) -> Table:
    return _table(
        name,
        Column("source_type", Text, nullable=False),
        Column("content_id", Integer, nullable=False),
        Column("moved", Boolean, nullable=False),
        Column("changed_by", TransactionId, nullable=False),
        timestamp("changed_at"),
    )


bitmap_state = _table(
    "bitmap_state",
    Column("singleton", Boolean, CheckConstraint("singleton"), primary_key=True),
    Column("epochs", Integer, nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("serving", Integer),
    *(Column(name, Integer, nullable=False) for name in ("chunks", "ranks", "rare_most")),
    timestamp("end_at", nullable=True),
    Column("end_source", Text),
    Column("end_id", Integer),
    *(timestamp(name, nullable=True) for name in ("built_at", "sealed_at")),
    Column("building", Integer),
    Column("building_snapshot", TransactionSnapshot),
    timestamp("building_since", nullable=True),
)

bitmap_chunks = _in_epoch(
    "bitmap_chunks",
    Column("chunk", Integer, primary_key=True),
    Column("version", BigInteger, nullable=False),
    timestamp("first_at"),
    Column("first_source", Text, nullable=False),
    Column("first_id", Integer, nullable=False),
    Column("members", LargeBinary, nullable=False),
)

bitmap_places = _in_epoch(
    "bitmap_places",
    Column("source_type", Text, primary_key=True),
    Column("block", Integer, primary_key=True),
    Column("ranks", ARRAY(Integer), nullable=False),
)

tag_bitmaps = _in_epoch(
    "tag_bitmaps",
    Column("tag_no", Integer, primary_key=True),
    Column("chunk", Integer, primary_key=True),
    Column("cardinality", Integer, nullable=False),
    Column("bits", BIT(CHUNK_BITS), nullable=False),
)

bitmap_tags = _in_epoch("bitmap_tags", Column("tag_no", Integer, primary_key=True))

bitmap_creators = _in_epoch(
    "bitmap_creators",
    Column("creator_id", Uuid, primary_key=True),
    Column("span", Integer, primary_key=True),
    Column("positions", LargeBinary, nullable=False),
)

bitmap_marks = _marks("bitmap_marks")
Index("idx_bitmap_marks_changed_by", bitmap_marks.c.changed_by)
bitmap_marks_kept = _marks("bitmap_marks_kept")
