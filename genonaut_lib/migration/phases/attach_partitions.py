"""Attach both content tables to `content_items_all` without scanning or moving a row.

A validated CHECK proves the partition bound, indexes of the parent's shape are built beforehand
CONCURRENTLY, so ATTACH PARTITION only writes the catalogue.
"""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.migration import junction_check, revisions
from genonaut_lib.migration.indexes import build_index
from genonaut_lib.migration.phases.backfill_content_tags import is_filled
from genonaut_lib.migration.phases.base import Context, SchemaPhase
from genonaut_lib.migration.phases.drop_legacy_tags import is_empty
from genonaut_lib.migration.plan import Action, Check, Probe, Requirement, Verification, action, probe
from genonaut_lib.vocabulary import ContentSource

FILE = "attach_partitions"
PARENT = "content_items_all"
GATE = revisions.Gate("verify_content_tags", "22_verify_content_tags", junction_check.TASKS)
IDENTITY_INDEX = {ContentSource.REGULAR: "items_uidx_id_src", ContentSource.AUTO: "auto_uidx_id_src"}
NEXT_STEP = (
    "Drop an index of that name and another shape, if there is one; run 30_attach_partitions again, which adds, "
    "validates and builds what is missing while the gallery is in use."
)
IDS_ARE_SHARED = Probe(block(FILE, "ids_are_shared"), {})
IDS_ARE_PARTED = Probe(block(FILE, "ids_are_parted"), {})
PARENT_INDEXES = {
    "create_parent_identity_index": "content_items_all_uidx_id_src",
    "create_parent_keyset_index": "idx_content_items_all_created_id_desc",
}


@dataclass(frozen=True)
class AttachPartitions(SchemaPhase):
    """Phase 30; see the module."""

    name: str = "attach_partitions"
    title: str = "Attach both tables to one partitioned parent"
    notebook: str = "30_attach_partitions"
    revision: str = revisions.ATTACH_PARTITIONS
    before: str = revisions.CREATE_CONTENT_TAGS

    def check(self, context: Context) -> list[Check]:
        """Besides the revision: a verified junction, equal columns, and no transaction to wait for."""
        checks = super().check(context)
        connection = context.connection
        differing = connection.execute(block(FILE, "differing_columns").sql()).fetchall()
        finding = "; ".join(f"{name}: {one} / {other}" for name, one, other in differing) or "equal"
        checks.append(Check("columns of both tables", not differing, finding))
        closed = None if is_empty(connection) else GATE.closed_because(connection)
        checks.append(
            Check("junction verified", not closed, f"it {closed}; run {GATE.notebook}" if closed else "passed")
        )
        filled = is_filled(connection) or is_empty(connection)
        checks.append(Check("junction filled", filled, "every range" if filled else "run 21_backfill_content_tags"))
        return checks

    def actions(self) -> list[Action]:
        """Columns, proofs and indexes table by table; then the parent; then the two attachments."""
        steps: list[Action] = []
        for source in ContentSource:
            steps += _prepare(source)
        steps.append(action("create:parent", block(FILE, "create_parent"), done=probe("has_relation", PARENT)))
        for name, index in PARENT_INDEXES.items():
            steps.append(action(f"create:{index}", block(FILE, name), done=probe("has_relation", index)))
        steps.append(action("share:ids", block(FILE, "share_ids"), done=IDS_ARE_SHARED, waits=2))
        steps += [step for source in ContentSource for step in _attach(source)]
        return [*steps, action("analyze:parent", block("upkeep", "analyze"), table=PARENT)]

    def undo_actions(self) -> list[Action]:
        """Detach, give the tables their own sequences back, drop what was added."""
        steps = [step for source in ContentSource for step in _detach(source)]
        gone = probe("has_column", PARENT, wanted=False, column="source_type")
        steps.append(action("part:ids", block(FILE, "part_ids"), done=IDS_ARE_PARTED, waits=2))
        steps.append(action("drop:parent", block(FILE, "drop_parent"), done=gone))
        for source in ContentSource:
            steps += _take_back(source)
        return steps

    def verify(self, context: Context) -> Verification:
        """Besides the catalogue: as many rows through the parent as in each table."""
        catalogue = super().verify(context)
        figures: dict[str, int | str] = dict(catalogue.figures)
        samples = list(catalogue.samples)
        for source in ContentSource:
            row = context.connection.execute(
                block(FILE, "rows_moved").sql(table=source.table), {"value": source.partition}
            ).fetchone()
            assert row is not None
            figures[f"rows {source.partition}"] = int(row[0])
            if row[0] != row[1]:
                samples.append(f"{source.table}: {row[1]} rows, {row[0]} through the parent")
        return Verification(self.name, catalogue.examined + 2, len(samples), figures, tuple(samples))


def gate(connection: Connection, _confirm: str) -> None:
    """Raise GateClosed for a database with content whose junction was not verified."""
    if not is_empty(connection):
        revisions.require_verified(connection, GATE)


def keyset_index(source: ContentSource) -> str:
    """Return the name of the source's (created_at desc, id desc) index."""
    return f"idx_{source.table}_created_id_desc"


def _prepare(source: ContentSource) -> list[Action]:
    table, constraint, value = source.table, f"{source.table}_source_type_check", sql.Literal(source.partition)
    attached = probe("is_partition", table, parent=PARENT)
    column = probe("has_column", table, column="source_type")
    there = probe("has_constraint", table, constraint=constraint)
    valid = probe("has_valid_constraint", table, constraint=constraint)
    add, validate = block(FILE, "add_proof"), block(FILE, "validate_proof")
    steps = [
        action(f"add:{table}.source_type", block(FILE, "add_source_type"), done=column, table=table, value=value),
        action(f"add:{constraint}", add, done=(attached, there), table=table, constraint=constraint, value=value),
        action(f"validate:{constraint}", validate, done=(attached, valid), table=table, constraint=constraint),
    ]
    indexes = {"create_identity_index": IDENTITY_INDEX[source], "create_keyset_index": keyset_index(source)}
    for name, index in indexes.items():
        steps += build_index(block(FILE, name), table, index)
    return steps


def _attach(source: ContentSource) -> list[Action]:
    table, proof = source.table, f"{source.table}_source_type_check"
    values = {"relation": table, "parent": PARENT, "value": source.partition}
    proofs = Requirement(block(FILE, "missing_proofs"), values, NEXT_STEP)
    attached = probe("is_partition", table, parent=PARENT)
    attach, value = block(FILE, "attach"), sql.Literal(source.partition)
    return [
        _finalize(table),
        action(f"attach:{table}", attach, done=attached, requires=(proofs,), table=table, value=value),
        action(f"drop:{proof}", block(FILE, "drop_proof"), table=table, constraint=proof),
    ]


def _detach(source: ContentSource) -> list[Action]:
    table = source.table
    gone = probe("is_partition", table, wanted=False, parent=PARENT)
    return [action(f"detach:{table}", block(FILE, "detach"), done=gone, table=table), _finalize(table)]


def _finalize(table: str) -> Action:
    """A killed DETACH CONCURRENTLY leaves a partition that is neither attached nor detached."""
    settled = probe("is_detach_pending", table, wanted=False, parent=PARENT)
    return action(f"finalize:{table}", block(FILE, "finalize_detach"), done=settled, waits=2, table=table)


def _take_back(source: ContentSource) -> list[Action]:
    gone = probe("has_column", source.table, wanted=False, column="source_type")
    indexes = (IDENTITY_INDEX[source], keyset_index(source))
    steps = [action(f"drop:{index}", block("upkeep", "drop_index"), index=index) for index in indexes]
    drop = block(FILE, "drop_source_type")
    return [*steps, action(f"drop:{source.table}.source_type", drop, done=gone, table=source.table)]
