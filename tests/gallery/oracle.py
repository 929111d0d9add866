"""The gallery's answers by brute force: set logic in Python over rows that one plain query reads.

Nothing here is shared with the statements under test but the value types. The two things only the
database can say are read from it: the tags of an item, from the junction, and how titles compare.
"""

from __future__ import annotations

import math
import re
import uuid
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

from psycopg.rows import class_row

from genonaut_lib.db.engine import Connection
from genonaut_lib.gallery.order import Position, SortField, SortValue
from genonaut_lib.gallery.query import Creators, GalleryQuery, TagMatch
from genonaut_lib.vocabulary import ContentSource

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
PARTITIONS = {ContentSource.AUTO: 0, ContentSource.REGULAR: 1}
"""Sources compare by their partition keys, `auto` and `items`."""

ROWS = """
    with tagged as (
        select content_source, content_id, array_agg(tag_id) as tags from content_tags group by 1, 2
    ), item as (
        select 'regular' as source, i.* from content_items i union all select 'auto', a.* from content_items_auto a
    )
    select i.source, i.id, i.title, i.prompt, i.created_at, i.updated_at, i.quality_score, i.creator_id, u.username,
           i.is_private, coalesce(t.tags, '{}') as tags
    from item i join users u on u.id = i.creator_id
    left join tagged t on t.content_source = i.source and t.content_id = i.id
    order by i.source, i.id
"""
TITLES = """
    select title, dense_rank() over (order by title)
    from (select title from content_items union all select title from content_items_auto
          union all select unnest(%s::varchar[])) given
"""


@dataclass(frozen=True)
class Row:
    """An item as it lies in the tables."""

    source: str
    id: int
    title: str
    prompt: str
    created_at: datetime
    updated_at: datetime
    quality_score: float | None
    creator_id: uuid.UUID
    username: str
    is_private: bool
    tags: list[uuid.UUID]

    @property
    def key(self) -> str:
        return f"{self.source}/{self.id}"

    def position(self, field: SortField) -> Position:
        value: SortValue = getattr(self, field.value)
        return Position(value, ContentSource.from_junction(self.source), self.id)


@dataclass(frozen=True)
class Expected:
    """A page as it must be: its rows, and whether there are more in the direction it is read."""

    rows: list[Row]
    more: bool

    @property
    def keys(self) -> list[str]:
        return [row.key for row in self.rows]


@dataclass(frozen=True)
class Oracle:
    """Every row of a gallery, and the rank of every title that may be asked for."""

    rows: list[Row]
    titles: Mapping[str, int]

    def found(self, query: GalleryQuery) -> list[Row]:
        """Return every row the query means, all its pages in one."""
        key = self._key(query)
        rows = [row for row in self.rows if wanted(row, query)]
        return sorted(rows, key=lambda row: key(row.position(query.sort.field)))

    def page(self, query: GalleryQuery) -> Expected:
        """Return the page the query asks for."""
        key, rows, size = self._key(query), self.found(query), query.page_size
        if query.after is not None:
            rows = [row for row in rows if key(row.position(query.sort.field)) > key(query.after)]
        if query.before is not None:
            rows = [row for row in rows if key(row.position(query.sort.field)) < key(query.before)]
            return Expected(rows[-size:], len(rows) > size)
        rows = rows[(query.page - 1) * size :]
        return Expected(rows[:size], len(rows) > size)

    def counts(self, query: GalleryQuery) -> dict[str, int]:
        """Return the number of rows of each source that is read, by partition key."""
        sources = [row.source for row in self.rows if wanted(row, query)]
        return {source.partition: sources.count(source.junction) for source in query.sources}

    def _key(self, query: GalleryQuery) -> Callable[[Position], tuple[Any, ...]]:
        """Return what positions compare by in page order."""
        turn, field = (-1 if query.sort.descending else 1), query.sort.field

        def key(position: Position) -> tuple[Any, ...]:
            place = turn * PARTITIONS[position.source], turn * position.id
            if position.value is None:
                return 1, 0, 0, *place
            nan, number = self._number(field, position.value)
            return 0, turn * nan, turn * number, *place

        return key

    def _number(self, field: SortField, value: Any) -> tuple[bool, float]:
        """Return a value as a number that sorts like it; PostgreSQL takes NaN for the greatest of all."""
        if field is SortField.TITLE:
            return False, self.titles[value]
        if isinstance(value, datetime):
            return False, (value - EPOCH) // timedelta(microseconds=1)
        nan = math.isnan(value)
        return nan, 0 if nan else value


def read(connection: Connection, titles: Iterable[str] = ()) -> Oracle:
    """Read a gallery; `titles` are others that positions may name."""
    with connection.cursor(row_factory=class_row(Row)) as cursor:
        rows = cursor.execute(ROWS).fetchall()
    return Oracle(rows, dict(connection.execute(TITLES, [list(titles)]).fetchall()))


def wanted(row: Row, query: GalleryQuery) -> bool:
    """Return whether a filter means a row."""
    mine = row.creator_id == query.viewer
    by_creator = {
        Creators.MINE: mine, Creators.COMMUNITY: not mine, Creators.EVERYBODY: True, Creators.NOBODY: False,
    }[query.scope.of(ContentSource.from_junction(row.source))]  # fmt: skip
    tags = set(row.tags)
    return (
        by_creator
        and (mine or not row.is_private)
        and carries(tags, query)
        and not tags & set(query.exclude)
        and says(f"{row.title} {row.prompt}", query.search)
    )


def carries(tags: set[uuid.UUID], query: GalleryQuery) -> bool:
    """Return whether tags are any or all of a query's; a family counts as carried by any of its tags."""
    if not query.tags and not query.families:
        return True
    found = [tag in tags for tag in query.tags] + [bool(tags & set(family)) for family in query.families]
    return (all if query.match is TagMatch.ALL else any)(found)


def says(text: str, search: str) -> bool:
    """Return whether a text has every word and phrase of a search, and none of those it excludes."""
    if not search:
        return True
    spoken, terms = words(text), terms_of(search)
    return bool(terms) and all(has_phrase(spoken, phrase) is not unwanted for unwanted, phrase in terms)


def words(text: str) -> list[str]:
    return re.findall(r"[^\W_]+", text.lower())


def terms_of(search: str) -> list[tuple[bool, list[str]]]:
    """Return (excluded, words) of each word and quoted phrase; what has no letter or digit is no term."""
    found = re.findall(r'(-?)(?:"([^"]*)"|([^\s"]+))', search)
    terms = [(bool(sign), words(phrase or word)) for sign, phrase, word in found]
    return [term for term in terms if term[1]]


def has_phrase(spoken: list[str], phrase: list[str]) -> bool:
    return any(spoken[place : place + len(phrase)] == phrase for place in range(len(spoken)))
