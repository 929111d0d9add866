"""The planner and the tag bitmap index: when it is fit, what it costs, and beside what it is weighed."""

from __future__ import annotations

from collections.abc import Set as AbstractSet
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genonaut_lib.gallery.bitmaps.layout import CHUNK
from genonaut_lib.gallery.bitmaps.standing import ABSENT, SWITCHED_OFF, UNKNOWN, Ready, Standing, Unready
from genonaut_lib.gallery.choice import Choice
from genonaut_lib.gallery.costs import cost
from genonaut_lib.gallery.fitness import MODELS
from genonaut_lib.gallery.order import Sort, SortField
from genonaut_lib.gallery.page import Page
from genonaut_lib.gallery.planner import choose, choose_for_count, choose_with_total, features
from genonaut_lib.gallery.query import GalleryQuery, TagMatch
from genonaut_lib.gallery.sightings import seen_on_page
from genonaut_lib.gallery.statistics import Statistics
from genonaut_lib.gallery.strategies import approaches
from genonaut_lib.planner_settings import COEFFICIENTS
from genonaut_lib.settings import PlannerSettings
from tests.paper import REGULAR_ONLY, TAGS, known, queries, statistics_of_any_kind
from tests.unit.test_planner import never_meeting

KNOBS = PlannerSettings()
ITEMS = 1_000_000
RARE, HALF, MOST = 200, 500_000, 900_000
CHUNKS = ITEMS // CHUNK + 1
BY_TITLE = Sort(SortField.TITLE)


def ready(tags: AbstractSet[Any] = frozenset(TAGS), **changed: int) -> Ready:
    """Return an index over a million items, with bitmaps of all tags unless others are named."""
    return replace(Ready(1, ITEMS, CHUNKS, 0, tags, 20_000), **changed)


def asked(*tags: Any, **query: Any) -> GalleryQuery:
    return GalleryQuery(tags, **{"match": TagMatch.ALL, "scope": REGULAR_ONLY, **query})


def popular(number: int = 2) -> Statistics:
    return known(ITEMS, dict.fromkeys(TAGS[:number], HALF))


@pytest.mark.parametrize("bitmaps", [None, UNKNOWN, ABSENT, SWITCHED_OFF, Unready("over 20,000 items changed")])
def test_an_index_that_does_not_serve_is_unfit_in_its_own_words(bitmaps: Standing | None) -> None:
    """The planner says why, and takes another strategy."""
    for chooses in (choose, choose_with_total, choose_for_count):
        choice = chooses(asked(*TAGS[:2]), popular(), KNOBS, bitmaps=bitmaps)
        assert choice.unfit["bitmap"] == (bitmaps or UNKNOWN).why  # type: ignore[union-attr]
        assert choice.strategy != "bitmap"


@pytest.mark.parametrize(
    "query",
    [{"sort": BY_TITLE}, {"sort": Sort(SortField.ID)}, {"search": "a cat"}, {"search": "a cat", "sort": BY_TITLE}],
)
def test_more_items_than_may_be_handed_on_make_it_unfit(query: dict[str, Any]) -> None:
    """The knob is named, and so is what it would have to hand on."""
    why = choose(asked(*TAGS[:2], **query), popular(), KNOBS, bitmaps=ready()).unfit["bitmap"]
    assert "over 20,000 (bitmaps.filter_max)" in why
    assert "it would hand 2" in why


@pytest.mark.parametrize("query", [{"sort": BY_TITLE}, {"search": "a cat"}])
def test_few_items_are_handed_on_at_a_price(query: dict[str, Any]) -> None:
    """Each of them is looked up."""
    counted = features(asked(TAGS[0], **query), known(ITEMS, {TAGS[0]: RARE}), ready())["bitmap"]
    assert counted["handed_on"] == pytest.approx(RARE, rel=0.1)
    assert "bitmap" not in choose(asked(TAGS[0], **query), known(ITEMS, {TAGS[0]: RARE}), KNOBS, bitmaps=ready()).unfit


def test_a_page_by_date_hands_nothing_on() -> None:
    """Its rows come out of the bits."""
    assert features(asked(*TAGS[:2]), popular(), ready())["bitmap"]["handed_on"] == 0


def test_a_search_is_not_counted_by_bitmaps() -> None:
    """Its words stand in the items."""
    choice = choose_for_count(asked(*TAGS[:2], search="a cat"), popular(), KNOBS, bitmaps=ready())
    assert "words" in choice.unfit["bitmap"]


def test_another_sort_does_not_matter_to_a_count() -> None:
    """What is counted has no order."""
    choice = choose_for_count(asked(*TAGS[:2], sort=BY_TITLE), popular(), KNOBS, bitmaps=ready())
    assert choice.strategy == "bitmap"


def test_without_tags_the_bitmaps_are_for_totals_only() -> None:
    """A plain page is a plain walk; its total would read every item."""
    plain = asked()
    alone, both, count = (
        chooses(plain, known(ITEMS, {}), KNOBS, bitmaps=ready())
        for chooses in (choose, choose_with_total, choose_for_count)
    )
    assert (alone.strategy, both.strategy, count.strategy) == ("time_walk", "bitmap", "bitmap")
    assert "no total is wanted" in alone.unfit["bitmap"]
    assert both.reason.startswith("no tags: bringing ")


def test_popular_tags_that_never_meet_are_the_bitmaps() -> None:
    """All chunks of a million items are little to go through."""
    choice = choose(asked(*TAGS[:2]), never_meeting(), KNOBS, bitmaps=ready())
    assert choice.strategy == "bitmap"
    assert "bitmaps together" in choice.reason


def test_a_page_stops_where_a_total_goes_through_all_chunks() -> None:
    """Popular tags fill a page from the first chunks."""
    page, total = (features(asked(*TAGS[:2]), popular(), ready(), totals=totals)["bitmap"] for totals in (False, True))
    assert page["bitmaps"] == 2 * 4
    assert total["bitmaps"] == CHUNKS * 4


def test_a_page_beside_a_count_is_weighed_with_that_count() -> None:
    """A walk that is cheaper than the bitmaps loses when the total is to be counted besides."""
    dear = PlannerSettings(coefficients={"bitmap": {"statement": 5.0}})
    alone, both = (
        chooses(asked(TAGS[0]), known(ITEMS, {TAGS[0]: MOST}), dear, bitmaps=ready())
        for chooses in (choose, choose_with_total)
    )
    assert (alone.strategy, both.strategy) == ("time_walk", "bitmap")
    assert both.considered["time_walk"] == alone.considered["time_walk"]


def test_rows_of_tags_without_bitmaps_are_read_and_no_others() -> None:
    """Excluded ones and those of a family count as well; a popular tag beside them costs a bitmap."""
    statistics = known(ITEMS, {TAGS[0]: MOST, TAGS[1]: RARE, TAGS[2]: 3 * RARE})
    query = GalleryQuery((), scope=REGULAR_ONLY, families=(TAGS[:2],), exclude=(TAGS[2],))
    assert features(query, statistics, ready({TAGS[0]}))["bitmap"]["postings"] == 4 * RARE
    assert features(query, statistics, ready())["bitmap"]["postings"] == 0


def test_marked_items_have_their_price() -> None:
    """Each is held against the filter."""
    assert features(asked(TAGS[0]), popular(), ready(marks=300))["bitmap"]["marked"] == 300


def test_mode_seed_knows_no_bitmaps() -> None:
    """The paper's tree decides as it is printed."""
    choice = choose(asked(*TAGS[:2]), popular(), PlannerSettings(mode="seed"), bitmaps=ready())
    assert choice.strategy == "self_join"


@pytest.mark.parametrize("statistics", [None, Statistics({})])
def test_without_statistics_the_bitmaps_are_taken_where_they_serve(statistics: Statistics | None) -> None:
    """Their work is bounded; of a search or another sort nothing is known, and without tags a walk is short."""
    chosen = [
        choose(query, statistics, KNOBS, bitmaps=ready()).strategy
        for query in (asked(*TAGS[:7]), asked(*TAGS[:7], sort=BY_TITLE), asked())
    ]
    assert chosen == ["bitmap", "two_phase_dual", "time_walk"]


@given(queries, statistics_of_any_kind, st.integers(0, 10**6), st.frozensets(st.sampled_from(TAGS)))
def test_with_bitmaps_every_strategy_is_either_considered_or_unfit(
    query: GalleryQuery, statistics: Statistics | None, chunks: int, tags: AbstractSet[Any]
) -> None:
    """Never an error and never an unfit choice, whatever statistics and index say of each other."""
    for chooses in (choose, choose_with_total, choose_for_count):
        choice = chooses(query, statistics, KNOBS, bitmaps=ready(tags, chunks=chunks))
        assert choice.strategy in MODELS
        assert choice.strategy not in choice.unfit
        assert choice.reason
        if choice.estimated_rows is not None:
            assert set(choice.considered) | set(choice.unfit) == set(MODELS)
            assert not set(choice.considered) & set(choice.unfit)
            assert all(0 < value < float("inf") for value in choice.considered.values())


@given(queries, statistics_of_any_kind.filter(lambda found: found is not None), st.booleans())
def test_features_of_the_bitmaps_are_what_their_cost_is_made_of(
    query: GalleryQuery, statistics: Statistics, totals: bool
) -> None:
    """The fit and the choice read one definition."""
    counted = features(query, statistics, ready(), totals=totals)["bitmap"]
    assert set(counted) <= set(COEFFICIENTS["bitmap"])
    chooses = choose_with_total if totals else choose
    considered = chooses(query, statistics, KNOBS, bitmaps=ready()).considered
    if "bitmap" in considered:
        assert considered["bitmap"] == cost(counted, COEFFICIENTS["bitmap"])


def test_the_planner_knows_every_approach() -> None:
    """Statements and bitmaps alike."""
    assert set(approaches()) == set(MODELS)


def test_the_time_of_the_bitmaps_is_no_surprise() -> None:
    """The first answers fill a cache: what they took says nothing of the next."""
    slow = [
        seen_on_page(asked(TAGS[0]), Page(), Choice(name, "", estimated_ms=1.0), 900.0).estimated_ms
        for name in ("bitmap", "time_walk")
    ]
    assert slow == [None, 1.0]
