"""How the HTTP API reads bearer tokens: `service.jwt` in `params/<environment>.yaml`, and what its key must be."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

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


__all__ = ["KEY_VARIABLE", "SHORTEST_SECRET", "TokenSettings"]
