"""The finished schema as SQLAlchemy tables: what `alembic check` compares a migrated database with.

`content_items_all` is a partitioned parent; SQLAlchemy describes it as a table like any other, and
the attachments themselves are the business of the attach phase. What the gallery's owner put on the
tables that were taken over is described by nobody and left alone; see `is_owners`.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    CheckConstraint,
    Column,
    DateTime,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Identity,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    Text,
    Uuid,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB
from sqlalchemy.schema import SchemaItem

LEDGER_SCHEMA = "workbench"

metadata = MetaData()


def _timestamp(name: str, *, nullable: bool = False) -> Column[Any]:
    return Column(name, DateTime(timezone=True), nullable=nullable)


def _content_columns() -> list[SchemaItem]:
    """Return the columns both sources and their parent share."""
    return [
        Column("title", String(255), nullable=False),
        Column("content_type", String(50), nullable=False),
        Column("content_data", Text, nullable=False),
        Column("item_metadata", JSONB),
        Column("creator_id", Uuid, nullable=False),
        _timestamp("created_at"),
        _timestamp("updated_at"),
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
    _timestamp("created_at"),
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
    _timestamp("created_at"),
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


def _ledger_table(name: str, *items: SchemaItem) -> Table:
    return Table(name, metadata, *items, schema=LEDGER_SCHEMA)


identity = _ledger_table(
    "identity",
    Column("singleton", Boolean, primary_key=True),
    Column("environment", Text, nullable=False),
    _timestamp("adopted_at"),
)

loads = _ledger_table(
    "loads",
    Column("dataset", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("items_loaded", BigInteger, nullable=False),
    Column("lines_rejected", BigInteger, nullable=False),
    _timestamp("loaded_at"),
)

pipelines = _ledger_table(
    "pipelines",
    Column("pipeline_id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    _timestamp("started_at"),
    _timestamp("ended_at", nullable=True),
)

runs = _ledger_table(
    "runs",
    Column("run_id", Uuid, primary_key=True),
    Column("pipeline_id", ForeignKey("workbench.pipelines.pipeline_id")),
    Column("step", Text),
    Column("notebook", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("actor", Text, nullable=False),
    Column("parameters", JSONB, nullable=False),
    Column("notebook_digest", Text, nullable=False),
    Column("output_path", Text),
    Column("failure", JSONB),
    _timestamp("started_at"),
    _timestamp("ended_at", nullable=True),
)

verifications = _ledger_table(
    "verifications",
    Column("verification_id", BigInteger, Identity(always=True), primary_key=True),
    Column("phase", Text, nullable=False),
    Column("run_id", ForeignKey("workbench.runs.run_id")),
    Column("passed", Boolean, nullable=False),
    Column("examined", BigInteger, nullable=False),
    Column("mismatches", BigInteger, nullable=False),
    Column("details", JSON, nullable=False),
    _timestamp("verified_at"),
)

backfills = _ledger_table(
    "backfills",
    Column("task", Text, primary_key=True),
    Column("source", Text, primary_key=True),
    Column("range_no", Integer, primary_key=True),
    Column("after_id", BigInteger, nullable=False),
    Column("upto_id", BigInteger, nullable=False),
    Column("cursor_id", BigInteger, nullable=False),
    Column("rows_total", BigInteger, nullable=False),
    Column("rows_read", BigInteger, nullable=False),
    Column("rows_changed", BigInteger, nullable=False),
    Column("batches", Integer, nullable=False),
    Column("seconds", Double, nullable=False),
    _timestamp("updated_at"),
)

backfill_wishes = _ledger_table(
    "backfill_wishes",
    Column("task", Text, primary_key=True),
    Column("wanted", Text, nullable=False),
    Column("workers", Integer),
    Column("batch_target_s", Double),
    Column("pause_s", Double),
    Column("requested_by", Text, nullable=False),
    _timestamp("requested_at"),
)

backfill_engines = _ledger_table(
    "backfill_engines",
    Column("engine_id", Uuid, primary_key=True),
    Column("task", Text, nullable=False),
    Column("run_id", Uuid),
    Column("host", Text, nullable=False),
    Column("process_id", Integer, nullable=False),
    Column("state", Text, nullable=False),
    Column("reasons", JSONB, nullable=False),
    Column("workers", Integer),
    *(Column(name, Double) for name in ("batch_target_s", "pause_s", "rows_per_second", "eta_s", "active_s")),
    _timestamp("started_at"),
    _timestamp("seen_at"),
    _timestamp("ended_at", nullable=True),
)

backfill_events = _ledger_table(
    "backfill_events",
    Column("event_id", BigInteger, Identity(always=True), primary_key=True),
    Column("task", Text, nullable=False),
    Column("engine_id", Uuid, nullable=False),
    Column("event", Text, nullable=False),
    Column("details", JSONB, nullable=False),
    _timestamp("at"),
)

changed_content = _ledger_table(
    "changed_content",
    Column("note_id", BigInteger, Identity(always=True), primary_key=True),
    Column("content_source", String(10), nullable=False),
    Column("content_id", Integer),
)

tag_spellings = _ledger_table(
    "tag_spellings",
    Column("digest", LargeBinary, primary_key=True),
    Column("element", JSONB, nullable=False),
    Column("uses", BigInteger, nullable=False),
    Column("kind", Text),
    Column("decision", Text),
    Column("tag_id", Uuid),
    Column("late", Boolean, nullable=False, server_default="false"),
    CheckConstraint("decision in ('map', 'create', 'quarantine')"),
)

tag_policies = _ledger_table(
    "tag_policies",
    Column("kind", Text, primary_key=True),
    Column("decision", Text, nullable=False),
    Column("phase", Text, nullable=False),
    _timestamp("decided_at"),
    CheckConstraint("decision in ('map', 'create', 'quarantine')"),
)

repaired_tags = _ledger_table(
    "repaired_tags",
    Column("content_source", String(10), primary_key=True),
    Column("content_id", Integer, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("element", JSONB, nullable=False),
    Column("kind", Text, nullable=False),
    Column("tag_id", Uuid, nullable=False),
    _timestamp("noted_at"),
)

unmapped_tags = _ledger_table(
    "unmapped_tags",
    Column("content_source", String(10), primary_key=True),
    Column("content_id", Integer, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("element", JSONB, nullable=False),
    Column("reason", Text, nullable=False),
    _timestamp("noted_at"),
)

measurements = _ledger_table(
    "measurements",
    Column("measurement_id", BigInteger, Identity(always=True), primary_key=True),
    Column("moment", Text, nullable=False),
    Column("case_name", Text, nullable=False),
    Column("path", Text, nullable=False),
    Column("query", JSONB, nullable=False),
    Column("row_keys", JSONB),
    Column("p50_ms", Double, nullable=False),
    Column("p95_ms", Double, nullable=False),
    Column("samples", Integer, nullable=False),
    _timestamp("measured_at"),
)

TAKEN_OVER = frozenset({"users", "content_items", "content_items_auto", "content_items_all"})
"""Tables that were there before the workbench, and their parent: their owner may have put more on them."""

RETIRED = frozenset({"tags_old", "idx_content_items_tags_gin", "idx_content_items_auto_tags_gin"})
"""What the migration takes off those tables; whatever of it is left is no business of the owner's."""


def is_owners(table: str, name: str) -> bool:
    """Return whether a column, index or constraint that no model names is the gallery owner's own.

    So are the indexes PostgreSQL gives a partition by itself, which lie on these tables only.
    """
    return table in TAKEN_OVER and name not in RETIRED
