"""The materialised view: made once, refreshed while it is read, dated, and never older than privacy allows."""

from __future__ import annotations

from datetime import datetime

import pytest
from psycopg import sql

from genonaut_lib.db import engine
from genonaut_lib.errors import CheckFailed
from genonaut_lib.gallery import view
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.migration import gallery_view
from genonaut_lib.vocabulary import ContentSource
from tests.factories import Gallery
from tests.gallery.built import TAGS, Built

AUTO = ContentSource.AUTO


def seen(own: Built) -> list[str]:
    return own.page(GalleryQuery(TAGS[:1], page_size=1000, stale=True), "materialized_view").keys


def now(own: Built) -> datetime:
    return own.connection.execute("select clock_timestamp()").fetchone()[0]


def refresh(own: Built) -> datetime:
    return gallery_view.refresh(own.connection, own.settings.database)


def test_a_refresh_shows_what_was_tagged_since(own: Built) -> None:
    """Before it the view shows what it knew; afterwards what there is."""
    item = Gallery(own.connection).item([], AUTO)
    own.tag(AUTO, item, TAGS[0])
    assert f"auto/{item}" not in seen(own)
    refresh(own)
    assert f"auto/{item}" in seen(own)


@pytest.mark.parametrize("change", ["update {} set is_private = true", "delete from {}"])
def test_what_was_made_private_or_deleted_since_is_not_shown(change: str, own: Built) -> None:
    """An old answer may miss an item, never show one that is to be seen no more."""
    before = seen(own)
    for source in ContentSource:
        own.connection.execute(sql.SQL(change).format(sql.Identifier(source.table)))
    assert before
    assert seen(own) == []


def test_what_was_given_an_excluded_tag_since_is_not_shown(own: Built) -> None:
    """Exclusion is as fresh as privacy: people exclude what they do not want to see at all."""
    query = GalleryQuery(TAGS[:1], page_size=1000, stale=True, exclude=TAGS[3:4])
    (first, *rest) = own.page(query, "materialized_view").keys
    source, item = first.split("/")
    own.tag(ContentSource.from_junction(source), int(item), TAGS[0], TAGS[3])
    assert own.page(query, "materialized_view").keys == rest


def test_readers_go_on_during_a_refresh(own: Built) -> None:
    """A reader whose transaction is still open does not hold it up, nor is held up."""
    with engine.connect(own.settings) as reader, reader.transaction():
        question = "select count(*) from unified_content_with_tags"
        before = reader.execute(question).fetchone()
        refresh(own)
        assert reader.execute(question).fetchone() == before


def test_the_date_of_a_refresh_is_known_to_readers_and_writers(own: Built) -> None:
    """What was written before that moment is in the view."""
    before = now(own)
    moment = refresh(own)
    assert before <= moment <= now(own)
    assert own.run(view.refreshed_at(own.session)) == moment


def test_a_new_view_is_not_ready_until_it_was_filled(own: Built) -> None:
    """Empty is not the same as nothing found."""
    connection, settings = own.connection, own.settings.database
    states = [gallery_view.is_ready(connection)]
    gallery_view.drop(connection, settings)
    states.append(gallery_view.is_ready(connection))
    gallery_view.create(connection, settings)
    gallery_view.create(connection, settings)
    states.append(gallery_view.is_ready(connection))
    assert own.run(view.refreshed_at(own.session)) is None
    refresh(own)
    assert [*states, gallery_view.is_ready(connection)] == [True, False, False, True]


def test_a_view_of_the_owners_is_left_alone(own: Built) -> None:
    """Something else by that name is neither read, refreshed nor dropped."""
    gallery_view.drop(own.connection, own.settings.database)
    own.connection.execute("create view unified_content_with_tags as select 1 as mine")
    for work in (gallery_view.create, gallery_view.refresh, gallery_view.drop):
        with pytest.raises(CheckFailed, match="not made by the workbench"):
            work(own.connection, own.settings.database)
    assert not gallery_view.is_ready(own.connection)
    assert own.run(view.refreshed_at(own.session)) is None
    assert own.connection.execute("select mine from unified_content_with_tags").fetchone() == (1,)


def test_a_refresh_without_a_view_says_what_to_do(own: Built) -> None:
    """The next step stands in the error."""
    gallery_view.drop(own.connection, own.settings.database)
    with pytest.raises(CheckFailed, match=r"gallery_view\.create"):
        refresh(own)


def test_who_reads_the_content_may_read_the_view(own: Built) -> None:
    """A reader with a role of its own does not stand before a closed door."""
    own.connection.execute("create role gallery_reader")
    try:
        for source in ContentSource:
            own.connection.execute(f"grant select on {source.table} to gallery_reader".encode())
        gallery_view.drop(own.connection, own.settings.database)
        gallery_view.create(own.connection, own.settings.database)
        question = "select has_table_privilege('gallery_reader', 'unified_content_with_tags', 'select')"
        assert own.connection.execute(question).fetchone() == (True,)
    finally:
        own.connection.execute("drop owned by gallery_reader")
        own.connection.execute("drop role gallery_reader")
