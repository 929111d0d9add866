"""What a run over the gallery found, as plain values: every question under every strategy, and the figures to meet."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from genonaut_lib.gallery.strategies import BITMAP
from genonaut_lib.tuning.clocks import Clocks
from genonaut_lib.tuning.race import Contest, Timing, percentile

CLOSE = 1.5
"""A choice that takes up to this many times as long as the best strategy is a good one."""
TARGETS = {
    "close_share": 0.95,
    "choosing_us": 200.0,
    "building_us": 300.0,
    "popular_tag_ms": 3.0,
    "worst_single_tag_ms": 15.0,
    "far_page_ratio": 1.2,
}
"""The least share of close choices, and the most of everything else; the two times are the server's own."""

Oracle = Mapping[str, tuple[str, ...] | None]


@dataclass(frozen=True)
class Figures:
    """Everything that was measured: the grid, the landmarks (popular tag, far page, single tags), clocks, oracle."""

    grid: Sequence[Contest]
    marks: Sequence[Contest]
    clocks: Clocks
    oracle: Oracle


def report(figures: Figures) -> dict[str, Any]:
    """Return summary, targets and cases."""
    contests = [*figures.grid, *figures.marks]
    return {
        "summary": {
            **_choices(figures.grid),
            **_clocks(figures.clocks),
            **_landmarks(figures.marks),
            "differing": differing(contests, figures.oracle),
            "oracle_unknown": sum(figures.oracle[one.case.name] is None for one in contests),
        },
        "targets": TARGETS,
        "cases": [_case(one, figures.oracle) for one in contests],
    }


def verdict(timing: Timing, expected: tuple[str, ...] | None) -> str:
    """Return `same`, `differs`, or `unknown` where strategy or oracle took too long."""
    if timing.keys is None or expected is None:
        return "unknown"
    return "same" if timing.keys == expected else "differs"


def differing(contests: Sequence[Contest], oracle: Oracle) -> list[str]:
    """Return question and strategy of every answer that is not the oracle's."""
    return [
        f"{contest.case.name} by {timing.strategy}"
        for contest in contests
        for timing in contest.timings.values()
        if verdict(timing, oracle[contest.case.name]) == "differs"
    ]


def _choices(contests: Sequence[Contest]) -> dict[str, Any]:
    """Return how good the planner's choices were; None where strategies were not raced against one another."""
    ratios = [one.ratio for one in contests if one.ratio is not None and len(one.timings) > 1]
    wins: dict[str, int] = {}
    for contest in contests:
        if contest.timings:
            wins[contest.best.strategy] = wins.get(contest.best.strategy, 0) + 1
    return {
        "questions": len(contests),
        "close_share": sum(ratio <= CLOSE for ratio in ratios) / len(ratios) if ratios else None,
        "median_ratio": percentile(ratios, 0.5) if ratios else None,
        "p95_ratio": percentile(ratios, 0.95) if ratios else None,
        "worst_ratio": max(ratios, default=None),
        "timed_out": sum(timing.timed_out for one in contests for timing in one.timings.values()),
        "chosen": _counted([one.choice.strategy for one in contests]),
        "best": wins,
    }


def _clocks(clocks: Clocks) -> dict[str, float]:
    return {
        f"{name}_us{suffix}": round(percentile(times, share), 1)
        for name, times in (
            ("choosing", clocks.choosing),
            ("building", clocks.building),
            ("compiling", clocks.compiling),
        )
        for suffix, share in (("", 0.5), ("_p95", 0.95))
    }


def _landmarks(marks: Sequence[Contest]) -> dict[str, Any]:
    """Return the landmarks' figures: times of the server's own, None where a statement took too long.

    The bitmaps are not one statement: of a page that they made it is the whole time, from Python.
    """
    popular, far, *singles = marks
    worst = max(singles, key=_server_ms)
    return {
        "popular_tag_ms": _finite(popular),
        "popular_tag_p50_ms": popular.best.median_ms,
        "worst_single_tag_ms": _finite(worst),
        "worst_single_tag": worst.case.name,
        "single_tags": len(singles),
        "far_page": far.case.query.page,
        "far_page_ratio": far.best.median_ms / popular.best.median_ms,
        "far_page_by_cursor": far.query.after is not None,
    }


def _server_ms(contest: Contest) -> float:
    """Return what the server needed, planning included; without end where it took too long."""
    best = contest.best
    if best.cost is None:
        return best.median_ms if best.strategy == BITMAP.name and not best.timed_out else float("inf")
    return best.cost.execution_ms + best.cost.planning_ms


def _finite(contest: Contest) -> float | None:
    milliseconds = _server_ms(contest)
    return milliseconds if math.isfinite(milliseconds) else None


def _case(contest: Contest, oracle: Oracle) -> dict[str, Any]:
    expected = oracle[contest.case.name]
    query, choice, traits = contest.query, contest.choice, contest.case.traits
    return {
        "name": contest.case.name,
        "traits": None if traits is None else {**vars(traits), "reach": traits.reach},
        "tags": [str(tag) for tag in query.tags],
        "exclude": [str(tag) for tag in query.exclude],
        "match": query.match,
        "viewer": None if query.viewer is None else str(query.viewer),
        "page": contest.case.query.page,
        "by_cursor": query.after is not None,
        "chosen": choice.strategy,
        "reason": choice.reason,
        "estimated_rows": choice.estimated_rows,
        "estimated_ms": choice.estimated_ms,
        "best": contest.best.strategy if contest.timings else None,
        "ratio": contest.ratio,
        "oracle": {"rows": None if expected is None else len(expected)},
        "strategies": {timing.strategy: _timing(timing, expected) for timing in contest.timings.values()},
    }


def _timing(timing: Timing, expected: tuple[str, ...] | None) -> dict[str, Any]:
    return {
        "p50_ms": percentile(timing.times, 0.5),
        "p95_ms": percentile(timing.times, 0.95),
        "p99_ms": percentile(timing.times, 0.99),
        "samples": len(timing.times),
        "timed_out": timing.timed_out,
        "rows": None if timing.keys is None else len(timing.keys),
        "oracle": verdict(timing, expected),
        "shared_buffers": None if timing.cost is None else timing.cost.shared_buffers,
        "execution_ms": None if timing.cost is None else timing.cost.execution_ms,
        "planning_ms": None if timing.cost is None else timing.cost.planning_ms,
    }


def _counted(names: Sequence[str]) -> dict[str, int]:
    return {name: names.count(name) for name in sorted(set(names))}
