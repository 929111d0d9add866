"""The bitmap index as it is read, against the oracle: pages, totals and facets, whatever is sealed, marked or kept.

`FUZZ_QUERIES` says how many random queries are asked in all, `FUZZ_SEED` which ones.
"""

from __future__ import annotations

import contextlib
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Callable, Iterator
from dataclasses import dataclass, field, replace
from typing import Any

import pytest

from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.gallery.bitmaps.reader import Bitmaps
from genonaut_lib.gallery.order import NEWEST, OLDEST
from genonaut_lib.gallery.page import Page
from genonaut_lib.gallery.query import MINE, GalleryQuery
from genonaut_lib.settings import BitmapSettings
from genonaut_lib.vocabulary import ContentSource
from tests import bitmaps_plain
from tests.factories import FIRST_DAY, Gallery
from tests.gallery import oracle
from tests.gallery.built import ITEMS, TAGS, Built, Template, next_of, previous_of
from tests.gallery.test_conformance import QUERIES, SHARDS, fuzzed, must_show, shown, sides

SNAPSHOT = b"begin isolation level repeatable read, read only"
LEAST_SHARE = 0.4
"""Tags of a lesser share have no bitmaps here, so that some of most filters' are answered by the junction."""
LEAST_ITEMS = int(LEAST_SHARE * sum(ITEMS.values()))
CROWD = 40_000


def bitmaps_of(cache_mb: int = 256) -> Bitmaps:
    return Bitmaps(BitmapSettings(cache_mb=cache_mb, least_share=LEAST_SHARE, filter_max=CROWD * 2))


@dataclass
class Readers:
    """A gallery with an index, and two ways to read it: with memory between requests, and without."""

    built: Built
    kept: Bitmaps = field(default_factory=bitmaps_of)
    bare: Bitmaps = field(default_factory=lambda: bitmaps_of(0))

    @property
    def both(self) -> tuple[Bitmaps, Bitmaps]:
        return self.kept, self.bare

    async def answer(self, bitmaps: Bitmaps, query: GalleryQuery) -> tuple[Any, ...]:
        """Return page, total, and the total by itself, of one snapshot."""
        async with snapshot(self.built.session) as session:
            reading = await bitmaps.page(session, query, total=True)
            alone = await bitmaps.page(session, query, total=False)
            assert shown(alone.page) == shown(reading.page)
            assert alone.total is None
            return reading.page, reading.total, await bitmaps.total(session, query)

    async def page(self, query: GalleryQuery) -> Page:
        async with snapshot(self.built.session) as session:
            return (await self.kept.page(session, query, total=False)).page

    async def facets(self, bitmaps: Bitmaps, query: GalleryQuery, top: int) -> list[tuple[str, int]]:
        async with snapshot(self.built.session) as session:
            return [(found.name, found.count) for found in await bitmaps.facets(session, query, top)]

    def check(self, query: GalleryQuery) -> None:
        """Compare what both readers say with the oracle."""
        expected, total = self.built.oracle.page(query), sum(self.built.oracle.counts(query).values())
        for bitmaps in self.both:
            page, counted, alone = self.built.run(self.answer(bitmaps, query))
            assert shown(page) == must_show(expected)
            assert (page.has_previous, page.has_next) == sides(query, expected)
            assert counted == alone == total

    def check_facets(self, query: GalleryQuery, top: int) -> None:
        expected = facets_of(self.built, query)[:top]
        for bitmaps in self.both:
            assert self.built.run(self.facets(bitmaps, query, top)) == expected


@contextlib.asynccontextmanager
async def snapshot(session: AsyncConnection) -> AsyncIterator[AsyncConnection]:
    """Open a transaction as a request has it."""
    await session.execute(SNAPSHOT)
    try:
        yield session
    finally:
        await session.execute("rollback")


def facets_of(built: Built, query: GalleryQuery) -> list[tuple[str, int]]:
    """Return the names of all tags of the matching rows and how many carry them, in order."""
    names = dict(built.connection.execute("select id, name from tags").fetchall())
    counts = Counter(names[tag] for row in built.oracle.rows if oracle.wanted(row, query) for tag in set(row.tags))
    return sorted(counts.items(), key=lambda one: (-one[1], one[0]))


def change_some(built: Built) -> None:
    """Change, add, move and delete items of both sources, as an application does."""
    gallery, execute = Gallery(built.connection), built.connection.execute
    for source in ContentSource:
        built.tag(source, 5, *TAGS[:3])
        built.tag(source, 8)
        added = gallery.item([], source, creator=gallery.user("ada"), created_at=FIRST_DAY)
        newest = gallery.item([], source, creator=gallery.user("grace"), created_at=FIRST_DAY.replace(year=2031))
        built.tag(source, added, TAGS[0], TAGS[3])
        built.tag(source, newest, TAGS[0], TAGS[1])
        execute("delete from content_tags where content_id = 12 and content_source = %s", [source.junction])
        execute(f"delete from {source.table} where id = 12".encode())
        execute(f"update {source.table} set is_private = not is_private where id in (14, 15, 16)".encode())
        execute(f"update {source.table} set creator_id = %s where id = 17".encode(), [gallery.user("alan")])
        execute(f"update {source.table} set created_at = created_at + interval '90 minutes' where id < 3".encode())
    built.look_again()


@pytest.fixture(scope="module", params=["sealed", "marked"])
def readers(request: pytest.FixtureRequest, template: Template) -> Iterator[Readers]:
    """A gallery whose index is up to date, or has marks of every kind."""
    with template.copy() as built:
        bitmaps_plain.build(built.connection, LEAST_ITEMS)
        if request.param == "marked":
            change_some(built)
        yield Readers(built)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("shard", range(SHARDS))
def test_bitmaps_show_and_count_what_the_oracle_does(shard: int, readers: Readers) -> None:
    """Rows, order, tags, neighbours and totals of random queries, with memory and without."""
    fuzzed(readers.built, shard, QUERIES // 2, readers.check)


@pytest.mark.timeout(3600)
@pytest.mark.parametrize("top", [1, 3, 12, 50])
def test_bitmaps_count_facets_as_the_oracle_does(top: int, readers: Readers) -> None:
    """Tags and counts in order, of random queries, those without bitmaps included."""
    fuzzed(readers.built, top, QUERIES * 2, lambda query: readers.check_facets(query, top))


@pytest.mark.parametrize("tags", [(), TAGS[:1], TAGS[:2]], ids=["everything", "common", "either"])
def test_facets_of_more_items_than_may_be_looked_at_are_counted_on_the_server(
    tags: tuple[uuid.UUID, ...], readers: Readers
) -> None:
    """Without memory and over filter_max the server ANDs the bits, and finds the same highest count."""
    query = GalleryQuery(tags)
    assert sum(readers.built.oracle.counts(query).values()) > 40
    tight = Bitmaps(BitmapSettings(cache_mb=0, least_share=LEAST_SHARE, filter_max=40))
    assert readers.built.run(readers.facets(tight, query, 1)) == facets_of(readers.built, query)[:1]


@pytest.fixture(scope="module")
def crowd(template: Template) -> Iterator[Readers]:
    """A gallery of several chunks, with ties, private items and several creators, and marks of every kind."""
    with template.copy() as built:
        bitmaps_plain.generate(built.connection, CROWD)
        crowded(built)
        bitmaps_plain.build(built.connection, CROWD // 10)
        change_some(built)
        yield Readers(built)


def crowded(built: Built) -> None:
    """Make the generated items differ in what they were all alike in."""
    users = [built.user(name) for name in ("ada", "grace", "alan")]
    built.connection.execute(
        "update content_items_all set is_private = id %% 7 = 0, creator_id = (%s::uuid[])[id %% 3 + 1],"
        " created_at = date_trunc('minute', created_at) where id > 100",
        [users],
    )


@pytest.mark.timeout(3600)
def test_bitmaps_show_what_the_oracle_does_over_several_chunks(crowd: Readers) -> None:
    """Random queries of some forty thousand items in three chunks."""
    fuzzed(crowd.built, 0, QUERIES // 4, crowd.check)


@pytest.mark.timeout(3600)
def test_walks_over_several_chunks_show_each_item_once_both_ways(crowd: Readers) -> None:
    """Pages of a hundred from one end to the other and back, by the cursors that each page gives."""
    viewer = crowd.built.user("ada")
    for sort in (NEWEST, OLDEST):
        query = GalleryQuery(tags=(TAGS[0],), viewer=viewer, scope=MINE, page_size=100, sort=sort)
        there = walked(crowd, query, next_of)
        assert [key for page in there for key in page.keys] == [row.key for row in crowd.built.oracle.found(query)]
        last = replace(query, before=there[-1].previous_position)
        back = walked(crowd, last, previous_of)[::-1]
        assert [page.keys for page in back] == [page.keys for page in there[:-1]]


def walked(readers: Readers, query: GalleryQuery | None, turn: Callable[..., GalleryQuery | None]) -> list[Page]:
    pages = []
    while query is not None:
        pages.append(readers.built.run(readers.page(query)))
        query = turn(query, pages[-1])
    return pages


@pytest.mark.parametrize("place", range(0, 155, 7))
def test_a_position_whose_item_is_gone_keeps_its_place(place: int, own: Built) -> None:
    """A page continues where a deleted, a moved or a retagged item stood, whether or not that is sealed yet."""
    bitmaps_plain.build(own.connection)
    row = own.oracle.found(GalleryQuery())[place % len(own.oracle.found(GalleryQuery()))]
    position = row.position(NEWEST.field)
    readers = Readers(own)
    table = ContentSource.from_junction(row.source).table
    for change in ("update {} set created_at = created_at + interval '1 year'", "delete from {}"):
        own.connection.execute(f"{change.format(table)} where id = {row.id}".encode())
        own.look_again()
        for _ in range(2):
            for ways in ({"after": position}, {"before": position}):
                for sort in (NEWEST, OLDEST):
                    readers.check(GalleryQuery(page_size=9, sort=sort, **ways))
            bitmaps_plain.build(own.connection)
