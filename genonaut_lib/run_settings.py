"""The knobs of runs: how long one may take, how it is ended, and how it shows that it lives."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict, Field


class RunSettings(BaseModel):
    """What holds for every run of a notebook in an environment."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    deadline_s: float | None = Field(None, gt=0, description="a run that takes longer is ended; null: none is")
    stop_grace_s: float = Field(5.0, ge=0, le=60, description="what a cell gets to end in once the run is to stop")
    heartbeat_s: float = Field(5.0, gt=0, le=30, description="how often a run shows that it lives")
    lost_after_s: float = Field(20.0, gt=0, le=60, description="a run without lock and heartbeat for so long is lost")
