"""Seed with the items of the rarest tag, or of the two rarest, and look only those up for the other tags."""

from __future__ import annotations

from dataclasses import dataclass

from sqlalchemy import CTE, ColumnElement, true

from genonaut_lib.db.schema import content_tags
from genonaut_lib.gallery.clauses import LINK, Shape, links
from genonaut_lib.gallery.strategies.base import Narrowing, needs_groups
from genonaut_lib.gallery.strategies.postings import complete, intersection, postings, wanted
from genonaut_lib.vocabulary import ContentSource

PROBED = 5
"""Up to so many further tags are looked up one by one for each candidate, 1 to 2 us each. For more, all tags of
the candidate are read at once, 75 of them in some 6 us (see docs/strategies.md)."""


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
            .where(_looked_up(shape, seeds))
            .group_by(LINK.content_id)
            .having(complete(shape, seeds))
        )
        return Narrowing(matched=rows.subquery("matched"))

    def _seed(self, shape: Shape, source: ContentSource) -> CTE:
        rows = intersection(postings(shape, source)[: self.seeds])
        return rows.cte(f"seed_{source.junction}").prefix_with("MATERIALIZED")


def _looked_up(shape: Shape, seeds: int) -> ColumnElement[bool]:
    """Return the clause for the rows of the other groups; IS TRUE keeps an index from being searched by tag.

    How many tags a family has is not known beforehand, so it counts as many.
    """
    clause, further = wanted(shape, seeds), shape.singles + shape.families - seeds
    return clause.is_(true()) if shape.families or further > PROBED else clause


SINGLE = TwoPhase("two_phase_single", 1)
DUAL = TwoPhase("two_phase_dual", 2)
