"""The statement shapes that answer a `GalleryQuery`.

One so far. Every statement reads the partitioned parent source by source, so that the partition,
the tag's source and the keyset index are constants of each branch, and merges the branches last.

A statement depends on the *shape* of a query only; it is built and compiled once a shape, and the
values of a query are bound to it by name.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Protocol

from sqlalchemy import (
    ColumnElement,
    Select,
    and_,
    any_,
    bindparam,
    false,
    literal_column,
    or_,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import DateTime, Integer, Uuid

from genonaut_lib.db.schema import content_items_all, content_tags, users
from genonaut_lib.gallery.query import Creators, GalleryQuery, Scope, TagMatch
from genonaut_lib.vocabulary import ContentSource

ITEM = content_items_all.c
COLUMNS = tuple(
    ITEM[name]
    for name in (
        "id", "source_type", "created_at", "updated_at", "title", "content_type", "creator_id", "quality_score",
        "is_private", "path_thumb", "path_thumbs_alt_res", "prompt", "item_metadata", "tags",
    )
)  # fmt: skip


@dataclass(frozen=True)
class Shape:
    """What of a query decides its statement; two queries of one shape differ in bound values only.

    `tags` counts the tag conditions: one for ANY, one a tag for ALL. `after` is the source of the
    row the page starts after, None for a first page.
    """

    scope: Scope
    has_viewer: bool
    match: TagMatch
    tags: int
    after: ContentSource | None

    @property
    def sources(self) -> tuple[ContentSource, ...]:
        """The sources that are read."""
        return tuple(source for source in ContentSource if self.scope.of(source) is not Creators.NOBODY)


def shape_of(query: GalleryQuery) -> Shape:
    """Return the shape of a query."""
    conditions = len(query.tags) if query.match is TagMatch.ALL else min(len(query.tags), 1)
    after = query.after.source if query.after else None
    return Shape(query.scope, query.viewer is not None, query.match, conditions, after)


def values_of(query: GalleryQuery) -> dict[str, Any]:
    """Return the values a statement of the query's shape binds, by name."""
    values: dict[str, Any] = {"viewer": query.viewer, "rows": query.page_size + 1}
    if query.match is TagMatch.ALL:
        values |= {f"tag_{place}": tag for place, tag in enumerate(query.tags)}
    else:
        values["tags"] = list(query.tags)
    if query.after is not None:
        values |= {"after_created_at": query.after.created_at, "after_id": query.after.id}
    return values


class Strategy(Protocol):
    """A statement shape: its name, and the statement for queries that read at least one source."""

    name: str

    def statement(self, shape: Shape) -> Select[Any]:
        """Return the statement; its rows are the page's and one more, when there is a next page."""


class TimeWalk:
    """Walk the newest items and probe the junction for the tags of each.

    The tag conditions are semi-joins, so PostgreSQL may turn the walk round and start from the
    junction where its statistics say that a tag is rare.
    """

    name = "time_walk"

    def statement(self, shape: Shape) -> Select[Any]:
        """Return the merged branches; see Strategy."""
        branches = [select(self._branch(shape, source).subquery()) for source in shape.sources]
        rows = union_all(*branches).subquery("page")
        newest = (rows.c.created_at.desc(), rows.c.source_type.desc(), rows.c.id.desc())
        return (
            select(*rows.c, users.c.username.label("creator_username"))
            .join_from(rows, users, users.c.id == rows.c.creator_id)
            .order_by(*newest)
            .limit(bindparam("rows", type_=Integer))
        )

    def _branch(self, shape: Shape, source: ContentSource) -> Select[Any]:
        return (
            select(*COLUMNS)
            .where(ITEM.source_type == _word(source.partition))
            .where(*visible(shape), *created_by(shape, source), *tagged(shape, source), *below(shape, source))
            .order_by(ITEM.created_at.desc(), ITEM.id.desc())
            .limit(bindparam("rows", type_=Integer))
        )


STRATEGIES: dict[str, Strategy] = {strategy.name: strategy for strategy in (TimeWalk(),)}


def visible(shape: Shape) -> list[ColumnElement[bool]]:
    """Return the privacy clause: public items, and the viewer's own."""
    public = ITEM.is_private == false()
    return [or_(public, ITEM.creator_id == _viewer()) if shape.has_viewer else public]


def created_by(shape: Shape, source: ContentSource) -> list[ColumnElement[bool]]:
    """Return the creator clause of a source: none at all where everybody's items are wanted."""
    creators = shape.scope.of(source)
    if creators is Creators.MINE:
        return [ITEM.creator_id == _viewer()]
    return [ITEM.creator_id != _viewer()] if creators is Creators.COMMUNITY else []


def tagged(shape: Shape, source: ContentSource) -> list[ColumnElement[bool]]:
    """Return the tag clauses: one semi-join a tag for ALL, a single one for ANY."""
    tag = content_tags.c.tag_id
    if shape.match is TagMatch.ALL:
        wanted = [bindparam(f"tag_{place}", type_=Uuid) for place in range(shape.tags)]
        return [_carries(source, tag == one) for one in wanted]
    return [_carries(source, tag == any_(bindparam("tags", type_=ARRAY(Uuid))))] if shape.tags else []


def below(shape: Shape, source: ContentSource) -> list[ColumnElement[bool]]:
    """Return the keyset clause of a source: rows after the given one by (created_at, source, id) downwards."""
    if shape.after is None:
        return []
    created_at = bindparam("after_created_at", type_=DateTime(timezone=True))
    if source is shape.after:
        return [tuple_(ITEM.created_at, ITEM.id) < tuple_(created_at, bindparam("after_id", type_=Integer))]
    # At equal dates the page lists the greater partition key first.
    return [ITEM.created_at <= created_at if source.partition < shape.after.partition else ITEM.created_at < created_at]


def _carries(source: ContentSource, tag_clause: ColumnElement[bool]) -> ColumnElement[bool]:
    link = content_tags.c
    same_item = and_(link.content_id == ITEM.id, link.content_source == _word(source.junction))
    return select(1).select_from(content_tags).where(same_item, tag_clause).exists()


def _viewer() -> ColumnElement[Any]:
    return bindparam("viewer", type_=Uuid)


def _word(word: str) -> ColumnElement[str]:
    """A spelling of ContentSource as a constant of the statement: the planner prunes by it."""
    return literal_column(f"'{word}'")
