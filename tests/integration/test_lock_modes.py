"""What the plans say of locks is what PostgreSQL does: the conflict table, and the lock of every statement."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from itertools import product

import pytest
from psycopg import errors, sql

from genonaut_lib.db.engine import Connection
from genonaut_lib.migration import revisions
from genonaut_lib.migration.lock_modes import MODES, NOT_IN_USE, conflicts, strongest
from genonaut_lib.migration.phases import PHASES, SchemaPhase
from genonaut_lib.migration.plan import Action
from genonaut_lib.settings import Settings
from tests.factories import Gallery

SCHEMA_PHASES = [phase for phase in PHASES.values() if isinstance(phase, SchemaPhase)]
TABLES = """
    select c.oid from pg_class c join pg_namespace n on n.oid = c.relnamespace
    where c.relkind in ('r', 'p') and n.nspname in ('public', 'workbench') and c.relname <> 'alembic_version'
"""
MODES_OF = """
    select distinct l.mode from pg_locks l
    where l.locktype = 'relation' and l.pid = %(pid)s and l.relation = any(%(tables)s)
"""


def in_words(mode: str) -> str:
    """`AccessExclusiveLock` as the documentation writes it."""
    spaced = "".join(f" {letter}" if letter.isupper() else letter for letter in mode.removesuffix("Lock"))
    return spaced.strip().upper()


def held(observer: Connection, pid: int, tables: list[int]) -> str | None:
    """The strongest mode a session holds, or waits for, on the given tables."""
    rows = observer.execute(MODES_OF, {"pid": pid, "tables": tables}).fetchall()
    return max((in_words(mode) for (mode,) in rows), key=MODES.index, default=None)


def tables_now(connection: Connection) -> list[int]:
    return [int(oid) for (oid,) in connection.execute(TABLES).fetchall()]


def watched(connection: Connection, step: Action, tables: list[int]) -> str | None:
    """Run a statement in a transaction, and return what it holds at its end."""
    with connection.transaction():
        connection.execute(step.statement)
        return held(connection, connection.info.backend_pid, tables)


def watched_outside(
    connection: Connection, step: Action, tables: list[int], open_one: Callable[[], Connection]
) -> str | None:
    """Run a statement that refuses a transaction against a lock that it must wait for; return what it asks for."""
    blocker, observer = open_one(), open_one()
    names = [name for (name,) in observer.execute("select relname from pg_class where oid = any(%s)", [tables])]
    worker = threading.Thread(target=connection.execute, args=[step.statement])
    asked = None
    with blocker.transaction(force_rollback=True):
        mine = [name for name in names if name.startswith("content_items")]
        blocker.execute(
            sql.SQL("lock table {} in share update exclusive mode").format(
                sql.SQL(", ").join(map(sql.Identifier, mine))
            )
        )
        worker.start()
        deadline = time.monotonic() + 20
        while asked is None and time.monotonic() < deadline:
            asked = held(observer, connection.info.backend_pid, tables)
            time.sleep(0.01)
    worker.join(60)
    return asked


def lies(
    connection: Connection, steps: list[Action], open_one: Callable[[], Connection]
) -> Iterator[tuple[str, str, str | None]]:
    """Carry the statements out, one by one; yield those whose lock is another than the one stated."""
    for step in steps:
        if step.is_done(connection):
            continue
        tables = tables_now(connection)
        if step.transactional:
            found = watched(connection, step, tables)
        else:
            found = watched_outside(connection, step, tables, open_one)
        # A statement that runs several transactions is seen in its first one.
        stated = found == strongest(step.lock) or (not step.transactional and found and step.lock.startswith(found))
        if not stated:
            yield step.id, step.lock, found


def test_modes_exclude_each_other_as_the_table_says(
    connection: Connection, second_session: Callable[[], Connection], gallery: Gallery
) -> None:
    """Two sessions try every pair of modes on one table."""
    second = second_session()
    for one, other in product(MODES, MODES):
        with connection.transaction(force_rollback=True):
            take(connection, one)
            assert excluded(second, other) is conflicts(one, other), (one, other)


@pytest.mark.parametrize("phase", SCHEMA_PHASES, ids=lambda phase: phase.name)
def test_every_statement_takes_the_lock_it_states(
    phase: SchemaPhase, settings: Settings, gallery: Gallery, second_session: Callable[[], Connection]
) -> None:
    """Doing and undoing: what is held on tables that were there before is the strongest mode of the text."""
    connection = gallery.connection
    revisions.upgrade(settings, phase.before)
    assert list(lies(connection, phase.actions(), second_session)) == []
    revisions.upgrade(settings, phase.revision)
    assert list(lies(connection, phase.undo_actions(), second_session)) == []


def test_a_table_said_not_to_be_in_use_is_made_by_the_phase(settings: Settings, gallery: Gallery) -> None:
    """A lock said to hold up nothing is on a table that does not exist before the phase."""
    seen = 0
    for phase in SCHEMA_PHASES:
        revisions.upgrade(settings, phase.before)
        for step in (step for step in phase.actions() if NOT_IN_USE in step.lock):
            seen += 1
            with pytest.raises(errors.UndefinedTable):
                gallery.connection.execute(step.statement)
    assert seen >= 3


def take(connection: Connection, mode: str) -> None:
    connection.execute(f"lock table content_items in {mode} mode nowait".encode())


def excluded(connection: Connection, mode: str) -> bool:
    try:
        with connection.transaction(force_rollback=True):
            take(connection, mode)
    except errors.LockNotAvailable:
        return True
    return False
