"""Marked items are what the reader's own snapshot shows of them, whoever commits what and when meanwhile."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Iterator
from contextlib import ExitStack

import numpy as np
import psycopg
import pytest

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import BitmapsUnavailable
from genonaut_lib.gallery.bitmaps import marked
from genonaut_lib.gallery.bitmaps.layout import CHUNK, positions_in
from genonaut_lib.gallery.bitmaps.marked import Marked
from genonaut_lib.gallery.bitmaps.marked_items import tag_nos_of
from genonaut_lib.gallery.bitmaps.state import probe
from genonaut_lib.gallery.query import GalleryQuery, TagMatch
from genonaut_lib.vocabulary import ContentSource, tag_id
from tests.gallery.built import TAGS, Built, Template
from tests.gallery.marking import (
    EVERYTHING,
    MARKS_MAX,
    SNAPSHOT,
    Reader,
    mark,
    must_show,
    new_item,
    numbers_of,
    put_into_service,
    reader,
    seal,
    shown,
)
from tests.gallery.test_conformance import fuzzed

REGULAR, AUTO = ContentSource.REGULAR, ContentSource.AUTO


@pytest.fixture
def serving(own: Built) -> Built:
    """A gallery of the test's own whose index serves: no marks, and nothing private."""
    own.connection.execute("update content_items_all set is_private = false")
    put_into_service(own)
    return own


@pytest.fixture
def one(serving: Built) -> Iterator[Reader]:
    """A reading session of a process."""
    with reader(serving) as found:
        yield found


@pytest.fixture
def other(serving: Built, one: Reader) -> Iterator[Reader]:
    """Another session of the same process."""
    with reader(serving, one.marks) as found:
        yield found


@pytest.fixture
def writer(serving: Built) -> Iterator[Connection]:
    """A session that writes in transactions."""
    with engine.connect(serving.settings) as session:
        yield session


def retag(connection: Connection, item: int, *tags: object) -> None:
    """Give a regular item these tags and no others."""
    connection.execute("delete from content_tags where content_source = 'regular' and content_id = %s", [item])
    connection.execute("insert into content_tags select %s, 'regular', unnest(%s::uuid[])", [item, list(tags)])


def tagged(view: Marked) -> dict[int, int]:
    """Return how many tags each marked regular item has."""
    return {item.id: len(item.tag_nos) for item in view.matching(EVERYTHING, {}) if item.source is REGULAR}


@pytest.mark.parametrize("shard", range(4))
def test_matching_is_what_the_oracle_finds_among_marked_items(shard: int, own: Built) -> None:
    """Any filter, scope and viewer; of images that were read at once and of such that were added later."""
    put_into_service(own)
    with reader(own) as one:
        mark(own.connection, AUTO, *range(1, 91, 1 + shard))
        one.view()
        mark(own.connection, REGULAR, *range(1, 61, 2))
        with one.snapshot() as view:
            rows, numbers = one.oracle(own.connection), numbers_of(own.connection)

    def same(query: GalleryQuery) -> None:
        assert shown(view, query, numbers) == must_show(rows, query, numbers)

    fuzzed(own, shard, 1000, same)


def test_a_tag_that_does_not_exist_is_carried_by_nothing(serving: Built, one: Reader) -> None:
    """A filter that demands it finds nothing; one that excludes it is not narrowed."""
    mark(serving.connection, REGULAR, *range(1, 61))
    view, nobody, numbers = one.view(), (tag_id("nobody's"),), numbers_of(serving.connection)
    assert view.matching(GalleryQuery(nobody), numbers) == []
    assert view.matching(GalleryQuery((*nobody, *TAGS[:1]), TagMatch.ALL), numbers) == []
    assert view.total(GalleryQuery((*nobody, *TAGS[:1])), numbers) == view.total(GalleryQuery(TAGS[:1]), numbers) > 0
    assert view.total(GalleryQuery(exclude=nobody), numbers) == 60


def test_nothing_is_marked_at_first(one: Reader) -> None:
    """An index without marks has an empty view."""
    view = one.view()
    assert (view.size, view.matching(EVERYTHING, {}), view.dead(0, 1)) == (0, [], None)


def test_what_was_in_flight_shows_once_it_is_committed(serving: Built, one: Reader, writer: Connection) -> None:
    """Its number is below those of transactions that came and went, and that what is kept has seen."""
    writer.execute("begin")
    retag(writer, 1, *TAGS[:2])
    retag(serving.connection, 3, *TAGS[:3])
    assert tagged(one.view()) == {3: 3}
    retag(serving.connection, 5, *TAGS[:4])
    assert tagged(one.view()) == {3: 3, 5: 4}
    writer.execute("commit")
    assert tagged(one.view()) == {1: 2, 3: 3, 5: 4}


def test_what_was_in_flight_in_a_savepoint_shows_once_it_is_committed(
    serving: Built, one: Reader, writer: Connection
) -> None:
    """Rows carry the number of their subtransaction, marks that of the whole; what is rolled back never shows."""
    with writer.transaction():
        with writer.transaction():
            retag(writer, 1, *TAGS[:2])
        with writer.transaction(force_rollback=True):
            retag(writer, 3, *TAGS[:2])
        retag(serving.connection, 5, *TAGS[:4])
        assert tagged(one.view()) == {5: 4}
    assert tagged(one.view()) == {1: 2, 5: 4}


def test_what_was_rolled_back_never_shows(serving: Built, one: Reader, writer: Connection) -> None:
    """An item that is marked already stays as it was."""
    retag(serving.connection, 1, *TAGS[:3])
    writer.execute("begin")
    retag(writer, 1)
    before = tagged(one.view())
    writer.execute("rollback")
    assert before == tagged(one.view()) == {1: 3}


def test_a_marked_item_that_changes_again_is_read_again(serving: Built, one: Reader) -> None:
    """Only the newest image of it counts, however many there were."""
    sizes = []
    for count in (1, 5, 0, 3):
        retag(serving.connection, 1, *TAGS[:count])
        sizes.append((tagged(one.view()), one.view().size))
    assert sizes == [({1: count}, 1) for count in (1, 5, 0, 3)]


def test_an_older_snapshot_is_answered_without_what_is_kept(serving: Built, one: Reader, other: Reader) -> None:
    """It sees what it must, and takes nothing away from those that came after it."""
    retag(serving.connection, 1, *TAGS[:2])
    other.execute(SNAPSHOT)
    other.execute("select 1 from users")
    retag(serving.connection, 1, *TAGS[:5])
    retag(serving.connection, 3, *TAGS[:5])
    kept = one.view()
    assert tagged(kept) == {1: 5, 3: 5}
    assert [tagged(other.current()), tagged(other.current())] == [{1: 2}] * 2
    other.execute("rollback")
    assert tagged(one.view()) == {1: 5, 3: 5}
    assert one.view().slots is kept.slots


def test_a_view_never_changes(serving: Built, one: Reader, other: Reader) -> None:
    """Whatever others read later, and from whichever view they set out."""
    retag(serving.connection, 1, *TAGS[:2])
    first = one.view()
    retag(serving.connection, 1, *TAGS[:5])
    retag(serving.connection, 3)
    second = other.view()
    retag(serving.connection, 3, *TAGS[:1])
    assert [tagged(view) for view in (one.view(), second, first)] == [{1: 5, 3: 1}, {1: 5, 3: 0}, {1: 2}]


def test_tasks_that_read_at_once_all_see_their_own_snapshot(serving: Built, one: Reader) -> None:
    """Sessions of one process, all with another snapshot, whose statements take turns."""
    with ExitStack() as stack:
        readers = [stack.enter_context(reader(serving, one.marks)) for _ in range(6)]
        for count, session in enumerate(readers):
            retag(serving.connection, 1 + count, *TAGS[:count])
            session.execute(SNAPSHOT)
            session.execute("select 1 from users")
        work = [session.marks.current(session.session, MARKS_MAX, ()) for session in readers]

        async def together() -> list[tuple[object, Marked, object]]:
            return await asyncio.gather(*work)

        views = [view for _, view, _ in serving.run(together())]
    assert [tagged(view) for view in views] == [{1 + item: item for item in range(last + 1)} for last in range(6)]


def test_a_deleted_item_has_a_place_and_no_image(serving: Built, one: Reader) -> None:
    """It is masked and matches nothing."""
    with one.snapshot():
        rows = sorted(
            one.oracle(serving.connection)[0].rows, key=lambda row: (row.created_at, row.source != "auto", row.id)
        )
    (place,) = [rank for rank, row in enumerate(rows) if (row.source, row.id) == ("regular", 7)]
    serving.connection.execute("delete from content_items where id = 7")
    view = one.view()
    words = view.dead(0, 1)
    assert words is not None
    assert positions_in(words).tolist() == [place]
    assert (view.size, view.matching(EVERYTHING, {})) == (1, [])


def test_a_new_item_has_an_image_and_no_place(serving: Built, one: Reader) -> None:
    """Nothing is masked for it, and its date is the one of the content."""
    item = new_item(serving.connection, AUTO)
    view = one.view()
    ((created_at,),) = serving.connection.execute("select created_at from content_items_auto where id = %s", [item])
    assert [(one.source, one.id, one.created_at) for one in view.matching(EVERYTHING, {})] == [(AUTO, item, created_at)]
    assert (view.dead(0, 1), view.state.chunks) == (None, 0)


def test_places_are_masked_in_the_chunks_they_lie_in(serving: Built, one: Reader) -> None:
    """Chunks are counted from the first that is asked for; the ends of a chunk belong to it."""
    ranks = [0, CHUNK - 1, CHUNK, 5 * CHUNK + 9, 6 * CHUNK - 1]
    serving.connection.execute("update workbench.bitmap_places set ranks[2:6] = %s where source_type = 'auto'", [ranks])
    mark(serving.connection, AUTO, *range(1, 6))
    view = one.view()
    found = {first: view.dead(first, count) for first, count in ((0, 1), (1, 2), (2, 3), (4, 2))}
    assert {first: None if words is None else positions_in(words).tolist() for first, words in found.items()} == {
        0: [0, CHUNK - 1], 1: [0], 2: None, 4: [CHUNK + 9, 2 * CHUNK - 1],
    }  # fmt: skip
    assert found[1] is not None
    assert found[1].shape == (2 * CHUNK // 64,)


def test_equal_ids_of_both_sources_and_negative_ones_are_told_apart(serving: Built, one: Reader) -> None:
    """An id below 0 has no place, and is nobody else's complement."""
    serving.connection.execute("update content_items set id = -4 where id = 30")
    retag(serving.connection, -4, *TAGS[:2])
    mark(serving.connection, AUTO, 3, 30)
    found = {(item.source, item.id) for item in one.view().matching(EVERYTHING, {})}
    assert found == {(REGULAR, -4), (AUTO, 3), (AUTO, 30)}


def test_a_date_that_python_does_not_know_is_left_to_other_strategies(serving: Built, one: Reader) -> None:
    """The refusal names the table and the remedy, and the transaction goes on; afterwards all is well."""
    serving.connection.execute("update content_items set created_at = 'infinity' where id = 1")
    one.execute(SNAPSHOT)
    with pytest.raises(BitmapsUnavailable, match=r"content_items cannot be read.*between the years 1 and 9999"):
        one.current()
    one.execute("select 1")
    one.execute("rollback")
    serving.connection.execute("update content_items set created_at = now() where id = 1")
    assert one.view().size == 1


def test_places_of_items_that_are_marked_later_are_masked_too(serving: Built, one: Reader) -> None:
    """In any order, each once, and whether or not an item was marked before."""
    sizes = []
    for item in (30, 2, 50, 2, 9):
        mark(serving.connection, REGULAR, item)
        words = one.view().dead(0, 1)
        assert words is not None
        sizes.append(len(positions_in(words)))
    ranks = one.view().ranks.tolist()
    assert (sizes, ranks) == ([1, 2, 3, 3, 4], sorted(set(ranks)))


def test_a_private_item_is_seen_by_its_creator_alone(serving: Built, one: Reader) -> None:
    """As soon as it is private, and whoever it is given to."""
    ada, grace = serving.user("ada"), serving.user("grace")
    serving.connection.execute("update content_items set is_private = true, creator_id = %s where id = 1", [ada])
    before = one.view()
    serving.connection.execute("update content_items set creator_id = %s where id = 1", [grace])
    views = [view.total(GalleryQuery(viewer=who), {}) for view in (before, one.view()) for who in (ada, grace, None)]
    assert views == [1, 0, 0, 0, 1, 0]


def test_what_was_sealed_is_marked_no_more(serving: Built, one: Reader, writer: Connection) -> None:
    """Items that are left have their new places; what was in flight during the sealing is marked afterwards."""
    retag(serving.connection, 1, *TAGS[:2])
    item = new_item(serving.connection, REGULAR)
    writer.execute("begin")
    retag(writer, 3, *TAGS[:3])
    before = one.view()
    seal(serving.connection)
    between = one.view()
    writer.execute("commit")
    mark(serving.connection, REGULAR, item)
    after = one.view()
    assert [tagged(before), tagged(between), tagged(after)] == [{1: 2, item: 0}, {}, {3: 3, item: 0}]
    assert [len(view.ranks) for view in (before, between, after)] == [1, 0, 2]


def test_a_mark_that_comes_back_is_read_anew(serving: Built, one: Reader) -> None:
    """A swap brings kept marks back, which name transactions that every reader has seen; the version tells."""
    retag(serving.connection, 1, *TAGS[:2])
    serving.connection.execute("insert into workbench.bitmap_marks_kept select * from workbench.bitmap_marks")
    seal(serving.connection)
    assert tagged(one.view()) == {}
    with serving.connection.transaction():
        serving.connection.execute("insert into workbench.bitmap_marks select * from workbench.bitmap_marks_kept")
        serving.connection.execute("update workbench.bitmap_state set version = version + 1")
    assert tagged(one.view()) == {1: 2}


def test_a_snapshot_from_before_a_sealing_sees_the_marks_it_had(serving: Built, one: Reader, other: Reader) -> None:
    """What is kept is of the later version; the older one is read without it, and not kept."""
    retag(serving.connection, 1, *TAGS[:2])
    other.execute(SNAPSHOT)
    other.execute("select 1 from users")
    seal(serving.connection)
    assert tagged(one.view()) == {}
    assert tagged(other.current()) == {1: 2}
    assert tagged(one.view()) == {}


def test_only_what_is_new_is_asked_for(serving: Built, one: Reader) -> None:
    """A probe names each item once, and none that the known snapshot saw; without one, all."""
    mark(serving.connection, REGULAR, 1, 1, 2)
    known = one.view().state
    mark(serving.connection, AUTO, 2, 2)
    one.execute(SNAPSHOT)
    found = [serving.run(probe(one.session, since, 10)) for since in (known, None)]
    assert [(sorted(probe.marks), probe.renewed) for probe in found] == [([5], False), ([2, 4, 5], True)]


def test_too_many_marks_are_refused_until_they_are_sealed(serving: Built, one: Reader) -> None:
    """The refusal says what to do; one item less, or a reader that takes more, is answered."""
    mark(serving.connection, REGULAR, 1, 2, 2, 3)
    one.execute(SNAPSHOT)
    for allowed in (2, 1, 2):
        with pytest.raises(BitmapsUnavailable, match="54_seal_tag_bitmaps"):
            one.current(allowed)
    assert one.current(3).size == 3
    with pytest.raises(BitmapsUnavailable, match="More than 2 items"):
        one.current(2)
    one.execute("rollback")
    seal(serving.connection)
    one.execute(SNAPSHOT)
    assert one.current(2).size == 0


def test_marks_that_come_one_by_one_are_too_many_as_well(serving: Built, one: Reader) -> None:
    """The limit is on all that are marked, not on those that are new."""
    with one.snapshot():
        assert one.current(2).size == 0
    for item, expected in ((1, 1), (2, 2), (2, 2)):
        mark(serving.connection, REGULAR, item)
        with one.snapshot():
            assert one.current(2).size == expected
    mark(serving.connection, REGULAR, 3)
    one.execute(SNAPSHOT)
    with pytest.raises(BitmapsUnavailable, match="More than 2 items"):
        one.current(2)


def test_more_rows_of_marks_than_anybody_counts_are_too_many(serving: Built, one: Reader) -> None:
    """A backlog without bounds is not gone through by every request; an ordinary one is."""
    rows = "insert into workbench.bitmap_marks select 'items', 1, false from generate_series(1, {})"
    serving.connection.execute(rows.format(3 * 16 - 1).encode())
    one.execute(SNAPSHOT)
    assert one.current(2).size == 1
    one.execute("rollback")
    serving.connection.execute(rows.format(1).encode())
    one.marks = marked.Marks()
    one.execute(SNAPSHOT)
    with pytest.raises(BitmapsUnavailable, match="More than 2 items"):
        one.current(2)


def test_an_index_that_does_not_serve_says_how_to_build_one(serving: Built, one: Reader) -> None:
    """Not even to those who remember it; without tables the database's own error is left to the caller."""
    one.view()
    serving.connection.execute("truncate content_tags")
    with pytest.raises(BitmapsUnavailable, match="40_build_tag_bitmaps"):
        one.view()
    serving.connection.execute("drop table workbench.bitmap_state")
    with pytest.raises(psycopg.errors.UndefinedTable):
        one.view()


@pytest.mark.parametrize("begin", ["begin isolation level repeatable read", "begin"])
def test_what_a_snapshot_cannot_vouch_for_is_not_kept(begin: str, serving: Built, one: Reader) -> None:
    """A transaction that writes sees what nobody else does, and statement by statement there is no one snapshot."""
    retag(serving.connection, 1, *TAGS[:2])
    one.execute(begin)
    if "repeatable" in begin:
        one.execute("delete from content_tags where content_source = 'regular' and content_id = 1")
    assert not one.current().state.lasting
    one.execute("rollback")
    assert tagged(one.view()) == {1: 2}


def test_another_database_is_another_index(serving: Built, one: Reader, template: Template) -> None:
    """Equal versions and epochs of a copy say nothing of this one."""
    retag(serving.connection, 1, *TAGS[:2])
    with template.copy() as copy:
        put_into_service(copy)
        dates = "update workbench.bitmap_state set built_at = '2025-01-01'"
        for built in (serving, copy):
            built.connection.execute(dates)
        with reader(copy) as there:
            there.marks = one.marks
            assert [(tagged(one.view()), tagged(there.view())) for _ in range(2)] == [({1: 2}, {})] * 2


def test_slots_are_filled_anew_before_they_are_too_many(serving: Built, one: Reader) -> None:
    """Items that change over and over again take no more and more room, and are right all the time."""
    mark(serving.connection, AUTO, *range(1, 31))
    one.view()
    for turn in range(40):
        serving.connection.execute(f"update content_items set is_private = {turn % 2 == 0} where id <= 20".encode())
        view = one.view()
        assert (view.size, view.total(EVERYTHING, {})) == (50, 30 if turn % 2 == 0 else 50)
    assert len(view.slots) <= 50 + marked.ADDED_MIN


def test_tags_of_many_items_are_counted_at_once(serving: Built, one: Reader) -> None:
    """As the junction has them."""
    mark(serving.connection, REGULAR, *range(1, 61))
    found = np.bincount(tag_nos_of(one.view().matching(EVERYTHING, {})))
    count = (
        "select tag_no, count(*) from content_tags join tags on id = tag_id where content_source = 'regular' group by 1"
    )
    assert {no: int(found[no]) for no in np.flatnonzero(found).tolist()} == dict(
        serving.connection.execute(count).fetchall()
    )


@pytest.mark.parametrize("seed", range(4))
def test_every_snapshot_is_exact_whoever_commits_meanwhile(seed: int, serving: Built) -> None:
    """Writers in transactions that overlap, sealings between them, readers with snapshots old and new, one memory."""
    dice = random.Random(seed)
    with ExitStack() as stack:
        first = stack.enter_context(reader(serving))
        readers = [first, *(stack.enter_context(reader(serving, first.marks)) for _ in range(2))]
        writers = [stack.enter_context(engine.connect(serving.settings)) for _ in range(3)]
        numbers = numbers_of(serving.connection)
        play = _Play(dice, serving, writers)
        for _ in range(60):
            play.step()
            session = dice.choice(readers)
            view = session.current() if session.in_snapshot else session.opened()
            rows = session.oracle(serving.connection)
            assert view.size == len(rows[1])
            for query in (EVERYTHING, GalleryQuery(TAGS[:2], TagMatch.ALL, exclude=TAGS[3:4])):
                assert shown(view, query, numbers) == must_show(rows, query, numbers)
            if dice.random() < 0.6:
                session.closed()


class _Play:
    """Writers that change few items over and over again, each in its own part, so that none waits for another."""

    def __init__(self, dice: random.Random, built: Built, writers: list[Connection]) -> None:
        self.dice, self.built, self.writers = dice, built, writers

    def step(self) -> None:
        if self.dice.random() < 0.15:
            return seal(self.built.connection)
        place = self.dice.randrange(len(self.writers))
        session = self.writers[place]
        if session.info.transaction_status == psycopg.pq.TransactionStatus.IDLE:
            session.execute("begin")
        item = 1 + place + 3 * self.dice.randrange(5)
        match self.dice.randrange(4):
            case 0:
                retag(session, item, *self.dice.sample(TAGS, self.dice.randrange(6)))
            case 1:
                session.execute("update content_items set is_private = not is_private where id = %s", [item])
            case 2:
                session.execute("update content_items_all set created_at = now() where id = %s", [item])
            case _:
                session.execute("savepoint s")
                retag(session, item)
                session.execute(self.dice.choice([b"rollback to s", b"release s"]))
        if self.dice.random() < 0.5:
            session.execute(self.dice.choice([b"commit", b"commit", b"rollback"]))
        return None
