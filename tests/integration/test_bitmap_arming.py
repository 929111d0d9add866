"""Arming and disarming beside writers, writers with few rights or odd paths, and what TRUNCATE does to the index."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager

import pytest
from psycopg import errors, sql

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import CheckFailed, LockNotAcquired
from genonaut_lib.migration.phases import PHASES, Context
from genonaut_lib.migration.phases.create_tag_bitmaps import MARKED, arm, arm_actions, disarm, is_armed
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import tag_id
from tests.factories import Gallery
from tests.integration import bitmap_gallery
from tests.integration.bitmap_gallery import OTHER, marks
from tests.migration.test_phases import apply_before

SERVE = "update workbench.bitmap_state set serving = 7, building = 8, building_snapshot = pg_current_snapshot()"
IN_SERVICE = "select serving, building, building_snapshot is not null from workbench.bitmap_state"
VERSION = "select version from workbench.bitmap_state"
OWN = "select relname from pg_class where relnamespace = 'workbench'::regnamespace and relname ~ 'bitmap' order by 1"
CHANGE = "update content_items set is_private = true where id = 1"


@pytest.fixture(scope="module")
def to_copy(admin_url: str) -> Iterator[str]:
    """The database that is copied."""
    with bitmap_gallery.model(admin_url) as name:
        yield name


@pytest.fixture
def armed(to_copy: str, admin_url: str) -> Iterator[Context]:
    """A migrated gallery, armed, with three items of each source and a third tag that nothing carries."""
    with bitmap_gallery.copy(admin_url, to_copy) as context:
        yield context


@pytest.fixture
def another(armed: Context) -> Iterator[Connection]:
    """A second session on the same database."""
    with closing(engine.connect(armed.settings)) as session:
        yield session


@contextmanager
def role(connection: Connection, *rights: str) -> Iterator[sql.Identifier]:
    """Make a role with rights on tables, `what on which`, and none on the schema workbench."""
    name = sql.Identifier(f"app_{uuid.uuid4().hex[:8]}")
    connection.execute(sql.SQL("create role {}").format(name))
    for right in rights:
        connection.execute(sql.SQL("grant ") + sql.SQL(right) + sql.SQL(" to {}").format(name))  # type: ignore[arg-type]
    try:
        yield name
    finally:
        connection.execute("reset role")
        connection.execute(sql.SQL("drop owned by {}").format(name))
        connection.execute(sql.SQL("drop role {}").format(name))


def hasty(settings: Settings) -> Settings:
    """Return settings that give up on a lock after two short attempts."""
    database = settings.database.model_copy(
        update={"lock_timeout_ms": 50, "lock_attempts": 2, "lock_retry_max_s": 0.05}
    )
    return settings.model_copy(update={"database": database})


def test_a_writer_needs_no_right_on_the_marks(armed: Context) -> None:
    """Nor on their schema; and it can neither read nor write them."""
    connection = armed.connection
    content = "select, insert, update, delete on content_items_all, content_items, content_tags"
    with role(connection, content) as name:
        connection.execute(sql.SQL("set role {}").format(name))
        connection.execute(CHANGE)
        connection.execute("delete from content_items_all where id = 3 and source_type = 'auto'")
        connection.execute("insert into content_tags values (2, 'auto', %s)", [OTHER])
        for forbidden in ("select from workbench.bitmap_marks", "delete from workbench.bitmap_marks"):
            with pytest.raises(errors.InsufficientPrivilege):
                connection.execute(forbidden.encode())
    assert marks(connection) == {("items", 1): False, ("auto", 3): True, ("auto", 2): False}


@pytest.mark.parametrize("function", sorted({*MARKED.values(), "forget_bitmaps"}))
def test_nobody_hangs_our_functions_on_a_table_of_his_own(function: str, armed: Context) -> None:
    """They run with the owner's rights: whoever could, would mark what he likes and end the index's service."""
    connection = armed.connection
    with role(connection, "usage on schema workbench", "create on schema public") as name:
        connection.execute(sql.SQL("set role {}").format(name))
        connection.execute("create table mine (source_type text, id integer)")
        with pytest.raises(errors.InsufficientPrivilege):
            connection.execute(
                f"create trigger t after truncate on mine for each statement execute function workbench.{function}()"
                .encode()
            )  # fmt: skip


def test_no_search_path_leads_a_mark_astray(armed: Context) -> None:
    """Tables, transition tables and operators of the same names, in front of the path or in schema public."""
    connection = armed.connection
    connection.execute("create schema trap create table bitmap_marks (like workbench.bitmap_marks)")
    for name in ("new_rows", "old_rows"):
        connection.execute(f"create temporary table {name} (source_type text, id integer, content_id integer)".encode())
    connection.execute(
        "create function public.other(varchar, varchar) returns boolean language plpgsql"
        " as $$ begin raise 'called with the rights of %', current_user; end $$;"
        " create operator public.= (leftarg = varchar, rightarg = varchar, function = public.other)"
    )
    connection.execute("set search_path = trap, pg_temp, public")
    connection.execute("insert into content_tags values (2, 'regular', %s)", [OTHER])
    connection.execute("update content_items_all set created_at = now() where id = 1")
    assert marks(connection) == {("items", 2): False, ("items", 1): True, ("auto", 1): True}


@pytest.mark.parametrize("table", MARKED)
def test_truncating_takes_the_index_out_of_service(table: str, armed: Context) -> None:
    """It names no items; whatever is being built is given up with it, and readers drop what they kept."""
    connection = armed.connection
    connection.execute(SERVE)
    ((before,),) = connection.execute(VERSION)
    connection.execute(f"truncate {table} cascade".encode())
    assert connection.execute(IN_SERVICE).fetchall() == [(None, None, False)]
    assert connection.execute(VERSION).fetchall() > [(before,)]


def test_a_truncate_that_is_rolled_back_leaves_the_index_in_service(armed: Context) -> None:
    """It is part of the writer's transaction."""
    armed.connection.execute(SERVE)
    with armed.connection.transaction(force_rollback=True):
        armed.connection.execute("truncate content_tags")
    assert armed.connection.execute(IN_SERVICE).fetchall() == [(7, 8, True)]


def test_a_writer_whose_snapshot_is_older_than_arming_leaves_marks(armed: Context, another: Connection) -> None:
    """At REPEATABLE READ as well: which triggers fire is no matter of its snapshot."""
    disarm(armed.connection, armed.settings.database)
    another.execute("begin isolation level repeatable read")
    another.execute("select count(*) from users")
    arm(armed.connection, armed.settings.database)
    another.execute(CHANGE)
    another.execute("delete from content_tags where content_id = 2 and content_source = 'auto'")
    another.execute("commit")
    assert marks(armed.connection) == {("items", 1): False, ("auto", 2): False}


def test_two_writers_of_one_item_do_not_wait_in_the_marks(armed: Context, another: Connection) -> None:
    """Nothing is unique there, and nothing is changed: each adds its own."""
    another.execute("set lock_timeout = '5s'")
    with armed.connection.transaction():
        armed.connection.execute("delete from content_tags where content_id = 1 and tag_id = %s", [tag_id("anime")])
        another.execute("delete from content_tags where content_id = 1 and tag_id = %s", [tag_id("manga")])
    question = "select content_id, count(distinct changed_by) from workbench.bitmap_marks group by content_id"
    assert another.execute(question).fetchall() == [(1, 2)]


def test_arming_waits_for_writers_and_names_them(armed: Context, another: Connection) -> None:
    """A writer in flight leaves no mark, so no build may begin before it has ended; half armed is not armed."""
    disarm(armed.connection, armed.settings.database)
    with another.transaction():
        another.execute("update content_items_auto set is_private = true")
        with pytest.raises(LockNotAcquired, match="content_items_auto"):
            arm(armed.connection, hasty(armed.settings).database)
        assert not is_armed(armed.connection)
    arm(armed.connection, armed.settings.database)
    assert is_armed(armed.connection)


def test_arming_again_waits_for_nobody(armed: Context, another: Connection) -> None:
    """A further build takes no lock on tables that are armed."""
    with another.transaction():
        another.execute(CHANGE)
        arm(armed.connection, hasty(armed.settings).database)


@pytest.mark.parametrize("table", MARKED)
@pytest.mark.parametrize(
    "damage",
    [
        "drop trigger mark_on_update on {}",
        "alter table {} disable trigger mark_on_delete",
        "alter table {} enable replica trigger forget_on_truncate",
        "create or replace trigger mark_on_insert after insert on {} for each statement execute function idle()",
    ],
)
def test_one_trigger_less_is_not_armed_and_arming_mends_it(damage: str, table: str, armed: Context) -> None:
    """Dropped, disabled, or one of the same name that does something else."""
    connection = armed.connection
    connection.execute("create function idle() returns trigger language plpgsql as $$ begin return null; end $$")
    connection.execute(sql.SQL(damage).format(sql.Identifier(table)))  # type: ignore[arg-type]
    assert not is_armed(connection)
    arm(connection, armed.settings.database)
    assert is_armed(connection)


def test_disarming_ends_service_triggers_and_marks(armed: Context) -> None:
    """From then on writes leave nothing; disarming again does nothing."""
    connection = armed.connection
    connection.execute(SERVE)
    connection.execute(CHANGE)
    connection.execute("insert into workbench.bitmap_marks_kept select * from workbench.bitmap_marks")
    for _ in range(2):
        disarm(connection, armed.settings.database)
        connection.execute("update content_items_all set is_private = not is_private")
        connection.execute("delete from content_tags where content_id = 1")
        connection.execute("truncate content_tags")
    assert connection.execute(IN_SERVICE).fetchall() == [(None, None, False)]
    assert connection.execute("select from workbench.bitmap_marks_kept").fetchall() == []
    assert marks(connection) == {}


def test_an_older_snapshot_keeps_its_marks_while_the_index_is_disarmed(armed: Context, another: Connection) -> None:
    """It still sees the index in service, and would answer wrongly without them."""
    armed.connection.execute(SERVE)
    armed.connection.execute(CHANGE)
    another.execute("begin isolation level repeatable read")
    assert another.execute("select serving from workbench.bitmap_state").fetchall() == [(7,)]
    disarm(armed.connection, armed.settings.database)
    assert marks(armed.connection) == {}
    assert another.execute("select content_id from workbench.bitmap_marks").fetchall() == [(1,)]
    another.execute("rollback")


def test_no_snapshot_sees_the_index_serve_without_its_triggers(armed: Context) -> None:
    """Whoever puts it into service between two steps of disarming has it taken out by the next one."""
    connection = armed.connection
    disarm(connection, armed.settings.database)
    arm(connection, armed.settings.database)
    connection.execute(SERVE)
    step = next(step for step in PHASES["create_tag_bitmaps"].undo_actions() if step.id == "disarm:content_tags")  # type: ignore[attr-defined]
    with connection.transaction():
        connection.execute(step.statement)
    assert connection.execute(IN_SERVICE).fetchall() == [(None, None, False)]


def test_a_disarming_that_gives_up_leaves_the_index_out_of_service(armed: Context, another: Connection) -> None:
    """Slow answers, never wrong ones; the next start goes on."""
    armed.connection.execute(SERVE)
    with another.transaction():
        another.execute("select from content_items_all")
        with pytest.raises(LockNotAcquired):
            disarm(armed.connection, hasty(armed.settings).database)
    assert armed.connection.execute(IN_SERVICE).fetchall() == [(None, None, False)]
    disarm(armed.connection, armed.settings.database)
    assert not is_armed(armed.connection)


def test_arming_before_the_phase_is_refused(context: Context, gallery: Gallery) -> None:
    """There is nothing yet to write marks to."""
    apply_before(context, "seed_tags")
    with pytest.raises(CheckFailed, match="0009"):
        arm(context.connection, context.settings.database)
    assert not is_armed(context.connection)


def test_arming_is_bounded_in_every_statement(armed: Context) -> None:
    """One table a statement: no two locks are held at once, so no writer meets them in another order."""
    assert [step.id for step in arm_actions()] == [f"arm:{table}" for table in MARKED]
    assert {step.lock for step in arm_actions()} == {"SHARE ROW EXCLUSIVE"}
