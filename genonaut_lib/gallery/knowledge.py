"""What the planner knows of the gallery, kept in memory and renewed beside the requests that use it."""

from __future__ import annotations

import asyncio
import contextlib
import contextvars
import logging
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import psycopg

from genonaut_lib.db.pool import AsyncConnection, Pool
from genonaut_lib.errors import StatisticsMissing
from genonaut_lib.gallery import statistics, view
from genonaut_lib.gallery.bitmaps import standing
from genonaut_lib.gallery.bitmaps.standing import UNKNOWN, Standing
from genonaut_lib.gallery.statistics import Statistics
from genonaut_lib.settings import BitmapSettings, PlannerSettings

LOG = logging.getLogger("genonaut.gallery")

RETRY_S = 60.0
"""While there are no statistics they are looked for this often, so that the first ones are not waited for long."""

BITMAPS_S = 10.0
"""The tag bitmap index is looked at this often: its marks come with every write and go with every sealing."""

SOON_S = 1.0
"""After an answer that the index could not give it is looked at no sooner than this."""


@dataclass(frozen=True)
class Known:
    """Statistics, None where there are none; when the materialized view was refreshed, None where there is none.

    `bitmaps` is how the tag bitmap index stood. Both moments are on the monotonic clock, in seconds:
    `bitmaps_due` is when the index is to be looked at again.
    """

    statistics: Statistics | None
    view_refreshed_at: datetime | None
    looked_at: float
    bitmaps: Standing = UNKNOWN
    bitmaps_due: float = 0.0

    @property
    def refreshed_at(self) -> datetime | None:
        """When the statistics were made; None where there are none."""
        return None if self.statistics is None else self.statistics.refreshed_at

    def view_ready(self, knobs: PlannerSettings) -> bool:
        """Whether the view is there and no older than the knob `view_staleness_seconds` allows."""
        if self.view_refreshed_at is None:
            return False
        return datetime.now(UTC) - self.view_refreshed_at <= timedelta(seconds=knobs.view_staleness_seconds)


NOTHING_KNOWN = Known(None, None, 0.0)


class Knowledge:
    """Looks once before the first request, and from then on beside one that finds what is known `renew_after_s` old."""

    def __init__(self, pool: Pool, renew_after_s: float, bitmaps: BitmapSettings | None = None) -> None:
        self._pool = pool
        self._renew_after_s = renew_after_s
        self._bitmaps = bitmaps or BitmapSettings()
        self._known: Known | None = None
        self._first_look: asyncio.Task[Known] | None = None
        self._renewal: asyncio.Task[None] | None = None

    async def current(self) -> Known:
        """Return what is known; waits for the database only while nothing is."""
        known = self._known
        if known is None:
            return await self._looked_once()
        is_due = self._is_old(known) or time.monotonic() > known.bitmaps_due
        if is_due and (self._renewal is None or self._renewal.done()):
            # In a context of its own, since what it takes is none of the request's that it was started beside.
            self._renewal = asyncio.create_task(self._renew(known), context=contextvars.Context())
        return known

    def look_at_bitmaps_soon(self) -> None:
        """Have the tag bitmap index looked at beside one of the next requests: it could not answer just now."""
        if self._known is not None:
            due = min(self._known.bitmaps_due, time.monotonic() + SOON_S)
            self._known = replace(self._known, bitmaps_due=due)

    async def close(self) -> None:
        """End a renewal that is under way."""
        for task in (self._first_look, self._renewal):
            if task is not None and not task.done():
                task.cancel()
                with contextlib.suppress(asyncio.CancelledError):
                    await task

    def _is_old(self, known: Known) -> bool:
        limit = self._renew_after_s if known.refreshed_at is not None else min(RETRY_S, self._renew_after_s)
        return time.monotonic() - known.looked_at > limit

    async def _looked_once(self) -> Known:
        """Look for all who ask meanwhile: a database that is away is waited for together, not by one after another."""
        if self._first_look is None or self._first_look.done():
            self._first_look = asyncio.create_task(self._look_first(), context=contextvars.Context())
        return await asyncio.shield(self._first_look)

    async def _look_first(self) -> Known:
        self._known = await self._look(None)
        return self._known

    async def _renew(self, known: Known) -> None:
        try:
            self._known = await self._look(known)
        except psycopg.Error as error:
            # Requests go on with what was known; the next look comes when that is old once more.
            now = time.monotonic()
            self._known = replace(known, looked_at=now, bitmaps_due=now + BITMAPS_S)
            LOG.warning("The gallery's statistics could not be read anew: %s", error)

    async def _look(self, known: Known | None) -> Known:
        """Look at what is old: at the index every time, at the statistics where they are due or never were read."""
        async with self._pool.connection() as connection:
            found = await standing.look(connection, self._bitmaps, known.bitmaps if known else UNKNOWN)
            if known is None or self._is_old(known):
                known = Known(await _statistics(connection), await view.refreshed_at(connection), time.monotonic())
        # The same object where nothing changed, so that choices that rest on it stay.
        same = known.bitmaps if found == known.bitmaps else found
        return replace(known, bitmaps=same, bitmaps_due=time.monotonic() + BITMAPS_S)


async def _statistics(connection: AsyncConnection) -> Statistics | None:
    try:
        return await statistics.load(connection)
    except StatisticsMissing as missing:
        LOG.info("The planner works without statistics: %s", missing)
        return None
