"""The grid of questions: the same for the same statistics, spread over its traits, and what its words say."""

from __future__ import annotations

import random
import uuid
from collections import Counter
from collections.abc import Mapping
from datetime import UTC, datetime

import pytest

from genonaut_lib.errors import CheckFailed
from genonaut_lib.gallery.query import Creators, TagMatch
from genonaut_lib.gallery.statistics import Sample, SourceStatistics, Statistics
from genonaut_lib.tuning.grid import LEVELS, Reach, Use, Whose, adversarial, grid
from genonaut_lib.tuning.landmarks import landmarks
from genonaut_lib.tuning.tag_pools import Cardinality, Correlation, TagPools
from genonaut_lib.vocabulary import ContentSource, tag_id

ITEMS, SAMPLED = 100_000, 2_000
VIEWERS = (uuid.UUID(int=1), uuid.UUID(int=2))


def statistics_of(shares: Mapping[str, float], seed: int = 1) -> Statistics:
    """Tags by name, each independently on a share of all items; `left` and `right` never meet."""
    dice = random.Random(seed)
    carriers = {}
    for name, share in shares.items():
        # Numbers of the sample that carry the tag; left has even ones only, right odd ones.
        allowed = {"left": range(0, SAMPLED, 2), "right": range(1, SAMPLED, 2)}.get(name, range(SAMPLED))
        chance = share * SAMPLED / len(allowed)
        carriers[tag_id(name)] = sum(1 << place for place in allowed if dice.random() < chance)
    source = SourceStatistics(
        ITEMS,
        {tag_id(name): int(share * ITEMS) for name, share in shares.items()},
        Sample(SAMPLED, (1 << SAMPLED) - 1, {tag: bits for tag, bits in carriers.items() if bits}),
    )
    nothing = SourceStatistics(0, {})
    sources = {ContentSource.REGULAR: source, ContentSource.AUTO: nothing}
    return Statistics(sources, datetime(2025, 1, 1, tzinfo=UTC))


def classes(tags: int = 30) -> dict[str, float]:
    """Thirty tags of each class."""
    return {
        **{f"popular {no}": 0.9 - 0.02 * no for no in range(tags)},
        **{f"middling {no}": 0.09 - 0.002 * no for no in range(tags)},
        **{f"rare {no}": 0.004 - 0.0001 * no for no in range(tags)},
    }


@pytest.fixture(scope="module")
def known() -> Statistics:
    return statistics_of(classes())


def test_the_same_statistics_and_seed_give_the_same_grid(known: Statistics) -> None:
    """In whatever order the mappings come; another seed gives another one."""
    first = grid(known, 100, 7, viewers=VIEWERS)
    source = known.sources[ContentSource.REGULAR]
    turned = SourceStatistics(source.items, dict(reversed(source.cardinalities.items())), source.sample)
    again = Statistics({ContentSource.AUTO: known.sources[ContentSource.AUTO], ContentSource.REGULAR: turned})
    assert grid(again, 100, 7, viewers=VIEWERS) == first
    assert grid(known, 100, 8, viewers=VIEWERS) != first


def test_a_grid_has_the_size_asked_for_and_no_question_twice(known: Statistics) -> None:
    """Two hundred questions are two hundred different ones, each with a name of its own."""
    cases = grid(known, 200, 1, viewers=VIEWERS)
    assert len({(case.query, case.reach) for case in cases}) == len({case.name for case in cases}) == 200


def test_every_trait_occurs_in_a_grid_of_two_hundred(known: Statistics) -> None:
    """Numbers of tags evenly, all words of the others."""
    traits = [case.traits for case in grid(known, 200, 1, viewers=VIEWERS) if case.traits is not None]
    by_number = Counter(one.tags for one in traits)
    assert set(by_number) == set(LEVELS)
    assert min(by_number.values()) >= 20
    for words, found in (
        (Cardinality, {one.cardinality for one in traits}),
        (Correlation, {one.correlation for one in traits}),
        (Use, {one.use for one in traits}),
        (Whose, {one.whose for one in traits}),
        (Reach, {one.reach for one in traits}),
    ):
        assert found == set(words)


def test_a_question_is_what_its_traits_say(known: Statistics) -> None:
    """Number of tags, match, exclusion, scope and page."""
    for case in grid(known, 200, 1, viewers=VIEWERS):
        traits, query = case.traits, case.query
        assert traits is not None
        assert len(query.tags) + len(query.exclude) == traits.tags
        assert bool(query.exclude) == (traits.use is Use.EXCLUDE)
        assert traits.tags == 1 or (query.match is TagMatch.ANY) == (traits.use is Use.ANY)
        assert (query.page > 1) == (traits.reach is not Reach.FIRST)
        creators = {Whose.MINE: Creators.MINE, Whose.COMMUNITY: Creators.COMMUNITY}
        assert query.scope.regular is query.scope.auto is creators.get(traits.whose, Creators.EVERYBODY)


def test_without_viewers_nobodys_own_items_are_asked_for(known: Statistics) -> None:
    """A gallery without creators can be asked all the same."""
    assert {case.query.viewer for case in grid(known, 100, 1)} == {None}


def test_a_gallery_of_three_tags_is_asked_for_up_to_three() -> None:
    """Questions about more tags than there are do not exist."""
    cases = grid(statistics_of({"a": 0.5, "b": 0.2, "c": 0.1}), 200, 1)
    assert {case.traits.tags for case in cases if case.traits is not None} == {1, 2, 3}


def test_a_gallery_without_tags_is_refused() -> None:
    """The hint names the notebook that makes statistics."""
    with pytest.raises(CheckFailed, match="50_refresh_tag_stats"):
        grid(statistics_of({}))


@pytest.mark.parametrize(
    ("cardinality", "word"),
    [(Cardinality.POPULAR, "popular"), (Cardinality.MIDDLING, "middling"), (Cardinality.RARE, "rare")],
)
def test_tags_of_a_class_are_used_as_its_name_says(known: Statistics, cardinality: Cardinality, word: str) -> None:
    """Where a class has enough tags, no other is taken."""
    names = {tag_id(name): name for name in classes()}
    picked = TagPools(known).pick(20, cardinality, Correlation.INDEPENDENT, random.Random(1))
    assert {names[tag].split()[0] for tag in picked} == {word}
    assert len(set(picked)) == 20


def test_a_class_without_tags_takes_the_nearest() -> None:
    """Where nothing is rare the least used tags stand for it."""
    shares = {f"tag {no}": 0.9 - 0.02 * no for no in range(40)}
    pools = TagPools(statistics_of(shares))
    picked = pools.pick(20, Cardinality.RARE, Correlation.INDEPENDENT, random.Random(1))
    assert set(picked) <= set(pools.ranked[-24:])


def test_popular_tags_that_never_meet_are_found() -> None:
    """By the samples, among many that do meet."""
    shares = {**{f"popular {no}": 0.8 for no in range(20)}, "left": 0.4, "right": 0.4}
    pools = TagPools(statistics_of(shares))
    apart = {
        frozenset(pools.pick(2, Cardinality.POPULAR, Correlation.APART, random.Random(seed))) for seed in range(30)
    }
    assert frozenset({tag_id("left"), tag_id("right")}) in apart


def test_tags_that_meet_often_meet_more_often_than_those_that_hardly_do(known: Statistics) -> None:
    """In the mean over some draws."""
    pools = TagPools(known)

    def likeness(correlation: Correlation) -> float:
        drawn = [pools.pick(2, Cardinality.MIDDLING, correlation, random.Random(seed)) for seed in range(20)]
        return sum(pools.likeness(*pair) for pair in drawn)

    meeting, independent, apart = (likeness(one) for one in Correlation)
    assert meeting > independent > apart


def test_mixed_tags_are_of_every_class(known: Statistics) -> None:
    """A popular, a middling and a rare one, in turn."""
    names = {tag_id(name): name for name in classes()}
    picked = TagPools(known).pick(3, Cardinality.MIXED, Correlation.MEETING, random.Random(1))
    assert {names[tag].split()[0] for tag in picked} == {"popular", "middling", "rare"}


def test_landmarks_are_the_most_used_tag_and_tags_down_to_the_least(known: Statistics) -> None:
    """The thousandth page where there is one."""
    marks = landmarks(known)
    ranked = TagPools(known).ranked
    assert marks.popular.query.tags == marks.far.query.tags == (ranked[0],)
    assert marks.far.query.page == 1_000
    assert {marks.singles[0].query.tags[0], marks.singles[-1].query.tags[0]} == {ranked[0], ranked[-1]}


def test_the_far_page_of_a_small_gallery_is_one_it_has() -> None:
    """Page 1,000 of two hundred items would be no page."""
    source = SourceStatistics(200, {tag_id("a"): 200})
    marks = landmarks(Statistics({ContentSource.REGULAR: source}))
    assert marks.far.query.page == 6


def test_the_adversarial_grid_has_every_combination_once(known: Statistics) -> None:
    """One to twenty tags, each kind, use and scope; one tag is any of itself and meets itself."""
    cases = adversarial(known, 1, viewers=VIEWERS)
    traits = [case.traits for case in cases if case.traits is not None]
    assert len({case.name for case in cases}) == len(set(traits)) == 198
    assert Counter(one.tags for one in traits) == {1: 18, 2: 36, 3: 36, 5: 36, 10: 36, 20: 36}
    for words, found in ((set(Use), {one.use for one in traits}), (set(Whose), {one.whose for one in traits})):
        assert words == found
    assert all(case.query.page == 1 and case.reach is Reach.FIRST for case in cases)
    assert all(len(case.query.tags) + len(case.query.exclude) == case.traits.tags for case in cases if case.traits)


def test_the_adversarial_grid_holds_popular_tags_that_never_meet() -> None:
    """Pairs that no sampled item carries both of, where there are any."""
    camps = statistics_of({"left": 0.45, "right": 0.45} | {f"popular {no}": 0.9 - 0.01 * no for no in range(30)})
    apart = [
        set(case.query.tags)
        for case in adversarial(camps, 1)
        if case.traits and case.traits.correlation is Correlation.APART and case.traits.use is Use.ALL
    ]
    assert any({tag_id("left"), tag_id("right")} <= tags for tags in apart)
