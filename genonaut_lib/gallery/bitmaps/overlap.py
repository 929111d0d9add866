"""Work of this process while the server is busy with a statement, on one session."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any, TypeVar

from psycopg import errors

T = TypeVar("T")


async def beside(fetched: Coroutine[Any, Any, T], steps: AsyncIterator[None]) -> T:
    """Return what is fetched, taking the steps that are left while the server is busy with it.

    Raises what either raises. Nothing of the session is in use any more when it does.
    """
    fetching = asyncio.create_task(fetched)
    try:
        # Once round the loop, so that the statement is on its way.
        await asyncio.sleep(0)
        async for _ in steps:
            pass
    except errors.InFailedSqlTransaction:
        # Failed by the statement that fetches: that one says why.
        await fetching
        raise
    except BaseException:
        await _put_away(fetching)
        raise
    return await fetching


async def _put_away(task: asyncio.Task[Any]) -> None:
    """Cancel a task until it has ended; whoever cancels this task meanwhile cancels that one once more."""
    while not task.done():
        task.cancel()
        with contextlib.suppress(asyncio.CancelledError):
            await asyncio.wait({task})
    if not task.cancelled():
        # Looked at, or asyncio would complain that nobody did; what ended the work is raised already.
        task.exception()
