"""Lists of tags and tags by name, against the same rows sorted and filtered in Python."""

from __future__ import annotations

import asyncio
import random
import re
import uuid
from collections.abc import Callable, Coroutine, Iterator
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import datetime, timedelta
from itertools import product
from typing import Any

import pytest

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.pool import AsyncConnection, open_session
from genonaut_lib.errors import InvalidInput, StatisticsMissing
from genonaut_lib.gallery.tags import (
    Tag,
    TagCount,
    TagListing,
    TagPlace,
    TagSearch,
    TagSort,
    count_tags,
    list_tags,
    popular,
    tag_by_id,
    tag_by_name,
)
from genonaut_lib.migration.phases import Context
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import ContentSource, canonical_tag_name, tag_id
from tests.factories import FIRST_DAY, Gallery
from tests.migration.test_phases import apply

Read = Callable[..., Any]
REGULAR, AUTO = ContentSource.REGULAR, ContentSource.AUTO
NAMES = [
    "100%", "100% wool", "a_b", "axb", "blue sky", "sky", "skyline", "café", "cafe", "devel", "devel::lang:perl",
    "perl", "日本", "日本 sky", "(round", "back\\slash", "*",
]  # fmt: skip
REFRESHED = FIRST_DAY + timedelta(days=9)
LATE = "late"
"""A tag younger than the statistics."""


def make_statistics(connection: Connection) -> None:
    """Create the table of statistics as its phase does, for tests of what lies before that phase."""
    connection.execute(
        "create table if not exists tag_cardinality_stats (tag_id uuid not null, content_source varchar(10) not null,"
        " cardinality bigint not null, display_count bigint not null, updated_at timestamptz not null,"
        " primary key (tag_id, content_source))"
    )


@pytest.fixture
def seeded(context: Context, gallery: Gallery) -> Connection:
    """Tags of three dates, one of them later than the statistics, with labels in other letters than their names."""
    connection = context.connection
    for name in [*NAMES, LATE]:
        gallery.legacy_item([name.title()])
    apply(context, "seed_tags")
    make_statistics(connection)
    date = "update tags set created_at = %(day)s + interval '1 hour' * (tag_no %% 3)"
    connection.execute(date, {"day": FIRST_DAY})
    connection.execute("update tags set created_at = %s where name = %s", [REFRESHED + timedelta(1), LATE])
    return connection


@pytest.fixture
def counted(seeded: Connection) -> Connection:
    """The same with statistics: ties, tags of one source only, tags without a row, private items."""
    dice = random.Random(3)
    for name in NAMES[3:]:
        for source in ContentSource:
            cardinality = dice.randrange(6)
            if dice.random() < 0.8:
                row = [tag_id(name), source.junction, cardinality, dice.randrange(cardinality + 1), REFRESHED]
                seeded.execute("insert into tag_cardinality_stats values (%s, %s, %s, %s, %s)", row)
    return seeded


@pytest.fixture
def read(seeded: Connection, settings: Settings) -> Iterator[Read]:
    """Run a reading coroutine function on an asynchronous session: `read(list_tags, listing)`."""
    with asyncio.Runner() as runner:
        stack = AsyncExitStack()
        connection: AsyncConnection = runner.run(stack.enter_async_context(open_session(settings)))

        def run(function: Callable[..., Coroutine[Any, Any, Any]], *given: Any, **named: Any) -> Any:
            return runner.run(function(connection, *given, **named))

        yield run
        runner.run(stack.aclose())


def all_tags(connection: Connection) -> list[Tag]:
    """Read tags and statistics, untouched by any statement under test."""
    rows = connection.execute("select * from tag_cardinality_stats").fetchall()
    counts = {(tag, source): TagCount(cardinality, shown) for tag, source, cardinality, shown, _ in rows}
    found = []
    for row in connection.execute("select id, name, slug, label, created_at from tags").fetchall():
        known = bool(rows) and row[4] <= REFRESHED
        of = {source: counts.get((row[0], source.junction), TagCount(0, 0)) for source in ContentSource}
        found.append(Tag(*row, counts=of if known else {}, counted_at=REFRESHED if known else None))
    return found


def count(tag: Tag, source: ContentSource | None) -> int | None:
    if not tag.counts:
        return None
    return sum(one.display_count for each, one in tag.counts.items() if source in (None, each))


def value(tag: Tag, listing: TagListing) -> Any:
    return count(tag, listing.source) if listing.sort is TagSort.COUNT else getattr(tag, listing.sort.value)


def holds(tag: Tag, listing: TagListing) -> bool:
    text, found = canonical_tag_name(listing.search), count(tag, listing.source)
    bounds = (listing.min_count, listing.max_count)
    if bounds != (None, None) and found is None:
        return False
    if any((bounds[0] is not None and found < bounds[0], bounds[1] is not None and found > bounds[1])):
        return False
    if listing.search_by is TagSearch.PREFIX:
        return tag.name.startswith(text)
    return any(is_word(tag.name, text, place.start()) for place in re.finditer(f"(?={re.escape(text)})", tag.name))


def is_word(name: str, text: str, start: int) -> bool:
    """Whether no letter goes on before or after the text at this place."""
    pairs = (name[start - 1 : start] + text[:1], text[-1:] + name[start + len(text) :][:1])
    return not any(len(pair) == 2 and all(one.isalnum() for one in pair) for pair in pairs)


def oracle(tags: list[Tag], listing: TagListing) -> list[str]:
    """Return the names of all tags a listing means, all pages in one."""
    held = sorted((tag for tag in tags if holds(tag, listing)), key=lambda tag: tag.name)
    if listing.sort is TagSort.NAME:
        return [tag.name for tag in (held[::-1] if listing.descending else held)]
    known = [tag for tag in held if value(tag, listing) is not None]
    known.sort(key=lambda tag: value(tag, listing), reverse=listing.descending)
    return [tag.name for tag in (*known, *(tag for tag in held if tag not in known))]


def walk(read: Read, listing: TagListing) -> list[str]:
    """Return the names of all pages, one after the other."""
    found: list[str] = []
    while True:
        page = read(list_tags, listing)
        found += [tag.name for tag in page.tags]
        if page.next_place is None:
            return found
        listing = replace(listing, after=page.next_place)


@pytest.mark.parametrize("sort", TagSort)
def test_every_order_is_the_oracles_on_one_page_and_on_many(sort: TagSort, counted: Connection, read: Read) -> None:
    """Ties and unknown counts, both directions, each source and both; walked three tags at a time as well."""
    everything = all_tags(counted)
    for descending, source in product((True, False), (None, REGULAR, AUTO)):
        listing = TagListing(sort, descending, source)
        expected = oracle(everything, listing)
        assert walk(read, listing) == expected
        assert walk(read, replace(listing, page_size=3)) == expected


def test_numbered_pages_follow_each_other(counted: Connection, read: Read) -> None:
    """Page two begins where page one ended, and one beyond the last is empty."""
    listing = TagListing(TagSort.COUNT, descending=True, page_size=7)
    pages = [[tag.name for tag in read(list_tags, replace(listing, page=no)).tags] for no in range(1, 5)]
    assert [name for page in pages for name in page] == oracle(all_tags(counted), listing)
    assert pages[3] == []


SEARCHES = [
    "100%", "%", "_", "a_b", "SKY", "sky", "line", "caf", "Café", "lang", "perl", "日本", "blue  sky", "(", "\\", "*",
    "", "x", "::", "l:p",
]  # fmt: skip


@pytest.mark.parametrize("by", TagSearch)
def test_searches_find_what_the_oracle_finds(by: TagSearch, seeded: Connection, read: Read) -> None:
    """Wildcards of LIKE and of regular expressions are letters like any others."""
    everything = all_tags(seeded)
    for text in SEARCHES:
        listing = TagListing(search=text, search_by=by)
        assert walk(read, listing) == oracle(everything, listing), text
        assert read(count_tags, listing) == len(oracle(everything, listing)), text


def test_searched_words_are_whole_and_wildcards_are_data(read: Read) -> None:
    """The oracle itself, held against what a person would expect."""
    assert walk(read, TagListing(search="sky")) == ["blue sky", "sky", "日本 sky"]
    assert walk(read, TagListing(search="sky", search_by=TagSearch.PREFIX)) == ["sky", "skyline"]
    assert walk(read, TagListing(search="a_", search_by=TagSearch.PREFIX)) == ["a_b"]
    assert walk(read, TagListing(search="%")) == ["100%", "100% wool"]


def test_counts_are_bounded_on_both_sides(counted: Connection, read: Read) -> None:
    """Both bounds belong to the range; a tag whose count nobody knows is in none."""
    everything = all_tags(counted)
    for (least, most), source in product([(1, None), (None, 2), (2, 4), (0, 0), (5, 1)], (None, AUTO)):
        listing = TagListing(TagSort.COUNT, source=source, min_count=least, max_count=most)
        assert walk(read, listing) == oracle(everything, listing), listing
        assert read(count_tags, replace(listing, page=3, page_size=1)) == len(oracle(everything, listing)), listing


def test_a_tag_carries_its_counts_by_source_and_their_date(counted: Connection, read: Read) -> None:
    """A source without a row has none of its items; the total is the sum."""
    listed = {tag.name: tag for tag in read(list_tags, TagListing()).tags}
    assert listed == {tag.name: tag for tag in all_tags(counted)}
    assert {listed["100%"].total, listed["100%"].counted_at} == {TagCount(0, 0), REFRESHED}


def test_counts_before_the_first_refresh_are_unknown(read: Read) -> None:
    """Not zero, which would be a claim."""
    (tag, *_) = read(list_tags, TagListing()).tags
    assert (tag.counts, tag.total, tag.counted_at) == ({}, None, None)
    assert read(list_tags, TagListing(min_count=0)).tags == ()


def test_a_tag_younger_than_the_statistics_has_no_count(counted: Connection, read: Read) -> None:
    """It is listed last by count, in either direction."""
    assert read(tag_by_name, LATE).total is None
    for descending in (True, False):
        assert walk(read, TagListing(TagSort.COUNT, descending))[-1] == LATE


def test_missing_statistics_are_an_error_that_names_the_notebook(seeded: Connection, read: Read) -> None:
    """A list without counts would look like one of tags that nobody uses."""
    seeded.execute("drop table tag_cardinality_stats")
    with pytest.raises(StatisticsMissing, match="50_refresh_tag_stats"):
        read(list_tags, TagListing())


def test_popular_tags_are_those_most_items_show(counted: Connection, read: Read) -> None:
    """The head of the list by count, of a source or of both, private items not counted."""
    for source in (None, REGULAR, AUTO):
        expected = oracle(all_tags(counted), TagListing(TagSort.COUNT, descending=True, source=source))[:5]
        assert [tag.name for tag in read(popular, 5, source)] == expected


def test_popular_tags_have_the_least_cardinality_asked_for(counted: Connection, read: Read) -> None:
    """It counts private items too, as the statistics do."""
    held = {tag.name for tag in all_tags(counted) if tag.counts and tag.total.cardinality >= 4}
    assert {tag.name for tag in read(popular, 100, min_cardinality=4)} == held
    assert 0 < len(held) < len(NAMES)


def test_popular_tags_are_bounded_by_what_they_show_as_well(counted: Connection, read: Read) -> None:
    """So that a stranger's bound tells nothing of private items."""
    held = {tag.name for tag in all_tags(counted) if tag.counts and tag.total.display_count >= 2}
    assert {tag.name for tag in read(popular, 100, min_shown=2)} == held
    assert 0 < len(held) < len(NAMES)


def test_a_limit_out_of_range_is_refused(read: Read) -> None:
    """Neither none nor everything."""
    for limit in (0, 1001):
        with pytest.raises(InvalidInput, match=str(limit)):
            read(popular, limit)


def test_a_tag_is_found_by_its_id(counted: Connection, read: Read) -> None:
    """With its counts; an unknown id is None."""
    (expected,) = (tag for tag in all_tags(counted) if tag.name == "perl")
    assert read(tag_by_id, tag_id("perl")) == expected
    assert read(tag_by_id, uuid.UUID(int=1)) is None


MEANT = {
    "perl": "perl", " PERL ": "perl", "devel-lang-perl": "devel::lang:perl", "cafe": "cafe", "Café": "café",
    "nothing": None, "": None, "per%": None, "Camel": "perl", "camel": None,
}  # fmt: skip


def test_a_tag_is_found_by_name_slug_and_alias(seeded: Connection, read: Read) -> None:
    """A name in any spelling of it; a slug in whole; an alias as it is written."""
    seeded.execute("insert into tag_aliases values ('Camel', %s)", [tag_id("perl")])
    found = {text: read(tag_by_name, text) for text in MEANT}
    assert {text: tag.name if tag else None for text, tag in found.items()} == MEANT


def test_a_name_goes_before_a_slug_and_a_slug_before_an_alias(seeded: Connection, read: Read) -> None:
    """`cafe` is a name, and could be the slug of another tag and the alias of a third."""
    seeded.execute("delete from tag_aliases where spelling in ('cafe', 'other')")
    seeded.execute("update tags set slug = 'x' where name = 'cafe'")
    seeded.execute("update tags set slug = 'cafe' where name = 'sky'")
    seeded.execute("insert into tag_aliases values ('cafe', %s)", [tag_id("perl")])
    assert read(tag_by_name, "cafe").name == "cafe"
    seeded.execute("update tags set name = 'other' where name = 'cafe'")
    assert read(tag_by_name, "cafe").name == "sky"
    seeded.execute("update tags set slug = 'y' where name = 'sky'")
    assert read(tag_by_name, "cafe").name == "perl"


@pytest.mark.parametrize("text", ["a\0b", "\ud800"])
def test_text_that_no_database_holds_is_refused(text: str, read: Read) -> None:
    """A sentence instead of a driver's error."""
    with pytest.raises(InvalidInput, match="no tag does"):
        read(tag_by_name, text)
    with pytest.raises(InvalidInput, match="no tag does"):
        TagListing(search=text)


@pytest.mark.parametrize(
    "values",
    [
        {"page_size": 0}, {"page_size": 1001}, {"page": 0}, {"page": 2**31}, {"page": 2, "after": TagPlace("a", "a")},
        {"sort": TagSort.LABEL, "after": TagPlace(None, "a")},
    ],
)  # fmt: skip
def test_an_impossible_listing_is_refused_when_it_is_made(values: dict[str, Any]) -> None:
    """Sizes out of range, two places at once, a place nowhere."""
    with pytest.raises(InvalidInput):
        TagListing(**values)


def test_a_place_of_another_date_type_survives_the_walk(counted: Connection, read: Read) -> None:
    """Dates go to the reader and come back to the microsecond."""
    first = read(list_tags, TagListing(TagSort.CREATED_AT, page_size=1))
    assert isinstance(first.next_place.value, datetime)
