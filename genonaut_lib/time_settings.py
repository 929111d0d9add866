"""The knobs of the HTTP API that bound time: of a statement, of a wait, of a request, of a shutdown."""

from __future__ import annotations

from typing import Self

from pydantic import BaseModel, ConfigDict, Field, model_validator


class TimeSettings(BaseModel):
    """How long things may take in the service; sessions set the first three, the process the others."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    statement_timeout_ms: int = Field(15_000, ge=1, le=3_600_000)
    lock_timeout_ms: int = Field(3_000, ge=1, le=3_600_000, description="how long a statement waits for a lock")
    idle_transaction_ms: int = Field(10_000, ge=1, le=3_600_000, description="a transaction in which nothing happens")
    pool_wait_ms: int = Field(900, ge=1, le=60_000, description="how long a request waits for sessions, all in all")
    pool_queue: int = Field(100, ge=1, le=100_000, description="requests that may wait for one; others are sent off")
    deadline_s: float = Field(20.0, gt=0, le=3600, description="of a request; above the statement's timeout")
    shutdown_s: int = Field(30, ge=1, le=3600, description="how long requests may finish after a SIGTERM")
    slow_ms: int = Field(1_000, ge=0, description="requests that took longer log the hash of their plan")

    @model_validator(mode="after")
    def _require_later_deadline(self) -> Self:
        """A statement is to end by its own timeout, which says what was slow; the deadline is for whatever else is."""
        if self.deadline_s * 1000 <= self.statement_timeout_ms:
            raise ValueError(
                f"deadline_s must be above statement_timeout_ms, which is {self.statement_timeout_ms:,} ms"
            )
        return self
