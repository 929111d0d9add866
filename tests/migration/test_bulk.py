"""The bulk load of the junction: what is written at any moment of it arrives, and a kill leaves it resumable."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.migration import bulk, revisions
from genonaut_lib.migration.junction_check import compare_junction
from genonaut_lib.migration.phases import PHASES, Context
from genonaut_lib.migration.phases.backfill_content_tags import BackfillContentTags, is_filled
from genonaut_lib.migration.plan import Action
from genonaut_lib.migration.runner import apply_plan, undo_phase, verify_phase
from genonaut_lib.settings import load_settings
from genonaut_lib.vocabulary import ContentSource, tag_id
from tests.factories import Gallery
from tests.migration.test_phases import apply, apply_before, base_tables

A, B, C = (tag_id(name) for name in "abc")
STEPS = [step.id for step in bulk.actions(load_settings("test")) if not step.id.startswith(("load:", "catch_up:"))]


class Killed(Exception):
    """Stands for the instant a process dies at."""


def without_junction(context: Context) -> None:
    """Make 100 items whose junction is still to be filled."""
    gallery = Gallery(context.connection)
    for source in ContentSource:
        for _ in range(50):
            gallery.legacy_item(["a", "b"], source)
    gallery.legacy_item(["c"])
    apply_before(context, "backfill_content_tags")


MODELS = {"unlinked": without_junction}


@pytest.fixture
def unlinked(gallery: Gallery) -> Connection:
    """A session on a gallery of the test's own whose junction is still to be filled."""
    return gallery.connection


def junction(connection: Connection) -> list[tuple[object, ...]]:
    return connection.execute("select * from content_tags order by 1, 2, 3").fetchall()


def around(monkeypatch: pytest.MonkeyPatch, id: str, act: Callable[[], None], *, after: bool = True) -> None:
    """Have `act` happen after (or before) the step `id` of the bulk load, as another session would do it."""
    run_actions = revisions.run_actions

    def run(connection: Connection, steps: list[Action], settings: object) -> list[str]:
        ran = []
        for step in steps:
            if step.id == id and not after:
                act()
            ran += run_actions(connection, [step], settings)  # type: ignore[arg-type]
            if step.id == id and after:
                act()
        return ran

    monkeypatch.setattr(revisions, "run_actions", run)


def write(gallery: Gallery) -> None:
    """Everything an application can do to an item, in both sources."""
    connection = gallery.connection
    for source in ContentSource:
        new = gallery.item([A, C], source)
        connection.execute(f"update {source.table} set tags = %s where id = %s", [[B], new])  # type: ignore[arg-type]
        connection.execute(f"update {source.table} set tags = %s where id between 3 and 7", [[C]])  # type: ignore[arg-type]
        connection.execute(f"update {source.table} set tags = '{{}}' where id = 8")  # type: ignore[arg-type]
        connection.execute(f"update {source.table} set id = id + 100000 where id = 9")  # type: ignore[arg-type]
        connection.execute(f"delete from {source.table} where id between 10 and 14")  # type: ignore[arg-type]


@pytest.mark.parametrize("step", STEPS)
def test_what_is_written_after_a_step_arrives(
    step: str, unlinked: Connection, context: Context, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Inserts, retags, new ids and deletes: the triggers note them or write them, and none is missed."""
    around(monkeypatch, step, lambda: write(gallery))
    apply(context, "backfill_content_tags")
    assert compare_junction(context).mismatches == ()
    assert (len(junction(unlinked)), bulk.notes(unlinked)) == (169, 0)


@pytest.mark.parametrize("step", STEPS)
def test_a_load_killed_after_a_step_goes_on_from_there(
    step: str, unlinked: Connection, context: Context, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Writes that come while nobody works on it are in the result, too; and 20, run again meanwhile, misses nothing."""

    def die() -> None:
        raise Killed

    with monkeypatch.context() as patch:
        around(patch, step, die)
        with pytest.raises(Killed):
            PHASES["backfill_content_tags"].apply(context)
    write(gallery)
    assert PHASES["create_content_tags"].verify(context).passed
    apply(context, "backfill_content_tags")
    assert is_filled(unlinked)
    assert len(junction(unlinked)) == 169


@pytest.mark.parametrize("step", STEPS)
def test_a_load_killed_after_a_step_can_be_undone(
    step: str, unlinked: Connection, context: Context, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tables, indexes and triggers are what they were, and the triggers write the junction again."""
    before = base_tables(unlinked)

    def die() -> None:
        raise Killed

    with monkeypatch.context() as patch:
        around(patch, step, die)
        with pytest.raises(Killed):
            PHASES["backfill_content_tags"].apply(context)
    undo_phase(PHASES["backfill_content_tags"], context)
    assert base_tables(unlinked) == before
    assert bulk.is_whole(unlinked)
    item = gallery.item([A, B])
    assert junction(unlinked) == [(item, "regular", tag) for tag in sorted([A, B])]


def test_both_ways_end_in_the_same_state(unlinked: Connection, context: Context) -> None:
    """Rows, indexes and constraints cannot tell how the junction was filled."""
    ends = []
    constraints = "select conname, pg_get_constraintdef(oid), convalidated from pg_constraint order by 1, 2"
    for mode in ("online", "bulk"):
        phase = BackfillContentTags(mode=mode)
        apply_plan(phase, context, phase.plan(context))
        assert verify_phase(phase, context).passed
        ends.append((junction(unlinked), base_tables(unlinked), unlinked.execute(constraints).fetchall()))
        undo_phase(phase, context)
    assert ends[0] == ends[1]


@pytest.mark.parametrize("mode", ["online", "bulk"])
def test_links_of_one_source_alone_are_filed_under_it(mode: str, unlinked: Connection, context: Context) -> None:
    """Where the other source has items of the same ids, a wrong name would clash with theirs and be put right."""
    unlinked.execute("delete from content_items")
    phase = BackfillContentTags(mode=mode)
    apply_plan(phase, context, phase.plan(context))
    assert [row[1] for row in junction(unlinked)] == ["auto"] * 100


def test_a_tag_that_stands_twice_in_an_array_is_one_relationship(
    unlinked: Connection, context: Context, gallery: Gallery
) -> None:
    """Nothing forbids doubles in an array; the junction's key does, and the build copes."""
    item = gallery.item([A, A, B])
    apply(context, "backfill_content_tags")
    assert [row for row in junction(unlinked) if row[0] == item and row[1] == "regular"] == [
        (item, "regular", tag) for tag in sorted([A, B])
    ]


def test_a_tag_deleted_while_no_key_watched_takes_its_relationships(
    unlinked: Connection, context: Context, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As the foreign key would have done; the arrays that still name it are a mismatch, and named."""

    def delete() -> None:
        unlinked.execute("delete from tags where id = %s", [C])

    around(monkeypatch, "begin:bulk", delete)
    PHASES["backfill_content_tags"].apply(context)
    assert C not in {row[2] for row in junction(unlinked)}
    assert bulk.CHECKED.holds(unlinked)
    found = compare_junction(context)
    assert len(found.mismatches) == 1
    assert found.mismatches[0].value == str(C)


def test_a_truncated_source_leaves_no_relationship(
    unlinked: Connection, context: Context, gallery: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Also when its rows were loaded before; what is written into the empty table keeps its own."""
    written: list[int] = []

    def begin_anew() -> None:
        unlinked.execute("truncate content_items_auto")
        written.append(gallery.item([tag_id("a")], ContentSource.AUTO))

    around(monkeypatch, "build:content_tags_pkey", begin_anew, after=False)
    monkeypatch.setattr(bulk, "_build_indexes", in_this_session)
    apply(context, "backfill_content_tags")
    assert {row[1] for row in junction(unlinked)} == {"regular", "auto"}
    assert {row[0] for row in junction(unlinked) if row[1] == "auto"} == set(written)


def in_this_session(context: Context) -> None:
    steps = [*bulk.build_key(context.settings), *bulk.build_tag_index(context.settings)]
    revisions.run_actions(context.connection, steps, context.settings.database)


def test_writers_all_through_a_load_are_never_refused_and_never_lost(unlinked: Connection, context: Context) -> None:
    """An application inserts, retags and deletes from the first step to the last."""
    stopped = threading.Event()
    failures: list[BaseException] = []

    def application() -> None:
        try:
            with engine.connect(context.settings) as session:
                gallery = Gallery(session)
                while not stopped.is_set():
                    item = gallery.item([A, B])
                    session.execute("update content_items set tags = %s where id = %s", [[C], item])
                    session.execute("delete from content_items_auto where id = %s", [item % 50])
        except BaseException as error:  # noqa: BLE001  # raised below
            failures.append(error)

    writer = threading.Thread(target=application)
    writer.start()
    for _ in range(3):
        apply(context, "backfill_content_tags")
        undo_phase(PHASES["backfill_content_tags"], context)
    apply(context, "backfill_content_tags")
    stopped.set()
    writer.join()
    assert failures == []
    assert compare_junction(context).mismatches == ()


def test_a_load_begun_in_one_mode_is_not_finished_in_another(
    unlinked: Connection, context: Context, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The check says how it was begun and what to do."""

    def die() -> None:
        raise Killed

    with monkeypatch.context() as patch:
        around(patch, "begin:bulk", die)
        with pytest.raises(Killed):
            PHASES["backfill_content_tags"].apply(context)
    checks = BackfillContentTags(mode="online").check(context)
    assert [check.finding for check in checks if not check.holds] == [
        "begun bulk; undo it first, or leave the mode to `auto`"
    ]
