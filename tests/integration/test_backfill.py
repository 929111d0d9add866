"""Backfills that are killed, held up, run twice at once, or overtaken by writers."""

from __future__ import annotations

import random
import signal
import subprocess
import sys
import threading
import time
import uuid
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import psycopg
import pytest
from psycopg import errors, sql

from genonaut_lib.content.generation import SHAPES, generate
from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import LockNotAcquired
from genonaut_lib.migration import backfill, control, worker
from genonaut_lib.migration.backfill import BackfillResult, BackfillTask, open_ranges
from genonaut_lib.migration.crew import Backfill
from genonaut_lib.migration.junction_check import compare_junction
from genonaut_lib.migration.phases import Context, backfill_content_tags, backfill_tag_uuids
from genonaut_lib.migration.verify import compare
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import ContentSource, tag_id
from tests.factories import Gallery
from tests.migration.test_phases import apply_before
from tests.waiting import eventually

OpenSession = Callable[[], Connection]
UUIDS, JUNCTION = backfill_tag_uuids.TASK, backfill_content_tags.TASK
BATCHED = {"batch_rows_first": 20, "batch_rows_max": 20}
WORKER = """
import sys
from genonaut_lib.db import engine
from genonaut_lib.migration.crew import Backfill
from genonaut_lib.migration.phases import backfill_content_tags, backfill_tag_uuids
from genonaut_lib.settings import load_settings

task = {module.TASK.name: module.TASK for module in (backfill_content_tags, backfill_tag_uuids)}[sys.argv[1]]
settings = load_settings("test")
throttle = settings.throttle.model_copy(update={"batch_rows_first": 20, "batch_rows_max": 20, "pause_s": 0.005})
print("working", flush=True)
Backfill(settings.model_copy(update={"throttle": throttle}), task).run()
"""


def start_worker(task: BackfillTask) -> subprocess.Popen[bytes]:
    """Start a process that works on the task, and return once it does."""
    started = subprocess.Popen([sys.executable, "-c", WORKER, task.name], stdout=subprocess.PIPE)
    assert started.stdout is not None
    assert started.stdout.readline() == b"working\n"
    return started


def end_worker(started: subprocess.Popen[bytes]) -> None:
    started.send_signal(signal.SIGKILL)
    started.communicate()


def run(connection: Connection, task: BackfillTask, settings: Settings, **throttle: float) -> BackfillResult:
    knobs = settings.throttle.model_copy(update={**BATCHED, **throttle})
    return Backfill(settings.model_copy(update={"throttle": knobs}), task).run()


def count(connection: Connection, query: str) -> int:
    row = connection.execute(query).fetchone()  # type: ignore[arg-type]
    assert row is not None
    return int(row[0])


def items_in(connection: Connection) -> int:
    return sum(count(connection, f"select count(*) from {source.table}") for source in ContentSource)


def pairs_in_arrays(connection: Connection) -> int:
    return sum(
        count(connection, f"select coalesce(sum(cardinality(tags)), 0) from {source.table}") for source in ContentSource
    )


@pytest.fixture
def expanded(context: Context, gallery: Gallery) -> Connection:
    """A gallery of 1,500 partly dirty items that waits for its tag ids."""
    generate(context.connection, SHAPES["adversarial"], 1_500, seed=1)
    apply_before(context, "backfill_tag_uuids")
    return context.connection


@pytest.fixture
def unlinked(context: Context, gallery: Gallery) -> Connection:
    """A gallery of 300 items whose junction is still to be filled."""
    for source in ContentSource:
        for number in range(150):
            gallery.legacy_item(["a", "b", f"rare-{number % 7}"], source)
    apply_before(context, "backfill_content_tags")
    return context.connection


def test_a_worker_killed_again_and_again_loses_and_doubles_nothing(expanded: Connection, settings: Settings) -> None:
    """Whatever instant SIGKILL comes at, the checkpoints add up to every item, each read once."""
    dice, kills = random.Random(1), 0
    # On a busy machine a worker may be killed before its first batch: kills go on until there is something to lose.
    while kills < 4 or (kills < 40 and not backfill.status(expanded, UUIDS.name).rows_read):
        started = start_worker(UUIDS)
        time.sleep(dice.uniform(0, 0.25))
        end_worker(started)
        kills += 1
    last = run(expanded, UUIDS, settings)
    status = backfill.status(expanded, UUIDS.name)
    assert (status.rows_read, status.rows_changed, status.complete) == (1_500, 1_500, True)
    assert compare(settings, backfill_tag_uuids.COMPARISON).mismatches == ()
    assert last.rows_read < 1_500


def test_a_killed_junction_worker_leaves_each_pair_once(
    unlinked: Connection, context: Context, settings: Settings
) -> None:
    """Arrays, junction and the count of the checkpoints agree after two kills."""
    dice = random.Random(3)
    for _ in range(2):
        started = start_worker(JUNCTION)
        time.sleep(dice.uniform(0, 0.05))
        end_worker(started)
    run(unlinked, JUNCTION, settings)
    status = backfill.status(unlinked, JUNCTION.name)
    assert compare_junction(context).mismatches == ()
    assert status.rows_changed == count(unlinked, "select count(*) from content_tags") == pairs_in_arrays(unlinked)
    assert status.rows_read == items_in(unlinked)


def test_a_finished_backfill_run_again_reads_nothing(unlinked: Connection, settings: Settings) -> None:
    """The cursor stands at the end."""
    run(unlinked, JUNCTION, settings)
    assert run(unlinked, JUNCTION, settings).rows_read == 0


def test_rows_that_came_after_the_end_get_a_further_range(
    unlinked: Connection, settings: Settings, gallery: Gallery
) -> None:
    """A second start covers exactly what is new."""
    run(unlinked, JUNCTION, settings)
    before = backfill.status(unlinked, JUNCTION.name).ranges
    for _ in range(5):
        gallery.item([tag_id("a")])
    assert run(unlinked, JUNCTION, settings).rows_read == 5
    assert backfill.status(unlinked, JUNCTION.name).ranges == before + 1


def test_a_batch_that_fails_leaves_neither_rows_nor_checkpoint(unlinked: Connection, settings: Settings) -> None:
    """Batch and checkpoint stand or fall together."""
    broken = replace(JUNCTION.batch, text=JUNCTION.batch.text.replace("count(*) from topped_up", "1 / 0"))
    with pytest.raises(Exception, match="division by zero"):
        run(unlinked, replace(JUNCTION, batch=broken), settings)
    assert count(unlinked, "select count(*) from content_tags") == 0
    assert backfill.status(unlinked, JUNCTION.name).rows_read == 0


def test_an_array_that_holds_a_tag_twice_is_filled_once(unlinked: Connection, settings: Settings) -> None:
    """The plain statement fails on it; the careful one takes over for that batch, and for no other."""
    unlinked.execute(
        "update content_items set tags = array[%(tag)s, %(tag)s]::uuid[] where id = 3", {"tag": tag_id("a")}
    )
    unlinked.execute("delete from content_tags")
    # With two workers the other one may take the range over in between, and fail on it once as well.
    result = run(unlinked, JUNCTION, settings, batch_rows_first=10, batch_rows_max=10, workers=1)
    assert result.retries == 1
    assert result.rows_changed == count(unlinked, "select count(*) from content_tags")
    assert count(unlinked, "select count(*) from content_tags where content_id = 3 and content_source = 'regular'") == 1


def test_a_double_without_a_careful_statement_is_an_error(unlinked: Connection, settings: Settings) -> None:
    """It is not swallowed."""
    unlinked.execute(
        "update content_items set tags = array[%(tag)s, %(tag)s]::uuid[] where id = 3", {"tag": tag_id("a")}
    )
    unlinked.execute("delete from content_tags")
    with pytest.raises(errors.UniqueViolation):
        run(unlinked, replace(JUNCTION, careful=None), settings)


def test_engines_at_once_share_the_work(unlinked: Connection, settings: Settings) -> None:
    """Further starts join in; each row is done by exactly one of them."""
    results: list[BackfillResult] = []
    knobs = {"batch_rows_first": 5, "batch_rows_max": 5, "pause_s": 0.01}
    starts = [
        threading.Thread(target=lambda: results.append(run(unlinked, JUNCTION, settings, **knobs))) for _ in range(3)
    ]
    for start in starts:
        start.start()
    for start in starts:
        start.join()
    assert sum(result.rows_read for result in results) == 300
    assert sorted(result.rows_read for result in results)[1] > 0
    assert count(unlinked, "select count(*) from content_tags") == pairs_in_arrays(unlinked)


def test_a_range_held_by_a_dying_session_holds_up_no_other(
    unlinked: Connection, settings: Settings, second_session: OpenSession
) -> None:
    """The server may notice late that a worker is gone; its range waits, the rest does not."""
    open_ranges(unlinked, JUNCTION, 50)
    dying = second_session()
    dying.execute("begin")
    dying.execute("select from workbench.backfills where source = 'auto' and range_no = 2 for update")
    start = threading.Thread(target=lambda: run(unlinked, JUNCTION, settings))
    start.start()
    eventually(lambda: backfill.status(unlinked, JUNCTION.name).rows_read == 250)
    dying.close()
    start.join(30)
    assert backfill.status(unlinked, JUNCTION.name).complete


def test_as_many_workers_work_as_were_asked_for(unlinked: Connection, settings: Settings) -> None:
    """Three sessions hold three ranges at one moment."""
    knobs = {"workers": 3, "batch_rows_first": 5, "batch_rows_max": 5}
    slow = replace(JUNCTION, batch=replace(JUNCTION.batch, text=JUNCTION.batch.text + ", pg_sleep(0.1)"))
    open_ranges(unlinked, JUNCTION, 20)
    start = threading.Thread(target=lambda: run(unlinked, slow, settings, **knobs))
    start.start()
    busy = "select count(*) from pg_stat_activity where query like '%pg_sleep(0.1)%' and state = 'active'"
    busy += " and datname = current_database() and pid <> pg_backend_pid()"
    eventually(lambda: count(unlinked, busy) == 3)
    start.join()


def test_a_row_locked_by_a_writer_is_retried_in_smaller_batches(
    unlinked: Connection, settings: Settings, second_session: OpenSession
) -> None:
    """The batch steps back, comes again half as large, and ends complete once the writer commits."""
    writer = second_session()
    writer.execute("begin")
    writer.execute("update content_items set title = 'held' where id = 75")
    threading.Timer(2.5, writer.commit).start()
    result = run(unlinked, JUNCTION, settings)
    assert result.retries > 0
    assert result.batches > 300 // 20
    assert count(unlinked, "select count(*) from content_tags") == pairs_in_arrays(unlinked)


def test_a_row_locked_for_good_is_named_and_work_before_it_is_kept(
    unlinked: Connection, settings: Settings, second_session: OpenSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The retries have a bound; everything but its range is done, and the next start goes on from the row."""
    monkeypatch.setattr(worker, "MAX_RETRIES", 2)
    writer = second_session()
    writer.execute("begin")
    writer.execute("update content_items set title = 'held' where id = 75")
    with pytest.raises(LockNotAcquired, match=r"id (6|7)\d of content_items"):
        run(unlinked, JUNCTION, settings)
    writer.rollback()
    done = backfill.status(unlinked, JUNCTION.name).rows_read
    assert 250 < done < 300
    assert run(unlinked, JUNCTION, settings).rows_read == 300 - done


def test_a_batch_over_its_time_is_halved(unlinked: Connection, settings: Settings) -> None:
    """`batch_timeout_s` bounds a batch; a smaller one fits into it."""
    nap = "pg_sleep(case when (select count(*) from batch) > 20 then 0.1 else 0 end)"
    slow = JUNCTION.batch.text.replace("select b.id, b.tags,", f"select b.id + length({nap}::text) as id, b.tags,")
    task = replace(JUNCTION, batch=replace(JUNCTION.batch, text=slow))
    result = run(unlinked, task, settings, batch_rows_first=40, batch_timeout_s=1, batch_target_s=0.001)
    assert result.retries > 0
    assert result.rows_read == 300


class Writer(threading.Thread):
    """An application that inserts, retags and deletes until it is told to stop."""

    def __init__(self, settings: Settings) -> None:
        super().__init__()
        self.settings, self.stopped, self.writes = settings, threading.Event(), 0

    def run(self) -> None:
        dice = random.Random(5)
        names = [tag_id(name) for name in ("a", "b", "rare-1")]
        with engine.connect(self.settings) as connection:
            gallery = Gallery(connection)
            while not self.stopped.is_set():
                source, item = dice.choice(list(ContentSource)), dice.randint(1, 150)
                chosen = dice.sample(names, dice.randint(0, 3))
                gallery.item(chosen, source)
                connection.execute(f"update {source.table} set tags = %s where id = %s", [chosen, item])  # type: ignore[arg-type]
                connection.execute(f"delete from {source.table} where id = %s", [dice.randint(1, 150)])  # type: ignore[arg-type]
                self.writes += 1

    def stop(self) -> None:
        self.stopped.set()
        self.join()


def test_what_is_written_meanwhile_arrives_through_the_triggers(
    unlinked: Connection, context: Context, settings: Settings
) -> None:
    """Inserts, retags and deletes during the backfill leave arrays and junction equal."""
    writer = Writer(settings)
    writer.start()
    try:
        run(unlinked, JUNCTION, settings, batch_rows_first=3, batch_rows_max=3, pause_s=0.05)
    finally:
        writer.stop()
    assert writer.writes > 20
    assert compare_junction(context).mismatches == ()


def test_tags_taken_away_by_a_writer_in_flight_do_not_come_back(
    unlinked: Connection, context: Context, settings: Settings, second_session: OpenSession
) -> None:
    """The batch waits for whoever retags an item: its own snapshot still shows the tags from before."""
    writer = second_session()
    with writer.transaction():
        writer.execute("update content_items set tags = '{}' where id = 75")
        started = threading.Thread(target=run, args=(unlinked, JUNCTION, settings))
        started.start()
        waits = "select count(*) from pg_stat_activity where wait_event_type = 'Lock' and datname = current_database()"
        eventually(lambda: count(unlinked, waits) > 0 or not started.is_alive())
    started.join()
    assert compare_junction(context).mismatches == ()


def test_retags_during_the_first_backfill_are_kept(expanded: Connection, settings: Settings) -> None:
    """What an application wrote to the new column is not overwritten by the old names."""
    tag = tag_id("everything")
    stopped = threading.Event()
    written: set[int] = set()

    def retag() -> None:
        dice = random.Random(1)
        with engine.connect(settings) as session:
            while not stopped.is_set():
                item = dice.randint(1, 1_000)
                session.execute("update content_items_auto set tags = %s where id = %s", [[tag], item])
                written.add(item)

    application = threading.Thread(target=retag)
    application.start()
    run(expanded, UUIDS, settings, pause_s=0.05)
    stopped.set()
    application.join()
    rows = expanded.execute("select tags from content_items_auto where id = any(%s)", [list(written)]).fetchall()
    assert [row[0] for row in rows] == [[tag]] * len(written)
    assert len(written) > 20


def test_a_lost_session_is_opened_anew(unlinked: Connection, settings: Settings) -> None:
    """Whoever terminates our sessions delays the backfill, and no more."""
    knobs = {"batch_rows_first": 5, "batch_rows_max": 5, "pause_s": 0.05}
    start = threading.Thread(target=lambda: run(unlinked, JUNCTION, settings, **knobs))
    start.start()
    ours = "select count(pg_terminate_backend(pid)) from pg_stat_activity where application_name = 'genonaut'"
    ours += " and datname = current_database() and pid <> pg_backend_pid()"
    # Before its first batch it signs on, with a session that is opened anew once.
    eventually(lambda: backfill.status(unlinked, JUNCTION.name).rows_read > 0)
    for _ in range(3):
        eventually(lambda: count(unlinked, ours) > 0)
        time.sleep(0.2)
    start.join(30)
    status = backfill.status(unlinked, JUNCTION.name)
    assert (status.complete, status.rows_read, status.rows_changed) == (True, 300, pairs_in_arrays(unlinked))


def test_a_session_lost_while_it_signs_on_is_opened_anew(
    unlinked: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing was begun by then."""
    real, lost = control.sign_on, []

    def cut(connection: Connection, *arguments: Any) -> uuid.UUID:
        if not lost:
            lost.append(connection.info.backend_pid)
            unlinked.execute("select pg_terminate_backend(%s, 5000)", lost)
        return real(connection, *arguments)

    monkeypatch.setattr(control, "sign_on", cut)
    assert run(unlinked, JUNCTION, settings).rows_read == 300
    engines = "select count(*) from workbench.backfill_engines where task = 'backfill_content_tags'"
    assert count(unlinked, engines) == 1


def allow_connections(admin_url: str, database: str, *, allowed: bool) -> None:
    statement = sql.SQL("alter database {} with allow_connections {}")
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(statement.format(sql.Identifier(database), sql.Literal(allowed)))


def test_a_server_that_stays_away_ends_the_backfill_as_a_sentence(
    settings: Settings, unlinked: Connection, admin_url: str
) -> None:
    """It is tried for `reconnect_s`; what was done is kept."""
    knobs = {"batch_rows_first": 5, "batch_rows_max": 5, "pause_s": 0.05, "reconnect_s": 0.5}
    name = unlinked.info.dbname

    def shut() -> None:
        eventually(lambda: backfill.status(unlinked, JUNCTION.name).rows_read > 0)
        allow_connections(admin_url, name, allowed=False)
        unlinked.execute(
            "select pg_terminate_backend(pid) from pg_stat_activity where datname = current_database()"
            " and pid <> pg_backend_pid()"
        )

    shutting = threading.Thread(target=shut)
    shutting.start()
    with pytest.raises(engine.GenonautError, match="PostgreSQL"), engine.translated():
        run(unlinked, JUNCTION, settings, **knobs)
    shutting.join()
    allow_connections(admin_url, name, allowed=True)
    done = backfill.status(unlinked, JUNCTION.name).rows_read
    assert 0 < done < 300
    assert run(unlinked, JUNCTION, settings).rows_read == 300 - done


def test_an_item_with_id_zero_is_backfilled_too(context: Context, gallery: Gallery) -> None:
    """A range begins before the least id there is, whatever that is."""
    gallery.legacy_item(["a"], id=0)
    gallery.legacy_item(["a"], id=-5)
    apply_before(context, "backfill_tag_uuids")
    Backfill(context.settings, UUIDS).run()
    assert count(context.connection, "select count(*) from content_items where tags is null") == 0


def test_progress_counts_rows_really_changed(unlinked: Connection, settings: Settings) -> None:
    """Every report adds up to what was written, source by source."""
    seen: list[backfill.Progress] = []
    Backfill(settings, JUNCTION, seen.append).run()
    last = {progress.source: (progress.rows_read, progress.rows_total, progress.rows_changed) for progress in seen}
    assert last == {"regular": (150, 150, 450), "auto": (150, 150, 450)}
