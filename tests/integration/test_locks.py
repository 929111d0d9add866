"""DDL against sessions that are in its way."""

from __future__ import annotations

import os
import threading
import time
import uuid
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest
from psycopg import conninfo, errors, sql

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.locks import Manner, Waiting, blockers, run_ddl
from genonaut_lib.db.statements import Block, block
from genonaut_lib.errors import LockNotAcquired, SettingNotTaken
from genonaut_lib.migration import revisions
from genonaut_lib.migration.indexes import build_index
from genonaut_lib.migration.phases import Context
from genonaut_lib.migration.phases.attach_partitions import AttachPartitions
from genonaut_lib.migration.runner import apply_plan, verify_phase
from genonaut_lib.settings import DatabaseSettings, Settings
from tests.databases import database, settings_of
from tests.factories import Gallery
from tests.migration.test_phases import apply_before
from tests.waiting import eventually

OpenSession = Callable[[], Connection]
ADD_COLUMN = Block("tests", "add_column", "alter table content_items add column added integer").sql()
KEYSET = "idx_content_items_created_id_desc"
INDEX = block("attach_partitions", "create_keyset_index").sql(table="content_items", index=KEYSET)
READ = "select count(*) from content_items"
WRITE = "update content_items set title = 'held'"
BLOCKED_S = float(os.environ.get("CHAOS_SECONDS", "6"))
Span = tuple[float, float]
IDLE = "select 1"
STALL_S = 0.05
"""How long a statement that waits for nothing takes only on a machine that is busy otherwise."""
SHORT_MS = 300
LONGEST_WAIT_S = 0.49
"""What a reader or writer beside DDL may wait: one lock timeout of SHORT_MS, and some for being told."""


@contextmanager
def held(session: Connection, statement: str, seconds: float | None = None) -> Iterator[int]:
    """Keep a transaction open that ran `statement`: for `seconds`, or as long as the block; yields its pid."""
    session.execute("begin")
    session.execute(statement)  # type: ignore[arg-type]
    timer = threading.Timer(seconds or 0, session.rollback)
    if seconds is not None:
        timer.start()
    try:
        yield session.info.backend_pid
    finally:
        timer.join() if seconds is not None else session.rollback()


def has_column(connection: Connection, column: str) -> bool:
    values = {"relation": "content_items", "column": column}
    row = connection.execute(block("catalog", "has_column").sql(), values).fetchone()
    return bool(row and row[0])


def is_valid(connection: Connection, index: str) -> bool:
    row = connection.execute(block("catalog", "has_valid_index").sql(), {"relation": index}).fetchone()
    return bool(row and row[0])


def test_ddl_behind_a_reader_gives_up_and_names_its_pid(
    connection: Connection, gallery: Gallery, quick: Settings, second_session: OpenSession
) -> None:
    """A session with ACCESS SHARE is named, and nothing was changed."""
    with held(second_session(), READ) as pid, pytest.raises(LockNotAcquired, match=rf"3 attempts.*pid {pid} "):
        run_ddl(connection, ADD_COLUMN, quick.database)
    assert not has_column(connection, "added")


def test_a_reader_is_not_ended_by_ddl_that_gave_up(
    connection: Connection, gallery: Gallery, quick: Settings, second_session: OpenSession
) -> None:
    """The session in the way goes on with its transaction."""
    reader = second_session()
    with held(reader, READ):
        with pytest.raises(LockNotAcquired):
            run_ddl(connection, ADD_COLUMN, quick.database)
        assert reader.execute(READ).fetchone() == (0,)  # type: ignore[arg-type]


def test_ddl_succeeds_once_the_reader_left(
    connection: Connection, gallery: Gallery, settings: Settings, second_session: OpenSession
) -> None:
    """A reader that ends within the budget costs attempts, not the statement."""
    patient = settings.database.model_copy(update={"lock_timeout_ms": 50, "lock_retry_max_s": 0.1})
    with held(second_session(), READ, seconds=0.6):
        attempt = run_ddl(connection, ADD_COLUMN, patient)
    assert attempt.attempts > 1
    assert has_column(connection, "added")


def test_ddl_waits_no_longer_than_its_timeout_for_one_attempt(
    connection: Connection, gallery: Gallery, quick: Settings, second_session: OpenSession
) -> None:
    """A later reader never queues behind a waiting DDL statement for long."""
    one = quick.database.model_copy(update={"lock_attempts": 1})
    with held(second_session(), READ), pytest.raises(LockNotAcquired) as refused:
        run_ddl(connection, ADD_COLUMN, one)
    assert isinstance(refused.value.__cause__, errors.LockNotAvailable)
    assert "1 attempts" in refused.value.message


def test_another_error_is_not_retried(connection: Connection, gallery: Gallery, quick: Settings) -> None:
    """Only SQLSTATE 55P03 is worth a second try."""
    run_ddl(connection, ADD_COLUMN, quick.database)
    with pytest.raises(errors.DuplicateColumn):
        run_ddl(connection, ADD_COLUMN, quick.database)


def test_the_lock_timeout_does_not_outlive_the_statement(
    connection: Connection, gallery: Gallery, quick: Settings
) -> None:
    """The session waits as long as it did before, in and outside transactions."""
    before = connection.execute("show lock_timeout").fetchone()
    run_ddl(connection, ADD_COLUMN, quick.database)
    run_ddl(connection, INDEX, quick.database, transactional=False)
    assert connection.execute("show lock_timeout").fetchone() == before


def test_blockers_name_sessions_on_the_gallery_only(
    connection: Connection, gallery: Gallery, second_session: OpenSession
) -> None:
    """A session that holds a lock elsewhere is nobody's business."""
    with held(second_session(), READ) as pid, held(second_session(), "select count(*) from users"):
        assert [line.split()[1] for line in blockers(connection)] == [str(pid)]


def test_an_index_whose_build_ran_into_the_timeout_is_valid_in_the_end(
    connection: Connection, gallery: Gallery, settings: Settings, second_session: OpenSession
) -> None:
    """A retried CREATE INDEX CONCURRENTLY must not take the invalid index of its first try for its work."""
    gallery.legacy_item()
    patient = settings.database.model_copy(update={"lock_timeout_ms": 50, "lock_retry_max_s": 0.1})
    with held(second_session(), WRITE, seconds=0.6):
        run_ddl(connection, INDEX, patient, transactional=False)
    assert is_valid(connection, KEYSET)


def test_attaching_beside_an_open_writer_verifies(
    context: Context, gallery: Gallery, second_session: OpenSession
) -> None:
    """A writer that is slow to commit while the indexes are built delays the phase and spoils none of them."""
    gallery.legacy_item(["a"])
    apply_before(context, "attach_partitions")
    phase = AttachPartitions()
    before_the_indexes = [step for step in phase.actions() if step.id.startswith(("add:", "validate:"))]
    revisions.run_actions(context.connection, before_the_indexes, context.settings.database)
    with held(second_session(), WRITE, seconds=1.5):
        apply_plan(phase, context, phase.plan(context))
    assert verify_phase(phase, context).samples == ()


@contextmanager
def bystanders(open_session: OpenSession, statements: list[str]) -> Iterator[list[float]]:
    """Run each statement over and over on a session of its own; yields a list that is filled when the block is left.

    It has the seconds each statement took. One more session asks for nothing of anybody. While that one is held up it
    is by the machine, and for as long the others are, too: that much is taken off a statement that was at work then.
    """
    over, seconds = threading.Event(), []
    sessions = [open_session() for _ in (*statements, IDLE)]
    spans: list[list[Span]] = [[] for _ in sessions]

    def run(session: Connection, statement: str, taken: list[Span]) -> None:
        while not over.wait(0.01):
            start = time.monotonic()
            session.execute(statement)  # type: ignore[arg-type]
            taken.append((start, time.monotonic()))

    works = zip(sessions, (*statements, IDLE), spans, strict=True)
    threads = [threading.Thread(target=run, args=work) for work in works]
    for thread in threads:
        thread.start()
    try:
        yield seconds
    finally:
        over.set()
        for thread, session in zip(threads, sessions, strict=True):
            thread.join()
            session.close()
        *waits, idle = spans
        stalls = [span for span in idle if span[1] - span[0] > STALL_S]
        seconds += [end - start - in_common((start, end), stalls) for spans in waits for start, end in spans]


def in_common(span: Span, others: list[Span]) -> float:
    """Return for how many seconds of a span one of the others lasted, which follow one another."""
    return sum(max(0.0, min(span[1], end) - max(span[0], start)) for start, end in others)


def short(settings: Settings) -> DatabaseSettings:
    """Return settings with a short lock timeout, which is told from two of them on a busy machine too."""
    return settings.database.model_copy(update={"lock_timeout_ms": SHORT_MS})


def test_nobody_waits_long_beside_ddl_that_waits(
    connection: Connection, gallery: Gallery, settings: Settings, second_session: OpenSession
) -> None:
    """Behind a long SELECT, DDL goes through when it ends; readers and writers wait one lock timeout at most."""
    gallery.legacy_item()
    seen: list[Waiting] = []
    with (
        bystanders(second_session, [READ, READ, "update content_items set quality_score = 0.5"]) as seconds,
        held(second_session(), READ, seconds=BLOCKED_S) as pid,
    ):
        attempt = run_ddl(connection, ADD_COLUMN, short(settings), manner=Manner(report=seen.append))
    assert attempt.attempts == len(seen) + 1 > 1
    assert all(f"pid {pid} (user " in str(waiting) and READ in str(waiting) for waiting in seen)
    assert max(seconds) < LONGEST_WAIT_S
    assert has_column(connection, "added")


def test_ddl_behind_a_reader_that_stays_gives_up_in_its_budget(
    connection: Connection, gallery: Gallery, settings: Settings, second_session: OpenSession
) -> None:
    """The last try is bounded like the first; the refusal names pid, user, application and query."""
    few = short(settings).model_copy(update={"lock_attempts": 2})
    before = connection.execute("show lock_timeout").fetchone()
    with bystanders(second_session, [READ]) as seconds, held(second_session(), READ) as pid:
        user = connection.info.user
        with pytest.raises(LockNotAcquired, match=rf"pid {pid} \(user {user} of genonaut, idle in .*select count"):
            run_ddl(connection, ADD_COLUMN, few)
    assert max(seconds) < LONGEST_WAIT_S
    assert connection.execute("show lock_timeout").fetchone() == before


def test_sessions_on_a_copy_of_the_gallery_are_not_in_the_way(
    connection: Connection, gallery: Gallery, admin_url: str, adopted: str
) -> None:
    """The same server, the same ids of tables, another database."""
    table = "select 'content_items'::regclass::oid"
    with (
        database(admin_url, adopted) as name,
        closing(engine.connect(settings_of(admin_url, name))) as other,
        held(other, READ),
    ):
        assert other.execute(table).fetchone() == connection.execute(table).fetchone()
        assert blockers(connection) == []


def test_a_session_that_queues_ahead_is_named_too(
    connection: Connection, gallery: Gallery, settings: Settings, second_session: OpenSession
) -> None:
    """Who waits before us is as much in the way as who holds the lock."""
    reader, other = second_session(), second_session()
    # Time enough for one more session to be opened and to look.
    once = settings.database.model_copy(update={"lock_attempts": 1, "lock_timeout_ms": 2_000})
    with held(reader, READ) as pid:
        waiter = threading.Thread(target=other.execute, args=("alter table content_items add column theirs int",))
        waiter.start()
        eventually(lambda: blockers_of(connection, other.info.backend_pid))
        with pytest.raises(LockNotAcquired) as refused:
            run_ddl(connection, ADD_COLUMN, once)
        reader.rollback()
        waiter.join()
    assert all(f"pid {one} " in refused.value.message for one in (pid, other.info.backend_pid))


def test_where_no_second_session_is_to_be_had_ddl_gives_up_all_the_same(
    connection: Connection, gallery: Gallery, quick: Settings, second_session: OpenSession
) -> None:
    """Looking who is in the way is a service: without it the budget holds, and holders are named afterwards."""
    role, secret = f"lonely_{uuid.uuid4().hex[:8]}", uuid.uuid4().hex
    name = sql.Identifier(role)
    connection.execute(sql.SQL("create role {} login connection limit 1 password {}").format(name, secret))
    connection.execute(sql.SQL("grant {} to {}").format(sql.Identifier(connection.info.user), name))
    slow = quick.database.model_copy(update={"lock_timeout_ms": 1_000})
    address = conninfo.make_conninfo(os.environ["DATABASE_URL"], user=role, password=secret)
    try:
        with (
            held(second_session(), READ) as pid,
            psycopg.connect(address, autocommit=True) as lonely,
            pytest.raises(LockNotAcquired, match=rf"pid {pid} .*; no second session could look \(.*connections"),
        ):
            run_ddl(lonely, ADD_COLUMN, slow)
    finally:
        connection.execute(sql.SQL("drop role {}").format(name))


def blockers_of(connection: Connection, pid: int) -> list[int]:
    row = connection.execute("select pg_blocking_pids(%s)", [pid]).fetchone()
    assert row is not None
    return row[0]


def test_nothing_is_sent_where_the_timeout_did_not_take(
    connection: Connection, gallery: Gallery, quick: Settings
) -> None:
    """A session on which settings are lost gets no DDL that could wait for ever."""
    connection.execute(
        "create function set_config(text, text, boolean) returns text language sql as $$ select 'swallowed' $$"
    )
    connection.execute("set search_path = public, pg_catalog")
    for transactional in (True, False):
        with pytest.raises(SettingNotTaken, match="is 0 ms; the statement was not sent"):
            run_ddl(connection, ADD_COLUMN, quick.database, transactional=transactional)
    assert not has_column(connection, "added")


def test_several_locks_share_one_timeout(connection: Connection, gallery: Gallery, settings: Settings) -> None:
    """Who queues behind the first lock waits for the second one too, and no longer than for a single one."""
    seen: list[object] = []

    def look(session: Connection) -> None:
        seen.append(session.execute("show lock_timeout").fetchone())

    run_ddl(connection, ADD_COLUMN, settings.database, manner=Manner(waits=2, before=look))
    assert seen == [(f"{settings.database.lock_timeout_ms // 2}ms",)]


def test_a_patient_statement_that_gave_up_leaves_the_session_as_it_was(
    connection: Connection, gallery: Gallery, settings: Settings, second_session: OpenSession
) -> None:
    """CREATE INDEX CONCURRENTLY behind a writer waits its time, names it, and is built by the next start."""
    gallery.legacy_item()
    before = connection.execute("show lock_timeout").fetchone()
    short = settings.database.model_copy(update={"concurrent_wait_s": 1})
    with held(second_session(), WRITE) as pid, pytest.raises(LockNotAcquired, match=rf"1 attempts.*pid {pid} "):
        run_ddl(connection, INDEX, short, transactional=False)
    assert connection.execute("show lock_timeout").fetchone() == before
    assert not is_valid(connection, KEYSET)
    create = block("attach_partitions", "create_keyset_index")
    revisions.run_actions(connection, build_index(create, "content_items", KEYSET), short)
    assert is_valid(connection, KEYSET)
