"""Back-pressure from replicas, slots, the archiver, autovacuum and WAL: what only a server of a test's own shows."""

from __future__ import annotations

import contextlib
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from psycopg import conninfo

from genonaut_lib.db.engine import Connection
from genonaut_lib.migration.pressure import Pressure, Reason
from genonaut_lib.migration_settings import PressureSettings
from genonaut_lib.runs import replication
from tests import servers
from tests.waiting import eventually, until_found
from tests.watch import Watch, beside

MIB = 1024 * 1024
OPTIONS = {
    "archive_mode": "on",
    "archive_command": "true",
    "autovacuum": "on",
    "autovacuum_naptime": "1s",
    "wal_level": "logical",
    "wal_receiver_status_interval": "1s",
}


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    """The address of a primary that archives, and that looks for something to vacuum every second."""
    with servers.primary(**OPTIONS) as address:
        yield address


@pytest.fixture(scope="module")
def replica_url(url: str) -> Iterator[str]:
    """The address of the primary's streaming replica."""
    with servers.replica(url) as address:
        yield address


@pytest.fixture
def primary(url: str) -> Iterator[Connection]:
    with servers.session(url) as connection:
        yield connection


@pytest.fixture
def replica(replica_url: str, primary: Connection) -> Iterator[Connection]:
    """A session on the replica, which streams and has caught up."""
    with servers.session(replica_url) as connection:
        servers.wait_until_caught_up(primary)
        yield connection


def watch(connection: Connection, **settings: object) -> Watch:
    return Watch(Pressure(PressureSettings(**settings), ["watched"], list), connection)


def write(connection: Connection, mib: int = 1) -> None:
    """Write WAL, and see it on disk."""
    connection.execute("select pg_logical_emit_message(true, 'test', repeat('x', %s))", [mib * MIB])


def test_a_rate_of_wal_over_its_limit_pauses_until_it_falls(primary: Connection, url: str) -> None:
    """Real WAL, some 20 MB of it a second."""
    observed = watch(primary, wal_mb_per_s=5)
    enough = threading.Event()

    def write_on() -> None:
        with servers.session(url) as writer:
            while not enough.wait(0.05):
                write(writer)

    observed.require_calm()
    with beside(write_on):
        try:
            reason = observed.require_pause("wal_rate", time.monotonic())
        finally:
            enough.set()
    observed.require_going_on(time.monotonic())
    assert reason.value is not None
    assert reason.value > 5


@contextlib.contextmanager
def paused_replay(replica: Connection) -> Iterator[None]:
    """A replica that receives and does not replay, as one with a long query does."""
    replica.execute("select pg_wal_replay_pause()")
    until_found(replica, "select where pg_get_wal_replay_pause_state() = 'paused'")
    try:
        yield
    finally:
        replica.execute("select pg_wal_replay_resume()")


@contextlib.contextmanager
def silent_receiver(replica: Connection) -> Iterator[None]:
    """A replica that says nothing, as one behind a broken network; its last report stands in the view."""
    row = replica.execute("select pid from pg_stat_wal_receiver").fetchone()
    assert row is not None
    os.kill(row[0], signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(row[0], signal.SIGCONT)


@pytest.mark.parametrize("fault", [paused_replay, silent_receiver])
def test_a_replica_that_falls_behind_pauses_until_it_caught_up(
    fault: Callable[[Connection], contextlib.AbstractContextManager[None]], primary: Connection, replica: Connection
) -> None:
    """A real streaming replica, and a primary that writes once and then stands still, as a paused backfill does."""
    observed = watch(primary, replica_lag_s=0.5)
    observed.require_calm()
    with fault(replica):
        write(primary)
        reason = observed.require_pause("replica_lag", time.monotonic())
    observed.require_going_on(time.monotonic())
    assert reason.finding.startswith("replica walreceiver is ")
    assert reason.value is not None
    assert reason.value > 0.5


def test_the_lag_of_a_replica_grows_with_time_not_with_bytes(primary: Connection, replica: Connection) -> None:
    """However much WAL is missing, what counts is for how long; and it counts on while nothing is written."""
    observed = watch(primary, replica_lag_s=2)
    observed.require_calm()
    with paused_replay(replica):
        write(primary, 20)
        soon = observed.look()
        time.sleep(2.2)
        late = observed.look()
    assert [soon, [reason.signal for reason in late]] == [(), ["replica_lag"]]


def test_a_replica_that_lags_on_purpose_can_be_left_out(primary: Connection, replica: Connection) -> None:
    """A delayed replica would hold every backfill for ever."""
    counted, ignoring = (watch(primary, replica_lag_s=0.5, replicas_ignored=names) for names in ((), ("walreceiver",)))
    with paused_replay(replica):
        write(primary)
        looks = [(counted.look(), ignoring.look()) for _ in range(2) if not time.sleep(0.6)]
    assert [len(reasons) for reasons in looks[-1]] == [1, 0]


def test_a_role_without_rights_does_not_take_a_hidden_lag_for_none(primary: Connection, replica: Connection) -> None:
    """What paused while it could be read stays paused when it cannot be read any more."""
    observed = watch(primary, replica_lag_s=0.5)
    primary.execute("create role plain")
    with paused_replay(replica):
        write(primary)
        observed.look()
        observed.require_pause("replica_lag", time.monotonic())
        primary.execute("set role plain")
        observed.look()
        time.sleep(2.5)
        hidden = observed.look()
        primary.execute("reset role")
    primary.execute("drop role plain")
    assert [reason.signal for reason in hidden] == ["replica_lag"]
    assert "may not read the lag of replicas" in " ".join(observed.pressure.blind)


def test_a_run_does_not_tell_the_last_word_of_a_silent_replica_as_its_lag(
    primary: Connection, replica: Connection, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What a run's record says of it is how much it lacks; for how long nobody knows."""
    monkeypatch.setattr(replication, "SILENT_S", 0.5)
    eventually(lambda: [(one["lag_s"], one["behind_bytes"]) for one in replication.lags(primary) or ()] == [(0.0, 0)])
    with silent_receiver(replica):
        write(primary)
        until_found(primary, "select from pg_stat_replication where reply_time < now() - interval '1 s'")
        found = replication.lags(primary)
    assert [one["lag_s"] for one in found or ()] == [None]
    assert [one["behind_bytes"] >= MIB for one in found or ()] == [True]


def test_a_slot_that_keeps_too_much_wal_pauses_until_it_is_dropped(primary: Connection) -> None:
    """A replica that went away and left its slot fills the primary's disk."""
    primary.execute("checkpoint")
    primary.execute("select pg_create_physical_replication_slot('gone', true)")
    observed = watch(primary, slot_retained_mb=5)
    try:
        observed.require_calm()
        write(primary, 6)
        reason = observed.require_pause("slot", time.monotonic())
    finally:
        primary.execute("select pg_drop_replication_slot('gone')")
    observed.require_going_on(time.monotonic())
    assert reason.finding.startswith("the inactive replication slot gone keeps ")


@pytest.fixture
def subscriber(primary: Connection, url: str) -> Iterator[Connection]:
    """A session on a database that subscribes to the table `captured` of the primary."""
    primary.execute("create table captured (id int)")
    primary.execute("create publication capture for table captured")
    primary.execute("select pg_create_logical_replication_slot('capture', 'pgoutput')")
    primary.execute("create database subscriber")
    with servers.session(conninfo.make_conninfo(url, dbname="subscriber")) as connection:
        connection.execute("create table captured (id int)")
        connection.execute(
            f"create subscription capture connection '{url}' publication capture"  # type: ignore[arg-type]
            " with (create_slot = false, copy_data = false)"
        )
        # The replica alone would be every receiver, as long as this one is not there.
        until_found(primary, "select from pg_stat_replication where application_name = 'capture'")
        servers.wait_until_caught_up(primary)
        yield connection
        connection.execute("drop subscription capture")
    for leftover in ("database subscriber with (force)", "publication capture", "table captured"):
        primary.execute(f"drop {leftover}")  # type: ignore[arg-type]


def test_a_logical_receiver_counts_by_its_slot_and_not_by_its_lag(primary: Connection, subscriber: Connection) -> None:
    """It confirms when it pleases; the WAL it keeps meanwhile is what hurts."""
    with subscriber.transaction():
        subscriber.execute("lock captured")
        primary.execute("insert into captured values (1)")
        write(primary, 6)
        observed = watch(primary, replica_lag_s=0.5, slot_retained_mb=5)
        observed.look()
        time.sleep(0.8)
        found = observed.look()
        behind = (
            "select from pg_stat_replication where application_name = 'capture' and replay_lsn < pg_current_wal_lsn()"
        )
        until_found(primary, behind)
    assert [reason.signal for reason in found] == ["slot"]


def archive_with(primary: Connection, command: str) -> None:
    primary.execute(f"alter system set archive_command = '{command}'")  # type: ignore[arg-type]
    primary.execute("select pg_reload_conf()")


def fill_files(primary: Connection, count: int) -> str:
    """Fill `count` files of WAL, so that the archiver has something to do; return the name of the last one."""
    for _ in range(count):
        write(primary)
        row = primary.execute("select pg_walfile_name(pg_switch_wal() - 1)").fetchone()
    assert row is not None
    return str(row[0])


@pytest.fixture
def archiving(primary: Connection) -> Iterator[Connection]:
    """The primary, whose archiver has nothing left to do; it works again in the end."""
    archive_with(primary, "true")
    until_found(primary, "select from pg_stat_archiver where last_archived_wal >= %s", fill_files(primary, 1))
    yield primary
    archive_with(primary, "true")


def test_an_archiver_that_fails_pauses_until_it_succeeds(archiving: Connection) -> None:
    """A full or unreachable archive is noticed at the first file, not a hundred later."""
    observed = watch(archiving)
    # Nothing is due while it is calm; the server takes its settings up in its own time.
    archive_with(archiving, "false")
    observed.require_calm()
    fill_files(archiving, 1)
    reason = observed.require_pause("archiver", time.monotonic())
    archive_with(archiving, "true")
    observed.require_going_on(time.monotonic())
    assert reason.finding.startswith("the archiver failed ")


@pytest.mark.parametrize("forgotten", [False, True], ids=["counted", "listed"])
def test_an_archiver_that_is_too_slow_pauses_until_its_backlog_is_gone(forgotten: bool, archiving: Connection) -> None:
    """It fails at nothing, it only does not keep up; where its last file is not known, the waiting ones are listed."""
    observed = watch(archiving, archiver_backlog_files=3)
    row = archiving.execute("show data_directory").fetchone()
    assert row is not None
    slow = Path(row[0]) / "slow"
    slow.touch()
    archive_with(archiving, "while test -e slow; do sleep 0.1; done")
    try:
        observed.require_calm()
        fill_files(archiving, 4)
        archiving.execute("select pg_stat_reset_shared('archiver')" if forgotten else "select 1")
        reason = observed.require_pause("archiver", time.monotonic())
    finally:
        slow.unlink()
    observed.require_going_on(time.monotonic())
    assert reason == Reason("archiver", "4 WAL files wait for the archiver (limit 3 files)", 4, 3)


def test_a_backlog_that_cannot_be_told_is_said(archiving: Connection) -> None:
    """Neither a last archived file to count from, nor the right to list those that wait."""
    observed = watch(archiving, replica_lag_s=None, pause_for_vacuum=False)
    archiving.execute("select pg_stat_reset_shared('archiver')")
    archiving.execute("create role plain")
    archiving.execute("set role plain")
    found = observed.look()
    archiving.execute("reset role")
    archiving.execute("drop role plain")
    assert (found, len(observed.pressure.blind)) == ((), 1)
    assert "backlog cannot be told" in observed.pressure.blind[0]


def burn_transactions(connection: Connection, count: int) -> None:
    connection.execute(
        f"do $$ begin for n in 1..{count} loop perform pg_current_xact_id(); commit; end loop; end $$"  # type: ignore[arg-type]
    )


def autovacuumed(connection: Connection, **options: int) -> None:
    """Make a table that autovacuum takes up by itself, and needs long for; it cannot be told to leave wraparound."""
    slow = {"autovacuum_vacuum_cost_delay": 100, "autovacuum_vacuum_cost_limit": 1, **options}
    listed = ", ".join(f"{name} = {value}" for name, value in slow.items())
    connection.execute(f"create table watched (id int, filler text) with ({listed})")  # type: ignore[arg-type]
    connection.execute("insert into watched select n, repeat('x', 500) from generate_series(1, 5000) n")


@pytest.fixture
def table_dropped(primary: Connection) -> Iterator[Connection]:
    yield primary
    # An autovacuum against wraparound does not step aside for a lock.
    primary.execute("select pg_cancel_backend(pid) from pg_stat_progress_vacuum")
    primary.execute("drop table watched")


def test_an_ordinary_autovacuum_does_not_pause(table_dropped: Connection) -> None:
    """A backfill makes the dead rows that call for it, and would wait for itself again and again."""
    autovacuumed(table_dropped, autovacuum_vacuum_threshold=1, autovacuum_vacuum_scale_factor=0)
    table_dropped.execute("delete from watched where id > 4000")
    until_found(table_dropped, "select from pg_stat_progress_vacuum where relid = 'watched'::regclass")
    assert watch(table_dropped).look() == ()


def test_an_autovacuum_against_wraparound_pauses(table_dropped: Connection) -> None:
    """It must get done, and nothing it waits for steps aside on its own."""
    autovacuumed(table_dropped, autovacuum_freeze_max_age=100_000, autovacuum_enabled=False)
    burn_transactions(table_dropped, 110_000)
    until_found(table_dropped, "select from pg_stat_progress_vacuum where relid = 'watched'::regclass")
    found = watch(table_dropped).look()
    assert [reason.finding.split(" (pid")[0] for reason in found] == ["anti-wraparound autovacuum runs on watched"]
