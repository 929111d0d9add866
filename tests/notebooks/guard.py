"""What nbval lets pass and nobody should believe: a pytest plugin for its runs, `-p tests.notebooks.guard`.

A kernel that dies is seen within a second, where nbval waits for its timeout. A cell fails that only printed its
error, as an unknown magic does, that writes to stderr where the reference did not, or that was never run for the
reference. A notebook fails of which nothing would be compared. What was not run, and what was run and not compared,
is named at the end.
"""

from __future__ import annotations

import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack
from functools import partial
from pathlib import Path
from queue import Empty
from typing import Any

import pytest
from jupyter_client.manager import KernelManager
from nbformat import NotebookNode
from nbval.kernel import RunningKernel
from nbval.plugin import IPyNbCell, IPyNbFile, NbCellError

from genonaut_lib.runs.kernel_sockets import sockets

LOOKED_AT_EVERY_S = 0.5


class KernelDied(Exception):
    """The kernel's process ended."""


class WatchedKernel(RunningKernel):
    """A kernel whose process is looked at while its messages are waited for, and whose last reply is kept."""

    def __init__(self, started: RunningKernel) -> None:
        self.km, self.kc = started.km, started.kc
        self.reply: dict[str, Any] = {}

    def get_message(self, stream: str, timeout: float | None = None) -> dict[str, Any]:
        """Return the next message; what a dying kernel still sent comes before its death is told."""
        end = float("inf") if timeout is None else time.monotonic() + timeout
        while True:
            left = max(0.0, end - time.monotonic())
            try:
                return super().get_message(stream, timeout=min(LOOKED_AT_EVERY_S, left))
            except Empty:
                if not self.is_alive():
                    raise KernelDied from None
                if time.monotonic() >= end:
                    raise

    def await_reply(self, msg_id: str, timeout: float | None = None) -> None:
        """Wait for the reply to a request; nbval drops it, although it alone tells of some errors."""
        message = self.get_message("shell", timeout)
        while message["parent_header"].get("msg_id") != msg_id:
            message = self.get_message("shell", timeout)
        self.reply = message["content"]


class GuardedCell(IPyNbCell):
    """A cell whose success is believed only if the kernel says so too."""

    def setup(self) -> None:
        """Leave out what stands behind a failure: it would work on what is not there."""
        if self.parent.halted:
            pytest.skip(self.parent.halted)

    def runtest(self) -> None:
        """Run and compare the cell, then ask what a comparison does not."""
        if self.options["skip"]:
            pytest.skip("marked to be skipped")
        if self.cell.execution_count is None:
            self.raise_cell_error("The reference has no run of this cell: record it anew")
        try:
            self._run()
        except NbCellError:
            self._halt_unless_it_ran()
            raise
        self._refuse_new_stderr()

    def _run(self) -> None:
        kernel = self.parent.kernel
        kernel.reply = {}
        if not kernel.is_alive():
            self.raise_cell_error("The kernel died before this cell began")
        try:
            super().runtest()
        except KernelDied:
            self.raise_cell_error("The kernel died while this cell ran")
        # IPython prints a UsageError and sends no error message; its reply says that the cell failed.
        if kernel.reply.get("status") != "ok" and not self.options["check_exception"]:
            what = f"{kernel.reply.get('ename')}: {kernel.reply.get('evalue')}"
            self.raise_cell_error(f"The cell printed an error and went on: {what}")

    def _halt_unless_it_ran(self) -> None:
        """A wrong output is compared and the next cell run; behind a cell that did not get to its end none is."""
        if self.parent.kernel.reply.get("status") != "ok":
            self.parent.halted = f"not run, since {self.name} failed"

    def _refuse_new_stderr(self) -> None:
        """Say what a cell without comparison would hide, a warning for one."""
        said = _stderr(self.test_outputs)
        if said and not _stderr(self.cell.outputs):
            self.raise_cell_error(f"The cell wrote to stderr, as it did not for the reference: {said}")

    def shown(self) -> bool:
        """Whether something that is compared stands in the reference."""
        return self.options["check"] and not self.options["skip"] and any(map(self._is_compared, self.cell.outputs))

    def _is_compared(self, output: NotebookNode) -> bool:
        if output.output_type in ("stream", "error"):
            return True
        return bool(set(output.data) - set(self.parent.skip_compare))


class GuardedNotebook(IPyNbFile):
    """A notebook of which something is compared, on a watched kernel."""

    halted = ""

    def setup(self) -> None:
        """Start the kernel; it is met at sockets, since another kernel may take a port before this one does."""
        self.place = ExitStack()
        manager = partial(KernelManager, transport="ipc", ip=self.place.enter_context(sockets(uuid.uuid4())))
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr("nbval.kernel.KernelManager", manager)
            super().setup()
        self.kernel = WatchedKernel(self.kernel)

    def collect(self) -> Iterator[GuardedCell]:
        """Yield the code cells; raise CollectError when none would show anything."""
        cells = [
            GuardedCell.from_parent(self, name=c.name, cell_num=c.cell_num, cell=c.cell, options=c.options)
            for c in super().collect()
        ]
        if not any(cell.shown() for cell in cells):
            raise self.CollectError(f"{self.name}: no output of it is compared; it is empty, or was never recorded")
        yield from cells

    def teardown(self) -> None:
        """Stop the kernel, the dead one's channels too."""
        # nbval takes the manager away when it stops a kernel that does not answer.
        if self.kernel is not None and hasattr(self.kernel, "km"):
            self.kernel.stop()
        self.place.close()


class Tally:
    """What became of each cell."""

    def __init__(self) -> None:
        self.cells: dict[str, GuardedCell] = {}
        self.run: set[str] = set()
        self.left_out: dict[str, str] = {}

    def pytest_itemcollected(self, item: pytest.Item) -> None:
        """Count a cell, whatever selection leaves of it."""
        if isinstance(item, GuardedCell):
            self.cells[item.nodeid] = item

    def pytest_runtest_logreport(self, report: pytest.TestReport) -> None:
        """Note that a cell was run, or why not."""
        if report.outcome == "skipped" and isinstance(report.longrepr, tuple):
            self.left_out[report.nodeid] = report.longrepr[2].removeprefix("Skipped: ")
        elif report.when == "call":
            self.run.add(report.nodeid)

    def pytest_terminal_summary(self, terminalreporter: pytest.TerminalReporter) -> None:
        """Name what nobody should take for tested."""
        terminalreporter.section("notebooks")
        shown = sum(self.cells[name].shown() for name in self.run)
        terminalreporter.line(f"{len(self.run)} of {len(self.cells)} cells run, {shown} with an output to compare")
        for name, cell in self.cells.items():
            if name not in self.run:
                terminalreporter.line(f"NOT RUN {name}: {self.left_out.get(name, 'never begun')}")
            elif not cell.options["check"]:
                terminalreporter.line(f"NOT COMPARED {name}: marked so")


def _stderr(outputs: list[NotebookNode] | None) -> str:
    return "".join(out.text for out in outputs or [] if out.output_type == "stream" and out.name == "stderr")


def pytest_configure(config: pytest.Config) -> None:
    """Count along."""
    config.pluginmanager.register(Tally(), "notebook-tally")


@pytest.hookimpl(wrapper=True)
def pytest_collect_file(file_path: Path, parent: pytest.Collector) -> Iterator[None]:
    """Take the place of nbval's own collector."""
    found = yield
    if file_path.suffix != ".ipynb":
        return found
    return [GuardedNotebook.from_parent(parent, path=file_path)]
