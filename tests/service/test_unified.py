"""GET /content/unified and GET /stats/unified over HTTP, held against what lies in the tables."""

from __future__ import annotations

import itertools
import re
import uuid
from collections import Counter
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import jsonschema
import pytest
from psycopg.rows import dict_row

from genonaut_lib.gallery.order import Sort, SortField
from genonaut_lib.gallery.query import GalleryQuery, TagMatch
from genonaut_lib.gallery.request import SOURCE_TYPES
from genonaut_lib.vocabulary import tag_id
from tests.factories import FIRST_DAY
from tests.gallery.built import Built, Template
from tests.gallery.oracle import Row, says
from tests.service.served import Served

PARAMETERS = {
    "page", "page_size", "cursor", "content_source_types", "content_types", "creator_filter", "user_id", "search_term",
    "sort_field", "sort_order", "tag", "tag_names", "tag_match", "exclude_tag", "count", "cache_bypass",
}  # fmt: skip
ITEM = {
    "id", "title", "content_type", "source_type", "creator_id", "creator_username", "quality_score", "tags",
    "created_at", "updated_at", "path_thumb", "path_thumbs_alt_res", "prompt", "item_metadata", "is_private",
}  # fmt: skip
PAGINATION = {
    "page", "page_size", "total_count", "count_kind", "total_pages", "has_next", "has_previous", "next_cursor",
    "prev_cursor",
}  # fmt: skip
STATS = {"user_regular_count", "user_auto_count", "community_regular_count", "community_auto_count"}
VIEWERS = ("ada", "grace", "alan", "stranger", None)
LONG_NUMBER = 123_456_789_012_345_678_901_234_567_890
WHOLE = 1_000
"""A page that shows everything."""


@pytest.fixture(scope="module")
def content(template: Template) -> Iterator[Built]:
    """A copy of the gallery in which a public item's metadata hold a number that no machine word does."""
    with template.copy() as copy:
        copy.connection.execute(
            "update content_items set item_metadata = %s::jsonb, path_thumb = '/a.webp' where id = 20",
            [f'{{"n": {LONG_NUMBER}}}'],
        )
        copy.connection.execute("update content_items set is_private = false where id = 20")
        copy.look_again()
        yield copy


def got(service: Served, path: str = "/content/unified", **parameters: Any) -> dict[str, Any]:
    """Return the body of an answer to what must be answered."""
    answer = service.client.get(path, params=parameters)
    assert answer.status_code == 200, answer.text
    return answer.json()


def keys(body: dict[str, Any]) -> list[str]:
    return [f"{item['source_type']}/{item['id']}" for item in body["items"]]


def user_of(content: Built, name: str | None) -> uuid.UUID | None:
    """Return the id of a viewer; a stranger made nothing, and nobody has none."""
    if name is None:
        return None
    return uuid.UUID(int=99) if name == "stranger" else content.user(name)


def asking(viewer: uuid.UUID | None) -> dict[str, str]:
    return {} if viewer is None else {"user_id": str(viewer)}


def visible(content: Built, viewer: uuid.UUID | None) -> list[Row]:
    return [row for row in content.oracle.rows if not row.is_private or row.creator_id == viewer]


def words_of(row: Row, viewer: uuid.UUID | None) -> tuple[str, str]:
    """Return whose item a row is to a viewer, and of which source, as `content_source_types` has it."""
    return "user" if row.creator_id == viewer else "community", row.source


def test_an_answer_has_the_fields_of_the_contract_and_no_others(service: Served, content: Built) -> None:
    """Ten items of everything public, counted exactly, without facets."""
    body = got(service)
    public = len(visible(content, None))
    assert set(body) == {"items", "pagination", "stats"}
    assert {frozenset(item) for item in body["items"]} == {frozenset(ITEM)}
    assert set(body["stats"]) == STATS
    assert len(body["items"]) == 10
    assert body["pagination"] == {
        "page": 1, "page_size": 10, "total_count": public, "count_kind": "exact", "total_pages": -(-public // 10),
        "has_next": True, "has_previous": False, "next_cursor": body["pagination"]["next_cursor"], "prev_cursor": None,
    }  # fmt: skip


def test_items_show_what_lies_in_the_tables(service: Served, content: Built) -> None:
    """All of them, with the names of their tags from the junction and the names of their creators."""
    names = dict(content.connection.execute("select id, name from tags").fetchall())
    with content.connection.cursor(row_factory=dict_row) as cursor:
        stored = cursor.execute("select * from content_items_all").fetchall()
    columns = {("regular" if row["source_type"] == "items" else "auto", row["id"]): row for row in stored}
    rows = {row.key: row for row in visible(content, None)}
    for item in got(service, page_size=WHOLE)["items"]:
        row, column = rows.pop(f"{item['source_type']}/{item['id']}"), columns[item["source_type"], item["id"]]
        assert item["tags"] == sorted(names[tag] for tag in row.tags)
        assert item["creator_username"] == row.username
        assert datetime.fromisoformat(item["created_at"]) == row.created_at
        assert item["creator_id"] == str(row.creator_id)
        for name in ("title", "content_type", "path_thumb", "path_thumbs_alt_res", "prompt", "item_metadata"):
            assert item[name] == column[name], name
    assert rows == {}


def test_stored_json_comes_as_it_is(service: Served) -> None:
    """A number that is longer than a machine's is neither rounded nor an error."""
    found = [item["item_metadata"] for item in got(service, page_size=WHOLE)["items"] if item["item_metadata"]]
    assert found == [{"n": LONG_NUMBER}]


@pytest.mark.parametrize("name", VIEWERS)
def test_nobody_sees_anothers_private_item_in_any_part_of_an_answer(
    name: str | None, service: Served, content: Built
) -> None:
    """Neither among the items nor in total, facets and stats; one's own are in all of them."""
    viewer = user_of(content, name)
    body = got(service, page_size=WHOLE, facets=True, facet_limit=WHOLE, **asking(viewer))
    seen = visible(content, viewer)
    assert sorted(keys(body)) == sorted(row.key for row in seen)
    assert body["pagination"]["total_count"] == len(seen)
    carried = Counter(str(tag) for row in seen for tag in row.tags)
    assert {facet["tag_id"]: facet["count"] for facet in body["facets"]["counts"]} == carried
    found = Counter("_".join(words_of(row, viewer)) for row in seen)
    assert body["stats"] == {
        f"{who}_{source}_count": found[f"{who}_{source}"]
        for who, source in itertools.product(("user", "community"), ("regular", "auto"))
    }


@pytest.mark.parametrize("name", VIEWERS)
def test_stats_alone_are_those_of_a_page_with_their_moment(name: str | None, service: Served, content: Built) -> None:
    """The moment is in the body here, and in a header there."""
    asked = asking(user_of(content, name))
    body = got(service, "/stats/unified", **asked)
    assert datetime.fromisoformat(body.pop("stats_at")).tzinfo is not None
    page = service.client.get("/content/unified", params=asked)
    assert body == page.json()["stats"]
    assert datetime.fromisoformat(page.headers["Stats-At"]).tzinfo is not None


@pytest.mark.parametrize("number", range(5))
def test_each_selection_of_sources_and_creators_shows_its_items(number: int, service: Served, content: Built) -> None:
    """All sixteen, by the words of `content_source_types`; none is an empty page."""
    viewer = content.user("ada")
    for selected in itertools.combinations(SOURCE_TYPES, number):
        body = got(service, page_size=WHOLE, content_source_types=selected or [""], **asking(viewer))
        expected = [row.key for row in visible(content, viewer) if "-".join(words_of(row, viewer)) in selected]
        assert sorted(keys(body)) == sorted(expected), selected
        assert body["pagination"]["total_count"] == len(expected)


@pytest.mark.parametrize("types", [None, ["regular"], ["auto"], ["regular", "auto"], [""]])
@pytest.mark.parametrize("creators", [None, "all", "user", "community"])
def test_the_older_way_to_select_shows_the_same(
    creators: str | None, types: list[str] | None, service: Served, content: Built
) -> None:
    """By `content_types` and `creator_filter`, either of which may be left out."""
    viewer = content.user("grace")
    asked: dict[str, Any] = {"content_types": types, "creator_filter": creators}
    given = {name: value for name, value in asked.items() if value is not None}
    body = got(service, page_size=WHOLE, **given, **asking(viewer))
    sources = {"regular", "auto"} if types is None else set(types)
    whose = {"user": {"user"}, "community": {"community"}}.get(creators or "", {"user", "community"})
    told = [(row.key, *words_of(row, viewer)) for row in visible(content, viewer)]
    assert sorted(keys(body)) == sorted(key for key, who, source in told if who in whose and source in sources)


def test_no_selection_at_all_is_an_empty_page(service: Served) -> None:
    """One empty word: an exact nought, no pages, and no cursors."""
    pagination = got(service, content_source_types="")["pagination"]
    assert (pagination["total_count"], pagination["count_kind"], pagination["total_pages"]) == (0, "exact", 0)
    assert (pagination["has_next"], pagination["next_cursor"], pagination["prev_cursor"]) == (False, None, None)


@pytest.mark.parametrize(
    ("field", "order"), [("created_at", "desc"), ("quality_score", "asc"), ("title", "desc"), ("id", "asc")]
)
def test_cursors_lead_through_everything_once_and_back_again(
    field: str, order: str, service: Served, content: Built
) -> None:
    """In the order that was asked for, from the first page to the last, and from there to the first."""
    asked = {"page_size": 17, "sort_field": field, "sort_order": order}
    there = [got(service, **asked)]
    while cursor := there[-1]["pagination"]["next_cursor"]:
        there.append(got(service, **asked, cursor=cursor))
    back = [there[-1]]
    while cursor := back[-1]["pagination"]["prev_cursor"]:
        back.append(got(service, **asked, cursor=cursor))
    query = GalleryQuery(sort=Sort(SortField(field), descending=order == "desc"))
    expected = [row.key for row in content.oracle.found(query)]
    assert [key for page in there for key in keys(page)] == expected
    assert [key for page in reversed(back) for key in keys(page)] == expected
    assert [page["pagination"]["page"] for page in there] == [1, *[None] * (len(there) - 1)]
    assert not back[-1]["pagination"]["has_previous"]


def test_numbered_pages_make_the_whole(service: Served, content: Built) -> None:
    """As many as `total_pages` says, and the last one knows that it is."""
    first = got(service, page_size=40)
    pages = [got(service, page_size=40, page=number) for number in range(1, first["pagination"]["total_pages"] + 1)]
    assert [key for page in pages for key in keys(page)] == [row.key for row in content.oracle.found(GalleryQuery())]
    assert [page["pagination"]["has_next"] for page in pages] == [True] * (len(pages) - 1) + [False]


@pytest.mark.parametrize("match", ["any", "all"])
def test_tags_are_wanted_by_id_and_by_name(match: str, service: Served, content: Built) -> None:
    """Through both parameters, in any spelling; those of `exclude_tag` are on no item."""
    tags, unwanted = (tag_id("half"), tag_id("third")), tag_id("rare")
    body = got(service, page_size=WHOLE, tag=[str(tags[0]), "Half "], tag_names="third", tag_match=match,
               exclude_tag="rare")  # fmt: skip
    query = GalleryQuery(tags, TagMatch(match), exclude=(unwanted,))
    expected = [row.key for row in content.oracle.found(query)]
    assert keys(body) == expected
    assert body["pagination"]["total_count"] == len(expected) > 0


def test_a_comma_is_a_letter_of_a_tag(service: Served) -> None:
    """Names may hold one, so that a list of names with commas is one unknown name."""
    assert "'half,third'" in service.client.get("/content/unified", params={"tag": "half,third"}).json()["detail"]


def test_a_search_finds_words_in_titles_and_prompts(service: Served, content: Built) -> None:
    """With phrases and exclusions."""
    for search in ("cat", "red -blue", '"red cat"'):
        body = got(service, page_size=WHOLE, search_term=search)
        found = [row.key for row in visible(content, None) if says(f"{row.title} {row.prompt}", search)]
        assert sorted(keys(body)) == sorted(found), search


@pytest.mark.parametrize(
    ("mode", "kinds"),
    [("none", {"none"}), ("exact", {"exact"}), ("auto", {"exact"}), ("estimated", {"exact", "estimated"})],
)
def test_a_total_is_what_it_says_it_is(mode: str, kinds: set[str], service: Served, content: Built) -> None:
    """Not counted is null, and so is the number of pages unless it is exact."""
    pagination = got(service, tag="common", count=mode)["pagination"]
    exact = len(content.oracle.found(GalleryQuery((tag_id("common"),))))
    assert pagination["count_kind"] in kinds
    assert pagination["total_count"] == (None if mode == "none" else exact)
    assert pagination["total_pages"] == (-(-exact // 10) if pagination["count_kind"] == "exact" else None)


def test_an_unknown_tag_is_refused_with_near_names(service: Served) -> None:
    """Each unknown word is named, and what may have been meant."""
    answer = service.client.get("/content/unified", params={"tag": ["comon", "half"]})
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert (problem["code"], problem["field"]) == ("unknown_tag", "tag")
    assert "'comon'" in problem["detail"]
    assert "'common'" in problem["hint"]


def test_a_tag_that_is_made_now_can_be_asked_for_now(service: Served, content: Built) -> None:
    """What was refused a moment ago is not remembered."""
    asked = {"tag": "brand new"}
    assert service.client.get("/content/unified", params=asked).status_code == 400
    content.connection.execute(
        "insert into tags (id, tag_no, name, slug, label, created_at)"
        " select %s, max(tag_no) + 1, 'brand new', 'brand-new', 'brand new', %s from tags",
        [tag_id("brand new"), FIRST_DAY],
    )
    assert got(service, **asked)["items"] == []


@pytest.mark.parametrize(
    ("asked", "field", "says"),
    [
        ({"page": "0"}, "page", "page is 0"),
        ({"page": "1.5"}, "page", "Invalid page '1.5'"),
        ({"page": "9" * 30}, "page", "whole number"),
        ({"page_size": "1001"}, "page_size", "1000"),
        ({"page_size": "ten"}, "page_size", "Invalid page_size 'ten'"),
        ({"cursor": "AAAA"}, "cursor", "cursor"),
        ({"cursor": ""}, "cursor", "cursor"),
        ({"content_source_types": "user-reglar"}, "content_source_types", "Invalid content_source_type 'user-reglar'"),
        ({"content_source_types": ["auto"]}, "content_source_types", "user-regular, user-auto, community-regular"),
        ({"content_types": "items"}, "content_types", "valid: regular, auto"),
        ({"creator_filter": "me"}, "creator_filter", "all, user, community"),
        ({"creator_filter": "user"}, "user_id", "needs a viewer"),
        ({"content_source_types": "user-auto"}, "user_id", "needs a viewer"),
        ({"content_source_types": "community-auto", "content_types": "auto"}, "content_source_types", "says the same"),
        ({"user_id": "ada"}, "user_id", "Invalid user_id 'ada'"),
        ({"search_term": "x\0"}, "search_term", "Invalid search_term"),
        ({"search_term": "x" * 1_001}, "search_term", "search_term has 1001 characters"),
        ({"sort_field": "id; drop table tags"}, "sort_field", "created_at, updated_at"),
        ({"sort_order": "down"}, "sort_order", "valid: asc, desc"),
        ({"tag": ""}, "tag", "No tag is called ''"),
        ({"tag": [str(number) for number in range(201)]}, "tag", "at most 20 tags"),
        ({"exclude_tag": "nonesuch"}, "exclude_tag", "'nonesuch'"),
        ({"tag_match": "some"}, "tag_match", "Invalid tag_match 'some'; valid: any, all"),
        ({"count": "all"}, "count", "Invalid count"),
        ({"facets": "maybe"}, "facets", "Invalid facets"),
        ({"facet_limit": "0"}, "facet_limit", "Invalid facet_limit"),
        ({"cache_bypass": "maybe"}, "cache_bypass", "Invalid cache_bypass"),
    ],
)
def test_a_bad_value_is_refused_by_the_name_of_its_parameter(
    asked: dict[str, Any], field: str, says: str, service: Served
) -> None:
    """With what is valid, and with nothing of the inner works."""
    answer = service.client.get("/content/unified", params=asked)
    problem = answer.json()
    assert (answer.status_code, answer.headers["content-type"]) == (400, "application/problem+json")
    assert problem["field"] == field
    assert says in problem["detail"]
    assert not re.search(r"Traceback|genonaut_lib|psycopg|select ", answer.text)


def test_a_cursor_is_good_for_its_own_request_only(service: Served, content: Built) -> None:
    """Neither for another filter nor for another viewer."""
    ada, grace = (str(content.user(name)) for name in ("ada", "grace"))
    cursor = got(service, user_id=ada)["pagination"]["next_cursor"]
    assert got(service, user_id=ada, cursor=cursor)["items"]
    for other in ({"user_id": grace}, {}, {"user_id": ada, "tag": "common"}):
        answer = service.client.get("/content/unified", params={**other, "cursor": cursor})
        assert (answer.status_code, answer.json()["code"]) == (400, "invalid_cursor")


def test_the_same_question_has_the_same_bytes_and_need_not_be_sent_again(service: Served) -> None:
    """`cache_bypass` or not; what differs each time stands in headers."""
    answers = [
        service.client.get("/content/unified", params=asked)
        for asked in ({"tag": "common"}, {"tag": "common", "cache_bypass": "true"}, {"tag": "half"})
    ]
    first, same, other = answers
    assert first.content == same.content
    assert first.headers["etag"] == same.headers["etag"] != other.headers["etag"]
    assert first.headers["etag"].startswith('"')
    assert "total;dur=" in first.headers["server-timing"]
    again = asked_again(service, first.headers["etag"], tag="common")
    assert (again.status_code, again.content, again.headers["etag"]) == (304, b"", first.headers["etag"])
    assert asked_again(service, other.headers["etag"], tag="common").status_code == 200


def asked_again(service: Served, known: str, **parameters: Any) -> httpx.Response:
    return service.client.get("/content/unified", params=parameters, headers={"If-None-Match": f'"x", {known}'})


def test_a_large_page_is_compressed_for_whom_that_suits(service: Served) -> None:
    """Its tag is weak then, and still good for a conditional request; a small page goes out as it is."""
    plain, packed, refused = (
        service.client.get("/content/unified", params={"page_size": WHOLE}, headers={"Accept-Encoding": accepted})
        for accepted in ("identity", "gzip, br", "gzip;q=0")
    )
    assert packed.headers["content-encoding"] == "gzip"
    assert int(packed.headers["content-length"]) < int(plain.headers["content-length"]) / 3
    assert "content-encoding" not in refused.headers
    assert plain.content == packed.content == refused.content
    assert packed.headers["etag"] == f"W/{plain.headers['etag']}"
    assert {answer.headers["vary"] for answer in (plain, packed, refused)} == {"Accept-Encoding"}
    assert asked_again(service, packed.headers["etag"], page_size=WHOLE).status_code == 304
    assert "content-encoding" not in service.client.get("/content/unified", params={"page_size": 1}).headers


def test_the_document_tells_every_parameter_and_its_examples_are_valid(service: Served) -> None:
    """Described, each of them, with the words that are valid; the example of the answer has the shape it documents."""
    document = got(service, "/openapi.json")
    operation = document["paths"]["/api/v1/content/unified"]["get"]
    parameters = {parameter["name"]: parameter for parameter in operation["parameters"]}
    assert set(parameters) >= PARAMETERS | {"facets", "facet_limit"}
    assert [name for name, found in parameters.items() if not found.get("description")] == []
    assert parameters["page_size"]["schema"]["maximum"] == 1_000
    for found in parameters.values():
        for example in found["schema"].get("examples", []):
            jsonschema.validate(example, found["schema"])
    answers = [
        document["paths"][f"/api/v1/{path}"]["get"]["responses"]["200"]["content"]["application/json"]["schema"]
        for path in ("content/unified", "stats/unified")
    ]
    for schema in answers:
        shape = document["components"]["schemas"][schema["$ref"].rsplit("/", 1)[1]]
        jsonschema.validate(shape["example"], schema | {"components": document["components"]})


@pytest.mark.parametrize("asked", [{}, {"facets": "true", "page_size": "1000"}, {"content_source_types": ""}])
def test_answers_have_the_shape_that_is_documented(asked: dict[str, str], service: Served) -> None:
    """With and without facets, and where nothing is found."""
    document = got(service, "/openapi.json")
    schema = {"$ref": "#/components/schemas/UnifiedPage", "components": document["components"]}
    jsonschema.validate(got(service, **asked), schema)
