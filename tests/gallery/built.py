"""A gallery with every trap in it: ties, equal ids in both sources, missing values, private items, stale arrays."""

from __future__ import annotations

import asyncio
import contextlib
import random
import uuid
from collections.abc import Coroutine, Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass, replace
from datetime import timedelta
from typing import Any, TypeVar

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.pool import AsyncConnection, open_session
from genonaut_lib.gallery.page import Page, read_page
from genonaut_lib.gallery.query import GalleryQuery, Group
from genonaut_lib.gallery.strategies import STRATEGIES
from genonaut_lib.migration import adoption, gallery_view
from genonaut_lib.migration.phases import PHASES, Context
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import ContentSource, tag_id
from tests.databases import database, settings_of
from tests.factories import FIRST_DAY, Gallery
from tests.gallery import oracle
from tests.gallery.oracle import Oracle
from tests.migration.test_phases import apply

Answer = TypeVar("Answer")

USERS = ("ada", "grace", "alan")
CHANCES = {"common": 0.8, "half": 0.5, "third": 0.33, "rare": 0.06} | {f"most::{no}": 0.95 for no in range(14)}
"""Tags carried by chance; so many are common that a filter of twenty still matches something."""
TAGS = tuple(tag_id(name) for name in (*CHANCES, "left", "right", "fifth", "tenth", "most"))
"""`left` and `right` never meet, `fifth` is carried wherever `tenth` is."""
UNKNOWN = (tag_id("nobody's"), uuid.UUID(int=1))
ITEMS = {ContentSource.REGULAR: 60, ContentSource.AUTO: 90}
DAYS = [FIRST_DAY + timedelta(hours=hour) for hour in range(7)]
QUALITIES = [None, None, 0.0, 0.25, 0.5, 0.5, 1.0, float("nan"), float("inf"), -1.5]
TITLES = ("cat", "Cat", "100% cat", "cat_dog", "élan", "Zebra", "a", "", "red house", "RED cat dog")
OTHER_TITLES = ("b", "cat ", "dog", "zzz", "Ä", "%", "caT")
WORDS = ("cat", "dog", "red", "blue", "house", "100%", "big_tree")


@dataclass
class Built:
    """A copy of that gallery with a session of either kind, and what the oracle read of it."""

    settings: Settings
    connection: Connection
    session: AsyncConnection
    runner: asyncio.Runner
    oracle: Oracle

    def run(self, work: Coroutine[Any, Any, Answer]) -> Answer:
        return self.runner.run(work)

    def page(self, query: GalleryQuery, strategy: str = "time_walk", ranked: tuple[Group, ...] | None = None) -> Page:
        return self.run(read_page(self.session, query, strategy, ranked))

    def pages(self, query: GalleryQuery) -> dict[str, Page]:
        """Return the page by every strategy that the query allows."""
        return {name: self.page(query, name) for name, found in STRATEGIES.items() if query.stale or not found.stale}

    def user(self, name: str) -> uuid.UUID:
        return Gallery(self.connection).user(name)

    def look_again(self) -> Oracle:
        """Read the gallery anew, after it was changed."""
        self.oracle = oracle.read(self.connection, OTHER_TITLES)
        return self.oracle

    def tag(self, source: ContentSource, item: int, *tags: uuid.UUID) -> None:
        """Give an item these tags and no others, in the junction."""
        key = [item, source.junction]
        self.connection.execute("delete from content_tags where content_id = %s and content_source = %s", key)
        self.connection.execute("insert into content_tags select %s, %s, unnest(%s::uuid[])", [*key, list(tags)])


@dataclass
class Template:
    """The database that is copied; nobody is connected to it, or it could not be."""

    admin_url: str
    name: str

    @contextmanager
    def copy(self) -> Iterator[Built]:
        """Yield a copy of the gallery; it is dropped afterwards."""
        with database(self.admin_url, self.name) as name, opened(settings_of(self.admin_url, name)) as built:
            yield built


@contextmanager
def template(admin_url: str) -> Iterator[Template]:
    """Build the gallery, migrate it and fill its view."""
    with database(admin_url) as name:
        settings = settings_of(admin_url, name)
        with closing(engine.connect(settings)) as connection:
            adoption.adopt(connection, settings)
            fill(Gallery(connection))
            for phase in PHASES:
                apply(Context(connection, settings), phase)
            make_arrays_stale(connection)
            gallery_view.create(connection, settings.database)
            gallery_view.refresh(connection, settings.database)
        yield Template(admin_url, name)


@contextmanager
def opened(settings: Settings) -> Iterator[Built]:
    """Open both sessions on a gallery that is there."""
    with closing(engine.connect(settings)) as connection, asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        session = runner.run(stack.enter_async_context(open_session(settings)))
        try:
            yield Built(settings, connection, session, runner, oracle.read(connection, OTHER_TITLES))
        finally:
            runner.run(stack.aclose())


def fill(gallery: Gallery) -> None:
    """Write the items in their legacy shape."""
    dice = random.Random(11)
    for source, items in ITEMS.items():
        for number in range(items):
            gallery.legacy_item(
                names_of(number, dice),
                source,
                creator=gallery.user(dice.choice(USERS)),
                is_private=dice.random() < 0.2,
                created_at=dice.choice(DAYS),
                updated_at=dice.choice(DAYS[:3]) + timedelta(microseconds=dice.randrange(2)),
                quality_score=dice.choice(QUALITIES),
                title=dice.choice(TITLES),
                prompt=" ".join(dice.choices(WORDS, k=dice.randrange(5))),
            )


def names_of(number: int, dice: random.Random) -> list[str]:
    drawn = [name for name, chance in CHANCES.items() if dice.random() < chance]
    fixed = ["left" if number % 2 else "right"] + ["fifth"] * (number % 5 == 0) + ["tenth"] * (number % 10 == 0)
    return [] if number % 20 == 19 else drawn + fixed


def make_arrays_stale(connection: Connection) -> None:
    """Retag some items by the junction alone, as the application does after the cut over."""
    gone = "delete from content_tags where content_id in (3, 7, 11) and tag_id = any (%s)"
    connection.execute(gone, [list(TAGS[:2])])
    new = "insert into content_tags select id, source, %s from (values (3), (20)) i (id), (values ('auto')) s (source)"
    connection.execute(f"{new} on conflict do nothing".encode(), [tag_id("rare")])


def next_of(query: GalleryQuery, page: Page) -> GalleryQuery | None:
    """Return the query of the page after this one."""
    position = page.next_position
    return None if position is None else replace(query, after=position, before=None, page=1)


def previous_of(query: GalleryQuery, page: Page) -> GalleryQuery | None:
    """Return the query of the page before this one."""
    position = page.previous_position
    return None if position is None else replace(query, after=None, before=position, page=1)
