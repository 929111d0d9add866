"""A query in, an answer out: planner, page, total, cursors and telemetry put together."""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Awaitable, Callable, Iterator
from contextlib import AbstractAsyncContextManager
from dataclasses import replace
from datetime import timedelta
from typing import Any, TypeVar

import pytest
from psycopg.errors import DivisionByZero, ReadOnlySqlTransaction

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.pool import Pool, open_pool
from genonaut_lib.errors import CursorKeyMissing, InvalidInput, QueryTimedOut, ViewMissing
from genonaut_lib.gallery import answering
from genonaut_lib.gallery.answer import Answer
from genonaut_lib.gallery.counts import NOT_COUNTED, CountMode, Total
from genonaut_lib.gallery.gallery import Gallery as Service
from genonaut_lib.gallery.knowledge import Knowledge
from genonaut_lib.gallery.query import NOTHING, GalleryQuery, TagMatch
from genonaut_lib.gallery.reading import reading
from genonaut_lib.gallery.request import GalleryRequest
from genonaut_lib.gallery.strategies import STRATEGIES
from genonaut_lib.migration import tag_stats
from genonaut_lib.migration.phases import Context
from genonaut_lib.request_errors import InvalidCursor
from genonaut_lib.settings import Settings
from genonaut_lib.tuning.plan_tree import parse
from genonaut_lib.vocabulary import ContentSource, tag_id
from tests.factories import FIRST_DAY, Gallery
from tests.migration.test_phases import apply_all, apply_before

T = TypeVar("T")
Ask = Callable[[Callable[[Service], Awaitable[T]]], T]
COMMON, HALF = tag_id("common"), tag_id("half")
BOTH = GalleryQuery((COMMON, HALF), TagMatch.ALL, page_size=4)
LIVE = [name for name, strategy in STRATEGIES.items() if not strategy.stale]


def fill(gallery: Gallery) -> None:
    """Thirty items in both sources: all are common, every other one is half as well, every fifth is private."""
    for number in range(30):
        gallery.legacy_item(
            ["common", "half"] if number % 2 else ["common"],
            ContentSource.AUTO if number % 3 else ContentSource.REGULAR,
            creator=gallery.user("ada" if number % 4 else "grace"),
            is_private=number % 5 == 0,
            created_at=FIRST_DAY + timedelta(hours=number // 3),
        )


def make_all_auto_half(connection: Connection) -> None:
    """Give every auto item the tag `half`, as the application does once the junction is the truth."""
    junction = "insert into content_tags select id, 'auto', %s from content_items_auto on conflict do nothing"
    connection.execute(junction, [HALF])


def migrated(context: Context) -> None:
    """Migrate those items and count their statistics."""
    fill(Gallery(context.connection))
    apply_all(context)
    tag_stats.refresh(context.connection)


MODELS = {"filled": migrated}


@pytest.fixture
def filled(gallery: Gallery) -> Gallery:
    """A migrated gallery with statistics."""
    return gallery


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for a test."""
    with asyncio.Runner() as found:
        yield found


@pytest.fixture
def ask(settings: Settings, runner: asyncio.Runner) -> Ask[Any]:
    """Run something on a gallery that is opened for it."""
    return lambda work: runner.run(_on(Service.opened(settings, sessions=2), work))


async def _on(opening: AbstractAsyncContextManager[Any], work: Callable[[Any], Awaitable[T]]) -> T:
    async with opening as opened:
        return await work(opened)


def with_planner(settings: Settings, **knobs: object) -> Settings:
    return settings.model_copy(update={"planner": settings.planner.model_copy(update=knobs)})


async def walked(gallery: Service, request: GalleryRequest, *, backwards: bool = False) -> list[Answer]:
    """Follow the cursors from a request's page to the last one, or to the first."""
    answers = [await gallery.page(await gallery.query_of(request))]
    while cursor := answers[-1].previous_cursor if backwards else answers[-1].next_cursor:
        answers.append(await gallery.page(await gallery.query_of(replace(request, cursor=cursor))))
    return answers


def keys(answers: list[Answer]) -> list[str]:
    return [key for answer in answers for key in answer.page.keys]


def test_an_answer_says_which_strategy_it_was_and_why(ask: Ask[Answer], filled: Gallery) -> None:
    """With rows, an estimate and the time of each part."""
    found = ask(lambda gallery: gallery.page(BOTH))
    assert found.choice.strategy in STRATEGIES
    assert found.choice.reason
    assert found.choice.estimated_rows == pytest.approx(12, abs=3)
    assert set(found.milliseconds) == {"plan", "page", "total"}
    assert found.statistics_at is not None


def test_every_live_strategy_can_be_asked_for_and_shows_the_same_rows(ask: Ask[Any], filled: Gallery) -> None:
    """The choice says that it was asked for."""

    async def each(gallery: Service) -> list[Answer]:
        return [await gallery.page(BOTH, strategy=name) for name in LIVE]

    answers = ask(each)
    assert [found.choice.strategy for found in answers] == LIVE
    assert all(found.choice.reason.startswith("asked for") for found in answers)
    assert {tuple(found.page.keys) for found in answers} == {tuple(answers[0].page.keys)}
    assert len(answers[0].page.rows) == 4


def test_an_unknown_strategy_is_refused_with_the_nearest(ask: Ask[Answer], filled: Gallery) -> None:
    """A name is looked up, never put into a statement."""
    with pytest.raises(InvalidInput, match="Did you mean 'self_join'"):
        ask(lambda gallery: gallery.page(BOTH, strategy="self-join"))


@pytest.mark.parametrize("call", ["page", "explain"])
def test_a_view_is_read_only_where_it_may_be_and_is_there(call: str, ask: Ask[Answer], filled: Gallery) -> None:
    """Neither behind the caller's back, nor as an error of PostgreSQL's."""
    for stale, refusal in ((False, InvalidInput), (True, ViewMissing)):
        with pytest.raises(refusal):
            ask(lambda gallery, s=stale: getattr(gallery, call)(replace(BOTH, stale=s), strategy="materialized_view"))


def test_more_tags_than_the_knob_allows_are_refused(ask: Ask[Answer], filled: Gallery) -> None:
    """The knob is named."""
    many = GalleryQuery(tuple(uuid.UUID(int=number) for number in range(21)))
    with pytest.raises(InvalidInput, match=r"planner\.max_tags"):
        ask(lambda gallery: gallery.page(many))


def test_cursors_lead_through_every_row_once_and_back_again(ask: Ask[Any], filled: Gallery) -> None:
    """Forwards from the first page, backwards from the last."""
    request = GalleryRequest(tags=["common"], page_size=4)

    async def there_and_back(gallery: Service) -> tuple[list[Answer], list[Answer]]:
        there = await walked(gallery, request)
        last = replace(request, cursor=there[-2].next_cursor)
        return there, await walked(gallery, last, backwards=True)

    there, back = ask(there_and_back)
    assert len(set(keys(there))) == len(keys(there)) == 24
    assert keys(back[::-1]) == keys(there)


def test_a_cursor_of_another_query_is_refused(ask: Ask[Any], filled: Gallery) -> None:
    """It is never page one of the query it was sent with."""

    async def carried_over(gallery: Service) -> None:
        first = await gallery.page(await gallery.query_of(GalleryRequest(tags=["common"], page_size=4)))
        await gallery.query_of(GalleryRequest(tags=["half"], page_size=4, cursor=first.next_cursor))

    with pytest.raises(InvalidCursor):
        ask(carried_over)


def test_a_viewer_may_be_named_and_sees_their_own_private_items(ask: Ask[Any], filled: Gallery) -> None:
    """By username or by id; an unknown name is refused, and nobody sees less than anybody."""

    async def counted(gallery: Service, viewer: str | None) -> int | None:
        query = await gallery.query_of(GalleryRequest(viewer=viewer, page_size=100))
        return (await gallery.page(query, CountMode.EXACT)).total.value

    ada = str(filled.user("ada"))
    assert [ask(lambda gallery, v=viewer: counted(gallery, v)) for viewer in (None, "ada", ada)] == [24, 28, 28]
    with pytest.raises(InvalidInput, match="no user called 'adda'"):
        ask(lambda gallery: counted(gallery, "adda"))


@pytest.mark.parametrize("mode", [CountMode.EXACT, CountMode.AUTO])
def test_a_total_is_that_of_the_moment_the_page_was_read(
    mode: CountMode, ask: Ask[Answer], filled: Gallery, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is written between the page and its count is in neither."""
    real = answering.read_page

    async def read_and_write(*arguments: Any) -> Any:
        page = await real(*arguments)
        make_all_auto_half(filled.connection)
        return page

    monkeypatch.setattr(answering, "read_page", read_and_write)
    found, again = (ask(lambda gallery: gallery.page(BOTH, mode)) for _ in range(2))
    assert found.total == Total(CountMode.EXACT, 12, 12, 12)
    assert (again.total.value or 0) > 12


@pytest.mark.parametrize(("page", "size"), [(1, 100), (1, 12), (3, 5)])
def test_a_last_page_is_its_own_count(page: int, size: int, ask: Ask[Answer], filled: Gallery) -> None:
    """Where nothing comes after it, its number tells what came before: nothing is counted."""
    found = ask(lambda gallery: gallery.page(replace(BOTH, page=page, page_size=size), CountMode.EXACT))
    assert found.total == Total(CountMode.EXACT, 12, 12, 12)
    assert "count" not in found.milliseconds


def test_a_page_beyond_the_end_is_counted_all_the_same(ask: Ask[Answer], filled: Gallery) -> None:
    """An empty page does not tell how far it is beyond."""
    found = ask(lambda gallery: gallery.page(replace(BOTH, page=9), CountMode.EXACT))
    assert (found.page.rows, found.total.value) == ((), 12)


def test_nothing_is_counted_unless_it_is_asked_for(ask: Ask[Answer], filled: Gallery) -> None:
    """Not even where it would cost nothing."""
    assert ask(lambda gallery: gallery.page(replace(BOTH, page_size=100))).total == NOT_COUNTED


def test_a_query_without_a_source_is_answered_without_a_database(settings: Settings, runner: asyncio.Runner) -> None:
    """It is an empty page, and an exact nought."""

    async def closed(pool: Pool) -> Answer:
        await pool.close()
        return await Service(pool, settings).page(GalleryQuery(scope=NOTHING), CountMode.AUTO)

    found = runner.run(_on(open_pool(settings, sessions=1), closed))
    assert (found.page.rows, found.total, found.next_cursor) == ((), Total(CountMode.EXACT, 0, 0, 0), None)


def test_what_was_counted_is_what_is_estimated_next(ask: Ask[Any], filled: Gallery) -> None:
    """Feedback: an estimate that statistics got wrong is wrong once."""
    make_all_auto_half(filled.connection)

    async def twice(gallery: Service) -> list[Answer]:
        return [await gallery.page(BOTH, CountMode.EXACT) for _ in range(2)]

    first, second = ask(twice)
    assert first.choice.estimated_rows == 12
    assert second.choice.estimated_rows == first.total.value != 12


def test_a_gallery_without_statistics_is_read_all_the_same(
    ask: Ask[Answer], gallery: Gallery, migrate: Callable[[], None]
) -> None:
    """The reason says that there are none; nothing is estimated."""
    fill(gallery)
    migrate()
    found = ask(lambda one: one.page(BOTH, CountMode.ESTIMATED))
    assert "no statistics" in found.choice.reason
    assert (len(found.page.rows), found.choice.estimated_rows, found.total.value) == (4, None, None)
    assert found.next_cursor is not None


def test_a_gallery_without_tables_of_statistics_is_read_all_the_same(
    ask: Ask[Answer], gallery: Gallery, context: Context
) -> None:
    """There is no key for cursors either: there are none, and one that is sent is refused."""
    fill(gallery)
    apply_before(context, "create_gallery_stats")
    found = ask(lambda one: one.page(BOTH))
    assert (len(found.page.rows), found.page.has_next, found.next_cursor) == (4, True, None)
    with pytest.raises(CursorKeyMissing):
        ask(lambda one: one.query_of(GalleryRequest(cursor="AAAA")))


def test_an_explanation_is_the_plan_of_the_page(ask: Ask[Any], filled: Gallery) -> None:
    """By the strategy asked for, with times and buffers, of a query with all its values."""
    query = replace(BOTH, viewer=filled.user("ada"), exclude=(uuid.UUID(int=1),), search="prompt")
    found = ask(lambda gallery: gallery.explain(query, "self_join"))
    assert found.choice.strategy == "self_join"
    assert parse(found.document).root.actual == 5


def test_an_explanation_of_no_source_is_refused(ask: Ask[Any], filled: Gallery) -> None:
    """There is no statement to explain."""
    with pytest.raises(InvalidInput, match="no source"):
        ask(lambda gallery: gallery.explain(GalleryQuery(scope=NOTHING)))


def test_an_answer_is_written_down_without_tags_and_viewers(
    settings: Settings, runner: asyncio.Runner, filled: Gallery, caplog: pytest.LogCaptureFixture
) -> None:
    """One structured record, as often as the knob says."""
    telemetry = settings.planner.telemetry.model_copy(update={"sample_rate": 1.0})
    opening = Service.opened(with_planner(settings, telemetry=telemetry), sessions=1)
    with caplog.at_level(logging.INFO, "genonaut.gallery"):
        answer = runner.run(_on(opening, lambda gallery: gallery.page(BOTH, CountMode.EXACT)))
    (record,) = [found.gallery for found in caplog.records if hasattr(found, "gallery")]
    assert (record["strategy"], record["actual_rows"], record["total"]) == (answer.choice.strategy, 4, 12)
    assert str(COMMON) not in caplog.text


@pytest.fixture
def pool(settings: Settings) -> AbstractAsyncContextManager[Pool]:
    """A pool of one session, opened by the test."""
    return open_pool(settings, sessions=1)


def test_a_statement_over_its_limit_is_ended_and_the_session_goes_on(
    pool: AbstractAsyncContextManager[Pool], runner: asyncio.Runner, filled: Gallery
) -> None:
    """The limit is the transaction's: the next one on the same session has none."""

    async def slow(found: Pool) -> Any:
        with pytest.raises(QueryTimedOut, match="20 ms"):
            async with reading(found, 20, one_snapshot=False) as connection:
                await connection.execute("select pg_sleep(5)")
        async with reading(found, 5_000, one_snapshot=False) as connection:
            await connection.execute("select 1")
        async with found.connection() as connection:
            return await (await connection.execute("show statement_timeout")).fetchone()

    assert runner.run(_on(pool, slow)) == ("0",)


@pytest.mark.parametrize("one_snapshot", [True, False])
def test_a_transaction_that_failed_leaves_its_session_fit_for_the_next(
    one_snapshot: bool, pool: AbstractAsyncContextManager[Pool], runner: asyncio.Runner, filled: Gallery
) -> None:
    """It is rolled back, and the error is the one that was met; what is nested in it is a savepoint."""

    async def fail(found: Pool) -> Any:
        with pytest.raises(DivisionByZero):
            async with reading(found, 1_000, one_snapshot=one_snapshot) as connection:
                await connection.execute("select 1 / 0")
        async with reading(found, 1_000, one_snapshot=one_snapshot) as connection:
            with pytest.raises(DivisionByZero):
                async with connection.transaction():
                    await connection.execute("select 1 / 0")
            return await (await connection.execute("select 1")).fetchone()

    assert runner.run(_on(pool, fail)) == (1,)


def test_one_snapshot_cannot_write(
    pool: AbstractAsyncContextManager[Pool], runner: asyncio.Runner, filled: Gallery
) -> None:
    """Whatever EXPLAIN ANALYZE executes, it changes nothing."""

    async def write(found: Pool) -> None:
        async with reading(found, 1_000, one_snapshot=True) as connection:
            await connection.execute("delete from content_tags")

    with pytest.raises(ReadOnlySqlTransaction):
        runner.run(_on(pool, write))


def test_statistics_are_renewed_beside_a_request_and_never_block_it(
    pool: AbstractAsyncContextManager[Pool], runner: asyncio.Runner, filled: Gallery
) -> None:
    """While no session is to be had, what is known serves; afterwards the new ones do."""

    async def renewed(found: Pool) -> tuple[Any, ...]:
        knowledge = Knowledge(found, 0.0)
        first = await knowledge.current()
        tag_stats.refresh(filled.connection)
        async with found.connection():
            during = await asyncio.wait_for(knowledge.current(), 20)
        assert knowledge._renewal is not None
        await knowledge._renewal
        after = await knowledge.current()
        await knowledge.close()
        return first, during, after

    first, during, after = runner.run(_on(pool, renewed))
    assert during is first
    assert after.refreshed_at > first.refreshed_at


def test_statistics_that_cannot_be_renewed_are_kept(
    pool: AbstractAsyncContextManager[Pool],
    runner: asyncio.Runner,
    filled: Gallery,
    caplog: pytest.LogCaptureFixture,
) -> None:
    """Requests go on with the old ones, and the reason is logged."""

    async def failing(found: Pool) -> tuple[Any, ...]:
        knowledge = Knowledge(found, 0.0)
        first = await knowledge.current()
        await found.close()
        await knowledge.current()
        assert knowledge._renewal is not None
        await knowledge._renewal
        after = await knowledge.current()
        await knowledge.close()
        return first, after

    first, after = runner.run(_on(pool, failing))
    assert after.statistics is first.statistics
    assert "could not be read anew" in caplog.text
