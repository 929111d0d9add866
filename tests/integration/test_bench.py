"""Measuring before and after: the same questions, the same rows, or a refusal."""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime

import pytest

from genonaut_lib.content.generation import SHAPES, generate
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import BaselineMissing, CheckFailed, RowsDiffer
from genonaut_lib.migration.phases import Context
from genonaut_lib.tuning import bench, legacy_path
from genonaut_lib.tuning.cases import Case, canonical_cases
from tests.factories import Gallery
from tests.migration.test_phases import apply, apply_before

TIMEOUT_S = 30.0
QUESTIONS = [
    "no tag", "one popular tag", "one middling tag", "one rare tag", "any of two tags", "all of two tags",
    "all of five tags", "mine only",
]  # fmt: skip


@pytest.fixture
def seeded(context: Context, gallery: Gallery) -> Connection:
    """A small dense gallery with a few hand-made items, its tags seeded, still legacy."""
    generate(context.connection, SHAPES["dense"], 400, seed=3)
    for tags in (["style::tag-000"], ["STYLE::tag-000", " style::tag-000"], None, "style::tag-000", [7]):
        gallery.legacy_item(tags)
    apply(context, "seed_tags")
    return context.connection


@pytest.fixture
def migrate_rest(context: Context) -> Callable[[], None]:
    """Take the seeded gallery through the phases that are left."""
    return lambda: apply_before(context, "")


def test_the_migrated_gallery_shows_the_rows_it_showed_before(
    seeded: Connection, migrate_rest: Callable[[], None]
) -> None:
    """All nine questions, dirt and deep page included."""
    before = bench.measure_before(seeded, 1, TIMEOUT_S)
    migrate_rest()
    after = bench.measure_after(seeded, 1, TIMEOUT_S)
    assert [pair.same_rows for pair in after] == [True] * 9
    assert [pair.before.row_keys for pair in after] == [found.row_keys for found in before]


def test_an_adversarial_gallery_shows_the_rows_it_showed_before(context: Context, gallery: Gallery) -> None:
    """Tied dates are in one order on both paths."""
    generate(context.connection, SHAPES["adversarial"], 400, seed=3)
    apply(context, "seed_tags")
    bench.measure_before(context.connection, 1, TIMEOUT_S)
    apply_before(context, "")
    assert all(pair.same_rows for pair in bench.measure_after(context.connection, 1, TIMEOUT_S))


def test_the_canonical_questions_are_nine(seeded: Connection) -> None:
    """In the order they are told, the deep page last."""
    cases = canonical_cases(seeded)
    assert [case.name for case in cases[:-1]] == QUESTIONS
    assert cases[-1].name == f"page {cases[-1].page}"
    assert len(set(cases[6].tags)) == 5


def test_the_questions_asked_after_are_those_asked_before(seeded: Connection, migrate_rest: Callable[[], None]) -> None:
    """They are kept, not chosen anew from what the migration made of the tags."""
    asked = bench.cases_at(seeded, bench.BEFORE)
    bench.measure_before(seeded, 1, TIMEOUT_S)
    migrate_rest()
    assert bench.cases_at(seeded, bench.AFTER) == asked == bench.cases_at(seeded, bench.BEFORE)


def test_a_case_survives_its_way_through_the_ledger(seeded: Connection) -> None:
    """Ids come back as ids."""
    assert [Case.from_json(case.as_json()) for case in canonical_cases(seeded)] == canonical_cases(seeded)


def test_a_tampered_junction_is_noticed(seeded: Connection, migrate_rest: Callable[[], None]) -> None:
    """One relationship missing on the first page is enough, and the question is named."""
    before = bench.measure_before(seeded, 1, TIMEOUT_S)
    migrate_rest()
    source, item = (before[1].row_keys or ())[0].split("/")
    values = [source, int(item), before[1].case.tags[0]]
    seeded.execute("delete from content_tags where content_source = %s and content_id = %s and tag_id = %s", values)
    with pytest.raises(RowsDiffer, match="one popular tag"):
        bench.measure_after(seeded, 1, TIMEOUT_S)


def test_what_differed_is_written_down(seeded: Connection, migrate_rest: Callable[[], None], gallery: Gallery) -> None:
    """The measurements are kept for whoever looks into it."""
    bench.measure_before(seeded, 1, TIMEOUT_S)
    migrate_rest()
    gallery.item([], created_at=datetime(2026, 1, 1, tzinfo=UTC))
    with pytest.raises(RowsDiffer, match="no tag"):
        bench.measure_after(seeded, 1, TIMEOUT_S)
    assert len(bench.comparisons(seeded)) == 9


def test_measuring_a_migrated_gallery_without_a_baseline_is_refused(
    seeded: Connection, migrate_rest: Callable[[], None]
) -> None:
    """There is nothing to compare with; the hint says what to run."""
    migrate_rest()
    for measure in (bench.measure_after, bench.measure_before):
        with pytest.raises(BaselineMissing, match="moment=before"):
            measure(seeded, 1, TIMEOUT_S)


def test_measuring_before_a_second_time_after_the_migration_returns_the_baseline(
    seeded: Connection, migrate_rest: Callable[[], None]
) -> None:
    """A pipeline that is started again does not lose its first measurement."""
    before = bench.measure_before(seeded, 1, TIMEOUT_S)
    migrate_rest()
    assert bench.measure_before(seeded, 1, TIMEOUT_S) == before


def test_too_few_tags_are_refused(context: Context, gallery: Gallery) -> None:
    """Five popular tags, a middling and a rare one are needed."""
    gallery.legacy_item(["a", "b"])
    apply(context, "seed_tags")
    with pytest.raises(CheckFailed, match="fewer than eight tags"):
        bench.measure_before(context.connection, 1, TIMEOUT_S)


def test_measuring_before_seeding_is_a_refusal(connection: Connection, gallery: Gallery) -> None:
    """The tags table is not there yet; the hint names the notebook that makes it."""
    gallery.legacy_item(["a"])
    with pytest.raises(CheckFailed, match="10_seed_tags"):
        bench.measure_before(connection, 1, TIMEOUT_S)


def test_a_gallery_smaller_than_two_pages_can_be_compared(context: Context, gallery: Gallery) -> None:
    """A page that was empty before is empty after."""
    for _ in range(12):
        gallery.legacy_item([f"tag-{number}" for number in range(9)])
    apply(context, "seed_tags")
    bench.measure_before(context.connection, 1, TIMEOUT_S)
    apply_before(context, "")
    assert all(pair.same_rows for pair in bench.measure_after(context.connection, 1, TIMEOUT_S))


def test_a_statement_over_its_time_has_no_rows_and_the_limit_as_its_time(
    seeded: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A legacy page may take minutes; the measurement goes on with the next question."""
    monkeypatch.setattr(legacy_path, "read_keys", lambda connection, *_: connection.execute("select pg_sleep(5)"))
    found = bench.measure_before(seeded, 1, 0.02)
    assert {(one.row_keys, one.p50_ms, one.samples) for one in found} == {(None, 20.0, 0)}
    assert seeded.execute("show statement_timeout").fetchone() == ("0",)
