"""Counting what a backfill does: rows by source, speed, and the time that is left."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field

from genonaut_lib.migration.backfill import BackfillResult, Progress
from genonaut_lib.migration.worker import Batch

ENOUGH = 0.02
"""The part of the work after which its speed tells something about the rest."""
WARM_S = 2.0
"""The first batches are small and meet cold caches; once there is as much again, they are left out of the speed."""


@dataclass
class _Source:
    rows_total: int
    rows_read: int
    rows_changed: int


@dataclass
class Tally:
    """The counts of one start; workers add to it from their threads.

    Time spent paused does not count for the speed: it says nothing about the work.
    """

    sources: dict[str, _Source]
    batches: int = 0
    rows_read: int = 0
    rows_changed: int = 0
    started: float = field(default_factory=time.monotonic)
    held_s: float = 0.0
    _warm: tuple[float, int] | None = None
    _held_since: float | None = None
    _lock: threading.Lock = field(default_factory=threading.Lock)

    @classmethod
    def of(cls, totals: Mapping[str, tuple[int, int, int]]) -> Tally:
        """Return the tally of a start, from (rows in all, read, changed) by source over earlier ones."""
        return cls({source: _Source(*counts) for source, counts in totals.items()})

    def add(self, batch: Batch) -> None:
        """Count a committed batch."""
        with self._lock:
            source = self.sources[batch.source.junction]
            source.rows_read += batch.rows_read
            source.rows_changed += batch.rows_changed
            self.rows_read += batch.rows_read
            self.rows_changed += batch.rows_changed
            self.batches += 1
            if self._warm is None and self.active_s >= WARM_S:
                self._warm = (self.active_s, self.rows_read)

    def is_held(self, held: bool) -> None:
        """Start or stop the clock of pauses."""
        now = time.monotonic()
        if self._held_since is not None:
            self.held_s += now - self._held_since
        self._held_since = now if held else None

    @property
    def active_s(self) -> float:
        """Seconds of this start without its pauses."""
        now = time.monotonic()
        held_now = now - self._held_since if self._held_since is not None else 0.0
        return now - self.started - self.held_s - held_now

    @property
    def rows_per_second(self) -> float | None:
        """Rows read a second of work, None before the first batch."""
        active_s, rows = self.active_s, self.rows_read
        if self._warm is not None and active_s >= 2 * self._warm[0]:
            active_s, rows = active_s - self._warm[0], rows - self._warm[1]
        return rows / active_s if rows and active_s > 0 else None

    @property
    def eta_s(self) -> float | None:
        """Seconds of work left at the speed so far, None until enough is done to tell."""
        total = sum(source.rows_total for source in self.sources.values())
        left = max(0, total - sum(source.rows_read for source in self.sources.values()))
        rate = self.rows_per_second
        if rate is None or (left and self.rows_read < ENOUGH * (left + self.rows_read)):
            return None
        return left / rate

    def progress(self, task: str, held: tuple[str, ...] = ()) -> Iterator[Progress]:
        """Yield how far each source is."""
        eta = self.eta_s
        for name, source in self.sources.items():
            yield Progress(task, name, source.rows_read, source.rows_total, source.rows_changed, held, eta)

    def figures(self) -> dict[str, float]:
        """Return what this start did, for the record."""
        counts = {"rows_read": self.rows_read, "rows_changed": self.rows_changed, "batches": self.batches}
        return {**counts, "active_s": round(self.active_s, 3), "held_s": round(self.held_s, 3)}

    def into(self, result: BackfillResult, retries: int) -> None:
        """Write the counts of this start into its result."""
        result.rows_read, result.rows_changed, result.batches = self.rows_read, self.rows_changed, self.batches
        result.retries = retries
        result.seconds, result.held_s = time.monotonic() - self.started, self.held_s
