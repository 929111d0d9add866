"""A gallery with a tag bitmap index, as a service reads it."""

from __future__ import annotations

import contextlib
from collections.abc import Iterator
from dataclasses import dataclass

from genonaut_lib.gallery.answer import Answer
from genonaut_lib.gallery.counts import CountMode
from genonaut_lib.gallery.gallery import Gallery as Service
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.migration import tag_stats
from genonaut_lib.migration.bitmap_build import build
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import ContentSource
from tests.factories import FIRST_DAY, Gallery
from tests.gallery.built import TAGS, Built

LEAST_SHARE = 0.3
"""Tags that a smaller share of the items carries have no bitmaps here."""


@dataclass
class Served:
    """A copy of the gallery, and the service that reads it over a pool of its own."""

    built: Built
    gallery: Service

    def page(self, query: GalleryQuery, count: CountMode = CountMode.NONE, strategy: str | None = None) -> Answer:
        return self.built.run(self.gallery.page(query, count, strategy))


def with_knobs(settings: Settings, section: str, **knobs: object) -> Settings:
    """Return the settings with other knobs in one section."""
    return settings.model_copy(update={section: getattr(settings, section).model_copy(update=knobs)})


def change_some(built: Built) -> None:
    """Retag, add, hide and delete items of both sources after the index was built."""
    gallery = Gallery(built.connection)
    for source in ContentSource:
        built.tag(source, 5, *TAGS[:3])
        built.tag(source, 8)
        newest = gallery.item([], source, creator=gallery.user("grace"), created_at=FIRST_DAY.replace(year=2031))
        built.tag(source, newest, TAGS[0], TAGS[1])
        built.connection.execute("delete from content_tags where content_id = 12", [])
        built.connection.execute(f"delete from {source.table} where id = 12".encode())
        built.connection.execute(f"update {source.table} set is_private = not is_private where id < 4".encode())


@contextlib.contextmanager
def served(built: Built, settings: Settings | None = None) -> Iterator[Served]:
    """Open a service on a gallery that is there."""
    stack = contextlib.AsyncExitStack()
    opening = Service.opened(settings or built.settings, sessions=2)
    gallery = built.run(stack.enter_async_context(opening))
    try:
        yield Served(built, gallery)
    finally:
        built.run(stack.aclose())


@contextlib.contextmanager
def served_with_bitmaps(built: Built, settings: Settings | None = None) -> Iterator[Served]:
    """Build the index, change some items, make statistics, and open a service."""
    build(built.settings, least_share=LEAST_SHARE)
    change_some(built)
    tag_stats.refresh(built.connection)
    built.look_again()
    with served(built, settings) as found:
        yield found
