"""The ways to answer a `GalleryQuery`: one file each, and this register of them."""

from genonaut_lib.errors import InvalidInput
from genonaut_lib.gallery.strategies.base import Approach, Narrowing, Strategy
from genonaut_lib.gallery.strategies.bitmap import BITMAP
from genonaut_lib.gallery.strategies.group_having import GroupHaving
from genonaut_lib.gallery.strategies.materialized_view import MaterializedView
from genonaut_lib.gallery.strategies.self_join import SelfJoin
from genonaut_lib.gallery.strategies.time_walk import TimeWalk
from genonaut_lib.gallery.strategies.two_phase import DUAL, SINGLE
from genonaut_lib.settings import nearest

STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy for strategy in (TimeWalk(), SelfJoin(), GroupHaving(), SINGLE, DUAL, MaterializedView())
}
"""Those that are a shape of statement."""


def approaches() -> dict[str, Approach]:
    """Return all ways to answer by name: the strategies, and the bitmaps, which have no statement."""
    return {**STRATEGIES, BITMAP.name: BITMAP}


def approach_named(name: str) -> Approach:
    """Return the approach called `name`; raise InvalidInput naming the nearest one."""
    known = approaches()
    if name not in known:
        hint = f"{nearest(name, list(known))}Known: {', '.join(known)}."
        raise InvalidInput(f"There is no strategy {name!r}.", hint=hint, field="strategy")
    return known[name]


def strategy_named(name: str) -> Strategy:
    """Return the strategy called `name`; raise InvalidInput naming the nearest one, or where it has no statement."""
    approach_named(name)
    if name not in STRATEGIES:
        raise InvalidInput(f"{name} has no statement of its own.", hint=f"Name one of: {', '.join(STRATEGIES)}.")
    return STRATEGIES[name]


__all__ = [
    "BITMAP", "STRATEGIES", "Approach", "Narrowing", "Strategy", "approach_named", "approaches", "strategy_named",
]  # fmt: skip
