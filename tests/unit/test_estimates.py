"""Estimates join exact cardinalities with a sample, and say how far they may be off."""

from __future__ import annotations

import random
import uuid
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genonaut_lib.gallery.estimates import CREATORS_SHARE, Estimate, estimate, portray, survey, wilson
from genonaut_lib.gallery.query import MINE, Creators, GalleryQuery, Scope, TagMatch
from genonaut_lib.gallery.statistics import Sample, SourceStatistics, Statistics
from tests.paper import (
    AUTO,
    REFRESHED,
    REGULAR,
    REGULAR_ONLY,
    TAGS,
    VIEWER,
    Item,
    items_of_a_gallery,
    known,
    matches,
    queries,
    statistics_of,
    statistics_of_any_kind,
)

A, B, C = TAGS[:3]
ALL = TagMatch.ALL


def sure(query: GalleryQuery, statistics: Statistics) -> Estimate:
    """Return an estimate that is there."""
    found = estimate(query, statistics)
    assert found is not None
    return found


def gallery_of(*counted: tuple[int, tuple[uuid.UUID, ...]]) -> list[Item]:
    """Return so many regular items of each set of tags, in an order that has nothing to do with their tags."""
    items = [Item(REGULAR, frozenset(tags)) for count, tags in counted for _ in range(count)]
    random.Random(7).shuffle(items)
    return items


@pytest.mark.parametrize("statistics", [None, Statistics({}), Statistics({REGULAR: SourceStatistics(9, {A: 9})})])
def test_no_statistics_give_no_estimate(statistics: Statistics | None) -> None:
    """What was never counted is unknown, not zero."""
    assert estimate(GalleryQuery((A,)), statistics) is None


@given(items_of_a_gallery, queries)
def test_a_sample_of_everything_is_a_count(items: list[Item], query: GalleryQuery) -> None:
    """With every item in the sample the estimate is exact in each source that everybody's items are wanted of."""
    query = replace(query, scope=Scope(), viewer=None, search="")
    found = sure(query, statistics_of(items))
    exact = {source: sum(matches(item, query) and item.source is source for item in items) for source in query.sources}
    present = {item.source for item in items}
    assert {source: found.per_source[source] for source in present} == {source: exact[source] for source in present}
    assert (found.rows, found.low, found.high) == (sum(exact.values()),) * 3


@given(items_of_a_gallery, queries, st.integers(1, 9))
def test_an_estimate_keeps_the_bounds_that_cardinalities_set(
    items: list[Item], query: GalleryQuery, every: int
) -> None:
    """Never more than the rarest group has, never more than there are items, never a crossed interval."""
    query = replace(query, scope=Scope(), search="")
    statistics = statistics_of(items, every=every)
    found = sure(query, statistics)
    assert 0 <= found.low <= found.rows <= found.high <= len(items)
    for group in query.groups:
        carried = sum(statistics.sources[source].cardinalities.get(tag, 0) for source in query.sources for tag in group)
        assert found.high <= carried


@given(queries, statistics_of_any_kind)
def test_estimates_of_statistics_that_contradict_themselves_stay_in_order(
    query: GalleryQuery, statistics: Statistics | None
) -> None:
    """Stale or damaged statistics make a bad estimate, never an error."""
    found = estimate(query, statistics)
    if found is not None:
        assert 0 <= found.low <= found.rows <= found.high < float("inf")


def test_one_tag_of_a_public_gallery_is_known_exactly() -> None:
    """The cardinality is the answer where nothing is taken from it."""
    statistics = known(1_000_000, {A: 870_123})
    assert sure(GalleryQuery((A,), scope=REGULAR_ONLY), statistics).rows == 870_123


def test_popular_tags_that_never_meet_are_estimated_near_nothing() -> None:
    """Independence would expect a quarter of the gallery."""
    items = gallery_of((500, (A,)), (500, (B,)))
    statistics = scaled(statistics_of(items), 1_000)
    found = sure(GalleryQuery((A, B), ALL, scope=REGULAR_ONLY), statistics)
    assert found.rows < 1_000
    assert found.low == 0
    assert found.high < 5_000


def test_a_tag_within_another_is_not_multiplied_away() -> None:
    """Every item of the subset carries the superset: a tenth, not a fiftieth."""
    items = gallery_of((100, (A, B)), (100, (B,)), (800, ()))
    found = sure(GalleryQuery((A, B), ALL, scope=REGULAR_ONLY), scaled(statistics_of(items), 1_000))
    assert found.rows == pytest.approx(100_000, rel=0.02)


def test_a_rare_tag_that_the_sample_never_met_is_taken_from_its_cardinality() -> None:
    """Thirty items among a million are none of a sample's, and half of them carry a tag that half of all carry."""
    statistics = known(1_000_000, {A: 30, B: 500_000})
    found = sure(GalleryQuery((A, B), ALL, scope=REGULAR_ONLY), statistics)
    assert found.rows == pytest.approx(15, rel=0.05)
    assert (found.low, found.high) == (0, 30)


def test_any_of_two_tags_lies_between_the_greater_and_the_sum() -> None:
    """Three hundred carry both, so that eleven hundred carry either."""
    items = gallery_of((300, (A, B)), (500, (A,)), (300, (B,)), (900, ()))
    found = sure(GalleryQuery((A, B), scope=REGULAR_ONLY), scaled(statistics_of(items), 100))
    assert found.rows == pytest.approx(110_000, rel=0.02)
    assert 80_000 <= found.low <= 110_000 <= found.high <= 140_000


def test_excluded_tags_take_their_share() -> None:
    """Of eight hundred items of one tag, three hundred carry the excluded one."""
    items = gallery_of((300, (A, B)), (500, (A,)), (200, ()))
    found = sure(GalleryQuery((A,), exclude=(B,), scope=REGULAR_ONLY), scaled(statistics_of(items), 1_000))
    assert found.rows == pytest.approx(500_000, rel=0.02)


def test_private_items_are_not_expected() -> None:
    """A quarter of the items is private, and the viewer is nobody."""
    items = [Item(REGULAR, frozenset({A}), private=number % 4 == 0) for number in range(1_000)]
    found = sure(GalleryQuery((A,), scope=REGULAR_ONLY), scaled(statistics_of(items), 1_000))
    assert found.rows == pytest.approx(750_000, rel=0.01)


def test_a_viewer_may_own_all_the_private_items() -> None:
    """Whose they are is unknown, so the interval reaches up to all of them."""
    items = [Item(REGULAR, frozenset({A}), private=number % 4 == 0) for number in range(1_000)]
    statistics = scaled(statistics_of(items), 1_000)
    nobody, viewer = (sure(GalleryQuery((A,), viewer=who, scope=REGULAR_ONLY), statistics) for who in (None, VIEWER))
    assert nobody.high < 800_000
    assert viewer.high == pytest.approx(1_000_000)


def test_a_single_creators_share_is_assumed_and_said() -> None:
    """Statistics know no single viewer."""
    found = sure(GalleryQuery((A,), viewer=VIEWER, scope=MINE), known(1_000_000, {A: 600_000}))
    assert found.unknown == ("creators",)
    assert (found.rows, found.low) == (pytest.approx(600_000 * CREATORS_SHARE[Creators.MINE]), 0)
    assert found.high == pytest.approx(600_000)


def test_search_is_said_to_be_unknown() -> None:
    """Rows leave it out, and the interval begins at nothing."""
    found = sure(GalleryQuery((A,), search="cat", scope=REGULAR_ONLY), known(1_000_000, {A: 600_000}))
    assert (found.rows, found.low, found.unknown) == (pytest.approx(600_000), 0, ("search",))


def test_sources_are_estimated_apart() -> None:
    """A tag may be popular in one source and unknown in the other."""
    items = [Item(REGULAR, frozenset({A})) for _ in range(20)] + [Item(AUTO, frozenset({B})) for _ in range(30)]
    assert sure(GalleryQuery((A,)), statistics_of(items)).per_source == {REGULAR: 20, AUTO: 0}


def test_a_source_that_is_not_read_is_not_estimated() -> None:
    """Nobody's items are none."""
    items = [Item(AUTO, frozenset({A})) for _ in range(30)]
    assert sure(GalleryQuery((A,), scope=REGULAR_ONLY), statistics_of(items)).per_source == {REGULAR: 0}


def test_groups_are_ranked_rarest_first_over_both_sources() -> None:
    """A tag rare in one source may be the popular one."""
    sources = {
        REGULAR: SourceStatistics(1_000, {A: 10, B: 20, C: 900}),
        AUTO: SourceStatistics(1_000, {A: 500, B: 30, C: 900}),
    }
    found = survey(GalleryQuery((A, B, C), ALL), Statistics(sources, REFRESHED))
    assert (found.ranked, found.rarest_count) == (((B,), (A,), (C,)), 50)


def test_passing_items_grow_fewer_with_every_group() -> None:
    """What carries three groups carries two."""
    statistics = known(1_000_000, {A: 400_000, B: 500_000, C: 600_000})
    (portrait,) = portray(GalleryQuery((A, B, C), ALL, scope=REGULAR_ONLY), statistics)
    assert portrait.passing[0] == pytest.approx(400_000)
    assert list(portrait.passing) == sorted(portrait.passing, reverse=True)
    assert portrait.carrying == portrait.passing[-1]


@pytest.mark.parametrize(
    ("hits", "trials", "low", "high"),
    [(0, 0, 0.0, 1.0), (0, 100, 0.0, 0.03699), (100, 100, 0.96301, 1.0), (50, 100, 0.40383, 0.59617)],
)
def test_wilson_interval_at_known_points(hits: int, trials: int, low: float, high: float) -> None:
    """Figures of the formula, worked out by hand: z^2 / (n + z^2) at no hits, half plus or minus 0.09617 at half."""
    assert wilson(hits, trials) == (pytest.approx(low, abs=1e-5), pytest.approx(high, abs=1e-5))


@given(st.integers(1, 10**6).flatmap(lambda trials: st.tuples(st.integers(0, trials), st.just(trials))))
def test_wilson_interval_holds_the_share_it_is_of(seen: tuple[int, int]) -> None:
    """What was seen is inside what is believed."""
    low, high = wilson(*seen)
    assert 0 <= low <= seen[0] / seen[1] + 1e-12
    assert seen[0] / seen[1] - 1e-12 <= high <= 1


def test_intervals_hold_the_truth_as_often_as_they_say() -> None:
    """Of two hundred samples of a tenth, with a fixed seed, at least 90 in 100 intervals hold the truth."""
    draw = random.Random(11)
    items = gallery_of((240, (A, B)), (360, (A,)), (600, (B,)), (800, ()))
    truth, held = 240, 0
    for _ in range(200):
        draw.shuffle(items)
        found = sure(GalleryQuery((A, B), ALL, scope=REGULAR_ONLY), statistics_of(items, every=10))
        held += found.low <= truth <= found.high
    assert held >= 180


def scaled(statistics: Statistics, times: int) -> Statistics:
    """Return statistics of a gallery `times` as large of which this one is the sample."""
    return replace(statistics, sources={source: _scaled(one, times) for source, one in statistics.sources.items()})


def _scaled(one: SourceStatistics, times: int) -> SourceStatistics:
    cardinalities = {tag: count * times for tag, count in one.cardinalities.items()}
    return SourceStatistics(
        one.items * times, cardinalities, Sample(one.sample.size, one.sample.public, one.sample.carriers)
    )
