"""Verification: sessions take chunks of both sources until every id is covered; what they find is in the ledger.

Each chunk is written down when it was compared, with its differences, so a killed verification goes on
after the chunks it has. A chunk remembers the verification record it follows: once a verification is
over, or its phase was undone, there is a newer record and the next start begins anew. So it does when
a backfill moved since, or when the chunks cover everything already.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg.types.json import Jsonb

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import VerificationBusy
from genonaut_lib.migration.backfill import Progress
from genonaut_lib.migration.comparison import Chunk, Comparison, Mismatch, Reading, left_open
from genonaut_lib.migration.plan import Verification
from genonaut_lib.migration.verifiers import Bars, Verifiers
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import ContentSource

SAMPLES = 20
LOCK_WAIT_S = 30.0
"""How long a start waits for a predecessor whose session the server has not noticed to be gone."""

Report = Callable[[Progress], None]


@dataclass(frozen=True)
class Findings:
    """What a verification found over all its starts; `coverage` is the share of rows compared, in percent."""

    phase: str
    started_at: datetime | None
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
        bars = Bars(connection, comparison, report, ledger.readings(connection))
        Verifiers(settings, comparison, ledger.note).run(bars)
        return findings(connection, comparison)


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
        begun = cls(comparison, *row)
        if not left_open(begun.readings(connection)):
            connection.execute(block("verify", "forget").sql(), {"phase": comparison.phase})
        return begun

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
        return [_reading(row) for row in _chunk_rows(connection, self.comparison.phase)]


def findings(connection: Connection, comparison: Comparison) -> Findings:
    """Return what the chunks in the ledger say, of a verification that is over or was killed."""
    rows = _chunk_rows(connection, comparison.phase)
    coverage = _coverage(connection, comparison.phase)
    started_at = min((row[-1] for row in rows), default=None)
    return Findings(comparison.phase, started_at, coverage, tuple(map(_reading, rows)))


def _chunk_rows(connection: Connection, phase: str) -> list[tuple[Any, ...]]:
    return connection.execute(block("verify", "chunks").sql(), {"phase": phase}).fetchall()


def _coverage(connection: Connection, phase: str) -> float:
    total = covered = 0
    for source in ContentSource:
        values = {"phase": phase, "source": source.junction}
        row = connection.execute(block("verify", "coverage").sql(table=source.table), values).fetchone()
        assert row is not None
        total, covered = total + row[0], covered + row[1]
    return 100.0 * covered / total if total else 100.0


def _reading(row: tuple[Any, ...]) -> Reading:
    chunk = Chunk(ContentSource.from_junction(row[0]), row[1], row[2])
    return Reading(chunk, row[3], row[4], tuple(Mismatch(row[0], *key) for key in row[5]), row[6])


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
