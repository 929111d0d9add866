"""The statement shapes that answer a `GalleryQuery`.

One so far. Every statement reads the partitioned parent source by source, so that the partition,
the tag's source and the keyset index are constants of each branch, and merges the branches last.
"""

from __future__ import annotations

from typing import Any, Protocol

from sqlalchemy import (
    ColumnElement,
    CompoundSelect,
    Select,
    and_,
    any_,
    bindparam,
    false,
    literal,
    or_,
    select,
    tuple_,
    union_all,
)
from sqlalchemy.dialects.postgresql import ARRAY
from sqlalchemy.types import Text, Uuid

from genonaut_lib.db.schema import content_items_all, content_tags, users
from genonaut_lib.gallery.query import Creators, GalleryQuery, Position, TagMatch
from genonaut_lib.vocabulary import ContentSource

ITEM = content_items_all.c
COLUMNS = tuple(
    ITEM[name]
    for name in (
        "id", "source_type", "created_at", "updated_at", "title", "content_type", "creator_id", "quality_score",
        "is_private", "path_thumb", "path_thumbs_alt_res", "prompt", "item_metadata", "tags",
    )
)  # fmt: skip


class Strategy(Protocol):
    """A statement shape: its name, and the statement for a query that reads at least one source."""

    name: str

    def statement(self, query: GalleryQuery) -> Select[Any]:
        """Return the statement; its rows are the page's and one more, when there is a next page."""


class TimeWalk:
    """Walk the newest items and probe the junction for the tags of each.

    The tag conditions are semi-joins, so PostgreSQL may turn the walk round and start from the
    junction where its statistics say that a tag is rare.
    """

    name = "time_walk"

    def statement(self, query: GalleryQuery) -> Select[Any]:
        """Return the merged branches; see Strategy."""
        branches = [self._branch(query, source) for source in query.sources]
        merged: CompoundSelect[Any] = union_all(*(select(branch.subquery()) for branch in branches))
        rows = merged.subquery("page")
        newest = (rows.c.created_at.desc(), rows.c.source_type.desc(), rows.c.id.desc())
        return (
            select(*rows.c, users.c.username.label("creator_username"))
            .join_from(rows, users, users.c.id == rows.c.creator_id)
            .order_by(*newest)
            .limit(query.page_size + 1)
        )

    def _branch(self, query: GalleryQuery, source: ContentSource) -> Select[Any]:
        return (
            select(*COLUMNS)
            .where(ITEM.source_type == literal(source.partition, Text))
            .where(*visible(query), *created_by(query, source), *tagged(query, source), *below(query.after, source))
            .order_by(ITEM.created_at.desc(), ITEM.id.desc())
            .limit(query.page_size + 1)
        )


STRATEGIES: dict[str, Strategy] = {strategy.name: strategy for strategy in (TimeWalk(),)}


def visible(query: GalleryQuery) -> list[ColumnElement[bool]]:
    """Return the privacy clause: public items, and the viewer's own."""
    public = ITEM.is_private == false()
    return [public if query.viewer is None else or_(public, ITEM.creator_id == query.viewer)]


def created_by(query: GalleryQuery, source: ContentSource) -> list[ColumnElement[bool]]:
    """Return the creator clause of a source: none at all where everybody's items are wanted."""
    creators = query.scope.of(source)
    if creators is Creators.MINE:
        return [ITEM.creator_id == query.viewer]
    return [ITEM.creator_id != query.viewer] if creators is Creators.COMMUNITY else []


def tagged(query: GalleryQuery, source: ContentSource) -> list[ColumnElement[bool]]:
    """Return the tag clauses: one semi-join a tag for ALL, a single one for ANY."""
    if not query.tags:
        return []
    tag = content_tags.c.tag_id
    if query.match is TagMatch.ALL:
        return [_carries(source, tag == wanted) for wanted in query.tags]
    return [_carries(source, tag == any_(bindparam(None, list(query.tags), ARRAY(Uuid))))]


def below(after: Position | None, source: ContentSource) -> list[ColumnElement[bool]]:
    """Return the keyset clause of a source: rows after `after` by (created_at, source, id) downwards."""
    if after is None:
        return []
    if source is after.source:
        return [tuple_(ITEM.created_at, ITEM.id) < tuple_(literal(after.created_at), literal(after.id))]
    # At equal dates the page lists the greater partition key first.
    if source.partition < after.source.partition:
        return [ITEM.created_at <= after.created_at]
    return [ITEM.created_at < after.created_at]


def _carries(source: ContentSource, tag_clause: ColumnElement[bool]) -> ColumnElement[bool]:
    link = content_tags.c
    same_item = and_(link.content_id == ITEM.id, link.content_source == source.junction)
    return select(1).select_from(content_tags).where(same_item, tag_clause).exists()
