"""A statement depends on the shape of a query only, and holds no value of a request."""

from __future__ import annotations

import re
import uuid
from dataclasses import replace
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from genonaut_lib.errors import InvalidInput
from genonaut_lib.gallery.clauses import shape_of, values_of
from genonaut_lib.gallery.order import Position, Sort, SortField
from genonaut_lib.gallery.query import Creators, GalleryQuery, Scope, TagMatch
from genonaut_lib.gallery.statement import count_text, page_text
from genonaut_lib.gallery.strategies import STRATEGIES, strategy_named
from genonaut_lib.vocabulary import ContentSource

VIEWER = uuid.UUID("b7f1c1de-0000-4000-8000-000000000001")
TAGS = tuple(uuid.UUID(f"ca75ca75-0000-4000-8000-00000000000{digit}") for digit in range(5))
WHEN = datetime(2031, 7, 9, 11, 13, 17, tzinfo=UTC)
WORDS = "unutterable"
REGULAR, AUTO = ContentSource.REGULAR, ContentSource.AUTO
ALL = TagMatch.ALL

sorts = st.builds(Sort, st.sampled_from(SortField), st.booleans())
tags = st.sets(st.sampled_from(TAGS)).map(tuple)
VALUES = {
    SortField.CREATED_AT: WHEN, SortField.UPDATED_AT: WHEN, SortField.QUALITY_SCORE: 0.987654, SortField.TITLE: WORDS,
    SortField.ID: 987_654,
}  # fmt: skip


@st.composite
def queries(draw: st.DrawFn) -> GalleryQuery:
    """Draw a query that reads something; its values are such as no statement holds by chance."""
    sort, place = draw(sorts), draw(st.sampled_from(("", "after", "before")))
    position = Position(VALUES[sort.field], draw(st.sampled_from(ContentSource)), 987_654)
    wanted = [creators for creators in Creators if creators is not Creators.NOBODY]
    return GalleryQuery(
        draw(tags), draw(st.sampled_from(TagMatch)), VIEWER,
        Scope(draw(st.sampled_from(wanted)), draw(st.sampled_from(Creators))), 777,
        exclude=draw(tags), families=tuple(draw(st.lists(tags, max_size=2))), search=draw(st.sampled_from(("", WORDS))),
        sort=sort, **({place: position} if place else {"page": draw(st.sampled_from((1, 555)))}),
    )  # fmt: skip


def text_of(query: GalleryQuery, strategy: str = "time_walk") -> str:
    """Return the statement of a page on one line."""
    return " ".join(page_text(shape_of(query), strategy).decode().split())


def names_in(text: str) -> set[str]:
    """Return the names of the values a statement binds."""
    return set(re.findall(r"%\((\w+)\)s", text))


def wheres(query: GalleryQuery) -> list[str]:
    """Return the condition of each branch of a walk."""
    return re.findall(r"FROM content_items_all WHERE (.*?) ORDER BY", text_of(query))


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(query=queries())
def test_no_value_of_a_query_stands_in_its_statements(strategy: str, query: GalleryQuery) -> None:
    """Tags, viewer, words, page and position reach the database as bound values only."""
    text = (page_text(shape_of(query), strategy) + count_text(shape_of(query), strategy)).decode()
    numbers = ("777", "778", "555", "987654", "987_654", "2031", "0.98")
    secrets = [*map(str, TAGS), *(tag.hex for tag in TAGS), str(VIEWER), VIEWER.hex, WORDS, *numbers]
    assert not [value for value in secrets if value in text]


@pytest.mark.parametrize("strategy", STRATEGIES)
@given(query=queries())
def test_every_name_of_a_statement_has_a_value(strategy: str, query: GalleryQuery) -> None:
    """No statement waits for a value that its query does not give."""
    names = names_in(text_of(query, strategy)) | names_in(count_text(shape_of(query), strategy).decode())
    assert names <= set(values_of(query))


@given(queries(), st.uuids(), st.integers(1, 1000))
def test_queries_of_one_shape_share_a_statement(query: GalleryQuery, viewer: uuid.UUID, size: int) -> None:
    """Another viewer and page size bind other values to the same text."""
    assert shape_of(replace(query, viewer=viewer, page_size=size)) == shape_of(query)


@given(queries(), sorts)
def test_a_count_does_not_depend_on_where_the_page_lies(query: GalleryQuery, sort: Sort) -> None:
    """All pages of a filter share one statement that counts it."""
    other = replace(query, sort=sort, after=None, before=None, page=1)
    assert count_text(shape_of(query), "self_join") is count_text(shape_of(other), "self_join")


@pytest.mark.parametrize(("match", "groups"), [(TagMatch.ANY, (0, 1)), (TagMatch.ALL, (5, 0))])
def test_shape_counts_groups_of_one_and_of_several(match: TagMatch, groups: tuple[int, int]) -> None:
    """Any number of tags is one group for any, one a tag for all."""
    shape = shape_of(GalleryQuery(TAGS, match))
    assert (shape.singles, shape.families) == groups


def test_any_number_of_tags_is_one_shape_for_any() -> None:
    """Statements are compiled once, not once for each number of tags."""
    assert shape_of(GalleryQuery(TAGS[:2])) == shape_of(GalleryQuery(TAGS))


def test_a_tag_and_the_family_of_that_tag_alone_are_one_group() -> None:
    """Or whoever counts tags would wait for one more than there is."""
    assert GalleryQuery(TAGS[:1], ALL, families=(TAGS[:1],)).groups == (TAGS[:1],)


@pytest.mark.parametrize("match", TagMatch)
def test_query_without_tags_is_filtered_by_none(match: TagMatch) -> None:
    """An untagged page does not look into the junction for its choice of rows."""
    assert "content_tags" not in "".join(wheres(GalleryQuery(match=match)))


def test_shape_remembers_only_the_source_of_a_position() -> None:
    """Date and id of the last row are bound."""
    shapes = {shape_of(GalleryQuery(after=Position(WHEN, AUTO, number))) for number in range(5)}
    assert [shape.from_source for shape in shapes] == [AUTO]


def test_all_match_has_one_look_for_each_tag_and_source() -> None:
    """Three tags in two sources are six conditions, three in each branch."""
    assert [branch.count("EXISTS") for branch in wheres(GalleryQuery(TAGS[:3], ALL))] == [3, 3]


def test_tag_conditions_compare_the_source_as_well_as_the_id() -> None:
    """The same id in the other source carries other tags."""
    regular, auto = wheres(GalleryQuery(TAGS[:1]))
    assert "content_tags.content_source = 'regular'" in regular
    assert "content_tags.content_source = 'auto'" in auto
    assert "'auto'" not in regular


def test_regular_branch_reads_partition_items_and_junction_regular() -> None:
    """Each schema word stands where its column expects it."""
    (branch,) = wheres(GalleryQuery(TAGS[:1], scope=Scope(auto=Creators.NOBODY)))
    assert "content_items_all.source_type = 'items'" in branch
    assert "content_tags.content_source = 'regular'" in branch


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


@pytest.mark.parametrize("strategy", STRATEGIES)
@pytest.mark.parametrize(
    ("scope", "unread"), [(Scope(auto=Creators.NOBODY), AUTO), (Scope(regular=Creators.NOBODY), REGULAR)]
)
def test_source_of_nobody_is_not_read(scope: Scope, unread: ContentSource, strategy: str) -> None:
    """A partition without wanted items is named in no condition of any strategy."""
    text = text_of(GalleryQuery(TAGS, ALL, scope=scope), strategy)
    assert f"source = '{unread.junction}'" not in text
    assert f".source_type = '{unread.partition}' AND" not in text


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
    assert "from_value" not in text_of(GalleryQuery())


@pytest.mark.parametrize(
    ("place", "source", "regular", "auto"),
    [
        ("after", REGULAR, "row <", "<="), ("after", AUTO, "<", "row <"),
        ("before", REGULAR, "row >", ">"), ("before", AUTO, ">=", "row >"),
    ],
)  # fmt: skip
def test_keyset_clause_breaks_ties_between_sources(place: str, source: ContentSource, regular: str, auto: str) -> None:
    """Newest first, at one date all regular rows come before all auto rows; backwards it is the other way round."""
    branches = wheres(GalleryQuery(**{place: Position(WHEN, source, 5)}))
    for branch, expected in zip(branches, (regular, auto), strict=True):
        if expected.startswith("row"):
            assert f"(content_items_all.created_at, content_items_all.id) {expected[4:]} (" in branch
        else:
            assert f"content_items_all.created_at {expected} %(from_value)s" in branch


def test_one_row_more_than_the_page_is_read() -> None:
    """The further row tells whether there is a next page; by number, a branch may hold all pages before it."""
    values = values_of(GalleryQuery(page_size=25, page=3))
    assert (values["rows"], values["offset"], values["reach"]) == (26, 50, 76)


def test_values_of_all_bind_each_tag_by_place() -> None:
    """Tags are bound in their sorted order, or rarest first where that is known."""
    query = GalleryQuery(TAGS[2::-1], ALL)
    ranked = tuple((tag,) for tag in (TAGS[1], TAGS[2], TAGS[0]))
    assert [values_of(query)[f"tag_{place}"] for place in range(3)] == list(TAGS[:3])
    assert [values_of(query, ranked)[f"tag_{place}"] for place in range(3)] == [TAGS[1], TAGS[2], TAGS[0]]
    assert values_of(query, ranked)["others_2"] == [TAGS[0]]


def test_groups_of_another_query_are_no_ranking() -> None:
    """A mix-up of two queries is an error, not another query's answer."""
    with pytest.raises(AssertionError):
        values_of(GalleryQuery(TAGS[:2], ALL), ranked=(TAGS[:1], TAGS[2:3]))


def test_strategies_are_registered_under_their_names() -> None:
    """A strategy is found by the name it gives itself."""
    assert {name: strategy.name for name, strategy in STRATEGIES.items()} == {name: name for name in STRATEGIES}
    assert all(strategy_named(name) is strategy for name, strategy in STRATEGIES.items())


def test_an_unknown_strategy_is_refused() -> None:
    """With the names that are known."""
    with pytest.raises(InvalidInput, match="two_phase_dual"):
        strategy_named("bitmop")


@pytest.mark.parametrize(
    ("query", "unfit"),
    [
        (GalleryQuery(), set(STRATEGIES) - {"time_walk"}),
        (GalleryQuery(TAGS[:1]), {"two_phase_dual"}),
        (GalleryQuery(TAGS), {"two_phase_dual"}),
        (GalleryQuery(TAGS[:2], ALL), set()),
        (GalleryQuery(TAGS[:1], ALL, families=(TAGS[2:],)), set()),
    ],
)
def test_a_strategy_says_what_it_has_nothing_to_offer_for(query: GalleryQuery, unfit: set[str]) -> None:
    """Without tags there is nothing to narrow by; two seeds want two groups; any of several tags is one group."""
    assert {name for name, strategy in STRATEGIES.items() if strategy.fits(shape_of(query))} == unfit
