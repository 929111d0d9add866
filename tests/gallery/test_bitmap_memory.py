"""What a process keeps of the bitmap index between requests never shows in an answer: versions, snapshots, tasks."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from typing import Any

import pytest

from genonaut_lib.db.pool import AsyncConnection, open_session
from genonaut_lib.errors import BitmapsUnavailable
from genonaut_lib.gallery.bitmaps.reader import Bitmaps
from genonaut_lib.gallery.order import Sort, SortField
from genonaut_lib.gallery.query import GalleryQuery, TagMatch
from genonaut_lib.settings import BitmapSettings
from genonaut_lib.vocabulary import ContentSource, tag_id
from tests import bitmaps_plain
from tests.gallery.built import TAGS, Built

COMMON, RARE = tag_id("common"), tag_id("rare")
BEGIN = b"begin isolation level repeatable read, read only"
EVERYBODYS = GalleryQuery(page_size=1000)
QUERIES = [
    EVERYBODYS,
    GalleryQuery(tags=(COMMON,), page_size=1000),
    GalleryQuery(tags=(RARE,), page_size=1000),
    GalleryQuery(tags=TAGS[:2], match=TagMatch.ALL, exclude=(RARE,), page_size=1000),
]
EPOCHS = ("bitmap_chunks", "bitmap_places", "tag_bitmaps", "bitmap_tags", "bitmap_creators")


@contextlib.asynccontextmanager
async def another(built: Built) -> AsyncIterator[AsyncConnection]:
    """Open a session and a snapshot in it."""
    async with open_session(built.settings) as session:
        await session.execute(BEGIN)
        await session.execute("select count(*) from content_items_all")
        yield session
        await session.execute("rollback")


async def answers(bitmaps: Bitmaps, session: AsyncConnection) -> list[tuple[list[str], int | None]]:
    """Return the keys and totals of every query, in the transaction that is open."""
    readings = [await bitmaps.page(session, query, total=True) for query in QUERIES]
    return [(reading.page.keys, reading.total) for reading in readings]


async def fresh(bitmaps: Bitmaps, built: Built) -> list[tuple[list[str], int | None]]:
    """Return the same in a snapshot of its own."""
    async with another(built) as session:
        return await answers(bitmaps, session)


def expected(built: Built) -> list[tuple[list[str], int]]:
    """Return what they must be now."""
    rows = built.look_again()
    return [(rows.page(query).keys, sum(rows.counts(query).values())) for query in QUERIES]


def reseal(built: Built, least_items: int = 1) -> None:
    """Bring the serving epoch up to date in place, under its own number and a new version."""
    execute = built.connection.execute
    ((epoch, built_at),) = execute("select serving, built_at from workbench.bitmap_state").fetchall()
    bitmaps_plain.build(built.connection, least_items)
    ((other,),) = execute("select serving from workbench.bitmap_state").fetchall()
    for table in EPOCHS:
        execute(f"delete from workbench.{table} where epoch = %s".encode(), [epoch])
        execute(f"update workbench.{table} set epoch = %s where epoch = %s".encode(), [epoch, other])
    execute("update workbench.bitmap_chunks c set version = s.version from workbench.bitmap_state s")
    execute("update workbench.bitmap_state set serving = %s, epochs = %s, built_at = %s", [epoch, epoch, built_at])


def change(built: Built, number: int) -> None:
    """Retag an item, hide one, delete one and add one."""
    built.tag(ContentSource.REGULAR, 10 + number, RARE, COMMON)
    built.tag(ContentSource.AUTO, 10 + number)
    built.connection.execute("update content_items set is_private = not is_private where id = %s", [20 + number])
    built.connection.execute("delete from content_items_auto where id = %s", [30 + number])


@pytest.mark.parametrize("least_items", [1, 40])
@pytest.mark.parametrize("cache_mb", [0, 1, 256])
def test_answers_follow_every_sealing(cache_mb: int, least_items: int, own: Built) -> None:
    """What was kept of one version is not served in the next, with and without bitmaps of rare tags."""
    bitmaps_plain.build(own.connection, least_items)
    bitmaps = Bitmaps(BitmapSettings(cache_mb=cache_mb))
    for number in range(4):
        assert own.run(fresh(bitmaps, own)) == expected(own)
        change(own, number)
        assert own.run(fresh(bitmaps, own)) == expected(own)
        reseal(own, least_items)
    assert own.run(fresh(bitmaps, own)) == expected(own)


@pytest.mark.parametrize("least_items", [1, 40])
def test_a_session_in_an_older_snapshot_reads_what_it_sees(least_items: int, own: Built) -> None:
    """Others read newer changes and newer versions meanwhile, and keep them."""
    bitmaps_plain.build(own.connection, least_items)
    bitmaps, before = Bitmaps(BitmapSettings()), expected(own)

    async def read() -> None:
        async with another(own) as old:
            change(own, 1)
            changed = expected(own)
            async with another(own) as newer:
                assert await answers(bitmaps, newer) == changed
                assert await answers(bitmaps, old) == before
                reseal(own, least_items)
                assert await fresh(bitmaps, own) == changed
                assert await answers(bitmaps, old) == before
                assert await answers(bitmaps, newer) == changed
        assert await fresh(bitmaps, own) == changed

    own.run(read())


def test_an_index_built_anew_under_the_old_numbers_is_another(own: Built) -> None:
    """Epoch and version count anew when tables were dropped; what was kept of the old index is not taken for it."""
    bitmaps_plain.build(own.connection)
    bitmaps = Bitmaps(BitmapSettings())
    own.run(fresh(bitmaps, own))
    for table in EPOCHS:
        own.connection.execute(f"truncate workbench.{table}".encode())
    own.connection.execute("update workbench.bitmap_state set epochs = 0, version = 0, serving = null")
    change(own, 1)
    bitmaps_plain.build(own.connection)
    ((epoch, version),) = own.connection.execute("select serving, version from workbench.bitmap_state").fetchall()
    assert (epoch, version) == (1, 1)
    assert own.run(fresh(bitmaps, own)) == expected(own)


def test_a_tag_deleted_and_made_anew_is_found_under_its_new_number(own: Built) -> None:
    """Its id is the same, since ids come from names; its number is not."""
    bitmaps_plain.build(own.connection)
    bitmaps = Bitmaps(BitmapSettings())
    own.run(fresh(bitmaps, own))
    own.connection.execute("delete from tags where id = %s", [RARE])
    own.connection.execute(
        "insert into tags (id, tag_no, name, slug, label) select %s, max(tag_no) + 5, 'rare', 'rare', 'rare' from tags",
        [RARE],
    )
    own.tag(ContentSource.REGULAR, 3, RARE)
    found = own.run(fresh(bitmaps, own))
    assert found[2] == (["regular/3"], 1)
    assert found == expected(own)


def test_tasks_at_once_do_not_disturb_each_other(own: Built) -> None:
    """Many sessions of different snapshots read by one memory too small for them, while items change and are sealed."""
    bitmaps_plain.build(own.connection)
    bitmaps = Bitmaps(BitmapSettings(cache_mb=1))

    async def read() -> None:
        async with contextlib.AsyncExitStack() as stack:
            seen: list[tuple[AsyncConnection, Any]] = []
            for number in range(5):
                seen.append((await stack.enter_async_context(another(own)), expected(own)))
                await asyncio.gather(*(require(session, wanted) for session, wanted in seen for _ in range(2)))
                reseal(own) if number % 2 else change(own, number)

    busy: dict[AsyncConnection, asyncio.Lock] = {}

    async def require(session: AsyncConnection, wanted: Any) -> None:
        async with busy.setdefault(session, asyncio.Lock()):
            assert await answers(bitmaps, session) == wanted

    own.run(read())


def test_a_read_index_is_not_read_again(own: Built) -> None:
    """A second request reads no bitmaps, members or places from the tables."""
    bitmaps_plain.build(own.connection)
    bitmaps = Bitmaps(BitmapSettings())
    own.run(fresh(bitmaps, own))
    used = bitmaps._cache.used
    for table in EPOCHS[:3]:
        own.connection.execute(f"truncate workbench.{table}".encode())
    assert own.run(fresh(bitmaps, own)) == expected(own)
    assert bitmaps._cache.used == used > 0


def test_nothing_is_kept_where_nothing_may_be(own: Built) -> None:
    """With cache_mb 0 the tables answer every request."""
    bitmaps_plain.build(own.connection)
    bitmaps = Bitmaps(BitmapSettings(cache_mb=0))
    own.run(fresh(bitmaps, own))
    assert bitmaps._cache.used == 0
    own.connection.execute("truncate workbench.tag_bitmaps")
    assert own.run(fresh(bitmaps, own)) == [([], 0)] * len(QUERIES)


@pytest.mark.parametrize(("knobs", "query"), [
    ({"enabled": False}, EVERYBODYS),
    ({"marks_max": 1}, EVERYBODYS),
    ({"filter_max": 3}, GalleryQuery(sort=Sort(SortField.TITLE))),
    ({"filter_max": 3}, GalleryQuery(search="cat")),
])  # fmt: skip
def test_what_cannot_be_answered_is_refused(knobs: dict[str, Any], query: GalleryQuery, own: Built) -> None:
    """A switch, too many marks and too many ids to hand on each raise BitmapsUnavailable with a hint."""
    bitmaps_plain.build(own.connection)
    change(own, 1)
    with pytest.raises(BitmapsUnavailable) as refused:
        own.run(ask(Bitmaps(BitmapSettings(**knobs)), own, query))
    assert refused.value.hint


def test_without_an_index_there_is_no_answer(own: Built) -> None:
    """Nothing serves, then nothing is there: both say what to run."""
    for statement in ("select 1", "drop table workbench.bitmap_state"):
        own.connection.execute(statement.encode())
        with pytest.raises(BitmapsUnavailable, match="40_build_tag_bitmaps"):
            own.run(ask(Bitmaps(BitmapSettings()), own, EVERYBODYS))


async def ask(bitmaps: Bitmaps, built: Built, query: GalleryQuery) -> int | None:
    async with another(built) as session:
        return (await bitmaps.page(session, query, total=True)).total
