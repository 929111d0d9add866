"""Verification: sessions take chunks of both sources until every id is covered; what they find is in the ledger.

Each chunk is written down when it was compared, with its differences, so a killed verification goes on
after the chunks it has. A chunk remembers the verification record it follows: once a verification is
over, or its phase was undone, there is a newer record and the next start begins anew, as it does when
a backfill moved since.
"""

from __future__ import annotations

import contextlib
import math
import queue
import threading
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import VerificationBusy
from genonaut_lib.migration.backfill import Progress
from genonaut_lib.migration.chunk_reader import ChunkReader
from genonaut_lib.migration.comparison import Chunk, Comparison, Mismatch, Reading, gaps
from genonaut_lib.migration.plan import Verification
from genonaut_lib.settings import Settings, ThrottleSettings
from genonaut_lib.vocabulary import ContentSource

SAMPLES = 20
LOCK_WAIT_S = 30.0
"""How long a start waits for a predecessor whose session the server has not noticed to be gone."""
REPORT_S = 0.25
STOP_S = 2.0
"""How long a chunk may take to end once another worker failed; its statement is cancelled then."""

Report = Callable[[Progress], None]


@dataclass(frozen=True)
class Findings:
    """What a verification found over all its starts; `coverage` is the share of rows compared, in percent."""

    phase: str
    started_at: datetime
    coverage: float
    readings: tuple[Reading, ...]

    @property
    def examined(self) -> int:
        """Rows compared."""
        return sum(reading.rows for reading in self.readings)

    @property
    def mismatches(self) -> tuple[Mismatch, ...]:
        """Every difference, by key."""
        return tuple(key for reading in self.readings for key in reading.mismatches)

    def pairs(self, source: ContentSource) -> int:
        """Return the pairs of the right side in one source."""
        return sum(reading.pairs for reading in self.readings if reading.chunk.source is source)

    def verification(self, figures: Mapping[str, int | str]) -> Verification:
        """Return the finding as the ledger and the notebook take it."""
        # Rounded down: only the whole may read as 100.
        coverage = math.floor(self.coverage * 100) / 100
        found = self.mismatches
        return Verification(
            self.phase,
            self.examined,
            len(found),
            {**figures, "coverage": f"{coverage:g} %"},
            tuple(str(key) for key in found[:SAMPLES]),
            self.coverage,
            self.started_at,
        )


def compare(settings: Settings, comparison: Comparison, report: Report = lambda progress: None) -> Findings:
    """Compare both sides of all rows with `throttle.workers` sessions, from wherever a killed start stopped.

    Raises VerificationBusy while another session verifies the same phase, and what the server raised.
    """
    with engine.connect(settings) as connection:
        _lock(connection, comparison.phase)
        ledger = _ChunkLedger.begin(connection, comparison)
        crew = _Crew(settings, ledger)
        crew.run(_Bars(connection, comparison, report, ledger.readings(connection)))
        return ledger.findings(connection)


@dataclass(frozen=True)
class _ChunkLedger:
    """The chunks of one verification in the ledger."""

    comparison: Comparison
    follows: int
    started_at: datetime

    @classmethod
    def begin(cls, connection: Connection, comparison: Comparison) -> _ChunkLedger:
        values = {"phase": comparison.phase, "tasks": list(comparison.tasks)}
        row = connection.execute(block("verify", "begin").sql(), values).fetchone()
        assert row is not None
        return cls(comparison, *row)

    def note(self, connection: Connection, reading: Reading) -> None:
        chunk = reading.chunk
        keys = [(key.item, key.value, key.problem) for key in reading.mismatches]
        values = {
            "phase": self.comparison.phase,
            "source": chunk.source.junction,
            "follows": self.follows,
            "after_id": chunk.after,
            "upto_id": chunk.upto,
            "started_at": self.started_at,
            "rows_examined": reading.rows,
            "pairs": reading.pairs,
            "found": Jsonb(keys),
            "seconds": reading.seconds,
        }
        connection.execute(block("verify", "record_chunk").sql(), values)

    def readings(self, connection: Connection) -> list[Reading]:
        return [_reading(row) for row in self._rows(connection)]

    def findings(self, connection: Connection) -> Findings:
        rows = self._rows(connection)
        started_at = min((row[-1] for row in rows), default=self.started_at)
        coverage = self._coverage(connection)
        return Findings(self.comparison.phase, started_at, coverage, tuple(map(_reading, rows)))

    def _coverage(self, connection: Connection) -> float:
        total = covered = 0
        for source in ContentSource:
            values = {"phase": self.comparison.phase, "source": source.junction}
            row = connection.execute(block("verify", "coverage").sql(table=source.table), values).fetchone()
            assert row is not None
            total, covered = total + row[0], covered + row[1]
        return 100.0 * covered / total if total else 100.0

    def _rows(self, connection: Connection) -> list[tuple[Any, ...]]:
        return connection.execute(block("verify", "chunks").sql(), {"phase": self.comparison.phase}).fetchall()


def _reading(row: tuple[Any, ...]) -> Reading:
    chunk = Chunk(ContentSource.from_junction(row[0]), row[1], row[2])
    return Reading(chunk, row[3], row[4], tuple(Mismatch(row[0], *key) for key in row[5]))


class _Walk:
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
class _Bars:
    """How far the verification is, told by source."""

    connection: Connection
    comparison: Comparison
    report: Report
    readings: list[Reading]
    totals: dict[ContentSource, int] = field(init=False)

    def __post_init__(self) -> None:
        rows = {source: block("verify", "rows").sql(table=source.table) for source in ContentSource}
        self.totals = {source: _count(self.connection, statement) for source, statement in rows.items()}

    def show(self, reading: Reading) -> None:
        """Report the source of `reading` with all that was read of it."""
        self.readings.append(reading)
        source = reading.chunk.source
        mine = [one for one in self.readings if one.chunk.source is source]
        read, found = sum(one.rows for one in mine), sum(len(one.mismatches) for one in mine)
        total = max(read, self.totals[source])
        name = f"verify {self.comparison.phase}"
        self.report(Progress(name, source.junction, read, total, found, counted="mismatches"))


class _Crew:
    """The sessions of one start, each in a thread that takes chunk after chunk."""

    def __init__(self, settings: Settings, ledger: _ChunkLedger) -> None:
        self.settings = settings
        self.ledger = ledger
        self.stop = threading.Event()
        self.done: queue.SimpleQueue[Reading] = queue.SimpleQueue()
        self.sessions: list[Connection] = []
        self.failures: list[BaseException] = []

    def run(self, bars: _Bars) -> None:
        """Work until no id is left open; raise the first failure of a worker."""
        done = [reading.chunk for reading in bars.readings]
        walk = _Walk([gap for source in ContentSource for gap in gaps(done, source)])
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

    def _tell(self, bars: _Bars) -> None:
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

    def _work(self, walk: _Walk) -> None:
        try:
            with engine.connect(self.settings) as connection:
                self.sessions.append(connection)
                for reading in self._readings(connection, walk):
                    self.ledger.note(connection, reading)
                    self.done.put(reading)
        except BaseException as error:  # noqa: BLE001  # raised in the thread that started this one
            self.failures.append(error)
            self.stop.set()

    def _readings(self, connection: Connection, walk: _Walk) -> Iterator[Reading]:
        throttle = self.settings.throttle
        reader = ChunkReader(connection, self.ledger.comparison, throttle, self.stop)
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


def _lock(connection: Connection, phase: str) -> None:
    deadline = time.monotonic() + LOCK_WAIT_S
    while not _count(connection, block("verify", "try_lock").sql(), phase=phase):
        if time.monotonic() > deadline:
            raise VerificationBusy(f"Another session verifies {phase}.", hint="Wait for it to end.")
        time.sleep(0.25)


def _count(connection: Connection, statement: Any, **values: str) -> int:
    row = connection.execute(statement, values).fetchone()
    assert row is not None
    return int(row[0])
