"""The sessions of a verification: each takes the next chunk that nobody took, compares it and writes it down."""

from __future__ import annotations

import contextlib
import queue
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.migration.backfill import Progress
from genonaut_lib.migration.chunk_reader import ChunkReader
from genonaut_lib.migration.comparison import Chunk, Comparison, Reading, left_open
from genonaut_lib.migration_settings import ThrottleSettings
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import ContentSource

REPORT_S = 0.25
STOP_S = 2.0
"""How long a chunk may take to end once another worker failed; its statement is cancelled then."""

Note = Callable[[Connection, Reading], None]


class Walk:
    """The ids that nobody took yet; workers take chunks of them from the front."""

    def __init__(self, open_ids: list[Chunk]) -> None:
        self.open_ids = open_ids
        self.lock = threading.Lock()

    def take(self, connection: Connection, rows: int) -> Chunk | None:
        """Return the next chunk of about so many rows, None when nothing is left."""
        with self.lock:
            if not self.open_ids:
                return None
            gap = self.open_ids.pop(0)
            end = self._end(connection, gap, rows)
            if end < gap.upto:
                self.open_ids.insert(0, Chunk(gap.source, end, gap.upto))
            return Chunk(gap.source, gap.after, end)

    def _end(self, connection: Connection, gap: Chunk, rows: int) -> int:
        statement = block("verify", "chunk_end").sql(table=gap.source.table)
        values = {"after": gap.after, "upto": gap.upto, "rows": rows}
        row = connection.execute(statement, values, prepare=False).fetchone()
        return int(row[0]) if row else gap.upto


@dataclass
class Bars:
    """How far the verification is, told by source."""

    connection: Connection
    comparison: Comparison
    report: Callable[[Progress], None]
    readings: list[Reading]
    totals: dict[ContentSource, int] = field(init=False)

    def __post_init__(self) -> None:
        rows = {source: block("verify", "rows").sql(table=source.table) for source in ContentSource}
        self.totals = {source: int(self.connection.execute(text).fetchall()[0][0]) for source, text in rows.items()}

    def show(self, reading: Reading) -> None:
        """Report the source of `reading` with all that was read of it."""
        self.readings.append(reading)
        source = reading.chunk.source
        mine = [one for one in self.readings if one.chunk.source is source]
        read, found = sum(one.rows for one in mine), sum(len(one.mismatches) for one in mine)
        total = max(read, self.totals[source])
        name = f"verify {self.comparison.phase}"
        self.report(Progress(name, source.junction, read, total, found, counted="mismatches"))


class Verifiers:
    """The sessions of one start, each in a thread that takes chunk after chunk."""

    def __init__(self, settings: Settings, comparison: Comparison, note: Note) -> None:
        self.settings = settings
        self.comparison = comparison
        self.note = note
        self.stop = threading.Event()
        self.done: queue.SimpleQueue[Reading] = queue.SimpleQueue()
        self.sessions: list[Connection] = []
        self.failures: list[BaseException] = []

    def run(self, bars: Bars) -> None:
        """Work until no id is left open; raise the first failure of a worker."""
        walk = Walk(left_open(bars.readings))
        workers = range(self.settings.throttle.workers)
        threads = [threading.Thread(target=self._work, args=[walk], name=f"verify-{n}", daemon=True) for n in workers]
        try:
            for thread in threads:
                thread.start()
            while any(thread.is_alive() for thread in threads):
                self._tell(bars)
        finally:
            self._end(threads)
        self._tell(bars)
        if self.failures:
            raise self.failures[0]

    def _tell(self, bars: Bars) -> None:
        """Report what came in; wait a moment for the first of it."""
        with contextlib.suppress(queue.Empty):
            bars.show(self.done.get(timeout=REPORT_S if not self.stop.is_set() else 0))
            while True:
                bars.show(self.done.get_nowait())

    def _end(self, threads: list[threading.Thread]) -> None:
        """End the workers, also in the middle of a chunk: it is read again by the next start."""
        self.stop.set()
        deadline = time.monotonic() + STOP_S
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        if any(thread.is_alive() for thread in threads):
            for session in self.sessions:
                session.cancel_safe()
        for thread in threads:
            thread.join()

    def _work(self, walk: Walk) -> None:
        try:
            with engine.connect(self.settings) as connection:
                self.sessions.append(connection)
                for reading in self._readings(connection, walk):
                    self.note(connection, reading)
                    self.done.put(reading)
        except BaseException as error:  # noqa: BLE001  # raised in the thread that started this one
            self.failures.append(error)
            self.stop.set()

    def _readings(self, connection: Connection, walk: Walk) -> Iterator[Reading]:
        throttle = self.settings.throttle
        reader = ChunkReader(connection, self.comparison, throttle, self.stop)
        rows = throttle.batch_rows_first
        while not self.stop.is_set() and (chunk := walk.take(connection, rows)):
            reading = reader.read(chunk)
            yield reading
            rows = next_size(rows, reading.seconds, throttle)
            self.stop.wait(throttle.pause_s)


def next_size(rows: int, seconds: float, throttle: ThrottleSettings) -> int:
    """Return the rows of the next chunk: towards the target time, at most doubled or halved."""
    factor = min(2.0, max(0.5, throttle.batch_target_s / max(seconds, 1e-6)))
    return max(1, min(int(rows * factor), throttle.batch_rows_max))
