"""The cut over and its undo: what is refused, what goes on, and that no write is lost in either direction."""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import replace

import psycopg
import pytest
from psycopg import errors, sql
from sqlalchemy.exc import DBAPIError

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import CannotUndo, CheckFailed, GateClosed, GenonautError
from genonaut_lib.migration import ledger, revisions
from genonaut_lib.migration.phases import PHASES, Context, cut_over
from genonaut_lib.migration.plan import Verification
from genonaut_lib.migration.runner import undo_phase
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import ContentSource
from tests.factories import Gallery
from tests.migration.application import (
    NAMES,
    TAGS,
    Item,
    Writer,
    at_work,
    expected,
    in_arrays,
    in_junction,
    write_array,
    write_junction,
)
from tests.migration.test_phases import apply, apply_before

OpenSession = Callable[[], Connection]
A, B, C, D, E = TAGS
CUT_OVER = cut_over.CutOver()
READ_ONLY = errors.ObjectNotInPrerequisiteState


def waiting(context: Context) -> None:
    """Make 80 items, verified and attached, that wait for their cut over."""
    gallery = Gallery(context.connection)
    for source in ContentSource:
        for number in range(40):
            gallery.legacy_item(list(NAMES[: number % 5 + 1]), source)
    apply_before(context, "cut_over")


MODELS = {"ready": waiting}


@pytest.fixture
def ready(context: Context, gallery: Gallery) -> Context:
    """A gallery of the test's own that waits for its cut over."""
    return context


@pytest.fixture
def cut(ready: Context) -> Context:
    """The same gallery after its cut over."""
    apply(ready, "cut_over")
    return ready


@pytest.fixture
def application(ready: Context, settings: Settings, second_session: OpenSession) -> Iterator[OpenSession]:
    """Opens sessions of an application with rights of its own on the content, and on nothing else."""
    role = sql.Identifier(f"app_{uuid.uuid4().hex[:8]}")
    connection = engine.connect(settings)
    connection.execute(sql.SQL("create role {}").format(role))
    for table in ("content_items", "content_items_auto"):
        grant = sql.SQL("grant select, insert, update, delete on {} to {}")
        connection.execute(grant.format(sql.Identifier(table), role))
    connection.execute(sql.SQL("grant select on content_tags to {}").format(role))

    def open_one() -> Connection:
        session = second_session()
        session.execute("set application_name = 'application'")
        session.execute(sql.SQL("set role {}").format(role))
        return session

    yield open_one
    with engine.connect(settings) as last:
        last.execute(
            "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
            " where application_name = 'application' and datname = current_database()"
        )
        last.execute(sql.SQL("drop owned by {}").format(role))
        last.execute(sql.SQL("drop role {}").format(role))
    connection.close()


def items_of(context: Context) -> list[Item]:
    return sorted(in_arrays(context.connection), key=str)


def first_item(context: Context, source: ContentSource = ContentSource.REGULAR) -> Item:
    return next(item for item in items_of(context) if item[0] is source)


def in_thread(action: Callable[[], object]) -> threading.Thread:
    """Start an action in a thread and return once it had the time to run into a lock."""
    thread = threading.Thread(target=action, daemon=True)
    thread.start()
    time.sleep(0.3)
    assert thread.is_alive()
    return thread


@pytest.mark.parametrize("source", list(ContentSource))
def test_a_changed_array_is_refused_with_the_way_out(source: ContentSource, cut: Context, gallery: Gallery) -> None:
    """Update and insert both say that tags is read-only and where tags are written now."""
    item = first_item(cut, source)
    with pytest.raises(READ_ONLY, match="tags is read-only since the cut over") as refused:
        write_array(cut.connection, item, frozenset({E}))
    assert "content_tags" in str(refused.value.diag.message_hint)
    with pytest.raises(READ_ONLY, match="read-only"):
        gallery.item([A], source)


@pytest.mark.parametrize("source", list(ContentSource))
def test_other_columns_write_as_before(source: ContentSource, cut: Context, gallery: Gallery) -> None:
    """A row written back whole keeps its array and its junction rows; a new item starts without tags."""
    item = first_item(cut, source)
    before = in_junction(cut.connection)
    statement = f"update {source.table} set id = id, tags = tags, title = 'new' where id = %s"
    cut.connection.execute(statement, [item[1]])  # type: ignore[arg-type]
    assert in_junction(cut.connection) == before
    new = gallery.item([], source)
    write_junction(cut.connection, (source, new), frozenset({A, B}))
    assert in_junction(cut.connection)[source, new] == {A, B}


def test_inserts_through_the_parent_keep_the_rules_too(cut: Context, gallery: Gallery) -> None:
    """The partitions' triggers stand behind their parent."""
    columns = "insert into content_items_all (source_type, title, content_type, content_data, prompt, creator_id, tags)"
    row = " values ('auto', 't', 'text', '', '', %s, %s)"
    cut.connection.execute((columns + row).encode(), [gallery.user(), []])
    with pytest.raises(READ_ONLY, match=r"content_items_auto\.tags is read-only"):
        cut.connection.execute((columns + row).encode(), [gallery.user(), [A]])


@pytest.mark.parametrize("source", list(ContentSource))
def test_a_deleted_item_takes_its_tags_along(source: ContentSource, cut: Context) -> None:
    """Also those the array never knew; equal ids of the other source stay."""
    item = first_item(cut, source)
    write_junction(cut.connection, item, frozenset(TAGS))
    before = in_junction(cut.connection)
    cut.connection.execute(f"delete from {source.table} where id = %s", [item[1]])  # type: ignore[arg-type]
    after = in_junction(cut.connection)
    assert after == {other: tags for other, tags in before.items() if other != item}


def test_an_item_that_gets_another_id_keeps_its_tags(cut: Context) -> None:
    """Its junction rows move with it, row by row, through a shift by one as well."""
    before = in_junction(cut.connection)
    cut.connection.execute("update content_items set id = id + 1000")
    after = in_junction(cut.connection)
    moved = {(source, item + (1000 if source is ContentSource.REGULAR else 0)) for source, item in before}
    assert set(after) == moved
    assert sorted(map(sorted, after.values())) == sorted(map(sorted, before.values()))


def test_an_emptied_table_leaves_no_orphans(cut: Context) -> None:
    """TRUNCATE empties its side of the junction."""
    cut.connection.execute("truncate content_items cascade")
    rows = cut.connection.execute("select distinct content_source from content_tags").fetchall()
    assert rows == [("auto",)]


def test_an_item_does_not_change_its_source(cut: Context) -> None:
    """PostgreSQL would delete and insert it, and its tags would be gone."""
    item = first_item(cut)
    with pytest.raises(READ_ONLY, match="cannot change its source_type"):
        cut.connection.execute(
            "update content_items_all set source_type = 'auto', id = 9000 where source_type = 'items' and id = %s",
            [item[1]],
        )


@pytest.mark.parametrize("source", list(ContentSource))
def test_the_junction_takes_no_row_for_an_item_that_is_not_there(source: ContentSource, cut: Context) -> None:
    """An insert and an update of the junction are both held to it; an item of the other source is none."""
    alone = Gallery(cut.connection).item([], next(other for other in ContentSource if other is not source))
    with pytest.raises(errors.ForeignKeyViolation):
        write_junction(cut.connection, (source, alone), frozenset({A}))
    with pytest.raises(errors.ForeignKeyViolation, match=f"{source.junction} content does not have"):
        write_junction(cut.connection, (source, 99_999), frozenset({A}))
    with pytest.raises(errors.ForeignKeyViolation):
        cut.connection.execute(
            "update content_tags set content_id = 99999 where (content_id, content_source, tag_id) = (%s, %s, %s)",
            [first_item(cut, source)[1], source.junction, A],
        )


def test_tagging_and_deleting_at_once_leaves_no_orphan(cut: Context, second_session: OpenSession) -> None:
    """The delete waits for the tags written to its item, and takes them along."""
    item, other = first_item(cut), second_session()
    with cut.connection.transaction():
        write_junction(cut.connection, item, frozenset(TAGS))
        deletion = in_thread(lambda: other.execute("delete from content_items where id = %s", [item[1]]))
    deletion.join(60)
    rows = cut.connection.execute(
        "select count(*) from content_tags where content_source = 'regular' and content_id = %s", [item[1]]
    ).fetchone()
    assert rows == (0,)


def test_rights_on_the_junction_come_and_go_with_the_cut_over(ready: Context, application: OpenSession) -> None:
    """Who may write content may write its tags while the junction is the truth, and only then."""
    session, item = application(), first_item(ready)
    with pytest.raises(errors.InsufficientPrivilege):
        write_junction(session, item, frozenset({E}))
    apply(ready, "cut_over")
    write_junction(session, item, frozenset({E}))
    undo_phase(CUT_OVER, ready)
    with pytest.raises(errors.InsufficientPrivilege):
        write_junction(session, item, frozenset({A}))
    write_array(session, item, frozenset({A, B}))
    assert in_junction(ready.connection)[item] == in_arrays(ready.connection)[item] == {A, B}


def test_an_unverified_junction_is_not_cut_over_to(ready: Context) -> None:
    """A finding with mismatches closes the way for the notebook and for plain alembic."""
    ledger.record_verification(ready.connection, Verification("verify_content_tags", 1, 2), None)
    with pytest.raises(CheckFailed, match="22_verify_content_tags"):
        apply(ready, "cut_over")
    with pytest.raises(GateClosed, match="2 mismatches"):
        revisions.upgrade(ready.settings, "head")


@pytest.mark.parametrize(
    "how", ["alter table {} disable trigger sync_content_tags", "drop trigger sync_content_tags on {}"]
)
def test_a_junction_that_may_have_fallen_behind_is_not_cut_over_to(how: str, ready: Context) -> None:
    """A trigger that is off lets arrays be written without the junction."""
    ready.connection.execute(how.format("content_items_auto").encode())
    with pytest.raises(CheckFailed, match="missing or disabled"):
        apply(ready, "cut_over")
    with pytest.raises(GateClosed, match="missing or disabled"):
        revisions.upgrade(ready.settings, "head")


def test_no_write_is_lost_at_the_switch(ready: Context, second_session: OpenSession) -> None:
    """Old instances write arrays until they are refused, then their new version writes the junction."""
    start = in_junction(ready.connection)
    with at_work(second_session, items_of(ready), write_array, write_junction) as writers:
        apply(ready, "cut_over")
        for writer in writers:
            writer.wait(1, 20)
    assert in_junction(ready.connection) == expected(start, writers)


def test_earlier_phases_let_the_junction_be(cut: Context) -> None:
    """Run again after the cut over they neither repair it from stale arrays nor report differences."""
    item = first_item(cut)
    write_junction(cut.connection, item, frozenset({E}))
    before = in_junction(cut.connection)
    for name in PHASES:
        apply(cut, name)
    assert in_junction(cut.connection) == before
    notes = [PHASES[name].plan(cut).note for name in ("backfill_content_tags", "verify_content_tags")]
    assert notes == ["done: the junction is the truth since the cut over"] * 2


@pytest.mark.parametrize("trigger", ["refuse_tags_on_insert", "refuse_tags_on_update", "sync_content_tags"])
def test_verification_finds_a_disabled_trigger(trigger: str, cut: Context) -> None:
    """The cut over stands on its triggers."""
    cut.connection.execute(f"alter table content_items_auto disable trigger {trigger}")  # type: ignore[arg-type]
    assert f"{trigger} on content_items_auto" in CUT_OVER.verify(cut).samples


def test_verification_finds_an_orphan(cut: Context) -> None:
    """Within the ids and beyond them."""
    item = first_item(cut)
    for table in ("content_items", "content_tags"):
        cut.connection.execute(f"alter table {table} disable trigger user")  # type: ignore[arg-type]
    cut.connection.execute("delete from content_items where id = %s", [item[1] + 1])
    cut.connection.execute("insert into content_tags values (99999, 'auto', %s)", [A])
    found = CUT_OVER.verify(cut)
    assert found.figures["orphans"] == 3
    assert f"auto 99999 {A} orphan" in found.samples


def test_undo_gives_the_arrays_what_the_junction_learnt(cut: Context, gallery: Gallery) -> None:
    """Tags still there keep their order and new ones come after them; items without a change stay as they are."""
    regular = [item for item in items_of(cut) if item[0] is ContentSource.REGULAR]
    full = next(item for item in regular if in_arrays(cut.connection)[item] == {A, B, C, D})
    write_junction(cut.connection, full, frozenset({D, B, E}))
    new = (ContentSource.AUTO, gallery.item([], ContentSource.AUTO))
    write_junction(cut.connection, new, frozenset({C}))
    truth = in_junction(cut.connection)
    outcome = undo_phase(CUT_OVER, cut)
    assert in_arrays(cut.connection) == in_junction(cut.connection) == truth
    assert outcome.figures["arrays rebuilt"] == 2
    row = cut.connection.execute("select tags from content_items where id = %s", [full[1]]).fetchone()
    assert row == ([B, D, E],)


def test_the_arrays_are_carried_again_after_the_undo(cut: Context) -> None:
    """The next cut over finds nothing left of the first, and its own undo begins anew."""
    for tags in (frozenset({A}), frozenset({B, C})):
        undo_phase(CUT_OVER, cut)
        item = first_item(cut)
        write_array(cut.connection, item, tags)
        assert in_junction(cut.connection)[item] == tags
        apply(cut, "verify_content_tags")
        apply(cut, "cut_over")
        write_junction(cut.connection, item, tags | {E})
    undo_phase(CUT_OVER, cut)
    assert in_arrays(cut.connection)[item] == {B, C, E}


def test_no_write_is_lost_by_the_undo(ready: Context, application: OpenSession) -> None:
    """New instances write the junction until they lose the right, then their old version writes arrays."""
    apply(ready, "cut_over")
    slow = ready.settings.throttle.model_copy(update={"batch_rows_first": 5, "batch_rows_max": 5, "pause_s": 0.01})
    context = replace(ready, settings=ready.settings.model_copy(update={"throttle": slow}))
    start = in_junction(ready.connection)
    with at_work(application, items_of(ready), write_junction, write_array) as writers:
        undo_phase(CUT_OVER, context)
        for writer in writers:
            writer.wait(1, 20)
    truth = expected(start, writers)
    assert in_arrays(ready.connection) == truth
    assert in_junction(ready.connection) == truth


@pytest.fixture
def mirrored(cut: Context) -> Context:
    """A gallery whose undo was killed right after its arrays were rebuilt."""
    cut_over.rebuild_arrays(cut)
    return cut


def test_two_writers_of_one_item_both_reach_its_array(mirrored: Context, second_session: OpenSession) -> None:
    """The second waits for the first and rebuilds the array from both."""
    item, other = first_item(mirrored), second_session()
    insert = "insert into content_tags values (%s, 'regular', %s) on conflict do nothing"
    write_junction(mirrored.connection, item, frozenset())
    with mirrored.connection.transaction():
        mirrored.connection.execute(insert, [item[1], A])
        waiting = in_thread(lambda: other.execute(insert, [item[1], B]))
    waiting.join(60)
    assert in_arrays(mirrored.connection)[item] == {A, B}


def test_a_batch_that_waited_for_a_writer_sees_what_it_wrote(mirrored: Context, second_session: OpenSession) -> None:
    """The batch's snapshot is older than the write it waited for; it must not rebuild from that."""
    item, other = first_item(mirrored), second_session()
    with mirrored.connection.transaction():
        write_junction(mirrored.connection, item, frozenset({C, E}))
        waiting = in_thread(lambda: other.execute("select rebuild_tags('regular', %s)", [[item[1]]]))
    waiting.join(60)
    assert in_arrays(mirrored.connection)[item] == in_junction(mirrored.connection)[item] == {C, E}


@pytest.mark.parametrize("source", list(ContentSource))
def test_the_mirror_follows_every_kind_of_write(source: ContentSource, mirrored: Context, gallery: Gallery) -> None:
    """Insert, delete and update of junction rows, a deleted item, a deleted tag; arrays stay closed to others."""
    one, two, three = [item for item in items_of(mirrored) if item[0] is source][:3]
    connection = mirrored.connection
    for item, tags in ((one, {A, B}), (two, {C})):
        write_junction(connection, item, frozenset(tags))
    connection.execute(
        "update content_tags set content_id = %s where content_id = %s and content_source = %s and tag_id = %s",
        [two[1], one[1], source.junction, A],
    )
    connection.execute(f"delete from {source.table} where id = %s", [three[1]])  # type: ignore[arg-type]
    connection.execute("delete from tags where id = %s", [B])
    assert in_arrays(connection) == in_junction(connection)
    assert (in_arrays(connection)[one], in_arrays(connection)[two]) == (frozenset(), {A, C})
    with pytest.raises(READ_ONLY):
        write_array(connection, one, frozenset({D}))


def test_an_undo_killed_before_its_switch_goes_on(mirrored: Context) -> None:
    """What was written since is in the arrays already; the next start only turns round."""
    item = first_item(mirrored)
    write_junction(mirrored.connection, item, frozenset({E}))
    undo_phase(CUT_OVER, mirrored)
    assert in_arrays(mirrored.connection)[item] == {E}


def test_an_undo_killed_after_its_switch_keeps_what_was_written_to_the_arrays(mirrored: Context) -> None:
    """The arrays are the truth by then, whatever the revision says."""
    revisions.run_actions(mirrored.connection, CUT_OVER.undo_actions()[:1], mirrored.settings.database)
    assert revisions.current(mirrored.connection) == revisions.CUT_OVER
    item = first_item(mirrored)
    write_array(mirrored.connection, item, frozenset({D, E}))
    with pytest.raises(CheckFailed, match="undo cut_over"):
        apply(mirrored, "cut_over")
    undo_phase(CUT_OVER, mirrored)
    assert in_arrays(mirrored.connection)[item] == in_junction(mirrored.connection)[item] == {D, E}
    assert revisions.current(mirrored.connection) == revisions.CREATE_GALLERY_STATS


@pytest.mark.parametrize("forward", [True, False], ids=["forward", "back"])
def test_a_switch_killed_before_its_revision_was_written_goes_on_both_ways(forward: bool, ready: Context) -> None:
    """The switch counts from its commit on: applying finishes it, undoing rebuilds the arrays."""
    revisions.run_actions(ready.connection, CUT_OVER.actions(), ready.settings.database)
    item = first_item(ready)
    write_junction(ready.connection, item, frozenset({E}))
    apply(ready, "verify_content_tags")
    if forward:
        apply(ready, "cut_over")
    undo_phase(CUT_OVER, ready)
    assert in_arrays(ready.connection)[item] == {E}
    assert revisions.current(ready.connection) == revisions.CREATE_GALLERY_STATS


def kill_workbench(session: Connection) -> None:
    """End every session of the workbench on this database, as a crash or an operator would."""
    session.execute(
        "select pg_terminate_backend(pid) from pg_stat_activity"
        " where application_name = 'genonaut' and datname = current_database() and pid <> pg_backend_pid()"
    )


def until_done(settings: Settings, killer: Connection, step: Callable[[Context], object]) -> int:
    """Start `step` until it comes to its end, killed after 50 ms, then later and later; return the number of kills."""
    for kills in range(60):
        timer = threading.Timer(0.05 * 1.1**kills, kill_workbench, [killer])
        with engine.connect(settings) as connection:
            timer.start()
            try:
                step(Context(connection, settings))
            except (psycopg.OperationalError, DBAPIError, GenonautError):
                timer.join()
                continue
        timer.cancel()
        timer.join()
        return kills
    raise AssertionError("never came to its end")


def test_kills_at_any_moment_lose_no_write_there_and_back(
    ready: Context, settings: Settings, application: OpenSession
) -> None:
    """Cut over and undo are killed again and again while the application writes; both end whole."""
    slow = settings.throttle.model_copy(update={"batch_rows_first": 3, "batch_rows_max": 3, "pause_s": 0.03})
    settings = settings.model_copy(update={"throttle": slow})
    items, start = items_of(ready), in_junction(ready.connection)
    killer = application()
    killer.execute("reset role")
    with at_work(application, items, write_array, write_junction) as there:
        until_done(settings, killer, lambda context: apply(context, "cut_over"))
        wait_all(there)
    with engine.connect(settings) as connection:
        truth = expected(start, there)
        assert in_junction(connection) == truth
    with at_work(application, items, write_junction, write_array) as back:
        assert until_done(settings, killer, lambda context: undo_phase(CUT_OVER, context)) > 0
        wait_all(back)
    with engine.connect(settings) as connection:
        assert in_arrays(connection) == in_junction(connection) == expected(truth, back)


def wait_all(writers: list[Writer]) -> None:
    for writer in writers:
        writer.wait(1, 5)


def test_plain_alembic_does_not_give_up_what_the_junction_learnt(cut: Context) -> None:
    """Going down by hand is refused until the arrays were rebuilt."""
    with pytest.raises(CannotUndo, match="not rebuilt"):
        revisions.downgrade(cut.settings, revisions.CREATE_GALLERY_STATS)
    cut_over.rebuild_arrays(cut)
    revisions.downgrade(cut.settings, revisions.CREATE_GALLERY_STATS)
    assert revisions.current(cut.connection) == revisions.CREATE_GALLERY_STATS
