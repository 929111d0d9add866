"""How old statistics are, in figures and in a sentence."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta, timezone

import pytest

from genonaut_lib.gallery.statistics import Freshness, Statistics


def ago(seconds: float) -> Freshness:
    return Freshness(datetime.now(UTC) - timedelta(seconds=seconds))


@pytest.mark.parametrize(("seconds", "fresh"), [(0, True), (3500, True), (3700, False)])
def test_statistics_are_fresh_up_to_an_age(seconds: float, fresh: bool) -> None:
    """Older ones are stale, and the sentence says so with the way out."""
    found = ago(seconds)
    assert found.is_fresh(3600) is fresh
    assert ("fresh (at most 3,600 s)" in found.sentence(3600)) is fresh
    assert ("stale" in found.sentence(3600) and "50_refresh_tag_stats" in found.sentence(3600)) is not fresh


def test_statistics_that_were_never_made_have_no_age() -> None:
    """Unknown is None, and nothing is fresh about it."""
    found = Freshness(None)
    assert (found.age_s, found.is_fresh(1e12)) == (None, False)
    assert found.sentence(3600) == "The statistics were never refreshed: run 50_refresh_tag_stats."


def test_a_clock_that_is_behind_makes_nothing_younger_than_new() -> None:
    """The moment is the server's, the age is by this machine's clock."""
    assert ago(-30).age_s == 0.0


def test_the_sentence_tells_the_moment_in_utc() -> None:
    """Whatever time zone the session has."""
    moment = datetime(2025, 1, 1, 2, 0, tzinfo=timezone(timedelta(hours=2)))
    assert Freshness(moment).sentence(60).startswith("Refreshed 2025-01-01 00:00:00 UTC, ")


def test_statistics_say_how_old_they_are() -> None:
    """What was loaded once knows its age later."""
    moment = datetime.now(UTC) - timedelta(seconds=100)
    found = Statistics({}, moment)
    assert found.age_s is not None
    assert 100 <= found.age_s < 160
    assert found.is_fresh(200)
    assert not found.is_fresh(50)
