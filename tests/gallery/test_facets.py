"""Facets of a migrated gallery against counting by hand over the same rows."""

from __future__ import annotations

import asyncio
import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import AsyncExitStack
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from itertools import product
from typing import Any

import pytest
from psycopg.errors import QueryCanceled

from genonaut_lib.content.generation import SHAPES, generate
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.pool import AsyncConnection, open_session
from genonaut_lib.errors import InvalidInput
from genonaut_lib.gallery.facet_sampling import interval, sample_tags
from genonaut_lib.gallery.facets import FacetCount, Facets, SamplePlan, facets
from genonaut_lib.gallery.order import Position, Sort, SortField
from genonaut_lib.gallery.planner import Choice
from genonaut_lib.gallery.query import NOTHING, Creators, GalleryQuery, Scope, TagMatch
from genonaut_lib.gallery.strategies import STRATEGIES
from genonaut_lib.migration.phases import Context
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import ContentSource, tag_id
from tests.factories import Gallery
from tests.migration.test_phases import apply_all

Read = Callable[..., Facets]
Counts = list[tuple[str, int]]
NAMES = ("common", "half", "rare", "never")
TAGS = tuple(tag_id(name) for name in NAMES)
CHANCES = (0.8, 0.5, 0.08, 0)
USERS = ("ada", "grace", "alan")
WORDS = ("cat", "dog", "bird")
SCOPES = [Scope(regular, auto) for regular, auto in product(Creators, Creators)]
LONG_MS = 600_000
"""A budget that no test uses up."""


@dataclass(frozen=True)
class Row:
    """What the oracle knows of an item; its tags come from the junction, row by row."""

    source: ContentSource
    creator: uuid.UUID
    private: bool
    words: frozenset[str]
    tags: frozenset[uuid.UUID]


def rows_of(connection: Connection) -> list[Row]:
    """Read both tables and the junction, untouched by any statement under test."""
    carried: dict[tuple[str, int], set[uuid.UUID]] = {}
    for id_, source, tag in connection.execute("select content_id, content_source, tag_id from content_tags"):
        carried.setdefault((source, id_), set()).add(tag)
    rows = []
    for source in ContentSource:
        query = f"select id, creator_id, is_private, title || ' ' || prompt from {source.table}"
        for id_, creator, private, text in connection.execute(query).fetchall():  # type: ignore[arg-type]
            found = frozenset(carried.get((source.junction, id_), set()))
            rows.append(Row(source, creator, private, frozenset(text.split()), found))
    return rows


def wanted(row: Row, query: GalleryQuery) -> bool:
    mine = row.creator == query.viewer
    by_creator = {
        Creators.MINE: mine, Creators.COMMUNITY: not mine, Creators.EVERYBODY: True, Creators.NOBODY: False,
    }[query.scope.of(row.source)]  # fmt: skip
    groups = [bool(row.tags & set(group)) for group in (*((tag,) for tag in query.tags), *query.families)]
    by_tag = not groups or (all if query.match is TagMatch.ALL else any)(groups)
    searched = all((word.removeprefix("-") in row.words) != word.startswith("-") for word in query.search.split())
    return by_creator and by_tag and searched and (mine or not row.private) and not row.tags & set(query.exclude)


def oracle(connection: Connection, query: GalleryQuery, rows: list[Row] | None = None) -> Counts:
    """Return every tag of the wanted items and how many of them carry it, highest first, then by name."""
    names = dict(connection.execute("select id, name from tags").fetchall())
    rows = rows_of(connection) if rows is None else rows
    counts = Counter(tag for row in rows if wanted(row, query) for tag in row.tags)
    return sorted(((names[tag], number) for tag, number in counts.items()), key=lambda one: (-one[1], one[0]))


def counts_of(found: Facets) -> Counts:
    """Return names and counts of exact facets; sampled ones are not what was asked for."""
    assert not found.sampled
    assert found.sample_size is None
    assert all(one.low == one.count == one.high for one in found.counts)
    return [(one.name, one.count) for one in found.counts]


@pytest.fixture
def migrate(context: Context, gallery: Gallery) -> Callable[[], Connection]:
    """Take the gallery through every phase, as it is filled by then."""

    def run() -> Connection:
        apply_all(context)
        return context.connection

    return run


def mixed(context: Context) -> None:
    """Make 160 migrated items: equal ids in both sources, a quarter of them private, some without tags."""
    dice, gallery = random.Random(11), Gallery(context.connection)
    for source, _ in product(ContentSource, range(80)):
        gallery.legacy_item(
            [name for name, chance in zip(NAMES, CHANCES, strict=True) if dice.random() < chance],
            source,
            creator=gallery.user(dice.choice(USERS)),
            is_private=dice.random() < 0.25,
            prompt=" ".join(word for word in WORDS if dice.random() < 0.5),
        )
    apply_all(context)


def crowded(context: Context) -> None:
    """Make 1,200 items with 75 tags each: too much to count within a millisecond."""
    generate(context.connection, SHAPES["dense"], 1_200, 7)
    apply_all(context)


MODELS = {"filled": mixed, "dense": crowded}


@pytest.fixture
def filled(gallery: Gallery) -> Connection:
    """A session on a gallery of mixed items."""
    return gallery.connection


@pytest.fixture
def dense(gallery: Gallery) -> Connection:
    """A session on a gallery of crowded ones."""
    return gallery.connection


@pytest.fixture
def session(settings: Settings, gallery: Gallery) -> Iterator[tuple[asyncio.Runner, AsyncConnection]]:
    """An asynchronous session and the loop it lives in."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        yield runner, runner.run(stack.enter_async_context(open_session(settings)))
        runner.run(stack.aclose())


@pytest.fixture
def read(session: tuple[asyncio.Runner, AsyncConnection]) -> Read:
    """Ask for facets: `read(query)`, with a budget that lasts."""
    runner, connection = session

    def ask(query: GalleryQuery, **named: Any) -> Facets:
        return runner.run(facets(connection, query, **{"budget_ms": LONG_MS, **named}))

    return ask


def random_query(dice: random.Random, viewers: list[uuid.UUID]) -> GalleryQuery:
    families = [tuple(dice.sample(TAGS, 2)) for _ in range(dice.choice([0, 0, 1, 2]))]
    searched = dice.sample([*WORDS, *(f"-{word}" for word in WORDS)], dice.choice([0, 0, 1, 2]))
    return GalleryQuery(
        tags=tuple(dice.sample(TAGS, dice.choice([0, 1, 1, 2, 3]))),
        match=dice.choice(list(TagMatch)),
        viewer=dice.choice(viewers),
        scope=dice.choice(SCOPES),
        exclude=tuple(dice.sample(TAGS, dice.choice([0, 0, 1, 2]))),
        families=tuple(families),
        search=" ".join(searched),
    )


def test_random_filters_count_what_counting_by_hand_counts(filled: Connection, gallery: Gallery, read: Read) -> None:
    """Any and all, families, exclusions, words, viewers and all sixteen scopes, mixed at random."""
    dice, rows = random.Random(5), rows_of(filled)
    viewers = [*(gallery.user(name) for name in USERS), uuid.UUID(int=9)]
    queries = [random_query(dice, viewers) for _ in range(250)]
    differing = [query for query in queries if counts_of(read(query)) != oracle(filled, query, rows)]
    assert differing == []
    assert sum(bool(oracle(filled, query, rows)) for query in queries) > 100


def test_without_a_viewer_only_public_items_count(filled: Connection, read: Read) -> None:
    """For every choice of tags and of excluded ones."""
    rows = rows_of(filled)
    choices = [(), TAGS[:1], TAGS[:2], TAGS[:3], TAGS], TagMatch, [(), TAGS[1:2], TAGS[2:]]
    queries = [GalleryQuery(tags, match, exclude=exclude) for tags, match, exclude in product(*choices)]
    assert [query for query in queries if counts_of(read(query)) != oracle(filled, query, rows)] == []


def test_the_page_and_its_order_change_nothing(filled: Connection, read: Read) -> None:
    """Facets are those of all matching items, whichever page shows some of them."""
    query = GalleryQuery(TAGS[:1])
    position = Position(datetime(2025, 1, 1, tzinfo=UTC), ContentSource.AUTO, 3)
    others = [
        replace(query, after=position), replace(query, before=position), replace(query, page=4, page_size=2),
        replace(query, sort=Sort(SortField.QUALITY_SCORE, descending=False)), replace(query, stale=True),
    ]  # fmt: skip
    assert {read(other) for other in others} == {read(query)}


def test_a_private_item_counts_for_its_creator_only(
    gallery: Gallery, migrate: Callable[[], Connection], read: Read
) -> None:
    """Neither exactly nor in a sample does anybody else learn of its tags."""
    gallery.legacy_item(["secret", "common"], is_private=True, creator=gallery.user("ada"))
    gallery.legacy_item(["common"], creator=gallery.user("ada"))
    migrate()
    assert counts_of(read(GalleryQuery(viewer=gallery.user("ada")))) == [("common", 2), ("secret", 1)]
    for viewer in (None, gallery.user("grace")):
        query = GalleryQuery(viewer=viewer)
        assert counts_of(read(query)) == [("common", 1)]
        assert [one.name for one in read(query, budget_ms=0).counts] == ["common"]


def test_equal_ids_lend_each_other_no_tags(gallery: Gallery, migrate: Callable[[], Connection], read: Read) -> None:
    """Item 1 of one source and item 1 of the other are two items, in counting and in sampling."""
    gallery.legacy_item(["regular tag", "both"], ContentSource.REGULAR, id=1)
    gallery.legacy_item(["auto tag", "both"], ContentSource.AUTO, id=1)
    migrate()
    expected = [("auto tag", 1), ("both", 1)]
    query = GalleryQuery((tag_id("both"),), scope=Scope(regular=Creators.NOBODY))
    assert counts_of(read(query)) == expected
    assert [(one.name, one.count) for one in read(query, budget_ms=0).counts] == expected
    assert counts_of(read(replace(query, scope=Scope()))) == [("both", 2), ("auto tag", 1), ("regular tag", 1)]


def test_the_junction_counts_where_the_arrays_are_stale(filled: Connection, read: Read) -> None:
    """After the cut over tags are written to the junction alone."""
    filled.execute("delete from content_tags where tag_id = %s and content_id %% 2 = 0", [TAGS[0]])
    filled.execute("insert into tags values (%s, 99, 'never', 'never', 'Never', now())", [TAGS[3]])
    filled.execute("insert into content_tags select id, 'auto', %s from content_items_auto", [TAGS[3]])
    for query in (GalleryQuery(), GalleryQuery(TAGS[:1]), GalleryQuery(TAGS[3:])):
        assert counts_of(read(query)) == oracle(filled, query)
    assert dict(counts_of(read(GalleryQuery())))["never"] > 0


def test_whatever_was_chosen_the_counts_are_the_same(filled: Connection, read: Read) -> None:
    """Rarest first or last; a strategy that walks, or reads a view that may be stale, is replaced."""
    rows = rows_of(filled)
    for strategy, match, ranked in product(STRATEGIES, TagMatch, (1, -1)):
        query = GalleryQuery(TAGS[:3], match, exclude=TAGS[3:], stale=strategy == "materialized_view")
        choice = Choice(strategy, "because", ranked=query.groups[::ranked])
        assert counts_of(read(query, choice=choice)) == oracle(filled, query, rows), strategy


def test_a_choice_for_another_query_is_refused(filled: Connection, read: Read) -> None:
    """Its tags would be counted under this query's name."""
    choice = Choice("self_join", "because", ranked=GalleryQuery(TAGS[1:2]).groups)
    with pytest.raises(InvalidInput, match="another query"):
        read(GalleryQuery(TAGS[:1]), choice=choice)


def test_the_highest_come_first_and_ties_go_by_name(
    gallery: Gallery, migrate: Callable[[], Connection], read: Read
) -> None:
    """`top` cuts after that order, so that the cut is the same each time."""
    gallery.legacy_item(["b", "B2", "a", "é", "z"])
    gallery.legacy_item(["z"])
    migrate()
    assert counts_of(read(GalleryQuery())) == [("z", 2), ("a", 1), ("b", 1), ("b2", 1), ("é", 1)]
    assert counts_of(read(GalleryQuery(), top=3)) == [("z", 2), ("a", 1), ("b", 1)]
    assert [one.name for one in read(GalleryQuery(), top=3, budget_ms=0).counts] == ["z", "a", "b"]


def test_nobodys_items_have_no_facets(read: Read) -> None:
    """Not even a migrated gallery is needed for it."""
    assert read(GalleryQuery(scope=NOTHING)) == Facets()


def test_an_empty_gallery_has_no_facets(migrate: Callable[[], Connection], read: Read) -> None:
    """Counted or sampled, there is nothing."""
    migrate()
    assert read(GalleryQuery()) == Facets()
    assert read(GalleryQuery(), budget_ms=0) == Facets(sampled=True, sample_size=0)


def test_a_filter_without_a_match_has_no_facets(filled: Connection, read: Read) -> None:
    """And a sample of it says that it met no item."""
    query = GalleryQuery(TAGS[3:])
    assert read(query) == Facets()
    assert read(query, budget_ms=0) == Facets(sampled=True, sample_size=0)


def test_a_sample_of_everything_is_exact_but_flagged(filled: Connection, gallery: Gallery, read: Read) -> None:
    """Where every id is drawn, the interval has no width, whatever the filter."""
    dice, rows = random.Random(8), rows_of(filled)
    for _ in range(60):
        query = random_query(dice, [gallery.user(name) for name in USERS])
        if not query.sources:
            continue
        found = read(query, budget_ms=0)
        assert found.sampled
        assert found.sample_size == sum(wanted(row, query) for row in rows)
        assert [(one.name, one.count) for one in found.counts] == oracle(filled, query, rows)
        assert all(one.low == one.count == one.high for one in found.counts)


def test_a_sample_holds_the_truth_between_its_bounds(filled: Connection, read: Read) -> None:
    """Sixty samples of a quarter of the ids: at least nine in ten intervals hold, and not by being boundless."""
    for match in TagMatch:
        query = GalleryQuery(TAGS[:2], match)
        true = dict(oracle(filled, query))
        found = [one for seed in range(60) for one in sampled(read, query, SamplePlan(batch=40, seed=seed))]
        holding = [one.low <= true[one.name] <= one.high for one in found]
        assert sum(holding) >= 0.9 * len(holding)
        assert all(one.high - one.low < 120 for one in found)
        assert len({one.count for one in found if one.name == "common"}) > 5


def sampled(read: Read, query: GalleryQuery, plan: SamplePlan) -> tuple[FacetCount, ...]:
    """Return the facets of one batch of a sample."""
    found = read(query, budget_ms=0, plan=plan)
    assert found.sampled
    return found.counts


def test_samples_are_unbiased(filled: Connection, read: Read) -> None:
    """The mean over many small samples is the truth, to within a few of its standard errors."""
    true = dict(oracle(filled, GalleryQuery()))
    runs = [sampled(read, GalleryQuery(), SamplePlan(batch=40, seed=seed)) for seed in range(80)]
    for name in ("common", "half"):
        drawn = [next((one.count for one in run if one.name == name), 0) for run in runs]
        assert abs(sum(drawn) / len(drawn) - true[name]) < 0.08 * true[name]


def test_over_its_budget_the_count_is_a_sample_that_holds(dense: Connection, read: Read) -> None:
    """A millisecond is never enough for ninety thousand rows; most of 106 intervals hold the truth."""
    true = dict(oracle(dense, GalleryQuery()))
    found = read(GalleryQuery(), top=200, budget_ms=1, plan=SamplePlan(batch=300, seed=2))
    assert found.sampled
    assert found.sample_size is not None
    assert 0 < found.sample_size < 1_200
    holding = [one.low <= true[one.name] <= one.high for one in found.counts]
    assert sum(holding) >= 0.85 * len(holding)
    assert counts_of(read(GalleryQuery(), top=200)) == sorted(true.items(), key=lambda one: (-one[1], one[0]))


GROWN = [
    (SamplePlan(batch=10, enough=50), 50, 59), (SamplePlan(batch=10, most=30), 1, 30), (SamplePlan(batch=7), 160, 160),
]  # fmt: skip


def test_a_sample_grows_until_it_is_large_enough(
    filled: Connection, session: tuple[asyncio.Runner, AsyncConnection]
) -> None:
    """Batch after batch, up to enough items or the most ids, or to every id once."""
    filled.execute("update content_items_all set is_private = false")
    runner, connection = session
    for plan, least, most in GROWN:
        found = runner.run(sample_tags(connection, GalleryQuery(), plan, budget_s=600))
        assert least <= found.items <= most, plan


def test_a_statement_cancelled_by_somebody_is_an_error(
    filled: Connection, second_session: Callable[[], Connection], session: tuple[asyncio.Runner, AsyncConnection]
) -> None:
    """Only the budget's end makes a sample of it."""
    runner, connection = session

    async def ask() -> Facets:
        asked = asyncio.create_task(facets(connection, GalleryQuery(), budget_ms=LONG_MS))
        waits = "select wait_event_type = 'Lock' from pg_stat_activity where pid = %s"
        while filled.execute(waits, [connection.info.backend_pid]).fetchone() != (True,):  # noqa: ASYNC110  # the event is in the server
            await asyncio.sleep(0.01)
        filled.execute("select pg_cancel_backend(%s)", [connection.info.backend_pid])
        return await asked

    locking = second_session()
    with locking.transaction():
        locking.execute("lock table content_tags in access exclusive mode")
        with pytest.raises(QueryCanceled):
            runner.run(ask())


def test_no_timeout_is_left_behind(dense: Connection, session: tuple[asyncio.Runner, AsyncConnection]) -> None:
    """Neither in the session nor in a transaction of the caller's, whether the budget sufficed or not."""
    runner, connection = session

    async def timeout() -> str:
        row = await (await connection.execute("show statement_timeout")).fetchone()
        assert row is not None
        return str(row[0])

    async def ask(budget_ms: int) -> list[str]:
        await facets(connection, GalleryQuery(), budget_ms=budget_ms)
        alone = await timeout()
        async with connection.transaction():
            await facets(connection, GalleryQuery(), budget_ms=budget_ms)
            return [alone, await timeout()]

    assert [runner.run(ask(budget_ms)) for budget_ms in (1, LONG_MS)] == [["0", "0"], ["0", "0"]]


@pytest.mark.parametrize("named", [{"top": 0}, {"top": 1_001}, {"budget_ms": -1}])
def test_impossible_wishes_are_refused(named: dict[str, int], read: Read) -> None:
    """Before anything is asked of the database."""
    with pytest.raises(InvalidInput):
        read(GalleryQuery(), **named)


@pytest.mark.parametrize(("hits", "drawn", "width"), [(0, 10, 1_000), (10, 10, 1_000), (3, 10, 10), (1, 1_000, 10**6)])
def test_an_interval_lies_within_what_was_seen(hits: int, drawn: int, width: int) -> None:
    """At least the hits, at most all that were not drawn besides."""
    low, high = interval(hits, drawn, width)
    assert hits <= low <= round(width * hits / drawn) <= high <= width - (drawn - hits)
    assert (low == high) is (drawn == width)
