"""A statement depends on the shape of a query only, and holds no value of a request."""

from __future__ import annotations

import re
import uuid
from datetime import UTC, datetime

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from genonaut_lib.gallery.page import compiled
from genonaut_lib.gallery.query import Creators, GalleryQuery, Position, Scope, TagMatch
from genonaut_lib.gallery.strategies import STRATEGIES, shape_of, values_of
from genonaut_lib.vocabulary import ContentSource

VIEWER = uuid.UUID("b7f1c1de-0000-4000-8000-000000000001")
TAGS = tuple(uuid.UUID(f"ca75ca75-0000-4000-8000-00000000000{digit}") for digit in range(3))
WHEN = datetime(2031, 7, 9, 11, 13, 17, tzinfo=UTC)
REGULAR, AUTO = ContentSource.REGULAR, ContentSource.AUTO

scopes = st.builds(Scope, st.sampled_from(Creators), st.sampled_from(Creators))
positions = st.none() | st.builds(Position, st.just(WHEN), st.sampled_from(ContentSource), st.just(987_654))
queries = st.builds(
    GalleryQuery,
    tags=st.sets(st.sampled_from(TAGS)).map(tuple),
    match=st.sampled_from(TagMatch),
    viewer=st.just(VIEWER),
    scope=scopes,
    page_size=st.just(777),
    after=positions,
).filter(lambda query: query.sources)


def text_of(query: GalleryQuery) -> str:
    """Return the statement of a query on one line, without its column list."""
    return " ".join(compiled(shape_of(query)).decode().split())


def names_in(text: str) -> set[str]:
    """Return the names of the values a statement binds."""
    return set(re.findall(r"%\((\w+)\)s", text))


def wheres(query: GalleryQuery) -> list[str]:
    """Return the condition of each branch."""
    return re.findall(r"WHERE (content_items_all\.source_type = .*?) ORDER BY", text_of(query))


@pytest.mark.parametrize("strategy", STRATEGIES)
@settings(deadline=None)  # a shape is compiled once, which takes its time
@given(query=queries)
def test_no_value_of_a_query_stands_in_its_statement(strategy: str, query: GalleryQuery) -> None:
    """Tags, viewer, page size and position reach the database as bound values only."""
    text = compiled(shape_of(query), strategy).decode()
    secrets = [*map(str, TAGS), *(tag.hex for tag in TAGS), str(VIEWER), VIEWER.hex, "777", "778", "987654", "2031"]
    assert not [value for value in secrets if value in text]


@settings(deadline=None)  # a shape is compiled once, which takes its time
@given(queries)
def test_every_name_of_a_statement_has_a_value(query: GalleryQuery) -> None:
    """No statement waits for a value that its query does not give."""
    assert names_in(text_of(query)) <= set(values_of(query))


@settings(deadline=None)  # a shape is compiled once, which takes its time
@given(queries, st.uuids(), st.integers(1, 1000))
def test_queries_of_one_shape_share_a_statement(query: GalleryQuery, viewer: uuid.UUID, size: int) -> None:
    """Another viewer and page size bind other values to the same text."""
    other = GalleryQuery(query.tags, query.match, viewer, query.scope, size, query.after)
    assert shape_of(other) == shape_of(query)


@pytest.mark.parametrize(("match", "conditions"), [(TagMatch.ANY, 1), (TagMatch.ALL, 3)])
def test_shape_counts_tag_conditions(match: TagMatch, conditions: int) -> None:
    """Any number of tags is one condition for any, one a tag for all."""
    assert shape_of(GalleryQuery(TAGS, match)).tags == conditions


@pytest.mark.parametrize("match", TagMatch)
def test_query_without_tags_does_not_read_the_junction(match: TagMatch) -> None:
    """An untagged page pays nothing for tags."""
    assert "content_tags" not in text_of(GalleryQuery(match=match))


def test_any_number_of_tags_is_one_shape_for_any() -> None:
    """Statements are compiled once, not once for each number of tags."""
    assert shape_of(GalleryQuery(TAGS[:1])) == shape_of(GalleryQuery(TAGS))


def test_shape_remembers_only_the_source_of_a_position() -> None:
    """Date and id of the last row are bound."""
    shapes = {shape_of(GalleryQuery(after=Position(WHEN, AUTO, number))) for number in range(5)}
    assert [shape.after for shape in shapes] == [AUTO]


def test_all_match_has_one_semi_join_for_each_tag_and_source() -> None:
    """Three tags in two sources are six conditions, three in each branch."""
    branches = wheres(GalleryQuery(TAGS, TagMatch.ALL))
    assert [branch.count("EXISTS") for branch in branches] == [3, 3]


def test_tag_conditions_compare_the_source_as_well_as_the_id() -> None:
    """The same id in the other source carries other tags."""
    regular, auto = wheres(GalleryQuery(TAGS[:1]))
    assert "content_tags.content_source = 'regular'" in regular
    assert "content_tags.content_source = 'auto'" in auto
    assert "'auto'" not in regular


def test_regular_branch_reads_partition_items_and_junction_regular() -> None:
    """Each schema word stands where its column expects it."""
    (branch,) = wheres(GalleryQuery(TAGS[:1], scope=Scope(auto=Creators.NOBODY)))
    assert "source_type = 'items'" in branch
    assert "'regular'" in branch


def test_everybody_has_no_creator_clause() -> None:
    """Asking for everybody costs no condition."""
    assert "creator_id" not in "".join(wheres(GalleryQuery()))


@pytest.mark.parametrize(("creators", "operator"), [(Creators.MINE, "="), (Creators.COMMUNITY, "!=")])
def test_creator_clause_stands_in_its_own_source_only(creators: Creators, operator: str) -> None:
    """The scope of one source does not leak into the other."""
    regular, auto = wheres(GalleryQuery(viewer=VIEWER, scope=Scope(regular=creators)))
    clause = f"AND content_items_all.creator_id {operator} %(viewer)s"
    assert clause in regular
    assert clause not in auto


@pytest.mark.parametrize(
    ("scope", "read", "unread"),
    [(Scope(auto=Creators.NOBODY), REGULAR, AUTO), (Scope(regular=Creators.NOBODY), AUTO, REGULAR)],
)
def test_source_of_nobody_is_not_read(scope: Scope, read: ContentSource, unread: ContentSource) -> None:
    """A partition without wanted items does not stand in the statement."""
    text = text_of(GalleryQuery(TAGS, scope=scope))
    assert f"source_type = '{read.partition}'" in text
    assert f"source_type = '{unread.partition}'" not in text


def test_anonymous_query_sees_public_items_only() -> None:
    """Without a viewer there is no way round the privacy clause."""
    for branch in wheres(GalleryQuery()):
        assert "content_items_all.is_private = false" in branch
        assert " OR " not in branch


def test_viewer_sees_own_private_items() -> None:
    """The privacy clause lets through what the viewer made, as one bracketed condition."""
    own = "(content_items_all.is_private = false OR content_items_all.creator_id = %(viewer)s"
    assert all(own in branch for branch in wheres(GalleryQuery(viewer=VIEWER)))


def test_first_page_has_no_keyset_clause() -> None:
    """Nothing is compared where there is no position."""
    assert "after_created_at" not in text_of(GalleryQuery())


@pytest.mark.parametrize(("after", "regular", "auto"), [(REGULAR, "row", "<="), (AUTO, "<", "row")])
def test_keyset_clause_breaks_ties_between_sources(after: ContentSource, regular: str, auto: str) -> None:
    """At one date regular rows come first: after one all auto rows of the date follow, after an auto row no regular."""
    branches = wheres(GalleryQuery(after=Position(WHEN, after, 5)))
    for branch, expected in zip(branches, (regular, auto), strict=True):
        if expected == "row":
            assert "(content_items_all.created_at, content_items_all.id) < (" in branch
        else:
            assert f"content_items_all.created_at {expected} %(after_created_at)s" in branch


def test_one_row_more_than_the_page_is_read() -> None:
    """The further row tells whether there is a next page."""
    assert values_of(GalleryQuery(page_size=25))["rows"] == 26


def test_values_of_all_bind_each_tag_by_place() -> None:
    """Tags are bound in their sorted order."""
    values = values_of(GalleryQuery(TAGS[::-1], TagMatch.ALL))
    assert [values[f"tag_{place}"] for place in range(3)] == list(TAGS)


def test_strategies_are_registered_under_their_names() -> None:
    """A strategy is found by the name it gives itself."""
    assert {name: strategy.name for name, strategy in STRATEGIES.items()} == {name: name for name in STRATEGIES}
