"""The formulas behind the estimates, at points where the answer is known."""

from __future__ import annotations

import pytest

from genonaut_lib.db.statements import Block
from genonaut_lib.migration import estimate_model as model
from genonaut_lib.migration.estimate import Estimate, PlanEstimate, estimator_of
from genonaut_lib.migration.estimate_model import Column
from genonaut_lib.migration.figures import bytes_text, seconds_text
from genonaut_lib.migration.plan import Plan, action

NOTHING = Estimate()


def test_a_row_of_the_junction_takes_what_the_page_layout_says() -> None:
    """24 bytes of header, 26 of columns, rounded up; 136 rows on a page."""
    width = model.heap_row(model.JUNCTION_COLUMNS.values())
    assert width == 56
    assert model.heap_bytes(136, width) == model.PAGE
    assert model.heap_bytes(137, width) == 2 * model.PAGE


def test_wide_rows_leave_gaps() -> None:
    """Four rows of 1,800 bytes stand on a page, not four and a half."""
    assert model.heap_bytes(8, 1_800) == 2 * model.PAGE


def test_columns_are_padded_to_their_alignment() -> None:
    """A four-byte id before an eight-byte date leaves a hole, behind it none."""
    assert model.packed([Column(4, 4), Column(8, 8)]) == 16
    assert model.packed([Column(8, 8), Column(4, 4)]) == 12


def test_an_index_of_a_million_narrow_entries() -> None:
    """PostgreSQL 15 makes pgbench's primary key of a million rows 22.5 MB (20 bytes an entry, 90 % full)."""
    assert model.index_bytes(1_000_000, [Column(4, 4)]) == pytest.approx(22_487_040, rel=0.01)


def test_a_row_under_the_threshold_stays_as_it_is() -> None:
    """Only the ids come to it."""
    assert model.filled_row(500, 300, 10, 0.5) == (684, 0.0)


def test_a_row_over_the_threshold_has_its_names_compressed() -> None:
    """As measured on the dense shape: 1,551 bytes become 1,791 with 75 ids."""
    width, out = model.filled_row(1551, 1370, 75, 0.28)
    assert (width, out) == (pytest.approx(1791, rel=0.02), 0.0)


def test_a_row_that_stays_too_wide_moves_its_widest_array_out() -> None:
    """What goes to the TOAST table comes with a header for each piece."""
    width, out = model.filled_row(2_000, 1_700, 200, 1.0)
    assert width < model.TOAST_THRESHOLD
    assert out > 3_200


@pytest.mark.parametrize(("texts", "low", "high"), [(["ab" * 500], 0, 0.1), ([], 1, 1), (["qzjxkvbw"], 1, 1)])
def test_only_repetitive_names_are_compressed(texts: list[str], low: float, high: float) -> None:
    """What compression does not make a quarter smaller is stored as it is."""
    assert low <= model.compressed_share(texts) <= high


def test_a_server_without_page_images_writes_none() -> None:
    """And compression makes them smaller where there are any."""
    plain = model.images(10, written=True, compressed=False)
    assert model.images(10, written=False, compressed=False) == 0 < model.images(10, written=True, compressed=True)
    assert plain == 10 * model.PAGE


def test_disk_needed_is_the_highest_point_on_the_way() -> None:
    """What is freed first makes room, what is freed last does not; sort files count while they are there."""
    steps = (
        Estimate(disk_bytes=-10),
        Estimate(disk_bytes=30, scratch_bytes=50, wal_bytes=1_000),
        Estimate(disk_bytes=20),
        Estimate(disk_bytes=-100),
    )
    assert PlanEstimate(steps, wal_kept_bytes=7).disk_needed == 70 + 7


def test_the_total_of_unknown_parts_is_not_complete() -> None:
    """The known parts are summed up all the same."""
    found = PlanEstimate((Estimate(5, 7, 1.0, 9), Estimate(None, None, None, None)), 0)
    assert (found.complete, found.total.rows, found.total.wal_bytes, found.total.disk_bytes) == (False, 5, 7, 9)


@pytest.mark.parametrize(
    ("phase", "id", "text", "estimator"),
    [
        ("backfill_tag_uuids", "backfill:content_items", "with batch", "_fill_uuids"),
        ("backfill_content_tags", "backfill:content_items", "with batch", "_fill_junction"),
        ("backfill_content_tags", "build:x", 'create index concurrently if not exists "x" on "content_tags" (a)',
         "_build_index"),
        ("backfill_content_tags", "build:p", 'alter table "content_tags" add primary key (a, b)', "_build_index"),
        ("backfill_content_tags", "validate:fk", 'alter table content_tags validate constraint "fk"', "_scan"),
        ("backfill_content_tags", "vacuum:content_tags", 'vacuum (analyze) "content_tags"', "_vacuum"),
        ("backfill_tag_uuids", "drop:x", 'drop index concurrently if exists "x"', "_drop_index"),
        ("attach_partitions", "create:x", "create index if not exists x\non only content_items_all (a)",
         "_catalogue_only"),
        ("attach_partitions", "attach:x", 'alter table content_items_all attach partition "x"', "_catalogue_only"),
        ("create_content_tags", "create:x", "create index if not exists x on content_tags (a)", "_catalogue_only"),
        ("seed_tags", "data:observe_spellings:content_items", "with batch", "_observe"),
    ],
)  # fmt: skip
def test_an_action_gets_the_formula_of_its_kind(phase: str, id: str, text: str, estimator: str) -> None:
    """Phase, id and statement decide; a new kind is one rule."""
    step = action(id, Block("tests", "x", text))
    assert estimator_of(Plan(phase, (step,)), step).__name__ == estimator


@pytest.mark.parametrize(
    ("size", "text"),
    [(None, "unknown"), (0, "0"), (999, "999 bytes"), (12_345, "12.3 kB"), (-3_000_000, "-3.0 MB"), (2.5e12, "2.5 TB")],
)
def test_sizes_are_read_at_a_glance(size: float | None, text: str) -> None:
    """Powers of ten, one digit behind the point."""
    assert bytes_text(size) == text


@pytest.mark.parametrize(
    ("seconds", "text"), [(None, "unknown"), (0.01, "10 ms"), (5, "5.0 s"), (90, "1.5 min"), (23_400, "6.5 h")]
)
def test_durations_are_read_at_a_glance(seconds: float | None, text: str) -> None:
    """In the unit people would say it in."""
    assert seconds_text(seconds) == text
