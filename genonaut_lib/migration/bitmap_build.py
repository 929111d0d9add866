"""Build the tag bitmap index from the content and the junction, while both are being written to.

All items are ranked in one transaction, then each tag gets its bitmaps in one of its own, then the new epoch
takes the old one's place in an instant. Until then the old epoch serves. Whatever the build dies at, the next
start goes on with the tags that are left, or begins anew where nothing was ranked.
"""

from __future__ import annotations

import contextlib
import math
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

import psycopg
from psycopg import errors

from genonaut_lib.db import advisory, engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import BitmapsBusy, InvalidInput
from genonaut_lib.migration import bitmap_epochs, bitmap_ranking, bitmap_tags
from genonaut_lib.migration.backfill import Progress
from genonaut_lib.migration.bitmap_epochs import FILE, Epochs
from genonaut_lib.migration.bitmap_estimate import items_about, sizes
from genonaut_lib.migration.bitmap_ranking import Ranking
from genonaut_lib.migration.bitmap_tags import TASK, Crew, Tag
from genonaut_lib.migration.phases.create_tag_bitmaps import arm, disarm, is_armed
from genonaut_lib.settings import Settings

LOCK = "genonaut build tag bitmaps"
SWAP_ATTEMPTS = 10


@dataclass(frozen=True)
class BuildResult:
    """What one start did: the epoch that serves now, what it holds, and how long each part took.

    `relationships` and `tags` are those of this start; `tags_before` were written by an earlier, killed one.
    `bytes` is the room of all tables of the index. `seconds` is the whole time.
    """

    epoch: int
    items: int
    relationships: int
    tags: int
    tags_before: int
    bytes: int
    rank_s: float
    count_s: float
    tags_s: float
    seconds: float

    def __str__(self) -> str:
        """One line for a log."""
        return (
            f"epoch {self.epoch}: {self.items:,} items, {self.tags + self.tags_before:,} tags,"
            f" {self.bytes / 1e6:,.1f} MB, {self.seconds:.1f} s"
        )


@dataclass
class _Watch:
    """Seconds of each part of a build."""

    started: float
    laps: dict[str, float]

    @contextlib.contextmanager
    def lap(self, name: str) -> Iterator[None]:
        start = time.monotonic()
        yield
        self.laps[name] = time.monotonic() - start


def build(
    settings: Settings,
    *,
    workers: int | None = None,
    least_share: float | None = None,
    report: Callable[[Progress], None] = lambda progress: None,
) -> BuildResult:
    """Build the index anew, or go on with a build that was killed, and let it serve.

    `workers` sessions write the tags (default: `throttle.workers`). Tags carried by less than `least_share`
    of all items get no bitmaps (default: `bitmaps.least_share`). `report` hears of items ranked, then of
    relationships read. Raises BitmapsBusy while another session builds, CheckFailed where the tables are
    missing or an id is negative, BitmapsForgotten when a table was truncated meanwhile, LockNotAcquired when
    the triggers could not be made. Whatever is raised, what served before serves on, unless truncated.
    """
    share = settings.bitmaps.least_share if least_share is None else least_share
    sessions = settings.throttle.workers if workers is None else workers
    if not 0 <= share <= 1 or sessions < 1:
        raise InvalidInput(f"least_share is {share} and workers {sessions}; from 0 to 1 the one, from 1 the other.")
    with engine.connect(settings) as connection, alone(connection):
        return _Job(connection, settings, sessions, share, report).run()


def is_built(connection: Connection) -> bool:
    """Return whether an index serves."""
    return bitmap_epochs.epochs(connection).serving is not None


@contextlib.contextmanager
def alone(connection: Connection) -> Iterator[None]:
    """Hold the builder's lock for a block; raise BitmapsBusy while another session has it."""
    if not advisory.try_hold(connection, LOCK):
        raise BitmapsBusy("Another session builds the tag bitmap index.", hint="Wait for it to end.")
    try:
        yield
    finally:
        with contextlib.suppress(psycopg.OperationalError):
            advisory.release(connection, LOCK)


@dataclass(frozen=True)
class _Job:
    """One start of a build, alone at it."""

    connection: Connection
    settings: Settings
    workers: int
    least_share: float
    report: Callable[[Progress], None]

    def run(self) -> BuildResult:
        watch = _Watch(time.monotonic(), {})
        left = self._armed()
        with watch.lap("rank"):
            ranking = self._ranking(left)
        with watch.lap("count"):
            wanted = bitmap_tags.tags_by_use(self.connection, self._least(ranking))
            todo = self._without_done(ranking, wanted)
        with watch.lap("tags"):
            crew = Crew(self.settings, ranking, todo, self.report)
            crew.work(self.connection, min(self.workers, max(1, len(todo))))
        self._swap(ranking)
        bitmap_epochs.clear(self.connection)
        bitmap_epochs.vacuum(self.connection, self.settings.database)
        return self._result(ranking, crew, len(wanted) - len(todo), watch)

    def _armed(self) -> Epochs:
        """Have changes marked from now on, and return what is left of earlier builds.

        What was built while a trigger was missing may be wrong in ways that no mark tells; it must go.
        """
        if not is_armed(self.connection):
            if bitmap_epochs.epochs(self.connection) != Epochs():
                disarm(self.connection, self.settings.database)
            arm(self.connection, self.settings.database)
        return bitmap_epochs.epochs(self.connection)

    def _ranking(self, left: Epochs) -> Ranking:
        bitmap_epochs.clear(self.connection)
        if left.building is not None:
            return bitmap_ranking.read_ranking(self.connection, left.building)
        about = items_about(self.connection)
        ranking = bitmap_ranking.rank(self.connection, lambda items: self._tell(items, max(about, items + 1)))
        self._tell(ranking.items, ranking.items)
        return ranking

    def _least(self, ranking: Ranking) -> int:
        return max(1, math.ceil(self.least_share * ranking.items))

    def _without_done(self, ranking: Ranking, wanted: list[Tag]) -> list[Tag]:
        """Return the tags that are left; bitmaps of an earlier start that this one does not want are dropped."""
        values = {"epoch": ranking.epoch}
        done = {row[0] for row in self.connection.execute(block(FILE, "tags_done").sql(), values)}
        unwanted = sorted(done - {tag.number for tag in wanted})
        self.connection.execute(block(FILE, "drop_tags").sql(), {**values, "tag_nos": unwanted})
        return [tag for tag in wanted if tag.number not in done]

    def _swap(self, ranking: Ranking) -> None:
        """Swap; a sealing that is in the way at the very moment is let go first.

        Whoever dropped a trigger meanwhile has let changes pass that no mark tells of.
        """
        if not is_armed(self.connection):
            raise bitmap_epochs.forgotten()
        for _ in range(SWAP_ATTEMPTS - 1):
            with contextlib.suppress(errors.DeadlockDetected, errors.SerializationFailure):
                return bitmap_epochs.swap(self.connection, ranking.epoch, self._least(ranking) - 1)
        return bitmap_epochs.swap(self.connection, ranking.epoch, self._least(ranking) - 1)

    def _result(self, ranking: Ranking, crew: Crew, before: int, watch: _Watch) -> BuildResult:
        seconds, laps = time.monotonic() - watch.started, watch.laps
        tags, total = len(crew.tags), sum(size.bytes for size in sizes(self.connection))
        parts = (laps["rank"], laps["count"], laps["tags"], seconds)
        return BuildResult(ranking.epoch, ranking.items, crew.relationships, tags, before, total, *parts)

    def _tell(self, items: int, total: int) -> None:
        self.report(Progress(TASK, "items", items, total, items, counted="ranked"))
