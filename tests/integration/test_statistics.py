"""The gallery's statistics: what a refresh counts, what a reader sees meanwhile, and the sample."""

from __future__ import annotations

import asyncio
import random
import threading
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import pytest
from psycopg import sql

from genonaut_lib.db import advisory, pool
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import InvalidInput, LockNotAcquired, StatisticsBusy, StatisticsMissing
from genonaut_lib.gallery import statistics
from genonaut_lib.gallery.statistics import SourceCounts, Statistics
from genonaut_lib.migration import revisions, tag_stats
from genonaut_lib.migration.tag_stats import StepDone, refresh
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import ContentSource, tag_id
from tests.factories import Gallery
from tests.waiting import eventually

OpenSession = Callable[[], Connection]
Load = Callable[[], Statistics]
Counts = Callable[[uuid.UUID | None], SourceCounts]
NAMES = ("common", "half", "rare")
CHANCES = (0.8, 0.5, 0.08)
USERS = ("ada", "grace", "alan")
STEPS = ["count relationships", "count items by creator", "draw the sample", "swap"]


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as one:
        yield one


@pytest.fixture
def load(runner: asyncio.Runner, settings: Settings) -> Load:
    """Load the statistics in a session of its own."""

    async def run() -> Statistics:
        async with pool.open_session(settings) as connection:
            return await statistics.load(connection)

    return lambda: runner.run(run())


@pytest.fixture
def counts(runner: asyncio.Runner, settings: Settings) -> Counts:
    """Ask for a viewer's four figures in a session of its own."""

    async def run(viewer: uuid.UUID | None) -> SourceCounts:
        async with pool.open_session(settings) as connection:
            return await statistics.source_counts(connection, viewer)

    return lambda viewer: runner.run(run(viewer))


@pytest.fixture
def empty(settings: Settings, connection: Connection) -> Gallery:
    """The finished schema without content."""
    revisions.upgrade(settings, "head")
    return Gallery(connection)


@pytest.fixture
def filled(empty: Gallery) -> Gallery:
    """120 items of three users, with equal ids in both sources; a quarter of them private."""
    dice = random.Random(5)
    for source in ContentSource:
        for number in range(1, 61):
            names = [name for name, chance in zip(NAMES, CHANCES, strict=True) if dice.random() < chance]
            creator = empty.user(dice.choice(USERS))
            empty.item([], source, id=number, creator=creator, is_private=dice.random() < 0.25)
            tag(empty.connection, source, number, *names)
    empty.connection.execute("select setval('content_items_all_id_seq', 1000)")
    return empty


@dataclass(frozen=True)
class Figures:
    """(cardinality, display count) by tag and source, (items, public items) by user and source."""

    tags: dict[tuple[Any, str], tuple[int, int]]
    users: dict[tuple[Any, str], tuple[int, int]]


def items_of(connection: Connection) -> list[tuple[ContentSource, int, uuid.UUID, bool]]:
    """Every item: source, id, creator, whether it is private."""
    return [
        (source, *row)
        for source in ContentSource
        for row in connection.execute(
            sql.SQL("select id, creator_id, is_private from {} order by id").format(sql.Identifier(source.table))
        ).fetchall()
    ]


def links_of(connection: Connection) -> set[tuple[str, int, uuid.UUID]]:
    """Every row of the junction: source, id of the item, tag."""
    return set(connection.execute("select content_source, content_id, tag_id from content_tags").fetchall())


def brute_force(connection: Connection) -> Figures:
    """Count item by item, in Python."""
    items = items_of(connection)
    private = {(source.junction, item) for source, item, _, hidden in items if hidden}
    every = Counter((tag, source) for source, _, tag in links_of(connection))
    shown = Counter((tag, source) for source, item, tag in links_of(connection) if (source, item) not in private)
    own = Counter((creator, source.partition) for source, _, creator, _ in items)
    public = Counter((creator, source.partition) for source, _, creator, hidden in items if not hidden)
    return Figures(
        {key: (n, shown[key]) for key, n in every.items()}, {key: (n, public[key]) for key, n in own.items()}
    )


def stored(connection: Connection) -> Figures:
    """What the tables say."""
    tags = connection.execute("select tag_id, content_source, cardinality, display_count from tag_cardinality_stats")
    users = connection.execute("select user_id, source_type, count, public_count from gen_source_stats")
    return Figures(
        {(tag, source): (every, shown) for tag, source, every, shown in tags.fetchall()},
        {(user, source): (every, shown) for user, source, every, shown in users.fetchall()},
    )


def tag(connection: Connection, source: ContentSource, item: int, *names: str) -> None:
    """Give an item tags, some of which may be new."""
    for name in names:
        connection.execute(
            "insert into tags (id, tag_no, name, slug, label)"
            " select %s, coalesce(max(tag_no), 0) + 1, %s, %s, %s from tags on conflict do nothing",
            [tag_id(name), name, name, name],
        )
        connection.execute("insert into content_tags values (%s, %s, %s)", [item, source.junction, tag_id(name)])


def change_much(connection: Connection, gallery: Gallery) -> None:
    """Insert, retag, hide, show and delete; a tag loses its last item, another one goes, a third one comes."""
    for source in ContentSource:
        tag(connection, source, gallery.item([], source, creator=gallery.user("newcomer")), "common", "coined")
        table = sql.Identifier(source.table)
        connection.execute(sql.SQL("update {} set is_private = not is_private where id < 10").format(table))
        connection.execute(sql.SQL("delete from {} where id between 10 and 20").format(table))
    connection.execute("delete from content_tags where tag_id = %s and content_source = 'auto'", [tag_id("half")])
    connection.execute("delete from tags where id = %s", [tag_id("rare")])
    connection.execute("delete from content_items where creator_id = %s", [gallery.user("alan")])


def test_a_refresh_counts_what_brute_force_counts(connection: Connection, filled: Gallery) -> None:
    """Each tag in each source, each user in each source, equal ids kept apart."""
    refresh(connection)
    assert stored(connection) == brute_force(connection)


def test_a_second_refresh_takes_every_change_in(connection: Connection, filled: Gallery) -> None:
    """What came, changed and went since the first one."""
    refresh(connection)
    change_much(connection, filled)
    assert stored(connection) != brute_force(connection)
    refresh(connection)
    assert stored(connection) == brute_force(connection)


def test_a_row_that_stays_as_it_is_is_not_written(connection: Connection, filled: Gallery) -> None:
    """`updated_at` tells when a figure changed, not when it was last counted."""
    first = refresh(connection).refreshed_at
    tag(connection, ContentSource.AUTO, filled.item([], ContentSource.AUTO), "rare")
    second = refresh(connection).refreshed_at
    rows = connection.execute("select tag_id, content_source, updated_at from tag_cardinality_stats").fetchall()
    changed = {(tag_, source) for tag_, source, at in rows if at == second}
    assert changed == {(tag_id("rare"), "auto")}
    assert {at for _, _, at in rows} == {first, second}


def test_a_private_item_counts_for_its_cardinality_only(connection: Connection, filled: Gallery) -> None:
    """The planner must know it, a user interface must not show it."""
    secret = filled.item([], is_private=True)
    tag(connection, ContentSource.REGULAR, secret, "secret")
    refresh(connection)
    assert stored(connection).tags[tag_id("secret"), "regular"] == (1, 0)


def test_the_four_figures_are_what_each_viewer_may_see(connection: Connection, filled: Gallery, counts: Counts) -> None:
    """One's own with the private ones, everybody else's public ones; for users, strangers and nobody."""
    moment = refresh(connection).refreshed_at
    items = items_of(connection)
    for viewer in (*(filled.user(name) for name in USERS), uuid.UUID(int=9), None):
        own = Counter(source for source, _, creator, _ in items if creator == viewer)
        others = Counter(source for source, _, creator, hidden in items if creator != viewer and not hidden)
        regular, auto = ContentSource
        assert counts(viewer) == SourceCounts(own[regular], own[auto], others[regular], others[auto], moment)


def test_what_is_loaded_is_what_was_counted(connection: Connection, filled: Gallery, load: Load) -> None:
    """Items, cardinalities and the moment, source by source."""
    moment = refresh(connection).refreshed_at
    found, truth = load(), brute_force(connection)
    assert found.refreshed_at == moment
    for source, one in found.sources.items():
        assert one.items == 60
        wanted = {key[0]: every for key, (every, _) in truth.tags.items() if key[1] == source.junction}
        assert one.cardinalities == wanted


def test_without_tables_the_next_step_is_named(
    connection: Connection, gallery: Gallery, load: Load, counts: Counts
) -> None:
    """A gallery before 50 has no statistics, which is no reason for a traceback."""
    for ask in (load, lambda: counts(None), lambda: refresh(connection)):
        with pytest.raises(StatisticsMissing, match="50_refresh_tag_stats"):
            ask()


def test_before_the_first_refresh_nothing_is_known(
    connection: Connection, filled: Gallery, load: Load, counts: Counts
) -> None:
    """Loading gives empty statistics that say so; figures for people are refused."""
    found = load()
    assert (found.refreshed_at, found.age_s, found.is_fresh(1e9)) == (None, None, False)
    assert {one.items for one in found.sources.values()} == {0}
    with pytest.raises(StatisticsMissing, match="never refreshed"):
        counts(filled.user("ada"))


def test_an_empty_gallery_has_statistics_too(
    connection: Connection, empty: Gallery, load: Load, counts: Counts
) -> None:
    """Nought is an answer."""
    moment = refresh(connection).refreshed_at
    assert load().refreshed_at == moment
    assert counts(None) == SourceCounts(0, 0, 0, 0, moment)


def is_whole(found: Statistics) -> bool:
    """Whether the statistics are of one moment, in a gallery where each item carries every tag."""
    return all(
        set(one.cardinalities) == {tag_id(name) for name in NAMES}
        and set(one.cardinalities.values()) == {one.items}
        and one.sample.size == one.items
        and all(bits == 2**one.items - 1 for bits in one.sample.carriers.values())
        for one in found.sources.values()
    )


def test_a_reader_sees_whole_statistics_while_they_are_refreshed(
    connection: Connection, empty: Gallery, settings: Settings
) -> None:
    """Reading all the while, it finds each refresh as a whole: never empty, never of two moments."""
    for source in ContentSource:
        tag(connection, source, empty.item([], source), *NAMES)
    refresh(connection)
    seen: list[Statistics] = []
    enough = threading.Event()

    async def read() -> None:
        async with pool.open_session(settings) as session:
            while not enough.is_set():
                seen.append(await statistics.load(session))

    reader = threading.Thread(target=lambda: asyncio.run(read()))
    reader.start()
    try:
        eventually(lambda: seen)
        for _ in range(25):
            for source in ContentSource:
                tag(connection, source, empty.item([], source), *NAMES)
            refresh(connection)
    finally:
        enough.set()
        reader.join()
    assert len({found.refreshed_at for found in seen}) > 5
    assert all(is_whole(found) for found in seen)


def test_one_snapshot_keeps_its_statistics(
    connection: Connection, filled: Gallery, second_session: OpenSession
) -> None:
    """A reader in REPEATABLE READ goes on with what it began with, and the refresh does not wait for it."""
    refresh(connection)
    reader = second_session()
    reader.execute("begin isolation level repeatable read")
    before = stored(reader)
    change_much(connection, filled)
    refresh(connection)
    assert stored(reader) == before != stored(connection)
    reader.execute("commit")
    assert stored(reader) == stored(connection)


def test_a_refresh_that_fails_changes_nothing(connection: Connection, filled: Gallery) -> None:
    """Killed right before its commit; the next one is not in anybody's way."""
    refresh(connection)
    change_much(connection, filled)
    before = stored(connection)

    def kill(done: StepDone) -> None:
        if done.name == STEPS[-1]:
            raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        refresh(connection, report=kill)
    assert stored(connection) == before
    refresh(connection)
    assert stored(connection) == brute_force(connection)


def test_only_one_refresh_runs_at_a_time(connection: Connection, filled: Gallery, second_session: OpenSession) -> None:
    """The second one is refused while the first counts, and taken afterwards."""
    other, refused = second_session(), []

    def intrude(done: StepDone) -> None:
        with pytest.raises(StatisticsBusy):
            refresh(other)
        refused.append(done.name)

    refresh(connection, report=intrude)
    assert refused == STEPS
    refresh(other)


def test_a_refresh_behind_another_process_is_refused(
    connection: Connection, filled: Gallery, second_session: OpenSession
) -> None:
    """The lock is the database's, so it holds between machines."""
    other = second_session()
    assert advisory.try_hold(other, tag_stats.LOCK)
    with pytest.raises(StatisticsBusy, match="Wait"):
        refresh(connection)


def test_a_tag_that_is_being_deleted_is_not_waited_for_long(
    connection: Connection, filled: Gallery, second_session: OpenSession, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The refusal names the cause, and the statistics stay as they were."""
    monkeypatch.setattr(tag_stats, "LOCK_WAIT_MS", 100)
    other = second_session()
    other.execute("begin")
    other.execute("delete from tags where id = %s", [tag_id("rare")])
    with pytest.raises(LockNotAcquired, match="being deleted"):
        refresh(connection)
    assert stored(connection) == Figures({}, {})
    other.execute("commit")
    refresh(connection)
    assert stored(connection) == brute_force(connection)


def test_a_tag_that_went_since_it_was_counted_is_left_out(
    connection: Connection, filled: Gallery, second_session: OpenSession
) -> None:
    """Between counting and swap anybody may delete a tag; its row would hang in the air."""
    other = second_session()

    def delete(done: StepDone) -> None:
        if done.name == STEPS[0]:
            other.execute("delete from tags where id = %s", [tag_id("rare")])

    refresh(connection, report=delete)
    assert stored(connection).tags == brute_force(connection).tags


def test_steps_are_reported_as_they_are_done(connection: Connection, filled: Gallery) -> None:
    """Whoever waits for a large gallery sees how far it is."""
    heard: list[StepDone] = []
    result = refresh(connection, report=heard.append)
    assert [done.name for done in heard] == STEPS
    assert result.steps == tuple(heard)
    assert heard[0].rows == len(brute_force(connection).tags)


def sample_rows(connection: Connection) -> list[tuple[Any, ...]]:
    return connection.execute(
        "select content_source, slot, content_id, is_private, tag_ids from workbench.tag_sample order by 1, 2"
    ).fetchall()


def test_the_sample_says_of_its_items_what_the_junction_says(
    connection: Connection, filled: Gallery, load: Load
) -> None:
    """Bit i of a tag is set where item i carries it, and bit i of `public` where it is not private."""
    refresh(connection, sample_items=25)
    links, found = links_of(connection), load()
    hidden = {(source.junction, item): is_hidden for source, item, _, is_hidden in items_of(connection)}
    rows = sample_rows(connection)
    assert [row[:2] for row in rows] == [(word, slot) for word in ("auto", "regular") for slot in range(25)]
    for word, slot, item, _, _ in rows:
        sample = found.sources[ContentSource.from_junction(word)].sample
        assert sample.size == 25
        assert bool(sample.public >> slot & 1) is not hidden[word, item]
        for name in NAMES:
            bit = sample.carriers.get(tag_id(name), 0) >> slot & 1
            assert bool(bit) is ((word, item, tag_id(name)) in links)


def test_one_seed_draws_one_sample(connection: Connection, filled: Gallery) -> None:
    """The same items from the same content; another seed draws others."""
    drawn = []
    for seed in (1, 2, 1):
        refresh(connection, sample_items=25, seed=seed)
        drawn.append(sample_rows(connection))
    assert drawn[0] == drawn[2] != drawn[1]


def test_without_a_seed_each_refresh_draws_another_sample(connection: Connection, filled: Gallery) -> None:
    """Bad luck with a sample lasts until the next refresh; the seed is kept, so that it can be drawn again."""
    result = refresh(connection, sample_items=25)
    first = sample_rows(connection)
    refresh(connection, sample_items=25)
    assert sample_rows(connection) != first
    refresh(connection, sample_items=25, seed=result.seed)
    assert sample_rows(connection) == first


def test_every_item_is_as_likely_to_be_sampled_as_any_other(connection: Connection, filled: Gallery) -> None:
    """20 of 60 items, 90 times, with fixed seeds: each item about 30 times (the deviation is 4.5)."""
    times: Counter[tuple[str, int]] = Counter()
    for seed in range(90):
        refresh(connection, sample_items=20, seed=seed)
        times.update((row[0], row[2]) for row in sample_rows(connection))
    assert len(times) == 120
    assert min(times.values()) >= 14
    assert max(times.values()) <= 46


@pytest.mark.parametrize("size", [0, 7, 60, 4096])
def test_a_sample_is_no_larger_than_asked_for_and_than_the_source(
    size: int, connection: Connection, filled: Gallery, load: Load
) -> None:
    """Also after a larger one, whose further slots are gone."""
    refresh(connection)
    refresh(connection, sample_items=size)
    assert {one.sample.size for one in load().sources.values()} == {min(size, 60)}


def test_a_sample_of_less_than_nothing_is_refused(connection: Connection, filled: Gallery) -> None:
    """Before anything is counted."""
    with pytest.raises(InvalidInput, match="sample_items is -1"):
        refresh(connection, sample_items=-1)


def test_freshness_is_read_without_loading(
    connection: Connection, filled: Gallery, runner: asyncio.Runner, settings: Settings
) -> None:
    """Whoever keeps statistics in memory asks whether newer ones are there."""

    async def ask() -> statistics.Freshness:
        async with pool.open_session(settings) as session:
            return await statistics.freshness(session)

    assert runner.run(ask()).refreshed_at is None
    moment = refresh(connection).refreshed_at
    found = runner.run(ask())
    assert found.refreshed_at == moment
    assert found.is_fresh(3600)
