"""The log: one object a line, with what operation needs and nothing of what was asked for or by whom."""

from __future__ import annotations

import json
import time
import uuid
from collections.abc import Iterator
from datetime import datetime
from typing import Any

import httpx
import pytest

from tests.gallery.built import Built
from tests.service.faulty import locked, page
from tests.service.served import Served, serve

CANARY = "canarybird"
FIELDS = {
    "time", "level", "logger", "message", "process", "request_id", "method", "route", "status", "ms", "database_ms",
    "strategy", "bytes", "has_viewer", "code",
}  # fmt: skip
TAG = "insert into tags (id, tag_no, name, slug, label) values (gen_random_uuid(), 99999, %(word)s, %(word)s, %(word)s)"
ROUTE = "/api/v1/content/unified"


@pytest.fixture(scope="module")
def service(content: Built) -> Iterator[Served]:
    """A service for which every request is slow, and no statement waits for a lock."""
    knobs = {"GENONAUT_SERVICE__SLOW_MS": "0", "GENONAUT_SERVICE__LOCK_TIMEOUT_MS": "1"}
    with serve(content.settings, **knobs) as served:
        yield served


def lines(service: Served) -> list[dict[str, Any]]:
    """Return the log's lines; one that is no object fails here."""
    return [json.loads(line) for line in service.log().splitlines(keepends=True) if line.endswith("\n")]


def line_of(service: Served, response: httpx.Response) -> dict[str, Any]:
    """Return the line of a request that was answered; it is written once the answer is on its way."""
    request_id, ends = response.headers["x-request-id"], time.monotonic() + 10
    while time.monotonic() < ends:
        for line in lines(service):
            if line.get("request_id") == request_id and "route" in line:
                return line
        time.sleep(0.02)
    raise AssertionError(request_id)


def test_every_line_is_an_object_with_a_moment_a_level_and_a_source(service: Served) -> None:
    """uvicorn's as well; the first one says where the service listens."""
    line_of(service, page(service))
    found = lines(service)
    assert found[0]["address"] == service.url
    assert {"genonaut.service", "genonaut.requests", "uvicorn.error"} <= {line["logger"] for line in found}
    for line in found:
        assert datetime.fromisoformat(line["time"]).tzinfo is not None
        assert line["level"] in ("INFO", "WARNING")


def test_a_request_has_a_line_with_its_figures(service: Served) -> None:
    """By its route's template."""
    answer = page(service, page_size="3")
    line = line_of(service, answer)
    assert set(line) == FIELDS | {"plan_hash"}
    assert (line["method"], line["route"], line["status"]) == ("GET", ROUTE, 200)
    assert line["bytes"] == len(answer.content)
    assert line["strategy"] is not None
    assert line["database_ms"] > 0
    assert line["has_viewer"] is False


def test_the_hash_of_a_slow_plan_tells_shapes_apart_and_no_values(service: Served) -> None:
    """What is slow can be found again without knowing who asked for what."""
    hashes = [
        line_of(service, page(service, **parameters))["plan_hash"]
        for parameters in (
            {"search_term": "cat"}, {"search_term": "dog"}, {"search_term": "dog", "sort_field": "title"}
        )
    ]  # fmt: skip
    assert hashes[0] == hashes[1] != hashes[2]


def test_what_was_asked_for_and_by_whom_is_never_written(service: Served, content: Built) -> None:
    """Neither when all goes well, nor when it is refused, nor when it fails: in tags, words, ids, tokens and paths."""
    viewer = str(uuid.uuid4())
    content.connection.execute(TAG, {"word": CANARY})
    headers = {"authorization": f"Bearer {CANARY}", "x-request-id": f"{CANARY} {CANARY}", "user-agent": CANARY}
    for parameters in (
        {"tag": CANARY}, {"tag": f"un{CANARY}"}, {"search_term": CANARY}, {"user_id": viewer}, {"user_id": CANARY},
        {"sort_field": CANARY}, {"cursor": CANARY}, {"page": CANARY}, {CANARY: "1"}, {"search_term": f"{CANARY}\0"},
    ):  # fmt: skip
        service.client.get("/content/unified", params=parameters, headers=headers)
    with locked(content.settings):
        assert page(service, search_term=CANARY).status_code == 503
    service.client.get(f"/{CANARY}?{CANARY}={CANARY}")
    service.client.request("DELETE", f"/content/unified?{CANARY}")
    assert len(lines(service)) > 12
    assert CANARY not in service.log()
    assert viewer not in service.log()


def test_a_failure_of_ours_names_no_value(service: Served, content: Built) -> None:
    """Its message might quote one: kinds and places are written, messages are not."""
    content.connection.execute("alter table tags rename column name to word")
    try:
        answer = service.client.get("/content/unified", params={"tag": f"{CANARY}-once-more"})
    finally:
        content.connection.execute("alter table tags rename column word to name")
    assert answer.status_code == 500
    request_id = answer.headers["x-request-id"]
    (told,) = (line for line in lines(service) if "exc_info" in line and line["request_id"] == request_id)
    assert "psycopg.errors.UndefinedColumn (SQLSTATE 42703)" in told["exc_info"]
    assert CANARY not in service.log()


def test_a_sane_request_id_is_kept_and_any_other_replaced(service: Served) -> None:
    """It goes into headers and logs, so it must be what an id is."""
    for given, kept in (("abc-1.2_3", True), ("two words", False), ("x" * 65, False), ("", False), ("<b>", False)):
        found = service.client.get("/content/unified", headers={"x-request-id": given}).headers["x-request-id"]
        assert (found == given) is kept
        assert found


def test_a_path_that_there_is_not_is_a_problem_and_not_written(service: Served) -> None:
    """So is a method that a path does not take."""
    answer = service.client.get("/no/such/path")
    assert (answer.status_code, answer.json()["code"]) == (404, "not_found")
    assert line_of(service, answer)["route"] == "unrouted"
    answer = service.client.delete("/content/unified")
    assert (answer.status_code, answer.json()["code"]) == (405, "method_not_allowed")
    assert answer.headers["allow"] == "GET"
    assert line_of(service, answer)["route"] == ROUTE


def test_an_answer_tells_its_times_and_not_its_server(service: Served) -> None:
    """A browser shows the times, and must not guess at the type."""
    headers = page(service).headers
    assert "request;dur=" in headers["server-timing"]
    assert "db;dur=" in headers["server-timing"]
    assert headers["x-content-type-options"] == "nosniff"
    assert "server" not in headers


def test_whether_somebody_looks_is_written_but_not_who(service: Served) -> None:
    """By a user's id, or by a token."""
    asked = [{"params": {"user_id": str(uuid.uuid4())}}, {"headers": {"authorization": "Bearer x"}}, {}]
    given = [line_of(service, service.client.get("/content/unified", **how))["has_viewer"] for how in asked]
    assert given == [True, True, False]
