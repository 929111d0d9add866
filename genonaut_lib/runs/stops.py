"""What may end a run before its notebook does: signals, and its deadline."""

from __future__ import annotations

import contextlib
import signal
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from types import FrameType

from genonaut_lib.errors import GenonautError, RunInterrupted, RunOverdue

HEARD = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
AGAIN = "What was done is kept; run the same command again to go on from there."


@dataclass
class Orders:
    """The signals that reached this process while it listened: the first asks to stop, a second one to hurry."""

    heard: list[signal.Signals] = field(default_factory=list)

    def note(self, number: int, frame: FrameType | None) -> None:
        """Take a signal down; whoever is at work looks here several times a second."""
        self.heard.append(signal.Signals(number))

    @property
    def hurry(self) -> bool:
        """Whether somebody asked twice."""
        return len(self.heard) > 1

    def interruption(self) -> RunInterrupted | None:
        """Return what to raise, None while nothing was heard."""
        if not self.heard:
            return None
        name = self.heard[0].name
        return RunInterrupted(f"The run was stopped by {name}.", hint=AGAIN, by=name)

    def obey(self) -> None:
        """Raise RunInterrupted if a signal was heard."""
        found = self.interruption()
        if found is not None:
            raise found


@dataclass(frozen=True)
class Limits:
    """When a run is to stop: at a signal, or at `deadline`, a time of the monotonic clock.

    A cell gets `grace_s` to end in; its process is killed then.
    """

    orders: Orders = field(default_factory=Orders)
    deadline: float | None = None
    deadline_s: float | None = None
    grace_s: float = 5.0

    @classmethod
    def within(cls, orders: Orders, deadline_s: float | None, grace_s: float) -> Limits:
        """Return the limits of a run that starts now and may take `deadline_s` seconds."""
        deadline = None if deadline_s is None else time.monotonic() + deadline_s
        return cls(orders, deadline, deadline_s, grace_s)

    def reached(self) -> GenonautError | None:
        """Return what ends the run now, None while nothing does."""
        if self.deadline is not None and time.monotonic() > self.deadline:
            message = f"The run went past its deadline of {self.deadline_s:g} s and was ended."
            return self.orders.interruption() or RunOverdue(message, hint=AGAIN)
        return self.orders.interruption()


@contextlib.contextmanager
def listening() -> Iterator[Orders]:
    """Take SIGINT, SIGTERM and SIGHUP as orders for a block; inside another such block they are that block's.

    Only the main thread can listen; elsewhere the orders stay empty. A signal that this process
    ignores (SIGHUP under nohup) stays ignored.
    """
    outer = _orders_in_force()
    if outer is not None or threading.current_thread() is not threading.main_thread():
        yield outer or Orders()
        return
    orders = Orders()
    before = {number: signal.getsignal(number) for number in HEARD}
    taken = {number: handler for number, handler in before.items() if handler not in (None, signal.SIG_IGN)}
    for number in taken:
        signal.signal(number, orders.note)
    try:
        yield orders
    finally:
        for number, handler in taken.items():
            signal.signal(number, handler)


def _orders_in_force() -> Orders | None:
    found = (getattr(signal.getsignal(number), "__self__", None) for number in HEARD)
    return next((one for one in found if isinstance(one, Orders)), None)
