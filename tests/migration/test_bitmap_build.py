"""Building the tag bitmap index: every bit is the junction's, whatever happens meanwhile."""

from __future__ import annotations

import random
import time
from collections.abc import Callable

import pytest

from genonaut_lib.db import advisory
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import BitmapsBusy, BitmapsForgotten, CheckFailed, InvalidInput
from genonaut_lib.gallery.bitmaps.layout import CHUNK
from genonaut_lib.migration import bitmap_build, bitmap_epochs, bitmap_tags
from genonaut_lib.migration.bitmap_build import BuildResult, build, is_built
from genonaut_lib.migration.bitmap_epochs import TABLES
from genonaut_lib.migration.bitmap_estimate import compare, estimate, standing
from genonaut_lib.migration.phases import Context
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import ContentSource, tag_id
from tests.factories import Gallery
from tests.migration.bitmaps import (
    TAGS,
    Sealed,
    begin,
    builder,
    epochs_with_rows,
    expected,
    marked,
    populate,
    sealed,
    state,
)
from tests.migration.test_phases import apply_before

EACH = 8_200
"""Items of each source: together they take a second chunk."""


def indexable(context: Context) -> None:
    """Make a gallery with tags and without items, where the index can be built."""
    item = begin(Gallery(context.connection))
    apply_before(context, "create_gallery_stats")
    context.connection.execute("delete from content_items where id = %s", [item])


MODELS = {"empty": indexable}


@pytest.fixture
def empty(gallery: Gallery) -> Gallery:
    """One of the test's own."""
    return gallery


@pytest.fixture
def filled(empty: Gallery) -> Gallery:
    """The same with some hundred items of each source, ids and dates alike."""
    populate(empty, 1, 400)
    return empty


def built(settings: Settings, least_share: float = 0.0, workers: int = 2) -> BuildResult:
    return build(settings, workers=workers, least_share=least_share)


def number_of(connection: Connection, name: str) -> int:
    row = connection.execute("select tag_no from tags where id = %s", [tag_id(name)]).fetchone()
    assert row is not None
    return int(row[0])


def between(monkeypatch: pytest.MonkeyPatch, act: Callable[[], None]) -> None:
    """Have `act` done once, when the items are ranked and no tag is written."""
    plain = bitmap_tags.tags_by_use

    def acting(connection: Connection, least: int) -> list[bitmap_tags.Tag]:
        monkeypatch.setattr(bitmap_tags, "tags_by_use", plain)
        act()
        return plain(connection, least)

    monkeypatch.setattr(bitmap_tags, "tags_by_use", acting)


class Killed(Exception):
    """What ends a build in the middle."""


def die() -> None:
    raise Killed


def wrong(found: Sealed, truth: Sealed) -> set[tuple[str, int]]:
    """Items of which bits, order or creator are not what content and junction say."""
    gone = set(found.ranked) ^ set(truth.ranked)
    for have, want in ((found.tags, truth.tags), (found.creators, truth.creators)):
        for key in have:
            gone |= have[key] ^ want.get(key, set())
    return gone


def test_every_bit_is_the_junctions(empty: Gallery, settings: Settings) -> None:
    """Two chunks, tied dates, equal ids with other tags: tags, sources, public items, creators, order and places."""
    populate(empty, 1, EACH)
    empty.connection.execute("delete from content_tags where content_source = 'auto' and content_id % 5 = 0")
    result = built(settings)
    truth = expected(empty.connection)
    assert sealed(empty.connection, result.epoch) == truth
    assert len(truth.ranked) == 2 * EACH > CHUNK
    assert (result.items, result.tags, result.tags_before) == (2 * EACH, len(TAGS), 0)
    assert result.relationships == sum(len(items) for number, items in truth.tags.items() if number >= 0)


def test_the_state_tells_chunks_ranks_and_the_last_key(filled: Gallery, settings: Settings) -> None:
    """The sealer appends what comes after that key."""
    built(settings)
    found = state(filled.connection)
    last = filled.connection.execute(
        "select to_jsonb(created_at), source_type, id from content_items_all order by created_at desc, 2 desc, 3 desc"
    ).fetchone()
    assert (found["end_at"], found["end_source"], found["end_id"]) == last
    assert (found["serving"], found["building"], found["chunks"], found["ranks"]) == (1, None, 1, 800)


def test_rare_tags_have_no_bitmaps(filled: Gallery, settings: Settings) -> None:
    """A tag on exactly the least share has them; sources and public items always do."""
    built(settings, least_share=0.5)
    kept = {number_of(filled.connection, name) for name in ("every", "half")}
    assert sealed(filled.connection, 1).tags.keys() == {-3, -2, -1, *kept}


def test_a_gallery_without_items_has_an_index_too(empty: Gallery, settings: Settings) -> None:
    """It serves, and says that there is nothing."""
    assert not is_built(empty.connection)
    assert built(settings).items == 0
    found = state(empty.connection)
    assert (found["serving"], found["chunks"], found["ranks"], found["end_id"]) == (1, 0, 0, None)
    assert is_built(empty.connection)


def test_negative_ids_are_refused_by_name(filled: Gallery, settings: Settings) -> None:
    """Nothing is begun; the index that serves goes on."""
    built(settings)
    filled.item([], ContentSource.AUTO, id=-5, source_type="auto")
    with pytest.raises(CheckFailed, match="auto -5"):
        built(settings)
    found = state(filled.connection)
    assert (found["serving"], found["building"], found["epochs"]) == (1, None, 1)
    assert epochs_with_rows(filled.connection, TABLES) == {1}


def test_ids_far_apart_are_ranked_as_well(filled: Gallery, settings: Settings) -> None:
    """The greatest id does not decide about the memory."""
    filled.item([tag_id("half")], id=2_147_483_000, source_type="items")
    built(settings)
    assert sealed(filled.connection, 1) == expected(filled.connection)


def test_a_date_before_all_others_is_ranked(filled: Gallery, settings: Settings) -> None:
    """PostgreSQL has dates that Python does not."""
    filled.connection.execute("update content_items set created_at = '-infinity' where id = 4")
    built(settings)
    assert sealed(filled.connection, 1).ranked[0] == ("items", 4)


def test_what_lies_in_the_future_is_marked_and_not_ranked(filled: Gallery, settings: Settings) -> None:
    """Ranks end at the present, or whatever is made until that day would have to wait for it."""
    filled.connection.execute("update content_items set created_at = now() + interval '1 day' where id in (3, 5)")
    result = built(settings)
    assert marked(filled.connection) == {("items", 3), ("items", 5)}
    assert not {("items", 3), ("items", 5)} & set(sealed(filled.connection, 1).ranked)
    assert result.items == 798


def test_a_rebuild_takes_the_old_ones_place_and_clears_it_away(filled: Gallery, settings: Settings) -> None:
    """What changed since, marked or sealed, is in the new epoch; its marks are gone."""
    built(settings)
    filled.connection.execute("delete from content_items where id % 5 = 0")
    populate(filled, 401, 420)
    assert marked(filled.connection)
    before = state(filled.connection)["version"]
    assert built(settings).epoch == 2
    assert sealed(filled.connection, 2) == expected(filled.connection)
    assert (epochs_with_rows(filled.connection, TABLES), marked(filled.connection)) == ({2}, set())
    assert state(filled.connection)["version"] > before


def test_what_changes_during_the_build_ends_up_marked(
    filled: Gallery, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Retagged, inserted, deleted, hidden and moved: wherever bits and truth differ there is a mark."""
    connection, half = filled.connection, tag_id("half")

    def write() -> None:
        connection.execute("delete from content_tags where content_id = 2 and content_source = 'auto'")
        connection.execute("insert into content_tags values (3, 'regular', %s)", [half])
        connection.execute("delete from content_items_all where id = 8 and source_type = 'items'")
        connection.execute("update content_items_auto set is_private = not is_private where id = 9")
        connection.execute("update content_items set created_at = created_at + interval '1 year' where id = 10")
        populate(filled, 401, 402)

    built(settings)
    between(monkeypatch, write)
    built(settings)
    changed = {("auto", 2), ("items", 3), ("items", 8), ("auto", 9), ("items", 10)}
    new = {(source, item) for source in ("items", "auto") for item in (401, 402)}
    assert marked(connection) == changed | new
    assert wrong(sealed(connection, 2), expected(connection)) <= marked(connection)


def test_a_writer_that_commits_after_the_ranking_stays_marked(
    filled: Gallery, settings: Settings, second_session: Callable[[], Connection]
) -> None:
    """Its mark is older than the ranking, and the ranking did not see it."""
    built(settings)
    other = second_session()
    filled.connection.execute("delete from content_tags where content_id = 4 and content_source = 'regular'")
    with other.transaction():
        other.execute("delete from content_tags where content_id = 6 and content_source = 'regular'")
        built(settings)
    assert marked(filled.connection) == {("items", 6)}


def test_marks_that_were_sealed_meanwhile_come_back(
    filled: Gallery, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What was sealed into the old epoch after the ranking is not in the new one; what was sealed before is."""
    connection = filled.connection
    marks = "with gone as (delete from workbench.bitmap_marks returning *)"
    seal = f"{marks} insert into workbench.bitmap_marks_kept table gone"

    def write_and_seal() -> None:
        connection.execute("delete from content_tags where content_id = 6 and content_source = 'auto'")
        connection.execute(seal.encode())

    built(settings)
    connection.execute("delete from content_tags where content_id = 4 and content_source = 'auto'")
    between(monkeypatch, write_and_seal)
    built(settings)
    assert marked(connection) == {("auto", 6)}
    assert connection.execute("select count(*) from workbench.bitmap_marks_kept").fetchone() == (0,)


@pytest.mark.parametrize("table", ["content_tags", "content_items_auto"])
def test_a_truncate_during_the_build_ends_it(
    table: str, filled: Gallery, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing serves then; the next build begins anew and is right."""
    built(settings)
    between(monkeypatch, lambda: filled.connection.execute(f"truncate {table} cascade".encode()) and None)
    with pytest.raises(BitmapsForgotten, match="truncated"):
        built(settings)
    assert not is_built(filled.connection)
    result = built(settings)
    assert (sealed(filled.connection, result.epoch).ranked, result.tags_before) == (
        expected(filled.connection).ranked,
        0,
    )
    assert epochs_with_rows(filled.connection, TABLES) == {result.epoch}


def test_a_truncate_just_before_the_swap_ends_it_too(
    filled: Gallery, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The swap itself looks whether its epoch is still wanted; nothing of it serves."""
    plain = bitmap_epochs.swap

    def truncate_and_swap(connection: Connection, epoch: int, rare_most: int) -> None:
        filled.connection.execute("truncate content_tags")
        plain(connection, epoch, rare_most)

    monkeypatch.setattr(bitmap_epochs, "swap", truncate_and_swap)
    with pytest.raises(BitmapsForgotten):
        built(settings)
    assert not is_built(filled.connection)


def test_a_second_builder_is_refused(
    filled: Gallery, settings: Settings, second_session: Callable[[], Connection]
) -> None:
    """It says so at once, and has done nothing."""
    assert advisory.try_hold(second_session(), bitmap_build.LOCK)
    with pytest.raises(BitmapsBusy, match="builds"):
        built(settings)
    assert state(filled.connection)["epochs"] == 0


def test_a_build_goes_on_under_other_settings(
    filled: Gallery, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Tags that are no longer wanted go; the ranking is the first start's."""
    plain = bitmap_tags.write_tag

    def die_at_third(connection: Connection, ranking: object, tag: bitmap_tags.Tag) -> int:
        if tag.number == number_of(connection, "third"):
            raise Killed
        return plain(connection, ranking, tag)  # type: ignore[arg-type]

    monkeypatch.setattr(bitmap_tags, "write_tag", die_at_third)
    with pytest.raises(Killed):
        built(settings, workers=1)
    monkeypatch.setattr(bitmap_tags, "write_tag", plain)
    result = built(settings, least_share=0.6)
    assert (result.epoch, result.tags, result.tags_before) == (1, 0, 1)
    assert sealed(filled.connection, 1).tags.keys() == {-3, -2, -1, number_of(filled.connection, "every")}


def test_what_was_begun_without_triggers_is_not_gone_on_with(
    filled: Gallery, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody knows what changed while one was missing."""
    between(monkeypatch, die)
    with pytest.raises(Killed):
        built(settings)
    assert state(filled.connection)["building"] == 1
    filled.connection.execute("drop trigger mark_on_delete on content_items")
    filled.connection.execute("delete from content_items where id = 1")
    assert built(settings).epoch == 2
    assert sealed(filled.connection, 2) == expected(filled.connection)


def test_a_builder_that_is_killed_goes_on_where_it_was(
    filled: Gallery, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """At the ranking and between tags, again and again; the old epoch serves all the while."""
    connection = filled.connection
    built(settings)
    old = sealed(connection, 1)
    monkeypatch.setenv("GENONAUT_THROTTLE__PAUSE_S", "3")
    for lines in (1, 3, 2):
        kill_after(lines)
        assert (state(connection)["serving"], sealed(connection, 1)) == (1, old)
        connection.execute("delete from content_tags where content_id = %s and content_source = 'auto'", [lines])
    begun = state(connection)["building"]
    assert begun is not None
    result = finish(settings)
    assert (result.epoch, result.tags_before > 0) == (begun, True)
    assert wrong(sealed(connection, begun), expected(connection)) <= marked(connection)
    assert epochs_with_rows(connection, TABLES) == {begun}


def kill_after(lines: int) -> None:
    """Kill a builder some instant after it has said so many lines."""
    with builder() as process:
        assert process.stdout is not None
        for _ in range(lines):
            assert process.stdout.readline()
        time.sleep(random.uniform(0, 0.3))
        process.kill()


def finish(settings: Settings) -> BuildResult:
    """Build to the end, once the server has seen that the builder before is dead."""
    for _ in range(100):
        try:
            return built(settings)
        except BitmapsBusy:
            time.sleep(0.1)
    raise AssertionError("the dead builder's lock is still held")


def test_shares_and_workers_that_make_no_sense_are_refused(settings: Settings) -> None:
    """Before anything is connected to."""
    for share, workers in ((1.5, 1), (-0.1, 1), (0.1, 0)):
        with pytest.raises(InvalidInput, match="least_share"):
            built(settings, share, workers)


def test_a_build_before_its_tables_is_refused(context: Context, gallery: Gallery, settings: Settings) -> None:
    """With the revision that is missing."""
    with pytest.raises(CheckFailed, match="revision"):
        built(settings)


def test_the_estimate_is_near_what_is_built(filled: Gallery, settings: Settings) -> None:
    """Tags and bitmaps of a small gallery are counted, since the sample is all of it; nothing is changed."""
    for table in ("content_items", "content_items_auto", "content_tags"):
        filled.connection.execute(f"analyze {table}".encode())
    about = estimate(filled.connection, workers=2, least_share=0.3)
    assert state(filled.connection)["epochs"] == 0
    result = built(settings, least_share=0.3)
    found = standing(filled.connection)
    assert found is not None
    assert (about.items, about.tags, about.relationships) == (result.items, found.tags, result.relationships)
    assert about.rows == found.tags + 3


def test_the_comparison_finds_a_lost_bitmap(filled: Gallery, settings: Settings) -> None:
    """As many as are marked may differ, no more."""
    built(settings)
    assert all(one.agrees and one.sealed == one.found > 0 for one in compare(filled.connection, tags=4))
    filled.connection.execute("delete from content_tags where content_id = 30 and content_source = 'auto'")
    assert all(one.agrees for one in compare(filled.connection, tags=4))
    half = number_of(filled.connection, "half")
    filled.connection.execute("delete from workbench.tag_bitmaps where tag_no = %s", [half])
    assert [one.tag for one in compare(filled.connection, tags=4) if not one.agrees] == ["half"]
