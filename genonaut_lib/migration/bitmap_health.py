"""How the tag bitmap index stands, what to do next about it, and how it is taken away."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime

from psycopg.rows import class_row

from genonaut_lib.db import advisory
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.locks import run_ddl
from genonaut_lib.db.statements import block
from genonaut_lib.errors import BitmapsBusy
from genonaut_lib.migration import bitmap_build, bitmap_seal
from genonaut_lib.migration.bitmap_check import Difference, HealthResult, check
from genonaut_lib.migration.bitmap_seal import Due
from genonaut_lib.migration.phases.create_tag_bitmaps import STATE, TABLES, disarm, is_armed
from genonaut_lib.migration.plan import probe
from genonaut_lib.settings import BitmapSettings, DatabaseSettings

__all__ = ["BitmapStatus", "Difference", "HealthResult", "Standing", "check", "drop", "status"]

FILE = "bitmap_health"
MOST_DEAD = 0.2
"""Share of dead ranks from which a build pays: as much of every bitmap is read for nothing."""
MOST_WAITING = 0.25
"""Share of `marks_max` that may wait for a build; the rest is for what happens between two seals."""
BUILD, SEAL = "genonaut run 40_build_tag_bitmaps --apply", "genonaut pipeline seal --apply"
NOTHING = Due(marks=0, items=0, due=0, waiting=0, young=0, oldest_due_s=None, oldest_s=None)
_CLEARED = {
    "clear_bits": "tag_bitmaps", "clear_chunks": "bitmap_chunks", "clear_places": "bitmap_places",
    "clear_creators": "bitmap_creators", "clear_tags": "bitmap_tags",
}  # fmt: skip


@dataclass(frozen=True)
class Standing:
    """The state of the index: epochs are numbers, None where there is none.

    `sealed` of `ranks` have bits, `tags` have bitmaps. `done` are the tags of the epoch that is being built,
    and `at_work` says whether a session builds it.
    """

    serving: int | None = None
    version: int = 0
    chunks: int = 0
    ranks: int = 0
    built_at: datetime | None = None
    sealed_at: datetime | None = None
    building: int | None = None
    building_since: datetime | None = None
    sealed: int = 0
    tags: int = 0
    done: int = 0
    at_work: bool = False


@dataclass(frozen=True)
class BitmapStatus:
    """How the index stands: whether its tables are there, whether changes are marked, and what is."""

    present: bool
    armed: bool
    standing: Standing = Standing()
    marked: Due = NOTHING
    bytes: Mapping[str, int] = field(default_factory=dict)

    @property
    def dead_share(self) -> float:
        """The share of ranks whose item is gone or lies elsewhere."""
        return 1 - self.standing.sealed / self.standing.ranks if self.standing.ranks else 0.0

    def next_step(self, knobs: BitmapSettings) -> str:
        """Return a sentence that says what to do next."""
        return self._without_service() or self._in_service(knobs)

    def _without_service(self) -> str | None:
        now = self.standing
        if now.building is not None:
            if now.at_work:
                return "A build is at work; until it is done, readers have what serves now."
            return f"A build was interrupted: `{BUILD}` goes on where it stopped."
        if now.serving is None:
            return f"No index serves: `{BUILD}` builds one."
        if not self.armed:
            return f"Changes are not marked, so its answers may be wrong: `genonaut bitmaps drop`, then `{BUILD}`."
        return None

    def _in_service(self, knobs: BitmapSettings) -> str:
        marked = self.marked
        if marked.waiting >= MOST_WAITING * knobs.marks_max:
            return f"{marked.waiting:,} items wait for a place: `{BUILD}` gives them one."
        if self.dead_share >= MOST_DEAD:
            return f"{self.dead_share:.0%} of the ranks are dead: `{BUILD}` makes it small again."
        if marked.items > knobs.marks_max:
            return f"More than bitmaps.marks_max items are marked, and no query is answered from it: `{SEAL}`."
        if bitmap_seal.is_due(marked, knobs):
            return f"{marked.due:,} items are due: `{SEAL}`."
        return "Nothing to do." if knobs.enabled else "Nothing to do; bitmaps.enabled is false, so nobody reads it."


def status(connection: Connection) -> BitmapStatus:
    """Return how the index stands; a database without its tables has one that is not present."""
    if not probe("has_relation", STATE).holds(connection):
        return BitmapStatus(present=False, armed=False)
    with connection.cursor(row_factory=class_row(Standing)) as cursor:
        standing = cursor.execute(block(FILE, "standing").sql(), {"key": bitmap_build.LOCK}).fetchone() or Standing()
    moment = bitmap_seal.horizon(connection, bitmap_seal.LATE_S)
    return BitmapStatus(
        present=True,
        armed=is_armed(connection),
        standing=standing,
        marked=bitmap_seal.look(connection, moment),
        bytes=_bytes(connection),
    )


def drop(connection: Connection, database: DatabaseSettings) -> dict[str, int]:
    """Take the index out of service, have changes leave no marks, and delete it; return its bytes before, by table.

    `connection` is in autocommit mode. The gallery answers as it did without an index; a build makes a new
    one. Readers whose snapshots are older read it to their end. Raises BitmapsBusy while a session builds or
    seals, and LockNotAcquired; the index is out of service then, and a second call goes on.
    """
    before = _bytes(connection)
    with _alone(connection):
        disarm(connection, database)
        for step, table in _CLEARED.items():
            connection.execute(block(FILE, step).sql())
            vacuum = block(bitmap_seal.FILE, "vacuum").sql(table=f"workbench.{table}")
            run_ddl(connection, vacuum, database, transactional=False)
    return before


def _bytes(connection: Connection) -> dict[str, int]:
    names = [table.removeprefix("workbench.") for table in TABLES.values()]
    return dict(connection.execute(block(FILE, "bytes").sql(), {"tables": names}).fetchall())


@contextlib.contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Hold the locks of builder and sealer for a block; raise BitmapsBusy while another session has one."""
    with contextlib.ExitStack() as held:
        for lock in (bitmap_build.LOCK, bitmap_seal.LOCK):
            if not advisory.try_hold(connection, lock):
                raise BitmapsBusy(hint="Wait for it to end, or end it; nothing was changed.")
            held.callback(advisory.release, connection, lock)
        yield
