"""Seal the tag bitmap index: marked items are read as they are now, and their bits made to say so.

A mark says that the bitmaps are wrong about an item, so readers look at the item itself. Sealing takes the
work from them, in transactions of a bounded number of items: each reads everything in one snapshot, and a
reader sees all of a batch or nothing. New items are appended behind the last rank. An item that is older
than that has no place until the next build; it stays marked, and answers stay exact.
"""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable, Iterator
from contextlib import closing
from dataclasses import dataclass, field, replace
from typing import Any

from psycopg import IsolationLevel, errors
from psycopg.rows import class_row

from genonaut_lib.db import advisory, engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.locks import run_ddl
from genonaut_lib.db.statements import block
from genonaut_lib.errors import BitmapsBusy, BitmapsUnavailable, InvalidInput, LockNotAcquired
from genonaut_lib.gallery.bitmaps import layout
from genonaut_lib.migration.bitmap_batch import Item, Serving, Settled, settle
from genonaut_lib.settings import BitmapSettings, DatabaseSettings, Settings

FILE = "bitmap_seal"
LOCK = "genonaut seal tag bitmaps"
BATCH_ITEMS = 5_000
"""Items of one transaction: about a second, and some 50 MB of this process's memory with 75 tags an item."""
LATE_S = 2.0
"""How long a writer may be at work and still have its new items appended by the next seal."""
LOCK_WAIT_MS = 10_000
"""How long a batch waits for a build that ranks all items or swaps them in."""
ATTEMPTS = 5
_FIRST = ("-infinity", "", -1)

Place = tuple[str, str, int]
"""The key of a marked item: its moment as text, its source, its id."""


@dataclass(frozen=True)
class Due:
    """Marks, the items they name, and of those: settled by sealing, waiting for a build, too new; ages in seconds."""

    marks: int
    items: int
    due: int
    waiting: int
    young: int
    oldest_due_s: float | None
    oldest_s: float | None


@dataclass(frozen=True)
class SealResult:
    """What a seal did.

    `sealed` items are marked no more: `rewritten` in their place, `appended` behind the end, or gone.
    `removed` lost the place they had, `waiting` have none until the next build, and `young` ones are left to
    the next seal.
    """

    sealed: int = 0
    appended: int = 0
    rewritten: int = 0
    removed: int = 0
    waiting: int = 0
    young: int = 0
    batches: int = 0
    seconds: float = 0.0

    def plus(self, found: Settled) -> SealResult:
        """Return the sum with one more batch."""
        return replace(
            self,
            sealed=self.sealed + found.sealed,
            appended=self.appended + found.appended,
            rewritten=self.rewritten + found.rewritten,
            removed=self.removed + found.removed,
            waiting=self.waiting + found.waiting,
            young=self.young + found.young,
            batches=self.batches + 1,
        )

    def __str__(self) -> str:
        """One line for a log."""
        parts = f"{self.rewritten:,} rewritten, {self.appended:,} appended, {self.removed:,} removed"
        rest = f"{self.waiting:,} wait for the next build, {self.young:,} are too new"
        return f"{self.sealed:,} items sealed in {self.batches} batches, {self.seconds:.2f} s: {parts}; {rest}"


def seal(
    settings: Settings,
    *,
    items: int | None = None,
    force: bool = False,
    report: Callable[[SealResult], None] = lambda so_far: None,
) -> SealResult:
    """Seal what is marked, if it is many or old enough by the knobs; `force` asks neither.

    Each transaction seals up to `items` (BATCH_ITEMS); `report` hears of each. Killed at any instant, what
    was committed is sealed and the rest is still marked. Raises InvalidInput, BitmapsUnavailable where no
    index serves, and BitmapsBusy while another session seals, or builds so that it cannot be waited for.
    """
    if items is not None and items < 1:
        raise InvalidInput(f"items is {items}, and must be at least 1.")
    start = time.monotonic()
    with closing(engine.connect(settings)) as connection, engine.translated(), _alone(connection):
        connection.isolation_level = IsolationLevel.REPEATABLE_READ
        run = Run(connection, horizon(connection, 0.0 if force else LATE_S), items or BATCH_ITEMS)
        found = due(connection, run.horizon)
        if force or is_due(found, settings.bitmaps):
            result = run.to_the_end(report)
            _clean_up(connection, settings.database, result)
        else:
            result = SealResult(waiting=found.waiting, young=found.young)
    return replace(result, seconds=time.monotonic() - start)


def due(connection: Connection, horizon: str) -> Due:
    """Return what is marked; items made after `horizon` are too new. Raises BitmapsUnavailable where none serves."""
    try:
        serves = connection.execute(block(FILE, "is_serving").sql()).fetchone()
    except (errors.UndefinedTable, errors.InvalidSchemaName) as error:
        raise _nothing_serves() from error
    if serves != (True,):
        raise _nothing_serves()
    return look(connection, horizon)


def look(connection: Connection, horizon: str) -> Due:
    """Return what is marked, whether or not an index serves; its tables are there."""
    with connection.cursor(row_factory=class_row(Due)) as cursor:
        found = cursor.execute(block(FILE, "due").sql(), {"horizon": horizon}).fetchone()
    assert found is not None
    return found


def is_due(found: Due, knobs: BitmapSettings) -> bool:
    """Return whether a seal without force would do anything."""
    old = found.oldest_due_s is not None and found.oldest_due_s >= knobs.seal_age_s
    return old or found.due >= knobs.seal_items


def horizon(connection: Connection, late_s: float) -> str:
    """Return the moment, as text, up to which items are appended."""
    row = connection.execute(block(FILE, "horizon").sql(), {"late_s": late_s}).fetchone()
    assert row is not None
    return str(row[0])


@dataclass
class Run:
    """A seal at work: batch after batch by the key of items, up to the greatest that was marked."""

    connection: Connection
    horizon: str
    items: int
    after: Place = _FIRST
    done: SealResult = field(default_factory=SealResult)

    def to_the_end(self, report: Callable[[SealResult], None]) -> SealResult:
        """Seal until no marked item is left behind the last one, and return what was done."""
        while self._batch():
            report(self.done)
        return self.done

    def _batch(self) -> bool:
        for _ in range(ATTEMPTS):
            try:
                return self._attempt()
            except (errors.SerializationFailure, errors.DeadlockDetected):
                # A build ended or began, or the index was forgotten, after this batch's snapshot was taken.
                continue
            except errors.LockNotAvailable as error:
                raise BitmapsBusy(
                    f"A build has held the index for more than {LOCK_WAIT_MS / 1000:.0f} s.",
                    hint="Seal again once it is further; answers stay exact meanwhile.",
                ) from error
        raise BitmapsBusy(hint="Seal again; what was sealed so far is kept.")

    def _attempt(self) -> bool:
        with self.connection.transaction(), self.connection.cursor(binary=True) as cursor:
            layout.adapt(cursor.adapters)
            cursor.execute(block("session", "set_lock_timeout").sql(), {"lock_timeout": f"{LOCK_WAIT_MS}ms"})
            cursor.execute(block(FILE, "hold_content").sql())
            serving = _serving(self.connection)
            found = self._next_items()
            settled = settle(cursor, serving, found) if found else None
        # Behind the commit: a batch that was rolled back is tried again from where it began.
        if settled is None:
            return False
        last = found[-1]
        self.after, self.done = (last.created_at or _FIRST[0], last.source, last.id), self.done.plus(settled)
        return True

    def _next_items(self) -> list[Item]:
        at, source, content_id = self.after
        values: dict[str, Any] = {"after_at": at, "after_source": source, "after_id": content_id}
        values |= {"horizon": self.horizon, "limit": self.items}
        with self.connection.cursor(row_factory=class_row(Item)) as cursor:
            return cursor.execute(block(FILE, "next_items").sql(), values).fetchall()


def _serving(connection: Connection) -> Serving:
    with connection.cursor(row_factory=class_row(Serving)) as cursor:
        found = cursor.execute(block(FILE, "serving").sql()).fetchone()
    if found is None or found.epoch is None:
        raise _nothing_serves()
    return found


def _clean_up(connection: Connection, database: DatabaseSettings, result: SealResult) -> None:
    """Free what was sealed: every reader looks through the marks, dead ones included."""
    tables = {"bitmap_marks": result.sealed, "tag_bitmaps": result.rewritten + result.removed}
    with contextlib.suppress(LockNotAcquired):
        for table in (name for name, changed in tables.items() if changed):
            run_ddl(connection, block(FILE, "vacuum").sql(table=f"workbench.{table}"), database, transactional=False)


@contextlib.contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Hold the sealer's lock for a block; raise BitmapsBusy while another session has it."""
    if not advisory.try_hold(connection, LOCK):
        raise BitmapsBusy("Another session seals the tag bitmap index.", hint="Wait for it to end.")
    try:
        yield
    finally:
        advisory.release(connection, LOCK)


def _nothing_serves() -> BitmapsUnavailable:
    return BitmapsUnavailable(
        "No tag bitmap index serves here, so there is nothing to seal.", hint="Run `genonaut run 40_build_tag_bitmaps`."
    )
