"""The knobs of the gallery's planner: section `planner` of `params/<environment>.yaml`.

Names and defaults of the knobs up to `telemetry` are those of the paper that first described the
planner; what a knob means here, where that differs, stands beside it.
"""

from __future__ import annotations

import difflib
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field, field_validator

Coefficients = dict[str, dict[str, float]]

COEFFICIENTS: Coefficients = {
    "time_walk": {
        "statement": 1.2, "groups": 0.055, "shown": 0.049, "skipped": 0.00052, "sorted": 0.0003,
        "searched": 0.05, "scanned": 0.0008, "walked": 0.00045, "probes": 0.002, "probed_tags": 0.0003,
    },
    "self_join": {
        "statement": 1, "groups": 0.13, "shown": 0.064, "skipped": 0.00047, "sorted": 0.00042, "searched": 0.05,
        "scanned": 0.0008, "postings": 3e-05, "probes": 0.0023, "fetched": 0.0018, "joined": 0.00013,
        "grouped": 0.00026,
    },
    "group_having": {
        "statement": 1.2, "groups": 0.0077, "shown": 0.06, "skipped": 0.00051, "sorted": 0.00044,
        "searched": 0.05, "scanned": 0.0008, "postings": 0.00014, "probes": 0.0032, "fetched": 0.0024,
        "grouped": 7e-05,
    },
    "two_phase_single": {
        "statement": 1.4, "groups": 0.014, "shown": 0.059, "skipped": 0.00049, "sorted": 0.00032,
        "searched": 0.05, "scanned": 0.0008, "postings": 0.00021, "probes": 0.00096, "fetched": 0.002,
        "grouped": 0.00082,
    },
    "two_phase_dual": {
        "statement": 1.5, "groups": 0.0083, "shown": 0.024, "skipped": 0.00048, "sorted": 0.00015,
        "searched": 0.05, "scanned": 0.0008, "postings": 7.9e-05, "probes": 0.0023, "fetched": 0.00091,
        "joined": 0.00027, "grouped": 0.00063,
    },
    "materialized_view": {
        "statement": 1.2, "groups": 0.02, "shown": 0.06, "skipped": 0.0005, "sorted": 0.0003, "searched": 0.05,
        "scanned": 0.0008, "postings": 0.0003, "probes": 0.003, "fetched": 0.003, "walked": 0.006,
    },
    "bitmap": {
        "statement": 1.4, "groups": 0.02, "shown": 0.05, "skipped": 1e-06, "bitmaps": 0.00027, "postings": 0.0003,
        "marked": 0.0001, "handed_on": 0.003,
    },
}  # fmt: skip
"""Milliseconds for each unit of each feature of a strategy's work; `gallery.costs` says what is counted.

Fitted by `tuning.planner_fit` to 247 queries under every strategy, on two cores with warm buffers: 99 each on
30,000 items of shape adversarial and 60,000 of zipf, 49 on 1,175,000 dense ones with 88 million
relationships; 60_tune_planner fits them to the machine at hand. Of `searched`, `scanned`,
`materialized_view` and `bitmap` nothing was measured there: those are estimates.
"""


class _Knobs(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True)


class StatsSettings(_Knobs):
    """Where the planner's statistics come from and how old they may be.

    `source` and `table_name` are kept so that a section written for the paper's planner loads; the
    statistics have one home here, and any other value is refused rather than ignored.
    """

    source: Literal["table"] = "table"
    table_name: Literal["tag_cardinality_stats"] = "tag_cardinality_stats"
    freshness_seconds: int = Field(3_600, ge=1, description="statistics older than this are called stale")
    fallback_default_count: int = Field(
        1_000_000,
        ge=1,
        description="items thought to carry a tag without statistics; in mode cost only where there are none at all, "
        "since a tag that statistics lack is one that no item carried when they were made",
    )


class TelemetrySettings(_Knobs):
    """What is logged of the gallery's queries, and of how many: 0.1 is one in ten."""

    log_strategy_choice: bool = True
    log_estimates: bool = True
    sample_rate: float = Field(0.1, ge=0, le=1)


class PlannerSettings(_Knobs):
    """How the strategy of a gallery query is chosen.

    Mode `seed` follows the paper's decision tree, which the four thresholds steer; mode `cost` takes
    the cheapest strategy by `coefficients` and does not look at them.
    """

    small_k_threshold: int = Field(3, ge=0, description="seed: up to so many tags, self_join")
    group_having_rarest_ceiling: int = Field(50_000, ge=0, description="seed: up to it, group_having")
    two_phase_min_k_for_dual_seed: int = Field(7, ge=0, description="seed: from so many tags on, two_phase_dual")
    two_phase_dual_seed_floor: int = Field(150_000, ge=0, description="seed: above it, two_phase_dual")
    # A seed is never cut off here, as the paper's LIMIT did: that would lose rows. Cost mode refuses a
    # two-phase strategy whose seed would be larger; seed mode falls back to group_having where seeds
    # were larger too often, as the paper's fourth rule says.
    seed_candidate_cap: int = Field(50_000, ge=1)
    # No session's work_mem is set: a pooled session must not keep it. Cost mode refuses group_having
    # where its groups would need more; seed mode does not look at it, nor did the paper's tree.
    max_work_mem_mb: int = Field(256, ge=1)
    enable_two_phase: bool = True
    enable_group_having: bool = True
    enable_self_join: bool = True
    stats: StatsSettings = StatsSettings()
    telemetry: TelemetrySettings = TelemetrySettings()
    mode: Literal["cost", "seed"] = "cost"
    max_tags: int = Field(20, ge=1, le=1_000, description="a family counts as one; excluded tags count by themselves")
    count_budget_ms: int = Field(250, ge=1, le=600_000, description="after it, count mode auto gives an estimate")
    statement_timeout_ms: int = Field(10_000, ge=1, le=3_600_000, description="of a page")
    view_staleness_seconds: int = Field(3_600, ge=0, description="how old a view may answer a query that allows it")
    coefficients: Coefficients = Field(default_factory=lambda: _over_defaults({}))

    @field_validator("coefficients", mode="after")
    @classmethod
    def _complete(cls, given: Coefficients) -> Coefficients:
        """Lay what is given over the defaults; refuse a name nobody reads and a negative amount."""
        for strategy, features in given.items():
            _require_known(strategy, COEFFICIENTS)
            for feature, milliseconds in features.items():
                _require_known(feature, COEFFICIENTS[strategy])
                if not 0 <= milliseconds < float("inf"):
                    raise ValueError(f"{strategy}.{feature} must be a number from 0")
        return _over_defaults(given)


def _over_defaults(given: Coefficients) -> Coefficients:
    return {strategy: {**features, **given.get(strategy, {})} for strategy, features in COEFFICIENTS.items()}


def _require_known(name: str, known: dict[str, Any]) -> None:
    if name not in known:
        near = difflib.get_close_matches(name, known, n=1, cutoff=0.5)
        meant = f"did you mean {near[0]!r}? " if near else ""
        raise ValueError(f"unknown name {name!r}; {meant}Known: {', '.join(sorted(known))}")
