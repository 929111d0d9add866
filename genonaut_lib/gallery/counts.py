"""How many items a filter matches: not asked, estimated, exact, or exact unless that takes too long.

An exact number is exact for the filter itself: viewer, privacy, creators, exclusion, families and
search included, as of one snapshot; page, position and order do not matter. A number is never made
up: without statistics there is no estimate. Inside a transaction of the caller's (one that repeats its
reads, say, for a page and its count to agree) it is counted in there.
"""

from __future__ import annotations

import enum
import math
import time
from dataclasses import dataclass, replace

from psycopg import Rollback
from psycopg.errors import QueryCanceled
from psycopg.rows import tuple_row

from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import InvalidInput
from genonaut_lib.gallery.choice import Choice
from genonaut_lib.gallery.clauses import values_of
from genonaut_lib.gallery.counting import counting_strategy, counting_text, estimating_text, filter_of
from genonaut_lib.gallery.estimates import estimate
from genonaut_lib.gallery.query import Creators, GalleryQuery
from genonaut_lib.gallery.statistics import Statistics


class CountMode(enum.StrEnum):
    """What a caller asks for, and what an answer says it is (`auto` is only ever asked for)."""

    NONE = "none"
    ESTIMATED = "estimated"
    EXACT = "exact"
    AUTO = "auto"


@dataclass(frozen=True)
class Total:
    """A number of items and what it is worth.

    `value` is None where it is not known. An estimate lies between `low` and `high` in 95 of 100
    cases; for an exact value both equal it.
    """

    kind: CountMode
    value: int | None = None
    low: int | None = None
    high: int | None = None


NOT_COUNTED = Total(CountMode.NONE)


async def count(
    connection: AsyncConnection,
    query: GalleryQuery,
    mode: CountMode,
    *,
    choice: Choice | None = None,
    statistics: Statistics | None = None,
    budget_ms: int,
) -> Total:
    """Return how many items the query's filter matches, as the mode asks for it.

    `auto` counts for at most `budget_ms` milliseconds and estimates if that was not enough; `exact`
    has no limit but the session's own. Where there are no statistics to estimate from, the answer is
    that nothing was counted. Where no source is read, it is an exact 0 without asking the database.

    Raises InvalidInput for a budget below a millisecond, and psycopg's QueryCanceled when somebody
    else ended the statement.
    """
    if mode is CountMode.NONE:
        return NOT_COUNTED
    if not query.sources:
        return exactly(0)
    if mode is CountMode.ESTIMATED:
        return await _estimated(connection, query, statistics)
    if mode is CountMode.EXACT:
        return exactly(await _counted(connection, query, choice))
    number = await _counted_within(connection, query, choice, budget_ms)
    return await _estimated(connection, query, statistics) if number is None else exactly(number)


def exactly(number: int) -> Total:
    """Return an exact total."""
    return Total(CountMode.EXACT, number, number, number)


async def _counted(connection: AsyncConnection, query: GalleryQuery, choice: Choice | None) -> int:
    text = counting_text(filter_of(query), counting_strategy(choice, query))
    values = values_of(query, (choice.ranked or None) if choice else None)
    async with connection.cursor(row_factory=tuple_row) as cursor:
        # Planned anew for its own tags: a plan for any tag would be a wrong one for most.
        await cursor.execute(text, values, prepare=False)
        return sum([number async for _, number in cursor])


async def _counted_within(
    connection: AsyncConnection, query: GalleryQuery, choice: Choice | None, budget_ms: int
) -> int | None:
    """Return the exact number, or None if the time limit ended the statement."""
    if budget_ms < 1:
        raise InvalidInput(f"budget_ms is {budget_ms}, and must be 1 or more.", hint="Or ask for an estimate.")
    number = None
    async with connection.transaction() as bounded:
        setting, limit_ms = await _bound(connection, budget_ms)
        began = time.monotonic()
        try:
            number = await _counted(connection, query, choice)
        except QueryCanceled as error:
            if not _ran_out(error, (time.monotonic() - began) * 1000, limit_ms):
                raise
            raise Rollback(bounded) from error
        await connection.execute(block("counts", "release").sql(), {"setting": setting}, prepare=False)
    return number


async def _bound(connection: AsyncConnection, budget_ms: int) -> tuple[str, int]:
    """Limit the transaction's statements; return the setting there was, and the milliseconds now in force."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(block("counts", "bound").sql(), {"budget_ms": budget_ms}, prepare=False)
        row = await cursor.fetchone()
    assert row is not None
    return row[0], row[1]


def _ran_out(error: QueryCanceled, took_ms: float, limit_ms: int) -> bool:
    """Whether the limit ended the statement, and nobody's cancel: both have one SQLSTATE.

    The message tells them apart in English only, the clock in any language: no limit ends a statement
    before its time. A cancel that comes later than that found a statement that was over anyway.
    """
    return took_ms >= limit_ms and "user request" not in (error.diag.message_primary or "")


async def _estimated(connection: AsyncConnection, query: GalleryQuery, statistics: Statistics | None) -> Total:
    """Return an estimate from the statistics of tags, if there are any.

    They know neither words nor creators. Both only take items away, so that there may be anything from
    none to what the rest of the filter matches; between these two, PostgreSQL's own estimate serves.
    """
    found = estimate(replace(query, search=""), statistics)
    if found is None:
        return NOT_COUNTED
    low, high = max(0, math.floor(found.low)), math.ceil(found.high)
    scopes = {query.scope.of(source) for source in query.sources}
    if query.search or Creators.MINE in scopes:
        return _between(await _planned_rows(connection, query), 0, high)
    return _between(found.rows, low, high)


def _between(rows: float, low: int, high: int) -> Total:
    return Total(CountMode.ESTIMATED, min(max(round(rows), low), high), low, high)


async def _planned_rows(connection: AsyncConnection, query: GalleryQuery) -> float:
    """Return how many items PostgreSQL expects, from its own statistics; nothing is carried out."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(estimating_text(filter_of(query)), values_of(query), prepare=False)
        row = await cursor.fetchone()
    assert row is not None
    return float(row[0][0]["Plan"]["Plan Rows"])
