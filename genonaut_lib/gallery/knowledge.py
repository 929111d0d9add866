"""What the planner knows of the gallery, kept in memory and renewed beside the requests that use it."""

from __future__ import annotations

import asyncio
import contextlib
import logging
import time
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta

import psycopg

from genonaut_lib.db.pool import AsyncConnection, Pool
from genonaut_lib.errors import StatisticsMissing
from genonaut_lib.gallery import statistics, view
from genonaut_lib.gallery.statistics import Statistics
from genonaut_lib.settings import PlannerSettings

LOG = logging.getLogger("genonaut.gallery")

RETRY_S = 60.0
"""While there are no statistics they are looked for this often, so that the first ones are not waited for long."""


@dataclass(frozen=True)
class Known:
    """Statistics, None where there are none; when the materialized view was refreshed, None where there is none.

    `looked_at` is on the monotonic clock, in seconds.
    """

    statistics: Statistics | None
    view_refreshed_at: datetime | None
    looked_at: float

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

    def __init__(self, pool: Pool, renew_after_s: float) -> None:
        self._pool = pool
        self._renew_after_s = renew_after_s
        self._known: Known | None = None
        self._first_look = asyncio.Lock()
        self._renewal: asyncio.Task[None] | None = None

    async def current(self) -> Known:
        """Return what is known; waits for the database only while nothing is."""
        known = self._known
        if known is None:
            return await self._looked_once()
        if self._is_old(known) and (self._renewal is None or self._renewal.done()):
            self._renewal = asyncio.create_task(self._renew(known))
        return known

    async def close(self) -> None:
        """End a renewal that is under way."""
        if self._renewal is not None:
            self._renewal.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._renewal

    def _is_old(self, known: Known) -> bool:
        limit = self._renew_after_s if known.refreshed_at is not None else min(RETRY_S, self._renew_after_s)
        return time.monotonic() - known.looked_at > limit

    async def _looked_once(self) -> Known:
        async with self._first_look:
            if self._known is None:
                self._known = await self._look()
            return self._known

    async def _renew(self, known: Known) -> None:
        try:
            self._known = await self._look()
        except psycopg.Error as error:
            # Requests go on with what was known; the next look comes when that is old once more.
            self._known = replace(known, looked_at=time.monotonic())
            LOG.warning("The gallery's statistics could not be read anew: %s", error)

    async def _look(self) -> Known:
        async with self._pool.connection() as connection:
            return Known(await _statistics(connection), await view.refreshed_at(connection), time.monotonic())


async def _statistics(connection: AsyncConnection) -> Statistics | None:
    try:
        return await statistics.load(connection)
    except StatisticsMissing as missing:
        LOG.info("The planner works without statistics: %s", missing)
        return None
