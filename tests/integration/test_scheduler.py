"""The scheduler: one run for each time, whatever becomes of schedulers, of sequences and of the database."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any, LiteralString

import psutil
import pytest

from genonaut_lib.db import advisory, engine
from genonaut_lib.runs.pipelines import LOCK
from genonaut_lib.runs.schedules.schedule_book import Holder, Slot
from genonaut_lib.runs.schedules.scheduler import Scheduler, World
from genonaut_lib.runs.sequences import Schedule
from tests.integration.stage import Stage, folder_of_a_stage, says, staged
from tests.waiting import eventually

NOON = datetime(2026, 5, 4, 12, tzinfo=UTC)
SLEEP = "import sys, time; print('up', flush=True); time.sleep(60)"
CANCEL_WITHIN_S = 10.0
TAKEN_OVER_WITHIN_S = 60.0


@pytest.fixture(scope="module")
def stage(admin_url: str) -> Iterator[Stage]:
    """One project and one database for this file; each test has a sequence of its own."""
    with folder_of_a_stage() as root, staged(admin_url, root) as made:
        yield made


@dataclass
class Clock:
    """A clock that stands where a test puts it."""

    now: datetime = NOON

    def at(self, hour: int, minute: int = 0) -> None:
        self.now = NOON.replace(hour=hour, minute=minute)


@dataclass
class Keeper:
    """A scheduler that a test drives by hand; its sequences are processes of the test's own."""

    stage: Stage
    name: str
    clock: Clock
    said: list[str] = field(default_factory=list)
    code: str = "raise SystemExit(0)"

    def scheduler(self, **schedule: Any) -> Scheduler:
        times = Schedule(**{"cron": "0 * * * *", **schedule})
        world = World(lambda _: [sys.executable, "-c", self.code], self.said.append, lambda: self.clock.now)
        return Scheduler(self.stage.settings, {self.name: times}, world)

    def states(self) -> list[str]:
        return [state for _, state in times_of(self.stage, self.name)]


@pytest.fixture
def keeper(stage: Stage, request: pytest.FixtureRequest) -> Keeper:
    """What makes schedulers of a sequence that is this test's alone."""
    return Keeper(stage, request.node.name, Clock())


def times_of(stage: Stage, name: str) -> list[tuple[int, str]]:
    """Return hour and state of each time of a sequence, the baseline left out."""
    statement = (
        "select extract(hour from due_at at time zone 'UTC')::int, state from workbench.scheduled_runs"
        " where pipeline = %s and state <> 'baseline' order by due_at"
    )
    with engine.connect(stage.settings) as connection:
        return connection.execute(statement, [name]).fetchall()


def tick_until(keeper: Keeper, scheduler: Scheduler, states: list[str], seconds: float = 30.0) -> None:
    """Tick until the ledger says so."""
    deadline = time.monotonic() + seconds
    while True:
        scheduler.tick()
        if keeper.states() == states:
            return
        assert time.monotonic() < deadline, (keeper.states(), keeper.said)
        time.sleep(0.02)


def end(*schedulers: Scheduler) -> None:
    for scheduler in schedulers:
        with scheduler._ending():  # what `run` does at a signal
            pass


def test_a_new_schedule_counts_from_now_on(keeper: Keeper) -> None:
    """What was due before anybody knew of it is neither run nor missed."""
    scheduler = keeper.scheduler()
    scheduler.tick()
    assert keeper.states() == []
    keeper.clock.at(13)
    tick_until(keeper, scheduler, ["ok"])
    end(scheduler)


def test_a_time_is_claimed_by_one_scheduler_and_missed_by_none(keeper: Keeper) -> None:
    """Whoever comes second neither runs it nor calls it missed."""
    first, second = keeper.scheduler(), keeper.scheduler()
    first.tick()
    second.tick()
    keeper.clock.at(13)
    tick_until(keeper, first, ["ok"])
    second.tick()
    keeper.clock.at(14)
    tick_until(keeper, second, ["ok", "ok"])
    assert sum("started" in line for line in keeper.said) == 2
    assert not any("was missed" in line for line in keeper.said)
    end(first, second)


@pytest.mark.parametrize(("catch_up", "states"), [("none", ["missed"] * 3), ("once", ["missed", "missed", "ok"])])
def test_missed_times_are_recorded_and_said(catch_up: str, states: list[str], keeper: Keeper) -> None:
    """No scheduler was there at one, two and three; the newest is caught up with if that is the policy."""
    end_after_tick(keeper.scheduler(catch_up=catch_up))
    keeper.clock.at(15, 5)
    scheduler = keeper.scheduler(catch_up=catch_up)
    tick_until(keeper, scheduler, states)
    assert any(f"missed {states.count('missed')} times, 2026-05-04 13:00" in line for line in keeper.said)
    end(scheduler)


def end_after_tick(scheduler: Scheduler) -> None:
    scheduler.tick()
    end(scheduler)


def test_a_time_that_comes_while_the_sequence_runs_is_skipped(keeper: Keeper) -> None:
    """It is so whichever scheduler claims it; nothing runs twice at once."""
    keeper.code = SLEEP
    first, second = keeper.scheduler(), keeper.scheduler()
    first.tick()
    second.tick()
    keeper.clock.at(13)
    tick_until(keeper, first, ["running"])
    keeper.clock.at(14)
    tick_until(keeper, second, ["running", "skipped"])
    keeper.clock.at(15)
    tick_until(keeper, first, ["running", "skipped", "skipped"])
    end(first, second)
    assert keeper.states() == ["cancelled", "skipped", "skipped"]


def test_a_queued_time_waits_for_the_one_before_and_is_the_only_one_to_wait(keeper: Keeper, tmp_path: Path) -> None:
    """It starts when the other has ended, in whichever scheduler."""
    gate = tmp_path / "gate"
    keeper.code = f"import os, time\nwhile not os.path.exists({str(gate)!r}): time.sleep(0.05)"
    first, second = keeper.scheduler(overlap="queue"), keeper.scheduler(overlap="queue")
    first.tick()
    second.tick()
    keeper.clock.at(13)
    tick_until(keeper, first, ["running"])
    keeper.clock.at(14)
    tick_until(keeper, second, ["running", "queued"])
    keeper.clock.at(15)
    tick_until(keeper, first, ["running", "queued", "skipped"])
    gate.touch()
    tick_until(keeper, first, ["ok", "queued", "skipped"])
    tick_until(keeper, second, ["ok", "ok", "skipped"])
    end(first, second)


def test_a_sequence_past_its_deadline_is_ended(keeper: Keeper) -> None:
    """It gets SIGTERM, which it may use to close its record."""
    keeper.code = SLEEP
    scheduler = keeper.scheduler(deadline_s=0.5)
    scheduler.tick()
    keeper.clock.at(13)
    tick_until(keeper, scheduler, ["expired"])
    assert any("longer than 0.5 s" in line for line in keeper.said)
    end(scheduler)


def test_a_sequence_that_ignores_sigterm_is_killed(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its deadline holds all the same."""
    monkeypatch.setattr("genonaut_lib.runs.schedules.children.KILL_AFTER_S", 0.5)
    keeper.code = f"import signal; signal.signal(signal.SIGTERM, signal.SIG_IGN); {SLEEP}"
    scheduler = keeper.scheduler(deadline_s=1.0)
    scheduler.tick()
    keeper.clock.at(13)
    tick_until(keeper, scheduler, ["expired"])
    end(scheduler)


def test_exit_code_75_is_tried_again_until_the_next_time(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was busy may be free a little later; the next time ends the waiting."""
    monkeypatch.setattr("genonaut_lib.runs.schedules.scheduled_task.FIRST_RETRY_S", 0.5)
    keeper.code = "raise SystemExit(75)"
    scheduler = keeper.scheduler()
    scheduler.tick()
    keeper.clock.at(13)
    tick_until(keeper, scheduler, ["queued"])
    eventually(lambda: scheduler.tick() or sum("busy" in line for line in keeper.said) > 1)
    keeper.clock.at(14)
    keeper.code = "raise SystemExit(0)"
    tick_until(keeper, scheduler, ["later", "ok"])
    end(scheduler)


@pytest.mark.parametrize(("code", "state"), [("1", "failed"), ("2", "refused"), ("-9", "failed")])
def test_how_a_sequence_ended_is_what_the_ledger_says(code: str, state: str, keeper: Keeper) -> None:
    """A killed process has failed; one that was refused did nothing."""
    kill = "import os; os.kill(os.getpid(), 9)"
    keeper.code = kill if code == "-9" else f"raise SystemExit({code})"
    scheduler = keeper.scheduler()
    scheduler.tick()
    keeper.clock.at(13)
    tick_until(keeper, scheduler, [state])
    end(scheduler)


def test_a_lost_session_keeps_the_sequence_at_work(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """The outage is said once, the sequence goes on, and how it ended is written down afterwards."""
    monkeypatch.setattr("genonaut_lib.runs.schedules.schedule_line.RECONNECT_S", 0.2)
    keeper.code = "import time; time.sleep(1)"
    scheduler = keeper.scheduler()
    scheduler.tick()
    keeper.clock.at(13)
    tick_until(keeper, scheduler, ["running"])
    with engine.connect(keeper.stage.settings) as connection:
        connection.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity"
            " where datname = current_database() and pid <> pg_backend_pid()"
        ).fetchall()
    tick_until(keeper, scheduler, ["ok"])
    assert sum("Trying again" in line for line in keeper.said) == 1
    assert "The database answers again." in keeper.said
    end(scheduler)


def test_a_silent_scheduler_of_another_machine_loses_its_time(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its lease is free and nobody saw it for long, so another one does the work; a living one keeps it."""
    monkeypatch.setattr("genonaut_lib.runs.schedules.scheduler.SETTLED_S", 0.0)
    monkeypatch.setattr("genonaut_lib.runs.schedules.scheduler.BEAT_S", 0.1)
    scheduler = keeper.scheduler()
    scheduler.tick()
    enter(keeper, 13, seen_s_ago=5)
    keeper.clock.at(13)
    for _ in range(5):
        scheduler.tick()
        time.sleep(0.1)
    assert keeper.states() == ["running"]
    enter(keeper, 13, seen_s_ago=31)
    tick_until(keeper, scheduler, ["ok"])
    assert any("taken over, its scheduler on elsewhere is gone" in line for line in keeper.said)
    end(scheduler)


def test_a_sequence_that_another_scheduler_took_over_is_ended(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """It may run once; how the other one fares is not overwritten."""
    monkeypatch.setattr("genonaut_lib.runs.schedules.scheduler.BEAT_S", 0.1)
    keeper.code = SLEEP
    scheduler = keeper.scheduler()
    scheduler.tick()
    keeper.clock.at(13)
    tick_until(keeper, scheduler, ["running"])
    change(keeper, "set scheduler_id = gen_random_uuid(), host = 'elsewhere'")
    eventually(lambda: scheduler.tick() or "Another scheduler took it over." in keeper.said[-1])
    assert keeper.states() == ["running"]
    end(scheduler)


def test_a_claim_whose_answer_was_lost_is_kept(keeper: Keeper, monkeypatch: pytest.MonkeyPatch) -> None:
    """The row is there and nobody else will work on it."""
    monkeypatch.setattr("genonaut_lib.runs.schedules.scheduler.BEAT_S", 0.1)
    scheduler = keeper.scheduler()
    scheduler.tick()
    enter(keeper, 13, seen_s_ago=0, attempts=0)
    keeper.clock.at(13)
    scheduler.tick()
    change(keeper, "set state = 'queued', scheduler_id = %s", scheduler._line.holder.scheduler_id)
    tick_until(keeper, scheduler, ["ok"])
    end(scheduler)


def change(keeper: Keeper, what: LiteralString, *values: object) -> None:
    """Change the times of a sequence behind the scheduler's back, its baseline left out."""
    statement = "update workbench.scheduled_runs " + what + " where pipeline = %s and state <> 'baseline'"
    with engine.connect(keeper.stage.settings) as connection:
        connection.execute(statement, [*values, keeper.name])


def test_a_time_that_several_schedulers_died_of_is_given_up(keeper: Keeper) -> None:
    """It would kill the next one, too."""
    end_after_tick(keeper.scheduler())
    enter(keeper, 13, seen_s_ago=0, attempts=3, host=Holder().host)
    keeper.clock.at(13)
    scheduler = keeper.scheduler()
    tick_until(keeper, scheduler, ["lost"])
    end(scheduler)


def enter(keeper: Keeper, hour: int, *, seen_s_ago: float, attempts: int = 1, host: str = "elsewhere") -> None:
    """Enter a time as another scheduler would that no process is behind."""
    slot = Slot(keeper.name, NOON.replace(hour=hour))
    with engine.connect(keeper.stage.settings) as connection:
        connection.execute(
            "insert into workbench.scheduled_runs"
            " (pipeline, due_at, times, state, scheduler_id, host, process_id, attempts, seen_at)"
            " values (%s, %s, '0 * * * * UTC', 'running', gen_random_uuid(), %s, 4194305, %s, now() - %s)"
            " on conflict (pipeline, due_at) do update set seen_at = excluded.seen_at",
            [slot.pipeline, slot.due_at, host, attempts, timedelta(seconds=seen_s_ago)],
        )


# The command, with notebooks.


WORK = "import time\nprint('at work', flush=True)\ntime.sleep(60)"


def prepare(stage: Stage, name: str, *cells: str) -> None:
    """Make an hourly sequence that was due half an hour ago, as nobody saw, and is not due again while a test runs."""
    notebook = stage.notebook(name, *cells)
    due = datetime.now(UTC).replace(second=0, microsecond=0) - timedelta(minutes=30)
    cron = f"{due.minute} * * * *"
    content = {"cron": cron, "catch_up": "once", "steps": [notebook]}
    (stage.root / "params" / "pipelines.yaml").write_text(json.dumps({name: content}))
    with engine.connect(stage.settings) as connection:
        connection.execute(
            "insert into workbench.scheduled_runs (pipeline, due_at, times, state, scheduler_id, host, process_id)"
            " values (%s, %s, %s, 'baseline', gen_random_uuid(), 'h', 1)",
            [name, due - timedelta(hours=1), f"{cron} UTC"],
        )


def processes(stage: Stage, *arguments: str, count: int = 1) -> list[subprocess.Popen[str]]:
    return [stage.start("scheduler", "--env", "test", *arguments) for _ in range(count)]


def finish(process: subprocess.Popen[str]) -> str:
    return process.communicate(timeout=90)[0]


def test_ten_schedulers_at_once_make_one_run(stage: Stage) -> None:
    """Each of them finds the same time due. Another sequence that has a schedule is at work beside it."""
    prepare(stage, "81_ten_at_once", "1")
    with engine.connect(stage.settings) as review:
        assert advisory.try_hold(review, LOCK, shared=True)
        started = processes(stage, "--once", count=10)
        said = [finish(process) for process in started]
    assert [process.returncode for process in started] == [0] * 10, said
    assert stage.rows("state", "81_ten_at_once") == [("ok",)]
    assert sum("started" in text for text in said) == 1
    assert [state for _, state in times_of(stage, "81_ten_at_once")] == ["ok"]


def test_sigterm_leaves_a_clean_record_and_exit_code_0(stage: Stage) -> None:
    """The sequence reaches its checkpoint, its run is cancelled, nothing is left behind; all within ten seconds."""
    prepare(stage, "82_stopped", WORK)
    [process] = processes(stage)
    eventually(lambda: says(stage.record_path("82_stopped"), "at work"))
    children = psutil.Process(process.pid).children(recursive=True)
    asked = time.monotonic()
    process.send_signal(signal.SIGTERM)
    said = finish(process)
    assert (process.returncode, time.monotonic() - asked < CANCEL_WITHIN_S) == (0, True), said
    assert stage.rows("state", "82_stopped") == [("cancelled",)]
    assert [state for _, state in times_of(stage, "82_stopped")] == ["cancelled"]
    eventually(lambda: not any(child.is_running() for child in children))


def test_the_time_of_a_killed_scheduler_is_taken_over_and_goes_on(stage: Stage, tmp_path: Path) -> None:
    """Its sequence follows it into death with a clean record, and another scheduler runs it to the end."""
    gate = tmp_path / "gate"
    prepare(stage, "83_taken_over", f"import os, time\nprint('at work', flush=True)\n"
            f"while not os.path.exists({str(gate)!r}): time.sleep(0.1)")  # fmt: skip
    [doomed] = processes(stage)
    eventually(lambda: says(stage.record_path("83_taken_over"), "at work"))
    [heir] = processes(stage)
    doomed.kill()
    killed = time.monotonic()
    finish(doomed)
    eventually(lambda: len(stage.rows("state", "83_taken_over")) > 1, TAKEN_OVER_WITHIN_S)
    assert time.monotonic() - killed < TAKEN_OVER_WITHIN_S
    gate.touch()
    eventually(lambda: [state for _, state in times_of(stage, "83_taken_over")] == ["ok"])
    heir.send_signal(signal.SIGTERM)
    said = finish(heir)
    assert (heir.returncode, "taken over" in said) == (0, True), said
    assert stage.rows("state", "83_taken_over") == [("cancelled",), ("ok",)]


def test_a_migration_at_work_keeps_a_sequence_waiting_with_exit_code_75(stage: Stage) -> None:
    """It is alone on its database; nothing ran, and a later try may do."""
    prepare(stage, "84_busy", "1")
    with engine.connect(stage.settings) as migration:
        assert advisory.try_hold(migration, LOCK)
        [process] = processes(stage, "--once")
        said = finish(process)
    assert (process.returncode, stage.rows("state", "84_busy")) == (75, []), said
    assert [state for _, state in times_of(stage, "84_busy")] == ["later"]


def test_a_database_that_is_away_is_waited_for_and_said(stage: Stage) -> None:
    """SIGTERM still ends the scheduler at once, with exit code 0; with --once it is refused."""
    prepare(stage, "85_away", "1")
    away = "postgresql://localhost:1/nothing"
    waiting = stage.start("scheduler", "--env", "test", DATABASE_URL=away)
    once = stage.start("scheduler", "--env", "test", "--once", DATABASE_URL=away)
    assert waiting.stdout is not None
    assert "Trying again every 2 s" in waiting.stdout.readline()
    waiting.send_signal(signal.SIGTERM)
    finish(waiting)
    assert (waiting.returncode, finish(once) and once.returncode) == (0, 2)
