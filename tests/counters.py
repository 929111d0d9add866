"""What a database counted of its own, once every session has handed in what it counted."""

from __future__ import annotations

from genonaut_lib.db.engine import Connection
from tests.waiting import eventually

WRITTEN = "select coalesce(sum(n_tup_ins + n_tup_upd + n_tup_del), 0)::bigint from pg_stat_user_tables"


def await_others(connection: Connection) -> None:
    """Return once no other session is left in the database: each hands in what it counted as it goes."""
    others = "select count(*) from pg_stat_activity where datname = current_database() and pid <> pg_backend_pid()"
    others += " and backend_type = 'client backend'"
    eventually(lambda: connection.execute(others).fetchone() == (0,))


def rows_written(connection: Connection) -> int:
    """Return how many rows were ever inserted, changed or deleted in the database."""
    await_others(connection)
    connection.execute("select pg_stat_force_next_flush()")
    row = connection.execute(WRITTEN).fetchone()
    assert row is not None
    return int(row[0])
