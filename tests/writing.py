"""A migrated gallery to be written, on either side of its cut over: users, tags, items and the bitmap index."""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import uuid
from collections.abc import Coroutine, Iterator, Mapping
from contextlib import closing, contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from genonaut_lib.content.item_fields import fields_of, fields_of_new
from genonaut_lib.content.items import Editor, Item, Items, Key
from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.pool import Pool, open_pool
from genonaut_lib.migration import adoption, tag_stats
from genonaut_lib.migration.bitmap_build import build
from genonaut_lib.migration.phases import Context
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import ContentSource, tag_id
from tests.databases import database, settings_of
from tests.factories import Gallery
from tests.migration.application import in_arrays, in_junction
from tests.migration.test_phases import apply, apply_before

T = TypeVar("T")
NAMES = ("anime", "landscape", "science fiction", "sea", "red house")
LEAST: Mapping[str, Any] = {"title": "made", "content_type": "image", "prompt": "as it was written"}


@contextmanager
def before_cut_over(admin_url: str) -> Iterator[str]:
    """Build the database that the others are copies of, and yield its name; nobody stays connected to it."""
    with database(admin_url) as name:
        settings = settings_of(admin_url, name)
        with closing(engine.connect(settings)) as connection:
            adoption.adopt(connection, settings)
            _fill(Gallery(connection))
            apply_before(Context(connection, settings), "cut_over")
            connection.execute("insert into tag_aliases values ('sci-fi', %s)", [tag_id("science fiction")])
            tag_stats.refresh(connection)
            build(settings, least_share=0)
        yield name


@contextmanager
def copied(admin_url: str, model: str, *, cut_over: bool) -> Iterator[Settings]:
    """Yield the settings of a copy, cut over or not."""
    with database(admin_url, model) as name:
        settings = settings_of(admin_url, name)
        if cut_over:
            with closing(engine.connect(settings)) as connection:
                apply(Context(connection, settings), "cut_over")
        yield settings


def _fill(gallery: Gallery) -> None:
    for number, source in itertools.product(range(12), ContentSource):
        names = [name for place, name in enumerate(NAMES) if number % (place + 1) == 0]
        gallery.legacy_item(names, source, creator=gallery.user(("ada", "grace")[number % 2]))
    gallery.user("root")


@dataclass
class Writing:
    """A gallery with a pool of sessions to write it through, and a session to look at what was written."""

    settings: Settings
    connection: Connection
    pool: Pool
    runner: asyncio.Runner
    junction: bool

    @property
    def items(self) -> Items:
        return Items(self.pool, 10_000)

    def run(self, work: Coroutine[Any, Any, T]) -> T:
        return self.runner.run(work)

    def user(self, name: str) -> uuid.UUID:
        return Gallery(self.connection).user(name)

    def editor(self, name: str, *, is_admin: bool = False) -> Editor:
        return Editor(self.user(name), is_admin)

    def make(self, source: ContentSource = ContentSource.REGULAR, by: str = "ada", **fields: Any) -> Item:
        return self.run(self.items.create(source, fields_of_new({**LEAST, **fields}), self.user(by)))

    def change(self, key: Key, by: Editor | None = None, versions: list[str] | None = None, **fields: Any) -> Item:
        return self.run(self.items.change(key, fields_of(fields), by or self.editor("ada"), versions))

    def delete(self, key: Key, by: Editor | None = None, versions: list[str] | None = None) -> None:
        self.run(self.items.delete(key, by or self.editor("ada"), versions))

    def tags(self, key: Key) -> set[uuid.UUID]:
        """Return an item's tags by the junction, having seen that the array agrees as far as it should."""
        place = (key.source, key.id)
        in_array, found = in_arrays(self.connection)[place], in_junction(self.connection)[place]
        assert in_array == (frozenset() if self.junction else found)
        return set(found)

    def row(self, key: Key) -> tuple[Any, ...] | None:
        """Return which version of its row an item has."""
        found = "select xmin::text, ctid::text from content_items_all where source_type = %s and id = %s"
        return self.connection.execute(found, [key.source.partition, key.id]).fetchone()

    def count(self) -> tuple[Any, ...] | None:
        both = "select (select count(*) from content_items_all), (select count(*) from content_tags)"
        return self.connection.execute(both).fetchone()


@contextmanager
def opened(settings: Settings, *, junction: bool = False, sessions: int = 8) -> Iterator[Writing]:
    """Open a gallery for writing."""
    with closing(engine.connect(settings)) as connection, asyncio.Runner() as runner:
        stack = contextlib.AsyncExitStack()
        pool = runner.run(stack.enter_async_context(open_pool(settings, sessions=sessions)))
        try:
            yield Writing(settings, connection, pool, runner, junction)
        finally:
            runner.run(stack.aclose())
