"""What runs the cells: one after the other on a kernel, watched, and ended in time when the run is to stop."""

from __future__ import annotations

import asyncio
import signal
import time
from collections.abc import Awaitable, Callable, Coroutine
from typing import Any

from jupyter_core.utils import ensure_async, run_sync
from papermill.clientwrap import PapermillNotebookClient

from genonaut_lib.runs.record import Record
from genonaut_lib.runs.stops import Limits

End = Callable[[asyncio.Future[Any]], Awaitable[None]]

LOOK_EVERY_S = 0.1
"""How often signals, the deadline and the record are looked at."""
DEATH_NOTICE_S = 3.0
"""The client asks every second whether its kernel lives; a little more, and a cell on a killed one has ended."""


class RecordedClient(PapermillNotebookClient):  # type: ignore[misc]  # papermill ships no types
    """Runs a notebook into its record; a cell counts as completed only when its kernel said so.

    Raises CellExecutionError when a cell raised, DeadKernelError when the kernel is gone, and what
    `limits` or the record give as the reason to stop. An error ends the run whatever a cell's tags say.
    """

    def __init__(self, record: Record, limits: Limits, **options: Any) -> None:
        super().__init__(record, **{"force_raise_errors": True, "iopub_timeout": 30, **options})
        self.record = record
        self.limits = limits

    def execute(self, **options: Any) -> Any:
        """Run all cells and return the notebook; `options` are those of the kernel's start."""
        self.reset_execution_trackers()
        run_sync(self._run)(**options)
        return self.nb

    async def _run(self, **options: Any) -> None:
        self.km = self.create_kernel_manager()
        try:
            await self._watched(self._start(options), self._give_up)
            for index, cell in enumerate(self.nb.cells):
                await self._run_cell(cell, index)
        finally:
            self.set_widgets_metadata()
            await self._closing()

    async def _start(self, options: dict[str, Any]) -> None:
        await self.async_start_new_kernel(**options)
        await self.async_start_new_kernel_client()
        reply = await self.async_wait_for_reply(self.kc.kernel_info())
        self.nb.metadata["language_info"] = reply["content"]["language_info"]

    async def _run_cell(self, cell: Any, index: int) -> None:
        self._raise_if_to_stop()
        self.record.cell_start(cell, cell_index=index)
        try:
            await self._watched(self.async_execute_cell(cell, index), self._interrupt)
        except BaseException as error:
            self.record.cell_failed(index, error)
            raise
        self.record.cell_complete(self.nb.cells[index], cell_index=index)

    async def _watched(self, work: Coroutine[Any, Any, Any], end: End) -> None:
        """Await `work` while the record follows; when the run is to stop, `end` the work and raise the reason."""
        task = asyncio.ensure_future(work)
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=LOOK_EVERY_S)
                self.record.tick()
                if not task.done():
                    self._raise_if_to_stop()
        except BaseException:
            await end(task)
            raise
        task.result()

    def _raise_if_to_stop(self) -> None:
        reason = self.limits.reached()
        if reason is not None:
            raise reason

    async def _interrupt(self, task: asyncio.Future[Any]) -> None:
        """Interrupt the cell, and kill its process when that does not end it in time."""
        await ensure_async(self.km.interrupt_kernel())
        until = time.monotonic() + self.limits.grace_s
        while not task.done() and time.monotonic() < until and not self.limits.orders.hurry:
            await asyncio.wait({task}, timeout=LOOK_EVERY_S)
        if not task.done():
            await ensure_async(self.km.signal_kernel(signal.SIGKILL))
            await asyncio.wait({task}, timeout=DEATH_NOTICE_S)
        await self._give_up(task)

    async def _give_up(self, task: asyncio.Future[Any]) -> None:
        """Cancel what is left of some work; how it ended does not matter, since the run ends for another reason."""
        task.cancel()
        await asyncio.wait({task})
        if not task.cancelled():
            task.exception()

    async def _closing(self) -> None:
        """Close the kernel, which may take seconds, while the record follows."""
        task = asyncio.ensure_future(self._close_kernel())
        try:
            while not task.done():
                await asyncio.wait({task}, timeout=LOOK_EVERY_S)
                self.record.tick()
        finally:
            await task

    async def _close_kernel(self) -> None:
        """End the kernel's process, at once if it is dead or the run was stopped, and whatever it started."""
        if self.km is None:
            return
        if self.km.has_kernel:
            stopped = self.limits.reached() is not None
            now = stopped or not await ensure_async(self.km.is_alive())
            await ensure_async(self.km.shutdown_kernel(now=now))
        await self._async_cleanup_kernel()
