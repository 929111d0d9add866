"""The planner takes the strategy that should be cheapest, or follows the paper's tree, and says why."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given

from genonaut_lib.errors import InvalidInput
from genonaut_lib.gallery.choice import Choice
from genonaut_lib.gallery.costs import cost
from genonaut_lib.gallery.feedback import Feedback, Seen
from genonaut_lib.gallery.fitness import MODELS
from genonaut_lib.gallery.order import Position, Sort, SortField
from genonaut_lib.gallery.planner import choose, choose_for_count, features, require_few_tags
from genonaut_lib.gallery.query import GalleryQuery, TagMatch
from genonaut_lib.gallery.seed_tree import Question, pick_strategy
from genonaut_lib.gallery.statistics import Statistics
from genonaut_lib.gallery.strategies import STRATEGIES
from genonaut_lib.planner_settings import COEFFICIENTS
from genonaut_lib.settings import PlannerSettings
from tests.paper import REFRESHED, REGULAR, REGULAR_ONLY, TAGS, known, queries, statistics_of_any_kind

KNOBS = PlannerSettings()
SEED = PlannerSettings(mode="seed")
ITEMS = 1_000_000
RARE, FEW, HALF, MOST = 200, 5_000, 500_000, 900_000


def knobs(**changed: Any) -> PlannerSettings:
    return KNOBS.model_copy(update=changed)


def chosen(*counts: int, query: Mapping[str, Any] | None = None, knobs: PlannerSettings = KNOBS) -> Choice:
    """Return the choice for all of some independent tags that so many of a million items carry."""
    tags = TAGS[: len(counts)]
    asked = GalleryQuery(**{"tags": tags, "match": TagMatch.ALL, "scope": REGULAR_ONLY, **(query or {})})
    return choose(asked, known(ITEMS, dict(zip(tags, counts, strict=True))), knobs)


def never_meeting() -> Statistics:
    """Return statistics of two tags, each of half the items, that no item of the sample carries both of."""
    statistics = known(ITEMS, {TAGS[0]: HALF, TAGS[1]: HALF})
    one = statistics.sources[REGULAR]
    half = (1 << 500) - 1
    sample = replace(one.sample, carriers={TAGS[0]: half, TAGS[1]: half << 500})
    return replace(statistics, sources={REGULAR: replace(one, sample=sample)})


# The paper's table: K, carriers of the rarest tag, what pick_strategy returns with the default knobs.
SEED_TABLE = [
    (1, 10, "self_join"), (1, 2_000_000, "self_join"), (3, 50_000, "self_join"), (3, 2_000_000, "self_join"),
    (4, 0, "group_having"), (4, 50_000, "group_having"), (4, 50_001, "two_phase_single"),
    (4, 150_001, "two_phase_single"), (6, 2_000_000, "two_phase_single"), (7, 50_000, "group_having"),
    (7, 50_001, "two_phase_single"), (7, 150_000, "two_phase_single"), (7, 150_001, "two_phase_dual"),
    (20, 150_000, "two_phase_single"), (20, 2_000_000, "two_phase_dual"),
]  # fmt: skip


@pytest.mark.parametrize(("tags", "rarest", "strategy"), SEED_TABLE)
def test_seed_tree_decides_as_the_paper_at_its_boundaries(tags: int, rarest: int, strategy: str) -> None:
    """Each threshold belongs to the side the paper puts it on."""
    assert pick_strategy(Question(tags, rarest), KNOBS)[0] == strategy


def test_seed_tree_agrees_with_the_papers_code() -> None:
    """The function as the paper prints it, over a grid around its thresholds."""

    def printed(k: int, rarest_count: int, cfg: PlannerSettings) -> str:
        if k <= cfg.small_k_threshold:
            return "self_join"
        if rarest_count <= cfg.group_having_rarest_ceiling:
            return "group_having"
        if rarest_count > cfg.two_phase_dual_seed_floor and k >= cfg.two_phase_min_k_for_dual_seed:
            return "two_phase_dual"
        return "two_phase_single"

    other = knobs(small_k_threshold=0, group_having_rarest_ceiling=10, two_phase_dual_seed_floor=5)
    for cfg in (KNOBS, other):
        for k in range(1, 21):
            for rarest in (0, 5, 6, 10, 11, 49_999, 50_000, 50_001, 149_999, 150_000, 150_001, 10**9):
                assert pick_strategy(Question(k, rarest), cfg)[0] == printed(k, rarest, cfg)


@pytest.mark.parametrize("tags", [4, 7, 20])
def test_seed_tree_falls_back_when_seeds_overflowed_too_often(tags: int) -> None:
    """The paper's fourth rule protects memory; small K and rare tags are decided before it."""
    assert pick_strategy(Question(tags, 10**6, overflowing=True), KNOBS)[0] == "group_having"
    assert pick_strategy(Question(3, 10**6, overflowing=True), KNOBS)[0] == "self_join"


@pytest.mark.parametrize(
    ("off", "question", "strategy"),
    [
        (["self_join"], Question(2, 10), "group_having"),
        (["self_join"], Question(2, 10**6), "two_phase_single"),
        (["group_having"], Question(5, 10), "two_phase_single"),
        (["group_having"], Question(5, 10**6, overflowing=True), "two_phase_single"),
        (["two_phase"], Question(9, 10**6), "group_having"),
        (["two_phase", "group_having"], Question(9, 10**6), "self_join"),
        (["self_join", "group_having", "two_phase"], Question(2, 10), "time_walk"),
    ],
)
def test_seed_tree_passes_over_what_is_switched_off(off: list[str], question: Question, strategy: str) -> None:
    """A query is answered whatever is switched off."""
    assert pick_strategy(question, knobs(**{f"enable_{name}": False for name in off}))[0] == strategy


@pytest.mark.parametrize(
    ("counts", "strategy"),
    [((HALF,) * 3, "self_join"), ((40_000, *(HALF,) * 3), "group_having"), ((HALF,) * 7, "two_phase_dual")],
)
def test_seed_mode_follows_the_tree_whatever_it_costs(counts: tuple[int, ...], strategy: str) -> None:
    """Mode seed looks at thresholds only."""
    assert chosen(*counts, knobs=SEED).strategy == strategy


def test_seed_mode_takes_any_tag_as_one_group() -> None:
    """The paper's K are conditions that all must hold."""
    assert chosen(*(HALF,) * 9, query={"match": TagMatch.ANY}, knobs=SEED).strategy == "self_join"


def test_seed_mode_counts_a_tag_without_statistics_as_the_knob_says() -> None:
    """fallback_default_count stands in for what is not known."""
    asked = GalleryQuery(TAGS[:4], TagMatch.ALL, scope=REGULAR_ONLY)
    choice = choose(asked, known(ITEMS, {TAGS[0]: 160_000}), SEED)
    assert (choice.strategy, choice.rarest_count) == ("two_phase_single", 160_000)
    assert choose(asked, known(ITEMS, {}), SEED).rarest_count == SEED.stats.fallback_default_count


@pytest.mark.parametrize("statistics", [None, Statistics({})])
@pytest.mark.parametrize("mode", [KNOBS, SEED])
def test_without_statistics_the_tree_decides(statistics: Statistics | None, mode: PlannerSettings) -> None:
    """Nothing can be priced, so nothing pretends to be."""
    choice = choose(GalleryQuery(TAGS[:7], TagMatch.ALL), statistics, mode)
    assert choice.strategy == "two_phase_dual"
    assert (choice.estimated_rows, choice.estimated_ms, choice.considered) == (None, None, {})
    assert choice.reason.startswith("no statistics: ")


SITUATIONS = {
    "a popular tag fills the page at once": ((MOST,), {}, "time_walk"),
    "three popular tags as well": ((MOST, MOST, HALF), {}, "time_walk"),
    "ten popular tags too": ((MOST,) * 10, {}, "time_walk"),
    "a rare tag is read": ((RARE,), {}, "self_join"),
    "two rare tags are joined": ((RARE, 3 * RARE), {}, "self_join"),
    "one rare tag among popular ones is looked up": ((RARE, MOST, MOST), {}, "read"),
    "a popular tag by title is sorted, not walked": ((HALF,), {"sort": Sort(SortField.TITLE)}, "self_join"),
    "a rare tag by score is read": ((RARE,), {"sort": Sort(SortField.QUALITY_SCORE)}, "self_join"),
    "popular tags by id walk the primary key": ((MOST, MOST), {"sort": Sort(SortField.ID)}, "time_walk"),
    "any of two popular tags walks": ((HALF, HALF), {"match": TagMatch.ANY}, "time_walk"),
    "any of two rare tags is read": ((RARE, RARE), {"match": TagMatch.ANY}, "read"),
}


@pytest.mark.parametrize("name", SITUATIONS)
def test_cost_mode_takes_what_is_obviously_right(name: str) -> None:
    """Situations in which one way is many times faster than the other."""
    counts, query, strategy = SITUATIONS[name]
    found = chosen(*counts, query=query)
    if strategy == "read":
        assert found.strategy != "time_walk"
    elif strategy == "self_join":
        assert found.strategy in {"self_join", "two_phase_single", "two_phase_dual", "group_having"}
        assert found.considered["time_walk"] > 1.5 * found.considered[found.strategy]
    else:
        assert found.strategy == strategy


def test_popular_tags_that_never_meet_are_not_walked() -> None:
    """Each fills a page at once, both together would walk the whole gallery."""
    asked = GalleryQuery(TAGS[:2], TagMatch.ALL, scope=REGULAR_ONLY)
    choice = choose(asked, never_meeting(), KNOBS)
    assert choice.strategy != "time_walk"
    assert choice.considered["time_walk"] > choice.considered[choice.strategy]


def test_a_query_without_tags_is_a_plain_walk() -> None:
    """There is no posting to begin with."""
    choice = choose(GalleryQuery(scope=REGULAR_ONLY), known(ITEMS, {}), KNOBS)
    assert choice.strategy == "time_walk"
    assert choice.reason.startswith("no tags: walking 26 items")
    assert set(choice.unfit) == set(MODELS) - {"time_walk"}


def test_a_page_by_cursor_costs_what_the_first_one_does() -> None:
    """A position is a range of the index."""
    there = Position(REFRESHED, REGULAR, 17)
    first, later = (chosen(HALF, query={"after": after}) for after in (None, there))
    assert later.estimated_ms == first.estimated_ms


def test_a_deep_page_by_number_costs_its_reach() -> None:
    """Page ten thousand walks past a quarter of a million matches, and is read another way."""
    first, deep = (chosen(HALF, query={"page": page}) for page in (1, 10_000))
    assert deep.considered["time_walk"] > 100 * first.considered["time_walk"]


def test_a_count_does_not_stop_early() -> None:
    """A walk that fills a page at once goes through everything for a count."""
    asked = GalleryQuery(TAGS[:2], TagMatch.ALL, scope=REGULAR_ONLY)
    statistics = known(ITEMS, {TAGS[0]: HALF, TAGS[1]: MOST})
    page, count = choose(asked, statistics, KNOBS), choose_for_count(asked, statistics, KNOBS)
    assert page.strategy == "time_walk"
    assert count.strategy != "time_walk"
    assert count.considered["time_walk"] > 100 * page.considered["time_walk"]


@pytest.mark.parametrize(
    ("query", "ready", "why"),
    [
        ({}, True, "the query does not allow a stale answer"),
        ({"stale": True}, False, "the view is missing, or older than view_staleness_seconds"),
        ({"stale": True}, True, None),
    ],
)
def test_the_view_answers_only_where_it_is_ready_and_wanted(query: dict[str, Any], ready: bool, why: str) -> None:
    """Stale answers are never a surprise."""
    asked = GalleryQuery(TAGS[:1], scope=REGULAR_ONLY, **query)
    choice = choose(asked, known(ITEMS, {TAGS[0]: HALF}), KNOBS, view_ready=ready)
    assert choice.unfit.get("materialized_view") == why
    assert ("materialized_view" in choice.considered) is (why is None)


@pytest.mark.parametrize(
    ("changed", "counts", "unfit", "why"),
    [
        ({"enable_self_join": False}, (RARE, HALF), "self_join", "switched off (enable_self_join)"),
        ({"enable_two_phase": False}, (RARE,) * 4, "two_phase_dual", "switched off (enable_two_phase)"),
        ({"enable_group_having": False}, (RARE,), "group_having", "switched off (enable_group_having)"),
        ({"seed_candidate_cap": 100}, (RARE, HALF), "two_phase_single", "over 100 (seed_candidate_cap)"),
        ({"max_work_mem_mb": 10}, (HALF, HALF), "group_having", "over 10 (max_work_mem_mb)"),
        ({}, (RARE,), "two_phase_single", "fewer than 2 tags"),
        ({}, (RARE, RARE), "two_phase_dual", "fewer than 3 tags"),
    ],
)
def test_unfit_strategies_say_which_knob_or_fact_keeps_them_out(
    changed: dict[str, Any], counts: tuple[int, ...], unfit: str, why: str
) -> None:
    """The reason names the knob that would let the strategy in."""
    assert why in chosen(*counts, knobs=knobs(**changed)).unfit[unfit]


@given(queries, statistics_of_any_kind)
def test_every_strategy_is_either_considered_or_unfit(query: GalleryQuery, statistics: Statistics | None) -> None:
    """Never an error, never an unfit choice, whatever query and statistics hold; the cheapest wins, ties by name."""
    for mode in (KNOBS, SEED):
        for chooses in (choose, choose_for_count):
            choice = chooses(query, statistics, mode, view_ready=query.stale)
            assert choice.strategy in MODELS
            assert choice.strategy not in choice.unfit
            assert choice.reason
            assert all(choice.unfit.values())
            if choice.estimated_rows is not None:
                assert set(choice.considered) | set(choice.unfit) == set(MODELS)
                assert not set(choice.considered) & set(choice.unfit)
                assert all(0 < value < float("inf") for value in choice.considered.values())
            if choice.considered and mode is KNOBS:
                assert choice.strategy == min(choice.considered, key=lambda name: (choice.considered[name], name))


@given(queries, statistics_of_any_kind.filter(lambda found: found is not None))
def test_features_are_what_costs_are_made_of(query: GalleryQuery, statistics: Statistics) -> None:
    """Each feature has a coefficient, and an estimate is their product: the fit and the choice read one definition."""
    counted = features(query, statistics)
    for name, work in counted.items():
        assert set(work) <= set(COEFFICIENTS[name])
        assert all(amount >= 0 for amount in work.values())
    choice = choose(query, statistics, KNOBS, view_ready=True)
    for name, milliseconds in choice.considered.items():
        assert milliseconds == cost(counted[name], COEFFICIENTS[name])


def test_every_strategy_has_a_model_and_every_model_its_coefficients() -> None:
    """A strategy that the planner does not know is never chosen, one without coefficients would be free."""
    assert set(MODELS) >= set(STRATEGIES)
    assert set(MODELS) == set(COEFFICIENTS)


def test_ties_are_broken_by_name() -> None:
    """With nothing to tell strategies apart the choice is still the same every time."""
    free = {name: dict.fromkeys(work, 0.0) for name, work in COEFFICIENTS.items()}
    assert chosen(RARE, RARE, RARE, knobs=PlannerSettings(coefficients=free)).strategy == "group_having"


def test_coefficients_of_the_knobs_decide() -> None:
    """Another machine, other figures, another choice."""
    dear = PlannerSettings(coefficients={"time_walk": {"statement": 10_000}})
    assert chosen(MOST, MOST).strategy == "time_walk"
    assert chosen(MOST, MOST, knobs=dear).strategy != "time_walk"


def test_reason_compares_the_best_with_the_next() -> None:
    """An engineer reads what was weighed against what."""
    choice = chosen(120, FEW, knobs=knobs(enable_two_phase=False, enable_group_having=False))
    assert choice.reason.startswith("rarest tag carried by 120 items: joining 2 postings (")
    assert " ms) beats walking " in choice.reason


def test_a_walk_that_took_far_longer_is_not_chosen_again_for_that_filter() -> None:
    """A hundred times the estimate is remembered; another filter of the same kind still walks."""
    asked, other = (GalleryQuery(tags, TagMatch.ALL, scope=REGULAR_ONLY) for tags in (TAGS[:2], TAGS[2:4]))
    statistics = known(ITEMS, dict.fromkeys(TAGS[:4], HALF))
    feedback = Feedback()
    first = choose(asked, statistics, KNOBS, feedback=feedback)
    assert first.strategy == "time_walk"
    assert first.estimated_ms is not None
    took = 100_000 * first.estimated_ms
    seen = Seen("time_walk", 26, is_exact=False, milliseconds=took, estimated_ms=first.estimated_ms, reach=26)
    feedback.learn(asked, statistics, seen)
    again = choose(asked, statistics, KNOBS, feedback=feedback)
    assert again.strategy != "time_walk"
    assert again.considered["time_walk"] == pytest.approx(took)
    assert choose(other, statistics, KNOBS, feedback=feedback).strategy == "time_walk"


def test_rows_that_were_seen_correct_the_next_choice() -> None:
    """Independent on paper, nearly apart in truth: after one page that was not full the walk is known to be long."""
    asked = GalleryQuery(TAGS[:2], TagMatch.ALL, scope=REGULAR_ONLY)
    statistics = known(ITEMS, dict.fromkeys(TAGS[:2], HALF))
    feedback = Feedback()
    feedback.learn(asked, statistics, Seen("self_join", 3, is_exact=True, milliseconds=1, estimated_ms=1, reach=26))
    before, after = (choose(asked, statistics, KNOBS, feedback=one) for one in (None, feedback))
    assert after.estimated_rows == 3
    assert after.considered["time_walk"] > 5 * before.considered["time_walk"]


def test_seed_mode_heeds_what_overflowed() -> None:
    """After twenty two-phase queries whose seeds were over the cap, the paper's fourth rule holds."""
    asked = GalleryQuery(TAGS[:4], TagMatch.ALL, scope=REGULAR_ONLY)
    statistics = known(ITEMS, dict.fromkeys(TAGS[:4], 60_000))
    feedback = Feedback()
    for _ in range(20):
        choice = choose(asked, statistics, SEED, feedback=feedback)
        assert (choice.strategy, choice.seed_rows) == ("two_phase_single", 60_000)
        seen = Seen(choice.strategy, 0, is_exact=True, milliseconds=1, estimated_ms=None, seed_rows=choice.seed_rows)
        feedback.learn(asked, statistics, seen)
    assert choose(asked, statistics, SEED, feedback=feedback).strategy == "group_having"


def test_ranked_groups_are_handed_on() -> None:
    """Strategies that begin with a rare tag are told which."""
    assert chosen(HALF, RARE).ranked == ((TAGS[1],), (TAGS[0],))


@pytest.mark.parametrize(
    ("query", "what"),
    [
        ({"tags": TAGS[:3]}, "asks for 3 tags"),
        ({"tags": TAGS[:2], "families": (TAGS[4:9],)}, "asks for 3 tags"),
        ({"exclude": TAGS[:3]}, "excludes 3 tags"),
    ],
)
def test_too_many_tags_are_refused_with_limit_and_knob(query: dict[str, Any], what: str) -> None:
    """The refusal says what the limit is and where it stands."""
    with pytest.raises(InvalidInput, match=f"{what}, and may have 2 at most") as caught:
        require_few_tags(GalleryQuery(**query), knobs(max_tags=2))
    assert "planner.max_tags" in str(caught.value.hint)


def test_as_many_tags_as_allowed_are_taken() -> None:
    """Wanted and excluded tags are counted apart, and a family as one."""
    many: tuple[uuid.UUID, ...] = TAGS[:20]
    require_few_tags(GalleryQuery(many[:19], exclude=many, families=(many,)), KNOBS)
