"""Compares one chunk: sums first, halves where they differ, keys at the bottom, read again before they count."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from typing import Any

from psycopg import errors

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import Block, block
from genonaut_lib.migration.comparison import Chunk, Comparison, Mismatch, Reading, Sums
from genonaut_lib.migration_settings import ThrottleSettings

LEAF = 64
"""Ranges of so few ids are not halved further; their keys are listed."""
MOST_KEYS = 1_000
"""A chunk that is wrong as a whole names so many of its keys; its count is a lower bound then."""
READ_AGAIN_AFTER_S = (0.05, 0.2, 0.5)


class ChunkReader:
    """Compares chunks on one session; every statement is a transaction of its own, hence a fresh snapshot."""

    def __init__(
        self, connection: Connection, comparison: Comparison, throttle: ThrottleSettings, stop: threading.Event
    ) -> None:
        self.connection = connection
        self.comparison = comparison
        self.timeout = f"{throttle.batch_timeout_s}s"
        self.stop = stop

    def read(self, chunk: Chunk) -> Reading:
        """Return what differs in `chunk`; one that is over its time is read in halves."""
        started = time.monotonic()
        try:
            sums = self._sums(self.comparison.sums, chunk)
        except errors.QueryCanceled:
            if chunk.width <= LEAF or self.stop.is_set():
                raise
            reading = _joined(chunk, *(self.read(half) for half in chunk.halves()))
            return replace(reading, seconds=time.monotonic() - started)
        # The next chunk is sized by how long the sums took, not by the search for what differs.
        seconds = time.monotonic() - started
        found = () if sums.agree else self._confirmed(self._suspects(chunk))
        return Reading(chunk, sums.rows, sums.right_pairs, found, seconds)

    def _suspects(self, chunk: Chunk) -> dict[Chunk, set[Mismatch]]:
        """Return the differences by leaf, found by halving; a chunk all wrong is left after MOST_KEYS."""
        if self._sums(self.comparison.sums_once, chunk).agree:
            return {}
        if chunk.width <= LEAF:
            return {chunk: self._keys(chunk)}
        found: dict[Chunk, set[Mismatch]] = {}
        for half in chunk.halves():
            if sum(map(len, found.values())) < MOST_KEYS:
                found |= self._suspects(half)
        return found

    def _confirmed(self, suspects: dict[Chunk, set[Mismatch]]) -> tuple[Mismatch, ...]:
        """Return the differences that are still there in every later reading."""
        for pause in READ_AGAIN_AFTER_S:
            suspects = {leaf: keys for leaf, keys in suspects.items() if keys}
            if not suspects:
                return ()
            self.stop.wait(pause)
            suspects = {leaf: keys & self._keys(leaf) for leaf, keys in suspects.items()}
        return tuple(sorted(key for keys in suspects.values() for key in keys)[:MOST_KEYS])

    def _sums(self, source: Block, chunk: Chunk) -> Sums:
        return Sums(*self._rows(source, chunk)[0])

    def _keys(self, leaf: Chunk) -> set[Mismatch]:
        rows = self._rows(self.comparison.keys, leaf, limit=MOST_KEYS)
        return {Mismatch(leaf.source.junction, item, value or "", problem) for item, value, problem in rows}

    def _rows(self, source: Block, chunk: Chunk, **values: int) -> list[tuple[Any, ...]]:
        values |= {"after": chunk.after, "upto": chunk.upto}
        statement = source.sql(table=chunk.source.table)
        with self.connection.transaction():
            self.connection.execute(block("verify", "set_local").sql(), {"statement_timeout": self.timeout})
            # Not prepared: a generic plan would be made for chunks of any size.
            return self.connection.execute(
                statement, {**values, "source": chunk.source.junction}, prepare=False
            ).fetchall()


def _joined(chunk: Chunk, first: Reading, second: Reading) -> Reading:
    found = first.mismatches + second.mismatches
    return Reading(chunk, first.rows + second.rows, first.pairs + second.pairs, found, 0.0)
