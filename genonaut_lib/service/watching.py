"""Asking what may hang: one question at a time, and nobody waits for its answer longer than they want to."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import Generic, TypeVar

T = TypeVar("T")


class Watched(Generic[T]):
    """A question of which at most one is under way; whoever asks meanwhile waits for the same answer.

    What hangs is left alone until it comes back: a statement is cancelled with the help of the very server that
    does not answer, so that ending it would take longer than waiting.
    """

    def __init__(self, ask: Callable[[], Awaitable[T]]) -> None:
        self._ask = ask
        self._task: asyncio.Task[T] | None = None

    async def answer(self, within_s: float) -> T:
        """Return the answer, or raise what asking raised; TimeoutError where there is none within so many seconds."""
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._asked())
            self._task.add_done_callback(_retrieved)
        done, _ = await asyncio.wait({self._task}, timeout=within_s)
        if not done:
            raise TimeoutError
        return self._task.result()

    async def end(self, within_s: float) -> None:
        """Wait for what is under way so many seconds, then cancel it and wait as long again at most."""
        if self._task is None:
            return
        _, pending = await asyncio.wait({self._task}, timeout=within_s)
        for task in pending:
            task.cancel()
            await asyncio.wait({task}, timeout=within_s)

    async def _asked(self) -> T:
        return await self._ask()


def _retrieved(task: asyncio.Task[T]) -> None:
    """Look at how a task ended, though nobody may wait for it any longer; asyncio complains otherwise."""
    if not task.cancelled():
        task.exception()
