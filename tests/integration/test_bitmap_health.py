"""What is said of the tag bitmaps: how they stand, what differs from the content, and that dropping them is safe."""

from __future__ import annotations

import itertools
import json
from collections.abc import Callable, Iterator
from contextlib import closing
from datetime import UTC, datetime, timedelta

import pytest
from psycopg import conninfo

from genonaut_lib.cli.app import FAILED, OK, REFUSED
from genonaut_lib.db import advisory, engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import BitmapsBusy, BitmapsUnavailable, InvalidInput
from genonaut_lib.gallery.bitmaps.layout import CHUNK
from genonaut_lib.migration import adoption, bitmap_build, bitmap_health, bitmap_seal
from genonaut_lib.migration.bitmap_health import HealthResult
from genonaut_lib.migration.phases import Context
from genonaut_lib.migration.phases.create_tag_bitmaps import is_armed
from genonaut_lib.settings import Settings, load_settings
from genonaut_lib.vocabulary import ContentSource, tag_id
from tests import bitmaps_plain
from tests.databases import database, settings_of
from tests.factories import Gallery
from tests.integration.conftest import Ended
from tests.migration.test_phases import apply_before

Command = Callable[..., Ended]
NOTEBOOK = ("run", "54_seal_tag_bitmaps", "--env", "test")


@pytest.fixture(scope="module")
def prepared(admin_url: str) -> Iterator[str]:
    """The name of a database with twelve items of each source, before any index was built; every test copies it."""
    with database(admin_url) as name:
        settings = settings_of(admin_url, name)
        with closing(engine.connect(settings)) as connection:
            adoption.adopt(connection, settings)
            gallery = Gallery(connection)
            for source, number in itertools.product(ContentSource, range(12)):
                tags = ["anime", "devel::lang:perl"] if number % 2 else ["anime"]
                gallery.legacy_item(tags, source, is_private=number % 5 == 0)
            apply_before(Context(connection, settings), "create_gallery_stats")
        yield name


@pytest.fixture
def settings(prepared: str, admin_url: str, monkeypatch: pytest.MonkeyPatch) -> Iterator[Settings]:
    """As in tests/conftest.py, with a copy of that database."""
    with database(admin_url, prepared) as name:
        monkeypatch.setenv("DATABASE_URL", conninfo.make_conninfo(admin_url, dbname=name))
        monkeypatch.setenv("GENONAUT_ENVIRONMENT", "test")
        yield load_settings("test")


@pytest.fixture
def migrated(connection: Connection) -> Connection:
    """A gallery without an index."""
    return connection


@pytest.fixture
def indexed(migrated: Connection) -> Connection:
    """The same with an index."""
    bitmaps_plain.build(migrated)
    return migrated


def check(connection: Connection) -> HealthResult:
    return bitmap_health.check(connection, chunks=1, seed=1)


def step(connection: Connection, settings: Settings, **knobs: float) -> str:
    changed = settings.bitmaps.model_copy(update=knobs)
    return bitmap_health.status(connection).next_step(changed)


def said(found: HealthResult) -> list[str]:
    return [str(one) for one in found.differences]


def flip(connection: Connection, tag: str, position: int) -> None:
    """Damage one bit of the first chunk."""
    connection.execute(
        "update workbench.tag_bitmaps set bits = set_bit(bits, %(at)s, 1 - get_bit(bits, %(at)s))"
        " where tag_no = (select tag_no from tags where name = %(tag)s)",
        {"at": position, "tag": tag},
    )


def test_an_intact_index_differs_in_nothing(indexed: Connection) -> None:
    """All items of the chunk were compared."""
    found = check(indexed)
    assert (found.passed, found.items, found.marked, found.chunks, found.of) == (True, 24, 0, (0,), 1)


@pytest.mark.parametrize(("position", "sealed", "there"), [(0, "yes", "no"), (1, "no", "yes")])
def test_a_damaged_bit_is_found_and_named(position: int, sealed: str, there: str, indexed: Connection) -> None:
    """Tag and item, whichever way the bit is wrong."""
    flip(indexed, "devel::lang:perl", position)
    keys = {rank: key for key, rank in bitmaps_plain.ranks(indexed).items()}
    source, content_id = keys[position]
    junction = ContentSource.from_partition(source).junction
    assert said(check(indexed)) == [f"{junction} {content_id}: tag devel::lang:perl: sealed {sealed}, found {there}"]


def test_a_marked_item_is_left_out(indexed: Connection) -> None:
    """Nobody reads its bits."""
    flip(indexed, "devel::lang:perl", 0)
    key = next(key for key, rank in bitmaps_plain.ranks(indexed).items() if rank == 0)
    indexed.execute("insert into workbench.bitmap_marks (source_type, content_id, moved) values (%s, %s, false)", key)
    found = check(indexed)
    assert (found.passed, found.items, found.marked) == (True, 23, 1)


UNMARKED = {
    "tag": ("delete from content_tags where content_id = 3 and content_source = 'regular'", ["tag anime: sealed yes"]),
    "privacy": ("update content_items set is_private = true where id = 3", ["public: sealed yes, found no"]),
    "creator": ("update content_items set creator_id = gen_random_uuid() where id = 3", ["creator: sealed"]),
    "deleted": ("delete from content_items where id = 3", ["tag anime", "source regular", "public", "creator"]),
    "inserted": (
        """
        insert into content_items_all
            (id, title, content_type, content_data, prompt, creator_id, created_at, source_type)
        select 900, 't', 'text', '', '', creator_id, created_at + interval '1 hour', 'items'
        from content_items where id = 12
        """,
        ["regular 900: place: sealed nowhere"],
    ),
    "moved": (
        "update content_items set created_at = created_at + interval '1 hour' where id = 3",
        ["order: sealed at rank 2, found a lesser key"],
    ),
}


@pytest.mark.parametrize(("change", "words"), list(UNMARKED.values()), ids=list(UNMARKED))
def test_what_a_lost_mark_hides_is_found(change: str, words: list[str], indexed: Connection) -> None:
    """A write that left no mark is what makes answers wrong; each kind shows."""
    with indexed.transaction():
        indexed.execute("set local session_replication_role = replica")
        indexed.execute(change.encode())
    found = "\n".join(said(check(indexed)))
    assert all(word in found for word in words), found


DAMAGES = {
    "place": ("update workbench.bitmap_places set ranks[4] = null where source_type = 'items'", "regular 3: place"),
    "member": (
        "update workbench.bitmap_chunks set members = overlay(members placing '\\x00000063'::bytea from 9)",
        "regular 3: place",
    ),
    "creator": ("delete from workbench.bitmap_creators", "creator: sealed None"),
    "bitmap": ("delete from workbench.tag_bitmaps where tag_no = -3", "public: sealed no, found yes"),
}


@pytest.mark.parametrize(("damage", "words"), list(DAMAGES.values()), ids=list(DAMAGES))
def test_damage_of_every_table_is_found(damage: str, words: str, indexed: Connection) -> None:
    """Not of the bits alone."""
    indexed.execute(damage.encode())
    assert words in "\n".join(said(check(indexed)))


def test_bits_of_a_dead_rank_are_found(indexed: Connection, settings: Settings) -> None:
    """A position whose item is gone must carry nothing."""
    rank = bitmaps_plain.ranks(indexed)["items", 3]
    indexed.execute("delete from content_items where id = 3")
    bitmap_seal.seal(settings, force=True)
    assert check(indexed).passed
    flip(indexed, "anime", rank)
    assert said(check(indexed)) == [f"rank {rank}: tag anime: sealed yes, found no item there"]


def test_the_seed_draws_the_chunks(indexed: Connection) -> None:
    """One seed draws the same ones again; no more are drawn than there are."""
    bitmaps_plain.generate(indexed, 3 * CHUNK)
    bitmaps_plain.build(indexed)
    drawn = [bitmap_health.check(indexed, 2, seed) for seed in (1, 1, 2, 3, 4)]
    assert drawn[0].chunks == drawn[1].chunks
    assert len({found.chunks for found in drawn}) > 1
    assert all(found.passed for found in drawn)
    every = bitmap_health.check(indexed, 99, 1)
    assert (every.passed, every.chunks, every.items) == (True, (0, 1, 2, 3), 3 * CHUNK + 24)


def test_checking_goes_on_beside_a_writer(indexed: Connection, settings: Settings) -> None:
    """What is not committed is neither there nor marked."""
    with closing(engine.connect(settings)) as writer, writer.transaction():
        writer.execute("delete from content_items_auto where id < 5")
        assert check(indexed).passed
    found = check(indexed)
    assert (found.passed, found.items, found.marked) == (True, 20, 0)


def test_nothing_is_checked_where_no_index_serves(migrated: Connection) -> None:
    """The refusal says what comes next."""
    with pytest.raises(BitmapsUnavailable) as refusal:
        check(migrated)
    assert "40_build_tag_bitmaps" in str(refusal.value)
    with pytest.raises(InvalidInput):
        bitmap_health.check(migrated, chunks=0, seed=1)


def test_a_legacy_gallery_has_no_index(admin_url: str) -> None:
    """Neither status nor check nor seal needs the tables to say so."""
    with database(admin_url) as name:
        settings = settings_of(admin_url, name)
        with closing(engine.connect(settings)) as connection:
            adoption.adopt(connection, settings)
            found = bitmap_health.status(connection)
            assert (found.present, found.armed, found.bytes) == (False, False, {})
            assert "40_build_tag_bitmaps" in found.next_step(settings.bitmaps)
            with pytest.raises(BitmapsUnavailable):
                check(connection)
            with pytest.raises(BitmapsUnavailable):
                bitmap_seal.seal(settings)


def test_the_status_counts_what_is_sealed_marked_and_dead(indexed: Connection, settings: Settings) -> None:
    """Marked items once, however many marks they have; what waits and what is dead beside them."""
    indexed.execute("delete from content_items where id in (3, 4)")
    indexed.execute("update content_items_all set created_at = '2020-01-01' where id = 5")
    bitmap_seal.seal(settings, force=True)
    for _ in range(3):
        indexed.execute("update content_items set is_private = not is_private where id = 1")
    found = bitmap_health.status(indexed)
    now, marked = found.standing, found.marked
    assert (found.present, found.armed, now.serving, now.ranks, now.sealed) == (True, True, 1, 24, 20)
    assert (marked.items, marked.marks, marked.due, marked.waiting, marked.young) == (3, 5, 1, 2, 0)
    assert marked.oldest_s is not None
    assert marked.oldest_due_s is not None
    assert marked.oldest_s >= marked.oldest_due_s >= 0
    assert found.dead_share == pytest.approx(4 / 24)
    assert found.bytes["tag_bitmaps"] > 0


def test_the_status_says_what_to_do_next(indexed: Connection, settings: Settings) -> None:
    """Build, seal, build anew, or nothing; the most urgent first."""
    assert step(indexed, settings) == "Nothing to do."
    indexed.execute("update content_items set is_private = not is_private where id < 4")
    assert "pipeline seal" not in step(indexed, settings)
    assert "3 items are due: `genonaut pipeline seal" in step(indexed, settings, seal_items=3)
    assert "marks_max" in step(indexed, settings, marks_max=2)
    indexed.execute("update content_items set created_at = '2020-01-01' where id < 4")
    bitmap_seal.seal(settings, force=True)
    assert "3 items wait" in step(indexed, settings, marks_max=12)
    indexed.execute("delete from content_items_auto where id < 9")
    bitmap_seal.seal(settings, force=True)
    assert "ranks are dead: `genonaut run 40_build_tag_bitmaps" in step(indexed, settings)
    indexed.execute("alter table content_tags disable trigger user")
    assert "genonaut bitmaps drop" in step(indexed, settings)


def test_the_status_tells_a_build_at_work_from_one_that_was_killed(indexed: Connection, settings: Settings) -> None:
    """The build holds its lock while it lives."""
    bitmaps_plain.begin_building(indexed)
    assert "goes on where it stopped" in step(indexed, settings)
    with closing(engine.connect(settings)) as builder:
        advisory.try_hold(builder, bitmap_build.LOCK)
        found = bitmap_health.status(indexed)
        assert (found.standing.building, found.standing.at_work) == (2, True)
        assert "at work" in found.next_step(settings.bitmaps)


def test_dropping_disarms_and_frees(indexed: Connection, settings: Settings) -> None:
    """Nothing serves, writes leave no marks, the tables are empty; a second time changes nothing."""
    indexed.execute("update content_items set is_private = not is_private where id < 4")
    for _ in range(2):
        bitmap_health.drop(indexed, settings.database)
        indexed.execute("update content_items set is_private = not is_private where id < 4")
        assert not is_armed(indexed)
        assert "No index serves" in step(indexed, settings)
        assert bitmaps_plain.marked(indexed) == {}
        assert indexed.execute("select from workbench.tag_bitmaps").fetchall() == []
    bitmaps_plain.build(indexed)
    bitmaps_plain.require_exact(indexed)


def test_a_reader_of_an_older_snapshot_reads_a_dropped_index_to_its_end(
    indexed: Connection, settings: Settings
) -> None:
    """Its bits, and the marks that belong to them."""
    indexed.execute("update content_items set is_private = not is_private where id < 4")
    with closing(engine.connect(settings)) as reader, reader.transaction():
        reader.execute("set transaction isolation level repeatable read, read only")
        # Only this table is touched: a lock on content would hold up the dropping of its triggers.
        before = bitmaps_plain.sealed(reader), bitmaps_plain.marked(reader)
        bitmap_health.drop(indexed, settings.database)
        assert (bitmaps_plain.sealed(reader), bitmaps_plain.marked(reader)) == before


@pytest.mark.parametrize("lock", [bitmap_build.LOCK, bitmap_seal.LOCK])
def test_an_index_at_work_is_not_dropped(lock: str, indexed: Connection, settings: Settings) -> None:
    """Whoever builds or seals ends first."""
    with closing(engine.connect(settings)) as worker:
        advisory.try_hold(worker, lock)
        with pytest.raises(BitmapsBusy):
            bitmap_health.drop(indexed, settings.database)
        assert is_armed(indexed)
    assert check(indexed).passed


def test_the_index_is_looked_after_from_the_shell(indexed: Connection, command: Command) -> None:
    """Status, seal and check in one language for people and scripts."""

    def answered(*arguments: str) -> dict[str, object]:
        return json.loads(command("bitmaps", *arguments, "--env", "test", "--json").said)

    indexed.execute("update content_items set is_private = not is_private where id < 4")
    assert answered("status")["next_step"] == "Nothing to do."
    assert answered("seal")["batches"] == 0
    found = answered("seal", "--force", "--items", "2")
    assert (found["sealed"], found["rewritten"], found["batches"]) == (3, 3, 2)
    assert answered("check")["passed"] is True
    assert "items sealed" in command("bitmaps", "status", "--env", "test").said
    assert "nothing differs" in command("bitmaps", "check", "--env", "test").said
    indexed.execute("update content_items set is_private = not is_private where id < 4")
    assert "rewritten in place" in command("bitmaps", "seal", "--force", "--env", "test").said
    assert "Nothing is due" in command("bitmaps", "seal", "--env", "test").said


def test_a_check_that_finds_something_ends_with_1(indexed: Connection, command: Command) -> None:
    """And names tag and item."""
    flip(indexed, "devel::lang:perl", 0)
    ended = command("bitmaps", "check", "--env", "test")
    assert (ended.code, "tag devel::lang:perl" in ended.said) == (FAILED, True)
    ended = command("bitmaps", "check", "--env", "test", "--json")
    assert (ended.code, json.loads(ended.said)["differences"][0]["subject"]) == (FAILED, "tag devel::lang:perl")


def test_a_protected_environment_is_confirmed_by_name(
    indexed: Connection, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before the index is taken away, and before it is sealed."""
    monkeypatch.setenv("GENONAUT_PROTECTED", "true")
    monkeypatch.setenv("GENONAUT_CONFIRM", "")
    for verb in ("drop", "seal"):
        ended = command("bitmaps", verb, "--env", "test")
        assert (ended.code, "--confirm test" in ended.said) == (REFUSED, True)
    assert is_armed(indexed)
    ended = command("bitmaps", "drop", "--env", "test", "--confirm", "test", "--json")
    assert (ended.code, "tag_bitmaps" in json.loads(ended.said)["bytes_before"]) == (OK, True)
    assert not is_armed(indexed)


def test_without_an_index_the_commands_say_what_comes_next(migrated: Connection, command: Command) -> None:
    """Refused, but for the status."""
    for verb, code in (("status", OK), ("seal", REFUSED), ("check", REFUSED), ("drop", OK)):
        ended = command("bitmaps", verb, "--env", "test")
        assert ended.code == code
        assert verb == "drop" or "40_build_tag_bitmaps" in ended.said


def test_the_notebook_seals_what_is_due(indexed: Connection, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """A dry run writes nothing; an application seals what is due, with force whatever is marked."""
    monkeypatch.setenv("GENONAUT_BITMAPS__SEAL_AGE_S", "3600")
    tag = "insert into content_tags values (%s, 'auto', %s)"
    for number in (1, 3):
        indexed.execute(tag, [number, tag_id("devel::lang:perl")])
    assert command(*NOTEBOOK, "--dry-run", "-p", "force=true").code == OK
    assert len(bitmaps_plain.marked(indexed)) == 2
    assert command(*NOTEBOOK, "--apply").code == OK
    assert len(bitmaps_plain.marked(indexed)) == 2
    assert command("pipeline", "seal", "--env", "test", "--apply", "-p", "54_seal_tag_bitmaps.force=true").code == OK
    assert bitmaps_plain.marked(indexed) == {}
    bitmaps_plain.require_exact(indexed)


def test_young_items_are_said_to_be_young(indexed: Connection) -> None:
    """They are left to the next seal, and make none due."""
    indexed.execute(
        "insert into content_items_all (title, content_type, content_data, prompt, creator_id, created_at, source_type)"
        " select 't', 'text', '', '', creator_id, %s, 'auto' from content_items where id = 1",
        [datetime.now(UTC) + timedelta(minutes=5)],
    )
    marked = bitmap_health.status(indexed).marked
    assert (marked.items, marked.young, marked.due, marked.waiting) == (1, 1, 0, 0)
