"""`Gallery`: a query in, an answer out. Knowledge, planner, strategy, count, cursors and telemetry put together."""

from __future__ import annotations

import contextlib
import secrets
import time
import uuid
from collections.abc import AsyncIterator, Collection, Mapping
from dataclasses import replace
from datetime import UTC, datetime
from typing import Self

from psycopg import sql

from genonaut_lib.db.pool import AsyncConnection, Pool, open_pool
from genonaut_lib.db.statements import block
from genonaut_lib.errors import BitmapsUnavailable, CursorKeyMissing, InvalidInput, ViewMissing
from genonaut_lib.gallery import labels
from genonaut_lib.gallery.answer import Answer, Explanation
from genonaut_lib.gallery.answering import EXACTLY, Answering, Asked, work_of
from genonaut_lib.gallery.bitmaps.standing import Ready, Standing, Unready
from genonaut_lib.gallery.choice import Choice
from genonaut_lib.gallery.clauses import shape_of, values_of
from genonaut_lib.gallery.counts import NOT_COUNTED, CountMode, Total, exactly
from genonaut_lib.gallery.cursor import Signer, open_signer
from genonaut_lib.gallery.facets import Facets, facets
from genonaut_lib.gallery.feedback import Feedback
from genonaut_lib.gallery.holdings import Holdings, count_holdings, holdings_of, queries_of
from genonaut_lib.gallery.knowledge import NOTHING_KNOWN, Knowledge, Known
from genonaut_lib.gallery.page import Page
from genonaut_lib.gallery.planner import choose, choose_for_count, require_few_tags
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.gallery.reading import asking, reading, timed
from genonaut_lib.gallery.remembered import Choices
from genonaut_lib.gallery.request import GalleryRequest, to_query
from genonaut_lib.gallery.sightings import seen_in_count, seen_on_page
from genonaut_lib.gallery.statement import page_text
from genonaut_lib.gallery.strategies import BITMAP, approach_named
from genonaut_lib.gallery.telemetry import Answered, Telemetry
from genonaut_lib.settings import Settings

_NOBODYS = Signer(secrets.token_bytes(32))
"""Stands where no cursor is to be read: a gallery without a key is read all the same."""


class Gallery:
    """The gallery of one environment, read over a pool of sessions.

    Any number of tasks of one event loop may ask at once. Raises what psycopg raises when the
    database cannot be reached.
    """

    def __init__(self, pool: Pool, settings: Settings) -> None:
        self._pool = pool
        self._settings = settings
        self._knobs = settings.planner
        self._knowledge = Knowledge(pool, settings.planner.stats.freshness_seconds, settings.bitmaps)
        self._feedback = Feedback()
        self._choices = Choices(settings.planner, self._feedback)
        self._answering = Answering(pool, settings, self._feedback)
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

    @property
    def kept_bytes(self) -> int:
        """How many bytes of bitmaps this process keeps between requests."""
        return self._answering.kept_bytes

    async def query_of(self, request: GalleryRequest) -> GalleryQuery:
        """Return the query that a request means; its viewer may be a username.

        Raises what `request.to_query` raises, and CursorKeyMissing for a cursor where there is no key.
        """
        async with self._asking() as connection:
            if isinstance(request.viewer, str):
                request = replace(request, viewer=await labels.viewer_named(connection, request.viewer))
            signer = _NOBODYS if request.cursor is None else await self._sign(connection)
            return await to_query(connection, request, signer, self._knobs.max_tags)

    async def page(self, query: GalleryQuery, count: CountMode = CountMode.NONE, strategy: str | None = None) -> Answer:
        """Return the page of a query, with its total if it is asked for, by the planner's strategy or a given one.

        A page and its total are of one snapshot. Where no source is read, the database is not asked.
        The bitmaps give every total exactly, an estimated one too: it is what it says it is.

        Raises InvalidInput for too many tags and for a strategy that is unknown or may not answer this
        query, ViewMissing for one whose view is not there, BitmapsUnavailable for `bitmap` where the index
        cannot answer, QueryTimedOut for a statement over the knob `planner.statement_timeout_ms`.
        """
        started = time.perf_counter()
        asked = await self._planned(query, count, strategy)
        if query.sources:
            asked, page, total = await self._answered(asked)
            self._learn(asked, page, total)
        else:
            page, total = Page(), NOT_COUNTED if count is CountMode.NONE else exactly(0)
        following, previous = await self._cursors(query, page)
        asked.parts["total"] = (time.perf_counter() - started) * 1000
        refreshed_at, shape = asked.known.refreshed_at, shape_of(query)
        return Answer(page, total, asked.choice, following, previous, asked.parts, refreshed_at, shape)

    async def explain(
        self,
        query: GalleryQuery,
        strategy: str | None = None,
        *,
        count: CountMode = CountMode.NONE,
        limit_ms: int | None = None,
    ) -> Explanation:
        """Execute the page of a query under EXPLAIN, in a read-only transaction under a time limit.

        Where the bitmaps would answer, the best strategy that is a statement is explained in their place,
        and the choice says so. `count` is what the page would be asked with; its total is not counted here.
        The limit is `planner.statement_timeout_ms` unless another is given. Raises as `page` does, and
        InvalidInput for a query that reads no source.
        """
        if not query.sources:
            raise InvalidInput("The query reads no source, so there is nothing to explain.", hint="Select a source.")
        asked = await self._planned(query, count, strategy)
        choice = self._stated(asked)
        page = sql.SQL(page_text(shape_of(query), choice.strategy).decode())
        statement = block("explain", "analyzed").sql(statement=page)
        limit = self._knobs.statement_timeout_ms if limit_ms is None else limit_ms
        async with reading(self._pool, limit, one_snapshot=True) as connection:
            cursor = await connection.execute(statement, values_of(query, choice.ranked or None), prepare=False)
            row = await cursor.fetchone()
        assert row is not None
        return Explanation(query, choice, tuple(row[0]), asked.choice, work_of(asked))

    async def facets(self, query: GalleryQuery, top: int = 50) -> Facets:
        """Return the `top` tags of all items the query means, its page and order ignored.

        Exactly and at once where the tag bitmap index serves; else within `planner.count_budget_ms`, or from
        a sample. Raises InvalidInput for too many tags and for `top` out of range.
        """
        require_few_tags(query, self._knobs)
        known = await self._knowledge.current() if query.sources else NOTHING_KNOWN
        count = choose_for_count(query, known.statistics, self._knobs, bitmaps=known.bitmaps)
        if BITMAP.name not in count.unfit:
            try:
                return await self._answering.facets(query, top)
            except BitmapsUnavailable:
                self._knowledge.look_at_bitmaps_soon()
        choice = choose(query, known.statistics, self._knobs, feedback=self._feedback)
        async with self._asking() as connection:
            return await facets(connection, query, top=top, budget_ms=self._knobs.count_budget_ms, choice=choice)

    async def resumed(self, query: GalleryQuery, cursor: str) -> GalleryQuery:
        """Return a query with the place that a cursor of its means; raises as `query_of` does for a cursor."""
        signer = self._signer or await self._open_signer()
        return signer.decode(cursor, query)

    async def holdings(self, viewer: uuid.UUID | None) -> Holdings:
        """Return how many items a viewer may see, exactly and of one moment; None is nobody in particular.

        A few milliseconds where the tag bitmap index serves, else a pass over all items. Raises QueryTimedOut.
        """
        if isinstance((await self._knowledge.current()).bitmaps, Ready):
            try:
                return holdings_of(await self._answering.totals(queries_of(viewer)))
            except BitmapsUnavailable:
                self._knowledge.look_at_bitmaps_soon()
        async with reading(self._pool, self._knobs.statement_timeout_ms, one_snapshot=False) as connection:
            return await count_holdings(connection, viewer)

    async def tag_names(self, tags: Collection[uuid.UUID]) -> Mapping[uuid.UUID, str]:
        """Return the names of tags by id; a tag that is no more has none."""
        async with self._asking() as connection:
            return await labels.tag_names(connection, tags)

    async def _planned(self, query: GalleryQuery, count: CountMode, strategy: str | None) -> Asked:
        require_few_tags(query, self._knobs)
        known = await self._knowledge.current() if query.sources else NOTHING_KNOWN
        parts: dict[str, float] = {}
        with timed(parts, "plan"):
            choice = self._chosen(query, count, known, known.bitmaps)
        if strategy is not None:
            choice = self._forced(query, choice, strategy, known)
        return Asked(query, count, known, choice, parts, known.bitmaps, strategy)

    def _chosen(self, query: GalleryQuery, count: CountMode, known: Known, bitmaps: Standing) -> Choice:
        ready = known.view_ready(self._knobs)
        return self._choices.choice(query, known.statistics, bitmaps, totals=count in EXACTLY, view_ready=ready)

    def _forced(self, query: GalleryQuery, choice: Choice, name: str, known: Known) -> Choice:
        """Return the choice of a strategy that was asked for by name; what the planner thought stays in it."""
        if approach_named(name).stale and not query.stale:
            problem = f"{name} answers from a view that was refreshed some time ago, and the query does not allow that."
            raise InvalidInput(problem, hint="Allow stale answers, or name another strategy.", field="strategy")
        if approach_named(name).stale and known.view_refreshed_at is None:
            raise ViewMissing(hint=f"Name another strategy than {name}, or make the view and fill it.")
        if name == BITMAP.name and not self._settings.bitmaps.enabled:
            problem = "The tag bitmap index is switched off."
            raise BitmapsUnavailable(problem, hint="Set bitmaps.enabled, or name another strategy.")
        reason = f"asked for; the planner would take {choice.strategy}: {choice.reason}"
        return replace(choice, strategy=name, reason=reason, estimated_ms=choice.considered.get(name), seed_rows=None)

    def _stated(self, asked: Asked) -> Choice:
        """Return the choice as far as EXPLAIN can show it: the best statement where there would be none."""
        if not asked.by_bitmaps:
            return asked.choice
        why = "it brings bitmaps together and is not one statement that EXPLAIN could show"
        choice = self._chosen(asked.query, CountMode.NONE, asked.known, Unready(why))
        reason = f"explained in place of {BITMAP.name}, since {why}: {choice.reason}"
        return replace(choice, reason=reason)

    async def _answered(self, asked: Asked) -> tuple[Asked, Page, Total]:
        """Read what was asked; where the bitmaps were to answer and cannot, by the next best strategy."""
        try:
            return asked, *await self._answering.answer(asked)
        except BitmapsUnavailable as problem:
            self._knowledge.look_at_bitmaps_soon()
            if asked.forced == BITMAP.name:
                raise
            again = self._without_bitmaps(asked, problem)
        return again, *await self._answering.answer(again)

    def _without_bitmaps(self, asked: Asked, problem: BitmapsUnavailable) -> Asked:
        bitmaps = Unready(problem.message)
        if asked.forced is not None:
            return replace(asked, bitmaps=bitmaps)
        choice = self._chosen(asked.query, asked.count, asked.known, bitmaps)
        reason = f"{choice.reason}; the bitmaps could not answer: {problem.message}"
        return replace(asked, bitmaps=bitmaps, choice=replace(choice, reason=reason))

    def _learn(self, asked: Asked, page: Page, total: Total) -> None:
        query, statistics, milliseconds = asked.query, asked.known.statistics, asked.parts["page"]
        # A view's rows are those of another moment, and teach nothing of the filter as it is now.
        if not asked.is_stale:
            self._feedback.learn(query, statistics, seen_on_page(query, page, asked.choice, milliseconds))
        if asked.by_bitmaps and (seen := seen_in_count(total, asked.choice, milliseconds)) is not None:
            self._feedback.learn(query, statistics, seen)
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
        async with self._asking() as connection:
            return await self._sign(connection)

    def _asking(self) -> contextlib.AbstractAsyncContextManager[AsyncConnection]:
        return asking(self._pool, self._knobs.statement_timeout_ms)

    async def _sign(self, connection: AsyncConnection) -> Signer:
        if self._signer is None:
            self._signer = await open_signer(self._settings, connection)
        return self._signer
