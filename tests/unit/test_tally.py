"""Speed and time left, as a backfill tells them."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from genonaut_lib.migration.backfill import BackfillResult
from genonaut_lib.migration.tally import Tally
from genonaut_lib.migration.worker import Batch
from genonaut_lib.vocabulary import ContentSource

NOW_S = 1_000.0


@pytest.fixture(autouse=True)
def _clock_stands_still(monkeypatch: pytest.MonkeyPatch) -> None:
    """Have no time go by between what a test sets up and what it asks."""
    monkeypatch.setattr("genonaut_lib.migration.tally.time", SimpleNamespace(monotonic=lambda: NOW_S))


def tally(seconds_ago: float = 1.0) -> Tally:
    found = Tally.of({"regular": (100, 40, 40), "auto": (900, 0, 0)})
    found.started = NOW_S - seconds_ago
    return found


def test_nothing_is_told_before_something_was_done() -> None:
    """Unknown is None, not a guess."""
    assert (tally().rows_per_second, tally().eta_s) == (None, None)


def test_the_time_left_counts_only_what_this_start_did() -> None:
    """Rows of earlier starts say nothing about today's speed, but they are done."""
    found = tally()
    found.add(Batch(ContentSource.AUTO, 100, 90))
    assert found.rows_per_second == pytest.approx(100)
    assert found.eta_s == pytest.approx((1000 - 40 - 100) / 100)


def test_a_pause_does_not_slow_the_work_down() -> None:
    """Time spent held back is not time spent working."""
    found = tally()
    found.add(Batch(ContentSource.AUTO, 100, 90))
    found.held_s = 0.5
    assert found.rows_per_second == pytest.approx(200)


def test_the_cold_start_is_left_out_once_there_is_more_to_judge_by() -> None:
    """A slow first batch, then ten times the speed: the time left follows the later one."""
    found = tally(seconds_ago=3)
    found.add(Batch(ContentSource.AUTO, 30, 30))
    found.started -= 4
    found.add(Batch(ContentSource.AUTO, 300, 300))
    assert found.rows_per_second == pytest.approx(75)


def test_too_little_work_tells_nothing_of_the_rest() -> None:
    """The first batches are the dearest."""
    found = tally()
    found.add(Batch(ContentSource.AUTO, 5, 5))
    assert found.eta_s is None


def test_an_ended_backfill_has_no_time_left() -> None:
    """Zero, not a rounding of it."""
    found = tally()
    found.add(Batch(ContentSource.AUTO, 900, 900))
    found.add(Batch(ContentSource.REGULAR, 60, 10))
    assert found.eta_s == 0


def test_the_result_holds_this_start_alone() -> None:
    """Rows, batches and retries of earlier starts are in the ledger."""
    found, result = tally(), BackfillResult()
    found.add(Batch(ContentSource.REGULAR, 60, 10))
    found.into(result, retries=3)
    assert (result.rows_read, result.rows_changed, result.batches, result.retries) == (60, 10, 1, 3)
