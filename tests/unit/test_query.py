"""A gallery query is normalised and checked once, when it is made."""

from __future__ import annotations

import dataclasses
import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genonaut_lib.errors import InvalidInput
from genonaut_lib.gallery.order import Position, Sort, SortField
from genonaut_lib.gallery.query import EVERYTHING, MAX_PAGE_SIZE, MINE, Creators, GalleryQuery, Scope, TagMatch
from genonaut_lib.vocabulary import ContentSource

VIEWER = uuid.UUID(int=1)
WITH_VIEWER = [Creators.MINE, Creators.COMMUNITY]
WITHOUT_VIEWER = [Creators.EVERYBODY, Creators.NOBODY]


@given(st.lists(st.uuids()))
def test_tags_are_sorted_and_unique(tags: list[uuid.UUID]) -> None:
    """The order and repetition of tags in a request change nothing."""
    found = GalleryQuery(tuple(tags)).tags
    assert list(found) == sorted(set(tags))


@given(st.lists(st.uuids(), unique=True).flatmap(lambda tags: st.tuples(st.just(tags), st.permutations(tags))))
def test_queries_with_the_same_tags_are_equal(orders: tuple[list[uuid.UUID], list[uuid.UUID]]) -> None:
    """Equal queries are one cache key, whatever order the tags came in."""
    one, other = (GalleryQuery(tuple(tags)) for tags in orders)
    assert one == other
    assert hash(one) == hash(other)


@pytest.mark.parametrize("size", [0, -1, MAX_PAGE_SIZE + 1])
def test_page_size_out_of_range_is_refused(size: int) -> None:
    """A page holds at least a row and at most a thousand."""
    with pytest.raises(InvalidInput, match=f"page_size is {size}"):
        GalleryQuery(page_size=size)


@pytest.mark.parametrize("size", [1, MAX_PAGE_SIZE])
def test_page_size_at_either_bound_is_taken(size: int) -> None:
    """Both bounds belong to the range."""
    assert GalleryQuery(page_size=size).page_size == size


@pytest.mark.parametrize("creators", WITH_VIEWER)
@pytest.mark.parametrize("other", WITHOUT_VIEWER)
def test_scope_that_needs_a_viewer_is_refused_without_one(creators: Creators, other: Creators) -> None:
    """One source that asks for mine or the community's is enough to need a viewer."""
    with pytest.raises(InvalidInput, match="needs a viewer"):
        GalleryQuery(scope=Scope(creators, other))
    with pytest.raises(InvalidInput, match="needs a viewer"):
        GalleryQuery(scope=Scope(other, creators))


@pytest.mark.parametrize("creators", WITHOUT_VIEWER)
def test_anonymous_query_may_ask_for_everybody_or_nobody(creators: Creators) -> None:
    """Without a viewer, public items are there to see."""
    assert GalleryQuery(scope=Scope(creators, creators)).viewer is None


@pytest.mark.parametrize(
    ("scope", "sources"),
    [
        (EVERYTHING, (ContentSource.REGULAR, ContentSource.AUTO)),
        (MINE, (ContentSource.REGULAR, ContentSource.AUTO)),
        (Scope(auto=Creators.NOBODY), (ContentSource.REGULAR,)),
        (Scope(regular=Creators.NOBODY), (ContentSource.AUTO,)),
        (Scope(Creators.NOBODY, Creators.NOBODY), ()),
    ],
)
def test_sources_are_those_of_which_somebody_is_wanted(scope: Scope, sources: tuple[ContentSource, ...]) -> None:
    """A source of nobody's items is not read."""
    assert GalleryQuery(viewer=VIEWER, scope=scope).sources == sources


def test_scope_answers_for_each_source() -> None:
    """Regular and auto are not mixed up."""
    scope = Scope(regular=Creators.MINE, auto=Creators.COMMUNITY)
    assert [scope.of(source) for source in ContentSource] == [Creators.MINE, Creators.COMMUNITY]


def test_query_cannot_be_changed() -> None:
    """A query that was checked stays what was checked."""
    with pytest.raises(dataclasses.FrozenInstanceError):
        GalleryQuery().page_size = 0


def test_replaced_query_is_checked_again() -> None:
    """The next page's query goes through the same checks."""
    with pytest.raises(InvalidInput):
        dataclasses.replace(GalleryQuery(), page_size=0)


def test_any_is_the_default_match() -> None:
    """Several tags without a word mean any of them."""
    assert GalleryQuery().match is TagMatch.ANY


def test_a_page_lies_in_one_place_only() -> None:
    """After a position, before one, or at a number: two of them would contradict each other."""
    here = Position(datetime(2025, 1, 1, tzinfo=UTC), ContentSource.AUTO, 1)
    for values in ({"after": here, "before": here}, {"after": here, "page": 2}, {"before": here, "page": 2}):
        with pytest.raises(InvalidInput, match="one of the three"):
            GalleryQuery(**values)


def test_page_numbers_count_from_one() -> None:
    """There is no page zero."""
    with pytest.raises(InvalidInput, match="pages count from 1"):
        GalleryQuery(page=0)


@pytest.mark.parametrize("field", [field for field in SortField if field is not SortField.QUALITY_SCORE])
def test_a_position_without_a_value_is_refused_where_every_item_has_one(field: SortField) -> None:
    """Only the quality score may be missing."""
    with pytest.raises(InvalidInput, match=field.value):
        GalleryQuery(after=Position(None, ContentSource.AUTO, 1), sort=Sort(field))
    assert GalleryQuery(after=Position(None, ContentSource.AUTO, 1), sort=Sort(SortField.QUALITY_SCORE)).position


def test_a_search_no_text_can_match_is_refused() -> None:
    """PostgreSQL's texts hold no NUL; the refusal comes before the database is asked."""
    with pytest.raises(InvalidInput, match="NUL"):
        GalleryQuery(search="a\0b")


def test_any_makes_one_group_of_tags_and_families() -> None:
    """Whoever carries one of them is meant; all wants one of each."""
    one, two, three = (uuid.UUID(int=number) for number in (1, 2, 3))
    assert GalleryQuery((one,), TagMatch.ANY, families=((three, two),)).groups == ((one, two, three),)
    assert GalleryQuery((one,), TagMatch.ALL, families=((three, two),)).groups == ((one,), (two, three))


def test_blanks_of_a_search_are_normalised() -> None:
    """Equal searches are one cache key."""
    assert GalleryQuery(search="  red \n cat ") == GalleryQuery(search="red cat")
