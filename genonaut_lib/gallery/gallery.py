"""`Gallery`: a query in, an answer out. Knowledge, planner, strategy, count, cursors and telemetry put together."""

from __future__ import annotations

import contextlib
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from typing import Any, Self

from psycopg import sql

from genonaut_lib.db.pool import AsyncConnection, Pool, open_pool
from genonaut_lib.db.statements import block
from genonaut_lib.errors import CursorKeyMissing, InvalidInput, ViewMissing
from genonaut_lib.gallery import counts, labels
from genonaut_lib.gallery.clauses import shape_of, values_of
from genonaut_lib.gallery.counting import counting_strategy
from genonaut_lib.gallery.counts import NOT_COUNTED, CountMode, Total
from genonaut_lib.gallery.cursor import Signer, open_signer
from genonaut_lib.gallery.feedback import Feedback
from genonaut_lib.gallery.knowledge import NOTHING_KNOWN, Knowledge, Known
from genonaut_lib.gallery.page import Page, read_page
from genonaut_lib.gallery.planner import Choice, choose, choose_for_count, require_few_tags
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.gallery.reading import reading, timed
from genonaut_lib.gallery.request import GalleryRequest, to_query
from genonaut_lib.gallery.sightings import seen_in_count, seen_on_page
from genonaut_lib.gallery.statement import page_text
from genonaut_lib.gallery.strategies import strategy_named
from genonaut_lib.gallery.telemetry import Answered, Telemetry
from genonaut_lib.settings import Settings

_NOBODYS = Signer(secrets.token_bytes(32))
"""Stands where no cursor is to be read: a gallery without a key is read all the same."""


@dataclass(frozen=True)
class Answer:
    """A page with all that is said about it.

    Cursors are None where there is no such page, and where there is no key to sign them with.
    `milliseconds` has `plan`, `page`, `count` if there was one, and `total`, which is more than their
    sum: it includes waiting for a session. `statistics_at` is the age of what the planner went by, None
    where there are no statistics.
    """

    page: Page
    total: Total
    choice: Choice
    next_cursor: str | None = None
    previous_cursor: str | None = None
    milliseconds: Mapping[str, float] = field(default_factory=dict)
    statistics_at: datetime | None = None


@dataclass(frozen=True)
class Explanation:
    """A query's choice, and the document of EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) for its page."""

    query: GalleryQuery
    choice: Choice
    document: tuple[Mapping[str, Any], ...]


@dataclass(frozen=True)
class _Asked:
    """A request on its way: what is asked, what is known, what was chosen, and the time each part took."""

    query: GalleryQuery
    count: CountMode
    known: Known
    choice: Choice
    parts: dict[str, float]

    @property
    def is_stale(self) -> bool:
        """Whether the page comes from a view, as it was some time ago."""
        return strategy_named(self.choice.strategy).stale


class Gallery:
    """The gallery of one environment, read over a pool of sessions.

    Any number of tasks of one event loop may ask at once. Raises what psycopg raises when the
    database cannot be reached.
    """

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        self._knobs = settings.planner
        self._knowledge = Knowledge(pool, settings.planner.stats.freshness_seconds)
        self._feedback = Feedback()
        self._telemetry = Telemetry(settings.planner.telemetry)
        self._signer: Signer | None = None

    @classmethod
    @contextlib.asynccontextmanager
    async def opened(cls, settings: Settings, *, sessions: int = 4) -> AsyncIterator[Self]:
        """Open a gallery on a pool of its own for a block."""
        async with open_pool(settings, sessions=sessions) as pool:
            gallery = cls(pool, settings)
            try:
                yield gallery
            finally:
                await gallery.close()

    async def close(self) -> None:
        """End what goes on beside requests; the pool is its owner's to close."""
        await self._knowledge.close()

    async def query_of(self, request: GalleryRequest) -> GalleryQuery:
        """Return the query that a request means; its viewer may be a username.

        Raises what `request.to_query` raises, and CursorKeyMissing for a cursor where there is no key.
        """
        async with self._pool.connection() as connection:
            if isinstance(request.viewer, str):
                request = replace(request, viewer=await labels.viewer_named(connection, request.viewer))
            signer = _NOBODYS if request.cursor is None else await self._sign(connection)
            return await to_query(connection, request, signer, self._knobs.max_tags)

    async def page(self, query: GalleryQuery, count: CountMode = CountMode.NONE, strategy: str | None = None) -> Answer:
        """Return the page of a query, with its total if it is asked for, by the planner's strategy or a given one.

        A page and its total are of one snapshot. Where no source is read, the database is not asked.
        Raises InvalidInput for too many tags and for a strategy that is unknown or may not answer this
        query, ViewMissing for one whose view is not there, QueryTimedOut for a statement over the knob
        `planner.statement_timeout_ms`.
        """
        started = time.perf_counter()
        asked = await self._planned(query, count, strategy)
        if query.sources:
            page, total = await self._read(asked)
            self._learn(asked, page, total)
        else:
            page, total = Page(), _whole(asked, Page()) or NOT_COUNTED
        following, previous = await self._cursors(query, page)
        asked.parts["total"] = (time.perf_counter() - started) * 1000
        return Answer(page, total, asked.choice, following, previous, asked.parts, asked.known.refreshed_at)

    async def explain(
        self, query: GalleryQuery, strategy: str | None = None, *, limit_ms: int | None = None
    ) -> Explanation:
        """Execute the page of a query under EXPLAIN, in a read-only transaction under a time limit.

        The limit is `planner.statement_timeout_ms` unless another is given. Raises as `page` does, and
        InvalidInput for a query that reads no source.
        """
        if not query.sources:
            raise InvalidInput("The query reads no source, so there is nothing to explain.", hint="Select a source.")
        choice = (await self._planned(query, CountMode.NONE, strategy)).choice
        page = sql.SQL(page_text(shape_of(query), choice.strategy).decode())
        statement = block("explain", "analyzed").sql(statement=page)
        limit = self._knobs.statement_timeout_ms if limit_ms is None else limit_ms
        async with reading(self._pool, limit, one_snapshot=True) as connection:
            cursor = await connection.execute(statement, values_of(query, choice.ranked or None), prepare=False)
            row = await cursor.fetchone()
        assert row is not None
        return Explanation(query, choice, tuple(row[0]))

    async def tag_names(self, tags: Collection[uuid.UUID]) -> Mapping[uuid.UUID, str]:
        """Return the names of tags by id; a tag that is no more has none."""
        async with self._pool.connection() as connection:
            return await labels.tag_names(connection, tags)

    async def _planned(self, query: GalleryQuery, count: CountMode, strategy: str | None) -> _Asked:
        require_few_tags(query, self._knobs)
        known = await self._knowledge.current() if query.sources else NOTHING_KNOWN
        parts: dict[str, float] = {}
        with timed(parts, "plan"):
            ready = known.view_ready(self._knobs)
            choice = choose(query, known.statistics, self._knobs, feedback=self._feedback, view_ready=ready)
        if strategy is not None:
            choice = _forced(query, choice, strategy, known)
        return _Asked(query, count, known, choice, parts)

    async def _read(self, asked: _Asked) -> tuple[Page, Total]:
        counts_too = asked.count is not CountMode.NONE
        async with reading(self._pool, self._knobs.statement_timeout_ms, one_snapshot=counts_too) as connection:
            with timed(asked.parts, "page"):
                choice = asked.choice
                page = await read_page(connection, asked.query, choice.strategy, choice.ranked or None)
            total = _whole(asked, page)
            return page, await self._count(connection, asked) if total is None else total

    async def _count(self, connection: AsyncConnection, asked: _Asked) -> Total:
        known = asked.known
        choice = choose_for_count(asked.query, known.statistics, self._knobs, feedback=self._feedback)
        with timed(asked.parts, "count"):
            total = await counts.count(
                connection, asked.query, asked.count,
                choice=choice, statistics=known.statistics, budget_ms=self._knobs.count_budget_ms,
            )  # fmt: skip
        counted_by = replace(choice, strategy=counting_strategy(choice, asked.query))
        seen = seen_in_count(total, counted_by, asked.parts["count"])
        if seen is not None:
            self._feedback.learn(asked.query, known.statistics, seen)
        return total

    def _learn(self, asked: _Asked, page: Page, total: Total) -> None:
        query, statistics, milliseconds = asked.query, asked.known.statistics, asked.parts["page"]
        # A view's rows are those of another moment, and teach nothing of the filter as it is now.
        if not asked.is_stale:
            self._feedback.learn(query, statistics, seen_on_page(query, page, asked.choice, milliseconds))
        answered = Answered(query, asked.choice, len(page.rows), milliseconds, total, statistics)
        self._telemetry.note(answered, datetime.now(UTC))

    async def _cursors(self, query: GalleryQuery, page: Page) -> tuple[str | None, str | None]:
        """Return the cursors of the pages after and before this one."""
        if not (page.has_next or page.has_previous):
            return None, None
        try:
            signer = self._signer or await self._open_signer()
        except CursorKeyMissing:
            return None, None
        after, before = page.next_position, page.previous_position
        return (
            None if after is None else signer.encode(query, after, backwards=False),
            None if before is None else signer.encode(query, before, backwards=True),
        )

    async def _open_signer(self) -> Signer:
        async with self._pool.connection() as connection:
            return await self._sign(connection)

    async def _sign(self, connection: AsyncConnection) -> Signer:
        if self._signer is None:
            self._signer = await open_signer(self._settings, connection)
        return self._signer


def _forced(query: GalleryQuery, choice: Choice, name: str, known: Known) -> Choice:
    """Return the choice of a strategy that was asked for by name; what the planner thought stays in it."""
    if strategy_named(name).stale and not query.stale:
        problem = f"{name} answers from a view that was refreshed some time ago, and the query does not allow that."
        raise InvalidInput(problem, hint="Allow stale answers, or name another strategy.", field="strategy")
    if strategy_named(name).stale and known.view_refreshed_at is None:
        raise ViewMissing(hint=f"Name another strategy than {name}, or make the view and fill it.")
    reason = f"asked for; the planner would take {choice.strategy}: {choice.reason}"
    return replace(choice, strategy=name, reason=reason, estimated_ms=choice.considered.get(name), seed_rows=None)


def _whole(asked: _Asked, page: Page) -> Total | None:
    """Return the total that the page itself tells: one that is the last, and whose number says what came before."""
    if asked.count is CountMode.NONE:
        return NOT_COUNTED
    query = asked.query
    begins = query.position is None and (query.page == 1 or bool(page.rows))
    if asked.is_stale or page.has_next or not begins:
        return None
    number = (query.page - 1) * query.page_size + len(page.rows)
    return Total(CountMode.EXACT, number, number, number)
