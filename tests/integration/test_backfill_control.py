"""A backfill that is watched, paused, resumed, cancelled and retuned from another process."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace
from typing import Any

import pytest

from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import BackfillBusy, BackfillCancelled
from genonaut_lib.migration import backfill, control
from genonaut_lib.migration.backfill import BackfillResult, BackfillTask, Progress
from genonaut_lib.migration.crew import Backfill
from genonaut_lib.migration.phases import Context, backfill_content_tags
from genonaut_lib.settings import Settings
from tests.factories import Gallery
from tests.integration.conftest import Ended
from tests.migration.test_phases import apply_before
from tests.waiting import eventually

Command = Callable[..., Ended]
NAME = backfill_content_tags.TASK.name
SLOW = {"batch_rows_first": 2, "batch_rows_max": 2, "pause_s": 0.05}


@pytest.fixture
def unlinked(context: Context, gallery: Gallery) -> Connection:
    """A gallery of 200 items whose junction is still to be filled."""
    for _ in range(200):
        gallery.legacy_item(["a", "b"])
    apply_before(context, "backfill_content_tags")
    return context.connection


class Start(threading.Thread):
    """A start of the engine in a thread; `failure` is what ended it."""

    def __init__(self, settings: Settings, task: BackfillTask = backfill_content_tags.TASK, **knobs: float) -> None:
        super().__init__(daemon=True)
        throttle = settings.throttle.model_copy(update={**SLOW, **knobs})
        self.seen: list[Progress] = []
        self.job = Backfill(settings.model_copy(update={"throttle": throttle}), task, self.seen.append)
        self.failure: BaseException | None = None
        self.result: BackfillResult | None = None

    def run(self) -> None:
        try:
            self.result = self.job.run()
        except BaseException as error:  # noqa: BLE001  # looked at by the test
            self.failure = error


@contextmanager
def running(settings: Settings, connection: Connection, **knobs: float) -> Iterator[Start]:
    """A start that has done its first batch; ended when the block is left."""
    start = Start(settings, **knobs)
    start.start()
    eventually(lambda: rows_read(connection) > 0)
    yield start
    control.ask(connection, NAME, "cancel")
    start.join(30)


def rows_read(connection: Connection) -> int:
    return backfill.status(connection, NAME).rows_read


def status_of(command: Command) -> dict[str, Any]:
    found = command("backfill", "status", NAME, "--env", "test", "--json")
    return json.loads(found.said)[0]


def test_pause_holds_within_two_seconds_until_resume(
    unlinked: Connection, settings: Settings, command: Command
) -> None:
    """Nothing moves between pause and resume; both are in the record."""
    with running(settings, unlinked) as start:
        assert command("backfill", "pause", "--env", "test").code == 0
        time.sleep(2)
        held_at = rows_read(unlinked)
        time.sleep(1)
        assert rows_read(unlinked) == held_at < 200
        assert status_of(command)["state"] == "paused"
        assert command("backfill", "resume", NAME, "--env", "test").code == 0
        start.join(30)
        assert start.result is not None
        assert start.result.held_s > 2
    assert rows_read(unlinked) == 200
    assert [event for _, event, _ in control.events(unlinked, NAME)] == ["done", "resumed", "paused"]


def test_a_pause_outlives_the_process(unlinked: Connection, settings: Settings) -> None:
    """A start under a pause waits, and says what for."""
    control.ask(unlinked, NAME, "pause")
    start = Start(settings)
    start.start()
    eventually(lambda: bool(start.seen) and bool(start.seen[-1].held))
    assert rows_read(unlinked) == 0
    assert "paused by" in start.seen[-1].held[0]
    control.ask(unlinked, NAME, "run")
    start.join(30)
    assert rows_read(unlinked) == 200


def test_cancel_ends_the_start_and_keeps_what_is_done(
    unlinked: Connection, settings: Settings, command: Command
) -> None:
    """The next start is a new decision and goes on from there."""
    with running(settings, unlinked) as start:
        assert command("backfill", "cancel", "--env", "test").code == 0
        start.join(30)
    assert isinstance(start.failure, BackfillCancelled)
    done = rows_read(unlinked)
    assert 0 < done < 200
    again = Start(settings, pause_s=0)
    again.run()
    assert again.result is not None
    assert again.result.rows_read == 200 - done


def test_workers_and_pauses_are_retuned_while_it_runs(
    unlinked: Connection, settings: Settings, command: Command
) -> None:
    """Three workers at a second's rest become one that does not rest."""
    with running(settings, unlinked, workers=3, pause_s=1) as start:
        eventually(lambda: status_of(command)["engines"][0]["workers"] == 3)
        assert command("backfill", "set", "--workers", "1", "--pause-s", "0", "--env", "test").code == 0
        eventually(lambda: rows_read(unlinked) > 100)
        start.join(30)
    assert rows_read(unlinked) == 200
    retuned = [details for _, event, details in control.events(unlinked, NAME) if event == "retuned"]
    assert any(details.get("workers") == 1 and details.get("pause_s") == 0 for details in retuned)


def test_status_shows_rows_really_changed_and_the_time_left(
    unlinked: Connection, settings: Settings, command: Command
) -> None:
    """What a person asks first of a backfill."""
    with running(settings, unlinked):
        eventually(lambda: status_of(command)["engines"][0]["eta_s"] is not None)
        found = status_of(command)
        assert found["state"] == "running"
        assert found["rows_changed"] == 2 * found["rows_read"]
        assert found["engines"][0]["rows_per_second"] > 0
        assert NAME in command("backfill", "status", "--env", "test").said
    assert status_of(command)["state"] == "stopped"


def test_a_task_that_never_was_is_refused_by_name(unlinked: Connection, settings: Settings, command: Command) -> None:
    """The nearest known one is offered."""
    Start(settings, pause_s=0).run()
    ended = command("backfill", "pause", "backfil_content_tags", "--env", "test")
    assert ended.code == 2
    assert f"Did you mean '{NAME}'" in ended.said


def test_without_a_backfill_at_work_the_task_must_be_named(gallery: Gallery, command: Command) -> None:
    """A word to nobody is no word."""
    ended = command("backfill", "pause", "--env", "test")
    assert ended.code == 2
    assert "none is at work" in ended.said


def test_checkpoints_under_a_running_engine_are_not_dropped(unlinked: Connection, settings: Settings) -> None:
    """Whoever would begin anew is told who is at it."""
    with running(settings, unlinked, pause_s=0.5), pytest.raises(BackfillBusy, match="process"):
        backfill.forget(unlinked, NAME)
    assert rows_read(unlinked) > 0


def test_a_killed_engine_counts_as_gone_after_some_seconds(unlinked: Connection) -> None:
    """Its checkpoints can be dropped then, without anybody's word."""
    control.sign_on(unlinked, NAME, None)
    assert len(control.engines(unlinked, NAME)) == 1
    backfill.forget(unlinked, NAME)
    assert control.engines(unlinked, NAME) == []


def test_the_user_of_a_slow_task_is_told_what_is_left(unlinked: Connection, settings: Settings) -> None:
    """Progress names every source, and its last report is the whole."""
    task = replace(backfill_content_tags.TASK, name="twin")
    start = Start(settings, task, pause_s=0)
    start.run()
    last = {progress.source: progress.rows_read for progress in start.seen}
    assert last == {"regular": 200, "auto": 0}
    assert start.seen[-1].eta_s == 0
