"""The ledger's tables, in the schema `workbench`, and the metadata they share with the gallery's own."""

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
    Identity,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
    UniqueConstraint,
    Uuid,
)
from sqlalchemy.dialects.postgresql import ARRAY, JSON, JSONB
from sqlalchemy.schema import SchemaItem

LEDGER_SCHEMA = "workbench"

metadata = MetaData()


def timestamp(name: str, *, nullable: bool = False) -> Column[Any]:
    """Return a column of points in time, time zone included."""
    return Column(name, DateTime(timezone=True), nullable=nullable)


def _ledger_table(name: str, *items: SchemaItem) -> Table:
    return Table(name, metadata, *items, schema=LEDGER_SCHEMA)


identity = _ledger_table(
    "identity",
    Column("singleton", Boolean, primary_key=True),
    Column("environment", Text, nullable=False),
    timestamp("adopted_at"),
)

loads = _ledger_table(
    "loads",
    Column("dataset", Text, primary_key=True),
    Column("digest", Text, primary_key=True),
    Column("items_loaded", BigInteger, nullable=False),
    Column("lines_rejected", BigInteger, nullable=False),
    timestamp("loaded_at"),
)

pipelines = _ledger_table(
    "pipelines",
    Column("pipeline_id", Uuid, primary_key=True),
    Column("name", Text, nullable=False),
    Column("state", Text, nullable=False),
    timestamp("started_at"),
    timestamp("ended_at", nullable=True),
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
    timestamp("started_at"),
    timestamp("ended_at", nullable=True),
    timestamp("deadline_at", nullable=True),
    timestamp("heartbeat_at", nullable=True),
    Column("resumed_from", Uuid),
    Column("host", Text),
    Column("process_id", Integer),
    Column("plan_digest", Text),
    *(Column(name, JSONB) for name in ("plan", "approval")),
)

_SAID_BY_APPROVAL = ("environment", "phase", "plan_digest", "approver", "account", "database_user")

approvals = _ledger_table(
    "approvals",
    Column("approval_id", BigInteger, Identity(always=True), primary_key=True),
    Column("run_id", Uuid, nullable=False),
    *(Column(name, Text, nullable=False) for name in _SAID_BY_APPROVAL),
    Column("plan", JSONB, nullable=False),
    Column("note", Text),
    timestamp("approved_at"),
)

run_records = _ledger_table(
    "run_records",
    Column("place", BigInteger, primary_key=True, autoincrement=False),
    *(Column(name, Text, nullable=False, unique=True) for name in ("previous", "hash", "record_hash")),
    Column("folder_id", Text, nullable=False),
    Column("folder_place", BigInteger, nullable=False),
    Column("kind", Text, nullable=False),
    Column("run_id", Uuid, unique=True),
    Column("body", Text, nullable=False),
    timestamp("entered_at"),
    UniqueConstraint("folder_id", "folder_place"),
)

scheduled_runs = _ledger_table(
    "scheduled_runs",
    Column("pipeline", Text, primary_key=True),
    Column("due_at", DateTime(timezone=True), primary_key=True),
    Column("times", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("scheduler_id", Uuid, nullable=False),
    Column("host", Text, nullable=False),
    Column("process_id", Integer, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("exit_code", Integer),
    Column("remark", Text),
    *(timestamp(name) for name in ("claimed_at", "seen_at")),
    *(timestamp(name, nullable=True) for name in ("started_at", "ended_at")),
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
    timestamp("verified_at"),
    Column("coverage", Double, nullable=False),
    timestamp("started_at"),
)

verification_chunks = _ledger_table(
    "verification_chunks",
    *(Column(name, Text, primary_key=True) for name in ("phase", "source")),
    Column("after_id", BigInteger, primary_key=True),
    *(Column(name, BigInteger, nullable=False) for name in ("upto_id", "follows", "rows_examined", "pairs")),
    Column("mismatches", JSONB, nullable=False),
    Column("seconds", Double, nullable=False),
    *(timestamp(name) for name in ("started_at", "verified_at")),
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
    timestamp("updated_at"),
)

backfill_wishes = _ledger_table(
    "backfill_wishes",
    Column("task", Text, primary_key=True),
    Column("wanted", Text, nullable=False),
    Column("workers", Integer),
    Column("batch_target_s", Double),
    Column("pause_s", Double),
    Column("requested_by", Text, nullable=False),
    timestamp("requested_at"),
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
    timestamp("started_at"),
    timestamp("seen_at"),
    timestamp("ended_at", nullable=True),
)

backfill_events = _ledger_table(
    "backfill_events",
    Column("event_id", BigInteger, Identity(always=True), primary_key=True),
    Column("task", Text, nullable=False),
    Column("engine_id", Uuid, nullable=False),
    Column("event", Text, nullable=False),
    Column("details", JSONB, nullable=False),
    timestamp("at"),
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
    timestamp("decided_at"),
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
    timestamp("noted_at"),
)

unmapped_tags = _ledger_table(
    "unmapped_tags",
    Column("content_source", String(10), primary_key=True),
    Column("content_id", Integer, primary_key=True),
    Column("position", Integer, primary_key=True),
    Column("element", JSONB, nullable=False),
    Column("reason", Text, nullable=False),
    timestamp("noted_at"),
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
    timestamp("measured_at"),
)

_SOURCE_CHECK = "content_source in ('regular', 'auto')"

source_statistics = _ledger_table(
    "source_statistics",
    Column("content_source", String(10), primary_key=True),
    *(Column(name, BigInteger, nullable=False) for name in ("items", "public_items", "relationships", "sample_seed")),
    timestamp("refreshed_at"),
    CheckConstraint(_SOURCE_CHECK),
)

tag_sample = _ledger_table(
    "tag_sample",
    Column("content_source", String(10), primary_key=True),
    Column("slot", Integer, primary_key=True),
    Column("content_id", Integer, nullable=False),
    Column("is_private", Boolean, nullable=False),
    Column("tag_ids", ARRAY(Uuid), nullable=False),
    CheckConstraint(_SOURCE_CHECK),
    CheckConstraint("slot >= 0"),
)

service_keys = _ledger_table(
    "service_keys",
    Column("name", Text, primary_key=True),
    Column("key", LargeBinary, nullable=False),
    timestamp("created_at"),
    CheckConstraint("octet_length(key) >= 32"),
)
