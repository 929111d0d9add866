"""What is known of the gallery's tags: how many items of each source carry one, and a sample of items.

The tables are `tag_cardinality_stats`, `gen_source_stats` and `workbench.tag_sample`; they are rebuilt
in one atomic swap, so that a reader never sees them empty or half full.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, NamedTuple

from psycopg import errors
from psycopg.rows import tuple_row

from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import StatisticsMissing
from genonaut_lib.vocabulary import ContentSource

FILE = "statistics"
NOTEBOOK = "50_refresh_tag_stats"


@dataclass(frozen=True)
class Freshness:
    """How old the statistics are, by this machine's clock; `refreshed_at` is None when they were never made."""

    refreshed_at: datetime | None

    @property
    def age_s(self) -> float | None:
        """Seconds since the refresh began to count; None when there never was one."""
        if self.refreshed_at is None:
            return None
        return max(0.0, (datetime.now(UTC) - self.refreshed_at).total_seconds())

    def is_fresh(self, max_age_s: float) -> bool:
        """Return whether the statistics are at most `max_age_s` seconds old; what was never made is not."""
        age = self.age_s
        return age is not None and age <= max_age_s

    def sentence(self, max_age_s: float) -> str:
        """Say when the statistics were made, whether that is fresh, and what to do if it is not."""
        if self.refreshed_at is None:
            return f"The statistics were never refreshed: run {NOTEBOOK}."
        verdict = f"fresh (at most {max_age_s:,.0f} s)"
        if not self.is_fresh(max_age_s):
            verdict = f"stale (more than {max_age_s:,.0f} s): run {NOTEBOOK}"
        return f"Refreshed {self.refreshed_at.astimezone(UTC):%F %T} UTC, {self.age_s:,.0f} s ago, {verdict}."


@dataclass(frozen=True)
class Sample:
    """A random sample of a source's items: bit i of a tag's number says that item i of the sample carries it.

    `size` counts the items of the sample, `public` has a bit for each that is not private. A tag
    that no item of the sample carries has no entry.
    """

    size: int = 0
    public: int = 0
    carriers: Mapping[uuid.UUID, int] = field(default_factory=dict)


@dataclass(frozen=True)
class SourceStatistics:
    """Statistics of one source: its items, and how many of them carry each tag. Unknown tags have no entry."""

    items: int
    cardinalities: Mapping[uuid.UUID, int]
    sample: Sample = Sample()


@dataclass(frozen=True)
class Statistics:
    """Statistics of the whole gallery as they were at `refreshed_at`; None when they were never made.

    Every source has an entry, an empty one when they were never made.
    """

    sources: Mapping[ContentSource, SourceStatistics]
    refreshed_at: datetime | None = None

    @property
    def freshness(self) -> Freshness:
        """How old they are, as something that can be said."""
        return Freshness(self.refreshed_at)

    @property
    def age_s(self) -> float | None:
        """Seconds since the refresh began to count; None when there never was one."""
        return self.freshness.age_s

    def is_fresh(self, max_age_s: float) -> bool:
        """Return whether they are at most `max_age_s` seconds old."""
        return self.freshness.is_fresh(max_age_s)


@dataclass(frozen=True)
class SourceCounts:
    """How many items of each source a viewer may see, as of `refreshed_at`: their own, and everybody else's.

    One's own are counted with the private ones; the community's are public items that are not one's own.
    """

    user_regular: int
    user_auto: int
    community_regular: int
    community_auto: int
    refreshed_at: datetime


async def load(connection: AsyncConnection) -> Statistics:
    """Return all statistics, as of one refresh; numbers only, no names.

    Raises StatisticsMissing where the tables are not there. Tables that were never filled give empty
    statistics, with `refreshed_at` None.
    """
    rows = [_Row(*row) for row in await _rows(connection, "load", {})]
    found: dict[str, list[_Row]] = {source.junction: [] for source in ContentSource}
    for row in rows:
        found[row.source].append(row)
    sources = {source: _source_of(found[source.junction]) for source in ContentSource}
    moments = [row.refreshed_at for row in rows if row.refreshed_at is not None]
    return Statistics(sources, min(moments, default=None))


async def freshness(connection: AsyncConnection) -> Freshness:
    """Return how old the statistics are, without loading them; raise StatisticsMissing where there are no tables."""
    ((moment,),) = await _rows(connection, "refreshed_at", {})
    return Freshness(moment)


async def source_counts(connection: AsyncConnection, viewer: uuid.UUID | None) -> SourceCounts:
    """Return the four figures of a viewer, None being nobody, who has no items; two rows are read by key.

    Exactly as of the last refresh. Raises StatisticsMissing before the first one.
    """
    rows = await _rows(connection, "source_counts", {"viewer": viewer, **ContentSource.spellings()})
    if len(rows) < len(ContentSource):
        raise StatisticsMissing("The gallery's statistics were never refreshed.", hint=f"Run {NOTEBOOK}.")
    own = {source: int(count) for source, count, _, _ in rows}
    others = {source: int(count) for source, _, count, _ in rows}
    regular, auto = ContentSource.REGULAR.junction, ContentSource.AUTO.junction
    return SourceCounts(own[regular], own[auto], others[regular], others[auto], rows[0][3])


class _Row(NamedTuple):
    """A row of `load`; see there what the kinds mean."""

    kind: str
    source: str
    tag: uuid.UUID | None
    figure: int | None
    slots: list[int] | None
    refreshed_at: datetime | None


async def _rows(connection: AsyncConnection, name: str, values: Mapping[str, Any]) -> list[tuple[Any, ...]]:
    async with connection.cursor(row_factory=tuple_row, binary=True) as cursor:
        try:
            await cursor.execute(block(FILE, name).sql(), values)
        except (errors.UndefinedTable, errors.InvalidSchemaName):
            hint = f"Run `genonaut run {NOTEBOOK}`."
            raise StatisticsMissing("The tables of the gallery's statistics are not there.", hint=hint) from None
        return await cursor.fetchall()


def _source_of(rows: Sequence[_Row]) -> SourceStatistics:
    totals = next((row.figure for row in rows if row.kind == "source"), None)
    sample = next((row for row in rows if row.kind == "sample"), None)
    tags = [row for row in rows if row.tag is not None]
    return SourceStatistics(
        items=totals or 0,
        cardinalities={row.tag: row.figure for row in tags if row.tag and row.figure},
        sample=Sample(
            size=0 if sample is None else sample.figure or 0,
            public=0 if sample is None else _bits(sample.slots or ()),
            carriers={row.tag: _bits(row.slots) for row in tags if row.tag and row.slots},
        ),
    )


def _bits(slots: Sequence[int]) -> int:
    """Return the number with these bits set; bytes first, since a long number is copied by each change."""
    marks = bytearray(max(slots, default=0) // 8 + 1)
    for slot in slots:
        marks[slot >> 3] |= 1 << (slot & 7)
    return int.from_bytes(marks, "little")
