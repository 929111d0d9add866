"""A claimed time of a sequence in the hands of one scheduler: waiting, at work, tried again, ended."""

from __future__ import annotations

import signal
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from genonaut_lib.runs.schedules.children import Child
from genonaut_lib.runs.schedules.schedule_book import Slot
from genonaut_lib.runs.sequences import Schedule

OK, REFUSED, LATER = 0, 2, 75
FIRST_RETRY_S, LONGEST_RETRY_S = 15.0, 300.0
STOPPED = "The scheduler was stopped."
_NOT_LATE = timedelta(seconds=60)


@dataclass(frozen=True)
class Outcome:
    """How a time ended: a state of the ledger, the exit code if a process ran, and what is to be said of it."""

    state: str
    exit_code: int | None
    remark: str | None = None

    def __str__(self) -> str:
        """Say all of it in one line."""
        return f"{self.state}. {self.remark}" if self.remark else self.state


@dataclass
class Task:
    """A claimed time; `outcome` is set once its process has ended, and stays until the ledger was told."""

    slot: Slot
    schedule: Schedule
    outcome: Outcome | None = None
    is_waiting: bool = False
    retries: int = 0
    _child: Child | None = None
    _not_before: float = 0.0

    @property
    def is_running(self) -> bool:
        """Whether it has a process, or had one of which the ledger does not know yet that it ended."""
        return self._child is not None or self.outcome is not None

    @property
    def is_due(self) -> bool:
        """Whether it is to be started as soon as its sequence is free."""
        return not self.is_running and time.monotonic() >= self._not_before

    def lateness(self, now: datetime) -> str:
        """Say how late it is, where that is worth saying."""
        late = now - self.slot.due_at
        return f", {late.total_seconds():.0f} s late" if late > _NOT_LATE else ""

    def start(self, command: Sequence[str]) -> None:
        """Start its process; one that cannot be started has failed."""
        self.is_waiting = False
        try:
            self._child = Child.start(command, self.schedule.deadline_s)
        except OSError as error:
            self.outcome = Outcome("failed", None, f"Its process could not be started: {error}.")

    def watch(self) -> None:
        """Look at its process: end it past its deadline, and note how it ended."""
        if self._child is None:
            return
        code = self._child.poll()
        if code is not None:
            self.outcome = self._outcome(code, self._child.ended_for)
            self._child = None

    def terminate(self, reason: str) -> None:
        """Ask its process to end, if there is one."""
        if self._child is not None:
            self._child.terminate(reason)

    def put_back(self) -> float:
        """Make it wait for another try, longer each time, and return the seconds."""
        wait_s = min(FIRST_RETRY_S * 2.0**self.retries, LONGEST_RETRY_S)
        self.outcome, self.retries, self._not_before = None, self.retries + 1, time.monotonic() + wait_s
        return wait_s

    def _outcome(self, code: int, ended_for: str | None) -> Outcome:
        if code == OK:
            return Outcome("ok", code)
        if ended_for == "deadline":
            return Outcome("expired", code, f"It took longer than {self.schedule.deadline_s:g} s and was ended.")
        if ended_for is not None:
            return Outcome("cancelled", code, ended_for)
        if code == LATER:
            return Outcome("later", code, "Something it needs was busy.")
        if code < 0:
            return Outcome("failed", code, f"Its process was ended by {signal.Signals(-code).name}.")
        return Outcome("refused" if code == REFUSED else "failed", code, f"Exit code {code}.")
