"""How many items each viewer may see, remembered by the process for as long as `service.stats_fresh_s` says."""

from __future__ import annotations

import asyncio
import logging
import time
import uuid
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime

import psycopg

from genonaut_lib.errors import GenonautError
from genonaut_lib.gallery.holdings import Holdings

LOG = logging.getLogger("genonaut.service")

MOST_VIEWERS = 10_000
AT_ONCE = 2
"""So many are counted at a time, that pages find sessions however many viewers come at once."""

FIRST_WAIT_S = 1.0
"""A page waits for counts that nobody has made lately, up to this; more than it takes where the index serves."""

RENEWAL_WAIT_S = 0.005
"""And for newer ones than it could show no longer than this."""

SHOWN_TIMES = 6
"""Counts may be shown while newer ones are made until they are so many times as old as is fresh."""


@dataclass(frozen=True)
class Counted:
    """A viewer's counts and when they were asked for, as a moment and in seconds of the monotonic clock."""

    holdings: Holdings
    at: datetime
    clock: float


class StatsMemory:
    """Counts for each viewer at most once at a time, beside the requests that want it."""

    def __init__(self, count: Callable[[uuid.UUID | None], Awaitable[Holdings]], fresh_s: float) -> None:
        self._count = count
        self._fresh_s = fresh_s
        self._known: OrderedDict[uuid.UUID | None, Counted] = OrderedDict()
        self._under_way: dict[uuid.UUID | None, asyncio.Task[Counted]] = {}
        self._turns = asyncio.Semaphore(AT_ONCE)

    def begin(self, viewer: uuid.UUID | None) -> None:
        """Have the counts ready soon, if they are not fresh: `soon` waits the less for them."""
        if self._within(viewer, self._fresh_s) is None:
            self._task(viewer)

    async def soon(self, viewer: uuid.UUID | None) -> Counted | None:
        """Return the counts without holding a page up: fresh ones, or else the last ones while newer are made.

        None where there are none, and counting takes long or failed.
        """
        fresh = self._within(viewer, self._fresh_s)
        if fresh is not None:
            return fresh
        last = self._within(viewer, self._fresh_s * SHOWN_TIMES)
        task = self._task(viewer)
        await asyncio.wait({task}, timeout=FIRST_WAIT_S if last is None else RENEWAL_WAIT_S)
        made = task.done() and not task.cancelled() and task.exception() is None
        return task.result() if made else last

    async def current(self, viewer: uuid.UUID | None) -> Counted:
        """Return fresh counts, however long they take. Raises what counting raises."""
        fresh = self._within(viewer, self._fresh_s)
        return await asyncio.shield(self._task(viewer)) if fresh is None else fresh

    async def close(self) -> None:
        """End what is being counted."""
        tasks = list(self._under_way.values())
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def _within(self, viewer: uuid.UUID | None, seconds: float) -> Counted | None:
        known = self._known.get(viewer)
        return known if known is not None and time.monotonic() - known.clock < seconds else None

    def _task(self, viewer: uuid.UUID | None) -> asyncio.Task[Counted]:
        task = self._under_way.get(viewer)
        if task is None:
            task = self._under_way[viewer] = asyncio.create_task(self._counted(viewer))
            task.add_done_callback(_told)
        return task

    async def _counted(self, viewer: uuid.UUID | None) -> Counted:
        try:
            async with self._turns:
                at, clock = datetime.now(UTC), time.monotonic()
                made = Counted(await self._count(viewer), at, clock)
        finally:
            del self._under_way[viewer]
        self._known[viewer] = made
        self._known.move_to_end(viewer)
        if len(self._known) > MOST_VIEWERS:
            self._known.popitem(last=False)
        return made


def _told(task: asyncio.Task[Counted]) -> None:
    """Say why nothing was counted: a page goes out without its counts then, and nobody else would tell."""
    error = None if task.cancelled() else task.exception()
    if isinstance(error, (psycopg.Error, GenonautError)):
        LOG.warning("A viewer's items could not be counted: %s", error)
    elif error is not None:
        LOG.error("A viewer's items could not be counted.", exc_info=error)
