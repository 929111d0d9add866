"""A request means one query, or is refused by the name of the field that is wrong."""

from __future__ import annotations

import uuid
from itertools import combinations, product

import pytest

from genonaut_lib.errors import InvalidInput
from genonaut_lib.gallery.naming import Resolved
from genonaut_lib.gallery.query import (
    EVERYTHING,
    MAX_REACH,
    MINE,
    NOTHING,
    Creators,
    GalleryQuery,
    Scope,
    Sort,
    SortField,
    TagMatch,
)
from genonaut_lib.gallery.request import (
    LONGEST_SEARCH,
    SOURCE_TYPES,
    SPELLINGS,
    GalleryRequest,
    Named,
    scope_of,
    tags_of,
    untagged,
    words_of,
)
from genonaut_lib.request_errors import UnknownTag

VIEWER = uuid.UUID(int=9)
CAT, DOG, PET = (uuid.UUID(int=number) for number in (1, 2, 3))
KNOWN = {"cat": CAT, "dog": DOG, "pet": PET}
WORDS = ("user-regular", "user-auto", "community-regular", "community-auto")
SELECTIONS = [chosen for count in range(5) for chosen in combinations(WORDS, count)]
CREATORS = {
    (False, False): Creators.NOBODY, (True, False): Creators.MINE, (False, True): Creators.COMMUNITY,
    (True, True): Creators.EVERYBODY,
}  # fmt: skip


def refusal(**values: object) -> InvalidInput:
    """Return how a request with these values is refused."""
    with pytest.raises(InvalidInput) as caught:
        untagged(GalleryRequest(**values))  # type: ignore[arg-type]
    return caught.value


def named(**values: object) -> Named | None:
    """Return the tags that a request names where `cat`, `dog` and `pet` are all there is."""
    request = GalleryRequest(**values)  # type: ignore[arg-type]
    words = words_of(request, 20)
    unknown = {word: ("cat",) for several in words.values() for word in several if word not in KNOWN}
    return tags_of(request, words, Resolved(KNOWN, unknown))


def only(**tags: uuid.UUID) -> Named:
    return Named(**{field: frozenset({tag}) for field, tag in tags.items()})


@pytest.mark.parametrize("chosen", SELECTIONS)
def test_every_selection_means_its_scope(chosen: tuple[str, ...]) -> None:
    """All sixteen: both of a source is no creator clause, neither is a source that is not read."""
    selected = [(f"user-{source}" in chosen, f"community-{source}" in chosen) for source in ("regular", "auto")]
    expected = Scope(*(CREATORS[both] for both in selected))
    assert untagged(GalleryRequest(content_source_types=chosen, viewer=VIEWER)).scope == expected


def test_the_sixteen_are_all_there() -> None:
    """The test above has not lost one."""
    assert len(set(SELECTIONS)) == 16
    assert set(SOURCE_TYPES) == set(WORDS)


@pytest.mark.parametrize("chosen", [(), ("",), [""], set()])
def test_nothing_selected_is_nothing_read(chosen: object) -> None:
    """One empty word is how an address bar says it."""
    assert untagged(GalleryRequest(content_source_types=chosen)).scope == NOTHING  # type: ignore[arg-type]


@pytest.mark.parametrize("words", [WORDS * 2, (*WORDS[:1], *WORDS[:1]), WORDS[::-1]])
def test_order_and_repetition_of_a_selection_change_nothing(words: tuple[str, ...]) -> None:
    """A selection is a set."""
    expected = scope_of(GalleryRequest(content_source_types={*words}))
    assert scope_of(GalleryRequest(content_source_types=words)) == expected


@pytest.mark.parametrize("types", [None, (), ("",), ("regular",), ("auto",), ("regular", "auto")])
@pytest.mark.parametrize("who", [None, "all", "user", "community"])
def test_every_older_pair_means_its_scope(types: tuple[str, ...] | None, who: str | None) -> None:
    """What is left out is everything; the creators count for each source that is read."""
    creators = {"user": Creators.MINE, "community": Creators.COMMUNITY}.get(who or "all", Creators.EVERYBODY)
    read = {"regular", "auto"} if types is None else set(types)
    expected = Scope(*(creators if source in read else Creators.NOBODY for source in ("regular", "auto")))
    assert untagged(GalleryRequest(content_types=types, creator_filter=who, viewer=VIEWER)).scope == expected


def test_a_request_that_says_nothing_of_sources_is_for_everything() -> None:
    """The gallery as it opens."""
    assert untagged(GalleryRequest()).scope == EVERYTHING


@pytest.mark.parametrize("older", [{"content_types": ("auto",)}, {"creator_filter": "all"}, {"content_types": ()}])
def test_both_ways_at_once_are_refused(older: dict[str, object]) -> None:
    """Even where they agree: which one the caller means to change next nobody knows."""
    error = refusal(content_source_types=WORDS, **older)
    assert error.field == "content_source_types"
    assert "content_types" in error.message
    assert "creator_filter" in error.message


@pytest.mark.parametrize(
    ("values", "field", "says"),
    [
        ({"content_source_types": ("user",)}, "content_source_types", "Invalid content_source_type 'user'; valid: "),
        ({"content_source_types": ("",) * 2}, "content_source_types", "Invalid content_source_type ''"),
        ({"content_source_types": ("user-auto", "")}, "content_source_types", "Invalid content_source_type ''"),
        ({"content_source_types": "user-auto"}, "content_source_types", "valid: a list of words"),
        ({"content_source_types": (1,)}, "content_source_types", "valid: a list of words"),
        ({"content_types": ("items",)}, "content_types", "Invalid content_type 'items'; valid: regular, auto."),
        ({"content_types": 5}, "content_types", "valid: a list of words"),
        ({"creator_filter": "me"}, "creator_filter", "Invalid creator_filter 'me'; valid: all, user, community."),
        ({"creator_filter": ""}, "creator_filter", "valid: all, user, community."),
        ({"match": "both"}, "match", "Invalid match 'both'; valid: any, all."),
        ({"match": None}, "match", "Invalid match None; valid: any, all."),
        ({"match": []}, "match", "valid: any, all."),
        ({"sort_field": "rank; drop"}, "sort_field", "valid: created_at, updated_at, quality_score, title, id."),
        ({"sort_order": "down"}, "sort_order", "Invalid sort_order 'down'; valid: asc, desc."),
        ({"viewer": "ada"}, "viewer", "Invalid viewer 'ada'; valid: a UUID."),
        ({"viewer": ""}, "viewer", "valid: a UUID."),
        ({"viewer": "{" + str(VIEWER) + "}"}, "viewer", "valid: a UUID."),
        ({"viewer": VIEWER.int}, "viewer", "valid: a UUID."),
        ({"page": "two"}, "page", "Invalid page 'two'; valid: a whole number from 1 on."),
        ({"page": "²"}, "page", "valid: a whole number"),
        ({"page": 1.5}, "page", "valid: a whole number"),
        ({"page": True}, "page", "valid: a whole number"),
        ({"page": "9" * 5000}, "page", "valid: a whole number"),
        ({"page": 0}, "page", "page is 0"),
        ({"page": 10**17}, "page", "pages count from 1"),
        ({"page_size": "-1"}, "page_size", "valid: a whole number"),
        ({"page_size": 1001}, "page_size", "must be from 1 to 1000"),
        ({"search": "a\0b"}, "search", "valid: text"),
        ({"search": "\ud800"}, "search", "valid: text"),
        ({"search": None}, "search", "valid: text"),
        ({"search": "x" * (LONGEST_SEARCH + 1)}, "search", f"may have {LONGEST_SEARCH}"),
    ],
)  # fmt: skip
def test_a_malformed_value_is_refused_by_its_field_s_name(values: dict[str, object], field: str, says: str) -> None:
    """And with what would be right."""
    error = refusal(**values)
    assert error.field == field
    assert says in error.message


def test_a_near_miss_is_told() -> None:
    """The hint has the word that was meant."""
    assert refusal(content_source_types=("user-regulr",)).hint == "Did you mean 'user-regular'?"


def test_a_refused_value_is_shown_in_part() -> None:
    """What is sent back is not what was sent, a megabyte long."""
    assert len(refusal(match="x" * 10**6).message) < 200


@pytest.mark.parametrize("chosen", [("user-auto",), ("community-regular",), ("user-regular", "user-auto")])
def test_whose_own_must_be_said(chosen: tuple[str, ...]) -> None:
    """The viewer's items and everybody else's both need a viewer."""
    error = refusal(content_source_types=chosen)
    assert error.field == "viewer"
    assert "needs a viewer" in error.message


@pytest.mark.parametrize("viewer", [VIEWER, str(VIEWER), str(uuid.UUID(int=2**127 + 10)).upper()])
def test_a_viewer_may_come_as_text(viewer: object) -> None:
    """Upper or lower case, as UUIDs are written."""
    assert untagged(GalleryRequest(viewer=viewer)).viewer == uuid.UUID(str(viewer))  # type: ignore[arg-type]


def test_the_rest_of_a_request_becomes_the_query() -> None:
    """Every plain value is where it belongs."""
    request = GalleryRequest(
        match="all", search="  a   cat ", sort_field="title", sort_order="asc", page="3", page_size="50", stale=True
    )
    query = untagged(request)
    assert (query.match, query.search, query.sort) == (TagMatch.ALL, "a cat", Sort(SortField.TITLE, descending=False))
    assert (query.page, query.page_size, query.stale) == (3, 50, True)


@pytest.mark.parametrize(("field", "order"), list(product(SortField, ("asc", "desc"))))
def test_every_sort_is_taken(field: SortField, order: str) -> None:
    """Five fields, both ways."""
    query = untagged(GalleryRequest(sort_field=field.value, sort_order=order))
    assert query.sort == Sort(field, descending=order == "desc")


@pytest.mark.parametrize("page", [0, -1, MAX_REACH // 25 + 1, 10**30])
def test_a_page_number_out_of_range_is_refused(page: int) -> None:
    """Pages count from 1, and their rows by numbers that PostgreSQL takes."""
    error = refusal(page=page)
    assert error.message.startswith(f"page is {page}; pages count from 1, those of 25 rows to ")
    assert error.hint == "Cursors reach further than page numbers."


def test_the_last_page_that_numbers_reach_is_taken() -> None:
    """Both bounds belong to the range."""
    assert untagged(GalleryRequest(page=MAX_REACH // 25)).page == MAX_REACH // 25


@pytest.mark.parametrize(("values", "field"), [({"page_size": 0}, "page_size"), ({"scope": MINE}, "viewer")])
def test_a_query_s_own_refusal_names_the_field(values: dict[str, object], field: str) -> None:
    """Whoever made the query can show the problem where it is."""
    with pytest.raises(InvalidInput) as caught:
        GalleryQuery(**values)  # type: ignore[arg-type]
    assert caught.value.field == field


def test_words_are_sorted_into_wanted_families_and_excluded() -> None:
    """Each list keeps its meaning."""
    assert named(tags=["cat"], families=["pet"], exclude=["dog"]) == only(tags=CAT, families=PET, exclude=DOG)


@pytest.mark.parametrize("field", ["tags", "families", "exclude"])
@pytest.mark.parametrize("match", ["any", "all"])
def test_an_unknown_tag_is_refused_with_what_may_be_meant(field: str, match: str) -> None:
    """The error has the word and the near names for a caller, and both in its sentence for a reader."""
    with pytest.raises(UnknownTag) as caught:
        named(**{field: ["dog", "kat"]}, match=match)
    error = caught.value
    assert (error.field, error.word, error.near) == (field, "kat", ("cat",))
    assert str(error) == "No tag is called 'kat'. Near 'kat': 'cat'."


def test_all_unknown_tags_are_named_at_once() -> None:
    """One answer shows all mistakes; the first is the one the fields carry."""
    with pytest.raises(UnknownTag, match="No tag is called 'kat', 'dogg', 'x'") as caught:
        named(exclude=["x"], tags=["kat", "cat", "dogg"])
    assert caught.value.word == "kat"


@pytest.mark.parametrize(
    ("values", "expected"),
    [
        ({"tags": ["cat", "x"], "match": "all"}, None),
        ({"tags": ["cat"], "families": ["x"], "match": "all"}, None),
        ({"tags": ["x"], "match": "all"}, None),
        ({"tags": ["x"], "match": "any"}, None),
        ({"tags": ["x"], "families": ["y"], "match": "any"}, None),
        ({"tags": ["x"], "exclude": ["cat"], "match": "any"}, None),
        ({"tags": ["cat", "x"], "match": "any"}, only(tags=CAT)),
        ({"tags": ["x"], "families": ["cat"], "match": "any"}, only(families=CAT)),
        ({"tags": ["cat"], "exclude": ["x"], "match": "all"}, only(tags=CAT)),
        ({"exclude": ["x", "dog"], "match": "all"}, only(exclude=DOG)),
        ({"exclude": ["x"]}, Named()),
        ({}, Named()),
    ],
)  # fmt: skip
def test_a_lenient_request_passes_over_unknown_tags(values: dict[str, object], expected: Named | None) -> None:
    """All of what includes an unknown tag, or any of unknown ones alone, is nothing; excluding one excludes nothing."""
    assert named(**values, lenient=True) == expected


@pytest.mark.parametrize("field", ["tags", "families", "exclude"])
@pytest.mark.parametrize("value", ["cat", 5, [b"cat"], [None], b"cat"])
def test_tags_that_are_no_list_of_words_are_refused(field: str, value: object) -> None:
    """A single word is not taken for the list of its letters."""
    with pytest.raises(InvalidInput, match="valid: a list of words") as caught:
        named(**{field: value})
    assert caught.value.field == field


def test_a_flood_of_words_is_refused_before_it_is_looked_up() -> None:
    """The answer says the limit, and the knob that moves it."""
    words = [f"word {number}" for number in range(3 * SPELLINGS + 1)]
    with pytest.raises(InvalidInput, match="at most 3 tags") as caught:
        words_of(GalleryRequest(tags=words), 3)
    assert caught.value.hint is not None
    assert "planner.max_tags" in caught.value.hint
    assert words_of(GalleryRequest(tags=words[1:] * 5), 3)["tags"] == tuple(words[1:])
