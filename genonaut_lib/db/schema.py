"""The finished schema as SQLAlchemy tables: what `alembic check` compares a migrated database with.

`content_items_all` is a partitioned parent; SQLAlchemy describes it as a table like any other, and
the attachments themselves are the business of the attach phase. What the gallery's owner put on the
tables that were taken over is described by nobody and left alone; see `is_owners`. The full-text indexes
on the content are not described either, since a gallery may do without them; the phase that builds them
verifies them.
"""

from __future__ import annotations

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSONB
from sqlalchemy.schema import SchemaItem

import genonaut_lib.db.bitmap_tables  # noqa: F401  # puts its tables into the metadata
from genonaut_lib.db.ledger_tables import LEDGER_SCHEMA, metadata, timestamp


def _content_columns() -> list[SchemaItem]:
    """Return the columns both sources and their parent share."""
    return [
        Column("title", String(255), nullable=False),
        Column("content_type", String(50), nullable=False),
        Column("content_data", Text, nullable=False),
        Column("item_metadata", JSONB),
        Column("creator_id", Uuid, nullable=False),
        timestamp("created_at"),
        timestamp("updated_at"),
        Column("quality_score", Double),
        Column("is_private", Boolean, nullable=False),
        Column("path_thumb", String(512)),
        Column("prompt", String(20000), nullable=False),
        Column("path_thumbs_alt_res", JSONB),
        Column("tags", ARRAY(Uuid), nullable=False),
        Column("source_type", Text, nullable=False),
    ]


def _content_table(name: str, identity_index: str) -> Table:
    """Return one of the two partitions with its indexes."""
    table = Table(
        name,
        metadata,
        Column("id", Integer, primary_key=True),
        *_content_columns(),
        ForeignKeyConstraint(["creator_id"], ["users.id"]),
    )
    columns = table.c
    Index(f"idx_{name}_created_at_desc", columns.created_at.desc())
    Index(f"idx_{name}_creator_created", columns.creator_id, columns.created_at.desc())
    Index(f"idx_{name}_created_id_desc", columns.created_at.desc(), columns.id.desc())
    Index(identity_index, columns.id, columns.source_type, unique=True)
    return table


users = Table(
    "users",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("username", String(255), nullable=False, unique=True),
    timestamp("created_at"),
)

content_items = _content_table("content_items", "items_uidx_id_src")
content_items_auto = _content_table("content_items_auto", "auto_uidx_id_src")

content_items_all = Table(
    "content_items_all",
    metadata,
    Column("id", Integer, nullable=False),
    *_content_columns(),
    postgresql_partition_by="LIST (source_type)",
)
Index("content_items_all_uidx_id_src", content_items_all.c.id, content_items_all.c.source_type, unique=True)
Index(
    "idx_content_items_all_created_id_desc",
    content_items_all.c.created_at.desc(),
    content_items_all.c.id.desc(),
)

tags = Table(
    "tags",
    metadata,
    Column("id", Uuid, primary_key=True),
    Column("tag_no", Integer, nullable=False, unique=True),
    Column("name", Text, nullable=False, unique=True),
    Column("slug", Text, nullable=False, unique=True),
    Column("label", Text, nullable=False),
    timestamp("created_at"),
)

tag_parents = Table(
    "tag_parents",
    metadata,
    Column("tag_id", ForeignKey("tags.id", ondelete="CASCADE"), primary_key=True),
    Column("parent_id", ForeignKey("tags.id", ondelete="CASCADE"), primary_key=True),
    CheckConstraint("tag_id <> parent_id"),
    Index("idx_tag_parents_parent", "parent_id"),
)

tag_aliases = Table(
    "tag_aliases",
    metadata,
    Column("spelling", Text, primary_key=True),
    Column("tag_id", ForeignKey("tags.id", ondelete="CASCADE"), nullable=False),
    Index("idx_tag_aliases_tag", "tag_id"),
)

content_tags = Table(
    "content_tags",
    metadata,
    Column("content_id", Integer, nullable=False),
    Column("content_source", String(10), nullable=False),
    Column("tag_id", ForeignKey("tags.id", ondelete="CASCADE"), nullable=False),
    PrimaryKeyConstraint("content_id", "content_source", "tag_id"),
    CheckConstraint("content_source in ('regular', 'auto')"),
    Index("idx_content_tags_tag_src_content", "tag_id", "content_source", "content_id"),
)


def _sidecar(content: str) -> Table:
    """Return the table of a source's rarely used fields."""
    return Table(
        f"{content}_more",
        metadata,
        Column("source_table", Text, nullable=False),
        Column("source_id", ForeignKey(f"{content}.id", ondelete="CASCADE"), primary_key=True, autoincrement=False),
        Column("metadata_more", JSONB, nullable=False),
        CheckConstraint(f"source_table = '{content}'"),
    )


content_items_more = _sidecar("content_items")
content_items_auto_more = _sidecar("content_items_auto")

tag_cardinality_stats = Table(
    "tag_cardinality_stats",
    metadata,
    Column("tag_id", ForeignKey("tags.id", ondelete="CASCADE"), primary_key=True),
    Column("content_source", String(10), primary_key=True),
    Column("cardinality", BigInteger, nullable=False),
    Column("display_count", BigInteger, nullable=False),
    timestamp("updated_at"),
    CheckConstraint("content_source in ('regular', 'auto')"),
    CheckConstraint("0 <= display_count and display_count <= cardinality", name="tag_cardinality_stats_counts"),
)
Index(
    "idx_tag_cardinality_stats_source_cardinality",
    tag_cardinality_stats.c.content_source,
    tag_cardinality_stats.c.cardinality.desc(),
)

gen_source_stats = Table(
    "gen_source_stats",
    metadata,
    Column("user_id", Uuid, primary_key=True),
    Column("source_type", Text, primary_key=True),
    Column("count", BigInteger, nullable=False),
    Column("public_count", BigInteger, nullable=False),
    timestamp("updated_at"),
    CheckConstraint("source_type in ('items', 'auto')"),
    CheckConstraint("0 <= public_count and public_count <= count", name="gen_source_stats_counts"),
)

__all__ = [  # noqa: RUF022  # gallery and ledger share one metadata
    "LEDGER_SCHEMA",
    "metadata",
    "is_owners",
    "users",
    "content_items",
    "content_items_auto",
    "content_items_all",
    "tags",
    "tag_parents",
    "tag_aliases",
    "content_tags",
    "tag_cardinality_stats",
    "gen_source_stats",
]

TAKEN_OVER = frozenset({"users", "content_items", "content_items_auto", "content_items_all"})
"""Tables that were there before the workbench, and their parent: their owner may have put more on them."""

RETIRED = frozenset({"tags_old", "idx_content_items_tags_gin", "idx_content_items_auto_tags_gin"})
"""What the migration takes off those tables; whatever of it is left is no business of the owner's."""


def is_owners(table: str, name: str) -> bool:
    """Return whether a column, index or constraint that no model names is the gallery owner's own.

    So are the indexes PostgreSQL gives a partition by itself, which lie on these tables only.
    """
    return table in TAKEN_OVER and name not in RETIRED
