"""Galleries with a sealed index, readers with memories of their own, and what every answer of theirs must be."""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import random
import threading
import uuid
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping
from dataclasses import dataclass, replace
from typing import Any, Protocol

import psycopg
import pytest
from psycopg import conninfo
from pydantic import SecretStr

from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.gallery.bitmaps.reader import Bitmaps
from genonaut_lib.gallery.clauses import shape_of, values_of
from genonaut_lib.gallery.facets import exact_text, unpaged
from genonaut_lib.gallery.order import OLDEST
from genonaut_lib.gallery.page import read_page
from genonaut_lib.gallery.query import Creators, GalleryQuery, Scope, TagMatch
from genonaut_lib.gallery.query import Position as Place
from genonaut_lib.gallery.statement import count_text
from genonaut_lib.migration import bitmap_build
from genonaut_lib.settings import BitmapSettings, Settings
from genonaut_lib.vocabulary import ContentSource
from tests.databases import database, settings_of
from tests.gallery.built import TAGS, Built, Template
from tests.gallery.oracle import Oracle, Row
from tests.gallery.queries import ANONYMOUS_SCOPES, SCOPES
from tests.gallery.stirring import DATES, STIRRED_TAGS
from tests.gallery.test_conformance import must_show, shown, sides

KNOBS = BitmapSettings().model_copy(update={"filter_max": 1_000_000, "marks_max": 1_000_000})
"""Nothing is refused for its size."""
SMALL = KNOBS.model_copy(update={"cache_mb": 0})
TOP = 1_000
"""More facets than there are tags."""


@contextlib.contextmanager
def template(plain: Template) -> Iterator[Template]:
    """Build the index in a copy of the gallery, to be copied with it."""
    with database(plain.admin_url, plain.name) as name:
        bitmap_build.build(impatient(settings_of(plain.admin_url, name)), workers=1, least_share=0)
        yield Template(plain.admin_url, name)


def impatient(settings: Settings) -> Settings:
    """Return the settings with an address whose sessions wait for a lock only briefly: who holds it may be us."""
    assert settings.database_url is not None
    address = conninfo.make_conninfo(settings.database_url.get_secret_value(), options="-c lock_timeout=400ms")
    return settings.model_copy(update={"database_url": SecretStr(address)})


@dataclass(frozen=True)
class Answer:
    """All that is compared of the answer to one query: rows, whether there are others, total, and facets if asked."""

    rows: list[Any]
    sides: tuple[bool, bool]
    total: int
    facets: list[tuple[uuid.UUID, str, int]] | None


class View(Protocol):
    """One snapshot: a session that reads in it, and what the tables say in it."""

    @property
    def session(self) -> AsyncConnection: ...

    async def answer(self, query: GalleryQuery, *, facets: bool) -> Answer: ...


@dataclass(frozen=True)
class Seen:
    """A snapshot of which the oracle has read everything; `names` are those of the tags."""

    session: AsyncConnection
    oracle: Oracle
    names: Mapping[uuid.UUID, str]

    async def answer(self, query: GalleryQuery, *, facets: bool) -> Answer:
        expected, total = self.oracle.page(query), len(self.oracle.found(query))
        return Answer(must_show(expected), sides(query, expected), total, self.facets(query) if facets else None)

    def facets(self, query: GalleryQuery) -> list[tuple[uuid.UUID, str, int]]:
        carried = Counter(tag for row in self.oracle.found(query) for tag in row.tags)
        found = [(tag, self.names[tag], number) for tag, number in carried.items()]
        return sorted(found, key=lambda one: (-one[2], one[1]))


@dataclass(frozen=True)
class Plain:
    """A snapshot of more than an oracle could read at every step: the plain statements say what is in it."""

    session: AsyncConnection

    async def answer(self, query: GalleryQuery, *, facets: bool) -> Answer:
        page = await read_page(self.session, query)
        found = (page.has_previous, page.has_next)
        return Answer(shown(page), found, await self.total(query), await self.facets(query) if facets else None)

    async def total(self, query: GalleryQuery) -> int:
        if not query.sources:
            return 0
        cursor = await self.session.execute(count_text(shape_of(query), "self_join"), values_of(query))
        return sum(number for _, number in await cursor.fetchall())

    async def facets(self, query: GalleryQuery) -> list[tuple[uuid.UUID, str, int]]:
        if not query.sources:
            return []
        whole = unpaged(query)
        cursor = await self.session.execute(exact_text(shape_of(whole), "self_join"), values_of(whole) | {"top": TOP})
        return [(tag, name, number) for tag, name, number in await cursor.fetchall()]


def seen(gallery: Built, session: AsyncConnection) -> Seen:
    """Return what the gallery is now, for a session whose snapshot is to be taken now."""
    names = dict(gallery.connection.execute("select id, name from tags").fetchall())
    return Seen(session, gallery.look_again(), names)


@contextlib.asynccontextmanager
async def snapshot(session: AsyncConnection) -> AsyncIterator[None]:
    """Read in one snapshot, taken now, as the service does."""
    async with session.transaction():
        await session.execute("set transaction isolation level repeatable read, read only")
        await session.execute("select 1")
        yield


async def answer(bitmaps: Bitmaps, session: AsyncConnection, query: GalleryQuery, *, facets: bool) -> Answer:
    """Ask the index."""
    reading = await bitmaps.page(session, query, total=True)
    assert reading.total == await bitmaps.total(session, query), query
    found = await bitmaps.facets(session, query, TOP) if facets else None
    counts = None if found is None else [(one.tag_id, one.name, one.count) for one in found]
    return Answer(shown(reading.page), (reading.page.has_previous, reading.page.has_next), reading.total, counts)


async def compare(bitmaps: Bitmaps, view: View, query: GalleryQuery, *, facets: bool = True) -> None:
    """Ask the index for page, total and facets; each must be what the tables say."""
    expected = await view.answer(query, facets=facets)
    found = await answer(bitmaps, view.session, query, facets=facets)
    assert found == expected, difference(found, expected, query)


def difference(found: Answer, expected: Answer, query: GalleryQuery) -> str:
    """Say in a few lines how an answer is wrong."""
    told = [f"{name}: {getattr(found, name)}, must be {getattr(expected, name)}" for name in ("sides", "total")]
    lines = [f"{query}", *told]
    for name in ("rows", "facets"):
        wrong, right = getattr(found, name) or [], getattr(expected, name) or []
        lines += [f"{name}: {len(wrong)}, must be {len(right)}"]
        lines += [f"  not {one}" for one in wrong if one not in right][:5]
        lines += [f"  but {one}" for one in right if one not in wrong][:5]
    return "\n".join(lines)


async def audit(bitmaps: Bitmaps, view: Seen, *, thorough: bool = False) -> None:
    """Compare all the index knows of any item: its place, source, viewers, creator and tags.

    Unless `thorough`, only numbers tell of the tags (they are the facets of everything) and of creators.
    """
    whole = GalleryQuery(page_size=1_000)
    await compare(bitmaps, view, whole)
    # One page with everything would be sorted rightly wherever items are sealed.
    for page in (GalleryQuery(page_size=5), GalleryQuery(page_size=9, page=5), GalleryQuery(page_size=7, sort=OLDEST)):
        await compare(bitmaps, view, page, facets=False)
    users = sorted({row.creator_id for row in view.oracle.rows})
    scopes = [Scope(whose, whose) for whose in (Creators.MINE, Creators.COMMUNITY)]
    viewed = [replace(whole, viewer=user, scope=scope) for user in users for scope in scopes]
    for query in viewed:
        assert await bitmaps.total(view.session, query) == len(view.oracle.found(query)), query
    for query in (*viewed, *(replace(whole, tags=(tag,)) for tag in STIRRED_TAGS)) if thorough else ():
        await compare(bitmaps, view, query)


def asked(dice: random.Random, rows: list[Row]) -> GalleryQuery:
    """Return a random query of the kind the index is for: by date, both ways, from anywhere."""
    viewer = dice.choice([None, *sorted({row.creator_id for row in rows}), uuid.UUID(int=9)])
    return GalleryQuery(
        tags=tuple(dice.sample(STIRRED_TAGS, dice.choice((0, 1, 1, 2, 2, 3, 14)))), match=dice.choice(list(TagMatch)),
        exclude=tuple(dice.sample(STIRRED_TAGS, dice.choice((0, 0, 1, 2)))), viewer=viewer,
        families=tuple(tuple(dice.sample(TAGS, dice.randrange(4))) for _ in range(dice.choice((0, 0, 1, 2)))),
        scope=dice.choice(ANONYMOUS_SCOPES if viewer is None else SCOPES),
        sort=replace(GalleryQuery().sort, descending=dice.random() < 0.6),
        page_size=dice.choice((1, 2, 7, 25, 1_000)), **anywhere(dice, rows),
    )  # fmt: skip


def anywhere(dice: random.Random, rows: list[Row]) -> dict[str, Place | int]:
    """Return where a page lies: at the start, at a number, after or before an item or a place between two."""
    kind = dice.choice(("page", "page", "after", "before"))
    if kind == "page":
        return {"page": dice.choice((1, 1, 2, 5))}
    between = Place(dice.choice(DATES), dice.choice(list(ContentSource)), dice.randrange(-1, 1_100))
    return {kind: dice.choice(rows).position(GalleryQuery().sort.field) if rows and dice.random() < 0.6 else between}


@contextlib.contextmanager
def between_statements(act: Callable[[int], None]) -> Iterator[None]:
    """Call `act` with a number, from 0, before each statement that a synchronous session sends, except `act`'s own."""
    local, numbers = threading.local(), itertools.count()

    def led(function: Callable[..., Any]) -> Callable[..., Any]:
        def interrupted(*values: Any, **options: Any) -> Any:
            if not getattr(local, "acts", False):
                local.acts = True
                try:
                    act(next(numbers))
                finally:
                    local.acts = False
            return function(*values, **options)

        return interrupted

    with pytest.MonkeyPatch.context() as patch:
        for name in ("execute", "executemany", "copy"):
            patch.setattr(psycopg.Cursor, name, led(getattr(psycopg.Cursor, name)))
        yield


@contextlib.contextmanager
def between_reads(act: Callable[[int], Awaitable[None]]) -> Iterator[None]:
    """Call `act` with a number, from 0, before each statement of an asynchronous session, except `act`'s own."""
    acts, numbers = contextvars.ContextVar("acts", default=False), itertools.count()
    execute = psycopg.AsyncCursor.execute

    async def interrupted(*values: Any, **options: Any) -> Any:
        if not acts.get():
            token = acts.set(True)
            try:
                await act(next(numbers))
            finally:
                acts.reset(token)
        return await execute(*values, **options)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(psycopg.AsyncCursor, "execute", interrupted)
        yield
