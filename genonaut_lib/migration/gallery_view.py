"""The materialised view `unified_content_with_tags`, for readers who take an answer some minutes old.

It is made empty, filled by its first refresh, and brought up to date by every further one while readers
go on. A comment on the view says whose it is and when it was refreshed, and commits with the rows.
"""

from __future__ import annotations

from datetime import datetime

from psycopg import sql

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.locks import run_ddl
from genonaut_lib.db.statements import block
from genonaut_lib.errors import CheckFailed
from genonaut_lib.gallery.view import NAME
from genonaut_lib.settings import DatabaseSettings

FILE = "gallery_view"
DEFAULTS = DatabaseSettings()


def create(connection: Connection, settings: DatabaseSettings = DEFAULTS) -> None:
    """Make the view and its indexes, empty; nothing is done where it is there.

    The tables must be attached. Raises CheckFailed where something else is called so, LockNotAcquired.
    """
    if _exists(connection):
        return
    run_ddl(connection, block(FILE, "create").sql(), settings)


def refresh(connection: Connection, settings: DatabaseSettings = DEFAULTS) -> datetime:
    """Bring the view up to date and return the moment it is true of, by the server's clock.

    Readers go on meanwhile, except for the first time, when there is nothing to read. Takes about as
    long as reading the gallery whole. Raises CheckFailed where there is no view of ours, LockNotAcquired.
    """
    if not _exists(connection):
        raise CheckFailed(f"There is no {NAME} to refresh.", hint="Make it first: gallery_view.create(connection).")
    name = "refresh" if is_ready(connection) else "fill"
    moment = _now(connection)
    note = sql.Literal(f"genonaut workbench, refreshed at {moment.isoformat()}")
    run_ddl(connection, block(FILE, name).sql(note=note), settings)
    run_ddl(connection, block("upkeep", "analyze").sql(table=NAME), settings)
    return moment


def drop(connection: Connection, settings: DatabaseSettings = DEFAULTS) -> None:
    """Drop the view, if there is one; raise CheckFailed where something else is called so, LockNotAcquired."""
    if _exists(connection):
        run_ddl(connection, block(FILE, "drop").sql(), settings)


def is_ready(connection: Connection) -> bool:
    """Return whether the view is there, ours, and was refreshed at least once."""
    state = _state(connection)
    return state is not None and state[0] and state[1] is not None


def _exists(connection: Connection) -> bool:
    state = _state(connection)
    if state is not None and not state[0]:
        raise CheckFailed(
            f"{NAME} is there and was not made by the workbench; it is left alone.",
            hint="Rename or drop it, then run the same command again.",
        )
    return state is not None


def _state(connection: Connection) -> tuple[bool, datetime | None] | None:
    row = connection.execute(block(FILE, "state").sql()).fetchone()
    return None if row is None else (row[0], row[1])


def _now(connection: Connection) -> datetime:
    row = connection.execute("select clock_timestamp()").fetchone()
    assert row is not None
    moment: datetime = row[0]
    return moment
