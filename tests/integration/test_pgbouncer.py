"""The workbench through a real PgBouncer in transaction mode, whose server sessions others use as well."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import Iterator
from contextlib import ExitStack

import psycopg
import pytest
from psycopg import conninfo, sql

from genonaut_lib.db import advisory, engine, pooling
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.locks import Manner, run_ddl
from genonaut_lib.db.pool import open_pool
from genonaut_lib.db.statements import block
from genonaut_lib.errors import LockNotAcquired, PoolerUnfit
from genonaut_lib.gallery.reading import asking, reading
from genonaut_lib.migration import ledger, revisions
from genonaut_lib.migration.indexes import build_index
from genonaut_lib.migration.phases import PHASES, Context
from genonaut_lib.migration.runner import undo_phase
from genonaut_lib.runs import reaper
from genonaut_lib.service.sessions import Sessions
from genonaut_lib.settings import DatabaseSettings, Settings, load_settings
from tests.factories import Gallery
from tests.integration import pgbouncer
from tests.integration.test_locks import (
    ADD_COLUMN,
    INDEX,
    KEYSET,
    LONGEST_WAIT_S,
    READ,
    WRITE,
    OpenSession,
    bystanders,
    has_column,
    held,
    is_valid,
    short,
)
from tests.migration.test_phases import apply, apply_before

pytestmark = pytest.mark.skipif(
    pgbouncer.BINARY is None, reason="no pgbouncer on this machine (Debian: apt-get install pgbouncer)"
)
IN_FORCE = (
    "select pg_backend_pid(), current_setting('lock_timeout'), current_setting('statement_timeout'),"
    " current_setting('search_path'), current_setting('jit'), current_setting('idle_in_transaction_session_timeout'),"
    " (select count(*) from pg_prepared_statements)"
)


@pytest.fixture(scope="module")
def pooler_port(admin_url: str) -> Iterator[int]:
    """The port of a PgBouncer in transaction mode."""
    with pgbouncer.pgbouncer(admin_url) as port:
        yield port


@pytest.fixture
def pooled(settings: Settings, pooler_port: int, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of the test's database, with an address that leads through the pooler."""
    address = conninfo.make_conninfo(engine.database_url(settings), host="127.0.0.1", port=pooler_port)
    monkeypatch.setenv("DATABASE_URL", address)
    found = load_settings("test")
    return found.model_copy(update={"database": short(found)})


@pytest.fixture
def session(pooled: Settings, gallery: Gallery) -> Iterator[Connection]:
    """A session of the workbench through the pooler, on an adopted gallery."""
    with engine.connect(pooled) as connection:
        yield connection


def found_by_others(pooled: Settings) -> set[tuple[object, ...]]:
    """What other applications find in force on the pool's server sessions: each is held once, all at a time."""
    with ExitStack() as stack:
        others = [stack.enter_context(psycopg.connect(engine.database_url(pooled))) for _ in range(pgbouncer.POOL_SIZE)]
        found = [other.execute(IN_FORCE).fetchone() for other in others]
    rows = [row for row in found if row is not None]
    assert len({row[0] for row in rows}) == pgbouncer.POOL_SIZE
    return {row[1:] for row in rows}


def on_a_new_session(settings: Settings) -> set[tuple[object, ...]]:
    with psycopg.connect(engine.database_url(settings)) as fresh:
        row = fresh.execute(IN_FORCE).fetchone()
    assert row is not None
    return {row[1:]}


def test_a_pooler_is_told_from_a_server(connection: Connection, session: Connection) -> None:
    """The number a pooler gives its client is not that of a server session."""
    assert (pooling.is_pooled(connection), pooling.is_pooled(session)) == (False, True)


def test_the_whole_migration_and_its_undo_leave_nothing_set(
    session: Connection, pooled: Settings, settings: Settings, gallery: Gallery
) -> None:
    """Every phase goes through, partitions are attached and detached, and other applications notice nothing."""
    gallery.legacy_item(["anime"])
    context = Context(session, pooled)
    apply_before(context, "attach_partitions")
    apply(context, "attach_partitions")
    undo_phase(PHASES["attach_partitions"], context)
    apply(context, "attach_partitions")
    assert revisions.at_least(session, revisions.ATTACH_PARTITIONS)
    assert found_by_others(pooled) == on_a_new_session(settings)


def test_ddl_through_the_pooler_gives_up_in_its_budget_and_names_who_is_in_the_way(
    session: Connection, pooled: Settings, settings: Settings, second_session: OpenSession
) -> None:
    """The short timeout holds on whichever server session the statement runs."""
    few = pooled.database.model_copy(update={"lock_attempts": 2})
    with bystanders(second_session, [READ]) as seconds, held(second_session(), READ) as pid:
        named = rf"2 attempts.*pid {pid} \(user \w+ of genonaut, idle in"
        with pytest.raises(LockNotAcquired, match=named):
            run_ddl(session, ADD_COLUMN, few)
    assert max(seconds) < LONGEST_WAIT_S
    assert not has_column(session, "added")
    assert found_by_others(pooled) == on_a_new_session(settings)


def test_an_index_behind_a_writer_gives_up_in_its_time_and_is_made_good(
    session: Connection, connection: Connection, pooled: Settings, settings: Settings
) -> None:
    """Where no timeout can be set, a watch bounds the wait; it ends our own statement and nothing else."""
    Gallery(connection).legacy_item()
    short = pooled.database.model_copy(update={"concurrent_wait_s": 1})
    start = time.monotonic()
    with held(connection, WRITE) as pid:
        with pytest.raises(LockNotAcquired, match=rf"pid {pid} \(user \w+ of genonaut, idle in transaction"):
            run_ddl(session, INDEX, short, transactional=False)
        assert time.monotonic() - start < 20
        assert connection.execute("select count(*) from content_items").fetchone() == (1,)
    assert not is_valid(session, KEYSET)
    create = block("attach_partitions", "create_keyset_index")
    ran = revisions.run_actions(session, build_index(create, "content_items", KEYSET), short)
    assert (len(ran), is_valid(session, KEYSET)) == (2, True)
    assert found_by_others(pooled) == on_a_new_session(settings)


def test_another_application_meets_no_setting_of_ours_before_a_statement_without_transaction(
    session: Connection, pooled: Settings, settings: Settings
) -> None:
    """The server session that our last statement ran on is the next one the pooler gives away."""
    with psycopg.connect(engine.database_url(pooled)) as other:
        met: list[tuple[object, ...]] = []

        def meet(_: Connection) -> None:
            row = other.execute(IN_FORCE).fetchone()
            assert row is not None
            met.append(row[1:])

        run_ddl(session, INDEX, pooled.database, transactional=False, manner=Manner(before=meet))
    assert set(met) == on_a_new_session(settings)
    assert is_valid(session, KEYSET)


def test_an_index_whose_writer_ends_in_time_is_built(
    session: Connection, connection: Connection, pooled: Settings
) -> None:
    """The watch lets a statement wait that may."""
    Gallery(connection).legacy_item()
    with held(connection, WRITE, seconds=1.5):
        attempt = run_ddl(session, INDEX, pooled.database, transactional=False)
    assert (attempt.attempts, is_valid(session, KEYSET)) == (1, True)


def test_detaching_through_the_pooler_beside_a_reader_ends_with_it(
    session: Connection, pooled: Settings, connection: Connection, second_session: OpenSession
) -> None:
    """The watch ends a detach half-way, which leaves the rest to FINALIZE; nobody waits long for either."""
    Gallery(connection).legacy_item(["anime"])
    context = Context(session, pooled)
    apply_before(context, "attach_partitions")
    apply(context, "attach_partitions")
    with (
        bystanders(second_session, [READ, "update content_items_auto set quality_score = 0.5"]) as seconds,
        held(connection, "select count(*) from content_items_all", seconds=2),
    ):
        undo_phase(PHASES["attach_partitions"], context)
    assert connection.execute("select to_regclass('content_items_all')").fetchone() == (None,)
    assert max(seconds) < LONGEST_WAIT_S


def test_a_role_with_a_schema_of_its_own_is_refused(pooled: Settings, connection: Connection) -> None:
    """Names without a schema would lead elsewhere, and the search_path of a shared session is not ours to set."""
    connection.execute("create schema elsewhere")
    name = sql.Identifier(connection.info.dbname)
    connection.execute(sql.SQL("alter database {} set search_path = elsewhere, public").format(name))
    with pytest.raises(PoolerUnfit, match=r"works in schema elsewhere first.*ALTER ROLE"):
        engine.connect(pooled)


def test_a_lock_is_held_against_everybody_until_its_holder_goes(pooled: Settings, connection: Connection) -> None:
    """Through the pooler or not, a second holder is refused; the lock is free once released or left."""
    with engine.connect(pooled) as first, engine.connect(pooled) as second:
        assert advisory.try_hold(first, "work")
        assert not advisory.try_hold(second, "work")
        assert not advisory.try_hold(connection, "work")
        advisory.release(first, "work")
        assert advisory.try_hold(second, "work")
    del first, second
    assert holds_soon(connection, "work")


def holds_soon(connection: Connection, key: str) -> bool:
    deadline = time.monotonic() + 10
    while not advisory.try_hold(connection, key):
        if time.monotonic() > deadline:
            return False
        time.sleep(0.05)
    return True


def test_a_run_through_the_pooler_is_lost_only_when_its_process_is(
    session: Connection, pooled: Settings, connection: Connection
) -> None:
    """A later start does not take a run at work for a dead one, nor a dead one for alive."""
    with engine.connect(pooled) as worker:
        ledger.start_run(worker, ledger.RunStart(uuid.uuid4(), "10_seed_tags", "ada@host", {}, "0f"))
        assert reaper.reap(session, pooled) == reaper.reap(connection, pooled) == []
    del worker
    deadline = time.monotonic() + 10
    while not (lost := reaper.reap(session, pooled)) and time.monotonic() < deadline:
        time.sleep(0.05)
    assert [(found.run.start.notebook, found.ending.state) for found in lost] == [("10_seed_tags", "lost")]


def test_a_keeper_is_in_nobodys_way(session: Connection, pooled: Settings) -> None:
    """The lock of a long run holds up neither a vacuum nor an index."""
    assert advisory.try_hold(session, "work")
    holding = "select backend_xmin, backend_xid from pg_stat_activity where application_name = %s"
    assert session.execute(holding, [advisory.KEEPER]).fetchall() == [(None, None)]
    quick = DatabaseSettings(concurrent_wait_s=2)
    run_ddl(session, INDEX, quick, transactional=False)
    assert is_valid(session, KEYSET)


def test_a_request_of_the_gallery_leaves_nothing_on_the_poolers_sessions(
    session: Connection, pooled: Settings, settings: Settings
) -> None:
    """Snapshot and limit hold on whichever server session the transaction runs, and end with it."""
    asked = "select current_setting('statement_timeout'), current_setting('transaction_isolation')"

    async def request() -> list[object]:
        found: list[object] = []
        async with open_pool(pooled, sessions=1) as pool:
            # More often than it takes psycopg to prepare a statement.
            for _ in range(8):
                async with reading(pool, 777, one_snapshot=True) as connection:
                    found += await (await connection.execute(asked)).fetchall()
        return found

    with asyncio.Runner() as runner:
        assert runner.run(request()) == [("777ms", "repeatable read")] * 8
    assert found_by_others(pooled) == on_a_new_session(settings)


def test_a_request_of_the_service_is_bounded_behind_the_pooler_and_leaves_nothing(
    session: Connection, pooled: Settings, settings: Settings
) -> None:
    """Statement, lock and idle transaction, as on a session of our own, but within each transaction."""
    names = ("statement_timeout", "lock_timeout", "idle_in_transaction_session_timeout")
    asked = sql.SQL("select {}").format(
        sql.SQL(", ").join(sql.SQL("current_setting({})").format(sql.Literal(name)) for name in names)
    )

    async def request(served: Settings) -> list[object]:
        found: list[object] = []
        async with Sessions(served) as pool:
            for opening in (reading(pool, 15_000, one_snapshot=True), asking(pool, 15_000)):
                async with opening as connection:
                    found += await (await connection.execute(asked)).fetchall()
        return found

    with asyncio.Runner() as runner:
        assert runner.run(request(pooled)) == runner.run(request(settings)) == [("15s", "3s", "10s")] * 2
    assert found_by_others(pooled) == on_a_new_session(settings)
