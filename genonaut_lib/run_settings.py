"""The knobs of runs: how long one may take, how it is ended, how it shows that it lives; how long records are kept."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class RunSettings(BaseModel):
    """What holds for every run of a notebook in an environment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    deadline_s: float | None = Field(None, gt=0, description="a run that takes longer is ended; null: none is")
    stop_grace_s: float = Field(5.0, ge=0, le=60, description="what a cell gets to end in once the run is to stop")
    heartbeat_s: float = Field(5.0, gt=0, le=30, description="how often a run shows that it lives")
    lost_after_s: float = Field(20.0, gt=0, le=60, description="a run without lock and heartbeat for so long is lost")


class RetentionPolicy(BaseModel):
    """Which records may be retired: those that none of these rules keeps. Without any rule all are kept.

    `keep_last` counts, of each notebook, runs that ended well; `keep_failed_days` alone is about those that did not.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    keep_days: float | None = Field(None, ge=0, description="runs that ended well are kept for so many days")
    keep_failed_days: float | None = Field(None, ge=0, description="the same for all others; null: for ever")
    keep_last: int | None = Field(None, ge=1, description="the newest of each notebook are kept, however old")


class RecordSettings(RetentionPolicy):
    """What becomes of the records of an environment; `sequences` has policies of their own, by a sequence's name."""

    sequences: dict[str, RetentionPolicy] = {}
