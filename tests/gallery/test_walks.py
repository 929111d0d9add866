"""Pages follow one another: every row once, forwards and backwards, also while others write."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator
from dataclasses import replace
from itertools import pairwise

import pytest

from genonaut_lib.gallery.order import Sort, SortField
from genonaut_lib.gallery.page import Page
from genonaut_lib.gallery.query import GalleryQuery, Position, TagMatch
from genonaut_lib.vocabulary import ContentSource
from tests.factories import Gallery
from tests.gallery.built import DAYS, TAGS, TITLES, Built, next_of, previous_of
from tests.gallery.oracle import Row
from tests.gallery.queries import SORTS

Step = Callable[[GalleryQuery, Page], GalleryQuery | None]
FILTERS = {
    "all of two": {"tags": TAGS[:2], "match": TagMatch.ALL},
    "any of three": {"tags": TAGS[1:4]},
    "without one": {"exclude": TAGS[1:2]},
}


def named(sort: Sort) -> str:
    return f"{sort.field}-{'desc' if sort.descending else 'asc'}"


def walk(gallery: Built, query: GalleryQuery | None, step: Step, strategy: str = "time_walk") -> Iterator[Page]:
    """Yield the query's page and every further one in a direction."""
    while query is not None:
        page = gallery.page(query, strategy)
        yield page
        query = step(query, page)


def keys_of(pages: list[Page]) -> list[str]:
    return [key for page in pages for key in page.keys]


def there_and_back(gallery: Built, query: GalleryQuery, strategy: str = "time_walk") -> tuple[list[str], list[str]]:
    """Return the keys of a walk to the end, and of the walk back from there, both in page order."""
    there = list(walk(gallery, query, next_of, strategy))
    back = list(walk(gallery, previous_of(query, there[-1]), previous_of, strategy))
    return keys_of(there), keys_of([*reversed(back), there[-1]])


@pytest.mark.parametrize("size", [1, 7, 40, 1000])
@pytest.mark.parametrize("sort", SORTS, ids=named)
def test_walking_there_and_back_yields_every_row_once_in_order(sort: Sort, size: int, still: Built) -> None:
    """Neither ties nor missing values, nor equal ids in both sources, hide or repeat a row."""
    query = GalleryQuery(viewer=still.user("ada"), sort=sort, page_size=size)
    expected = [row.key for row in still.oracle.found(query)]
    assert there_and_back(still, query) == (expected, expected)


@pytest.mark.parametrize("strategy", ["self_join", "group_having", "two_phase_single", "two_phase_dual"])
@pytest.mark.parametrize("filtered", FILTERS)
def test_walking_a_filtered_gallery_yields_every_row_once(filtered: str, strategy: str, still: Built) -> None:
    """Page one and page two answer the same question, whichever strategy does."""
    query = GalleryQuery(viewer=still.user("alan"), page_size=4, **FILTERS[filtered])
    expected = [row.key for row in still.oracle.found(query)]
    assert there_and_back(still, query, strategy) == (expected, expected)


@pytest.mark.parametrize("sort", SORTS, ids=named)
def test_pages_by_number_are_the_pages_by_position(sort: Sort, still: Built) -> None:
    """Who counts pages sees what those see who follow them."""
    query = GalleryQuery(sort=sort, page_size=30)
    followed = [page.keys for page in walk(still, query, next_of)]
    numbered = [still.page(replace(query, page=number)).keys for number in range(1, len(followed) + 1)]
    assert numbered == followed


def restless(rows: list[Row]) -> list[Row]:
    """Return the rows that are deleted and retagged while somebody reads."""
    return rows[::3]


def stir(gallery: Built, dice: random.Random, moved: list[Row]) -> None:
    """Insert an item anywhere, delete one of those that may go, and take the tags of another."""
    source = dice.choice(list(ContentSource))
    columns = {"created_at": dice.choice(DAYS), "title": dice.choice(TITLES), "quality_score": dice.choice([None, 0.5])}
    gallery.tag(source, Gallery(gallery.connection).item([], source, **columns), *TAGS[:2])
    for tags in (None, dice.sample(TAGS, 3)):
        if moved:
            row = moved.pop(dice.randrange(len(moved)))
            source = ContentSource.from_junction(row.source)
            if tags is None:
                gallery.connection.execute(f"delete from {source.table} where id = %s".encode(), [row.id])
            else:
                gallery.tag(source, row.id, *tags)


def stirred(gallery: Built, pages: Iterator[Page], moved: list[Row]) -> list[Page]:
    dice, seen = random.Random(5), []
    for page in pages:
        seen.append(page)
        stir(gallery, dice, moved)
    return seen


@pytest.mark.parametrize("sort", SORTS, ids=named)
def test_a_walk_among_writers_yields_every_stable_row_once_both_ways(sort: Sort, own: Built) -> None:
    """What OFFSET gets wrong: rows that come and go move none of those that stay."""
    query = GalleryQuery(TAGS[:1], viewer=own.user("ada"), sort=sort, page_size=5)
    before = own.oracle.found(query)
    moved = restless(before)
    changes = len(moved)
    stable = [row.key for row in before if row not in moved]
    there = stirred(own, walk(own, query, next_of), moved)
    back = stirred(own, walk(own, previous_of(query, there[-1]), previous_of), moved)
    for keys in (keys_of(there), keys_of([*reversed(back), there[-1]])):
        assert len(keys) == len(set(keys))
        assert [key for key in keys if key in stable] == stable
    assert len(moved) < changes


@pytest.mark.parametrize("descending", [True, False])
@pytest.mark.parametrize("field", [SortField.CREATED_AT, SortField.ID])
def test_an_empty_page_leads_back_to_all_rows(field: SortField, descending: bool, still: Built) -> None:
    """Where the rest was deleted meanwhile, the way back begins with the last row seen; so it does the other way."""
    query = GalleryQuery(sort=Sort(field, descending), page_size=1000)
    rows = still.oracle.found(query)
    expected = [row.key for row in rows]
    beyond = replace(query, after=rows[-1].position(field))
    ahead = replace(query, before=rows[0].position(field))
    for turn, step in ((beyond, previous_of), (ahead, next_of)):
        page = still.page(turn)
        assert page.rows == ()
        assert still.page(step(turn, page)).keys == expected


def test_positions_of_neighbouring_pages_do_not_overlap(still: Built) -> None:
    """The last row of a page is not the first one of the next."""
    pages = list(walk(still, GalleryQuery(page_size=9), next_of))
    assert all(one.keys[-1] != other.keys[0] for one, other in pairwise(pages))


def test_a_position_between_rows_is_as_good_as_one_on_a_row(still: Built) -> None:
    """The row a page ended with may be gone when the next page is asked for."""
    query = GalleryQuery(page_size=1000)
    newest = still.oracle.found(query)[0]
    between = Position(newest.created_at, ContentSource.REGULAR, newest.id + 1_000)
    assert still.page(replace(query, after=between)).keys == still.page(query).keys
