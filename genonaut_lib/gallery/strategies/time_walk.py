"""Walk the items in page order and look each one's tags up, until the page is full."""

from __future__ import annotations

from genonaut_lib.gallery.clauses import Shape, carries, groups_of
from genonaut_lib.gallery.strategies.base import Narrowing
from genonaut_lib.vocabulary import ContentSource


class TimeWalk:
    """Best where the wanted items are many: the page is full after a few steps."""

    name = "time_walk"
    stale = False

    def fits(self, shape: Shape) -> str | None:
        """It answers every shape, and is the only one without tags; see Strategy."""
        return None

    def narrow(self, shape: Shape, source: ContentSource) -> Narrowing:
        """Return one look into the junction for each group; see Strategy."""
        return Narrowing(clauses=tuple(carries(source, one, probed=True) for one in groups_of(shape)), walks=True)
