"""Tags to look at: lists of them, the popular ones, one by its id or name, and their hierarchy."""

from __future__ import annotations

import functools
import uuid

from sqlalchemy import ColumnElement, bindparam, literal_column, select, union_all
from sqlalchemy.types import BigInteger, Integer, String, Uuid

from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.db.schema import tag_aliases, tags
from genonaut_lib.errors import InvalidInput
from genonaut_lib.gallery.compiling import text_of
from genonaut_lib.gallery.tag_listing import (
    MOST_TAGS,
    TagListing,
    TagPage,
    TagPlace,
    TagSearch,
    TagSort,
    listing_text,
    listing_values,
    page_of,
    total_text,
)
from genonaut_lib.gallery.tag_rows import BY_NAME, Tag, TagCount, count_of, fetched, storable, tag_of, tag_rows
from genonaut_lib.gallery.tag_tree import (
    Edge,
    Hierarchy,
    Relative,
    ancestors,
    children,
    descendants,
    hierarchy,
    parents,
    roots,
)
from genonaut_lib.vocabulary import ContentSource, canonical_tag_name


async def list_tags(connection: AsyncConnection, listing: TagListing) -> TagPage:
    """Return one page of tags with their counts.

    Raises StatisticsMissing where the database has no table of statistics.
    """
    rows = await fetched(connection, listing_text(listing), listing_values(listing))
    return page_of(listing, [tag_of(row) for row in rows])


async def count_tags(connection: AsyncConnection, listing: TagListing) -> int:
    """Return how many tags the pages of a listing hold together, wherever its page lies.

    Raises StatisticsMissing where the database has no table of statistics.
    """
    rows = await fetched(connection, total_text(listing), listing_values(listing))
    return int(rows[0]["number"])


async def popular(
    connection: AsyncConnection,
    limit: int,
    source: ContentSource | None = None,
    min_cardinality: int = 0,
    *,
    min_shown: int = 0,
) -> tuple[Tag, ...]:
    """Return the tags that most items show, in a source or in both together; ties by name.

    Sorted by `display_count`, so that nobody's private items make a tag popular; `min_cardinality`
    bounds the number of all items, `min_shown` that of the items everybody may see, which is the one to
    hand to strangers. Tags whose counts are not known are left out. Raises InvalidInput for a limit out
    of range, StatisticsMissing where the database has no table of statistics.
    """
    if not 1 <= limit <= MOST_TAGS:
        raise InvalidInput(f"limit is {limit}, and must be from 1 to {MOST_TAGS}.", field="limit")
    values = {"least": min_cardinality, "least_shown": min_shown, "limit": limit}
    rows = await fetched(connection, _popular_text(source), values)
    return tuple(tag_of(row) for row in rows)


async def tag_by_id(connection: AsyncConnection, tag: uuid.UUID) -> Tag | None:
    """Return the tag with this id, None where there is none."""
    rows = await fetched(connection, _by_id_text(), {"tag": tag})
    return tag_of(rows[0]) if rows else None


async def tag_by_name(connection: AsyncConnection, text: str) -> Tag | None:
    """Return the tag that a text means, None where it means none.

    A canonical name goes before a slug, a slug before an alias, and an alias as it is written before
    its canonical form. Raises InvalidInput for a text that PostgreSQL cannot hold.
    """
    values = {"spelling": storable(text, "name"), "canonical": canonical_tag_name(text)}
    rows = await fetched(connection, _by_name_text(), values)
    return tag_of(rows[0]) if rows else None


@functools.cache
def _popular_text(source: ContentSource | None) -> bytes:
    shown = count_of(source, "display_count")
    enough = count_of(source, "cardinality") >= bindparam("least", type_=BigInteger)
    seen = shown >= bindparam("least_shown", type_=BigInteger)
    order = (shown.desc(), BY_NAME.asc())
    return text_of(tag_rows().where(enough, seen).order_by(*order).limit(bindparam("limit", type_=Integer)))


@functools.cache
def _by_id_text() -> bytes:
    return text_of(tag_rows().where(tags.c.id == bindparam("tag", type_=Uuid)))


@functools.cache
def _by_name_text() -> bytes:
    spelling, canonical = bindparam("spelling", type_=String), bindparam("canonical", type_=String)
    alias = tag_aliases.c
    meant = union_all(
        select(tags.c.id, _rank(1)).where(tags.c.name == canonical),
        select(tags.c.id, _rank(2)).where(tags.c.slug == canonical),
        select(alias.tag_id, _rank(3)).where(alias.spelling == spelling),
        select(alias.tag_id, _rank(4)).where(alias.spelling == canonical),
    ).subquery("meant")
    best = select(meant.c.id).order_by(meant.c.rank).limit(literal_column("1")).scalar_subquery()
    return text_of(tag_rows().where(tags.c.id == best))


def _rank(place: int) -> ColumnElement[int]:
    return literal_column(str(place), Integer).label("rank")


__all__ = [
    "MOST_TAGS", "Edge", "Hierarchy", "Relative", "Tag", "TagCount", "TagListing", "TagPage", "TagPlace", "TagSearch",
    "TagSort", "ancestors", "children", "count_tags", "descendants", "hierarchy", "list_tags", "parents", "popular",
    "roots", "tag_by_id", "tag_by_name",
]  # fmt: skip
