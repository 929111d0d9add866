"""Before and after: the canonical cases timed on the legacy path, then on the new one, same rows asserted."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime

from psycopg import errors
from psycopg.types.json import Jsonb

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import BaselineMissing, RowsDiffer, StatisticsMissing
from genonaut_lib.gallery import statistics
from genonaut_lib.gallery.planner import Choice, choose
from genonaut_lib.gallery.query import EVERYTHING, MINE, GalleryQuery, Position, TagMatch
from genonaut_lib.settings import PlannerSettings
from genonaut_lib.tuning import legacy_path
from genonaut_lib.tuning.cases import PAGE_SIZE, Case, canonical_cases
from genonaut_lib.tuning.reader import Reader
from genonaut_lib.vocabulary import ContentSource

WARM_UP = 2
BEFORE, AFTER = "before", "after"

Read = Callable[[], tuple[list[str], float]]
"""Reads one page and returns its keys and the milliseconds it took."""
Plan = Callable[[GalleryQuery], Choice]
"""Chooses the strategy of a query."""


@dataclass(frozen=True)
class Measurement:
    """One case on one path: median and 95th percentile in milliseconds, and the rows the page showed.

    `row_keys` is None where the statement ran into its time limit; the times are that limit then.
    """

    case: Case
    path: str
    row_keys: tuple[str, ...] | None
    p50_ms: float
    p95_ms: float
    samples: int


@dataclass(frozen=True)
class Comparison:
    """One case before and after."""

    before: Measurement
    after: Measurement

    @property
    def speedup(self) -> float:
        """How many times faster the median became."""
        return self.before.p50_ms / self.after.p50_ms

    @property
    def same_rows(self) -> bool | None:
        """Whether both paths showed the same rows in the same order; None where one had no answer."""
        if self.before.row_keys is None or self.after.row_keys is None:
            return None
        return self.before.row_keys == self.after.row_keys


def cases_at(connection: Connection, moment: str) -> list[Case]:
    """Return the cases a measurement asks: chosen anew on a legacy gallery, the baseline's otherwise."""
    if moment == BEFORE and legacy_path.is_readable(connection):
        return canonical_cases(connection)
    return [found.case for found in _baseline(connection)]


def measure_before(connection: Connection, repeats: int, timeout_s: float) -> list[Measurement]:
    """Time the canonical cases on the legacy path and write them down as the baseline.

    On a gallery that has left the legacy schema, return the baseline it was measured with; raise
    BaselineMissing when there is none.
    """
    if not legacy_path.is_readable(connection):
        return _baseline(connection)
    measurements = []
    for case in canonical_cases(connection):
        spellings = legacy_path.spellings_of(connection, case)

        def read(case: Case = case, spellings: legacy_path.Spellings = spellings) -> tuple[list[str], float]:
            return _read_legacy(connection, case, spellings, timeout_s)

        measurements.append(_measure(case, "jsonb_union_offset", read, (repeats, timeout_s)))
    _record(connection, BEFORE, measurements)
    return measurements


def measure_after(
    connection: Connection, repeats: int, timeout_s: float, knobs: PlannerSettings | None = None
) -> list[Comparison]:
    """Time the baseline's cases on the new path; raise RowsDiffer where the rows are not the same.

    Each is read by the planner's strategy, and the planner's own time counts. Raises BaselineMissing when
    there is no measurement from before the migration.
    """
    baseline = _baseline(connection)
    with Reader(connection) as reader:
        plan = _planner(reader, knobs or PlannerSettings())
        comparisons = [Comparison(one, _measure_new(reader, one.case, plan, (repeats, timeout_s))) for one in baseline]
    _record(connection, AFTER, [pair.after for pair in comparisons])
    _require_same_rows(comparisons)
    return comparisons


def _planner(reader: Reader, knobs: PlannerSettings) -> Plan:
    """Return the planner over the gallery's statistics, or over none where they were never made."""
    try:
        known = reader.run(statistics.load)
    except StatisticsMissing:
        known = None
    return lambda query: choose(query, known, knobs)


def _measure_new(reader: Reader, case: Case, plan: Plan, effort: tuple[int, float]) -> Measurement:
    query = _query(reader, case)

    def read() -> tuple[list[str], float]:
        started = time.perf_counter()
        choice = plan(query)
        planning_ms = (time.perf_counter() - started) * 1000
        found = reader.timed(query, choice, effort[1])
        return found.page.keys, planning_ms + found.milliseconds

    return _measure(case, plan(query).strategy, read, effort)


def _read_legacy(
    connection: Connection, case: Case, spellings: legacy_path.Spellings, timeout_s: float
) -> tuple[list[str], float]:
    with connection.transaction():
        connection.execute("select set_config('statement_timeout', %s, true)", [f"{int(timeout_s * 1000)}ms"])
        started = time.perf_counter()
        keys = legacy_path.read_keys(connection, case, spellings)
        return keys, (time.perf_counter() - started) * 1000


def newest(connection: Connection, moment: str) -> list[Measurement]:
    """Return the newest measurement of every case at a moment (`before` or `after`)."""
    rows = connection.execute(block("measurements", "newest").sql(), {"moment": moment}).fetchall()
    return [
        Measurement(Case.from_json(query), path, None if keys is None else tuple(keys), p50, p95, samples)
        for _, path, query, keys, p50, p95, samples in rows
    ]


def _baseline(connection: Connection) -> list[Measurement]:
    found = newest(connection, BEFORE)
    if not found:
        hint = "Measure before the migration: `genonaut run 62_benchmark_gallery -p moment=before`."
        raise BaselineMissing(hint=hint)
    return found


def comparisons(connection: Connection) -> list[Comparison]:
    """Return the newest measurements of both moments, case by case, where a case has both."""
    after = {found.case.name: found for found in newest(connection, AFTER)}
    pairs = [(found, after.get(found.case.name)) for found in newest(connection, BEFORE)]
    return [Comparison(one, other) for one, other in pairs if other is not None]


def _measure(case: Case, path: str, read: Read, effort: tuple[int, float]) -> Measurement:
    """Time `read`: warm-up first, then `effort` = (repeats, time limit in seconds for one statement)."""
    repeats, timeout_s = effort
    times: list[float] = []
    keys: list[str] = []
    try:
        for turn in range(WARM_UP + repeats):
            keys, milliseconds = read()
            if turn >= WARM_UP:
                times.append(milliseconds)
    except errors.QueryCanceled:
        limit = timeout_s * 1000
        return Measurement(case, path, None, limit, limit, len(times))
    return Measurement(case, path, tuple(keys), _percentile(times, 0.5), _percentile(times, 0.95), len(times))


def _query(reader: Reader, case: Case) -> GalleryQuery:
    """Return the case as a GalleryQuery; a deep page is reached by walking there once, untimed."""
    scope = MINE if case.mine else EVERYTHING
    query = GalleryQuery(case.tags, TagMatch(case.match), case.viewer, scope, PAGE_SIZE)
    if case.page == 1:
        return query
    position = None
    for _ in range(case.page - 1):
        position = reader.page(replace(query, after=position)).next_position
        if position is None:
            # The pages end before this one: like OFFSET beyond the end, the page is empty.
            return replace(query, after=Position(datetime.min.replace(tzinfo=UTC), ContentSource.AUTO, 0))
    return replace(query, after=position)


def _percentile(times: list[float], share: float) -> float:
    """Return the nearest-rank percentile: the smallest time that `share` of all times do not pass."""
    ranked = sorted(times)
    return ranked[max(0, -(-int(share * 100) * len(ranked) // 100) - 1)]


def _record(connection: Connection, moment: str, measurements: list[Measurement]) -> None:
    for found in measurements:
        values = {
            "moment": moment,
            "case_name": found.case.name,
            "path": found.path,
            "query": Jsonb(found.case.as_json()),
            "row_keys": None if found.row_keys is None else Jsonb(list(found.row_keys)),
            "p50_ms": found.p50_ms,
            "p95_ms": found.p95_ms,
            "samples": found.samples,
        }
        connection.execute(block("measurements", "record").sql(), values)


def _require_same_rows(pairs: list[Comparison]) -> None:
    differing = [pair.before.case.name for pair in pairs if pair.same_rows is False]
    if differing:
        raise RowsDiffer(
            f"Not the same rows as before the migration: {', '.join(differing)}.",
            hint="Content written since then shows here too; measure before and after without writers in between.",
        )
