"""Read `unified_content_with_tags`: both sources with their tags as arrays, as they were when it was refreshed."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, column, literal_column, select, table
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Uuid

from genonaut_lib.db.schema import content_items_all
from genonaut_lib.gallery.clauses import ITEM, Shape, family_value, fenced, single_values, visible, word
from genonaut_lib.gallery.strategies.base import Narrowing, needs_groups
from genonaut_lib.gallery.view import NAME
from genonaut_lib.vocabulary import ContentSource

VIEW = table(NAME, *(column(c.name, c.type) for c in content_items_all.columns if c.name not in {"tags", "content_data"}),
             column("tags", ARRAY(Uuid)))  # fmt: skip


class MaterializedView:
    """Best where an answer may be some minutes old and the tags are many: one index finds their items.

    Tags, sort values and what the page shows are as old as the view. Privacy and exclusion are not: what
    was made private or deleted since, or was given an excluded tag, is not shown.
    """

    name = "materialized_view"
    stale = True

    def fits(self, shape: Shape) -> str | None:
        """It needs tags; see Strategy."""
        return needs_groups(shape)

    def narrow(self, shape: Shape, source: ContentSource) -> Narrowing:
        """Return the clauses on the view's arrays; see Strategy."""
        return Narrowing(clauses=(*_carries(shape), _still_visible(shape, source)), walks=True, items=VIEW)


def _carries(shape: Shape) -> list[ColumnElement[bool]]:
    tags: Any = VIEW.c.tags
    singles = [tags.op("@>")(single_values())] if shape.singles else []
    return singles + [tags.op("&&")(family_value(place)) for place in range(shape.families)]


def _still_visible(shape: Shape, source: ContentSource) -> ColumnElement[bool]:
    """Return the clause that the item is there, and public or the viewer's own, at this moment."""
    same_item = ITEM.source_type == word(source.partition), VIEW.c.id == ITEM.id
    rows = select(literal_column("1")).select_from(content_items_all).where(*same_item, *visible(shape))
    return fenced(rows).correlate(VIEW).exists()
