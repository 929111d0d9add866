"""How many items a filter matches: not asked, estimated, exact, or exact unless that takes too long."""

from __future__ import annotations

import enum
from dataclasses import dataclass


class CountMode(enum.StrEnum):
    """What a caller asks for, and what an answer says it is (`auto` is only ever asked for)."""

    NONE = "none"
    ESTIMATED = "estimated"
    EXACT = "exact"
    AUTO = "auto"


@dataclass(frozen=True)
class Total:
    """A number of items and what it is worth.

    `value` is None where it is not known. An estimate lies between `low` and `high` in 95 of 100
    cases; for an exact value both equal it.
    """

    kind: CountMode
    value: int | None = None
    low: int | None = None
    high: int | None = None


NOT_COUNTED = Total(CountMode.NONE)
