"""A tag as a reader sees it: its names, and how many items carry it by the statistics."""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg.errors import UndefinedTable
from psycopg.rows import DictRow, dict_row
from sqlalchemy import ColumnElement, Select, and_, case, column, func, literal_column, or_, select, table
from sqlalchemy.types import BigInteger, DateTime, String, Uuid

from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.db.schema import tags
from genonaut_lib.errors import InvalidInput, StatisticsMissing
from genonaut_lib.vocabulary import ContentSource

STATISTICS = table(
    "tag_cardinality_stats",
    column("tag_id", Uuid),
    column("content_source", String),
    column("cardinality", BigInteger),
    column("display_count", BigInteger),
    column("updated_at", DateTime(timezone=True)),
)
BY_NAME = tags.c.name.collate("C")
"""The order of names: by code point, whatever the collation of the database."""

_OF = {source: STATISTICS.alias(f"{source.junction}_stats") for source in ContentSource}
_ZERO = literal_column("0", BigInteger)


@dataclass(frozen=True)
class TagCount:
    """How many items carry a tag: `cardinality` counts all, `display_count` those that everybody may see."""

    cardinality: int
    display_count: int


@dataclass(frozen=True)
class Tag:
    """A tag and how many items of each source carried it at `counted_at`.

    `counts` holds both sources, or neither where nothing is known: before the first refresh of the
    statistics, and for a tag that is younger than the latest one. `counted_at` is None then.
    """

    id: uuid.UUID
    name: str
    slug: str
    label: str
    created_at: datetime
    counts: Mapping[ContentSource, TagCount] = field(default_factory=dict)
    counted_at: datetime | None = None

    @property
    def total(self) -> TagCount | None:
        """How many items of both sources carry the tag; None where that is not known."""
        if not self.counts:
            return None
        counts = self.counts.values()
        return TagCount(sum(one.cardinality for one in counts), sum(one.display_count for one in counts))


def tag_rows(*more: ColumnElement[Any]) -> Select[Any]:
    """Return the statement of all tags with their counts, to be narrowed; `tag_of` reads its rows."""
    counts = [
        _count(source, name).label(_label(source, name))
        for source in ContentSource
        for name in ("cardinality", "display_count")
    ]
    names = (tags.c.id, tags.c.name, tags.c.slug, tags.c.label, tags.c.created_at)
    statement = select(*names, _counted_at().label("counted_at"), *counts, *more).select_from(tags)
    for source, found in _OF.items():
        same = and_(found.c.tag_id == tags.c.id, found.c.content_source == literal_column(f"'{source.junction}'"))
        statement = statement.outerjoin_from(tags, found, same)
    return statement


def count_of(source: ContentSource | None, name: str) -> ColumnElement[int]:
    """Return the count called `name` of a source, or of both together; null where it is not known."""
    if source is not None:
        return _count(source, name)
    return _count(ContentSource.REGULAR, name) + _count(ContentSource.AUTO, name)


def tag_of(row: DictRow) -> Tag:
    """Return the tag of a row of `tag_rows`."""
    counts = {source: _count_in(row, source) for source in ContentSource}
    known = {source: count for source, count in counts.items() if count is not None}
    names = (row["id"], row["name"], row["slug"], row["label"], row["created_at"])
    return Tag(*names, counts=known, counted_at=row["counted_at"])


async def fetched(connection: AsyncConnection, text: bytes, values: Mapping[str, Any]) -> Sequence[DictRow]:
    """Return the rows of a statement that reads the statistics.

    Raises StatisticsMissing where there is no table of them.
    """
    try:
        async with connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(text, values)
            return await cursor.fetchall()
    except UndefinedTable as error:
        if STATISTICS.name not in str(error):
            raise
        raise StatisticsMissing(hint="Run the notebook 50_refresh_tag_stats once.") from error


def storable(text: str, what: str) -> str:
    """Return a text that PostgreSQL can compare with; raise InvalidInput for one that it cannot even take."""
    if "\0" in text or any("\ud800" <= letter <= "\udfff" for letter in text):
        problem = f"The {what} holds a NUL character or half a surrogate pair, which no tag does."
        raise InvalidInput(problem, field=what)
    return text


def _count(source: ContentSource, name: str) -> ColumnElement[int]:
    """Nothing counted is zero where the statistics know of the tag at all."""
    return case((_known(), func.coalesce(_OF[source].c[name], _ZERO)))


def _known() -> ColumnElement[bool]:
    """Whether the tag was there when the statistics were made.

    A scan for their date is a matter of the last resort, and CASE puts it off until it is needed.
    """
    has_row = or_(*(found.c.tag_id.is_not(None) for found in _OF.values()))
    return case((has_row, literal_column("true")), else_=tags.c.created_at <= _refreshed_at())


def _counted_at() -> ColumnElement[datetime]:
    dates = func.least(*(found.c.updated_at for found in _OF.values()))
    return case((_known(), func.coalesce(dates, _refreshed_at())))


def _refreshed_at() -> ColumnElement[datetime]:
    return select(func.max(STATISTICS.c.updated_at)).scalar_subquery()


def _label(source: ContentSource, name: str) -> str:
    return f"{source.junction}_{name}"


def _count_in(row: DictRow, source: ContentSource) -> TagCount | None:
    cardinality = row[_label(source, "cardinality")]
    return None if cardinality is None else TagCount(cardinality, row[_label(source, "display_count")])
