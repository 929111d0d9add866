"""How fast the backfills are: each mode beside its baseline, in the same run, on copies of one database.

Nothing of the gallery is touched: the measurements make content of their own in throw-away databases
on the environment's server.
"""

from __future__ import annotations

import resource
import time
from collections.abc import Callable
from dataclasses import asdict, dataclass, field
from typing import Any

from genonaut_lib.content import generation
from genonaut_lib.db import engine, scratch
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.locks import run_ddl
from genonaut_lib.db.statements import block
from genonaut_lib.errors import InvalidInput, RowsDiffer
from genonaut_lib.migration import adoption
from genonaut_lib.migration.backfill import BackfillTask, Progress
from genonaut_lib.migration.crew import Backfill
from genonaut_lib.migration.phases import PHASES, Context, backfill_content_tags, backfill_tag_uuids
from genonaut_lib.migration.phases.drop_legacy_tags import CONFIRMATION, DropLegacyTags
from genonaut_lib.migration.runner import apply_plan, verify_phase
from genonaut_lib.settings import Settings
from genonaut_lib.tuning.bystanders import Application, LockWatch
from genonaut_lib.vocabulary import ContentSource

MODES = ("uuids", "online", "bulk", "attach")
TENTH = 0.1
Say = Callable[[str], None]


@dataclass(frozen=True)
class Rate:
    """One measurement: `rows` (items for uuids, else relationships) in `seconds`, beside its baseline.

    `ratio` is rows_per_second over baseline_rows_per_second. `peak_rss_mb` is the memory of this
    process so far. What has no baseline has None there. `eta_error` compares the time left as told
    after a tenth of the work with the time it took: 0.1 is ten per cent off.
    """

    mode: str
    rows: int
    seconds: float
    rows_per_second: float
    baseline: str | None
    baseline_rows_per_second: float | None
    ratio: float | None
    peak_rss_mb: float
    eta_error: float | None = None
    extra: dict[str, float] = field(default_factory=dict)


@dataclass
class BackfillBench:
    """One run: content of a shape, and the modes asked for."""

    settings: Settings
    shape: str
    items: int
    seed: int
    modes: tuple[str, ...] = MODES
    say: Say = lambda line: None
    rates: list[Rate] = field(default_factory=list)

    def run(self) -> dict[str, Any]:
        """Measure and return everything, fit for JSON; raise RowsDiffer where a mode wrote other rows."""
        unknown = set(self.modes) - set(MODES)
        if unknown:
            raise InvalidInput(f"There is no mode {min(unknown)!r}.", hint=f"Known: {', '.join(MODES)}.")
        with scratch.database(self.settings, "bench") as expanded:
            self._prepare(expanded)
            if "uuids" in self.modes:
                self._measure_uuids(expanded)
            self._to_junction(expanded)
            if "online" in self.modes:
                self._measure_online(expanded)
            if "bulk" in self.modes or "attach" in self.modes:
                self._measure_bulk(expanded)
        return {**self._circumstances(), "modes": {rate.mode: asdict(rate) for rate in self.rates}}

    def _circumstances(self) -> dict[str, Any]:
        with engine.connect(self.settings) as connection:
            facts = engine.facts(connection)
        knobs = self.settings.throttle.model_dump() | self.settings.bulk.model_dump()
        content = {"shape": self.shape, "items": self.items, "seed": self.seed}
        return {**content, "postgresql": facts.version_text, "settings": knobs}

    def _prepare(self, target: Settings) -> None:
        self.say(f"making {self.items:,} items of shape {self.shape}")
        with engine.connect(target) as connection:
            adoption.adopt(connection, target)
            generation.generate(connection, generation.shape_named(self.shape), self.items, self.seed)
            _apply(Context(connection, target), "seed_tags", "expand_tag_columns")
            for source in ContentSource:
                drop = block("backfill_tag_uuids", "drop_legacy_index").sql(index=f"idx_{source.table}_tags_gin")
                run_ddl(connection, drop, target.database, transactional=False)

    def _measure_uuids(self, expanded: Settings) -> None:
        baseline = self._timed("baseline of uuids: one statement, one session", expanded, _update_in_one_statement)
        one = self._engine("uuids, one worker", expanded, backfill_tag_uuids.TASK, 1)
        two = self._engine("uuids, two workers", expanded, backfill_tag_uuids.TASK, 2)
        for name, found in (("uuids", one), ("uuids_two_workers", two)):
            self._add(name, self.items, found, "one statement in one session", self.items / baseline.seconds)

    def _to_junction(self, target: Settings) -> None:
        """Take the template to the empty junction."""
        self.say("going on to the empty junction")
        with engine.connect(target) as connection:
            context = Context(connection, target)
            _apply(context, "backfill_tag_uuids", "drop_legacy_tags", "create_content_tags")

    def _measure_online(self, template: Settings) -> None:
        baseline = self._timed("baseline of online: plain INSERT ... SELECT", template, _insert_in_one_statement)
        task = backfill_content_tags.TASK
        one = self._engine("online, one worker", template, task, 1)
        two = self._engine("online, two workers", template, task, 2)
        rate = baseline.rows / baseline.seconds
        for name, found in (("online", one), ("online_two_workers", two)):
            if found.rows != baseline.rows:
                raise RowsDiffer(f"{name} wrote {found.rows} relationships, its baseline {baseline.rows}.")
            self._add(name, found.rows, found, "plain INSERT ... SELECT in one session", rate)
        self.rates[-1].extra["over_one_worker"] = round(one.seconds / two.seconds, 3)

    def _measure_bulk(self, template: Settings) -> None:
        """Fill in bulk, compare all of it, then attach under a writer, on one copy."""
        online = next((rate for rate in self.rates if rate.mode == "online"), None)
        baseline = (online.baseline, online.baseline_rows_per_second) if online else (None, None)
        with scratch.database(self.settings, "bench_copy", template) as copy, engine.connect(copy) as connection:
            context = Context(connection, copy)
            self.say("bulk: load, indexes, foreign key, vacuum")
            filled = _clocked(lambda: _apply(context, "backfill_content_tags", verify=False))
            rows = _count(connection, "content_tags")
            self._add("bulk", rows, _Timing(rows, filled), *baseline)
            self.say("bulk: comparing every pair")
            compared = _clocked(lambda: _apply(context, "verify_content_tags"))
            self.rates[-1].extra["verification_s"] = round(compared, 3)
            self.rates[-1].extra["verification_over_backfill"] = round(compared / filled, 3)
            if "attach" in self.modes:
                self._measure_attach(context)

    def _measure_attach(self, context: Context) -> None:
        self.say("attach, with an application writing all the while")
        with Application(context.settings) as application, LockWatch(context.settings) as watch:
            seconds = _clocked(lambda: _apply(context, "attach_partitions"))
        rows = sum(_count(context.connection, source.table) for source in ContentSource)
        self._add("attach", rows, _Timing(rows, seconds), None, None)
        self.rates[-1].extra.update(
            worst_stall_ms=round(application.worst_ms, 1),
            writes=application.writes,
            longest_access_exclusive_ms=round(watch.longest_ms, 1),
        )

    def _timed(self, title: str, template: Settings, work: Callable[[Connection], int]) -> _Timing:
        self.say(title)
        with scratch.database(self.settings, "bench_copy", template) as copy, engine.connect(copy) as connection:
            started = time.monotonic()
            rows = work(connection)
            return _Timing(rows, time.monotonic() - started)

    def _engine(self, title: str, template: Settings, task: BackfillTask, workers: int) -> _Timing:
        self.say(title)
        with scratch.database(self.settings, "bench_copy", template) as copy:
            throttle = copy.throttle.model_copy(update={"workers": workers})
            clock = _EtaClock()
            result = Backfill(copy.model_copy(update={"throttle": throttle}), task, clock.see).run()
            return _Timing(result.rows_changed, result.seconds, clock.error(result.seconds))

    def _add(self, mode: str, rows: int, found: _Timing, baseline: str | None, baseline_rate: float | None) -> None:
        rate = rows / found.seconds
        peak = round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024, 1)
        ratio = round(rate / baseline_rate, 3) if baseline_rate else None
        of_baseline = round(baseline_rate) if baseline_rate else None
        seconds = round(found.seconds, 3)
        self.rates.append(Rate(mode, rows, seconds, round(rate), baseline, of_baseline, ratio, peak, found.eta_error))
        beside = f"{ratio:.2f} of its baseline, " if ratio else ""
        self.say(f"  {mode}: {beside}{rate:,.0f} rows/s, {found.seconds:.1f} s")


@dataclass(frozen=True)
class _Timing:
    rows: int
    seconds: float
    eta_error: float | None = None


class _EtaClock:
    """Keeps what the engine told of the time left once a tenth was done."""

    def __init__(self) -> None:
        self.started = time.monotonic()
        self.sources: dict[str, tuple[int, int]] = {}
        self.told: tuple[float, float] | None = None

    def see(self, progress: Progress) -> None:
        self.sources[progress.source] = (progress.rows_read, progress.rows_total)
        done, total = (sum(column) for column in zip(*self.sources.values(), strict=True))
        if self.told is None and progress.eta_s is not None and len(self.sources) == 2 and done >= TENTH * total:
            self.told = (time.monotonic() - self.started, progress.eta_s)

    def error(self, seconds: float) -> float | None:
        """Return how far off the time left was, as a part of the time it took."""
        if self.told is None:
            return None
        left = seconds - self.told[0]
        return round(abs(self.told[1] - left) / left, 3) if left > 0 else None


def _apply(context: Context, *names: str, verify: bool = True) -> None:
    for name in names:
        phase = DropLegacyTags(confirm=CONFIRMATION) if name == "drop_legacy_tags" else PHASES[name]
        apply_plan(phase, context, phase.plan(context))
        if verify:
            verify_phase(phase, context)


def _clocked(work: Callable[[], None]) -> float:
    started = time.monotonic()
    work()
    return time.monotonic() - started


def _update_in_one_statement(connection: Connection) -> int:
    """Fill both tables with the statement of a batch, each in one go; return the rows changed."""
    changed = 0
    for source in ContentSource:
        after, upto = _bounds(connection, source)
        values = {"after": after, "upto": upto, "source": source.junction}
        with connection.transaction():
            limits = {"lock_timeout": "0", "statement_timeout": "0", "task": ""}
            connection.execute(block("backfill", "set_local").sql(), limits)
            row = connection.execute(backfill_tag_uuids.TASK.batch.sql(table=source.table), values).fetchone()
        assert row is not None
        changed += int(row[1])
    return changed


def _insert_in_one_statement(connection: Connection) -> int:
    statement = block("backfill_bench", "plain_insert")
    return sum(
        connection.execute(statement.sql(table=source.table), {"source": source.junction}).rowcount
        for source in ContentSource
    )


def _bounds(connection: Connection, source: ContentSource) -> tuple[int, int]:
    row = connection.execute(block("catalog", "id_bounds").sql(table=source.table)).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def _count(connection: Connection, table: str) -> int:
    row = connection.execute(block("backfill_bench", "count_rows").sql(table=table)).fetchone()
    assert row is not None
    return int(row[0])
