"""Read the postings of all tags, count by item, keep the items that have them all; then fetch and sort those."""

from __future__ import annotations

from genonaut_lib.gallery.clauses import LINK, Shape, links
from genonaut_lib.gallery.strategies.base import Narrowing, needs_groups
from genonaut_lib.gallery.strategies.postings import complete, wanted
from genonaut_lib.vocabulary import ContentSource


class GroupHaving:
    """Best where several tags are all rare: each posting is read once, in one pass."""

    name = "group_having"
    stale = False

    def fits(self, shape: Shape) -> str | None:
        """It needs tags; see Strategy."""
        return needs_groups(shape)

    def narrow(self, shape: Shape, source: ContentSource) -> Narrowing:
        """Return the items whose rows cover every group; see Strategy."""
        rows = links(source).where(wanted(shape)).group_by(LINK.content_id).having(complete(shape))
        return Narrowing(matched=rows.subquery("matched"))
