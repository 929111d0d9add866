"""The planner's knobs keep their published names and defaults, and refuse what nobody reads."""

from __future__ import annotations

from typing import Any

import pytest
from pydantic import ValidationError

from genonaut_lib.planner_settings import COEFFICIENTS
from genonaut_lib.settings import PlannerSettings, Settings

PUBLISHED = {
    "small_k_threshold": 3, "group_having_rarest_ceiling": 50_000, "two_phase_min_k_for_dual_seed": 7,
    "two_phase_dual_seed_floor": 150_000, "seed_candidate_cap": 50_000, "max_work_mem_mb": 256,
    "enable_two_phase": True, "enable_group_having": True, "enable_self_join": True,
    "stats": {
        "source": "table", "table_name": "tag_cardinality_stats", "freshness_seconds": 3_600,
        "fallback_default_count": 1_000_000,
    },
    "telemetry": {"log_strategy_choice": True, "log_estimates": True, "sample_rate": 0.1},
}  # fmt: skip


def test_published_section_loads_as_it_is_printed() -> None:
    """Names and defaults are those of the paper, so its section can be taken over."""
    defaults = PlannerSettings()
    assert PlannerSettings(**PUBLISHED) == defaults  # type: ignore[arg-type]
    assert {key: value for key, value in defaults.model_dump().items() if key in PUBLISHED} == PUBLISHED


def test_settings_hold_the_planner() -> None:
    """The section is called `planner`."""
    assert Settings(environment="lab").planner == PlannerSettings()


@pytest.mark.parametrize("stats", [{"source": "redis"}, {"source": "hybrid"}, {"table_name": "other"}])
def test_other_homes_of_statistics_are_refused(stats: dict[str, str]) -> None:
    """A knob that would do nothing is not taken in silence."""
    with pytest.raises(ValidationError):
        PlannerSettings(stats=stats)  # type: ignore[arg-type]


def test_given_coefficients_lie_over_the_defaults() -> None:
    """One figure can be set without repeating the others."""
    found = PlannerSettings(coefficients={"time_walk": {"walked": 0.5}}).coefficients
    assert found["time_walk"] == {**COEFFICIENTS["time_walk"], "walked": 0.5}
    assert found["self_join"] == COEFFICIENTS["self_join"]


def test_default_coefficients_belong_to_nobody() -> None:
    """Whoever changes the mapping of one object does not change it for the next."""
    PlannerSettings().coefficients["time_walk"]["walked"] = 9.0
    assert PlannerSettings().coefficients["time_walk"]["walked"] == COEFFICIENTS["time_walk"]["walked"] != 9.0


@pytest.mark.parametrize(
    ("coefficients", "message"),
    [
        ({"time_wolk": {}}, "unknown name 'time_wolk'; did you mean 'time_walk'"),
        ({"time_walk": {"walkd": 1.0}}, "unknown name 'walkd'; did you mean 'walked'"),
        ({"time_walk": {"walked": -1.0}}, r"time_walk\.walked must be a number from 0"),
        ({"time_walk": {"walked": float("nan")}}, r"time_walk\.walked must be a number from 0"),
        ({"time_walk": {"walked": float("inf")}}, r"time_walk\.walked must be a number from 0"),
    ],
)
def test_coefficients_nobody_reads_are_refused(coefficients: dict[str, Any], message: str) -> None:
    """A misspelt strategy or feature is never silently the default, and no work earns time."""
    with pytest.raises(ValidationError, match=message):
        PlannerSettings(coefficients=coefficients)


def test_knobs_cannot_be_changed() -> None:
    """Settings are passed around."""
    with pytest.raises(ValidationError):
        PlannerSettings().mode = "seed"
