"""A list of tags: what it is sorted by, searched for and bounded by, and its statement."""

from __future__ import annotations

import enum
import functools
import re
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, UnaryExpression, and_, bindparam, func, or_, select
from sqlalchemy.types import BigInteger, Integer, String

from genonaut_lib.db.schema import tags
from genonaut_lib.errors import InvalidInput
from genonaut_lib.gallery.compiling import text_of
from genonaut_lib.gallery.query import MAX_REACH
from genonaut_lib.gallery.tag_rows import BY_NAME, Tag, count_of, storable, tag_rows
from genonaut_lib.vocabulary import ContentSource, canonical_tag_name

MOST_TAGS = 1_000
"""The largest page of tags."""

_NO_LETTER = r"\x01-\x2f\x3a-\x40\x5b-\x60\x7b-\x7f"
"""ASCII that is neither letter nor digit. Named by number: what [:alnum:] means depends on the database."""


class TagSort(enum.StrEnum):
    """What a list of tags may be sorted by."""

    NAME = "name"
    LABEL = "label"
    COUNT = "count"
    CREATED_AT = "created_at"


class TagSearch(enum.StrEnum):
    """Where a searched text stands in a name: anywhere as a whole word, or at its beginning."""

    WORD = "word"
    PREFIX = "prefix"


@dataclass(frozen=True)
class TagPlace:
    """The place of a tag in a list: its sort value, None where it has none, and its name."""

    value: str | int | datetime | None
    name: str


@dataclass(frozen=True)
class TagListing:
    """One page of a list of tags.

    `count`, as a sort and as a bound, is the `display_count` of `source`, or of both sources together;
    a tag whose count is not known fits no bound. Ties are sorted by name, from a to z in either
    direction; names and labels are compared by code point, and unknown counts come last. `search` is
    compared with the canonical name; `%` and `_` in it mean themselves. The page starts after
    `after`, or is number `page` (from 1).

    Raises InvalidInput for a page size or number out of range, for two ways to say where the page
    lies, for a place without the sort value that only counts may lack, and for a search that no
    tag can hold.
    """

    sort: TagSort = TagSort.NAME
    descending: bool = False
    source: ContentSource | None = None
    search: str = ""
    search_by: TagSearch = TagSearch.WORD
    min_count: int | None = None
    max_count: int | None = None
    page_size: int = 50
    page: int = 1
    after: TagPlace | None = None

    def __post_init__(self) -> None:
        object.__setattr__(self, "search", canonical_tag_name(storable(self.search, "search")))
        if not 1 <= self.page_size <= MOST_TAGS:
            problem = f"page_size is {self.page_size}, and must be from 1 to {MOST_TAGS}."
            raise InvalidInput(problem, field="page_size")
        last = MAX_REACH // self.page_size
        if not 1 <= self.page <= last:
            problem = f"page is {self.page}; pages count from 1, those of {self.page_size} tags to {last}."
            raise InvalidInput(problem, field="page")
        if self.page > 1 and self.after is not None:
            raise InvalidInput("A page of tags lies after a place or has a number: give one of the two.")
        if self.after is not None and self.after.value is None and self.sort is not TagSort.COUNT:
            raise InvalidInput(f"Every tag has a {self.sort}; a place without one lies nowhere.")


@dataclass(frozen=True)
class TagPage:
    """The tags of a page, and where the next one starts after; None where there is none."""

    tags: tuple[Tag, ...] = ()
    next_place: TagPlace | None = None


@dataclass(frozen=True)
class _Shape:
    """What of a listing decides its statement."""

    sort: TagSort
    descending: bool
    source: ContentSource | None
    search_by: TagSearch | None
    has_min: bool
    has_max: bool
    has_place: bool
    from_null: bool


def listing_text(listing: TagListing) -> bytes:
    """Return the text of a listing's statement; it yields one row more than the page if there are more."""
    return _text(_shape_of(listing))


def total_text(listing: TagListing) -> bytes:
    """Return the text of the statement that counts the tags of all pages, as `number`; it binds the same values."""
    return _total_text(_shape_of(replace(listing, sort=TagSort.NAME, descending=False, page=1, after=None)))


def listing_values(listing: TagListing) -> dict[str, Any]:
    """Return the values that a listing's statement binds, by name."""
    return {
        "rows": listing.page_size + 1,
        "offset": (listing.page - 1) * listing.page_size,
        "prefix": listing.search,
        "word": _as_word(listing.search),
        "min_count": listing.min_count,
        "max_count": listing.max_count,
        "from_value": listing.after.value if listing.after else None,
        "from_name": listing.after.name if listing.after else None,
    }


def page_of(listing: TagListing, found: list[Tag]) -> TagPage:
    """Return the page that the tags of a listing's statement make."""
    shown = tuple(found[: listing.page_size])
    return TagPage(shown, _place_of(listing, shown[-1]) if len(found) > listing.page_size else None)


def _shape_of(listing: TagListing) -> _Shape:
    place = listing.after
    return _Shape(
        sort=listing.sort,
        descending=listing.descending,
        source=listing.source,
        search_by=listing.search_by if listing.search else None,
        has_min=listing.min_count is not None,
        has_max=listing.max_count is not None,
        has_place=place is not None,
        from_null=place is not None and place.value is None,
    )


@functools.cache
def _text(shape: _Shape) -> bytes:
    statement = tag_rows().where(*_searched(shape), *_bounded(shape), *_beyond(shape)).order_by(*_order(shape))
    rows, offset = bindparam("rows", type_=Integer), bindparam("offset", type_=Integer)
    return text_of(statement.limit(rows).offset(offset))


@functools.cache
def _total_text(shape: _Shape) -> bytes:
    held = tag_rows().where(*_searched(shape), *_bounded(shape)).subquery("held")
    return text_of(select(func.count().label("number")).select_from(held))


def _value(shape: _Shape) -> ColumnElement[Any]:
    if shape.sort is TagSort.COUNT:
        return count_of(shape.source, "display_count")
    found = tags.c[shape.sort.value]
    return found if shape.sort is TagSort.CREATED_AT else found.collate("C")


def _order(shape: _Shape) -> list[UnaryExpression[Any]]:
    value = _value(shape)
    first = (value.desc() if shape.descending else value.asc()).nulls_last()
    return [first] if shape.sort is TagSort.NAME else [first, BY_NAME.asc()]


def _beyond(shape: _Shape) -> list[ColumnElement[bool]]:
    """Return the keyset clause: tags that are listed after the place."""
    if not shape.has_place:
        return []
    value, later = _value(shape), BY_NAME.op(">", is_comparison=True)(bindparam("from_name", type_=String))
    if shape.from_null:
        return [and_(value.is_(None), later)]
    place = bindparam("from_value", type_=value.type)
    past = value < place if shape.descending else value > place
    if shape.sort is TagSort.NAME:
        return [past]
    return [or_(past, and_(value == place, later), value.is_(None))]


def _bounded(shape: _Shape) -> list[ColumnElement[bool]]:
    count = count_of(shape.source, "display_count")
    least = [count >= bindparam("min_count", type_=BigInteger)] if shape.has_min else []
    most = [count <= bindparam("max_count", type_=BigInteger)] if shape.has_max else []
    return [*least, *most]


def _searched(shape: _Shape) -> list[ColumnElement[bool]]:
    if shape.search_by is None:
        return []
    if shape.search_by is TagSearch.PREFIX:
        return [func.starts_with(tags.c.name, bindparam("prefix", type_=String))]
    return [tags.c.name.op("~", is_comparison=True)(bindparam("word", type_=String))]


def _as_word(text: str) -> str:
    """Return the regular expression of a text that no letter or digit runs on into, on either side."""
    before, after = (f"(?:{end}|[{_NO_LETTER}])" for end in "^$")
    return f"{before if _is_letter(text[:1]) else ''}{re.escape(text)}{after if _is_letter(text[-1:]) else ''}"


def _is_letter(one: str) -> bool:
    return one.isalnum() or not one.isascii()


def _place_of(listing: TagListing, tag: Tag) -> TagPlace:
    if listing.sort is TagSort.COUNT:
        count = tag.counts.get(listing.source) if listing.source else tag.total
        return TagPlace(None if count is None else count.display_count, tag.name)
    return TagPlace(getattr(tag, listing.sort.value), tag.name)
