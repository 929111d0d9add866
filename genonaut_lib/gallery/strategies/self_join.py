"""Join the junction with itself, once for each tag, then fetch and sort the items that are left."""

from __future__ import annotations

from genonaut_lib.gallery.clauses import Shape
from genonaut_lib.gallery.strategies.base import Narrowing, needs_groups
from genonaut_lib.gallery.strategies.postings import intersection, postings
from genonaut_lib.vocabulary import ContentSource


class SelfJoin:
    """Best where few items carry all tags, and PostgreSQL's own statistics find how to join them."""

    name = "self_join"
    stale = False

    def fits(self, shape: Shape) -> str | None:
        """It needs tags; see Strategy."""
        return needs_groups(shape)

    def narrow(self, shape: Shape, source: ContentSource) -> Narrowing:
        """Return the intersection of the tags' postings; see Strategy."""
        return Narrowing(matched=intersection(postings(shape, source)).subquery("matched"))
