"""Refresh the gallery's statistics: count everything into staging tables, then swap it in at once.

One transaction at READ COMMITTED. What takes long only reads, and fills temporary tables nobody else
sees; the swap at its end writes the rows that differ and removes those that are gone. Readers see the
old statistics until it commits, then the new ones. Nothing they do is waited for, and no lock is taken
that would make them wait.
"""

from __future__ import annotations

import contextlib
import secrets
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from psycopg import errors, sql

from genonaut_lib.db import advisory
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.locks import run_ddl
from genonaut_lib.db.statements import block
from genonaut_lib.errors import InvalidInput, LockNotAcquired, StatisticsBusy, StatisticsMissing
from genonaut_lib.settings import DatabaseSettings
from genonaut_lib.vocabulary import ContentSource

FILE = "tag_stats"
LOCK = "genonaut refresh tag statistics"
SAMPLE_ITEMS = 4_096
"""Items sampled of each source: a share of 1 % is then known to a sixth of itself, in two of three cases."""
LOCK_WAIT_MS = 10_000
"""How long the swap waits for a transaction that deletes a tag it counted; nothing else can be in its way."""


@dataclass(frozen=True)
class Step:
    """Statements that are reported as one step of a refresh."""

    name: str
    statements: tuple[sql.Composed, ...]


@dataclass(frozen=True)
class StepDone:
    """A step that was done: rows it staged or wrote, and seconds."""

    name: str
    rows: int
    seconds: float

    def __str__(self) -> str:
        """One line for a log."""
        return f"{self.name}: {self.rows:,} rows, {self.seconds:.2f} s"


@dataclass(frozen=True)
class RefreshResult:
    """What a refresh did: the moment its figures are of, the seed of its sample, and its steps."""

    refreshed_at: datetime
    seed: int
    steps: tuple[StepDone, ...]

    @property
    def seconds(self) -> float:
        """How long all steps took together."""
        return sum(step.seconds for step in self.steps)


def refresh(
    connection: Connection,
    *,
    sample_items: int = SAMPLE_ITEMS,
    seed: int | None = None,
    report: Callable[[StepDone], None] = lambda done: None,
) -> RefreshResult:
    """Rebuild all statistics; `report` hears of each step that was done.

    `connection` is in autocommit mode. One `seed` draws the same sample from the same content; without
    one each refresh draws another. Raises StatisticsMissing where the tables are not there, StatisticsBusy
    while another session refreshes, LockNotAcquired when a tag is being deleted for too long, and
    InvalidInput for a negative number of items. Whatever is raised, the statistics are as they were.
    """
    if sample_items < 0:
        raise InvalidInput(f"sample_items is {sample_items}, and must be at least 0.")
    _require_tables(connection)
    drawn = secrets.randbits(62) if seed is None else seed
    with _alone(connection):
        moment, done = _carry_out(
            connection, {"items": sample_items, "seed": drawn, **ContentSource.spellings()}, report
        )
        for table in ("tag_cardinality_stats", "gen_source_stats"):
            connection.execute(block("upkeep", "analyze").sql(table=table))
        _tell_planner(connection)
    return RefreshResult(moment, drawn, done)


def _tell_planner(connection: Connection) -> None:
    """Tell PostgreSQL's planner how many items the junction has, where it is far off; many joins depend on it."""
    row = connection.execute(block(FILE, "items_misjudged").sql()).fetchone()
    if row is not None:
        run_ddl(connection, block(FILE, "tell_items").sql(items=sql.Literal(int(row[0]))), DatabaseSettings())
        run_ddl(connection, block("upkeep", "analyze").sql(table="content_tags"), DatabaseSettings())


def steps() -> tuple[Step, ...]:
    """Return what a refresh does, in order: three steps that count, and the swap."""
    draws = (
        block(FILE, "draw_sample").sql(table=source.table, source=sql.Literal(source.junction))
        for source in ContentSource
    )
    swap = (f"{verb}_{what}" for what in ("tags", "creators", "sample") for verb in ("merge", "remove"))
    return (
        Step("count relationships", (block(FILE, "stage_tags").sql(),)),
        Step("count items by creator", (block(FILE, "stage_creators").sql(),)),
        Step("draw the sample", (block(FILE, "stage_sample").sql(), *draws)),
        Step("swap", (*(block(FILE, name).sql() for name in swap), block(FILE, "merge_totals").sql())),
    )


def _carry_out(
    connection: Connection, values: Mapping[str, Any], report: Callable[[StepDone], None]
) -> tuple[datetime, tuple[StepDone, ...]]:
    done = []
    with _bounded(), connection.transaction():
        connection.execute(block("session", "set_lock_timeout").sql(), {"lock_timeout": f"{LOCK_WAIT_MS}ms"})
        moment = _one(connection, block(FILE, "moment").sql())
        for step in steps():
            done.append(_do(connection, step, values))
            report(done[-1])
    return moment, tuple(done)


def _do(connection: Connection, step: Step, values: Mapping[str, Any]) -> StepDone:
    start = time.monotonic()
    # Not prepared: the staging tables are others each time.
    counts = [connection.execute(one, values, prepare=False).rowcount for one in step.statements]
    return StepDone(step.name, sum(max(0, count) for count in counts), time.monotonic() - start)


def _one(connection: Connection, statement: sql.Composed) -> Any:
    row = connection.execute(statement).fetchone()
    assert row is not None
    return row[0]


def _require_tables(connection: Connection) -> None:
    for relation in ("tag_cardinality_stats", "gen_source_stats", "workbench.source_statistics"):
        row = connection.execute(block("catalog", "has_relation").sql(), {"relation": relation}).fetchone()
        if row is None or not row[0]:
            hint = "Run `genonaut run 50_refresh_tag_stats`, which makes them."
            raise StatisticsMissing(f"There is no table {relation}.", hint=hint)


@contextlib.contextmanager
def _alone(connection: Connection) -> Iterator[None]:
    """Hold the refresh's lock for a block; raise StatisticsBusy while another session has it."""
    if not advisory.try_hold(connection, LOCK):
        raise StatisticsBusy(hint="Wait for it to end; its statistics are as new as any.")
    try:
        yield
    finally:
        advisory.release(connection, LOCK)


@contextlib.contextmanager
def _bounded() -> Iterator[None]:
    try:
        yield
    except errors.LockNotAvailable as error:
        raise LockNotAcquired(
            f"A tag that was counted is being deleted, for more than {LOCK_WAIT_MS / 1000:.0f} s; nothing was changed.",
            hint="Refresh again once that transaction has ended.",
        ) from error
