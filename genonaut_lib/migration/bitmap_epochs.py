"""Epochs of the tag bitmap index: which one serves, which one is being built, how they change, what is left over."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from psycopg import IsolationLevel, errors

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.locks import run_ddl
from genonaut_lib.db.statements import block
from genonaut_lib.errors import BitmapsForgotten
from genonaut_lib.gallery.bitmaps.layout import CHUNK
from genonaut_lib.settings import DatabaseSettings

FILE = "bitmap_build"
TABLES = tuple(
    f"workbench.{name}" for name in ("tag_bitmaps", "bitmap_chunks", "bitmap_places", "bitmap_creators", "bitmap_tags")
)
"""What has rows by epoch, the largest first."""
MARKS = ("workbench.bitmap_marks", "workbench.bitmap_marks_kept")
END_CHUNK = -1
"""Not a chunk: while an epoch is being built, this row of `bitmap_chunks` keeps the key of its last rank."""
CLEARED_AT_ONCE = 5_000


@dataclass(frozen=True)
class Epochs:
    """The epoch that serves and the one that is being built, None where there is none."""

    building: int | None = None
    serving: int | None = None


def epochs(connection: Connection) -> Epochs:
    """Return which epochs there are; none where there are no tables either."""
    try:
        row = connection.execute(block(FILE, "epochs").sql()).fetchone()
    except (errors.UndefinedTable, errors.InvalidSchemaName):
        return Epochs()
    return Epochs() if row is None else Epochs(*row)


def require_building(connection: Connection, epoch: int) -> None:
    """Raise BitmapsForgotten unless `epoch` is the one that is being built."""
    if epochs(connection).building != epoch:
        raise forgotten()


def forgotten() -> BitmapsForgotten:
    """Return the error for an epoch that is no longer being built."""
    return BitmapsForgotten(hint="Run `genonaut run 40_build_tag_bitmaps` again; it begins anew.")


def swap(connection: Connection, epoch: int) -> None:
    """Let `epoch`, which is complete, serve instead of any other; marks that its ranking saw go.

    Raises BitmapsForgotten when it is no longer being built; nothing was changed then.
    """
    with connection.transaction():
        row = connection.execute(block(FILE, "lock_state").sql(), {"epoch": epoch}).fetchone()
        if row is None or not row[0]:
            raise forgotten()
        connection.execute(block(FILE, "drop_seen_marks").sql())
        connection.execute(block(FILE, "bring_marks_back").sql())
        connection.execute(block(FILE, "swap").sql(), {"epoch": epoch, "ranks_of_chunk": CHUNK})


def clear(connection: Connection) -> int:
    """Delete the rows of epochs that neither serve nor are being built, in batches; return how many they were."""
    cleared = 0
    for table in TABLES:
        statement = block(FILE, "clear_epochs").sql(epoch_table=table)
        while (count := connection.execute(statement, {"limit": CLEARED_AT_ONCE}).rowcount) > 0:
            cleared += count
    return cleared


def vacuum(connection: Connection, settings: DatabaseSettings) -> None:
    """Give the room of cleared rows to later ones, and let index-only scans be such."""
    for table in (*TABLES, *MARKS):
        run_ddl(connection, block("upkeep", "vacuum").sql(table=table), settings, transactional=False)


@contextlib.contextmanager
def repeatable_read(connection: Connection) -> Iterator[None]:
    """Give the transactions of a block one snapshot each."""
    before = connection.isolation_level
    connection.isolation_level = IsolationLevel.REPEATABLE_READ
    try:
        yield
    finally:
        if not connection.closed:
            connection.isolation_level = before
