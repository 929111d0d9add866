"""A client that does not wait: its statement ends, its session is free again, and others are not held up."""

from __future__ import annotations

import json
import socket
import time
import urllib.parse
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import psycopg
import pytest

from tests.gallery.built import Built
from tests.service.faulty import locked, page, waiters
from tests.service.served import Served, serve

CANCELLED_S = 0.2
"""How soon a statement must end after its client went."""
SESSIONS = 6
STUCK = 4
LOCKED = "tag_aliases"
TAGGED = "/api/v1/content/unified?tag=common"
LARGE = "/api/v1/content/unified?page_size=1000"


@pytest.fixture(scope="module")
def service(content: Built) -> Iterator[Served]:
    """The service with few sessions and much patience."""
    knobs = {"GENONAUT_SERVICE__SESSIONS": str(SESSIONS), "GENONAUT_SERVICE__TAGS_FRESH_S": "0"}
    knobs["GENONAUT_SERVICE__LOCK_TIMEOUT_MS"] = "60000"
    with serve(content.settings, **knobs) as served:
        assert page(served).status_code == 200
        yield served


@pytest.fixture
def observer(content: Built) -> Iterator[psycopg.Connection[tuple[int]]]:
    """A session that looks at the others."""
    assert content.settings.database_url is not None
    with closing(psycopg.connect(content.settings.database_url.get_secret_value(), autocommit=True)) as session:
        yield session


def ask(service: Served, path: str = TAGGED) -> socket.socket:
    """Send a request, and return the connection before it is answered."""
    place = urllib.parse.urlsplit(service.url)
    assert place.hostname is not None
    client = socket.create_connection((place.hostname, place.port or 80))
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: here\r\n\r\n".encode())
    return client


def seconds_until_none_waits(observer: psycopg.Connection[tuple[int]]) -> float:
    started = time.monotonic()
    while waiters(observer):
        assert time.monotonic() - started < 10
        time.sleep(0.005)
    return time.monotonic() - started


def test_the_statement_of_a_client_that_went_ends_at_once(
    service: Served, content: Built, observer: psycopg.Connection[tuple[int]]
) -> None:
    """On the server, as pg_stat_activity shows; the best of a few, since the machine may be busy."""
    took = []
    with locked(content.settings, LOCKED) as waiting:
        for _ in range(3):
            with closing(ask(service)):
                waiting(1)
            took.append(seconds_until_none_waits(observer))
    assert min(took) < CANCELLED_S


def test_clients_that_went_leave_every_session_fit_for_others(
    service: Served, content: Built, observer: psycopg.Connection[tuple[int]]
) -> None:
    """More of them than there are sessions."""
    with locked(content.settings, LOCKED) as waiting:
        for _ in range(3):
            clients = [ask(service) for _ in range(SESSIONS)]
            waiting(SESSIONS)
            for client in clients:
                client.close()
            seconds_until_none_waits(observer)
    with ThreadPoolExecutor(SESSIONS) as threads:
        assert {answer.status_code for answer in threads.map(lambda _: page(service), range(3 * SESSIONS))} == {200}
    gone = [line for line in map(json.loads, service.log().splitlines()) if line.get("code") == "client_gone"]
    assert len(gone) > SESSIONS
    assert {(line["status"], line["route"]) for line in gone} == {(499, "/api/v1/content/unified")}


def test_a_few_stuck_requests_hold_nobody_else_up(service: Served, content: Built) -> None:
    """They wait for a lock on a table that pages without tags do not read; those find a session meanwhile."""
    with locked(content.settings, LOCKED) as waiting:
        clients = [ask(service) for _ in range(STUCK)]
        waiting(STUCK)
        answers = [page(service) for _ in range(20)]
        assert len(waiting(STUCK)) == STUCK
        for client in clients:
            client.close()
    assert {answer.status_code for answer in answers} == {200}


def test_a_client_that_sends_half_a_request_and_goes_leaves_nothing(service: Served) -> None:
    """Nor one that reads only half of the answer."""
    for _ in range(20):
        with closing(ask(service, LARGE)) as client:
            client.recv(10)
        place = urllib.parse.urlsplit(service.url)
        with closing(socket.create_connection((place.hostname, place.port or 80))) as client:
            client.sendall(b"GET /api/v1/content/uni")
    assert page(service).status_code == 200
    assert "Traceback" not in service.log()
    assert '"level": "ERROR"' not in service.log()
