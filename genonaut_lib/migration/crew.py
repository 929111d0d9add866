"""The backfill engine: a coordinator that starts workers, listens, holds them back, and reports.

The coordinator never touches the gallery. It looks at the wishes of people and at the pressure on
the server, and tells the workers between two of their batches.
"""

from __future__ import annotations

import threading
import time
import uuid
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, field

import psycopg

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import BackfillCancelled, DatabaseUnreachable
from genonaut_lib.migration import backfill, control
from genonaut_lib.migration.backfill import BackfillResult, BackfillTask, Progress
from genonaut_lib.migration.control import Beat, Wish
from genonaut_lib.migration.pressure import Pressure, Reason
from genonaut_lib.migration.tally import Tally
from genonaut_lib.migration.worker import Orders, Worker
from genonaut_lib.settings import Settings

LOOK_S = 0.5
"""How often the coordinator looks at wishes and pressure: a pause must come within two seconds."""
REPORT_S = 0.25
STOP_S = 10.0
"""How long a batch may take to end once a stop was ordered; its statement is cancelled then."""


@dataclass
class Backfill:
    """One start of a task: `run` works off what is left of it."""

    settings: Settings
    task: BackfillTask
    report: Callable[[Progress], None] = lambda progress: None
    run_id: uuid.UUID | None = None
    result: BackfillResult = field(default_factory=BackfillResult)

    def run(self) -> BackfillResult:
        """Work until nothing is left and return what this start did.

        Further engines may work on the same task at the same time; each row is done once. Raises
        BackfillCancelled when another process said so, LockNotAcquired when a row stays locked
        through all retries, DatabaseUnreachable when the server stays away.
        """
        engine_id, tally = self._sign_on()
        throttle = self.settings.throttle
        desk = _Desk(self, engine_id, tally, Orders(throttle.batch_target_s, throttle.pause_s))
        desk.work()
        return self.result

    def _sign_on(self) -> tuple[uuid.UUID, Tally]:
        """Cut the ranges and sign on; once more where somebody ended the session, since all of it may be done twice."""
        with engine.connect(self.settings) as connection:
            try:
                return self._sign_on_with(connection)
            except psycopg.OperationalError:
                if not connection.broken:
                    raise
        with engine.connect(self.settings) as connection:
            return self._sign_on_with(connection)

    def _sign_on_with(self, connection: Connection) -> tuple[uuid.UUID, Tally]:
        backfill.open_ranges(connection, self.task, self.settings.throttle.batch_rows_first)
        engine_id = control.sign_on(connection, self.task.name, self.run_id)
        return engine_id, Tally.of(backfill.totals(connection, self.task.name))


class _Desk:
    """The coordinator's side of one start."""

    def __init__(self, job: Backfill, engine_id: uuid.UUID, tally: Tally, orders: Orders) -> None:
        self.job = job
        self.task = job.task
        self.engine_id = engine_id
        self.tally = tally
        self.orders = orders
        self.crew: list[tuple[Worker, threading.Thread]] = []
        self.wish = Wish()
        self.reasons: tuple[Reason, ...] = ()
        self.pressure = Pressure(job.settings.pressure, job.task.tables, self._pids)
        self._session: Connection | None = None
        self._looked_at = self._lost_at = 0.0

    def work(self) -> None:
        """Run the crew to its end; stop it, and say so in the ledger, however this is left."""
        state = "failed"
        try:
            self._look()
            while self._is_at_work():
                self._tell()
                self._look_when_due()
            state = "done"
        except BackfillCancelled:
            state = "cancelled"
            raise
        except KeyboardInterrupt:
            state = "interrupted"
            raise
        finally:
            self._stop()
            self._leave(state)
        self._raise_failures()
        self._tell()

    def _is_at_work(self) -> bool:
        """Wait a moment, or until a worker ends; return whether any is left."""
        self._raise_failures()
        alive = [thread for _, thread in self.crew if thread.is_alive()]
        if alive:
            alive[0].join(REPORT_S)
        return bool(alive)

    def _raise_failures(self) -> None:
        for worker, _ in self.crew:
            if worker.failure is not None:
                raise worker.failure

    def _look_when_due(self) -> None:
        if time.monotonic() - self._looked_at >= LOOK_S:
            self._look()

    def _look(self) -> None:
        """Look at wishes and pressure, hand them on as orders, and show that this engine lives."""
        self._looked_at = time.monotonic()
        try:
            connection = self._connection()
            self._obey(connection, control.wish(connection, self.task.name))
            self._hold(connection, self._held_by(connection))
            control.beat(connection, self.engine_id, self._said())
            self._lost_at = 0.0
        except psycopg.OperationalError as error:
            self._await_server(error)
        self._man()

    def _obey(self, connection: Connection, wish: Wish) -> None:
        if wish.wanted == "cancel":
            raise BackfillCancelled(
                f"{self.task.name} was cancelled by {wish.requested_by}.",
                hint="What was done is kept; run the notebook again to go on from there.",
            )
        throttle = self.job.settings.throttle
        self.orders.batch_target_s = wish.batch_target_s or throttle.batch_target_s
        self.orders.pause_s = throttle.pause_s if wish.pause_s is None else wish.pause_s
        if wish.knobs != self.wish.knobs:
            details = asdict(wish.knobs) | {"requested_by": wish.requested_by}
            control.note(connection, self.task.name, self.engine_id, "retuned", **details)
        self.wish = wish

    def _held_by(self, connection: Connection) -> tuple[Reason, ...]:
        reasons = self.pressure.look(connection)
        if self.wish.wanted == "pause":
            asked = Reason("asked", f"paused by {self.wish.requested_by}", None, None)
            return (asked, *reasons)
        return reasons

    def _hold(self, connection: Connection, reasons: tuple[Reason, ...]) -> None:
        """Pause or go on; each change is an event with its reasons."""
        before = {reason.signal for reason in self.reasons}
        self.reasons = reasons
        self.tally.is_held(bool(reasons))
        if {reason.signal for reason in reasons} == before:
            return
        if reasons:
            self.orders.go.clear()
            self.job.result.reasons += [reason.finding for reason in reasons if reason.signal not in before]
        details = {"reasons": [asdict(reason) for reason in reasons]}
        control.note(connection, self.task.name, self.engine_id, "paused" if reasons else "resumed", **details)

    def _man(self) -> None:
        """Bring the crew to the wished size; with no reason to wait, let it go."""
        wanted = min(self.wish.workers or self.job.settings.throttle.workers, self.task.workers)
        present = [pair for pair in self.crew if not pair[0].dismissed]
        for worker, _ in present[wanted:]:
            worker.dismissed = True
        for _ in range(wanted - len(present) if not self._is_ending(present) else 0):
            self._hire()
        if not self.reasons:
            self.orders.go.set()

    def _is_ending(self, present: Sequence[tuple[Worker, threading.Thread]]) -> bool:
        """A worker that ended found nothing left to do; no further one is needed then."""
        return any(not thread.is_alive() for _, thread in present)

    def _hire(self) -> None:
        worker = Worker(self.job.settings, self.task, self.orders, self.tally.add)
        thread = threading.Thread(target=worker.run, name=f"{self.task.name}-{len(self.crew) + 1}", daemon=True)
        self.crew.append((worker, thread))
        thread.start()

    def _tell(self) -> None:
        held = tuple(reason.finding for reason in self.reasons)
        for progress in self.tally.progress(self.task.name, held):
            self.job.report(progress)

    def _said(self) -> Beat:
        alive = sum(thread.is_alive() for _, thread in self.crew)
        rate, eta = self.tally.rows_per_second, self.tally.eta_s
        reasons = [asdict(reason) for reason in self.reasons]
        state = "paused" if self.reasons else "running"
        orders = self.orders
        return Beat(state, reasons, alive, orders.batch_target_s, orders.pause_s, rate, eta, self.tally.active_s)

    def _stop(self) -> None:
        """End the crew after the batches it is at; a batch that takes too long is cancelled."""
        self.orders.stop.set()
        deadline = time.monotonic() + STOP_S
        for worker, thread in self.crew:
            thread.join(max(0.0, deadline - time.monotonic()))
            if thread.is_alive() and worker.connection is not None:
                worker.connection.cancel_safe()
                thread.join()
        self.tally.into(self.job.result, sum(worker.retries for worker, _ in self.crew))

    def _leave(self, state: str) -> None:
        """Sign off; where the server is gone, the silence says it."""
        failed = any(worker.failure for worker, _ in self.crew)
        state = "failed" if failed else state
        try:
            connection = self._connection()
            control.note(connection, self.task.name, self.engine_id, state, **self.tally.figures())
            control.sign_off(connection, self.engine_id, state)
        except (psycopg.OperationalError, DatabaseUnreachable):
            if state == "done":
                raise
        finally:
            if self._session is not None:
                self._session.close()

    def _connection(self) -> Connection:
        if self._session is None or self._session.closed:
            try:
                self._session = engine.connect(self.job.settings)
            except DatabaseUnreachable as error:
                raise psycopg.OperationalError(error.message) from error
        return self._session

    def _await_server(self, error: psycopg.OperationalError) -> None:
        """Let a lost session be opened anew at the next look, for as long as the settings allow."""
        if self._session is not None and not self._session.closed:
            raise error
        self._lost_at = self._lost_at or time.monotonic()
        if time.monotonic() - self._lost_at > self.job.settings.throttle.reconnect_s:
            raise error

    def _pids(self) -> list[int]:
        return [pid for worker, _ in self.crew if (pid := worker.pid) is not None]
