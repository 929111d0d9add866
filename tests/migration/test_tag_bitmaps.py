"""The phase of the tag bitmap index: tables that readers of the content may read, and no trace of it when undone."""

from __future__ import annotations

import uuid

import pytest
from psycopg import errors, sql

from genonaut_lib.db.bitmap_tables import CHUNK_BITS
from genonaut_lib.db.engine import Connection
from genonaut_lib.gallery.bitmaps import layout
from genonaut_lib.migration import revisions
from genonaut_lib.migration.phases import Context
from genonaut_lib.migration.phases.create_tag_bitmaps import FUNCTIONS, TABLES, CreateTagBitmaps, arm, is_armed
from genonaut_lib.migration.runner import undo_phase
from tests.factories import Gallery
from tests.migration.test_phases import apply, apply_before

PHASE = CreateTagBitmaps()
WRITER_ONLY = "workbench.bitmap_marks_kept"
OURS = """
select relname from pg_class where relnamespace = 'workbench'::regnamespace and relname ~ 'bitmap'
union all select proname from pg_proc where proname in ('mark_content', 'mark_links', 'forget_bitmaps')
union all select tgname from pg_trigger where tgname ~ '^(mark|forget)_on_'
"""
WRITES = (
    "update content_items_all set created_at = now()",
    "delete from content_tags where content_id = 2",
    "delete from content_items where id = 2",
    "truncate content_tags",
)


@pytest.fixture
def ready(context: Context, gallery: Gallery) -> Context:
    """A small gallery right before the phase."""
    for _ in range(3):
        gallery.legacy_item(["anime"])
    apply_before(context, PHASE.name)
    return context


def test_a_gallery_without_the_index_collects_no_marks(ready: Context) -> None:
    """The phase makes tables and functions; triggers come with a build."""
    apply(ready, PHASE.name)
    for statement in WRITES:
        ready.connection.execute(statement.encode())
    assert not is_armed(ready.connection)
    assert ready.connection.execute("select from workbench.bitmap_marks").fetchall() == []


def test_undoing_an_armed_index_leaves_nothing_behind(ready: Context) -> None:
    """Triggers go before what they call, so that no writer ever fails."""
    apply(ready, PHASE.name)
    arm(ready.connection, ready.settings.database)
    ready.connection.execute("update content_items_all set created_at = now()")
    undo_phase(PHASE, ready)
    assert ready.connection.execute(OURS).fetchall() == []
    for statement in WRITES:
        ready.connection.execute(statement.encode())
    apply(ready, PHASE.name)
    assert revisions.current(ready.connection) == PHASE.revision


@pytest.mark.parametrize("stopped", [1, 3, 5, 6, 8, 9, 15])
def test_writers_go_on_wherever_an_undo_stops(stopped: int, ready: Context) -> None:
    """After each step every kind of write works, and the undo goes on from there."""
    apply(ready, PHASE.name)
    arm(ready.connection, ready.settings.database)
    revisions.stamp(ready.settings, PHASE.before)
    revisions.run_actions(ready.connection, PHASE.undo_actions()[:stopped], ready.settings.database)
    for statement in WRITES:
        ready.connection.execute(statement.encode())
    undo_phase(PHASE, ready)
    assert ready.connection.execute(OURS).fetchall() == []


def test_whoever_reads_the_content_reads_the_index(ready: Context) -> None:
    """By rights of its own, and nobody else; only what the writers of the index need stays closed."""
    connection, name = ready.connection, sql.Identifier(f"app_{uuid.uuid4().hex[:8]}")
    connection.execute(sql.SQL("create role {}").format(name))
    connection.execute(sql.SQL("grant select on content_items to {}").format(name))
    apply(ready, PHASE.name)
    try:
        connection.execute(sql.SQL("set role {}").format(name))
        assert {table for table in TABLES.values() if not readable(connection, table)} == {WRITER_ONLY}
        for table in TABLES.values():
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(f"delete from {table}".encode())
    finally:
        connection.execute("reset role")
        connection.execute(sql.SQL("drop owned by {}").format(name))
        connection.execute(sql.SQL("drop role {}").format(name))


def readable(connection: Connection, table: str) -> bool:
    try:
        connection.execute(f"select from {table} limit 1".encode())
    except errors.InsufficientPrivilege:
        return False
    return True


def test_nobody_but_the_owner_may_call_the_functions(ready: Context) -> None:
    """They run with the owner's rights."""
    apply(ready, PHASE.name)
    found = ready.connection.execute(
        "select format('%s.%s', pronamespace::regnamespace, proname), prosecdef, proconfig from pg_proc p"
        " where pronamespace = 'workbench'::regnamespace and prosecdef"
        " and not exists (select from aclexplode(coalesce(proacl, acldefault('f', proowner))) a where a.grantee = 0)"
    ).fetchall()
    assert {name for name, _, _ in found} == set(FUNCTIONS.values())
    assert {tuple(paths) for _, _, paths in found} == {("search_path=pg_catalog, pg_temp",)}


def test_there_is_one_state_and_nothing_serves(ready: Context) -> None:
    """A second row would be a second opinion."""
    apply(ready, PHASE.name)
    rows = ready.connection.execute("select serving, building, version, epochs from workbench.bitmap_state").fetchall()
    assert rows == [(None, None, 0, 0)]
    for singleton in (True, False):
        with pytest.raises((errors.UniqueViolation, errors.CheckViolation)):
            ready.connection.execute("insert into workbench.bitmap_state (singleton) values (%s)", [singleton])


def test_a_chunk_has_as_many_bits_in_the_table_as_readers_count() -> None:
    """The layout stands in two places, since the models lie on a lower floor."""
    assert CHUNK_BITS == layout.CHUNK
