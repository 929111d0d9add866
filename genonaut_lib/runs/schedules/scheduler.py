"""The scheduler: each sequence that is due runs once, in a process of its own, whatever becomes of schedulers.

Any number of them may run on one database. A time is claimed by a row and worked on under a lease (see
`schedule_book`); a time whose holder is gone is taken over. While the database is away, what is at work is
watched all the same, and what there is to write waits.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import psycopg

from genonaut_lib.db import engine
from genonaut_lib.errors import DatabaseUnreachable, DiskFull, GenonautError, ReadOnlyDatabase
from genonaut_lib.runs.schedules.children import KILL_AFTER_S
from genonaut_lib.runs.schedules.schedule_book import Book, Held, Slot
from genonaut_lib.runs.schedules.schedule_line import Line
from genonaut_lib.runs.schedules.scheduled_task import LATER, STOPPED, Outcome, Task
from genonaut_lib.runs.sequences import Schedule
from genonaut_lib.runs.stops import Orders, listening
from genonaut_lib.settings import Settings

TICK_S = 0.25
BEAT_S = 5.0
LATE = timedelta(seconds=60)
"""A time that is seen later than this was missed, and it is for `catch_up` to say what becomes of it."""
LOOK_BACK = timedelta(days=7)
"""Missed times further back are not listed."""
SETTLED_S = 10.0
"""After the database was away everybody beats again, before anybody takes over what was silent meanwhile."""
MOST_ATTEMPTS = 3
"""A time that outlived so many schedulers may be what they died of."""
DISOWNED = "Another scheduler took it over."


@dataclass(frozen=True)
class World:
    """What the scheduler has from outside: the command of a sequence, where to speak, and the time."""

    command: Callable[[str], Sequence[str]]
    say: Callable[[str], None]
    now: Callable[[], datetime] = lambda: datetime.now(UTC)


class Scheduler:
    """One scheduler on one database; `outcomes` are how the times it had ended, in the words of the ledger."""

    def __init__(self, settings: Settings, schedules: Mapping[str, Schedule], world: World) -> None:
        self.outcomes: list[str] = []
        self._schedules = schedules
        self._world = world
        self._line = Line(settings, world.say)
        self._seen: dict[str, datetime] = {}
        self._tasks: list[Task] = []
        self._beaten = 0.0
        self._is_patient = True

    def run(self) -> None:
        """Run until SIGTERM, SIGINT or SIGHUP, then end what is at work, and return.

        Raises the guard's refusals. A database that is away is waited for.
        """
        with listening() as orders, self._ending():
            while not orders.heard:
                self.tick()
                time.sleep(TICK_S)
            self._world.say(f"{orders.heard[0].name}: ending what is at work.")

    def run_once(self) -> list[str]:
        """Run what is due now, wait for it, and return how each time ended; raises what `connect` raises."""
        self._is_patient = False
        with listening() as orders, self._ending():
            self.tick()
            self._wait_for_tasks(orders)
        return self.outcomes

    def _wait_for_tasks(self, orders: Orders) -> None:
        while self._tasks and not orders.heard:
            time.sleep(TICK_S)
            self._advance(claiming=False)

    def tick(self) -> None:
        """Do what there is to do now: watch, write down, take over, claim, start."""
        self._advance(claiming=True)

    @contextlib.contextmanager
    def _ending(self) -> Iterator[None]:
        """End whatever is at work when the block ends, and leave what only waits to other schedulers."""
        try:
            yield
        finally:
            self._is_patient = False
            self._tasks = [task for task in self._tasks if task.is_running]
            limit = time.monotonic() + KILL_AFTER_S + 1
            while self._tasks and time.monotonic() < limit:
                for task in self._tasks:
                    task.terminate(STOPPED)
                self._advance(claiming=False)
                time.sleep(TICK_S / 5)
            self._line.close()

    def _advance(self, *, claiming: bool) -> None:
        for task in self._tasks:
            task.watch()
        try:
            with engine.translated():
                book = self._book()
                if book is not None:
                    self._work(book, claiming)
        except (DatabaseUnreachable, DiskFull, ReadOnlyDatabase, psycopg.OperationalError) as error:
            self._hang_up(error)

    def _work(self, book: Book, claiming: bool) -> None:
        self._settle(book)
        if time.monotonic() - self._beaten > BEAT_S:
            self._beaten = time.monotonic()
            self._beat(book, claiming)
            if claiming:
                self._take_over(book)
        if claiming:
            self._claim_due(book)
        self._start_waiting(book)

    def _hang_up(self, error: Exception) -> None:
        self._line.drop(error.message if isinstance(error, GenonautError) else f"The database failed: {error}")
        if not self._is_patient and not any(task.is_running for task in self._tasks):
            raise error

    def _book(self) -> Book | None:
        """Return the book, of a new session if need be, None while the next try for one is not due."""
        if not self._line.is_due:
            return self._line.book()
        book = self._line.open()
        for task in self._tasks:
            if task.is_running:
                book.lease(task.slot.pipeline)
        self._look_back(book)
        book.forget()
        self._beaten = 0.0
        return book

    def _look_back(self, book: Book) -> None:
        """Learn from the ledger up to when the times of each sequence were seen by anybody.

        A schedule that is new or was changed counts from now on, and the ledger is told so.
        """
        newest = book.newest(self._schedules)
        for name, schedule in self._schedules.items():
            due_at, times = newest.get(name, (None, None))
            if due_at is None or times != str(schedule):
                due_at = schedule.last_before(self._world.now())
                if book.claim(name, [due_at], str(schedule), "baseline"):
                    self._world.say(f"{name} is new here; it runs from {schedule.after(due_at):%Y-%m-%d %H:%M} UTC on.")
            self._seen[name] = max(due_at, self._seen.get(name, due_at))

    def _beat(self, book: Book, claiming: bool) -> None:
        """Show that this scheduler lives, and bring what it has in hand in line with what the ledger says."""
        held = book.beat()
        for task in self._tasks:
            if task.is_running and task.slot not in held:
                task.terminate(DISOWNED)
        # A session that was lost while it claimed does not tell whether it did.
        unknown = held - {task.slot for task in self._tasks}
        self._tasks += [Task(slot, self._schedules[slot.pipeline]) for slot in unknown if claiming]

    def _take_over(self, book: Book) -> None:
        for held in book.held_by_others(self._schedules):
            slot = held.slot
            if self._is_gone(held) and not self._runs_here(slot.pipeline) and book.take_over(held):
                self._world.say(f"{slot}: taken over, its scheduler on {held.holder.host} is gone.")
                task = Task(slot, self._schedules[slot.pipeline])
                self._tasks.append(task)
                if held.attempts >= MOST_ATTEMPTS:
                    self._end(book, task, Outcome("lost", None, f"Its scheduler was gone {held.attempts} times."))
                elif self._seen[slot.pipeline] > slot.due_at:
                    self._end(book, task, Outcome("lost", None, "Its scheduler was gone, and the next time has come."))

    def _is_gone(self, held: Held) -> bool:
        return held.is_dead or (held.is_silent and self._line.age_s > SETTLED_S)

    def _claim_due(self, book: Book) -> None:
        now = self._world.now()
        for name, schedule in self._schedules.items():
            dues = schedule.between(max(self._seen[name], now - LOOK_BACK), now)
            if not dues:
                continue
            is_missed = now - dues[-1] > LATE and schedule.catch_up == "none"
            self._note_missed(book, name, dues if is_missed else dues[:-1])
            if not is_missed and book.claim(name, dues[-1:], str(schedule), "queued"):
                self._tasks.append(Task(Slot(name, dues[-1]), schedule))
            self._seen[name] = dues[-1]

    def _note_missed(self, book: Book, name: str, dues: Sequence[datetime]) -> None:
        missed = sorted(book.claim(name, dues, str(self._schedules[name]), "missed")) if dues else []
        if missed:
            span = f"{missed[0]:%Y-%m-%d %H:%M} to {missed[-1]:%Y-%m-%d %H:%M} UTC"
            self._world.say(f"{name} was missed {len(missed)} times, {span}: no scheduler was at work.")

    def _start_waiting(self, book: Book) -> None:
        for task in [task for task in self._tasks if task.is_due]:
            pipeline = task.slot.pipeline
            if task.retries and self._seen[pipeline] > task.slot.due_at:
                self._end(book, task, Outcome("later", LATER, "It was busy until the next time came."))
            elif self._runs_here(pipeline) or not book.lease(pipeline):
                self._meet_overlap(book, task)
            elif book.start(task.slot):
                self._world.say(f"{task.slot}: started{task.lateness(self._world.now())}.")
                task.start(self._world.command(pipeline))
            else:
                book.release(pipeline)
                self._tasks.remove(task)

    def _runs_here(self, pipeline: str) -> bool:
        return any(task.is_running and task.slot.pipeline == pipeline for task in self._tasks)

    def _meet_overlap(self, book: Book, task: Task) -> None:
        """A sequence is at work when its next time comes: skip that, or let it wait, one at most."""
        if task.is_waiting or task.retries:
            return
        if task.schedule.overlap == "skip":
            self._end(book, task, Outcome("skipped", None, "The time before was still at work."))
        elif book.waits_already(task.slot):
            self._end(book, task, Outcome("skipped", None, "An earlier time waits already."))
        else:
            task.is_waiting = True
            self._world.say(f"{task.slot}: waits, the time before is still at work.")

    def _settle(self, book: Book) -> None:
        """Write down what ended since."""
        for task in list(self._tasks):
            outcome = task.outcome
            if outcome is None:
                continue
            if outcome.state == "later" and self._is_patient:
                book.put_back(task.slot, LATER, str(outcome.remark))
                self._world.say(f"{task.slot}: busy; tried again in {task.put_back():g} s.")
            else:
                self._end(book, task, outcome)
            book.release(task.slot.pipeline)

    def _end(self, book: Book, task: Task, outcome: Outcome) -> None:
        book.end(task.slot, outcome.state, outcome.exit_code, outcome.remark)
        self._tasks.remove(task)
        self.outcomes.append(outcome.state)
        self._world.say(f"{task.slot}: {outcome}.".replace("..", "."))
