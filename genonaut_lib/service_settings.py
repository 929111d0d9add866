"""The knobs of the HTTP API: where it listens, whom it believes, how long things may take."""

from __future__ import annotations

from typing import Literal, Self

from pydantic import BaseModel, ConfigDict, Field, model_validator

KEY_VARIABLE = "GENONAUT_JWT_KEY"
SHORTEST_SECRET = 32
"""Bytes of a secret for HS256: as many as the hash has (RFC 7518, section 3.2)."""


class TokenSettings(BaseModel):
    """Which tokens are accepted, and what in them makes an admin.

    The algorithm is fixed here and never taken from a token. `issuer` and `audience` are compared where they
    are given; a token for an audience is refused where none is given, since it was made for somebody else.
    """

    model_config = ConfigDict(extra="forbid", frozen=True)

    algorithm: Literal["HS256", "RS256"] = "HS256"
    issuer: str | None = None
    audience: str | None = None
    leeway_s: float = Field(0, ge=0, le=300, description="by how much the clocks of issuer and service may differ")
    admin_scope: str = Field("gallery:admin", min_length=1, description="a word of `scope` or `scp`")


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
    keep_alive_s: int = Field(75, ge=1, le=3600, description="an idle connection is kept for so long")
    slow_ms: int = Field(1_000, ge=0, description="requests that took longer log the hash of their plan")

    @model_validator(mode="after")
    def _require_later_deadline(self) -> Self:
        """A statement is to end by its own timeout, which says what was slow; the deadline is for whatever else is."""
        if self.deadline_s * 1000 <= self.statement_timeout_ms:
            raise ValueError(
                f"deadline_s must be above statement_timeout_ms, which is {self.statement_timeout_ms:,} ms"
            )
        return self


class ServiceSettings(TimeSettings):
    """The HTTP API: where it listens, in how many processes, with how many sessions each; see `TimeSettings` too."""

    host: str = "127.0.0.1"
    port: int = Field(8000, ge=0, le=65_535, description="0: any free one, which is said")
    sessions: int = Field(10, ge=1, le=1_000)
    auth: Literal["none", "jwt"] = Field("none", description="none: who asks is who `user_id` says, for demos")
    anonymous: bool = Field(True, description="with jwt: whether a request without a token may read what is public")
    jwt: TokenSettings = TokenSettings()
    stats_fresh_s: float = Field(10.0, ge=0, le=3600, description="a viewer's counts are remembered for so long")
    tags_fresh_s: float = Field(10.0, ge=0, le=3600, description="so are words for tags and the names of tags")
    gzip_min_bytes: int = Field(16_384, ge=0, description="smaller answers gain nothing: they go out in one flight")
    gzip_level: int = Field(1, ge=1, le=9)
    workers: int = Field(1, ge=1, le=1_000, description="processes, each with a pool and a memory of its own")


__all__ = ["KEY_VARIABLE", "SHORTEST_SECRET", "ServiceSettings", "TimeSettings", "TokenSettings"]
