"""The statement shapes that answer a `GalleryQuery`: one file each, and this register of them."""

from genonaut_lib.errors import InvalidInput
from genonaut_lib.gallery.strategies.base import Narrowing, Strategy
from genonaut_lib.gallery.strategies.group_having import GroupHaving
from genonaut_lib.gallery.strategies.materialized_view import MaterializedView
from genonaut_lib.gallery.strategies.self_join import SelfJoin
from genonaut_lib.gallery.strategies.time_walk import TimeWalk
from genonaut_lib.gallery.strategies.two_phase import DUAL, SINGLE
from genonaut_lib.settings import nearest

STRATEGIES: dict[str, Strategy] = {
    strategy.name: strategy
    for strategy in (TimeWalk(), SelfJoin(), GroupHaving(), SINGLE, DUAL, MaterializedView())
}



def strategy_named(name: str) -> Strategy:
    """Return the strategy called `name`; raise InvalidInput naming the nearest one."""
    if name not in STRATEGIES:
        raise InvalidInput(
            f"There is no strategy {name!r}.",
            hint=f"{nearest(name, list(STRATEGIES))}Known: {', '.join(STRATEGIES)}.",
        )
    return STRATEGIES[name]


__all__ = ["STRATEGIES", "Narrowing", "Strategy", "strategy_named"]
