"""What a page promises, one promise at a time, in a gallery of a few items."""

from __future__ import annotations

import uuid
from dataclasses import replace

import psycopg
import pytest

from genonaut_lib.errors import InvalidInput, ViewMissing
from genonaut_lib.gallery.page import Page
from genonaut_lib.gallery.query import EVERYTHING, MINE, NOTHING, Creators, GalleryQuery, Scope, TagMatch
from genonaut_lib.gallery.strategies import STRATEGIES
from genonaut_lib.migration import gallery_view
from genonaut_lib.vocabulary import ContentSource
from tests.factories import FIRST_DAY, Gallery
from tests.gallery.built import TAGS, Built

REGULAR, AUTO = ContentSource.REGULAR, ContentSource.AUTO
COMMUNITY = Scope(Creators.COMMUNITY, Creators.COMMUNITY)


@pytest.fixture
def bare(own: Built) -> Built:
    """A migrated gallery without items."""
    for source in ContentSource:
        own.connection.execute(f"delete from {source.table}".encode())
    return own


def add(bare: Built, *tags: uuid.UUID, source: ContentSource = REGULAR, **columns: object) -> int:
    """Insert an item with tags in the junction, and bring the view up to date."""
    item = Gallery(bare.connection).item([], source, **columns)
    bare.tag(source, item, *tags)
    return item


def refreshed(bare: Built) -> Built:
    gallery_view.refresh(bare.connection, bare.settings.database)
    return bare


def everyway(bare: Built, query: GalleryQuery) -> set[tuple[str, ...]]:
    """Return the different pages that the strategies show; one, if they agree."""
    return {tuple(page.keys) for page in bare.pages(replace(query, stale=True)).values()}


def test_an_empty_gallery_is_an_empty_page(bare: Built) -> None:
    """No row, and no position to go on from or back to."""
    assert bare.page(GalleryQuery()) == Page()


def test_nobodys_items_are_an_empty_page_and_no_question(bare: Built) -> None:
    """The database is not asked: not even a session is needed."""
    bare.run(bare.session.close())
    assert bare.page(GalleryQuery(scope=NOTHING)) == Page()
    with pytest.raises(psycopg.OperationalError):
        bare.page(GalleryQuery())


def test_the_last_full_page_has_no_next_position(bare: Built) -> None:
    """A page that ends with the last row knows it."""
    for _ in range(4):
        add(bare)
    first = bare.page(GalleryQuery(page_size=2))
    second = bare.page(GalleryQuery(page_size=2, after=first.next_position))
    assert (len(first.rows), first.has_next, first.has_previous) == (2, True, False)
    assert (len(second.rows), second.has_next, second.has_previous) == (2, False, True)


def test_a_gallery_of_one_date_is_ordered_by_source_and_id(bare: Built) -> None:
    """Where every created_at is equal, these two alone carry the order, in the direction of the sort."""
    for source in ContentSource:
        for number in (1, 2, 3):
            add(bare, source=source, id=number, created_at=FIRST_DAY)
    expected = ["regular/3", "regular/2", "regular/1", "auto/3", "auto/2", "auto/1"]
    assert bare.page(GalleryQuery()).keys == expected


def test_all_match_ignores_the_same_id_in_the_other_source(bare: Built) -> None:
    """Item 1 of one source does not lend its tags to item 1 of the other, in no strategy."""
    one, other = TAGS[:2]
    add(bare, one, source=REGULAR, id=1)
    add(bare, other, source=AUTO, id=1)
    refreshed(bare)
    assert everyway(bare, GalleryQuery((one, other), TagMatch.ALL)) == {()}
    assert everyway(bare, GalleryQuery((other,))) == {("auto/1",)}
    assert everyway(bare, GalleryQuery((one, other), exclude=(one,))) == {("auto/1",)}


def test_a_family_named_beside_its_only_tag_is_one_condition(bare: Built) -> None:
    """A tag without descendants is a family of one; counting it twice would find nothing."""
    add(bare, TAGS[0], id=1)
    refreshed(bare)
    query = GalleryQuery(TAGS[:1], TagMatch.ALL, families=(TAGS[:1],))
    assert everyway(bare, query) == {("regular/1",)}


def test_a_private_item_is_its_creators_alone(bare: Built) -> None:
    """Neither a stranger nor nobody sees it, in whatever scope and by whatever strategy."""
    ada, grace = bare.user("ada"), bare.user("grace")
    add(bare, TAGS[0], id=1, creator=ada, is_private=True)
    refreshed(bare)
    for scope in (EVERYTHING, MINE):
        assert everyway(bare, GalleryQuery(TAGS[:1], viewer=ada, scope=scope)) == {("regular/1",)}
    for viewer, scope in ((None, EVERYTHING), (grace, EVERYTHING), (grace, COMMUNITY), (grace, MINE)):
        assert everyway(bare, GalleryQuery(TAGS[:1], viewer=viewer, scope=scope)) == {()}


def test_a_page_carries_what_a_reader_shows(bare: Built) -> None:
    """Title, creator's name and metadata arrive as they were written, and the tags by the junction, sorted."""
    add(bare, TAGS[1], TAGS[0], title="100% 'cat'", creator=bare.user("ada"))
    (row,) = bare.page(GalleryQuery()).rows
    found = {name: row[name] for name in ("title", "creator_username", "source_type", "tags", "prompt")}
    assert found == {
        "title": "100% 'cat'", "creator_username": "ada", "source_type": "items", "tags": sorted(TAGS[:2]),
        "prompt": "a prompt",
    }  # fmt: skip


def test_all_strategies_show_the_same_columns(bare: Built) -> None:
    """A page does not tell which way it was read."""
    add(bare, TAGS[0], title="one", quality_score=0.5)
    refreshed(bare)
    rows = [page.rows for page in bare.pages(GalleryQuery(TAGS[:1], stale=True)).values()]
    assert len(rows) == len(STRATEGIES)
    assert all(one == rows[0] for one in rows)


def test_a_search_takes_wildcards_and_quotes_for_what_they_are(bare: Built) -> None:
    """Neither LIKE's nor SQL's own characters mean anything."""
    add(bare, title="cat", prompt="it's a 100% match")
    found = {text: len(bare.page(GalleryQuery(search=text)).rows) for text in ("c%t", "c_t", "it's", "100%", "' or 1=1")}
    assert found == {"c%t": 0, "c_t": 0, "it's": 1, "100%": 1, "' or 1=1": 0}


def test_a_stale_answer_needs_leave(bare: Built) -> None:
    """Who did not allow an old answer is not given one."""
    with pytest.raises(InvalidInput, match="stale=True"):
        bare.page(GalleryQuery(TAGS[:1]), "materialized_view")


def test_a_view_that_is_not_there_is_said(bare: Built) -> None:
    """Neither an unmade view nor an unfilled one is an empty page."""
    query = GalleryQuery(TAGS[:1], stale=True)
    gallery_view.drop(bare.connection, bare.settings.database)
    with pytest.raises(ViewMissing, match="gallery_view"):
        bare.page(query, "materialized_view")
    gallery_view.create(bare.connection, bare.settings.database)
    with pytest.raises(ViewMissing):
        bare.page(query, "materialized_view")


def test_an_unknown_strategy_is_refused_with_the_nearest_name(bare: Built) -> None:
    """A slip of the keyboard is named."""
    with pytest.raises(InvalidInput, match="Did you mean 'time_walk'"):
        bare.page(GalleryQuery(), "time_wlak")
