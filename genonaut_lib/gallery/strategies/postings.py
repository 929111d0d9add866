"""Pieces of statements over the junction that several strategies are made of."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from sqlalchemy import ColumnElement, Select, and_, any_, func, select

from genonaut_lib.gallery.clauses import LINK, Shape, family_value, fenced, groups_of, links, single_values
from genonaut_lib.vocabulary import ContentSource

AT_ONCE = 4
"""Postings joined under one fence. PostgreSQL tries every order of up to eight, a few milliseconds of planning
for each of the eights that twenty tags make; fours are planned in microseconds (see docs/strategies.md)."""


def postings(shape: Shape, source: ContentSource) -> list[Select[Any]]:
    """Return the content ids of each group, each id once, in the order the groups are bound."""
    rows = [links(source).where(clause) for clause in groups_of(shape)]
    return [one if place < shape.singles else one.distinct() for place, one in enumerate(rows)]


def intersection(parts: Sequence[Select[Any]]) -> Select[Any]:
    """Return the ids that all parts have; the first parts are joined first."""
    matched = parts[0]
    for first in range(1, len(parts), AT_ONCE - 1):
        matched = fenced(_joined([matched, *parts[first : first + AT_ONCE - 1]]))
    return matched


def _joined(parts: Sequence[Select[Any]]) -> Select[Any]:
    first, *others = [part.subquery() for part in parts]
    joined = select(first.c.content_id)
    for other in others:
        joined = joined.join(other, other.c.content_id == first.c.content_id)
    return joined


def wanted(shape: Shape, after: int = 0) -> ColumnElement[bool]:
    """Return the clause that a junction row is of any group but the first `after`; one array, one index scan."""
    singles, families = _rest(shape, after)
    arrays = [single_values(after)] * bool(singles) + [family_value(place) for place in families]
    tags = arrays[0]
    for array in arrays[1:]:
        tags = tags.op("||")(array)
    return LINK.tag_id == any_(tags)


def complete(shape: Shape, after: int = 0) -> ColumnElement[bool]:
    """Return the clause that the rows of one item cover every group but the first `after`.

    The junction's key holds a tag once an item, so that counting rows counts tags.
    """
    singles, families = _rest(shape, after)
    clauses = [func.bool_or(LINK.tag_id == any_(family_value(place))) for place in families]
    if singles:
        rows = func.count()
        counted = rows.filter(LINK.tag_id == any_(single_values(after))) if families else rows
        clauses.insert(0, counted == func.cardinality(single_values(after)))
    return and_(*clauses)


def _rest(shape: Shape, after: int) -> tuple[int, range]:
    """Return how many groups of one are left without the first groups, and which families."""
    return max(0, shape.singles - after), range(max(0, after - shape.singles), shape.families)
