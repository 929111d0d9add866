"""Items over HTTP: what is made is there, what is wrong is said, and nobody reaches what is another's."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from typing import Any

import httpx
import pytest

from genonaut_lib.db import engine
from genonaut_lib.vocabulary import tag_id
from tests.factories import Gallery
from tests.service.served import Served, serve
from tests.writing import LEAST, before_cut_over, copied

FIELDS = {
    "id", "title", "content_type", "source_type", "creator_id", "creator_username", "quality_score", "tags",
    "created_at", "updated_at", "path_thumb", "path_thumbs_alt_res", "prompt", "item_metadata", "is_private",
    "content_data",
}  # fmt: skip
WHOLE: dict[str, Any] = {
    **LEAST, "content_data": "data", "quality_score": 0.25, "is_private": False, "path_thumb": "/t/1.webp",
    "path_thumbs_alt_res": {"512x768": "/t/1_512.webp"}, "item_metadata": {"seed": 2**64 - 1, "é": [1.5, None, True]},
    "tags": ["Sea", "sci-fi"],
}  # fmt: skip


PATIENT = {"GENONAUT_SERVICE__LOCK_TIMEOUT_MS": "60000"}


@pytest.fixture(scope="module")
def service(admin_url: str) -> Iterator[Served]:
    """The service on a gallery after its cut over; who asks is who `user_id` says."""
    template = before_cut_over(admin_url)
    with template as name, copied(admin_url, name, cut_over=True) as settings, serve(settings, **PATIENT) as served:
        yield served


@pytest.fixture(scope="module")
def users(service: Served) -> dict[str, str]:
    with closing(engine.connect(service.settings)) as connection:
        return {name: str(Gallery(connection).user(name)) for name in ("ada", "grace")}


@pytest.fixture
def ada(users: dict[str, str]) -> dict[str, str]:
    """What makes a request one of Ada's."""
    return {"user_id": users["ada"]}


@pytest.fixture
def grace(users: dict[str, str]) -> dict[str, str]:
    return {"user_id": users["grace"]}


def made(service: Served, who: dict[str, str], **fields: Any) -> str:
    """Make an item and return its path."""
    answer = service.client.post("/content", params=who, json={**LEAST, **fields})
    assert answer.status_code == 201, answer.text
    return answer.headers["location"].removeprefix("/api/v1")


def problem(answer: httpx.Response) -> tuple[int, str, str | None]:
    """Return what an answer says went wrong, having seen that it is a problem and holds no SQL."""
    assert answer.headers["content-type"] == "application/problem+json", answer.text
    body = answer.json()
    assert body["status"] == answer.status_code
    assert not [word for word in ("select", "insert", "content_items", "Traceback") if word in answer.text]
    return answer.status_code, body["code"], body["field"]


@pytest.mark.parametrize("source", ["regular", "auto"])
def test_what_was_made_is_read_where_location_says(
    source: str, service: Served, ada: dict[str, str], users: dict[str, str]
) -> None:
    """With every field, numbers of 64 bits among them, and the same ETag."""
    answer = service.client.post("/content", params=ada, json=WHOLE | {"source_type": source})
    again = service.client.get(answer.headers["location"].removeprefix("/api/v1"))
    item = answer.json()
    assert (answer.status_code, again.status_code) == (201, 200)
    assert set(item) == FIELDS
    assert item | WHOLE | {"tags": ["science fiction", "sea"]} == item
    assert (item["source_type"], item["creator_id"], item["creator_username"]) == (source, users["ada"], "ada")
    assert (again.json(), again.headers["etag"]) == (item, answer.headers["etag"])


def test_a_new_item_is_on_the_page_at_once(service: Served, ada: dict[str, str], grace: dict[str, str]) -> None:
    """A private one on its creator's only; totals tell of it to nobody else."""

    def seen(who: dict[str, str]) -> tuple[int, int]:
        answer = service.client.get("/content/unified", params={**who, "tag": "landscape", "count": "exact"}).json()
        return answer["items"][0]["id"], answer["pagination"]["total_count"]

    mine, theirs = seen(ada), seen(grace)
    number = int(made(service, ada, tags=["landscape"], is_private=True).rpartition("/")[2])
    assert seen(ada) == (number, mine[1] + 1)
    assert seen(grace) == seen({}) == theirs


def test_a_change_replaces_what_it_names(service: Served, ada: dict[str, str]) -> None:
    """Sent again it changes nothing, not even a time."""
    path = made(service, ada, **WHOLE)
    before = service.client.get(path).json()
    fields = {"title": "new", "tags": ["anime", "ANIME", str(tag_id("anime"))], "quality_score": None}
    first, second = (service.client.put(path, params=ada, json=fields) for _ in range(2))
    wanted = before | fields | {"tags": ["anime"], "updated_at": first.json()["updated_at"]}
    assert (first.status_code, first.json()) == (200, wanted)
    assert first.json()["updated_at"] > before["updated_at"]
    assert (second.json(), second.headers["etag"]) == (first.json(), first.headers["etag"])


def test_a_prompt_is_not_rewritten(service: Served, ada: dict[str, str]) -> None:
    """The same one is no conflict."""
    path = made(service, ada)
    assert service.client.put(path, params=ada, json={"prompt": LEAST["prompt"]}).status_code == 200
    refused = service.client.put(path, params=ada, json={"prompt": "another", "title": "x"})
    assert problem(refused) == (409, "prompt_immutable", "prompt")
    assert service.client.get(path).json()["title"] == LEAST["title"]


def test_an_item_is_deleted_once(service: Served, ada: dict[str, str]) -> None:
    """Then there is none, for reading, changing and deleting alike."""
    path = made(service, ada, tags=["sea"])
    assert service.client.delete(path, params=ada).status_code == 204
    answers = [service.client.request(method, path, params=ada, json={}) for method in ("GET", "PUT", "DELETE")]
    assert [problem(answer) for answer in answers] == [(404, "item_not_found", None)] * 3


def test_nobody_in_particular_writes_nothing(service: Served, ada: dict[str, str]) -> None:
    """They are asked who they are, before anything is said of the item."""
    path = made(service, ada, is_private=True)
    asked = [("POST", "/content"), ("PUT", path), ("DELETE", path), ("DELETE", "/content/auto/999999")]
    answers = [service.client.request(method, where, json=LEAST) for method, where in asked]
    assert {problem(answer) for answer in answers} == {(401, "unauthenticated", None)}
    assert all(answer.headers["www-authenticate"].startswith("Bearer") for answer in answers)


@pytest.mark.parametrize(("private", "refusal"), [(False, (403, "forbidden")), (True, (404, "item_not_found"))])
def test_nobody_writes_what_is_another_s(
    private: bool, refusal: tuple[int, str], service: Served, ada: dict[str, str], grace: dict[str, str]
) -> None:
    """A private item is not there for them at all."""
    path = made(service, ada, is_private=private)
    answers = [service.client.request(method, path, params=grace, json={"title": "x"}) for method in ("PUT", "DELETE")]
    assert {problem(answer)[:2] for answer in answers} == {refusal}
    assert service.client.get(path, params=ada).json()["title"] == LEAST["title"]
    seen = [service.client.get(path, params=who).status_code for who in ({}, grace)]
    assert seen == ([404, 404] if private else [200, 200])


def test_nobody_makes_items_for_others(service: Served, ada: dict[str, str], users: dict[str, str]) -> None:
    """One's own id may be said again."""
    assert service.client.post("/content", params=ada, json=LEAST | {"creator_id": users["ada"]}).status_code == 201
    refused = service.client.post("/content", params=ada, json=LEAST | {"creator_id": users["grace"]})
    assert problem(refused) == (403, "forbidden", "creator_id")


def test_a_creator_who_is_no_user_is_refused(service: Served) -> None:
    """By the field at fault."""
    refused = service.client.post("/content", params={"user_id": str(uuid.uuid4())}, json=LEAST)
    assert problem(refused) == (400, "unknown_creator", "creator_id")


def test_a_version_that_is_no_more_is_not_written(service: Served, ada: dict[str, str]) -> None:
    """If-Match takes ETags, weak ones and lists of them too, and the star for any."""
    path = made(service, ada)
    old = service.client.get(path).headers["etag"]
    etag = service.client.put(path, params=ada, json={"title": "b"}, headers={"If-Match": f'"x", W/{old}'}).headers[
        "etag"
    ]
    for method in ("PUT", "DELETE"):
        refused = service.client.request(method, path, params=ada, json={"title": "c"}, headers={"If-Match": old})
        assert problem(refused) == (412, "item_changed", None)
    assert service.client.put(path, params=ada, json={"title": "d"}, headers={"If-Match": "*"}).status_code == 200
    assert service.client.delete(path, params=ada, headers={"If-Match": etag}).status_code == 412


def test_of_those_who_read_the_same_version_one_writes(service: Served, ada: dict[str, str]) -> None:
    """Over as many connections."""
    path = made(service, ada)
    headers = {"If-Match": service.client.get(path).headers["etag"]}

    def write(number: int) -> int:
        return service.client.put(path, params=ada, json={"title": str(number)}, headers=headers).status_code

    with ThreadPoolExecutor(8) as threads:
        assert sorted(threads.map(write, range(8))) == [200] + [412] * 7


WRONG: list[tuple[str, bytes, tuple[int, str, str]]] = [
    ("nothing", b"", (400, "invalid_value", "body")),
    ("no JSON", b"{'title'", (400, "invalid_value", "body")),
    ("a list", b"[]", (400, "invalid_value", "body")),
    ("no UTF-8", b'{"title": "\xff"}', (400, "invalid_value", "body")),
    ("no number", b'{"quality_score": NaN}', (400, "invalid_value", "body")),
    ("brackets", b"[" * 100_000, (400, "invalid_value", "body")),
    ("digits", b'{"quality_score": ' + b"9" * 5_000 + b"}", (400, "invalid_value", "body")),
    ("too large", b" " * 5_000_001, (413, "body_too_large", "body")),
    ("unknown field", b'{"titel": "x"}', (400, "invalid_value", "titel")),
    ("server's field", b'{"created_at": "2026-01-01"}', (400, "invalid_value", "created_at")),
    ("no text", b'{"title": 7}', (400, "invalid_value", "title")),
    ("NUL", b'{"title": "a\\u0000b"}', (400, "invalid_value", "title")),
    ("half a pair", b'{"title": "\\ud800"}', (400, "invalid_value", "title")),
    ("infinite", b'{"quality_score": 1e999}', (400, "invalid_value", "quality_score")),
    ("large whole", b'{"item_metadata": {"a": 18446744073709551616}}', (400, "invalid_value", "item_metadata")),
    ("unknown tag", b'{"tags": ["sea", "seea"]}', (400, "invalid_value", "tags")),
    ("injection", b'{"tags": ["x\'; drop table users; --"]}', (400, "invalid_value", "tags")),
    ("source", b'{"source_type": "items"}', (400, "invalid_value", "source_type")),
    ("creator", b'{"creator_id": "ada"}', (400, "invalid_value", "creator_id")),
]


@pytest.mark.parametrize(("body", "wanted"), [row[1:] for row in WRONG], ids=[row[0] for row in WRONG])
def test_a_wrong_body_is_refused_by_the_field_at_fault(
    body: bytes, wanted: tuple[int, str, str], service: Served, ada: dict[str, str]
) -> None:
    """Whoever sends it again without that field is taken."""
    if body.startswith(b'{"'):
        body = body.replace(b"{", json.dumps(LEAST)[:-1].encode() + b", ", 1)
    found = problem(service.client.post("/content", params=ada, content=body))
    # The codes of refused tags are the service's to make finer.
    assert found == wanted or (found[0], found[2]) == (wanted[0], "tags")


def test_a_write_that_gives_way_says_when_to_come_again(service: Served, ada: dict[str, str]) -> None:
    """Where PostgreSQL ended it for the sake of others, more often than it is tried anew."""
    with closing(engine.connect(service.settings)) as connection:
        connection.execute(
            "create function never() returns trigger language plpgsql as"
            " $$ begin raise exception using errcode = 'serialization_failure'; end $$;"
            " create trigger never before insert on content_items for each row when (new.title = 'never')"
            " execute function never()"
        )
    answer = service.client.post("/content", params=ada, json=LEAST | {"title": "never"})
    assert problem(answer) == (503, "write_contended", None)
    assert answer.headers["retry-after"] == "1"


def test_near_names_are_told(service: Served, ada: dict[str, str]) -> None:
    """In the hint."""
    refused = service.client.post("/content", params=ada, json=LEAST | {"tags": ["lanscape"]})
    assert "'landscape'" in refused.json()["hint"]


@pytest.mark.parametrize(
    ("path", "field"),
    [("items/1", "source"), ("regular/x", "id"), ("regular/2147483648", "id"), ("auto/1.5", "id"), ("auto/%00", "id")],
)
def test_a_wrong_path_is_refused_by_its_part(path: str, field: str, service: Served, ada: dict[str, str]) -> None:
    """Never by what PostgreSQL makes of it."""
    answers = [
        service.client.request(method, f"/content/{path}", params=ada, json={}) for method in ("GET", "PUT", "DELETE")
    ]
    assert {problem(answer) for answer in answers} == {(400, "invalid_value", field)}


@pytest.mark.parametrize(
    "text", ["'; drop table users; --", "%s %(id)s {x}", "\\", "\u202e\u0301🏠", "<script>", "null"]
)
def test_text_is_text(text: str, service: Served, ada: dict[str, str]) -> None:
    """It comes out as it went in."""
    fields = {"title": text, "prompt": text, "content_data": text, "item_metadata": {text: text}}
    path = made(service, ada, **fields)
    found = service.client.get(path).json()
    assert {name: found[name] for name in fields} == fields


def test_the_document_shows_what_may_be_sent_and_answered(service: Served) -> None:
    """Every status that these tests met, and bodies with examples."""
    document = service.client.get("/openapi.json").json()
    one = document["paths"]["/api/v1/content/{source}/{id}"]
    post = document["paths"]["/api/v1/content"]["post"]
    assert {"201", "400", "401", "403", "413"} <= set(post["responses"])
    assert {"200", "204", "400", "401", "403", "404", "409", "412"} <= set(one["put"]["responses"])
    for operation in (post, one["put"]):
        schema = operation["requestBody"]["content"]["application/json"]["schema"]
        assert schema["examples"]
        assert schema["additionalProperties"] is False
    assert set(document["components"]["schemas"]["ShownItem"]["properties"]) == FIELDS
