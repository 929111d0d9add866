"""What becomes of requests while the database is stopped, killed, hung, locked or busy, and how soon it is over."""

from __future__ import annotations

import signal
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

import psycopg
import pytest

from tests.service.faulty import RECOVERS_S, Database, database, locked, page, problem, seconds_until_answered
from tests.service.running import HEALTH_S, redis_at, timed
from tests.service.served import Served, serve
from tests.waiting import eventually

Waiting = Callable[[int], list[int]]
SESSIONS = 4
STATEMENT_MS, DEADLINE_S, WAIT_MS = 1_500, 2.0, 500
KNOBS = {
    "SESSIONS": str(SESSIONS),
    "STATEMENT_TIMEOUT_MS": str(STATEMENT_MS),
    "LOCK_TIMEOUT_MS": "60000",
    "DEADLINE_S": str(DEADLINE_S),
    "POOL_WAIT_MS": str(WAIT_MS),
    "POOL_QUEUE": "8",
    "STATS_FRESH_S": "3600",
}
PATIENT = {"STATEMENT_TIMEOUT_MS": "30000", "DEADLINE_S": "60"}
"""Knobs for what is not about time."""
AT_ONCE_S = 1.0
"""How soon a 503 must come: the time for a session, and some for a busy machine."""


def knobs(**changed: str) -> dict[str, str]:
    return {f"GENONAUT_SERVICE__{name}": value for name, value in (KNOBS | changed).items()}


@pytest.fixture(scope="module")
def own() -> Iterator[Database]:
    """A server that may be ill-treated, with a gallery."""
    with database() as found:
        yield found


@pytest.fixture(scope="module")
def running(own: Database) -> Iterator[Served]:
    """The service on it, with short patience."""
    with serve(own.settings, **knobs()) as served:
        yield served


@pytest.fixture
def service(running: Served) -> Served:
    """The service, well: whatever the test before did to it."""
    assert seconds_until_answered(running) < RECOVERS_S
    return running


@pytest.fixture(scope="module")
def running_on(own: Database) -> Iterator[Served]:
    """The service on it, with more patience than any test."""
    with serve(own.settings, **knobs(**PATIENT)) as served:
        yield served


@pytest.fixture
def patient(running_on: Served) -> Served:
    """That one, well."""
    assert seconds_until_answered(running_on) < RECOVERS_S
    return running_on


def end_waiting(own: Database, waiting: Waiting) -> int:
    """End the session that waits for the lock."""
    (pid,) = waiting(1)
    with psycopg.connect(own.url, autocommit=True) as admin:
        admin.execute("select pg_terminate_backend(%s)", [pid])
    return pid


def await_another(pid: int, waiting: Waiting) -> None:
    """Wait until another session than this waits for the lock."""
    while waiting(1) == [pid]:
        time.sleep(0.005)


@pytest.mark.parametrize("end", ["stop", "kill"])
def test_a_database_that_is_gone_is_said_at_once_and_found_again(end: str, service: Served, own: Database) -> None:
    """By 503 with a time to come again, and without a restart of the service."""
    getattr(own, end)()
    for _ in range(3):
        found, seconds = timed(lambda: problem(page(service)))
        assert found == (503, "database_unavailable")
        assert seconds < AT_ONCE_S
    own.start()
    assert seconds_until_answered(service) < RECOVERS_S


def test_a_long_absence_does_not_make_the_service_slower_to_come_back(service: Served, own: Database) -> None:
    """Nor do those who waited in vain, more than may wait at a time, or attempts to connect that become seldom."""
    own.stop()
    for _ in range(16):
        page(service)
    own.start()
    assert seconds_until_answered(service) < RECOVERS_S


def test_a_restart_between_two_requests_is_not_noticed(own: Database) -> None:
    """All sessions of the pool are dead then, and the first one that is tried says so before it is used."""
    with serve(own.settings, **knobs()) as service:
        with ThreadPoolExecutor(SESSIONS) as threads:
            assert {one.status_code for one in threads.map(lambda _: page(service), range(3 * SESSIONS))} == {200}
        own.stop()
        own.start()
        # The first session on a server that has just started takes its time, whoever opens it.
        psycopg.connect(own.url).close()
        assert [page(service).status_code for _ in range(6)] == [200] * 6


def test_a_session_that_ends_under_a_reading_request_is_replaced(patient: Served, own: Database) -> None:
    """The request is tried once more on another one."""
    with ThreadPoolExecutor(1) as threads:
        with locked(own.settings) as waiting:
            asked = threads.submit(page, patient)
            await_another(end_waiting(own, waiting), waiting)
        assert asked.result().status_code == 200


def test_a_session_that_ends_twice_is_said(patient: Served, own: Database) -> None:
    """Nothing is tried for ever."""
    with ThreadPoolExecutor(1) as threads, locked(own.settings) as waiting:
        asked = threads.submit(page, patient)
        await_another(end_waiting(own, waiting), waiting)
        end_waiting(own, waiting)
        assert problem(asked.result()) == (503, "database_unavailable")


def test_a_database_that_hangs_holds_nobody_beyond_the_deadline(service: Served, own: Database) -> None:
    """Though not even a cancellation is heeded: the answer goes out first, and the session is closed behind it."""
    with own.hung():
        found, seconds = timed(lambda: problem(page(service)))
        assert found == (504, "deadline_exceeded")
        assert DEADLINE_S <= seconds < DEADLINE_S + 1
        with ThreadPoolExecutor(3 * SESSIONS) as threads:
            found = [problem(response) for response in threads.map(lambda _: page(service), range(3 * SESSIONS))]
        assert set(found) <= {(504, "deadline_exceeded"), (503, "pool_full"), (503, "database_unavailable")}
    assert seconds_until_answered(service) < RECOVERS_S


def test_a_database_that_hangs_is_down_within_the_second(own: Database, tmp_path: Path) -> None:
    """However often one asks meanwhile; neither is the service ready. Both recover with the database."""
    with redis_at(tmp_path) as (url, _), serve(own.settings, **knobs(), REDIS_URL=url) as service:
        assert service.client.get("/health").status_code == 200
        with own.hung():
            paths = ("/health", "/health", "/ready", "/health")
            checks = [timed(lambda path=path: service.client.get(path)) for path in paths]  # type: ignore[misc]
        assert [answer.status_code for answer, _ in checks] == [503] * 4
        assert max(seconds for _, seconds in checks) < HEALTH_S
        states = {name: one["state"] for name, one in checks[0][0].json()["dependencies"].items()}
        assert states == {"database": "down", "statistics": "unknown", "bitmaps": "unknown", "redis": "ok"}
        assert checks[2][0].json()["code"] == "not_ready"
        eventually(lambda: service.client.get("/health").status_code == 200)
        eventually(lambda: service.client.get("/ready").status_code == 200)


def test_the_service_ends_though_its_database_hangs(own: Database) -> None:
    """A check that waits for the database does not keep the process from ending."""
    with serve(own.settings, **knobs()) as service:
        assert page(service).status_code == 200
        with own.hung():
            assert service.client.get("/health").status_code == 503
            service.process.send_signal(signal.SIGTERM)
            assert service.process.wait(20) is not None


def test_a_statement_over_its_time_is_ended(service: Served, own: Database) -> None:
    """By the server, which says that it was the time limit."""
    with locked(own.settings) as waiting:
        found, seconds = timed(lambda: problem(page(service)))
        assert found == (504, "statement_timeout")
        assert seconds < DEADLINE_S
        assert waiting(0) == []


def test_a_statement_that_somebody_else_ends_is_no_timeout(patient: Served, own: Database) -> None:
    """The SQLSTATE is the same."""
    with ThreadPoolExecutor(1) as threads, locked(own.settings) as waiting:
        asked = threads.submit(page, patient)
        (pid,) = waiting(1)
        with psycopg.connect(own.url, autocommit=True) as admin:
            admin.execute("select pg_cancel_backend(%s)", [pid])
        assert problem(asked.result()) == (503, "statement_cancelled")


def test_a_full_pool_is_said_at_once(patient: Served, own: Database) -> None:
    """Those that hold its sessions are not disturbed."""
    with ThreadPoolExecutor(SESSIONS) as threads:
        with locked(own.settings) as waiting:
            asked = [threads.submit(page, patient) for _ in range(SESSIONS)]
            waiting(SESSIONS)
            found, seconds = timed(lambda: problem(page(patient)))
            assert found == (503, "pool_full")
            assert seconds < AT_ONCE_S
        assert {one.result().status_code for one in asked} == {200}


def test_an_error_of_ours_says_nothing_but_where_to_look(service: Served, own: Database) -> None:
    """Neither SQL nor the error's words; the log has its kind and where it came from, under the request's id."""
    with closing(psycopg.connect(own.url, autocommit=True)) as admin:
        admin.execute("alter table content_items_all rename to hidden")
        try:
            response = page(service)
        finally:
            admin.execute("alter table hidden rename to content_items_all")
    assert problem(response) == (500, "internal_error")
    lines = [line for line in service.log().splitlines() if response.headers["x-request-id"] in line]
    told = next(line for line in lines if "exc_info" in line)
    assert "UndefinedTable (SQLSTATE 42P01)" in told
    assert "answering.py" in told
    assert "does not exist" not in told


def test_a_lock_is_waited_for_no_longer_than_its_time(own: Database) -> None:
    """Whoever takes a table away from its readers is left alone; a Redis that is not there is not missed."""
    patience = knobs(LOCK_TIMEOUT_MS="200") | {"REDIS_URL": "redis://127.0.0.1:1/0"}
    with serve(own.settings, **patience) as service:
        assert page(service).status_code == 200
        with locked(own.settings) as waiting:
            found, seconds = timed(lambda: problem(page(service)))
            assert found == (503, "lock_timeout")
            assert seconds < AT_ONCE_S
            assert waiting(0) == []


def test_the_service_starts_while_its_database_is_away(own: Database) -> None:
    """It says so, to all who ask at a time at once, and answers once the database does."""
    own.stop()
    try:
        with serve(own.settings, **knobs()) as service:
            assert problem(page(service)) == (503, "database_unavailable")
            assert "It is waited for." in service.log()
            started = time.monotonic()
            with ThreadPoolExecutor(6) as threads:
                found = {problem(response) for response in threads.map(lambda _: page(service), range(6))}
            assert found == {(503, "database_unavailable")}
            assert time.monotonic() - started < 4 * WAIT_MS / 1000
            own.start()
            assert seconds_until_answered(service) < RECOVERS_S
    finally:
        own.start()
