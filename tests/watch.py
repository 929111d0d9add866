"""Looks about once a second, as the backfill engine does, and times how soon a reason comes and goes."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass

from genonaut_lib.db.engine import Connection
from genonaut_lib.migration.pressure import Pressure, Reason

LOOK_EVERY_S = 0.8
PAUSES_WITHIN_S = 2.0
GOES_ON_WITHIN_S = 10.0


@dataclass
class Watch:
    """One `Pressure` and the session it looks with."""

    pressure: Pressure
    connection: Connection

    def look(self) -> tuple[Reason, ...]:
        return self.pressure.look(self.connection)

    def require_calm(self) -> None:
        """Look twice, so that a rate and a history are there, and find nothing."""
        for _ in range(2):
            assert self.look() == ()
            time.sleep(LOOK_EVERY_S)

    def require_pause(self, signal: str, since: float) -> Reason:
        """Return the reason of `signal`, which comes within the promised time after `since`."""
        found = self._until(since + PAUSES_WITHIN_S, lambda reasons: signal in {found.signal for found in reasons})
        return next(reason for reason in found if reason.signal == signal)

    def require_going_on(self, since: float) -> None:
        """Return once there is no reason left, which is within the promised time after `since`."""
        self._until(since + GOES_ON_WITHIN_S, lambda reasons: not reasons)

    def _until(self, deadline: float, wanted: Callable[[tuple[Reason, ...]], bool]) -> tuple[Reason, ...]:
        overslept_s = 0.0
        while True:
            asleep = time.monotonic()
            time.sleep(LOOK_EVERY_S)
            overslept_s += time.monotonic() - asleep - LOOK_EVERY_S
            reasons = self.look()
            # How long a busy machine leaves a sleeper asleep is neither the product's doing nor its promise.
            late = time.monotonic() - overslept_s - deadline
            if wanted(reasons) and late <= 0:
                return reasons
            assert late < 0, f"{late:.1f} s late: {reasons}"


@contextmanager
def beside(work: Callable[[], object]) -> Iterator[None]:
    """Carry `work` out beside the block, which brings it to its end; what it raises is raised then."""
    with ThreadPoolExecutor(1) as pool:
        working = pool.submit(work)
        yield
        working.result(timeout=30)
