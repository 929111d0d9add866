"""Seed with the items of the rarest tag, or of the two rarest, and look only those up for the other tags."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import CTE

from genonaut_lib.db.schema import content_tags
from genonaut_lib.gallery.clauses import LINK, Shape, links
from genonaut_lib.gallery.strategies.base import Narrowing, needs_groups
from genonaut_lib.gallery.strategies.postings import complete, intersection, postings, wanted
from genonaut_lib.vocabulary import ContentSource


@dataclass(frozen=True)
class TwoPhase:
    """Best where one tag is rare, or two seldom meet, and the others are common.

    `seeds` is how many groups make the seed, one or two. The seed is never cut short, whatever its
    size: an item left out of it would be missing from the answer.
    """

    name: str
    seeds: int
    stale: bool = False

    def fits(self, shape: Shape) -> str | None:
        """It needs as many groups as make the seed; see Strategy."""
        return needs_groups(shape, self.seeds)

    def narrow(self, shape: Shape, source: ContentSource) -> Narrowing:
        """Return those of the seed whose rows cover every other group; see Strategy."""
        seed, seeds = self._seed(shape, source), min(self.seeds, shape.singles + shape.families)
        if seeds == shape.singles + shape.families:
            return Narrowing(matched=seed)
        rows = (
            links(source)
            .select_from(seed.join(content_tags, LINK.content_id == seed.c.content_id))
            .where(wanted(shape, seeds))
            .group_by(LINK.content_id)
            .having(complete(shape, seeds))
        )
        return Narrowing(matched=rows.subquery("matched"))

    def _seed(self, shape: Shape, source: ContentSource) -> CTE:
        rows = intersection(postings(shape, source)[: self.seeds])
        return rows.cte(f"seed_{source.junction}").prefix_with("MATERIALIZED")


SINGLE = TwoPhase("two_phase_single", 1)
DUAL = TwoPhase("two_phase_dual", 2)
