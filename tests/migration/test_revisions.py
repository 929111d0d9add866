"""The Alembic chain: straight through when empty, gated when there is content, equal to the models at head."""

from __future__ import annotations

import pytest

from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import CannotUndo, ConfirmationMissing, GateClosed
from genonaut_lib.migration import ledger, revisions
from genonaut_lib.migration.plan import Verification
from genonaut_lib.settings import Settings
from tests.factories import Gallery

RELATIONS = """
    select n.nspname, c.relname from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where n.nspname in ('public', 'workbench') and c.relname not like 'alembic%' order by 1, 2
"""


def test_an_empty_database_goes_straight_to_head(settings: Settings, connection: Connection) -> None:
    """No gate stands in the way of a database without content."""
    revisions.upgrade(settings, "head")
    assert revisions.current(connection) == revisions.HEAD


def test_the_finished_schema_equals_the_models(settings: Settings) -> None:
    """Autogenerate has nothing to propose at head."""
    revisions.upgrade(settings, "head")
    revisions.check(settings)


def test_going_down_to_base_leaves_nothing_behind(settings: Settings, connection: Connection) -> None:
    """Every table, index, sequence and function the chain made is gone again."""
    revisions.upgrade(settings, "head")
    revisions.downgrade(settings, "base")
    assert connection.execute(RELATIONS).fetchall() == []
    functions = "select count(*) from pg_proc where pronamespace = 'public'::regnamespace"
    assert connection.execute(functions).fetchone() == (0,)


def test_the_chain_can_be_walked_down_and_up_step_by_step(settings: Settings, connection: Connection) -> None:
    """Each revision's downgrade is the inverse of its upgrade, one at a time."""
    revisions.upgrade(settings, "head")
    at_head = connection.execute(RELATIONS).fetchall()
    for number in range(int(revisions.HEAD) - 1, 0, -1):
        revisions.downgrade(settings, f"{number:04}")
    revisions.upgrade(settings, "head")
    assert connection.execute(RELATIONS).fetchall() == at_head
    revisions.check(settings)


def test_content_is_never_dropped_by_a_downgrade(settings: Settings, gallery: Gallery) -> None:
    """`alembic downgrade base` on an adopted gallery stops before its tables."""
    gallery.legacy_item(["anime"])
    with pytest.raises(CannotUndo, match="does not drop"):
        revisions.downgrade(settings, "base")
    row = gallery.connection.execute("select count(*) from content_items").fetchone()
    assert row == (1,)


def test_the_drop_of_the_names_wants_its_confirmation_on_every_path(settings: Settings, gallery: Gallery) -> None:
    """A passed verification alone does not open the point of no return to plain alembic."""
    revisions.upgrade(settings, revisions.EXPAND_TAG_COLUMNS)
    gallery.item([])
    ledger.record_verification(gallery.connection, Verification("backfill_tag_uuids", 1, 0), None)
    with pytest.raises(ConfirmationMissing):
        revisions.upgrade(settings, "head")


def test_a_contracting_revision_refuses_unverified_content(settings: Settings, gallery: Gallery) -> None:
    """`alembic upgrade head` on a database with content stops at the gate and names the notebook."""
    gallery.legacy_item(["anime"])
    with pytest.raises(GateClosed, match="12_backfill_tag_uuids"):
        revisions.upgrade(settings, "head")
    assert revisions.current(gallery.connection) == revisions.EXPAND_TAG_COLUMNS


def test_a_failed_verification_keeps_the_gate_closed(settings: Settings, gallery: Gallery) -> None:
    """The newest finding counts: a pass that was followed by a failure is no pass."""
    gallery.legacy_item(["anime"])
    revisions.upgrade(settings, revisions.EXPAND_TAG_COLUMNS)
    for mismatches in (0, 3):
        ledger.record_verification(gallery.connection, Verification("backfill_tag_uuids", 1, mismatches), None)
    with pytest.raises(GateClosed, match="3 mismatches"):
        revisions.upgrade(settings, "head")


def test_a_half_done_revision_is_finished_by_the_next_start(settings: Settings, gallery: Gallery) -> None:
    """What a killed start left behind is found in the catalogue, not done twice."""
    connection = gallery.connection
    revisions.upgrade(settings, revisions.CREATE_CONTENT_TAGS)
    connection.execute("alter table content_items add column source_type text not null default 'items'")
    connection.execute("create sequence content_items_all_id_seq")
    connection.execute("create unique index items_uidx_id_src on content_items (id, source_type)")
    revisions.upgrade(settings, "head")
    revisions.check(settings)


def test_an_invalid_index_left_by_a_killed_build_is_rebuilt(settings: Settings, gallery: Gallery) -> None:
    """A leftover of CREATE INDEX CONCURRENTLY is found, dropped and built again."""
    connection = gallery.connection
    gallery.legacy_item([])
    revisions.upgrade(settings, revisions.EXPAND_TAG_COLUMNS)
    connection.execute("delete from content_items")
    revisions.upgrade(settings, revisions.CREATE_CONTENT_TAGS)
    connection.execute("create index idx_content_items_created_id_desc on content_items (created_at desc, id desc)")
    connection.execute(
        "update pg_index set indisvalid = false where indexrelid = 'idx_content_items_created_id_desc'::regclass"
    )
    revisions.upgrade(settings, "head")
    valid = "select indisvalid from pg_index where indexrelid = 'idx_content_items_created_id_desc'::regclass"
    assert connection.execute(valid).fetchone() == (True,)
