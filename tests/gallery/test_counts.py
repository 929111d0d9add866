"""Counts of a migrated gallery against set logic over the same rows, and what becomes of them under a time limit."""

from __future__ import annotations

import asyncio
import random
import re
import threading
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from contextlib import AsyncExitStack, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import product

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from hypothesis import strategies as st
from psycopg.errors import QueryCanceled

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.pool import AsyncConnection, open_session
from genonaut_lib.errors import InvalidInput
from genonaut_lib.gallery.counting import COUNTED_BY, counting_strategy, counting_text, filter_of
from genonaut_lib.gallery.counts import NOT_COUNTED, CountMode, Total, count
from genonaut_lib.gallery.order import Position, Sort, SortField
from genonaut_lib.gallery.planner import Choice
from genonaut_lib.gallery.query import MINE, NOTHING, Creators, GalleryQuery, Scope, TagMatch
from genonaut_lib.gallery.statistics import Sample, SourceStatistics, Statistics
from genonaut_lib.gallery.strategies import STRATEGIES
from genonaut_lib.migration.phases import PHASES, Context
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import ContentSource, tag_id
from tests.factories import FIRST_DAY, Gallery
from tests.migration.test_phases import apply

NAMES = ("common", "half", "third", "tenth", "rare", "unknown")
CHANCES = (0.85, 0.5, 0.33, 0.1, 0.03, 0.0)
TAGS = tuple(tag_id(name) for name in NAMES)
WORDS = ("red", "blue", "fox", "cat", "moon")
USERS = ("ada", "grace", "alan")
LONG_MS = 60_000
SCOPES = [Scope(regular, auto) for regular, auto in product(Creators, Creators)]
OPEN_SCOPES = [scope for scope in SCOPES if {scope.regular, scope.auto} <= {Creators.EVERYBODY, Creators.NOBODY}]

OpenSession = Callable[[], Connection]
Count = Callable[..., Total]


@dataclass(frozen=True)
class Item:
    """What the set logic knows of an item."""

    source: ContentSource
    id: int
    creator: uuid.UUID
    private: bool
    words: list[str]
    tags: frozenset[uuid.UUID]


def items_of(connection: Connection) -> list[Item]:
    """Read both tables and the junction, untouched by any statement under test."""
    tags: dict[tuple[str, int], set[uuid.UUID]] = {}
    for source, id_, tag in connection.execute("select content_source, content_id, tag_id from content_tags"):
        tags.setdefault((source, id_), set()).add(tag)
    items = []
    for source in ContentSource:
        query = f"select id, creator_id, is_private, title, prompt from {source.table}"
        for id_, creator, private, title, prompt in connection.execute(query):  # type: ignore[arg-type]
            found = frozenset(tags.get((source.junction, id_), ()))
            items.append(Item(source, id_, creator, private, f"{title} {prompt}".split(), found))
    return items


def wanted(item: Item, query: GalleryQuery) -> bool:
    mine = item.creator == query.viewer
    by_creator = {
        Creators.MINE: mine, Creators.COMMUNITY: not mine, Creators.EVERYBODY: True, Creators.NOBODY: False,
    }[query.scope.of(item.source)]  # fmt: skip
    conditions = [*(tag in item.tags for tag in query.tags), *(bool(item.tags & {*one}) for one in query.families)]
    by_tag = not conditions or (all if query.match is TagMatch.ALL else any)(conditions)
    excluded = bool(item.tags & {*query.exclude})
    return by_creator and by_tag and not excluded and (mine or not item.private) and says(item.words, query.search)


def says(words: list[str], search: str) -> bool:
    """Whether a text answers a web search of plain words, "phrases" and -exclusions."""
    asked = [(minus, (phrase or word).split()) for minus, phrase, word in re.findall(r'(-?)(?:"([^"]+)"|(\w+))', search)]
    runs = [(minus, any(words[at : at + len(run)] == run for at in range(len(words)))) for minus, run in asked]
    return all(found != bool(minus) for minus, found in runs)


def tagged(dice: random.Random) -> list[str]:
    return [name for name, chance in zip(NAMES, CHANCES, strict=True) if dice.random() < chance]


def fill(gallery: Gallery, migrate: Callable[[], None], *, private: float, number: int = 70) -> None:
    """Fill both sources with the same ids, let a share of it be private, and migrate."""
    dice = random.Random(23)
    for source in ContentSource:
        for _ in range(number):
            gallery.legacy_item(
                tagged(dice),
                source,
                creator=gallery.user(dice.choice(USERS)),
                is_private=dice.random() < private,
                title=" ".join(dice.choices(WORDS, k=2)),
                prompt=" ".join(dice.choices(WORDS, k=3)),
                quality_score=dice.choice([None, 0.5]),
                created_at=FIRST_DAY + timedelta(hours=dice.randrange(7)),
            )
    migrate()


@pytest.fixture
def migrate(context: Context, gallery: Gallery) -> Callable[[], None]:
    """Take the gallery through every phase, as it is filled by then."""
    return lambda: [apply(context, name) for name in PHASES] and None


@pytest.fixture
def filled(gallery: Gallery, migrate: Callable[[], None]) -> Gallery:
    """140 items, a quarter of them private."""
    fill(gallery, migrate, private=0.25)
    return gallery


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    with asyncio.Runner() as one:
        yield one


@pytest.fixture
def reader(runner: asyncio.Runner, settings: Settings) -> Iterator[AsyncConnection]:
    """A session of a reader."""
    stack = AsyncExitStack()
    yield runner.run(stack.enter_async_context(open_session(settings)))
    runner.run(stack.aclose())


@pytest.fixture
def counted(runner: asyncio.Runner, reader: AsyncConnection) -> Count:
    """Count on the reader's session."""

    def run(query: GalleryQuery, mode: CountMode = CountMode.EXACT, *, budget_ms: int = LONG_MS, **known: object) -> Total:
        return runner.run(count(reader, query, mode, budget_ms=budget_ms, **known))  # type: ignore[arg-type]

    return run


def exactly(number: int) -> Total:
    return Total(CountMode.EXACT, number, number, number)


tags = st.lists(st.sampled_from(TAGS), max_size=4).map(tuple)
terms = st.one_of(
    st.sampled_from(WORDS), st.lists(st.sampled_from(WORDS), min_size=1, max_size=3).map(lambda run: f'"{" ".join(run)}"')
)
searches = st.lists(st.tuples(st.sampled_from(["", "", "-"]), terms).map("".join), max_size=3).map(" ".join)
pages = st.sampled_from(
    [{}, {"page": 7}, {"page_size": 1, "after": Position(None, ContentSource.AUTO, 9)},
     {"before": Position(0.5, ContentSource.REGULAR, 3)}]
)  # fmt: skip


def queries(viewers: Sequence[uuid.UUID]) -> st.SearchStrategy[GalleryQuery]:
    """Make queries of any kind by any viewer, and by none."""

    def of(viewer: uuid.UUID | None, scopes: list[Scope]) -> st.SearchStrategy[GalleryQuery]:
        return st.builds(
            lambda page, **rest: GalleryQuery(**rest, **page, sort=Sort(SortField.QUALITY_SCORE)),
            pages, viewer=st.just(viewer), scope=st.sampled_from(scopes), tags=tags,
            families=st.lists(tags.filter(bool), max_size=2).map(tuple), match=st.sampled_from(TagMatch),
            exclude=st.one_of(st.just(()), tags), search=st.one_of(st.just(""), searches),
        )  # fmt: skip

    return st.one_of(of(None, OPEN_SCOPES), *(of(viewer, SCOPES) for viewer in viewers))


def viewers_of(gallery: Gallery) -> list[uuid.UUID]:
    return [*map(gallery.user, USERS), uuid.UUID(int=9)]


@pytest.mark.parametrize("private", [0.0, 0.3, 1.0])
def test_every_filter_counts_what_set_logic_counts(
    private: float, connection: Connection, gallery: Gallery, migrate: Callable[[], None], counted: Count
) -> None:
    """Scope, viewer, privacy, tags, families, exclusion and search all count; page, order and position do not."""
    fill(gallery, migrate, private=private)
    items = items_of(connection)

    @examples(max_examples=250, deadline=None, suppress_health_check=list(HealthCheck))
    @given(queries(viewers_of(gallery)))
    def check(query: GalleryQuery) -> None:
        assert counted(query) == exactly(sum(wanted(item, query) for item in items))

    check()


def test_all_sixteen_scopes_count_what_set_logic_counts(
    connection: Connection, filled: Gallery, counted: Count
) -> None:
    """Mine, the community's, everybody's and nobody's of either source, with and without tags and exclusion."""
    items, viewer = items_of(connection), filled.user("grace")
    filters = [{}, {"tags": TAGS[:1]}, {"tags": TAGS[:2], "match": TagMatch.ALL}, {"exclude": TAGS[1:2]}]
    wrong = [
        (scope, query)
        for scope, more in product(SCOPES, filters)
        for query in [GalleryQuery(viewer=viewer, scope=scope, **more)]
        if counted(query).value != sum(wanted(item, query) for item in items)
    ]
    assert wrong == []


@pytest.mark.parametrize("strategy", [name for name in COUNTED_BY if name in STRATEGIES])
def test_every_counting_strategy_counts_alike(
    strategy: str, connection: Connection, filled: Gallery, counted: Count
) -> None:
    """Whatever the planner thinks is cheapest decides the time only."""
    items, viewer = items_of(connection), filled.user("ada")
    query = GalleryQuery(TAGS[:3], TagMatch.ALL, viewer, families=(TAGS[1:4],), exclude=TAGS[4:5])
    choice = Choice(strategy, "a test", considered={strategy: 1.0, "time_walk": 0.1})
    assert counting_strategy(choice, query) == strategy
    assert counted(query, choice=choice).value == sum(wanted(item, query) for item in items)


def test_the_rarest_groups_order_counts_the_same(connection: Connection, filled: Gallery, counted: Count) -> None:
    """The planner's order of the groups is an order of lookups, never another filter."""
    items, query = items_of(connection), GalleryQuery(TAGS[:3], TagMatch.ALL)
    choice = Choice("self_join", "a test", ranked=query.groups[::-1])
    assert counted(query, choice=choice) == exactly(sum(wanted(item, query) for item in items))


def test_counts_follow_the_junction_after_the_cut_over(
    connection: Connection, filled: Gallery, counted: Count
) -> None:
    """The arrays on the items are stale by then and nobody reads them."""
    query = GalleryQuery(TAGS[5:])
    assert counted(query) == exactly(0)
    id_ = filled._insert(ContentSource.AUTO, [], {})
    insert = "insert into content_tags (content_id, content_source, tag_id) values (%s, 'auto', %s)"
    connection.execute("insert into tags (id, tag_no, name, slug, label) values (%s, 9999, %s, %s, %s)", [TAGS[5], *NAMES[5:] * 3])
    connection.execute(insert, [id_, TAGS[5]])
    assert counted(query) == exactly(1)
    connection.execute("delete from content_items_auto where id = %s", [id_])
    assert counted(query) == exactly(0)


def test_nothing_selected_is_counted_without_the_database(runner: asyncio.Runner, reader: AsyncConnection) -> None:
    """No source is read: an exact zero, over a connection that is closed."""
    runner.run(reader.close())
    for mode in (CountMode.ESTIMATED, CountMode.EXACT, CountMode.AUTO):
        assert runner.run(count(reader, GalleryQuery(scope=NOTHING), mode, budget_ms=1)) == exactly(0)
    assert runner.run(count(reader, GalleryQuery(), CountMode.NONE, budget_ms=1)) == NOT_COUNTED


# Time limits. A lock on the junction that is held by another session makes any count of tags as slow as
# one likes, on any machine.


@contextmanager
def junction_held(session: Connection) -> Iterator[None]:
    with session.transaction(force_rollback=True):
        session.execute("lock table content_tags in access exclusive mode")
        yield


def statistics_of(items: list[Item], dice: random.Random, share: float) -> Statistics:
    """Return exact cardinalities and a sample of the items, as statistics that were just refreshed have them."""
    sources = {}
    for source in ContentSource:
        own = [item for item in items if item.source is source]
        drawn = dice.sample(own, int(len(own) * share))
        carriers = {tag: sum((tag in item.tags) << place for place, item in enumerate(drawn)) for tag in TAGS}
        public = sum((not item.private) << place for place, item in enumerate(drawn))
        cardinalities = {tag: sum(tag in item.tags for item in own) for tag in TAGS}
        sample = Sample(len(drawn), public, {tag: bits for tag, bits in carriers.items() if bits})
        sources[source] = SourceStatistics(len(own), {tag: n for tag, n in cardinalities.items() if n}, sample)
    return Statistics(sources, datetime.now(UTC))


def random_filter(dice: random.Random, viewers: list[uuid.UUID]) -> GalleryQuery:
    return GalleryQuery(
        tuple(dice.sample(TAGS[:5], dice.randint(1, 4))), dice.choice(list(TagMatch)), dice.choice(viewers),
        dice.choice(SCOPES[:-1]), exclude=tuple(dice.sample(TAGS[:5], dice.choice([0, 0, 1]))),
        families=tuple(tuple(dice.sample(TAGS[:5], 2)) for _ in range(dice.choice([0, 0, 1]))),
    )  # fmt: skip


def test_auto_is_exact_within_its_budget(connection: Connection, filled: Gallery, counted: Count) -> None:
    """With time enough the answer says that it is exact, statistics or not."""
    items, query = items_of(connection), GalleryQuery(TAGS[:1])
    assert counted(query, CountMode.AUTO) == exactly(sum(wanted(item, query) for item in items))


def test_an_exceeded_budget_gives_an_interval_that_holds(
    connection: Connection, gallery: Gallery, migrate: Callable[[], None], counted: Count, second_session: OpenSession
) -> None:
    """Of a hundred filters whose count ran out of time, at least 95 match a number within the estimate's bounds."""
    fill(gallery, migrate, private=0.2, number=400)
    items, dice = items_of(connection), random.Random(5)
    statistics = statistics_of(items, dice, 0.25)
    filters = [random_filter(dice, viewers_of(gallery)) for _ in range(100)]
    tags_known = [query for query in filters if Creators.MINE not in (query.scope.regular, query.scope.auto)]
    with junction_held(second_session()):
        totals = [counted(query, CountMode.AUTO, budget_ms=2, statistics=statistics) for query in tags_known]
    mine = [query for query in filters if query not in tags_known]
    totals += [counted(query, CountMode.ESTIMATED, statistics=statistics) for query in mine]
    held = 0
    for query, total in zip([*tags_known, *mine], totals, strict=True):
        assert total.kind is CountMode.ESTIMATED
        assert total.value is not None and total.low is not None and total.high is not None
        assert 0 <= total.low <= total.value <= total.high <= len(items)
        held += total.low <= sum(wanted(item, query) for item in items) <= total.high
    assert held >= 95


@pytest.mark.parametrize("search", ["fox", '"red fox" -moon', "-cat", "nothing"])
def test_a_search_is_estimated_between_none_and_all_without_it(
    search: str, connection: Connection, filled: Gallery, counted: Count
) -> None:
    """The statistics of tags know no words, and the bounds say so."""
    items = items_of(connection)
    statistics = statistics_of(items, random.Random(1), 1.0)
    query = GalleryQuery(TAGS[:1], viewer=filled.user(), search=search)
    total, rest = (counted(one, CountMode.ESTIMATED, statistics=statistics) for one in (query, replace(query, search="")))
    assert (total.kind, total.low, total.high) == (CountMode.ESTIMATED, 0, rest.high)
    assert total.value is not None and total.high is not None
    assert 0 <= total.value <= total.high
    assert sum(wanted(item, query) for item in items) <= total.high


@pytest.mark.parametrize("statistics", [None, Statistics({})])
@pytest.mark.parametrize("more", [{}, {"search": "fox"}, {"scope": MINE}])
def test_without_statistics_nothing_is_made_up(
    statistics: Statistics | None, more: dict[str, object], filled: Gallery, counted: Count, second_session: OpenSession
) -> None:
    """An estimate that cannot be made is none, whether it was asked for or the budget ran out."""
    query = GalleryQuery(TAGS[:1], viewer=filled.user(), **more)
    assert counted(query, CountMode.ESTIMATED, statistics=statistics) == NOT_COUNTED
    with junction_held(second_session()):
        assert counted(query, CountMode.AUTO, budget_ms=2, statistics=statistics) == NOT_COUNTED


def cancel_when_waiting(session: Connection, pid: int) -> None:
    """Cancel what a server session does as soon as it waits for a lock."""
    waiting = "select 1 from pg_stat_activity where pid = %s and wait_event_type = 'Lock'"
    while session.execute(waiting, [pid]).fetchone() is None:
        time.sleep(0.01)
    session.execute("select pg_cancel_backend(%s)", [pid])


@pytest.mark.parametrize("mode", [CountMode.EXACT, CountMode.AUTO])
def test_a_cancel_from_elsewhere_is_an_error(
    mode: CountMode, filled: Gallery, counted: Count, reader: AsyncConnection, second_session: OpenSession
) -> None:
    """Only the count's own limit turns it into an estimate; an administrator's cancel is not hidden."""
    other = threading.Thread(target=cancel_when_waiting, args=[second_session(), reader.info.backend_pid])
    with junction_held(second_session()):
        other.start()
        with pytest.raises(QueryCanceled):
            counted(GalleryQuery(TAGS[:1]), mode)
        other.join()
    assert counted(GalleryQuery(TAGS[5:]), mode) == exactly(0)


def limit_of(runner: asyncio.Runner, session: AsyncConnection) -> str:
    async def show() -> str:
        row = await (await session.execute("show statement_timeout")).fetchone()
        assert row is not None
        return str(row[0])

    return runner.run(show())


@pytest.mark.parametrize("given_limit", ["0", "7min"])
def test_the_limit_ends_with_the_count(
    given_limit: str, runner: asyncio.Runner, reader: AsyncConnection, filled: Gallery, counted: Count,
    second_session: OpenSession,
) -> None:  # fmt: skip
    """Neither a count in time nor one out of time leaves its limit on the session, or in the caller's transaction."""

    async def inside(query: GalleryQuery) -> None:
        async with reader.transaction():
            await count(reader, query, CountMode.AUTO, budget_ms=LONG_MS)
            row = await (await reader.execute("show statement_timeout")).fetchone()
            assert row == (given_limit,)

    runner.run(reader.execute(f"set statement_timeout = '{given_limit}'"))  # type: ignore[arg-type]
    runner.run(inside(GalleryQuery(TAGS[:1])))
    counted(GalleryQuery(TAGS[:1]), CountMode.AUTO)
    with junction_held(second_session()):
        assert counted(GalleryQuery(TAGS[:1]), CountMode.AUTO, budget_ms=2) == NOT_COUNTED
    assert limit_of(runner, reader) == given_limit


def test_a_tighter_limit_of_the_session_stays(
    runner: asyncio.Runner, reader: AsyncConnection, filled: Gallery, counted: Count, second_session: OpenSession
) -> None:
    """A budget gives no statement more time than the session allows; running out of that is running out, too."""
    runner.run(reader.execute("set statement_timeout = '2ms'"))
    with junction_held(second_session()):
        assert counted(GalleryQuery(TAGS[:1]), CountMode.AUTO, budget_ms=LONG_MS) == NOT_COUNTED


@pytest.mark.parametrize("budget_ms", [0, -1])
def test_a_budget_that_would_mean_no_limit_is_refused(budget_ms: int, gallery: Gallery, counted: Count) -> None:
    """PostgreSQL takes a limit of 0 for none at all."""
    with pytest.raises(InvalidInput, match=f"budget_ms is {budget_ms}"):
        counted(GalleryQuery(), CountMode.AUTO, budget_ms=budget_ms)


# Pure.


def test_a_walk_never_counts() -> None:
    """Its cost is that of the first page."""
    query = GalleryQuery(TAGS[:2], TagMatch.ALL)
    choice = Choice("time_walk", "a test", considered={"time_walk": 0.1, "materialized_view": 0.1})
    assert counting_strategy(choice, query) == COUNTED_BY[0]


def test_the_cheapest_of_those_that_find_everything_counts() -> None:
    """What the planner thinks of a page by them holds for a count."""
    query = GalleryQuery(TAGS[:2], TagMatch.ALL)
    choice = Choice("time_walk", "a test", considered={"time_walk": 0.1, "self_join": 9.0, "group_having": 3.0})
    assert counting_strategy(choice, query) == "group_having"


@pytest.mark.parametrize("chosen", [(), TAGS[:1]])
def test_one_group_needs_no_choice(chosen: tuple[uuid.UUID, ...]) -> None:
    """A single range of the index is read one way."""
    choice = Choice("group_having", "a test", considered={"group_having": 0.1})
    assert counting_strategy(choice, GalleryQuery(chosen)) == COUNTED_BY[0]


@pytest.mark.parametrize("scope", [Scope(), Scope(Creators.COMMUNITY, Creators.COMMUNITY)])
def test_no_item_is_read_for_its_tags(scope: Scope) -> None:
    """Where everybody's or the community's items count, only the junction and lists of unseen items are read."""
    query = GalleryQuery(TAGS[:2], TagMatch.ALL, uuid.UUID(int=1), scope, exclude=TAGS[2:3])
    assert b"content_items_all" not in counting_text(filter_of(query), "self_join")


def test_page_and_order_make_no_other_statement() -> None:
    """A count is compiled once for all pages and sorts of a filter."""
    first = GalleryQuery(TAGS[:1])
    later = replace(first, after=Position("x", ContentSource.AUTO, 3), sort=Sort(SortField.TITLE, descending=False))
    assert filter_of(first) == filter_of(later)
