"""Sealing: whatever was done to items, what is sealed afterwards is what they are, and what is not stays marked."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest

from genonaut_lib.db import advisory, engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import BitmapsBusy, BitmapsUnavailable, InvalidInput
from genonaut_lib.gallery.bitmaps.layout import CHUNK, SPAN
from genonaut_lib.migration import bitmap_seal
from genonaut_lib.migration.bitmap_seal import SealResult
from genonaut_lib.vocabulary import ContentSource, tag_id
from tests import bitmaps_plain
from tests.gallery import built
from tests.gallery.built import Built, Template

LATER = datetime(2025, 6, 1, tzinfo=UTC)
MANY = 40_000
KEY = ("items", 1)


@pytest.fixture(scope="module")
def template(admin_url: str) -> Iterator[Template]:
    """The gallery that is copied."""
    with built.template(admin_url) as found:
        yield found


@pytest.fixture
def own(template: Template) -> Iterator[Built]:
    """A gallery of the test's own, with an index that was just built."""
    with template.copy() as copy:
        bitmaps_plain.build(copy.connection)
        yield copy


@pytest.fixture
def other(own: Built) -> Iterator[Connection]:
    """A second session on it."""
    with closing(engine.connect(own.settings)) as session:
        yield session


def seal(own: Built, **options: object) -> SealResult:
    """Seal with force, and see that the index says what there is."""
    found = bitmap_seal.seal(own.settings, **{"force": True, **options})  # type: ignore[arg-type]
    bitmaps_plain.require_exact(own.connection)
    return found


def counts(found: SealResult) -> tuple[int, int, int, int, int]:
    return found.sealed, found.appended, found.rewritten, found.removed, found.waiting


def add(own: Built, moment: datetime = LATER, source: ContentSource = ContentSource.REGULAR, **columns: object) -> int:
    """Insert an item through the parent, with two tags, and return its id."""
    values = {
        "title": "new", "content_type": "text", "content_data": "", "prompt": "", "created_at": moment,
        "creator_id": own.user("ada"), "source_type": source.partition, **columns,
    }  # fmt: skip
    marks = ", ".join(f"%({name})s" for name in values)
    statement = f"insert into content_items_all ({', '.join(values)}) values ({marks}) returning id"
    row = own.connection.execute(statement.encode(), values).fetchone()
    assert row is not None
    own.tag(source, row[0], tag_id("common"), tag_id("rare"))
    return int(row[0])


def version(own: Built) -> int:
    ((found,),) = own.connection.execute("select version from workbench.bitmap_state")
    return int(found)


def test_nothing_marked_is_nothing_sealed(own: Built) -> None:
    """The version stays, so that no reader drops what it keeps."""
    before = version(own)
    assert counts(seal(own)) == (0, 0, 0, 0, 0)
    assert version(own) == before


CHANGES: dict[str, Callable[[Built], object]] = {
    "tags added": lambda own: own.tag(ContentSource.REGULAR, 1, *(tag_id(f"most::{no}") for no in range(14))),
    "tags removed": lambda own: own.tag(ContentSource.REGULAR, 1),
    "made private": lambda own: own.connection.execute("update content_items set is_private = true where id = 1"),
    "made public": lambda own: own.connection.execute("update content_items set is_private = false where id = 1"),
    "another's": lambda own: own.connection.execute(
        "update content_items_all set creator_id = %s where id = 1 and source_type = 'items'", [own.user("newcomer")]
    ),
    "nothing changed": lambda own: own.connection.execute(
        "insert into workbench.bitmap_marks (source_type, content_id, moved) values ('items', 1, false)"
    ),
}


@pytest.mark.parametrize("change", list(CHANGES.values()), ids=list(CHANGES))
def test_what_keeps_its_key_is_rewritten_where_it_is(change: Callable[[Built], object], own: Built) -> None:
    """Its rank stays, its bits and its creator are what they are now."""
    place = bitmaps_plain.ranks(own.connection)[KEY]
    for other_way in ("update content_items set is_private = not is_private where id = 1",) * 2:
        own.connection.execute(other_way)
    change(own)
    assert counts(seal(own)) == (1, 0, 1, 0, 0)
    assert bitmaps_plain.ranks(own.connection)[KEY] == place
    assert bitmaps_plain.marked(own.connection) == {}


def test_marks_of_an_unchanged_item_change_no_chunk(own: Built) -> None:
    """Readers keep the chunk's bitmaps."""
    of_chunks = "select chunk, version from workbench.bitmap_chunks"
    before = own.connection.execute(of_chunks).fetchall()
    CHANGES["nothing changed"](own)
    seal(own)
    assert own.connection.execute(of_chunks).fetchall() == before
    own.connection.execute("update content_items set is_private = not is_private where id = 1")
    seal(own)
    assert own.connection.execute(of_chunks).fetchall() == [(0, version(own))]


def test_a_tag_without_bitmaps_is_not_sealed(own: Built) -> None:
    """It is the junction that answers for it."""
    own.connection.execute(
        "insert into tags (id, tag_no, name, slug, label)"
        " select %s, max(tag_no) + 1, 'coined', 'coined', 'coined' from tags",
        [tag_id("coined")],
    )
    own.tag(ContentSource.AUTO, 5, tag_id("coined"), tag_id("rare"))
    ((new,),) = own.connection.execute("select tag_no from tags where name = 'coined'")
    assert counts(seal(own)) == (1, 0, 1, 0, 0)
    assert own.connection.execute("select 1 from workbench.tag_bitmaps where tag_no = %s", [new]).fetchall() == []


def test_a_new_item_above_the_end_is_appended(own: Built) -> None:
    """Behind the last rank, in the order of their keys, not of their ids."""
    last, first = add(own, LATER + timedelta(1), creator_id=own.user("newcomer")), add(own, LATER, is_private=True)
    end = len(bitmaps_plain.ranks(own.connection))
    assert counts(seal(own)) == (2, 2, 0, 0, 0)
    places = bitmaps_plain.ranks(own.connection)
    assert (places["items", first], places["items", last]) == (end, end + 1)
    assert bitmaps_plain.marked(own.connection) == {}


def test_ties_at_the_end_are_decided_by_source_and_id(own: Built) -> None:
    """`auto` comes before `items`: beside a regular end it has no place, with the same moment."""
    add(own, LATER)
    seal(own)
    above, below = add(own, LATER), add(own, LATER, ContentSource.AUTO)
    assert counts(seal(own)) == (1, 1, 0, 0, 1)
    assert ("items", above) in bitmaps_plain.ranks(own.connection)
    assert set(bitmaps_plain.marked(own.connection)) == {("auto", below)}


def test_a_new_item_below_the_end_waits_with_one_mark(own: Built) -> None:
    """It is read from the content meanwhile; sealing again and again changes nothing."""
    late = add(own, built.FIRST_DAY)
    own.connection.execute("update content_items set is_private = true where id = %s", [late])
    assert bitmaps_plain.marked(own.connection)["items", late] > 1
    assert counts(seal(own)) == (0, 0, 0, 0, 1)
    assert bitmaps_plain.marked(own.connection) == {("items", late): 1}
    before = version(own), own.connection.execute("select ctid::text from workbench.bitmap_marks").fetchall()
    assert counts(seal(own)) == (0, 0, 0, 0, 1)
    after = version(own), own.connection.execute("select ctid::text from workbench.bitmap_marks").fetchall()
    assert after == before


def test_the_mark_that_a_waiting_item_keeps_is_no_newer_than_its_changes(own: Built) -> None:
    """A mark written by the seal would send every reader to look at the item again."""
    add(own, built.FIRST_DAY)
    ((before,),) = own.connection.execute("select max(changed_by::text::bigint) from workbench.bitmap_marks")
    seal(own)
    ((kept,),) = own.connection.execute("select changed_by::text::bigint from workbench.bitmap_marks")
    assert kept <= before


def test_a_deleted_item_leaves_a_dead_rank(own: Built) -> None:
    """No bit, no place, no creator; nobody else gets its rank."""
    ranks = len(bitmaps_plain.ranks(own.connection))
    own.connection.execute("delete from content_items where id = 1")
    assert counts(seal(own)) == (1, 0, 0, 1, 0)
    assert KEY not in bitmaps_plain.ranks(own.connection)
    new = add(own)
    seal(own)
    assert bitmaps_plain.ranks(own.connection)["items", new] == ranks


def test_items_that_came_and_went_leave_nothing(own: Built) -> None:
    """Marks of what is not there and never was sealed are just taken."""
    own.connection.execute("delete from content_items where id = %s", [add(own)])
    assert counts(seal(own)) == (1, 0, 0, 0, 0)
    assert bitmaps_plain.marked(own.connection) == {}


@pytest.mark.parametrize(("moment", "appended"), [(LATER, 1), (built.FIRST_DAY - timedelta(1), 0)])
def test_an_item_inserted_again_by_the_same_id_is_a_new_one(moment: datetime, appended: int, own: Built) -> None:
    """Its old place is dead, whatever its new key is."""
    place = bitmaps_plain.ranks(own.connection)[KEY]
    own.connection.execute("delete from content_items where id = 1")
    add(own, moment, id=1)
    assert counts(seal(own)) == (appended, appended, 0, 1, 1 - appended)
    assert bitmaps_plain.ranks(own.connection).get(KEY) != place
    assert (KEY in bitmaps_plain.marked(own.connection)) is not bool(appended)


@pytest.mark.parametrize(("moment", "appended"), [(LATER, 1), (built.FIRST_DAY - timedelta(1), 0)])
def test_an_item_with_another_moment_gives_up_its_rank(moment: datetime, appended: int, own: Built) -> None:
    """Forwards above the end it is appended, backwards it waits; once, and cleared once."""
    own.connection.execute("update content_items_all set created_at = %s where id = 1", [moment])
    assert counts(seal(own)) == (2 * appended, 2 * appended, 0, 2, 2 - 2 * appended)
    assert counts(seal(own)) == (0, 0, 0, 0, 2 - 2 * appended)


def test_a_moment_changed_and_changed_back_costs_the_rank_and_nothing_else(own: Built) -> None:
    """The mark says that it moved, not where to."""
    for sign in "+-":
        own.connection.execute(
            f"update content_items set created_at = created_at {sign} interval '1 day' where id = 1".encode()
        )
    assert counts(seal(own)) == (0, 0, 0, 1, 1)


def test_an_item_with_another_id_is_another_item(own: Built) -> None:
    """The old id is gone, the new one waits, since its moment is an old one."""
    with own.connection.transaction():
        own.connection.execute("set local session_replication_role = replica")
        own.connection.execute(
            "update content_tags set content_id = 9999 where content_id = 1 and content_source = 'regular'"
        )
        own.connection.execute("set local session_replication_role = origin")
        own.connection.execute("update content_items set id = 9999 where id = 1")
    assert counts(seal(own)) == (1, 0, 0, 1, 1)
    assert set(bitmaps_plain.marked(own.connection)) == {("items", 9999)}


def test_an_id_below_zero_waits(own: Built) -> None:
    """It would be taken for another item's; the build refuses it, and says so."""
    add(own, id=-5)
    assert counts(seal(own)) == (0, 0, 0, 0, 1)


@pytest.mark.parametrize("items", [1, 3, 7, 5_000])
def test_batches_of_any_size_come_to_the_same(items: int, own: Built) -> None:
    """New items of several batches are appended by their keys, whatever their ids and marks are."""
    for number in range(10):
        add(own, LATER - timedelta(hours=number), ContentSource.AUTO if number % 2 else ContentSource.REGULAR)
    own.connection.execute("delete from content_items_all where id between 10 and 13")
    own.connection.execute("update content_items_all set is_private = not is_private where id between 20 and 23")
    add(own, built.FIRST_DAY)
    found = seal(own, items=items)
    assert counts(found) == (26, 10, 8, 8, 1)
    assert list(bitmaps_plain.marked(own.connection).values()) == [1]


def test_the_marks_of_a_transaction_in_flight_survive(own: Built, other: Connection) -> None:
    """Its item is sealed as it was before; when it commits, the item is marked."""
    own.connection.execute("update content_items set is_private = not is_private where id = 1")
    with other.transaction():
        other.execute("delete from content_tags where content_id = 1 and content_source = 'regular'")
        assert counts(seal(own)) == (1, 0, 1, 0, 0)
        assert bitmaps_plain.marked(own.connection) == {}
    assert set(bitmaps_plain.marked(own.connection)) == {KEY}
    assert counts(seal(own)) == (1, 0, 1, 0, 0)


def test_an_older_snapshot_still_sees_the_old_bits_and_marks(own: Built, other: Connection) -> None:
    """A reader that began before the seal reads what it would have read without it."""
    own.connection.execute("delete from content_items where id = 1")
    own.tag(ContentSource.AUTO, 5)
    with other.transaction():
        other.execute("set transaction isolation level repeatable read, read only")
        before = bitmaps_plain.sealed(other), bitmaps_plain.marked(other), version(own)
        seal(own, items=1)
        assert (bitmaps_plain.sealed(other), bitmaps_plain.marked(other)) == before[:2]
        bitmaps_plain.require_exact(other)
    assert (bitmaps_plain.sealed(other), version(own)) != (before[0], before[2])


def test_what_a_build_has_not_seen_is_kept_for_it(own: Built) -> None:
    """Marks that its snapshot sees are not needed any more, once they are sealed."""
    own.tag(ContentSource.AUTO, 5)
    bitmaps_plain.begin_building(own.connection)
    own.tag(ContentSource.AUTO, 6)
    own.connection.execute("update content_items set created_at = %s where id = 1", [built.FIRST_DAY - timedelta(1)])
    own.connection.execute("update content_items set is_private = not is_private where id = 1")
    assert counts(seal(own)) == (2, 0, 2, 1, 1)
    kept = own.connection.execute(
        "select distinct source_type, content_id, moved, pg_visible_in_snapshot(changed_by, building_snapshot)"
        " from workbench.bitmap_marks_kept, workbench.bitmap_state order by 1, 2, 3"
    ).fetchall()
    # Of the item that waits, its last mark stays where it is.
    assert kept == [("auto", 6, False, False), ("items", 1, True, False)]


def test_few_and_new_marks_are_left_alone_without_force(own: Built) -> None:
    """They are sealed once they are many or old enough."""

    def sealed(**values: float) -> tuple[int, int]:
        knobs = own.settings.bitmaps.model_copy(update=values)
        found = bitmap_seal.seal(own.settings.model_copy(update={"bitmaps": knobs}))
        return found.batches, found.sealed

    mark = "update content_items_auto set is_private = not is_private where id = any (%s)"
    own.connection.execute(mark, [[5, 6]])
    assert sealed(seal_items=3, seal_age_s=3600.0) == (0, 0)
    assert sealed(seal_items=2, seal_age_s=3600.0) == (1, 2)
    own.connection.execute(mark, [[5]])
    assert sealed(seal_items=3, seal_age_s=3600.0) == (0, 0)
    assert sealed(seal_items=3, seal_age_s=0.0) == (1, 1)


def test_items_that_wait_make_no_seal_due(own: Built) -> None:
    """However old their marks are."""
    add(own, built.FIRST_DAY)
    own.connection.execute("update workbench.bitmap_marks set changed_at = '2020-01-01'")
    found = bitmap_seal.seal(own.settings)
    assert (found.batches, found.waiting) == (0, 1)


def test_what_is_just_made_is_left_to_the_next_seal(own: Built) -> None:
    """A writer that began before may still commit; its item would have to wait for a build otherwise."""
    knobs = own.settings.bitmaps.model_copy(update={"seal_items": 1})
    settings = own.settings.model_copy(update={"bitmaps": knobs})
    now = datetime.now(UTC)
    add(own, now - timedelta(hours=1))
    add(own, now + timedelta(seconds=30))
    found = bitmap_seal.seal(settings)
    assert (found.appended, found.waiting, found.young) == (1, 0, 1)
    found = seal(own)
    assert (found.appended, found.young) == (0, 1)


def test_an_empty_index_takes_items(own: Built) -> None:
    """There is no end yet that they could lie below."""
    own.connection.execute("delete from content_items_all where true")
    bitmaps_plain.build(own.connection)
    assert len(bitmaps_plain.sealed(own.connection)) == 0
    new = [add(own), add(own, built.FIRST_DAY)]
    assert counts(seal(own)) == (2, 2, 0, 0, 0)
    assert set(bitmaps_plain.ranks(own.connection)) == {("items", one) for one in new}


def test_two_seals_at_once_are_refused(own: Built, other: Connection) -> None:
    """The second one says so and changes nothing."""
    own.tag(ContentSource.AUTO, 5)
    advisory.try_hold(other, bitmap_seal.LOCK)
    with pytest.raises(BitmapsBusy, match="seals"):
        seal(own)
    advisory.release(other, bitmap_seal.LOCK)
    assert seal(own).sealed == 1


def test_a_build_that_holds_the_index_is_waited_for_and_then_seen(
    own: Built, other: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Not for ever: answers are exact without a seal."""
    own.tag(ContentSource.AUTO, 5)
    monkeypatch.setattr(bitmap_seal, "LOCK_WAIT_MS", 100)
    with other.transaction():
        other.execute("select from workbench.bitmap_state for update")
        with pytest.raises(BitmapsBusy, match="held the index"):
            seal(own)
    assert seal(own).sealed == 1


def test_a_batch_whose_snapshot_is_overtaken_is_tried_again(own: Built, monkeypatch: pytest.MonkeyPatch) -> None:
    """A build that swaps its epoch in between is nothing to fail for."""
    own.tag(ContentSource.AUTO, 5)
    real, calls = bitmap_seal._serving, []

    def overtaken(connection: Connection) -> object:
        calls.append(connection.execute("select 1 from workbench.bitmap_state").fetchall())
        if len(calls) == 1:
            own.connection.execute("update workbench.bitmap_state set version = version + 1")
        return real(connection)

    monkeypatch.setattr(bitmap_seal, "_serving", overtaken)
    assert seal(own).sealed == 1
    assert len(calls) == 3


def test_nothing_is_sealed_where_no_index_serves(own: Built, template: Template) -> None:
    """Neither where none was built nor where it was forgotten."""
    own.connection.execute("update workbench.bitmap_state set serving = null")
    with pytest.raises(BitmapsUnavailable) as refusal:
        bitmap_seal.seal(own.settings)
    assert "40_build_tag_bitmaps" in str(refusal.value)
    with pytest.raises(InvalidInput):
        bitmap_seal.seal(own.settings, items=0)


KILLED_AFTER_A_BATCH = """
import os, signal
from genonaut_lib.migration import bitmap_seal
from genonaut_lib.settings import load_settings
bitmap_seal.seal(load_settings("test"), items=7, force=True, report=lambda done: os.kill(os.getpid(), signal.SIGKILL))
"""
KILLED_IN_A_BATCH = """
import os, signal
from genonaut_lib.migration import bitmap_batch, bitmap_seal
from genonaut_lib.settings import load_settings
bitmap_batch.write_places = lambda *arguments: os.kill(os.getpid(), signal.SIGKILL)
bitmap_seal.seal(load_settings("test"), items=7, force=True)
"""


@pytest.mark.parametrize("script", [KILLED_AFTER_A_BATCH, KILLED_IN_A_BATCH], ids=["after a batch", "in a batch"])
def test_a_killed_seal_loses_nothing(script: str, own: Built) -> None:
    """What was committed is sealed, the rest is still marked, and the next seal goes on."""
    for number in range(10):
        add(own, LATER - timedelta(hours=number))
    own.connection.execute("delete from content_items_all where id between 10 and 13")
    assert own.settings.database_url is not None
    address = {"DATABASE_URL": own.settings.database_url.get_secret_value()}
    ended = subprocess.run([sys.executable, "-c", script], env=os.environ | address, check=False)
    assert ended.returncode == -signal.SIGKILL
    bitmaps_plain.require_exact(own.connection)
    left = len(bitmaps_plain.marked(own.connection))
    assert left == (18 if script is KILLED_IN_A_BATCH else 11)
    _wait_for_the_lock(own)
    assert seal(own).sealed == left


def _wait_for_the_lock(own: Built) -> None:
    """The server notices a client that is gone when it next writes to it."""
    own.connection.execute(
        "select pg_terminate_backend(pid, 5000) from pg_stat_activity"
        " where datname = current_database() and pid not in (pg_backend_pid(), %s)",
        [own.session.info.backend_pid],
    )


@pytest.fixture(scope="module")
def large(template: Template) -> Iterator[Built]:
    """Items of three chunks; the tests below change it one after the other."""
    with template.copy() as copy:
        bitmaps_plain.generate(copy.connection, MANY)
        bitmaps_plain.build(copy.connection)
        yield copy


def test_items_of_several_chunks_are_rewritten_and_cleared(large: Built) -> None:
    """Those of each chunk alone, in both sources."""
    own = large.connection
    before = bitmaps_plain.ranks(own)
    assert max(before.values()) // CHUNK == 2
    own.execute("delete from content_items_all where id % 1000 = 7")
    own.execute("update content_items_all set is_private = not is_private where id % 1000 in (11, 12)")
    own.execute("update content_items_all set creator_id = %s where id %% 1000 = 13", [large.user("ada")])
    own.execute("delete from content_tags where content_id % 1000 = 17")
    found = seal(large)
    assert found.removed > 40
    assert found.rewritten > 120
    assert {before[key] // CHUNK for key in set(before) - set(bitmaps_plain.ranks(own))} == {0, 1, 2}


def test_items_are_appended_over_many_chunks(large: Built) -> None:
    """The last chunk is filled, others are begun, in batches that end in the midst of one."""
    bitmaps_plain.generate(large.connection, MANY, first=MANY)
    found = seal(large, items=15_000)
    assert (found.appended, found.waiting) == (MANY, 0)
    ((chunks, ranks),) = large.connection.execute("select chunks, ranks from workbench.bitmap_state")
    assert (chunks, ranks) == (6, 2 * MANY + 150)
    firsts = "select first_at, first_source, first_id from workbench.bitmap_chunks order by chunk"
    keys = large.connection.execute(firsts).fetchall()
    assert keys == sorted(keys)


def test_another_owner_takes_over_across_spans(large: Built) -> None:
    """A creator's positions are counted from the first of each span."""
    newcomer = large.user(f"heir {uuid.uuid4()}")
    if max(bitmaps_plain.ranks(large.connection).values()) < SPAN * CHUNK:
        bitmaps_plain.generate(large.connection, MANY, first=MANY)
        seal(large)
    places = bitmaps_plain.ranks(large.connection).values()
    moved = "update content_items_all set creator_id = %s where id %% 5000 = 1 returning id"
    ids = large.connection.execute(moved, [newcomer]).fetchall()
    assert seal(large).rewritten == len(ids)
    found = large.connection.execute("select span from workbench.bitmap_creators where creator_id = %s", [newcomer])
    assert {span for (span,) in found} == set(range(-(-(max(places) + 1) // (SPAN * CHUNK))))
