"""`Choice`: which strategy the planner chose, and all it thought while choosing."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from genonaut_lib.gallery.estimates import Estimate
from genonaut_lib.gallery.query import Group


@dataclass(frozen=True)
class Choice:
    """What the planner chose and why.

    `estimated_rows` is how many items the whole filter is thought to match, None where nothing is
    known. `estimated_ms` is what the strategy should cost; `considered` says the same of every
    strategy that was fit, `unfit` why each other one was not. `ranked` are the query's groups of
    tags, rarest first, as `read_page` takes them.

    `estimate` has the interval and the parts of the sources. `rarest_count` is how many items carry
    the rarest group, None without tags. `seed_rows` is how many candidates a two-phase strategy would
    begin with, None for any other.
    """

    strategy: str
    reason: str
    ranked: tuple[Group, ...] = ()
    estimated_rows: float | None = None
    estimated_ms: float | None = None
    considered: Mapping[str, float] = field(default_factory=dict)
    unfit: Mapping[str, str] = field(default_factory=dict)
    estimate: Estimate | None = None
    rarest_count: int | None = None
    seed_rows: float | None = None
