"""`genonaut bench gallery`: every question under every strategy, compared with an oracle, on a gallery of its own."""

from __future__ import annotations

import asyncio
import json
from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import pytest
from sqlalchemy import literal_column

from genonaut_lib.content.generation import SHAPES, generate
from genonaut_lib.db.engine import Connection
from genonaut_lib.gallery.clauses import Shape
from genonaut_lib.gallery.query import EVERYTHING, MINE, Creators, GalleryQuery, Scope, TagMatch
from genonaut_lib.gallery.strategies import STRATEGIES, Narrowing
from genonaut_lib.migration import tag_stats
from genonaut_lib.migration.phases import Context
from genonaut_lib.settings import Settings, project_root
from genonaut_lib.tuning import plain_gallery, planner_fit, race
from genonaut_lib.tuning.gallery_bench import Effort
from genonaut_lib.tuning.grid import GridCase, Reach
from genonaut_lib.tuning.planner_fit import Fit
from genonaut_lib.tuning.race import Contest, Timing
from genonaut_lib.tuning.timed_reads import TimedReader
from genonaut_lib.vocabulary import ContentSource
from tests.counters import rows_written
from tests.factories import Gallery
from tests.integration.conftest import Ended
from tests.migration.test_phases import apply_before

Command = Callable[..., Ended]
SUMMARY = [
    "questions", "close_share", "median_ratio", "p95_ratio", "worst_ratio", "timed_out", "chosen", "best",
    "choosing_us", "choosing_us_p95", "building_us", "building_us_p95", "compiling_us", "compiling_us_p95",
    "popular_tag_ms", "popular_tag_p50_ms", "worst_single_tag_ms", "worst_single_tag", "single_tags",
    "far_page", "far_page_ratio", "far_page_by_cursor", "differing", "oracle_unknown",
]  # fmt: skip
TIMING = [
    "p50_ms", "p95_ms", "p99_ms", "samples", "timed_out", "rows", "oracle", "shared_buffers", "execution_ms",
    "planning_ms",
]  # fmt: skip


class Wrong:
    """A strategy that forgets the tags."""

    name = "wrong"
    stale = False

    def fits(self, shape: Shape) -> str | None:
        return None

    def narrow(self, shape: Shape, source: ContentSource) -> Narrowing:
        return Narrowing(walks=True)


class Sleepy:
    """A strategy that sleeps over every item."""

    name = "sleepy"
    stale = False

    def fits(self, shape: Shape) -> str | None:
        return None

    def narrow(self, shape: Shape, source: ContentSource) -> Narrowing:
        return Narrowing(clauses=(literal_column("pg_sleep(1)").is_not(None),), walks=True)


def printed(ended: Ended) -> dict[str, Any]:
    """Return the JSON among what was said; progress goes to the other stream."""
    return json.loads(ended.said[ended.said.index("{") : ended.said.rindex("}") + 1])  # type: ignore[no-any-return]


def databases(connection: Connection) -> set[str]:
    """Return the throw-away databases of a bench; those of other tests at work on the server are none of ours."""
    made = "select datname from pg_database where datname like '%gallery_bench%'"
    return {row[0] for row in connection.execute(made).fetchall()}


@pytest.fixture
def filled(context: Context, gallery: Gallery) -> Connection:
    """A small adversarial gallery, migrated, its statistics fresh."""
    generate(context.connection, SHAPES["adversarial"], 600, seed=3)
    apply_before(context, "")
    tag_stats.refresh(context.connection)
    return context.connection


@pytest.fixture
def reader(filled: Connection, settings: Settings) -> Iterator[TimedReader]:
    with TimedReader(settings, 10.0) as reader:
        yield reader


def popular(connection: Connection) -> GalleryQuery:
    statement = "select tag_id from content_tags group by tag_id order by count(*) desc, tag_id limit 3"
    return GalleryQuery(tuple(row[0] for row in connection.execute(statement).fetchall()), TagMatch.ALL)


def test_a_gallery_of_its_own_is_measured_and_every_key_is_there(
    gallery: Gallery, connection: Connection, command: Command
) -> None:
    """Cases, strategies and summary for scripts; the throw-away database is gone and the own gallery untouched."""
    item = gallery.legacy_item(["anime"])
    before = databases(connection)
    ended = command(
        "bench", "gallery", "--shape", "adversarial", "--items", "500", "--queries", "14", "--repeats", "1",
        "--env", "test", "--json",
    )  # fmt: skip
    assert ended.code == 0, ended.said
    found = printed(ended)
    assert list(found["summary"]) == SUMMARY
    assert found["summary"]["questions"] == 14
    assert found["summary"]["differing"] == []
    timings = [timing for case in found["cases"] for timing in case["strategies"].values()]
    assert all(list(timing) == TIMING for timing in timings)
    assert {timing["oracle"] for timing in timings} == {"same"}
    assert any("bitmap" in case["strategies"] for case in found["cases"])
    assert databases(connection) <= before
    assert connection.execute("select id, tags from content_items").fetchall() == [(item, ["anime"])]


def test_a_strategy_that_shows_other_rows_is_caught(
    filled: Connection, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Everything is printed first, then the question and the strategy are named, and the exit code is 1."""
    monkeypatch.setitem(STRATEGIES, "wrong", Wrong())
    ended = command("bench", "gallery", "--here", "--queries", "8", "--repeats", "1", "--env", "test", "--json")
    assert ended.code == 1
    found = printed(ended)
    assert found["summary"]["differing"]
    assert all(name.endswith(" by wrong") for name in found["summary"]["differing"])
    assert "Not the oracle's rows" in ended.said


def test_the_environments_own_gallery_is_read_and_not_written(filled: Connection, command: Command) -> None:
    """The table shows the figures beside their targets; nothing in the database is another."""
    before = rows_written(filled)
    ended = command(
        "bench", "gallery", "--here", "--strategy", "chosen", "--queries", "7", "--repeats", "1", "--env", "test"
    )
    assert ended.code == 0, ended.said
    assert "popular_tag_ms" in ended.said
    assert rows_written(filled) == before


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["--strategy", "self_jion"], "Did you mean 'self_join'?"),
        (["--shape", "dens"], "Did you mean 'dense'?"),
        (["--here", "--shape", "dense"], "Say one of them"),
    ],
)
def test_what_does_not_exist_is_refused(arguments: list[str], said: str, gallery: Gallery, command: Command) -> None:
    """Nothing was made by then."""
    ended = command("bench", "gallery", *arguments, "--env", "test")
    assert ended.code == 2
    assert said in ended.said


def test_a_gallery_without_statistics_is_refused(gallery: Gallery, context: Context, command: Command) -> None:
    """The hint names the notebook that makes them."""
    gallery.legacy_item(["anime"])
    apply_before(context, "")
    ended = command("bench", "gallery", "--here", "--env", "test")
    assert ended.code == 2
    assert "50_refresh_tag_stats" in ended.said


def test_a_statement_over_its_limit_counts_as_the_limit(
    filled: Connection, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is marked, has no rows, and is not tried again."""
    monkeypatch.setitem(STRATEGIES, "sleepy", Sleepy())
    query = replace(popular(filled), viewer=None)
    with TimedReader(settings, 0.2) as reader:
        (entered,) = race.enter(
            reader, [GridCase("one", query)], reader.statistics(), settings.planner, race.chosen_only
        )
        contest = Contest(entered.case, query, entered.choice, {"sleepy": Timing("sleepy")})
        race.run(reader, [contest], 3, 1, lambda line: None)
    timing = contest.timings["sleepy"]
    assert (timing.timed_out, timing.keys, timing.times, timing.cost) == (True, None, [200.0], None)


def test_a_page_by_cursor_is_the_page_of_that_number(filled: Connection, reader: TimedReader) -> None:
    """Where it starts is found by asking for the page before."""
    numbered = replace(popular(filled), page=3, page_size=5)
    query = reader.positioned(GridCase("deep", numbered, Reach.CURSOR), "time_walk")
    assert query.after is not None
    assert reader.read(query, "time_walk").keys == reader.read(numbered, "time_walk").keys


def test_pages_that_end_before_it_leave_the_page_its_number(filled: Connection, reader: TimedReader) -> None:
    """There is no position to start from."""
    case = GridCase("beyond", replace(popular(filled), page=900), Reach.CURSOR)
    assert reader.positioned(case, "time_walk") == case.query


def test_a_reader_works_where_a_loop_is_running(filled: Connection, settings: Settings) -> None:
    """As in the kernel of a notebook."""

    async def read() -> tuple[str, ...] | None:
        with TimedReader(settings, 10.0) as reader:
            return reader.read(GalleryQuery(), "time_walk").keys

    assert len(asyncio.run(read()) or ()) == 25


def test_the_oracle_is_right_about_items_told_by_hand(
    connection: Connection, gallery: Gallery, context: Context
) -> None:
    """Any, all, exclusion, privacy, scope, equal ids and pages, on four items."""
    ada, grace = gallery.user("ada"), gallery.user("grace")
    gallery.legacy_item(["a", "b"], ContentSource.REGULAR, id=1, creator=ada)
    gallery.legacy_item(["b"], ContentSource.AUTO, id=1, creator=grace)
    gallery.legacy_item(["a"], ContentSource.AUTO, id=2, creator=ada, is_private=True)
    gallery.legacy_item(["a", "c"], ContentSource.REGULAR, id=2, creator=grace)
    apply_before(context, "")
    ids = {str(name): tag for tag, name in connection.execute("select id, name from tags").fetchall()}
    a, b, c = (ids[name] for name in "abc")
    everything = GalleryQuery(viewer=ada)
    for query, expected in (
        (everything, ("regular/2", "auto/2", "auto/1", "regular/1")),
        (GalleryQuery(viewer=grace), ("regular/2", "auto/1", "regular/1")),
        (replace(everything, tags=(a, b), match=TagMatch.ALL), ("regular/1",)),
        (replace(everything, tags=(b, c)), ("regular/2", "auto/1", "regular/1")),
        (replace(everything, tags=(a,), exclude=(c,)), ("auto/2", "regular/1")),
        (replace(everything, scope=MINE), ("auto/2", "regular/1")),
        (replace(everything, scope=Scope(Creators.COMMUNITY, Creators.NOBODY)), ("regular/2",)),
        (replace(everything, scope=EVERYTHING, page_size=2, page=2), ("auto/1", "regular/1")),
    ):
        assert plain_gallery.read_keys(connection, query, 10.0) == expected


def test_a_sweep_watches_the_canonical_questions_and_the_grids(filled: Connection, settings: Settings) -> None:
    """Each with the median time of every strategy, and features to fit."""
    found = planner_fit.sweep(settings, Effort(queries=14, repeats=1, timeout_s=10.0))
    names = [one.name for one in found.watched()]
    assert sum(name.startswith("canonical: ") for name in names) == 9
    assert len(names) == 9 + 14
    fits = planner_fit.fit_all(found.observations(), settings.planner.coefficients, bootstraps=2)
    assert fits
    proposal = found.propose(settings.planner, fits)
    assert set(fits) <= set(proposal.knobs.coefficients) or not proposal.changes


def test_questions_are_read_in_another_order_each_round(
    filled: Connection, reader: TimedReader, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever comes first in one round need not in the next."""
    cases = [GridCase(str(size), GalleryQuery(page_size=size)) for size in range(1, 9)]
    contests = race.enter(reader, cases, reader.statistics(), settings.planner, race.chosen_only)
    seen: list[int] = []
    real = reader.read

    def read(query: GalleryQuery, *arguments: Any) -> Any:
        seen.append(query.page_size)
        return real(query, *arguments)

    monkeypatch.setattr(reader, "read", read)
    race.run(reader, contests, 2, 5, lambda line: None)
    rounds = [tuple(seen[start : start + 8]) for start in (0, 8, 16)]
    assert len(set(rounds)) == 3
    assert {tuple(sorted(one)) for one in rounds} == {tuple(range(1, 9))}


def test_a_query_that_seems_slower_is_measured_anew_before_it_counts(filled: Connection, settings: Settings) -> None:
    """One stalled read under the strategy the fit would take must not keep the fit from being adopted."""
    effort = Effort(queries=1, repeats=1, timeout_s=10.0)
    found = planner_fit.sweep(settings, effort)
    contest = next(one for one in found.contests if len(one.timings) > 1 and one.choice.strategy != "time_walk")
    contest.timings["time_walk"].times[:] = [5_000.0]
    free = dict.fromkeys(settings.planner.coefficients["time_walk"], 0.0)
    fits = {"time_walk": Fit(free, {}, 1.0, 1)}
    planner_fit.settle(settings, found, fits, effort)
    assert len(contest.timings["time_walk"].times) > 2


def test_the_notebook_proposes_and_writes_nothing_by_default(
    filled: Connection, settings: Settings, command: Command
) -> None:
    """Swept, fitted and proposed through the notebook, as a user runs it; the params file stays as it was."""
    file = project_root() / "params" / "test.yaml"
    before = file.read_bytes()
    ended = command("run", "60_tune_planner", "--env", "test", "-p", "queries=7", "-p", "repeats=1")
    assert ended.code == 0, ended.said
    assert file.read_bytes() == before
