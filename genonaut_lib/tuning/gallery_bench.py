"""How fast the gallery is read: every question of a grid under every strategy, beside what the planner chose.

Every page is compared with an oracle (see `plain_gallery`). With a shape the gallery is made in a
throw-away database; without one the environment's own is read, and nothing written.
"""

from __future__ import annotations

import functools
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from genonaut_lib.content import generation, seeding
from genonaut_lib.db import engine, scratch
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import InvalidInput, RowsDiffer
from genonaut_lib.gallery.planner import Choice
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.gallery.strategies import approaches
from genonaut_lib.migration import adoption, bitmap_build, tag_stats
from genonaut_lib.migration.phases import PHASES, Context
from genonaut_lib.migration.phases.drop_legacy_tags import CONFIRMATION, DropLegacyTags
from genonaut_lib.migration.runner import apply_plan, verify_phase
from genonaut_lib.settings import Settings, nearest
from genonaut_lib.tuning import gallery_report, plain_gallery, race
from genonaut_lib.tuning.clocks import clock_planner
from genonaut_lib.tuning.gallery_report import Figures
from genonaut_lib.tuning.grid import grid
from genonaut_lib.tuning.landmarks import landmarks
from genonaut_lib.tuning.race import Contest, Say
from genonaut_lib.tuning.timed_reads import TimedReader

ALL, CHOSEN = "all", "chosen"
DEBIAN = "debian"
FURTHER = 5
"""How many times more often the popular tag's first and far page are read, whose ratio is told."""
ORACLE_LIMITS = 5
"""How many time limits of a strategy the oracle may take: it is plain, not fast."""


@dataclass(frozen=True)
class Content:
    """What the gallery of a scratch database is made of: a shape of generation's, or the Debian packages."""

    shape: str
    items: int
    seed: int

    def __post_init__(self) -> None:
        if self.shape != DEBIAN:
            generation.shape_named(self.shape)


@dataclass(frozen=True)
class Effort:
    """How much is measured: strategies (`all`, `chosen`, or names), questions, rounds, seconds for one statement."""

    strategies: tuple[str, ...] = (ALL,)
    queries: int = 200
    repeats: int = 7
    timeout_s: float = 20.0
    seed: int = 1

    def __post_init__(self) -> None:
        known = [ALL, CHOSEN, *approaches()]
        unknown = [name for name in self.strategies if name not in known]
        if unknown:
            hint = f"{nearest(unknown[0], known)}Known: {', '.join(known)}."
            raise InvalidInput(f"There is no strategy {unknown[0]!r}.", hint=hint)

    def wanted(self, query: GalleryQuery, choice: Choice) -> Sequence[str]:
        """Return the strategies that a question is read by."""
        able = race.every_strategy(query, choice)
        if ALL in self.strategies:
            return able
        named = [name for name in able if name in self.strategies]
        return list(dict.fromkeys([*race.chosen_only(query, choice), *named])) if CHOSEN in self.strategies else named


@dataclass
class GalleryBench:
    """One run over a gallery that is made for it (`content`), or over the environment's own (None)."""

    settings: Settings
    content: Content | None
    effort: Effort = field(default_factory=Effort)
    say: Say = lambda line: None

    def run(self) -> dict[str, Any]:
        """Measure and return everything, fit for JSON; rows that differ are told and not raised here.

        Raises StatisticsMissing or CheckFailed where the environment's own gallery has no statistics.
        """
        if self.content is None:
            return self._measure(self.settings)
        with scratch.database(self.settings, "gallery_bench") as made:
            prepare(made, self.content, self.say)
            self.say("building the tag bitmaps")
            bitmap_build.build(made)
            return self._measure(made)

    def _measure(self, settings: Settings) -> dict[str, Any]:
        with (
            engine.session(settings, writing=False) as connection,
            TimedReader(settings, self.effort.timeout_s) as reader,
        ):
            statistics = reader.statistics()
            marks = landmarks(statistics)
            cases = grid(statistics, self.effort.queries, self.effort.seed, viewers=viewers(connection))
            enter = functools.partial(race.enter, reader, statistics=statistics, knobs=settings.planner)
            self.say(f"{len(cases)} questions of the grid, {len(marks.cases)} landmarks")
            contests = enter(cases, wanted=self.effort.wanted)
            marked = enter(marks.cases, wanted=race.chosen_only)
            clocks = clock_planner(contests, statistics, settings.planner, reader.bitmaps())
            race.run(reader, [*contests, *marked], self.effort.repeats, self.effort.seed, self.say)
            # Two short times make one ratio: they are read more often, in turn with one another only.
            race.run(reader, marked[:2], FURTHER * self.effort.repeats, self.effort.seed, self.say)
            figures = Figures(contests, marked, clocks, self._verdicts(connection, [*contests, *marked]))
            return {**self._circumstances(connection, statistics.refreshed_at), **gallery_report.report(figures)}

    def _verdicts(self, connection: Connection, contests: Sequence[Contest]) -> dict[str, tuple[str, ...] | None]:
        """Return what the oracle shows for each question, None where it takes too long, by the question's name."""
        limit = ORACLE_LIMITS * self.effort.timeout_s
        progress = race.Progress(len(contests), "questions to the oracle", self.say)
        found = {}
        for contest in contests:
            found[contest.case.name] = plain_gallery.read_keys(connection, contest.case.query, limit)
            progress.step()
        return found

    def _circumstances(self, connection: Connection, refreshed_at: Any) -> dict[str, Any]:
        row = connection.execute(block("gallery_bench", "item_counts").sql()).fetchone()
        assert row is not None
        return {
            "shape": None if self.content is None else self.content.shape,
            "items": row[0],
            "postgresql": engine.facts(connection).version_text,
            "statistics_refreshed_at": refreshed_at,
            "repeats": self.effort.repeats,
            "timeout_s": self.effort.timeout_s,
            "seed": self.effort.seed,
            "planner": self.settings.planner.model_dump(mode="json"),
        }


def prepare(target: Settings, content: Content, say: Say) -> None:
    """Fill an empty database with content, take it through every phase and refresh its statistics."""
    with engine.connect(target) as connection:
        context = Context(connection, target)
        adoption.adopt(connection, target)
        say(f"making {content.items:,} items of shape {content.shape}" if content.shape != DEBIAN else "loading Debian")
        _fill(connection, content)
        for phase in PHASES.values():
            say(f"  {phase.name}")
            ready = DropLegacyTags(confirm=CONFIRMATION) if phase.name == "drop_legacy_tags" else phase
            apply_plan(ready, context, ready.plan(context))
            verify_phase(ready, context)
        say("refreshing the statistics")
        tag_stats.refresh(connection)


def _fill(connection: Connection, content: Content) -> None:
    if content.shape == DEBIAN:
        with tempfile.TemporaryDirectory() as rejects:
            seeding.load(connection, seeding.debian_file(), Path(rejects))
    else:
        generation.generate(connection, generation.shape_named(content.shape), content.items, content.seed)


def viewers(connection: Connection) -> list[uuid.UUID]:
    """Return the busiest creator and a middling one; none in an empty gallery."""
    return [row[0] for row in connection.execute(block("gallery_bench", "viewers").sql()).fetchall()]


def require_same_rows(found: dict[str, Any]) -> None:
    """Raise RowsDiffer where a strategy showed other rows than the oracle; `found` is what `run` returned."""
    differing = found["summary"]["differing"]
    if differing:
        raise RowsDiffer(
            f"Not the oracle's rows: {'; '.join(differing[:5])}{' and others' if len(differing) > 5 else ''}.",
            hint="Content written meanwhile shows here too; measure without writers.",
        )
