"""The statement shapes that answer a `GalleryQuery`: one file each, and this register of them."""

from genonaut_lib.gallery.strategies.base import Narrowing, Strategy
from genonaut_lib.gallery.strategies.self_join import SelfJoin
from genonaut_lib.gallery.strategies.time_walk import TimeWalk

STRATEGIES: dict[str, Strategy] = {strategy.name: strategy for strategy in (TimeWalk(), SelfJoin())}

__all__ = ["STRATEGIES", "Narrowing", "Strategy"]
