"""Hostile requests to a running service: none is a fault, every refusal is a problem, nothing leaks."""

from __future__ import annotations

import base64
import http.client
import random
import secrets
from collections.abc import Iterator
from typing import Any
from urllib.parse import urlencode, urlsplit

import httpx
import pytest
from psycopg import conninfo

from tests.gallery.built import Built
from tests.service.harmless import Operation, faults_of, operations
from tests.service.served import Served

SEED = 20
LONG, HUGE = 60_000, 1_000_000
WORDS = (
    "", " ", "\0", "a\0b", "'; drop table users; --", "1 or 1=1", "') union select null, null --", "\\", "%",
    "%s %(a)s", "{0} ${7*7}", "<script>alert(1)</script>", "../../etc/passwd", "\r\nX-Injected: 1", "\u202e\u200b",
    "e\u0301" * 50, "\ufdfa" * 60, "\U0001f600", "\ufffe", "İ", "x" * 5_000,
)  # fmt: skip
NUMBERS = (
    "-1", "0", "1.5", "1e3", "+1", " 1", "٣", "0x10", "NaN", "inf", "2147483648", "9" * 30, "true", "null", "[]", "{}",
)  # fmt: skip
IDS = ("00000000-0000-0000-0000-000000000000", "urn:uuid:00000000-0000-0000-0000-000000000000", "{}", "x" * 36)
RAW = (
    "%00", "a%00b", "%ED%A0%80", "%FF%FE", "%C0%AF", "%zz", "%", "%u0041", "+", "&&&", "=", ";", "a=1;b=2", "%2525",
)  # fmt: skip
"""Not what anybody would send who encodes properly: half a surrogate pair, no UTF-8, no percent-encoding."""

HEADERS = {
    "Authorization": ("Bearer", "Bearer ", "Bearer a.b.c", "Basic OmE=", "Bearer " + "x" * 20_000, "Bearer é"),
    "If-None-Match": ('"', "*", 'W/"', '"a", "b"', "x" * 10_000),
    "If-Match": ('"', "*", "x" * 10_000),
    "Accept-Encoding": ("gzip;q=", "*;q=0", "gzip;q=9e9", ",,,"),
    "X-Request-Id": ("<script>", '"; drop table users', "x" * 10_000, "é", ""),
    "Content-Type": ("text/plain", "application/json; charset=nowhere", "multipart/form-data", ""),
    "X-Forwarded-For": ("' or 1=1 --",),
}
BODIES: tuple[bytes, ...] = (
    b"", b"{", b"null", b"[]", b'"text"', b"1e999", b"NaN", b"\xff\xfe", b'{"title": "\\ud800"}',
    b'{"title": "\\u0000"}',
    b'{"title": 1e400}', b"[" * 50_000, b'{"a":' * 5_000, b'{"title": "' + b"x" * HUGE + b'"}',
)  # fmt: skip
FIELDS: tuple[Any, ...] = (
    None, True, -1, 2**63, 1e308, "", "\0", "x" * 30_000, [], {}, [None], ["\0"], {"a": "\0"}, ["x" * 300] * 50,
    {"a": {"b": [1e308]}}, "'; drop table users; --",
)  # fmt: skip
ITEM = {"title": "a", "content_type": "image", "content_data": "a", "prompt": "a", "tags": ["common"]}


@pytest.fixture(scope="module")
def routes(service: Served) -> list[Operation]:
    return list(operations(service))


@pytest.fixture(scope="module")
def client(service: Served) -> Iterator[httpx.Client]:
    """Asks for paths as the document has them, from the service's root."""
    with httpx.Client(base_url=service.url, timeout=60, trust_env=False) as found:
        yield found


@pytest.fixture(scope="module")
def viewer(content: Built) -> str:
    return str(content.user("ada"))


def faults(sent: str, response: httpx.Response) -> list[str]:
    return [
        f"{response.request.method} {response.request.url.path} {sent[:60]!r}: {one}" for one in faults_of(response)
    ]


def drawn(dice: random.Random, values: tuple[str, ...], path: str) -> list[str]:
    """Return all values for a page of the gallery, where the most can go wrong, and some of them for other routes."""
    return list(values) if path.endswith(("/unified", "/content")) else dice.sample(values, 12)


@pytest.mark.parametrize(
    ("status", "kind", "text"),
    [
        (500, "problem+json", '{"status": 500, "code": "a", "detail": "a", "title": "a", "type": "a"}'),
        (404, "json", '{"detail": "Not Found"}'),
        (400, "problem+json", '{"status": 404, "code": "a", "detail": "a", "title": "a", "type": "a"}'),
        (400, "problem+json", '{"status": 400, "code": "a", "detail": "a", "title": "a"}'),
        (400, "problem+json", '{"status": 400, "code": "a", "detail": "relation \\"a\\"", "title": "a", "type": "a"}'),
        (400, "problem+json", '{"status": 400, "code": "a", "detail": "content_tags", "title": "a", "type": "a"}'),
    ],
)
def test_what_no_answer_may_do_is_seen(status: int, kind: str, text: str) -> None:
    """A fault, an error in another form, one that contradicts itself or lacks a part, and words that leak."""
    assert len(faults_of(httpx.Response(status, headers={"content-type": f"application/{kind}"}, text=text))) == 1


def test_no_parameter_of_any_route_takes_the_service_down(client: httpx.Client, routes: list[Operation]) -> None:
    """Each by itself with words, numbers and ids that nobody expects, and each twice with two of them."""
    found, dice = [], random.Random(SEED)
    for route in routes:
        if route.method == "GET":
            for name in route.query:
                for value in drawn(dice, (*WORDS, *NUMBERS, *IDS), route.path):
                    found += faults(f"{name}={value}", client.get(route.filled("common"), params={name: value}))
                twice = {name: [WORDS[4], NUMBERS[0]]}
                found += faults(f"{name} twice", client.get(route.filled("common"), params=twice))
    assert found == []


def test_no_word_in_a_path_takes_the_service_down(client: httpx.Client, routes: list[Operation], viewer: str) -> None:
    """Reading, changing and deleting what is called by words, numbers and ids that nobody expects."""
    found = []
    for route in routes:
        if route.path_names:
            for value in (*WORDS, *NUMBERS, *IDS):
                body = {"json": {"title": "a"}} if route.takes_body else {}
                asked = client.request(route.method, route.filled(value), params={"user_id": viewer}, **body)  # type: ignore[arg-type]
                found += faults(value, asked)
    assert found == []


def test_a_million_letters_are_refused(service: Served, routes: list[Operation]) -> None:
    """In each parameter of a page; beyond 64 KiB an address is none, which the server itself says in plain text."""
    page = next(route for route in routes if route.path.endswith("/content/unified"))
    found = []
    for name in page.query:
        long, longer = (raw(service, "GET", f"{page.path}?{name}={'x' * size}", {}) for size in (LONG, HUGE))
        assert (long.status_code, longer.status_code) == (400, 400), name
        assert max(len(long.content), len(longer.content)) < 10_000
        found += faults(name, long)
    assert found == []


def test_bytes_that_are_no_text_are_refused(service: Served, routes: list[Operation]) -> None:
    """Half a surrogate pair, no UTF-8, no percent-encoding, in every parameter, sent as they are."""
    found, dice = [], random.Random(SEED)
    for route in routes:
        if route.method == "GET":
            words = RAW if route.path.endswith("/unified") else dice.sample(RAW, 4)
            queries = [f"{name}={word}" for name in (*route.query, "nobody_knows_it") for word in words]
            targets = [f"{route.filled('common')}?{query}" for query in queries]
            targets += [_with(route, word) for word in RAW if route.path_names]
            found += [one for target in targets for one in faults(target, raw(service, "GET", target, {}))]
    assert found == []


def _with(route: Operation, word: str) -> str:
    path = route.path
    for name in route.path_names:
        path = path.replace(f"{{{name}}}", word)
    return path


def raw(
    service: Served, method: str, target: str, headers: dict[str, str], body: bytes | None = None
) -> httpx.Response:
    """Send a request line and headers as they are, which httpx would not."""
    place = urlsplit(service.url)
    connection = http.client.HTTPConnection(place.hostname or "", place.port, timeout=60)
    try:
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        request = httpx.Request(method, service.url + urlsplit(target).path[:100])
        return httpx.Response(answer.status, headers=answer.getheaders(), content=answer.read(), request=request)
    finally:
        connection.close()


def test_no_header_takes_the_service_down(service: Served, routes: list[Operation]) -> None:
    """Broken tokens, entity tags, encodings and request ids; none of them comes back as it was sent."""
    found = []
    for route in routes:
        for name, values in HEADERS.items():
            for value in values:
                body = b"{}" if route.takes_body else None
                response = raw(service, route.method, route.filled("common"), {name: value}, body)
                found += faults(f"{name}: {value}", response)
                assert "script" not in str(response.headers)
    assert found == []


def test_no_body_takes_the_service_down(client: httpx.Client, routes: list[Operation], viewer: str) -> None:
    """No JSON, deep JSON, a million letters, halves of surrogate pairs, and every field with what it cannot hold."""
    found = []
    for route in routes:
        if route.takes_body:
            address = {
                "url": route.filled("regular").replace("regular/regular", "regular/1"),
                "params": {"user_id": viewer},
            }
            for body in BODIES:
                headers = {"Content-Type": "application/json"}
                found += faults(str(body[:40]), client.request(route.method, content=body, headers=headers, **address))  # type: ignore[arg-type]
            for name in (*ITEM, "source_type", "item_metadata", "quality_score", "path_thumb", "is_private", "id"):
                for value in FIELDS:
                    response = client.request(route.method, json={**ITEM, name: value}, **address)  # type: ignore[arg-type]
                    found += faults(f"{name}: {value!r}"[:60], response)
    assert found == []


def test_what_is_not_there_is_a_problem(client: httpx.Client) -> None:
    """Unknown paths, and methods that a path does not have, are refused in the same form."""
    found = []
    for path in ("/", "/api", "/api/v1", "/api/v1/nowhere", "/api/v1/content/unified/", "//", "/%00"):
        for method in ("GET", "POST", "PATCH", "DELETE", "OPTIONS", "TRACE"):
            response = client.request(method, path)
            assert response.status_code in {307, 404, 405}, (method, path)
            found += faults(method, response)
    assert found == []


def test_a_cursor_that_was_touched_is_refused(service: Served) -> None:
    """Each bit flipped, each length, another query's, none at all: never another page than the one it stands for."""
    query = {"tag": "common", "page_size": "5"}
    first = service.client.get("/content/unified", params=query).json()
    cursor = first["pagination"]["next_cursor"]
    second = page_of(service, {**query, "cursor": cursor})
    assert second
    dice = random.Random(SEED)
    touched = [*flipped(cursor), *(cursor[:length] for length in range(1, len(cursor), 3)), cursor * 2, cursor + "A"]
    touched += [base64.urlsafe_b64encode(dice.randbytes(size)).decode() for size in range(0, 120, 7)]
    for one in touched:
        response = service.client.get("/content/unified", params={**query, "cursor": one})
        assert faults_of(response) == []
        # Spare bits at the end of base64 mean nothing, and then neither does flipping them.
        assert response.status_code == 400 or (one and items_of(response) == second) or not one, one
    for other in ({"tag": "half"}, {"tag_match": "all", "tag": ["common", "half"]}, {"sort_field": "title"}):
        response = service.client.get("/content/unified", params={**query, **other, "cursor": cursor})
        assert (response.status_code, response.json()["field"]) == (400, "cursor")


def flipped(cursor: str) -> Iterator[str]:
    raw = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4))
    for bit in range(len(raw) * 8):
        changed = bytearray(raw)
        changed[bit // 8] ^= 1 << bit % 8
        yield base64.urlsafe_b64encode(changed).decode().rstrip("=")


def items_of(response: httpx.Response) -> list[tuple[str, int]]:
    return [(item["source_type"], item["id"]) for item in response.json()["items"]]


def page_of(service: Served, query: dict[str, str]) -> list[tuple[str, int]]:
    response = service.client.get("/content/unified", params=query)
    assert response.status_code == 200, response.text
    return items_of(response)


def test_random_requests_for_a_page_are_answered_or_refused(client: httpx.Client, routes: list[Operation]) -> None:
    """Several parameters at once, good ones and bad ones, repeated and contradictory."""
    page = next(route for route in routes if route.path.endswith("/content/unified"))
    good = {
        "page": ["1", "2"], "page_size": ["1", "7"], "tag": ["common", "half", "left"], "tag_match": ["any", "all"],
        "exclude_tag": ["right"], "sort_field": ["title", "quality_score", "id"], "sort_order": ["asc", "desc"],
        "count": ["none", "exact", "estimated", "auto"], "search_term": ["cat", '"red cat" -dog'], "facets": ["true"],
        "content_source_types": ["community-regular", "user-auto", ""], "content_types": ["regular", "auto", ""],
        "creator_filter": ["all", "user", "community"],
    }  # fmt: skip
    dice, found, statuses = random.Random(SEED), [], set()
    for _ in range(300):
        names = dice.sample(page.query, dice.randint(1, min(6, len(page.query))))
        query = [(name, dice.choice(good.get(name, WORDS) if dice.random() < 0.85 else WORDS)) for name in names]
        response = client.get(page.path, params=urlencode([*query, *dice.choices(query, k=dice.randint(0, 2))]))
        found += faults(str(query), response)
        statuses.add(response.status_code)
    assert found == []
    assert statuses >= {200, 400}


def test_no_secret_of_the_service_is_in_an_answer(service: Served, client: httpx.Client) -> None:
    """The database's address is nobody's business, not even in what the service says of its health."""
    assert service.settings.database_url is not None
    address = service.settings.database_url.get_secret_value()
    parts = conninfo.conninfo_to_dict(address)
    hidden = [address, *(str(parts[name]) for name in ("password", "dbname") if parts.get(name))]
    marker = secrets.token_hex(8)
    for path in ("/api/v1/health", "/api/v1/ready", "/api/v1/metrics", f"/api/v1/content/unified?tag={marker}"):
        response = client.get(path)
        assert [word for word in hidden if word in response.text] == []
