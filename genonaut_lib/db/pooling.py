"""Addresses that lead through a connection pooler, and what holds on a session that is not one's own.

Behind PgBouncer in transaction mode every transaction may run on another server session, which other
applications use before and after. Whatever is set on it outlives us there and is lost to us here. So
behind a pooler nothing is set for longer than a transaction, and no statement is prepared.
"""

from __future__ import annotations

import psycopg
from psycopg.rows import TupleRow

from genonaut_lib.db.statements import block
from genonaut_lib.errors import PoolerUnfit

Connection = psycopg.Connection[TupleRow]


def is_pooled(connection: Connection) -> bool:
    """Return whether something stands between this connection and its server session.

    A server tells its clients the number of their session when they connect; a pooler makes one up.
    A pooler in session mode is taken for one in transaction mode, which costs nothing but some care.
    """
    row = connection.execute("select pg_backend_pid()").fetchone()
    assert row is not None
    return bool(row[0] != connection.info.backend_pid)


def beside(connection: Connection, name: str) -> Connection:
    """Return a second connection to the same address as the same user, in autocommit mode, called `name`."""
    parameters = {**connection.info.get_parameters(), "password": connection.info.password, "application_name": name}
    given: dict[str, str] = {key: str(value) for key, value in parameters.items() if value}
    return psycopg.connect(**given, autocommit=True, prepare_threshold=None)  # type: ignore[arg-type]


def settle(connection: Connection) -> None:
    """Make a pooled connection fit for the workbench; raise PoolerUnfit where its sessions see another schema.

    The gallery's names are written without a schema, and a search_path of our own would be left behind
    on a server session of other applications.
    """
    connection.prepare_threshold = None
    row = connection.execute(block("session", "first_schema").sql()).fetchone()
    assert row is not None
    if row[0] != "public":
        raise PoolerUnfit(
            f"Behind the connection pooler, user {row[1]} works in schema {row[0]} first; the gallery is in public.",
            hint=f"ALTER ROLE {row[1]} SET search_path = public and reconnect the pool, "
            "or let DATABASE_URL lead to the server itself.",
        )
