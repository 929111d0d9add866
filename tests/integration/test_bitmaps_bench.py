"""`genonaut bench bitmaps`: every section measured, answers compared with an oracle, nothing left behind."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest

from genonaut_lib.content.generation import SHAPES, generate
from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.gallery.bitmaps.layout import CHUNK
from genonaut_lib.gallery.query import GalleryQuery, TagMatch
from genonaut_lib.migration import bitmap_build, tag_stats
from genonaut_lib.migration.phases import Context
from genonaut_lib.migration.phases.create_tag_bitmaps import is_armed
from genonaut_lib.settings import Settings
from genonaut_lib.tuning import bitmap_upkeep, bitmap_writers
from genonaut_lib.tuning.bitmap_effort import SECTIONS, BitmapEffort, Place
from genonaut_lib.tuning.bitmap_layer import Layer, layer_tags
from genonaut_lib.tuning.bitmap_reader import BitmapReader
from tests.counters import rows_written
from tests.factories import Gallery
from tests.integration.conftest import Ended
from tests.migration.test_phases import apply_before

Command = Callable[..., Ended]
FIGURES = {
    "build": ["over_reading_the_junction", "share_of_the_junction", "index_share", "megabytes", "seconds"],
    "grid": ["plain_over_warm", "gallery_over_warm", "warm_median_ms", "warm_p99_ms", "cold_worst_ms", "marked_p99_ms"],
    "facets": ["junction_over_index", "facets_p95_ms"],
    "seal": ["over_inserting", "seconds", "changed_seconds", "sealed"],
    "writers": ["at_rate_ratio", "at_rate_with_per_second", "unbounded_ratio", "unbounded_without_per_second"],
    "simulated": ["memory_gigabytes_per_second", "all_2_total_over_bound", "all_2_page_ms", "apart_20_total_ms"],
}
SMALL = (
    "--marked", "12", "--seal-items", "8", "--queries", "40", "--repeats", "1", "--rounds", "1", "--round-s", "0.3",
    "--simulated-items", "32000", "--env", "test", "--json",
)  # fmt: skip


def printed(ended: Ended) -> dict[str, Any]:
    """Return the JSON among what was said; progress goes to the other stream."""
    return json.loads(ended.said[ended.said.index("{") : ended.said.rindex("}") + 1])  # type: ignore[no-any-return]


def databases(connection: Connection) -> set[str]:
    """Return the throw-away databases of a bench; those of other tests at work on the server are none of ours."""
    made = "select datname from pg_database where datname like '%bitmaps_%'"
    return {row[0] for row in connection.execute(made).fetchall()}


def content(connection: Connection) -> list[Any]:
    """Return what the gallery holds: items, relationships, and marks."""
    return connection.execute(
        "select (select count(*) from content_items_all), (select count(*) from content_tags),"
        " (select count(*) from workbench.bitmap_marks)"
    ).fetchall()


@pytest.fixture
def built(context: Context, gallery: Gallery) -> Connection:
    """A small adversarial gallery, migrated, its statistics fresh, its index built."""
    generate(context.connection, SHAPES["adversarial"], 400, seed=3)
    apply_before(context, "")
    tag_stats.refresh(context.connection)
    bitmap_build.build(context.settings)
    return context.connection


@pytest.fixture
def place(built: Connection, settings: Settings) -> Place:
    return Place(settings, built, BitmapEffort(rounds=1, round_s=0.3, sessions=2), lambda line: None)


def test_every_section_is_measured_on_a_gallery_of_its_own(
    gallery: Gallery, connection: Connection, command: Command
) -> None:
    """Figures for scripts, no answer but the oracle's; throw-away databases are gone, the own gallery untouched."""
    item = gallery.legacy_item(["anime"])
    before = databases(connection)
    ended = command("bench", "bitmaps", "--shape", "adversarial", "--items", "400", *SMALL)
    assert ended.code == 0, ended.said
    found = printed(ended)
    assert tuple(found["sections"]) == SECTIONS
    assert all(found["sections"][name]["figures"][figure] for name, figures in FIGURES.items() for figure in figures)
    assert [section["differing"] for section in found["sections"].values()] == [[]] * len(SECTIONS)
    grid, writers = (found["sections"][name]["figures"] for name in ("grid", "writers"))
    assert (grid["questions"], grid["oracle_unknown"], grid["marked_items"]) == (40, 0, 12)
    assert [writers[f"{name}_deadlocks"] for name in ("at_rate", "unbounded")] == [0, 0]
    assert databases(connection) <= before
    assert connection.execute("select id, tags from content_items").fetchall() == [(item, ["anime"])]


def test_the_environments_own_index_is_read_and_nothing_written(built: Connection, command: Command) -> None:
    """Tables for people; nothing in the database is another."""
    before = rows_written(built)
    ended = command("bench", "bitmaps", "--here", "--queries", "10", "--repeats", "1", "--env", "test")
    assert ended.code == 0, ended.said
    assert "warm_median_ms" in ended.said
    assert rows_written(built) == before


def test_marked_and_sealed_items_are_taken_out_again(built: Connection, command: Command) -> None:
    """What was there is there, no more and no less, and no mark is left."""
    before = content(built)
    ended = command("bench", "bitmaps", "--here", "--section", "grid", "--section", "seal", *SMALL)
    assert ended.code == 0, ended.said
    sections = printed(ended)["sections"]
    assert sections["grid"]["figures"]["marked_items"] == 12
    assert sections["seal"]["figures"]["appended"] == 8
    assert content(built) == before
    assert before[0][2] == 0


def test_an_index_that_shows_other_rows_is_caught(built: Connection, command: Command) -> None:
    """Everything is printed first, then the question is named, and the exit code is 1."""
    built.execute("update workbench.tag_bitmaps set bits = ~bits where tag_no > 0")
    ended = command("bench", "bitmaps", "--here", "--section", "grid", "--marked", "0", *SMALL[4:])
    assert ended.code == 1
    assert printed(ended)["sections"]["grid"]["differing"]
    assert "Not the oracle's answer" in ended.said


def test_facets_of_a_wrong_index_are_caught(built: Connection, command: Command) -> None:
    """The junction counts other tags."""
    built.execute("update workbench.tag_bitmaps set bits = ~bits where tag_no > 0")
    ended = command("bench", "bitmaps", "--here", "--section", "facets", *SMALL[-3:], "--repeats", "1")
    assert ended.code == 1
    assert "Not the oracle's answer: facets of" in ended.said


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--section", "gird"], "Did you mean 'grid'?"),
        (["--shape", "dens"], "Did you mean 'dense'?"),
        (["--here", "--shape", "dense"], "Say one of them"),
        (["--here", "--section", "writers"], "only measured in a database of its own"),
    ],
)
def test_what_cannot_be_measured_is_refused(
    arguments: list[str], said: str, gallery: Gallery, command: Command
) -> None:
    """Nothing was made by then."""
    ended = command("bench", "bitmaps", *arguments, "--env", "test")
    assert ended.code == 2
    assert said in ended.said


def test_a_gallery_without_an_index_is_refused(context: Context, gallery: Gallery, command: Command) -> None:
    """The hint names the notebook that builds one."""
    generate(context.connection, SHAPES["adversarial"], 100, seed=3)
    apply_before(context, "")
    tag_stats.refresh(context.connection)
    ended = command("bench", "bitmaps", "--here", "--section", "grid", "--env", "test")
    assert ended.code in {1, 2}
    assert "40_build_tag_bitmaps" in ended.said


def test_rounds_without_the_index_leave_no_marks(place: Place) -> None:
    """The triggers rest for the block and for no longer."""
    triggers = bitmap_writers.marking_triggers(place.connection)
    with bitmap_writers.disarmed(place, triggers):
        assert not is_armed(place.connection)
        place.connection.execute("update content_items_all set is_private = not is_private")
    assert is_armed(place.connection)
    assert content(place.connection)[0][2] == 0


def test_writers_leave_the_gallery_as_it_was_and_armed(place: Place) -> None:
    """Whatever they inserted is gone, and sealed."""
    before = content(place.connection)
    found = bitmap_writers.measure_writers(place)
    assert found.figures["unbounded_with_per_second"] > 0
    assert content(place.connection) == before
    assert is_armed(place.connection)


def test_a_delta_changes_no_item_that_was_there(place: Place) -> None:
    """Half of it is new, half is touched; new items carry the tags of old ones."""
    tags = (
        "select content_source, content_id, array_agg(tag_id order by tag_id) from content_tags"
        " group by 1, 2 order by 1, 2"
    )
    before = place.connection.execute(tags).fetchall()
    with bitmap_upkeep.marked_items(place, 10) as marked:
        during = place.connection.execute(tags).fetchall()
    known = {tuple(row[2]) for row in before}
    assert marked == 10
    assert [row for row in during if row in before] == before
    assert len(during) == len(before) + 5
    assert all(tuple(row[2]) in known for row in during)
    assert place.connection.execute(tags).fetchall() == before


def test_a_simulated_layer_counts_as_its_bits_do(context: Context, gallery: Gallery) -> None:
    """At any size, as PostgreSQL counts the bits itself; the halves never meet."""
    apply_before(context, "")
    tags = layer_tags(8)
    left, right, _, _, *popular = tags
    with engine.connect(context.settings) as session:
        layer = Layer(session, context.settings, 3, seed=1)
        layer.make(lambda line: None)
        layer.add(tags, lambda line: None)
        for chunks in (2, 3):
            layer.serve(chunks)
            with BitmapReader(context.settings) as reader:
                both = reader.total(GalleryQuery((popular[0].id, popular[1].id), TagMatch.ALL))
                assert both.total == counted(session, chunks, popular[0].number, popular[1].number)
                assert 0.8 * chunks * CHUNK < (both.total or 0) < chunks * CHUNK
                assert reader.total(GalleryQuery((left.id, right.id), TagMatch.ALL)).total == 0


def counted(connection: Connection, chunks: int, one: int, other: int) -> int:
    row = connection.execute(
        "select sum(bit_count(a.bits & b.bits & p.bits)) from workbench.tag_bitmaps a"
        " join workbench.tag_bitmaps b using (epoch, chunk) join workbench.tag_bitmaps p using (epoch, chunk)"
        " where a.tag_no = %s and b.tag_no = %s and p.tag_no = -3 and chunk < %s",
        [one, other, chunks],
    ).fetchone()
    assert row is not None
    return int(row[0])
