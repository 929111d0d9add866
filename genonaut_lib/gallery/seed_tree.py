"""The decision tree of the paper that first described the planner: mode `seed`.

The paper speaks of queries for all of several tags; K counts the groups an item must carry one tag of
each of, so that a query for any tag is one of K = 1.
"""

from __future__ import annotations

from dataclasses import dataclass

from genonaut_lib.settings import PlannerSettings


@dataclass(frozen=True)
class Question:
    """What the tree asks: how many tags, how many items carry the rarest, and whether seeds overflowed too often."""

    tags: int
    rarest_count: int
    overflowing: bool = False


def pick_strategy(question: Question, knobs: PlannerSettings) -> tuple[str, str]:
    """Return the strategy and the rule that led to it.

    A strategy that is switched off is passed over for the next one in the paper's order; with all of
    them off the query walks.
    """
    if question.tags <= knobs.small_k_threshold and knobs.enable_self_join:
        return "self_join", f"{question.tags} of at most {knobs.small_k_threshold} tags (small_k_threshold)"
    ceiling = knobs.group_having_rarest_ceiling
    if question.rarest_count <= ceiling and knobs.enable_group_having:
        return "group_having", f"{_rarest(question)}, at most {ceiling:,} (group_having_rarest_ceiling)"
    if question.overflowing and knobs.enable_group_having:
        return "group_having", "two-phase seeds went over seed_candidate_cap too often"
    return _two_phase(question, knobs) if knobs.enable_two_phase else _last_resort(knobs)


def _two_phase(question: Question, knobs: PlannerSettings) -> tuple[str, str]:
    above = question.rarest_count > knobs.two_phase_dual_seed_floor
    if above and question.tags >= knobs.two_phase_min_k_for_dual_seed:
        floor, least = knobs.two_phase_dual_seed_floor, knobs.two_phase_min_k_for_dual_seed
        rule = f"over {floor:,} (two_phase_dual_seed_floor), and {question.tags} of at least {least} tags"
        return "two_phase_dual", f"{_rarest(question)}, {rule}"
    return "two_phase_single", f"{_rarest(question)}, over {knobs.group_having_rarest_ceiling:,}"


def _last_resort(knobs: PlannerSettings) -> tuple[str, str]:
    enabled = {"group_having": knobs.enable_group_having, "self_join": knobs.enable_self_join}
    strategy = next((name for name, on in enabled.items() if on), "time_walk")
    return strategy, "the strategies meant for this query are switched off"


def _rarest(question: Question) -> str:
    return f"rarest tag carried by {question.rarest_count:,} items"
