"""Counts against the oracle, and what becomes of them under a time limit."""

from __future__ import annotations

import random
import threading
import time
import uuid
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import replace
from datetime import UTC, datetime
from typing import Any

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as examples
from psycopg.errors import QueryCanceled

from genonaut_lib.db import engine
from genonaut_lib.errors import InvalidInput
from genonaut_lib.gallery.choice import Choice
from genonaut_lib.gallery.counting import COUNTED_BY, counting_strategy, counting_text, filter_of
from genonaut_lib.gallery.counts import NOT_COUNTED, CountMode, Total, _ran_out, count
from genonaut_lib.gallery.order import Position, Sort, SortField
from genonaut_lib.gallery.query import MINE, NOTHING, Creators, GalleryQuery, Scope, TagMatch
from genonaut_lib.gallery.statistics import Sample, SourceStatistics, Statistics
from genonaut_lib.vocabulary import ContentSource
from tests.gallery.built import TAGS, UNKNOWN, USERS, Built
from tests.gallery.oracle import Oracle, Row
from tests.gallery.queries import SCOPES, queries

LONG_MS = 60_000


def counted(
    built: Built, query: GalleryQuery, mode: CountMode = CountMode.EXACT, *, budget_ms: int = LONG_MS, **known: Any
) -> Total:
    return built.run(count(built.session, query, mode, budget_ms=budget_ms, **known))


def exactly(number: int) -> Total:
    return Total(CountMode.EXACT, number, number, number)


def truth(oracle: Oracle, query: GalleryQuery) -> int:
    return sum(oracle.counts(query).values())


@pytest.mark.parametrize("private", [0, 3, 10])
def test_every_filter_counts_what_the_oracle_counts(private: int, own: Built) -> None:
    """Scope, viewer, tags, families, exclusion and search all count, whatever share of the items is private."""
    for source in ContentSource:
        own.connection.execute(f"update {source.table} set is_private = id %% 10 < %s".encode(), [private])
    oracle = own.look_again()

    @examples(max_examples=300, deadline=None, database=None, suppress_health_check=list(HealthCheck))
    @given(queries(oracle))
    def check(query: GalleryQuery) -> None:
        assert counted(own, query) == exactly(truth(oracle, query))

    check()


FILTERS: list[dict[str, Any]] = [
    {}, {"tags": TAGS[:1]}, {"tags": TAGS[:2], "match": TagMatch.ALL}, {"exclude": TAGS[1:2]}, {"search": "cat"},
]  # fmt: skip


@pytest.mark.parametrize("more", FILTERS)
def test_all_sixteen_scopes_count_what_the_oracle_counts(more: dict[str, Any], still: Built) -> None:
    """Mine, the community's, everybody's and nobody's of either source, each by its own statement."""
    asked = [GalleryQuery(viewer=still.user("grace"), scope=scope, **more) for scope in SCOPES]
    assert [counted(still, query).value for query in asked] == [truth(still.oracle, query) for query in asked]


@pytest.mark.parametrize("strategy", COUNTED_BY)
def test_every_counting_strategy_counts_alike(strategy: str, still: Built) -> None:
    """Whatever the planner thinks is cheapest decides the time only."""
    query = GalleryQuery(TAGS[:3], TagMatch.ALL, still.user("ada"), families=(TAGS[1:4],), exclude=TAGS[-2:-1])
    choice = Choice(strategy, "a test", considered={strategy: 1.0, "time_walk": 0.1})
    assert counting_strategy(choice, query) == strategy
    assert counted(still, query, choice=choice) == exactly(truth(still.oracle, query))


def test_the_order_of_the_groups_counts_the_same(still: Built) -> None:
    """The planner's order is an order of lookups, never another filter."""
    query = GalleryQuery(TAGS[:3], TagMatch.ALL)
    choice = Choice("self_join", "a test", ranked=query.groups[::-1])
    assert counted(still, query, choice=choice) == exactly(truth(still.oracle, query))


def test_a_retagged_and_a_deleted_item_are_counted_by_the_junction(own: Built) -> None:
    """After the cut over the arrays on the items are stale, and nobody reads them."""
    query = GalleryQuery(TAGS[:1])
    before = counted(own, query).value
    assert before is not None
    public = [row for row in own.oracle.rows if not row.is_private and row.source == "auto"]
    with_it, without = (next(row for row in public if (TAGS[0] in row.tags) is has) for has in (True, False))
    own.tag(ContentSource.AUTO, without.id, TAGS[0])
    assert counted(own, query) == exactly(before + 1)
    own.connection.execute("delete from content_items_auto where id = any (%s)", [[with_it.id, without.id]])
    assert counted(own, query) == exactly(before - 1)


def test_nothing_selected_is_counted_without_the_database(own: Built) -> None:
    """No source is read: an exact zero, over a connection that is closed."""
    own.run(own.session.close())
    for mode in (CountMode.ESTIMATED, CountMode.EXACT, CountMode.AUTO):
        assert counted(own, GalleryQuery(scope=NOTHING), mode) == exactly(0)
    assert counted(own, GalleryQuery(), CountMode.NONE) == NOT_COUNTED


# Time limits. A lock on the junction that another session holds makes any count by tags as slow as one likes.


@contextmanager
def junction_held(built: Built) -> Iterator[None]:
    with built.connection.transaction(force_rollback=True):
        built.connection.execute("lock table content_tags in access exclusive mode")
        yield


def statistics_of(oracle: Oracle, dice: random.Random, share: float) -> Statistics:
    """Return the cardinalities and a sample of the items, as statistics that were just refreshed hold them."""
    rows = {source: [row for row in oracle.rows if row.source == source.junction] for source in ContentSource}
    found = {source: of_source(own, dice.sample(own, int(len(own) * share))) for source, own in rows.items()}
    return Statistics(found, datetime.now(UTC))


def of_source(rows: list[Row], drawn: list[Row]) -> SourceStatistics:
    cardinalities = {tag: sum(tag in row.tags for row in rows) for tag in TAGS}
    carriers = {tag: sum((tag in row.tags) << place for place, row in enumerate(drawn)) for tag in TAGS}
    public = sum((not row.is_private) << place for place, row in enumerate(drawn))
    sample = Sample(len(drawn), public, {tag: bits for tag, bits in carriers.items() if bits})
    return SourceStatistics(len(rows), {tag: number for tag, number in cardinalities.items() if number}, sample)


def random_filter(dice: random.Random, viewers: list[uuid.UUID]) -> GalleryQuery:
    read = [scope for scope in SCOPES if scope.sources]
    return GalleryQuery(
        tuple(dice.sample(TAGS, dice.randint(1, 4))), dice.choice(list(TagMatch)), dice.choice(viewers),
        dice.choice(read), exclude=tuple(dice.sample(TAGS, dice.choice([0, 0, 1]))),
        families=tuple(tuple(dice.sample(TAGS, 2)) for _ in range(dice.choice([0, 0, 1]))),
    )  # fmt: skip


def test_auto_is_exact_within_its_budget(still: Built) -> None:
    """With time enough the answer says that it is exact, statistics or not."""
    query = GalleryQuery(TAGS[:1])
    assert counted(still, query, CountMode.AUTO) == exactly(truth(still.oracle, query))


def out_of_time(built: Built, query: GalleryQuery, statistics: Statistics | None) -> Total:
    """Count while the junction is held, or estimate at once where the estimate has to plan a statement on it."""
    if query.search or Creators.MINE in (query.scope.regular, query.scope.auto):
        return counted(built, query, CountMode.ESTIMATED, statistics=statistics)
    with junction_held(built):
        return counted(built, query, CountMode.AUTO, budget_ms=2, statistics=statistics)


def test_an_exceeded_budget_gives_an_interval_that_holds(still: Built) -> None:
    """Of a hundred filters that ran out of time, at least 95 match a number within the estimate's bounds."""
    dice, held = random.Random(5), 0
    statistics = statistics_of(still.oracle, dice, 0.4)
    for _ in range(100):
        query = random_filter(dice, [still.user(name) for name in USERS])
        total = out_of_time(still, query, statistics)
        assert total.kind is CountMode.ESTIMATED
        assert total.value is not None
        assert total.low is not None
        assert total.high is not None
        assert 0 <= total.low <= total.value <= total.high <= len(still.oracle.rows)
        held += total.low <= truth(still.oracle, query) <= total.high
    assert held >= 95


@pytest.mark.parametrize("search", ["cat", '"red cat" -dog', "-cat", "absent"])
def test_a_search_is_estimated_between_none_and_all_without_it(search: str, still: Built) -> None:
    """The statistics of tags know no words, and the bounds say so."""
    statistics = statistics_of(still.oracle, random.Random(1), 1.0)
    query = GalleryQuery(TAGS[:1], viewer=still.user("ada"), search=search)
    total, rest = (
        counted(still, one, CountMode.ESTIMATED, statistics=statistics) for one in (query, replace(query, search=""))
    )
    assert (total.kind, total.low, total.high) == (CountMode.ESTIMATED, 0, rest.high)
    assert total.value is not None
    assert total.high is not None
    assert 0 <= total.value <= total.high
    assert truth(still.oracle, query) <= total.high


@pytest.mark.parametrize("statistics", [None, Statistics({})])
@pytest.mark.parametrize("more", [{}, {"search": "cat"}, {"scope": MINE}])
def test_without_statistics_nothing_is_made_up(
    statistics: Statistics | None, more: dict[str, Any], still: Built
) -> None:
    """An estimate that cannot be made is none, whether it was asked for or the budget ran out."""
    query = GalleryQuery(TAGS[:1], viewer=still.user("ada"), **more)
    assert counted(still, query, CountMode.ESTIMATED, statistics=statistics) == NOT_COUNTED
    with junction_held(still):
        assert counted(still, query, CountMode.AUTO, budget_ms=2, statistics=statistics) == NOT_COUNTED


def cancel_when_waiting(built: Built, pid: int) -> None:
    """Cancel what a server session does as soon as it waits for a lock."""
    waiting = "select 1 from pg_stat_activity where pid = %s and wait_event_type = 'Lock'"
    with closing(engine.connect(built.settings)) as session:
        while session.execute(waiting, [pid]).fetchone() is None:
            time.sleep(0.01)
        session.execute("select pg_cancel_backend(%s)", [pid])


@pytest.mark.parametrize("mode", [CountMode.EXACT, CountMode.AUTO])
def test_a_cancel_from_elsewhere_is_an_error(mode: CountMode, still: Built) -> None:
    """Only the count's own limit turns it into an estimate; an administrator's cancel is not hidden."""
    other = threading.Thread(target=cancel_when_waiting, args=[still, still.session.info.backend_pid], daemon=True)
    with junction_held(still):
        other.start()
        with pytest.raises(QueryCanceled):
            counted(still, GalleryQuery(TAGS[:1]), mode)
        other.join()
    assert counted(still, GalleryQuery(UNKNOWN), mode) == exactly(0)


@pytest.mark.parametrize(("took_ms", "own"), [(3.0, False), (99.9, False), (100.0, True), (250.0, True)])
def test_a_cancel_in_any_language_is_told_by_the_clock(took_ms: float, own: bool) -> None:
    """A server that speaks another language than English says nothing one could go by."""
    assert _ran_out(QueryCanceled("Anfrage wird storniert"), took_ms, 100) is own


async def limit_of(built: Built) -> str:
    row = await (await built.session.execute("show statement_timeout")).fetchone()
    assert row is not None
    return str(row[0])


def set_limit(built: Built, limit: str) -> None:
    built.run(built.session.execute("select set_config('statement_timeout', %s, false)", [limit]))


@pytest.mark.parametrize("limit", ["0", "7min"])
def test_the_limit_ends_with_the_count(limit: str, own: Built) -> None:
    """Neither a count in time nor one out of time leaves its limit on the session."""
    set_limit(own, limit)
    assert counted(own, GalleryQuery(TAGS[:1]), CountMode.AUTO).kind is CountMode.EXACT
    with junction_held(own):
        assert counted(own, GalleryQuery(TAGS[:1]), CountMode.AUTO, budget_ms=2) == NOT_COUNTED
    assert own.run(limit_of(own)) == limit


@pytest.mark.parametrize("limit", ["0", "7min"])
def test_a_transaction_of_the_callers_keeps_its_own_limit(limit: str, own: Built) -> None:
    """What is set for a transaction outlives a savepoint in it, so it is set back; an estimate leaves it usable."""

    async def inside() -> list[object]:
        async with own.session.transaction():
            with junction_held(own):
                late = await count(own.session, GalleryQuery(TAGS[:1]), CountMode.AUTO, budget_ms=2)
            after_it = await limit_of(own)
            in_time = await count(own.session, GalleryQuery(TAGS[:1]), CountMode.AUTO, budget_ms=LONG_MS)
            return [late.kind, after_it, in_time.kind, await limit_of(own)]

    set_limit(own, limit)
    assert own.run(inside()) == [CountMode.NONE, limit, CountMode.EXACT, limit]


def test_a_tighter_limit_of_the_session_stays(own: Built) -> None:
    """A budget gives no statement more time than the session allows; running out of that is running out, too."""
    set_limit(own, "500ms")
    with junction_held(own):
        assert counted(own, GalleryQuery(TAGS[:1]), CountMode.AUTO) == NOT_COUNTED


@pytest.mark.parametrize("budget_ms", [0, -1])
def test_a_budget_that_would_mean_no_limit_is_refused(budget_ms: int, still: Built) -> None:
    """PostgreSQL takes a limit of 0 for none at all."""
    with pytest.raises(InvalidInput, match=f"budget_ms is {budget_ms}"):
        counted(still, GalleryQuery(), CountMode.AUTO, budget_ms=budget_ms)


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
