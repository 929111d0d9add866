"""Join the junction with itself, once for each tag, then fetch and sort the items that are left."""

from __future__ import annotations

from typing import Any

from sqlalchemy import Select, any_, select

from genonaut_lib.db.schema import content_tags
from genonaut_lib.gallery.clauses import Shape, family_value, tag_value, word
from genonaut_lib.gallery.strategies.base import Narrowing
from genonaut_lib.vocabulary import ContentSource


class SelfJoin:
    """Best where few items carry all tags, and PostgreSQL's own statistics find the order of the joins."""

    name = "self_join"

    def narrow(self, shape: Shape, source: ContentSource) -> Narrowing:
        """Return the intersection of the tags' postings; see Strategy."""
        postings = [self._posting(shape, source, place).subquery(f"p{place}") for place in range(_groups(shape))]
        joined = postings[0]
        matched = select(joined.c.content_id)
        for other in postings[1:]:
            matched = matched.join(other, other.c.content_id == joined.c.content_id)
        return Narrowing(matched=matched.subquery("matched"))

    def _posting(self, shape: Shape, source: ContentSource, place: int) -> Select[Any]:
        link = content_tags.alias(f"c{place}").c
        rows = select(link.content_id).where(link.content_source == word(source.junction))
        if place < shape.singles:
            return rows.where(link.tag_id == tag_value(place))
        return rows.where(link.tag_id == any_(family_value(place - shape.singles))).distinct()


def _groups(shape: Shape) -> int:
    return shape.singles + shape.families
