"""Every data statement of `genonaut_lib/sql` is understood by PostgreSQL at the stage it belongs to."""

from __future__ import annotations

import string
import uuid
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from itertools import product

import psycopg
import pytest
from psycopg import sql
from psycopg.types.json import Json, Jsonb

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import Block, block, blocks, files
from genonaut_lib.migration.phases import PHASES, Context
from genonaut_lib.tuning import legacy_path
from genonaut_lib.tuning.cases import Case
from genonaut_lib.vocabulary import ContentSource
from tests.factories import Gallery
from tests.migration.test_phases import apply_before

ATTACHED = "attached"
STAGES = ["seed_tags", "expand_tag_columns", "backfill_tag_uuids", "backfill_content_tags", ATTACHED]
"""Each stage is called after the phase that comes next."""

DDL_FILES = {"legacy", "legacy_undo", "ledger_schema", "ledger_schema_undo"}
FIRST_STAGE_OF = {
    "advisory": "seed_tags",
    "backfill": "seed_tags",
    "bitmap_standing": ATTACHED,
    "backfill_bench": "backfill_content_tags",
    "backfill_control": "seed_tags",
    "bulk_content_tags": "backfill_content_tags",
    "catalog": "seed_tags",
    "content": "seed_tags",
    "copy": "seed_tags",
    "decisions": "seed_tags",
    "generation": "seed_tags",
    "ledger": "seed_tags",
    "measurements": "expand_tag_columns",
    "naming": "expand_tag_columns",
    "pressure": "seed_tags",
    "estimates": "seed_tags",
    "session": "seed_tags",
    "snapshot": "seed_tags",
    "seed_tags": "expand_tag_columns",
    "verify": "seed_tags",
    "verify_tag_uuids": "backfill_tag_uuids",
    "verify_content_tags": "backfill_content_tags",
    "backfill_tag_uuids": "backfill_tag_uuids",
    "backfill_content_tags": "backfill_content_tags",
    "attach_partitions": ATTACHED,
    "create_sidecars": ATTACHED,
    "create_tag_bitmaps": ATTACHED,
    "bitmap_marks": ATTACHED,
    "bitmap_build": ATTACHED,
    "bitmap_seal": ATTACHED,
    "bitmap_health": ATTACHED,
    "create_gallery_stats": ATTACHED,
    "statistics": ATTACHED,
    "tag_stats": ATTACHED,
    "cut_over": ATTACHED,
    "hierarchy": "expand_tag_columns",
    "gallery_bench": ATTACHED,
    "bitmap_bench": ATTACHED,
    "gallery_view": ATTACHED,
    "gallery": "expand_tag_columns",
    "counts": "seed_tags",
    "tag_bitmaps": ATTACHED,
    "items": ATTACHED,
    "holdings": ATTACHED,
    "run_records": "seed_tags",
    "approvals": "seed_tags",
    "scheduled_runs": "seed_tags",
    "fingerprints": ATTACHED,
}
LAST_STAGE_OF = {
    "verify_tag_uuids": "backfill_tag_uuids",
    "backfill_tag_uuids": "backfill_tag_uuids",
    "content": "expand_tag_columns",
    "generation": "expand_tag_columns",
    "seed_tags": "expand_tag_columns",
}
FRAGMENTS = {
    *(("legacy_gallery", name) for name in ("branch", "contains", "page")),
    ("explain", "analyzed"),
    *(("plain_gallery", name) for name in ("branch", "carries", "page", "counted_page")),
}
"""Parts of one statement, tested as a whole: the legacy page below, an explained page in test_gallery_service, the
plain gallery in test_gallery_bench."""

TEMPORARY = {
    "content": ["stage"],
    "generation": ["stage_tags", "stage_items", "index_tags"],
    "seed_tags": ["stage_tags", "stage_spellings"],
    "bitmap_seal": ["stage_bits", "stage_chunks", "stage_places", "stage_creators"],
    "tag_stats": ["stage_tags", "stage_creators", "stage_sample"],
}
NOT_EXPLAINABLE = (
    "comment", "create", "copy", "truncate", "drop", "lock", "vacuum", "analyze", "alter", "begin", "set ",
)  # fmt: skip
NOW = datetime(2025, 1, 1, tzinfo=UTC)
VALUES: dict[str, object] = {
    "after": 0, "upto": 10, "limit": 20, "rows": 20, "source": "regular", "task": "a task", "value": "items",
    "relation": "content_items", "column": "tags", "constraint": "c", "trigger": "t", "parent": "content_items_all",
    "range_no": 1, "after_id": 0, "upto_id": 10, "cursor": 10, "rows_read": 10, "rows_changed": 5, "seconds": 0.5,
    "lock_timeout": "400ms", "statement_timeout": "30s", "dataset": "a file", "digest": "0f", "environment": "test",
    "items_loaded": 1, "lines_rejected": 0, "name": "migrate", "pipeline_id": uuid.UUID(int=1), "step": "a step",
    "state": "ok", "run_id": uuid.UUID(int=2), "notebook": "n", "actor": "a", "parameters": Jsonb({}),
    "notebook_digest": "0f", "output_path": None, "failure": Jsonb({}), "phase": "p", "passed": True,
    "examined": 1, "mismatches": 0, "details": Json({}), "tags": [uuid.UUID(int=3)], "moment": "before",
    "case_name": "c", "path": "p", "query": Jsonb({}), "row_keys": Jsonb([]), "p50_ms": 0.5, "p95_ms": 0.5,
    "samples": 3, "seed": 1, "first": 1, "last": 10, "items": 10, "ties": 1, "rate": 1e-9, "facets": ["style"],
    "key": "k", "pid": 1, "marker": "m",
    "words": ["anime"], "ids": [uuid.UUID(int=3)], "starts": ["anime"], "variants": ["anim"], "neighbours": 5,
    "scanned": 100,
    "ignored": [], "tables": ["content_items"], "pids": [1], "timeout": "500ms",
    "ledger": "workbench",
    "kind": "variant", "decision": "map", "reason": None,
    "regular_every": 18, "regular": True, "last_created_at": NOW, "spread": timedelta(days=1),
    "percent": 100.0, "least": 1, "last_range": 0, "wanted": "run", "workers": 2, "batch_target_s": 0.5, "pause_s": 0.0,
    "requested_by": "a", "engine_id": uuid.UUID(int=4), "host": "h", "process_id": 1, "reasons": Jsonb([]),
    "rows_per_second": 1.0, "eta_s": 1.0, "active_s": 1.0, "event": "paused", "silent_s": 5.0, "id": 1,
    "tasks": ["a task"], "found": Jsonb([]), "follows": 0, "started_at": NOW, "coverage": 100.0, "pairs": 1,
    "rows_examined": 1, "most": 10, "viewer": uuid.UUID(int=5), **ContentSource.spellings(),
    "tag_id": uuid.UUID(int=3), "child_id": uuid.UUID(int=3), "parent_id": uuid.UUID(int=5),
    "title": "t", "creator": uuid.UUID(int=5), "numbers": [1], "made": [1], "labels": ["l"],
    "budget_ms": 100, "setting": "0",
    "tag_no": 1, "tag_nos": [1], "ranks_of_chunk": 15_872,
    "epoch": 1, "version": 1, "lows": [0], "highs": [1], "low": 0, "high": 1, "chunks": [0], "bits": [],
    "created_at": NOW,
    "others": True, "regular_ids": [1], "auto_ids": [1], "regular_junction": "regular", "auto_junction": "auto",
    "marks": "mark_content",
    "server_started": NOW, "database": 1, "built_at": NOW, "snapshot": "1:1:", "auto": "auto",
    "item_ids": [1], "partition": "items", "junction": "regular", "in_block": 127, "block_shift": 7,
    "late_s": 2.0, "horizon": "2025-01-01", "after_at": "-infinity", "after_source": "",
    "junction_sources": ["regular"], "sources": ["items"], "blocks": [0],
    "creators": [uuid.UUID(int=5)], "spans": [0], "keep": [None], "ranks": 1, "end_at": "2025-01-01",
    "rare_most": 1, "sealed": 1,
    "end_source": "items", "end_id": 1, "chunk": 0, "span": 0,
    "statement_ms": 1, "lock_ms": 1, "idle_ms": 1,
    "content_ids": [1], "chunk_count": 1,
    "pipelines": ["seal"], "pipeline": "seal", "due_at": NOW, "dues": [NOW], "times": "* * * * * UTC", "days": 90,
    "scheduler_id": uuid.UUID(int=6), "before": uuid.UUID(int=7), "exit_code": 0, "remark": None,
    "fingerprint_key": b"k" * 32,
    "deadline_at": NOW, "resumed_from": uuid.UUID(int=2), "prefix": "0",
    "content_type": "t", "content_data": "", "item_metadata": None, "quality_score": None, "is_private": False,
    "path_thumb": None, "path_thumbs_alt_res": None, "prompt": "p", "retagged": False,
    "folder": "/o/", "folder_id": "f", "folder_place": 1, "place": 1, "previous": "0f", "hash": "0f",
    "plan_digest": "0f", "plan": Jsonb({}), "approval": Jsonb({}), "approver": "a", "account": "a", "note": None,
    "valid_s": 60.0,
    "record_hash": "0f", "body": "{}", "start": "3f2a",
}  # fmt: skip
COLUMNS: dict[str, sql.Composable] = {
    "ids": sql.SQL("'{}'::uuid[]"), "names": sql.SQL("'[]'::jsonb"), "waiting": sql.SQL("true"),
    "source": sql.Literal("regular"), "epoch_table": sql.Identifier("workbench", "tag_bitmaps"),
    "columns": sql.Identifier("title"), "given": sql.SQL("'t'"),
}  # fmt: skip
"""Parts of a sample's statement that are no table."""
TAGS_OF = {"generation": 106}


def is_data(found: Block) -> bool:
    """Whether the block reads or writes rows, judged by its first word; DDL names its lock besides."""
    return not found.lock and not found.text.lower().startswith(NOT_EXPLAINABLE)


def data_blocks() -> Iterator[Block]:
    for file in files():
        if file not in DDL_FILES:
            yield from (found for found in blocks(file).values() if is_data(found))


def stages_of(file: str) -> list[str]:
    first = STAGES.index(FIRST_STAGE_OF[file])
    last = STAGES.index(LAST_STAGE_OF.get(file, ATTACHED))
    return STAGES[first : last + 1]


def explain(connection: Connection, found: Block) -> None:
    """Have the statement parsed, analysed and planned; nothing is carried out."""
    names = {name for _, name, _, _ in string.Formatter().parse(found.text.replace("%%", "")) if name}
    identifiers: dict[str, str | sql.Composable] = {name: COLUMNS.get(name, "content_items") for name in names}
    values = VALUES | ({"tags": TAGS_OF[found.file]} if found.file in TAGS_OF else {})
    with connection.transaction(force_rollback=True):
        for temporary in TEMPORARY.get(found.file, ()):
            staging = block(found.file, temporary)
            connection.execute(staging.sql(), VALUES if "%(" in staging.text else None)
        connection.execute(sql.SQL("explain ") + found.sql(**identifiers), values)


def complaints(connection: Connection, stage: str) -> dict[str, str]:
    found = {}
    for one in data_blocks():
        if (one.file, one.name) in FRAGMENTS or stage not in stages_of(one.file):
            continue
        try:
            explain(connection, one)
        except psycopg.Error as error:
            found[f"{one.file}.{one.name}"] = str(error).splitlines()[0]
    return found


@pytest.mark.parametrize("stage", STAGES)
def test_every_data_statement_fits_the_schema_of_its_stage(stage: str, context: Context, gallery: Gallery) -> None:
    """A typo in a statement, or a column that a phase took away, fails here in seconds."""
    gallery.legacy_item(["anime"])
    apply_before(context, stage if stage in PHASES else "")
    assert complaints(context.connection, stage) == {}


def test_every_file_with_data_statements_has_a_stage() -> None:
    """A new SQL file says at which stage its statements are used."""
    assert {found.file for found in data_blocks()} - set(FIRST_STAGE_OF) == {file for file, _ in FRAGMENTS}


def test_every_statement_without_a_plan_is_known() -> None:
    """What PostgreSQL cannot explain is either DDL with its lock named, or prepares a temporary table."""
    rest = {
        (found.file, found.name)
        for file in files()
        if file not in DDL_FILES
        for found in blocks(file).values()
        if not found.lock and not is_data(found)
    }
    temporary = {(file, name) for file, names in TEMPORARY.items() for name in names}
    assert rest - temporary == {
        ("catalog", "schema"), ("content", "copy_staged"), ("copy", "into"), ("generation", "clear_items"),
        ("generation", "drop_indexes"), ("seed_tags", "lock_tags"), ("catalog", "note_empty_at_adoption"),
        ("catalog", "note_adopted"), ("copy", "binary_into"),
        *(("bitmap_seal", f"copy_{what}") for what in ("bits", "chunks", "places", "creators")),
        ("gallery", "begin"), ("gallery", "begin_snapshot"), ("gallery", "begin_bitmaps"), ("gallery", "bounds"),
        ("items", "hold"),
    }  # fmt: skip


def test_copies_find_the_columns_they_fill(connection: Connection, gallery: Gallery) -> None:
    """COPY has no plan; it is carried out with no row."""
    with connection.transaction(force_rollback=True), connection.cursor() as cursor:
        for file, target in (("generation", "shape_tags"), ("seed_tags", "incoming_tags")):
            cursor.execute(block(file, "stage_tags").sql())
            with cursor.copy(block("copy", "into").sql(table=target)):
                pass
        cursor.execute(block("content", "stage").sql())
        with cursor.copy(block("content", "copy_staged").sql()):
            pass
        for what in ("bits", "chunks", "places", "creators"):
            cursor.execute(block("bitmap_seal", f"stage_{what}").sql())
            with cursor.copy(block("bitmap_seal", f"copy_{what}").sql()):
                pass
        assert cursor.rowcount == 0


def test_the_legacy_page_is_understood_in_all_its_forms(connection: Connection, gallery: Gallery) -> None:
    """Every combination of scope, match and number of tags makes one valid statement."""
    for count, mine, match in product((0, 1, 3), (True, False), ("any", "all")):
        ids = tuple(uuid.UUID(int=number) for number in range(count))
        case = Case("c", ids, match, mine, 2, gallery.user())
        statement, values = legacy_path.page_statement(case, {tag: ["a'b", str(tag)] for tag in ids})
        assert connection.execute(sql.SQL("explain ") + statement, values).fetchone() is not None


@pytest.mark.parametrize("source", list(ContentSource))
def test_ranges_and_checkpoints_do_what_their_names_say(
    source: ContentSource, connection: Connection, gallery: Gallery
) -> None:
    """The statements of the backfill engine, carried out once by hand."""
    item = gallery.legacy_item([], source)
    values = VALUES | {"source": source.junction, "cursor": item}
    connection.execute(block("backfill", "open_ranges").sql(table=source.table), values)
    claimed = connection.execute(block("backfill", "claim").sql(), values).fetchall()
    connection.execute(block("backfill", "checkpoint").sql(), values)
    assert claimed == [(source.junction, 1, 0, item)]
    assert connection.execute(block("backfill", "claim").sql(), values).fetchall() == []
    assert connection.execute(block("backfill", "totals").sql(), values).fetchall() == [(source.junction, 1, 10, 5)]
