"""Tags over HTTP: lists, single tags, the hierarchy and figures, on a real service."""

from __future__ import annotations

import uuid
from collections import Counter
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from genonaut_lib.content.hierarchy import add_parent
from genonaut_lib.migration import tag_stats
from genonaut_lib.service import tag_bodies as bodies
from genonaut_lib.vocabulary import ContentSource, tag_id
from tests.factories import Gallery
from tests.service.running import Served, migrated, served

REGULAR, AUTO = ContentSource.REGULAR, ContentSource.AUTO
ITEMS = [
    (["common", "devel::lang:perl"], REGULAR, False),
    (["common", "devel::lang:c", "a/b"], REGULAR, False),
    (["common", "secret"], REGULAR, True),
    (["common", "devel::lang:c"], AUTO, False),
    (["common", "devel::ui", "100% wool"], AUTO, False),
    (["café", "日本", "question?&=#"], AUTO, False),
    (["secret", "café"], AUTO, True),
]
NAMES = sorted({tag for tags, _, _ in ITEMS for tag in tags} | {"devel"})
UNKNOWN = uuid.UUID(int=1)


def fill(gallery: Gallery) -> None:
    for tags, source, is_private in ITEMS:
        gallery.legacy_item(tags, source, is_private=is_private)


def shown(*sources: ContentSource) -> Counter[str]:
    """Count the public items of each tag."""
    return Counter(tag for tags, source, is_private in ITEMS if source in sources and not is_private for tag in tags)


@pytest.fixture(scope="module")
def service(admin_url: str) -> Iterator[Served]:
    """A gallery with two levels below `devel`, and the service on it."""
    with migrated(admin_url, fill) as (settings, connection):
        add_parent(connection, tag_id("100% wool"), tag_id("devel::ui"))
        connection.execute("insert into tag_aliases values ('Camel', %s)", [tag_id("devel::lang:perl")])
        tag_stats.refresh(connection)
        with served(settings) as found:
            yield found


def names(answer: httpx.Response) -> list[str]:
    assert answer.status_code == 200, answer.text
    return [one["name"] for one in answer.json()["items"]]


def problem(answer: httpx.Response) -> dict[str, Any]:
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    found: dict[str, Any] = answer.json()
    assert found["status"] == answer.status_code
    return found


def test_tags_are_listed_page_by_page(service: Served) -> None:
    """By name, each once, with how many there are in all."""
    pages = [service.get("/tags", page=page, page_size=4) for page in (1, 2, 3)]
    assert [name for page in pages for name in names(page)] == NAMES
    assert [page.json()["pagination"] for page in pages[1:]] == [
        {"page": 2, "page_size": 4, "total_count": 11, "total_pages": 3, "has_next": True, "has_previous": True},
        {"page": 3, "page_size": 4, "total_count": 11, "total_pages": 3, "has_next": False, "has_previous": True},
    ]


def test_what_is_not_counted_is_null(service: Served) -> None:
    """Nobody is told a number that nobody asked for."""
    pagination = service.get("/tags", count="none").json()["pagination"]
    assert (pagination["total_count"], pagination["total_pages"]) == (None, None)


@pytest.mark.parametrize(("word", "sources"), [(None, (REGULAR, AUTO)), ("regular", (REGULAR,)), ("auto", (AUTO,))])
def test_tags_are_sorted_by_what_everybody_may_see(
    word: str | None, sources: tuple[ContentSource, ...], service: Served
) -> None:
    """The most shown first, ties by name; what only its creator may see counts for nothing."""
    counts = shown(*sources)
    given = {"content_source": word} if word else {}
    answer = service.get("/tags", sort="count", sort_order="desc", **given)
    assert names(answer) == sorted(NAMES, key=lambda name: (-counts[name], name))


def test_a_tag_tells_of_public_items_only(service: Served) -> None:
    """By source and in all; a tag of private items has none."""
    found = {tag["name"]: tag for tag in service.get("/tags").json()["items"]}
    assert {name: tag["count"] for name, tag in found.items()} == {name: shown(REGULAR, AUTO)[name] for name in NAMES}
    assert found["secret"]["counts"] == {"regular": 0, "auto": 0}
    assert found["café"]["counts"] == {"regular": 0, "auto": 1}
    assert found["common"]["counted_at"] is not None


def test_no_bound_finds_private_items(service: Served) -> None:
    """A tag that private items carry fits no bound from one on, nor is it popular."""
    assert "secret" not in names(service.get("/tags", min_count=1))
    assert "secret" in names(service.get("/tags", max_count=0))
    assert "secret" not in names(service.get("/tags/popular", limit=100, min_cardinality=1))
    assert names(service.get("/tags/popular", content_source="auto", min_cardinality=2)) == ["common"]


def test_lists_are_bounded_by_counts(service: Served) -> None:
    """Both bounds belong to the range, and the total is that of the range."""
    answer = service.get("/tags", min_count=2, max_count=3)
    assert (names(answer), answer.json()["pagination"]["total_count"]) == (["devel::lang:c"], 1)


@pytest.mark.parametrize(
    ("search", "by", "expected"),
    [
        ("lang", "word", ["devel::lang:c", "devel::lang:perl"]),
        ("DEVEL::l", "prefix", ["devel::lang:c", "devel::lang:perl"]),
        ("%", "word", ["100% wool"]),
        ("nothing", "word", []),
    ],
)
def test_tags_are_searched(search: str, by: str, expected: list[str], service: Served) -> None:
    """As a whole word or from the beginning; wildcards are letters."""
    answer = service.get("/tags", search=search, search_by=by)
    assert names(answer) == expected
    assert answer.json()["pagination"]["total_count"] == len(expected)


def test_popular_tags_are_those_most_items_show(service: Served) -> None:
    """The head of the list by count."""
    assert names(service.get("/tags/popular", limit=2)) == ["common", "devel::lang:c"]


def test_a_tag_is_found_by_its_id(service: Served) -> None:
    """With its names and counts."""
    found = service.get(f"/tags/{tag_id('devel::lang:c')}").json()
    assert (found["name"], found["slug"], found["count"]) == ("devel::lang:c", "devel-lang-c", 2)


SPELLINGS = {
    "devel::lang:perl": "devel::lang:perl", "Devel::LANG:perl": "devel::lang:perl",
    "devel-lang-perl": "devel::lang:perl", "Camel": "devel::lang:perl",
    "a/b": "a/b", "100% wool": "100% wool", "日本": "日本", "café": "café", "question?&=#": "question?&=#",
}  # fmt: skip


@pytest.mark.parametrize("text", SPELLINGS)
def test_a_tag_is_found_by_any_name_it_has(text: str, service: Served) -> None:
    """By name in any spelling, by slug, by alias; percent-encoded, whatever letters it has."""
    quoted = "".join(f"%{byte:02X}" for byte in text.encode())
    assert service.get(f"/tags/by-name/{quoted}").json()["name"] == SPELLINGS[text]


def test_an_unknown_name_is_not_found_and_near_ones_are_told(service: Served) -> None:
    """A word of its own for programs, a hint for people."""
    answer = service.get("/tags/by-name/devel::lang:prel")
    found = problem(answer)
    assert (answer.status_code, found["code"], found["field"]) == (404, "tag_not_found", "name")
    assert "'devel::lang:perl'" in found["hint"]


STEPS = ["", "/parents", "/children", "/ancestors", "/descendants"]


@pytest.mark.parametrize("step", STEPS)
def test_unknown_ids_are_not_found_and_malformed_ones_are_refused(step: str, service: Served) -> None:
    """Two different mistakes, each with the parameter at fault."""
    unknown, malformed = service.get(f"/tags/{UNKNOWN}{step}"), service.get(f"/tags/nonsense{step}")
    assert (unknown.status_code, malformed.status_code) == (404, 400)
    assert (problem(unknown)["code"], problem(malformed)["code"]) == ("tag_not_found", "invalid_value")
    assert {problem(unknown)["field"], problem(malformed)["field"]} == {"tag_id"}


def test_relatives_are_as_far_as_the_hierarchy_says(service: Served) -> None:
    """One step, or all of them with their distance."""
    devel, wool = tag_id("devel"), tag_id("100% wool")
    assert names(service.get(f"/tags/{devel}/children")) == ["devel::lang:c", "devel::lang:perl", "devel::ui"]
    assert names(service.get(f"/tags/{wool}/parents")) == ["devel::ui"]
    above = service.get(f"/tags/{wool}/ancestors").json()["items"]
    assert [(one["name"], one["depth"]) for one in above] == [("devel::ui", 1), ("devel", 2)]
    below = service.get(f"/tags/{devel}/descendants").json()["items"]
    assert (below[-1]["name"], below[-1]["depth"]) == ("100% wool", 2)


def test_roots_have_children_and_no_parent(service: Served) -> None:
    """Those without either are asked for."""
    assert names(service.get("/tags/roots")) == ["devel"]
    lone = names(service.get("/tags/roots", lone=True))
    assert {"devel", "common"} < set(lone)
    assert "devel::ui" not in lone


@pytest.mark.parametrize(
    ("given", "nodes", "edges"),
    [
        ({}, ["100% wool", "devel", "devel::lang:c", "devel::lang:perl", "devel::ui"], 4),
        ({"depth": 1}, ["devel", "devel::lang:c", "devel::lang:perl", "devel::ui"], 3),
        ({"depth": 0}, ["devel"], 0),
        ({"root": "devel::ui"}, ["100% wool", "devel::ui"], 1),
        ({"root": "devel", "depth": 1}, ["devel", "devel::lang:c", "devel::lang:perl", "devel::ui"], 3),
    ],
)
def test_a_hierarchy_is_whole_or_a_part(given: dict[str, Any], nodes: list[str], edges: int, service: Served) -> None:
    """Below one tag, down to a depth, or both; no edge leads out of it."""
    root = {"root": str(tag_id(given["root"]))} if "root" in given else {}
    found = service.get("/tags/hierarchy", **given | root).json()
    assert [node["name"] for node in found["nodes"]] == nodes
    ids = {node["id"] for node in found["nodes"]}
    assert len(found["edges"]) == edges
    assert all({edge["child"], edge["parent"]} <= ids for edge in found["edges"])


def test_an_unknown_root_is_not_found(service: Served) -> None:
    """It has no hierarchy, not an empty one."""
    answer = service.get("/tags/hierarchy", root=str(UNKNOWN))
    assert (answer.status_code, problem(answer)["field"]) == (404, "root")


def test_figures_are_those_of_public_items(service: Served) -> None:
    """Of the hierarchy and of the content, with their date and the most used tags."""
    found = service.get("/tags/statistics").json()
    assert found["tags"] == len(NAMES)
    assert found["hierarchy"] == {"relationships": 4, "roots": 1, "deepest_level": 2}
    for source in ContentSource:
        counts = shown(source)
        assert found["usage"][source.junction] == {"tags": len(counts), "relationships": counts.total()}
    assert found["refreshed_at"] is not None
    assert found["most_used"][0]["name"] == "common"
    assert "secret" not in [tag["name"] for tag in found["most_used"]]


@pytest.mark.parametrize(
    ("path", "given"),
    [
        ("/tags", {"page": 0}), ("/tags", {"page": 10**12}), ("/tags", {"page_size": 1001}), ("/tags", {"sort": "id"}),
        ("/tags", {"sort_order": "up"}), ("/tags", {"min_count": -1}), ("/tags", {"max_count": 2**63}),
        ("/tags", {"search": "x" * 401}), ("/tags", {"search": "a\0b"}), ("/tags", {"content_source": "items"}),
        ("/tags", {"search_by": "regex"}), ("/tags", {"count": "some"}), ("/tags/popular", {"limit": 0}),
        ("/tags/popular", {"min_cardinality": "many"}), ("/tags/hierarchy", {"depth": -1}),
        ("/tags/hierarchy", {"root": "devel"}),
    ],
)  # fmt: skip
def test_what_is_malformed_is_refused_by_name(path: str, given: dict[str, Any], service: Served) -> None:
    """With status 400 and the parameter at fault, before anything is asked of the database."""
    answer = service.get(path, **given)
    found = problem(answer)
    assert (answer.status_code, found["code"], found["field"]) == (400, "invalid_value", *given)


def test_a_name_that_no_database_holds_is_refused(service: Served) -> None:
    """NUL is no letter of any tag."""
    answer = service.get("/tags/by-name/a%00b")
    assert (answer.status_code, problem(answer)["field"]) == (400, "name")


def path_of(ending: str) -> str:
    return f"/tags/{tag_id('devel::ui')}{ending}"


MODELS = {
    "/tags": bodies.TagPageBody, "/tags/popular": bodies.TagsBody, "/tags/statistics": bodies.TagFiguresBody,
    "/tags/hierarchy": bodies.HierarchyBody, "/tags/roots": bodies.TagsBody, "/tags/by-name/common": bodies.TagBody,
    path_of(""): bodies.TagBody, path_of("/parents"): bodies.TagsBody, path_of("/ancestors"): bodies.RelativesBody,
}  # fmt: skip


@pytest.mark.parametrize("path", MODELS)
def test_answers_are_what_the_document_says(path: str, service: Served) -> None:
    """Nothing is missing from an answer, nothing is in it that its model has not; so it is with the examples."""
    model, answer = MODELS[path], service.get(path).json()
    (example,) = model.model_json_schema()["examples"]
    for value in (answer, example):
        told = model.model_validate(value).model_dump(mode="json")
        assert shape(told) == shape(value)


def shape(value: Any) -> Any:
    """Return the names in a body, the first of each list standing for the rest."""
    if isinstance(value, dict):
        return {name: shape(one) for name, one in value.items()}
    return [shape(one) for one in value[:1]] if isinstance(value, list) else None


def test_the_document_describes_every_answer(service: Served) -> None:
    """Each endpoint of tags has a model with an example, and says how it refuses."""
    document = service.get("/openapi.json").json()
    paths = {path: found["get"] for path, found in document["paths"].items() if path.startswith("/api/v1/tags")}
    assert len(paths) == 11
    for path, route in paths.items():
        (content,) = route["responses"]["200"]["content"].values()
        model = document["components"]["schemas"][content["schema"]["$ref"].rpartition("/")[2]]
        assert model["examples"], path
        assert {"400", "503", "504"} <= set(route["responses"]), path
