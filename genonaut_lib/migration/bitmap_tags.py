"""The second half of a build: a bitmap for each tag that is used enough, by several sessions at once.

Each tag is a short transaction of its own, so a build that was killed goes on with the tags that are left.
Most of the work is the server's, which finds the ids; turning them into bits takes a tenth of that, with the
interpreter's lock given up for the most part. So the sessions are threads, and share one map of the ranks.
"""

from __future__ import annotations

import queue
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field

import numpy as np

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.gallery.bitmaps.layout import CHUNK, MEMBERS
from genonaut_lib.migration.backfill import Progress
from genonaut_lib.migration.bitmap_columns import Ids, columns_of, copy_rows, int4
from genonaut_lib.migration.bitmap_epochs import FILE, require_building
from genonaut_lib.migration.bitmap_ranking import BITMAPS, Ranking
from genonaut_lib.migration.pressure import Pressure, Reason
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import ContentSource

TASK = "build_tag_bitmaps"
IDS_AT_ONCE = 1 << 23
"""Ids asked for in one value: 32 MB, a few times over on both sides."""
LOOK_S = 0.5
"""How often pressure is looked at."""
REPORT_S = 0.25


@dataclass(frozen=True)
class Tag:
    """A tag that gets bitmaps, and how many items carried it when they were counted."""

    number: int
    id: uuid.UUID
    items: int


@dataclass
class Orders:
    """What the sessions look at between two tags; pauses are in seconds."""

    pause_s: float
    go: threading.Event = field(default_factory=threading.Event)
    stop: threading.Event = field(default_factory=threading.Event)


def tags_by_use(connection: Connection, least: int) -> list[Tag]:
    """Return the tags that at least `least` items carry, the most used first; the junction is read once."""
    rows = connection.execute(block(FILE, "tags_by_use").sql(), {"least": least}).fetchall()
    return [Tag(*row) for row in rows]


def write_tag(connection: Connection, ranking: Ranking, tag: Tag) -> int:
    """Write a tag's bitmaps in one transaction and return the rows written; 0 when another session did it before.

    Raises BitmapsForgotten when the ranking's epoch is no longer being built.
    """
    with connection.transaction():
        claim = {"epoch": ranking.epoch, "tag_no": tag.number}
        if connection.execute(block(FILE, "claim_tag").sql(), claim).fetchone() is None:
            require_building(connection, ranking.epoch)
            return 0
        # All columns before the first row: nothing can be asked while a COPY goes on.
        return copy_rows(connection, *BITMAPS, list(_rows(connection, ranking, tag)))


def _ids(connection: Connection, tag: Tag, source: ContentSource) -> Iterator[Ids]:
    """Yield the ids of one source's items that carry the tag, a bounded number at a time."""
    values = {"tag_id": tag.id, "source": source.junction, "limit": IDS_AT_ONCE, "after": -1}
    statement, size = block(FILE, "content_ids").sql(), IDS_AT_ONCE
    with connection.cursor(binary=True) as cursor:
        while size == IDS_AT_ONCE:
            # Not prepared: a plan for any tag would be one for none.
            row = cursor.execute(statement, values, prepare=False).fetchone()
            ids = np.frombuffer((row and row[0]) or b"", dtype=MEMBERS)
            size = len(ids)
            if size:
                values["after"] = int(ids[-1])
                yield ids


def _rows(connection: Connection, ranking: Ranking, tag: Tag) -> Iterator[tuple[bytes, ...]]:
    ranks = (ranking.maps[source].ranks_of(ids) for source in ContentSource for ids in _ids(connection, tag, source))
    for column in columns_of(ranks, 0, -(-ranking.items // CHUNK)):
        yield int4(ranking.epoch), int4(tag.number), int4(column.chunk), int4(column.cardinality), column.bits


@dataclass
class _Session:
    """One of the sessions: takes tags until none is left; `failure` is what ended it, if something did."""

    crew: Crew
    connection: Connection | None = None
    failure: BaseException | None = None

    def run(self) -> None:
        try:
            with engine.connect(self.crew.settings) as self.connection:
                self._work(self.connection)
        except BaseException as failure:  # noqa: BLE001  # handed to the thread that waits for this one
            self.failure = failure
            self.crew.orders.stop.set()

    def _work(self, connection: Connection) -> None:
        orders = self.crew.orders
        while not orders.stop.is_set():
            if not orders.go.wait(REPORT_S):
                continue
            try:
                tag = self.crew.left.get_nowait()
            except queue.Empty:
                return
            self.crew.add(tag, write_tag(connection, self.crew.ranking, tag))
            orders.stop.wait(orders.pause_s)


@dataclass
class Crew:
    """The sessions that write the tags' bitmaps, and who holds them back for the sake of others."""

    settings: Settings
    ranking: Ranking
    tags: Sequence[Tag]
    report: Callable[[Progress], None]
    left: queue.SimpleQueue[Tag] = field(default_factory=queue.SimpleQueue)
    rows: int = 0
    relationships: int = 0
    held: tuple[Reason, ...] = ()
    orders: Orders = field(init=False)
    _sessions: list[_Session] = field(default_factory=list)
    _lock: threading.Lock = field(default_factory=threading.Lock)
    _started: float = field(default_factory=time.monotonic)

    def __post_init__(self) -> None:
        """Put the tags in order: the most used first, so that the sessions end at about the same time."""
        self.orders = Orders(self.settings.throttle.pause_s)
        for tag in self.tags:
            self.left.put(tag)

    def work(self, connection: Connection, workers: int) -> None:
        """Write all tags with so many sessions; `connection` looks at the pressure on the server.

        Raises what ended a session; tags that were written stay.
        """
        self._sessions = [_Session(self) for _ in range(workers)]
        threads = [threading.Thread(target=one.run, name=f"{TASK}-{no}") for no, one in enumerate(self._sessions, 1)]
        pressure = Pressure(self.settings.pressure, ("content_tags", "workbench.tag_bitmaps"), self._pids)
        for thread in threads:
            thread.start()
        try:
            self._wait(connection, threads, pressure)
        finally:
            self.orders.stop.set()
            self._end(threads)
        for failure in (one.failure for one in self._sessions if one.failure is not None):
            raise failure
        self._tell()

    def add(self, tag: Tag, rows: int) -> None:
        """Count a tag that was written."""
        with self._lock:
            self.rows += rows
            self.relationships += tag.items

    def _wait(self, connection: Connection, threads: Sequence[threading.Thread], pressure: Pressure) -> None:
        looked = 0.0
        while alive := [thread for thread in threads if thread.is_alive()]:
            if time.monotonic() - looked >= LOOK_S:
                looked = time.monotonic()
                self._hold(pressure.look(connection))
            alive[0].join(REPORT_S)
            self._tell()

    def _hold(self, reasons: tuple[Reason, ...]) -> None:
        self.held = reasons
        if reasons:
            self.orders.go.clear()
        else:
            self.orders.go.set()

    def _end(self, threads: Sequence[threading.Thread]) -> None:
        """Wait for the tags that are being written; when this start is being broken off, cancel them."""
        for one, thread in zip(self._sessions, threads, strict=True):
            if thread.is_alive() and one.connection is not None:
                one.connection.cancel_safe()
            thread.join()

    def _tell(self) -> None:
        total, seconds = sum(tag.items for tag in self.tags), time.monotonic() - self._started
        left_s = (total - self.relationships) * seconds / self.relationships if self.relationships else None
        held = tuple(reason.finding for reason in self.held)
        self.report(
            Progress(TASK, "relationships", self.relationships, total, self.rows, held, left_s, counted="bitmaps")
        )

    def _pids(self) -> list[int]:
        connections = (one.connection for one in self._sessions)
        return [one.info.backend_pid for one in connections if one is not None and not one.closed]
