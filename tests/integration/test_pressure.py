"""Real load on a real server, and a backfill that holds back for it: vacuum, waiting sessions, a query."""

from __future__ import annotations

import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import psycopg
import pytest
from psycopg import errors

from genonaut_lib.db.engine import Connection
from genonaut_lib.migration.pressure import Pressure, describe
from genonaut_lib.migration_settings import PressureSettings
from tests.factories import Gallery
from tests.waiting import until_found
from tests.watch import Watch, beside

Sessions = Callable[[], Connection]


def watch(connection: Connection, pids: Sequence[int] = (), **settings: object) -> Watch:
    """Watch the table `watched` for the sessions `pids`."""
    return Watch(Pressure(PressureSettings(**settings), ["watched"], lambda: pids), connection)


@pytest.fixture
def watched(connection: Connection) -> Connection:
    """A session, with a table of some hundred pages beside it."""
    connection.execute("create table watched (id bigint, filler text) with (autovacuum_enabled = false)")
    connection.execute("insert into watched select id, repeat('x', 500) from generate_series(1, 5000) id")
    return connection


def never_ending(janitor: Connection, command: str) -> Callable[[], None]:
    """Return the work of a slow vacuum that somebody cancels in the end."""
    janitor.execute("set vacuum_cost_delay = '100ms'")
    janitor.execute("set vacuum_cost_limit = 1")

    def vacuum() -> None:
        with pytest.raises(errors.QueryCanceled):
            janitor.execute(command)  # type: ignore[arg-type]

    return vacuum


def slow_index(connection: Connection) -> None:
    """Give the table an index that is slow to build again: a full vacuum knows no cost delay."""
    body = "create or replace function slowly(bigint) returns bigint immutable language plpgsql as "
    connection.execute(body + "'begin return $1; end'")
    connection.execute("create index on watched (slowly(id))")
    connection.execute(body + "'begin perform pg_sleep(0.01); return $1; end'")


@pytest.mark.parametrize(
    ("command", "called"),
    [("vacuum (disable_page_skipping) watched", "VACUUM"), ("vacuum full watched", "VACUUM FULL")],
)
def test_a_vacuum_of_our_table_pauses_until_it_ends(
    command: str, called: str, watched: Connection, second_session: Sessions
) -> None:
    """A real one, slowed down."""
    observed, janitor = watch(watched), second_session()
    slow_index(watched)
    observed.require_calm()
    with beside(never_ending(janitor, command)):
        try:
            reason = observed.require_pause("vacuum", time.monotonic())
        finally:
            janitor.cancel_safe()
    observed.require_going_on(time.monotonic())
    assert reason.finding == f"{called} runs on watched (pid {janitor.info.backend_pid})"


def test_a_vacuum_of_another_table_is_none_of_ours(watched: Connection, second_session: Sessions) -> None:
    """Only the tables the backfill reads or writes count."""
    observed, janitor = watch(watched), second_session()
    watched.execute("create table other as table watched")
    with beside(never_ending(janitor, "vacuum (disable_page_skipping) other")):
        until_found(watched, "select from pg_stat_progress_vacuum where pid = %s", janitor.info.backend_pid)
        found = observed.look()
        janitor.cancel_safe()
    assert found == ()


@contextmanager
def waiting_for_a_row(worker: Connection, waiter: Connection) -> Iterator[None]:
    """Have `waiter` wait for a row that `worker` holds, as long as the block lasts."""
    statement = "update watched set filler = '' where id = 1"
    worker.execute("begin")
    worker.execute(statement)
    with beside(lambda: waiter.execute(statement)):
        try:
            until_found(worker, "select from pg_locks where pid = %s and not granted", waiter.info.backend_pid)
            yield
        finally:
            worker.execute("rollback")


def test_a_session_that_waits_for_us_pauses_until_it_has_its_lock(
    watched: Connection, second_session: Sessions
) -> None:
    """A real row lock of one of our sessions."""
    worker, waiter = second_session(), second_session()
    observed = watch(watched, [worker.info.backend_pid], waiting_session_s=0.5)
    observed.require_calm()
    with waiting_for_a_row(worker, waiter):
        reason = observed.require_pause("waiting_sessions", time.monotonic())
    observed.require_going_on(time.monotonic())
    assert f"1 session waits for a lock of the backfill, pid {waiter.info.backend_pid}" in reason.finding


def test_a_session_that_waits_for_someone_else_is_none_of_ours(watched: Connection, second_session: Sessions) -> None:
    """Nothing is gained by holding back for a lock that another session has."""
    stranger, waiter = second_session(), second_session()
    observed = watch(watched, [second_session().info.backend_pid], waiting_session_s=0.1)
    with waiting_for_a_row(stranger, waiter):
        time.sleep(0.3)
        found = observed.look()
    assert found == ()


def test_a_start_that_waits_for_our_end_does_not_stop_us(watched: Connection, second_session: Sessions) -> None:
    """Two starts of one backfill meet in an advisory lock; if the first paused for the second, both would stand."""
    worker, waiter = second_session(), second_session()
    observed = watch(watched, [worker.info.backend_pid], waiting_session_s=0.1)
    worker.execute("select pg_advisory_lock(7)")
    with beside(lambda: waiter.execute("select pg_advisory_lock(7)")):
        until_found(worker, "select from pg_locks where pid = %s and not granted", waiter.info.backend_pid)
        time.sleep(0.3)
        found = observed.look()
        worker.execute("select pg_advisory_unlock(7)")
    assert found == ()


def test_the_users_query_pauses_while_it_is_over_its_limit(watched: Connection, second_session: Sessions) -> None:
    """A number of the user's own, such as the length of a queue."""
    observed = watch(watched, query="select count(*) from queue where note like '%a%'", query_limit=2)
    application = second_session()
    application.execute("create table queue as select 'a' as note")
    observed.require_calm()
    application.execute("insert into queue select 'a' from generate_series(1, 10)")
    reason = observed.require_pause("query", time.monotonic())
    application.execute("truncate queue")
    observed.require_going_on(time.monotonic())
    assert (reason.finding, reason.value, reason.limit) == ("pressure.query gave 11 (limit 2)", 11, 2)


@pytest.mark.parametrize(
    ("query", "says"),
    [
        ("select count(*) from no_such_table", 'relation "no_such_table" does not exist (42P01)'),
        ("select pg_sleep(60) is null", "statement timeout (57014)"),
        ("with gone as (delete from watched returning 1) select count(*) from gone", "read-only transaction (25006)"),
        ("select 1; commit; drop table watched", "multiple commands"),
        ("select 1 where false", "no single value"),
        ("select 1, 2", "no single value"),
        ("select generate_series(1, 3)", "no single value"),
        ("select null::integer", "gave None"),
        ("select 'NaN'::numeric", "gave Decimal('NaN')"),
        ("select 'five'", "gave 'five'"),
    ],
)
def test_a_query_that_cannot_be_answered_is_a_reason_that_says_why(query: str, says: str, watched: Connection) -> None:
    """It pauses, it is named, nothing was changed by it, and the session goes on being usable."""
    timeout_ms = 100 if "pg_sleep" in query else 30_000
    reasons = watch(watched, query=query, query_limit=1_000_000, query_timeout_ms=timeout_ms).look()
    assert [reason.signal for reason in reasons] == ["query"]
    assert says in describe(reasons)
    assert watched.execute("select count(*) from watched").fetchone() == (5000,)
    assert watched.execute("show transaction_read_only").fetchone() == ("off",)


def test_a_query_leaves_nothing_of_its_own_in_the_session(watched: Connection) -> None:
    """A setting it made would meet the next look, or whatever else the session is used for."""
    reasons = watch(watched, query="select set_config('work_mem', '77MB', false) is null").look()
    assert (reasons, watched.execute("show work_mem").fetchone() == ("77MB",)) == ((), False)


def test_a_lost_connection_is_not_taken_for_a_failed_query(watched: Connection, second_session: Sessions) -> None:
    """The engine, which opens sessions, hears of it."""
    observed = watch(watched, query="select pg_terminate_backend(pg_backend_pid())")
    with pytest.raises(psycopg.OperationalError):
        observed.look()


def test_a_look_waits_for_no_lock_on_the_gallery(
    connection: Connection, gallery: Gallery, second_session: Sessions
) -> None:
    """While someone holds the whole table, a look comes back at once."""
    tables = ["content_items", "content_items_auto", "users"]
    observed = Watch(Pressure(PressureSettings(wal_mb_per_s=1000), tables, lambda: [1]), connection)
    owner = second_session()
    connection.execute("set lock_timeout = '1ms'")
    with owner.transaction():
        owner.execute("lock content_items, content_items_auto, users in access exclusive mode")
        assert observed.look() == ()


def test_a_role_without_rights_is_told_what_it_does_not_see(watched: Connection, second_session: Sessions) -> None:
    """A sentence for every signal that it cannot read; granting what the sentence says makes it go."""
    role = f"plain_{uuid.uuid4().hex[:8]}"
    plain = second_session()
    watched.execute(f"create role {role}")  # type: ignore[arg-type]
    try:
        plain.execute(f"set role {role}")  # type: ignore[arg-type]
        observed = watch(plain)
        observed.look()
        before = observed.pressure.blind
        watched.execute(f"grant pg_monitor to {role}")  # type: ignore[arg-type]
        observed.look()
    finally:
        plain.close()
        watched.execute(f"drop role {role}")  # type: ignore[arg-type]
    assert [f"GRANT pg_monitor TO {role}" in sentence for sentence in before] == [True, True]
    assert ("lag of replicas" in before[0], "vacuums of other roles" in before[1]) == (True, True)
    assert observed.pressure.blind == ()


def test_a_table_that_is_not_there_is_said(connection: Connection) -> None:
    """A misspelt table would otherwise be watched by nobody."""
    observed = watch(connection)
    observed.look()
    assert observed.pressure.blind == ("There is no relation watched, so no vacuum of it is seen.",)


def test_a_signal_that_is_switched_off_is_not_read(watched: Connection, second_session: Sessions) -> None:
    """Null, or false for the vacuum, is silence: no reason and no sentence about rights."""
    worker, waiter = second_session(), second_session()
    off = {"replica_lag_s": None, "slot_retained_mb": None, "archiver_backlog_files": None, "pause_for_vacuum": False}
    observed = watch(watched, [worker.info.backend_pid], waiting_session_s=None, **off)
    with waiting_for_a_row(worker, waiter):
        long = "select from pg_locks where pid = %s and waitstart < clock_timestamp() - interval '1.1 s'"
        until_found(worker, long, waiter.info.backend_pid)
        found = observed.look()
    assert (found, observed.pressure.blind) == ((), ())
