"""Choices that are remembered: always what the planner says now, and made anew only when something changed."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genonaut_lib.gallery.bitmaps.standing import ABSENT, Ready, Standing
from genonaut_lib.gallery.feedback import Feedback, Seen
from genonaut_lib.gallery.planner import choose, choose_with_total
from genonaut_lib.gallery.query import GalleryQuery, TagMatch
from genonaut_lib.gallery.remembered import Choices
from genonaut_lib.gallery.statistics import Statistics
from genonaut_lib.settings import PlannerSettings
from tests.paper import REFRESHED, REGULAR_ONLY, TAGS, known

ITEMS = 1_000_000
KNOBS = PlannerSettings()
QUERIES = [
    GalleryQuery(TAGS[:number], TagMatch.ALL, scope=REGULAR_ONLY, page=page) for number in (0, 1, 3) for page in (1, 7)
]
STATISTICS = [
    known(ITEMS, dict.fromkeys(TAGS[:3], 500_000)),
    known(ITEMS, dict.fromkeys(TAGS[:3], 200)),
    None,
]
STANDINGS: Sequence[Standing] = (
    ABSENT,
    Ready(1, ITEMS, 62, 0, frozenset(TAGS), 20_000),
    Ready(1, ITEMS, 62, 9_000, frozenset(), 20),
)


def choices(mode: str = "cost", capacity: int = 1_000) -> tuple[Choices, Feedback]:
    feedback = Feedback()
    return Choices(KNOBS.model_copy(update={"mode": mode}), feedback, capacity), feedback


step = st.tuples(
    st.sampled_from(QUERIES), st.sampled_from(STATISTICS), st.sampled_from(STANDINGS),
    st.booleans(), st.booleans(), st.none() | st.integers(0, ITEMS),
)  # fmt: skip


@given(st.lists(step, max_size=30), st.sampled_from(["cost", "seed"]))
def test_it_says_what_the_planner_says(
    steps: list[tuple[GalleryQuery, Statistics | None, Standing, bool, bool, int | None]], mode: str
) -> None:
    """Whatever was asked before, learnt meanwhile, or changed and changed back."""
    kept, feedback = choices(mode, capacity=4)
    knobs = KNOBS.model_copy(update={"mode": mode})
    for query, statistics, standing, totals, view_ready, rows in steps:
        found = kept.choice(query, statistics, standing, totals=totals, view_ready=view_ready)
        chooses = choose_with_total if totals else choose
        assert found == chooses(query, statistics, knobs, feedback=feedback, view_ready=view_ready, bitmaps=standing)
        if rows is not None:
            feedback.learn(
                query,
                statistics,
                Seen("time_walk", rows, is_exact=True, milliseconds=900.0, estimated_ms=1.0, seed_rows=float(rows)),
            )
        assert len(kept) <= 4


def test_nothing_is_chosen_twice_on_the_same_grounds() -> None:
    """The very same choice comes back; a page further on is another one."""
    kept, _ = choices()
    first = kept.choice(QUERIES[2], STATISTICS[0], STANDINGS[1], totals=True, view_ready=False)
    assert kept.choice(QUERIES[2], STATISTICS[0], STANDINGS[1], totals=True, view_ready=False) is first
    assert (
        kept.choice(replace(QUERIES[2], page=2), STATISTICS[0], STANDINGS[1], totals=True, view_ready=False)
        is not first
    )


@pytest.mark.parametrize("changed", ["statistics", "bitmaps", "lesson", "view", "totals"])
def test_what_changed_is_thought_of_anew(changed: str) -> None:
    """Each of the grounds counts."""
    kept, feedback = choices()
    statistics, standing = STATISTICS[0], STANDINGS[1]
    assert statistics is not None
    first = kept.choice(QUERIES[2], statistics, standing, totals=True, view_ready=False)
    if changed == "lesson":
        feedback.learn(QUERIES[2], statistics, Seen("bitmap", 3, is_exact=True, milliseconds=1.0, estimated_ms=1.0))
    newer = replace(statistics, refreshed_at=REFRESHED + timedelta(hours=1)) if changed == "statistics" else statistics
    index = replace(standing, marks=5) if changed == "bitmaps" and isinstance(standing, Ready) else standing
    again = kept.choice(QUERIES[2], newer, index, totals=changed != "totals", view_ready=changed == "view")
    assert again is not first
