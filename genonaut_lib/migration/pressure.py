"""Back-pressure: reasons for a backfill to hold back, and when they are over.

Each signal is read from the server (`readings`), measured against its limit here, and remembered:
one that paused goes on only after it stayed below a share of its limit for a while, so that a value
around the limit does not make the workers stop and go with every look.
"""

from __future__ import annotations

import bisect
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field, replace
from operator import itemgetter

from genonaut_lib.db.engine import Connection
from genonaut_lib.migration.readings import Answer, Archiver, Readings, Replica, Slot, Vacuum, Wait, read
from genonaut_lib.migration_settings import PressureSettings

_MIB = 1024 * 1024
_RATE_OVER_S = 0.5
"""The shortest time a rate of WAL is taken over; two looks in a row would show single flushes."""
_SAMPLES = 7_200
"""Looks remembered, an hour or two of them; a replica further behind has at least that much lag."""


@dataclass(frozen=True)
class Reason:
    """One reason to hold back, fit to be shown and, as `vars(reason)`, to be stored as JSON.

    `signal` is replica_lag, slot, wal_rate, archiver, vacuum, waiting_sessions or query. `value` and
    `limit` are in the unit of the signal's setting, None where it is a matter of yes or no.
    """

    signal: str
    finding: str
    value: float | None
    limit: float | None


@dataclass(frozen=True)
class Gauge:
    """One measured thing: `subject` tells it from others of its signal, `over` whether it is a reason to pause."""

    signal: str
    subject: str
    finding: str
    over: bool
    value: float | None = None
    limit: float | None = None

    def resumes_below(self, share: float) -> float | None:
        """Return the value it must fall to, a share of the limit below it; None for a yes or no."""
        return None if self.limit is None else self.limit - abs(self.limit) * (1 - share)

    def is_calm(self, share: float) -> bool:
        """Return whether the gauge is far enough below its limit to go on."""
        low = self.resumes_below(share)
        return not self.over and (self.value is None or low is None or self.value <= low)


@dataclass
class WalHistory:
    """Where the end of the WAL was at earlier looks, from which a rate and a replica's true lag follow."""

    samples: list[tuple[float, int]] = field(default_factory=list)

    def add(self, now: float, position: int) -> None:
        """Remember a look at `now` seconds; a position that went back is another server's, after a failover."""
        if self.samples and position < self.samples[-1][1]:
            self.samples.clear()
        self.samples.append((now, position))
        del self.samples[:-_SAMPLES]

    def rate_mb_per_s(self) -> float | None:
        """Return the MB of WAL a second up to the newest look, or None before there are two."""
        now, position = self.samples[-1]
        index = bisect.bisect_right(self.samples, now - _RATE_OVER_S, key=itemgetter(0))
        if index == 0:
            return None
        then, before = self.samples[index - 1]
        return (position - before) / _MIB / (now - then)

    def seconds_behind(self, replayed: int) -> float:
        """Return how long there has been WAL beyond `replayed`, as far as the looks know: never too long."""
        index = bisect.bisect_right(self.samples, replayed, key=itemgetter(1))
        return self.samples[-1][0] - self.samples[index][0] if index < len(self.samples) else 0.0


def gauges(readings: Readings, settings: PressureSettings, history: WalHistory) -> list[Gauge]:
    """Measure one look, already in `history`, against the limits; signals switched off give nothing."""
    return [
        *(_lag(found, settings.replica_lag_s, history) for found in readings.replicas),
        *(_slot(found, settings.slot_retained_mb) for found in readings.slots),
        *_wal_rate(history, settings.wal_mb_per_s),
        *_archiver(readings.archiver, settings.archiver_backlog_files),
        *(_vacuum(found) for found in readings.vacuums),
        *_waits(readings.waits, settings.waiting_session_s),
        *_query(readings.answer, settings.query_limit),
    ]


def _lag(replica: Replica, limit: float | None, history: WalHistory) -> Gauge:
    """Measure a replica's lag: by our own clock, or as it reported, whichever is more.

    What it reported stands still while it says nothing, and is left over once it has caught up.
    """
    seconds = 0.0
    if replica.behind_bytes > 0:
        seconds = max(history.seconds_behind(replica.replayed), replica.reported_s or 0.0)
    text = f"replica {replica.name or replica.pid} is {seconds:.1f} s and {replica.behind_bytes / _MIB:.1f} MB behind"
    return _against("replica_lag", str(replica.pid), text, seconds, limit, "s")


def _slot(slot: Slot, limit: float | None) -> Gauge:
    state = "active" if slot.active else "inactive"
    text = f"the {state} replication slot {slot.name} keeps {slot.retained_mb:.0f} MB of WAL"
    return _against("slot", slot.name, text, slot.retained_mb, limit, "MB")


def _wal_rate(history: WalHistory, limit: float | None) -> list[Gauge]:
    rate = history.rate_mb_per_s()
    if limit is None or rate is None:
        return []
    return [_against("wal_rate", "", f"the server writes {rate:.1f} MB/s of WAL", rate, limit, "MB/s")]


def _archiver(archiver: Archiver | None, limit: int | None) -> list[Gauge]:
    """Measure the backlog; a failing archiver is a reason from the start, not 16 MB times the limit later."""
    if archiver is None:
        return []
    text = "the archiver does not fail any more"
    if archiver.failed_wal is not None:
        text = (
            f"the archiver failed {archiver.failed_s or 0:.0f} s ago at {archiver.failed_wal}, nothing archived since"
        )
    failing = Gauge("archiver", "failing", text, over=archiver.failed_wal is not None)
    if archiver.backlog is None:
        return [failing]
    text = f"{archiver.backlog} WAL files wait for the archiver"
    return [failing, _against("archiver", "backlog", text, archiver.backlog, limit, "files")]


def _vacuum(vacuum: Vacuum) -> Gauge:
    text = f"{vacuum.command} runs on {vacuum.table} (pid {vacuum.pid})"
    return Gauge("vacuum", f"{vacuum.table} {vacuum.pid}", text, over=True)


def _waits(waits: Sequence[Wait], limit: float | None) -> list[Gauge]:
    """Measure the longest wait for us; `waits` has it first."""
    if not waits:
        return []
    who = "1 session waits" if len(waits) == 1 else f"{len(waits)} sessions wait"
    text = f"{who} for a lock of the backfill, pid {waits[0].pid} for {waits[0].seconds:.1f} s"
    return [_against("waiting_sessions", "", text, waits[0].seconds, limit, "s")]


def _query(answer: Answer | None, limit: float | None) -> list[Gauge]:
    """Measure the user's query; one that cannot be answered is a reason of its own."""
    if answer is None:
        return []
    if answer.error is not None:
        return [Gauge("query", "", f"pressure.query {answer.error}", over=True, limit=limit)]
    if isinstance(answer.value, bool):
        return [Gauge("query", "", f"pressure.query is {str(answer.value).lower()}", over=answer.value)]
    if limit is None:
        text = f"pressure.query gave the number {answer.value:g}, and pressure.query_limit is not set"
        return [Gauge("query", "", text, over=True, value=answer.value)]
    return [_against("query", "", f"pressure.query gave {answer.value:g}", answer.value or 0.0, limit, "")]


def _against(signal: str, subject: str, text: str, value: float, limit: float | None, unit: str) -> Gauge:
    """Return the gauge of a value with its limit; what is read with no limit set is never a reason."""
    if limit is None:
        return Gauge(signal, subject, text, over=False, value=value)
    return Gauge(signal, subject, f"{text} (limit {limit:g} {unit}".rstrip() + ")", value > limit, value, limit)


@dataclass
class _Held:
    """A gauge that paused the backfill, as it was last seen, and since when it is calm."""

    gauge: Gauge
    calm_since: float | None = None


@dataclass
class Hysteresis:
    """Holds a gauge that went over its limit until it stayed calm for `resume_after_s` seconds."""

    resume_share: float
    resume_after_s: float
    held: dict[tuple[str, str], _Held] = field(default_factory=dict)

    def judge(self, found: Iterable[Gauge], unknown: frozenset[str], now: float) -> tuple[Reason, ...]:
        """Return the reasons to hold back at `now`, a time in seconds that only grows.

        A gauge that is no longer there (a vacuum that ended, a replica that went) is calm, but one of
        an `unknown` signal stays as it was.
        """
        current = {(gauge.signal, gauge.subject): gauge for gauge in found}
        for key, gauge in current.items():
            if gauge.over:
                self.held.setdefault(key, _Held(gauge))
        for key, held in list(self.held.items()):
            self._follow(held, current.get(key), now, seen=key in current or key[0] not in unknown)
            if held.calm_since is not None and now - held.calm_since >= self.resume_after_s:
                del self.held[key]
        return tuple(self._reason(held) for held in self.held.values())

    def _follow(self, held: _Held, gauge: Gauge | None, now: float, *, seen: bool) -> None:
        if gauge is not None:
            held.gauge = gauge
        elif seen and held.gauge.over:
            text = f"no longer there: {held.gauge.finding}"
            held.gauge = replace(held.gauge, finding=text, over=False, value=None)
        calm = seen and held.gauge.is_calm(self.resume_share)
        held.calm_since = (now if held.calm_since is None else held.calm_since) if calm else None

    def _reason(self, held: _Held) -> Reason:
        gauge, low = held.gauge, held.gauge.resumes_below(self.resume_share)
        finding = gauge.finding
        if held.calm_since is not None:
            finding += f"; goes on after {self.resume_after_s:g} s of calm"
        elif not gauge.over and low is not None:
            finding += f"; goes on below {low:g}"
        return Reason(gauge.signal, finding, gauge.value, gauge.limit)


class Pressure:
    """Says, look by look, why a backfill should hold back; remembers what it must between looks.

    `tables` are the relations the backfill reads or writes, `own_pids` gives the backend pids of its
    workers. `blind` says, from the first look on, what the role may not see.
    """

    def __init__(
        self, settings: PressureSettings, tables: Sequence[str], own_pids: Callable[[], Sequence[int]]
    ) -> None:
        self.blind: tuple[str, ...] = ()
        self._settings = settings
        self._tables = tuple(tables)
        self._own_pids = own_pids
        self._history = WalHistory()
        self._hysteresis = Hysteresis(settings.resume_share, settings.resume_after_s)

    def look(self, connection: Connection) -> tuple[Reason, ...]:
        """Return the reasons to hold back now; empty means go on.

        Takes a few milliseconds and no lock on a table. `connection` must be in autocommit mode and
        outside a transaction. Raises psycopg.Error when the connection is lost.
        """
        readings = read(connection, self._settings, self._tables, self._own_pids())
        return self.judge(readings, time.monotonic())

    def judge(self, readings: Readings, now: float) -> tuple[Reason, ...]:
        """Return the reasons that `readings`, taken at `now` seconds, give together with earlier ones."""
        self.blind = readings.blind
        self._history.add(now, readings.wal_position)
        found = gauges(readings, self._settings, self._history)
        return self._hysteresis.judge(found, readings.unknown, now)


def describe(reasons: Iterable[Reason]) -> str:
    """Return the reasons as one line, or an empty string when there is none."""
    return "; ".join(reason.finding for reason in reasons)
