"""What an answer taught about its filter is remembered, until something newer is known."""

from __future__ import annotations

from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genonaut_lib.gallery.choice import Choice
from genonaut_lib.gallery.counts import CountMode, Total
from genonaut_lib.gallery.estimates import Estimate
from genonaut_lib.gallery.feedback import (
    NOTHING_SEEN,
    SEEDS_NEEDED,
    Feedback,
    Lesson,
    Seen,
    learnt,
)
from genonaut_lib.gallery.order import Position, Sort
from genonaut_lib.gallery.page import Page
from genonaut_lib.gallery.query import MINE, GalleryQuery, Scope, TagMatch
from genonaut_lib.gallery.sightings import seen_in_count, seen_on_page
from genonaut_lib.gallery.statistics import Statistics
from tests.paper import REFRESHED, REGULAR, TAGS, VIEWER

KNOWN = Statistics({}, REFRESHED)
NEWER = Statistics({}, REFRESHED + timedelta(hours=1))
QUERY = GalleryQuery(TAGS[:2], TagMatch.ALL)
CHOICE = Choice("time_walk", "because", estimated_ms=2.0)
HERE = Position(REFRESHED, REGULAR, 17)


def seen(rows: int = 7, *, is_exact: bool = True, milliseconds: float = 1.0, reach: int | None = 26) -> Seen:
    return Seen("time_walk", rows, is_exact, milliseconds, estimated_ms=1.0, reach=reach)


def page(rows: int, *, more: bool) -> Page:
    return Page(tuple({"id": number} for number in range(rows)), HERE if more else None)


@pytest.mark.parametrize(
    ("query", "found", "rows", "is_exact"),
    [
        (QUERY, page(3, more=False), 3, True),
        (QUERY, page(0, more=False), 0, True),
        (QUERY, page(25, more=True), 26, False),
        (QUERY, page(25, more=False), 25, True),
        (replace(QUERY, page=3), page(4, more=False), 54, True),
        (replace(QUERY, page=3), page(25, more=True), 76, False),
        (replace(QUERY, page=3), page(0, more=False), 0, False),
        (replace(QUERY, after=HERE), page(4, more=False), 4, False),
        (replace(QUERY, before=HERE), page(25, more=True), 26, False),
    ],
)
def test_a_page_shows_all_matches_only_when_it_ends_them(
    query: GalleryQuery, found: Page, rows: int, is_exact: bool
) -> None:
    """A full page is a lower bound, and so is one that others lie before; an empty numbered page tells nothing."""
    lesson = seen_on_page(query, found, CHOICE, 3.0)
    assert (lesson.rows, lesson.is_exact) == (rows, is_exact)


def test_an_exact_count_is_seen_and_an_estimate_is_not() -> None:
    """An estimate learnt from itself would only grow surer."""
    exact = seen_in_count(Total(CountMode.EXACT, 812, 812, 812), CHOICE, 9.0)
    assert exact is not None
    assert (exact.rows, exact.is_exact, exact.reach) == (812, True, None)
    assert seen_in_count(Total(CountMode.ESTIMATED, 800, 700, 900), CHOICE, 9.0) is None


@pytest.mark.parametrize(
    ("first", "then", "exact", "at_least"),
    [
        (seen(26, is_exact=False), seen(40), 40, 0),
        (seen(26, is_exact=False), seen(11, is_exact=False), None, 26),
        (seen(40), seen(26, is_exact=False), 40, 0),
        (seen(40), seen(51, is_exact=False), None, 51),
        (seen(40), seen(39), 39, 0),
    ],
)
def test_rows_that_were_seen_last_win(first: Seen, then: Seen, exact: int | None, at_least: int) -> None:
    """The gallery grows and shrinks; a lower bound does not unseat an exact number it does not contradict."""
    lesson = learnt(learnt(NOTHING_SEEN, first), then)
    assert (lesson.exact, lesson.at_least) == (exact, at_least)


@pytest.mark.parametrize(("milliseconds", "floor"), [(3.9, 0.0), (5.0, 0.0), (5.1, 5.1), (400.0, 400.0)])
def test_only_surprises_are_remembered_as_slow(milliseconds: float, floor: float) -> None:
    """Four times an estimate of one millisecond is a trifle, more than five is not."""
    assert learnt(NOTHING_SEEN, seen(milliseconds=milliseconds)).floor("time_walk", 26) == floor


def test_a_slow_answer_is_scaled_to_how_far_it_went() -> None:
    """A slow page far down says little of the first one."""
    lesson = learnt(NOTHING_SEEN, seen(milliseconds=1_000, reach=1_000))
    assert lesson.floor("time_walk", 100) == pytest.approx(100)
    assert lesson.floor("time_walk", 5_000) == pytest.approx(1_000)


def test_pages_and_counts_are_slow_by_themselves() -> None:
    """A count goes through all of it, a page does not; another strategy is another matter too."""
    lesson = learnt(NOTHING_SEEN, seen(milliseconds=1_000, reach=None))
    assert (lesson.floor("time_walk", None), lesson.floor("time_walk", 26)) == (1_000, 0)
    assert lesson.floor("self_join", None) == 0


def test_a_quick_answer_after_a_slow_one_draws_the_memory_down() -> None:
    """A cold cache is not held against a strategy for ever."""
    slow = learnt(NOTHING_SEEN, seen(milliseconds=400))
    assert learnt(slow, seen(milliseconds=4)).floor("time_walk", 26) == pytest.approx(40)


ESTIMATE = Estimate(100, 50, 200, unknown=("search",))


@pytest.mark.parametrize(
    ("lesson", "expected"),
    [
        (Lesson(), (100, 50, 200)),
        (Lesson(exact=7), (7, 7, 7)),
        (Lesson(at_least=80), (100, 80, 200)),
        (Lesson(at_least=300), (300, 300, 300)),
    ],
)
def test_an_estimate_is_corrected_by_what_was_seen(lesson: Lesson, expected: tuple[float, float, float]) -> None:
    """Exact rows replace it, a lower bound lifts it."""
    found = lesson.corrected(ESTIMATE)
    assert (found.rows, found.low, found.high) == expected


def test_a_filter_is_one_whatever_its_page() -> None:
    """Page, size, sort and, where it does not matter, the viewer are no part of it."""
    feedback = Feedback()
    feedback.learn(QUERY, KNOWN, seen(7))
    others = [
        replace(QUERY, page=3), replace(QUERY, page_size=7), replace(QUERY, sort=Sort(descending=False)),
        replace(QUERY, after=HERE), replace(QUERY, viewer=VIEWER),
    ]  # fmt: skip
    assert [feedback.recall(other, KNOWN).exact for other in others] == [7] * len(others)


@pytest.mark.parametrize(
    "other",
    [
        replace(QUERY, match=TagMatch.ANY),
        replace(QUERY, exclude=TAGS[4:5]),
        replace(QUERY, search="cat"),
        replace(QUERY, viewer=VIEWER, scope=MINE),
        replace(QUERY, families=(TAGS[4:6],)),
    ],
)
def test_another_filter_learns_nothing_from_it(other: GalleryQuery) -> None:
    """Whatever changes the matches makes a filter of its own."""
    feedback = Feedback()
    feedback.learn(QUERY, KNOWN, seen(7))
    assert feedback.recall(other, KNOWN) == NOTHING_SEEN


def test_two_viewers_own_items_are_two_filters() -> None:
    """Mine is not yours."""
    feedback = Feedback()
    mine, yours = (replace(QUERY, viewer=viewer, scope=Scope(MINE.regular)) for viewer in (VIEWER, TAGS[0]))
    feedback.learn(mine, KNOWN, seen(7))
    assert feedback.recall(yours, KNOWN) == NOTHING_SEEN


def test_newer_statistics_forget_everything() -> None:
    """What corrected the old ones may be wrong for the new."""
    feedback = Feedback()
    feedback.learn(QUERY, KNOWN, seen(7))
    assert feedback.recall(QUERY, NEWER) == NOTHING_SEEN
    feedback.learn(replace(QUERY, search="cat"), NEWER, seen(9))
    assert len(feedback) == 1


def test_an_answer_planned_by_older_statistics_teaches_nothing() -> None:
    """A slow answer may come home after the refresh."""
    feedback = Feedback()
    feedback.learn(QUERY, NEWER, seen(7))
    feedback.learn(QUERY, KNOWN, seen(9))
    assert feedback.recall(QUERY, NEWER).exact == 7


@pytest.mark.parametrize("statistics", [None, Statistics({})])
def test_without_statistics_nothing_is_learnt(statistics: Statistics | None) -> None:
    """There is no estimate to correct."""
    feedback = Feedback()
    feedback.learn(QUERY, statistics, seen(7))
    assert (len(feedback), feedback.recall(QUERY, statistics)) == (0, NOTHING_SEEN)


def test_the_filter_asked_for_least_lately_is_forgotten_first() -> None:
    """Memory is bounded, and a recall counts as asking."""
    feedback = Feedback(capacity=2)
    first, second, third = (GalleryQuery(TAGS[place : place + 1]) for place in range(3))
    for query in (first, second):
        feedback.learn(query, KNOWN, seen(7))
    feedback.recall(first, KNOWN)
    feedback.learn(third, KNOWN, seen(7))
    assert [feedback.recall(query, KNOWN).exact for query in (first, second, third)] == [7, None, 7]


@given(st.lists(st.integers(0, 40)), st.integers(1, 9))
def test_memory_never_outgrows_its_capacity(places: list[int], capacity: int) -> None:
    """However many filters are asked for."""
    feedback = Feedback(capacity)
    for place in places:
        feedback.learn(GalleryQuery(search=f"cat {place}"), KNOWN, seen(place))
        assert len(feedback) <= capacity


@pytest.mark.parametrize(
    ("seeds", "overflows"),
    [
        ([60] * (SEEDS_NEEDED - 1), False),
        ([60] * SEEDS_NEEDED, True),
        ([60] * SEEDS_NEEDED + [40] * SEEDS_NEEDED, False),
        ([40] * 100 + [60] * 100, True),
    ],
)
def test_seeds_overflow_when_most_of_them_do(seeds: list[int], overflows: bool) -> None:
    """Too often is more than half of the last hundred, of twenty at least."""
    feedback = Feedback()
    for rows in seeds:
        feedback.learn(QUERY, KNOWN, replace(seen(), seed_rows=rows))
    assert feedback.seeds_overflow(50) is overflows
