"""How the service starts and ends: what it refuses, what a signal does, and what becomes of its workers."""

from __future__ import annotations

import re
import signal
import socket
import time
import urllib.parse
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing

import httpx
import psutil
import pytest
from pydantic import SecretStr

from genonaut_lib.cli.app import run_guarded
from genonaut_lib.db import engine
from genonaut_lib.db.processes import alive
from genonaut_lib.migration import adoption
from genonaut_lib.settings import Settings, load_settings
from tests.databases import database, settings_of
from tests.gallery.built import Built
from tests.service.faulty import locked, page, problem, tagged_page
from tests.service.served import Served, serve

KNOBS = {"GENONAUT_SERVICE__LOCK_TIMEOUT_MS": "60000", "GENONAUT_SERVICE__TAGS_FRESH_S": "0"}
LOCKED = "tag_aliases"


def end(service: Served, number: signal.Signals = signal.SIGTERM) -> None:
    service.process.send_signal(number)


def await_worker(service: Served) -> None:
    """Wait until somebody answers: connections are accepted before that, and to import a worker takes its time."""
    assert page(service).status_code == 200


def until(promise: Callable[[], object], seconds: float = 30) -> None:
    """Wait until something holds."""
    ends = time.monotonic() + seconds
    while not promise():
        assert time.monotonic() < ends
        time.sleep(0.02)


def refuses_connections(service: Served) -> bool:
    place = urllib.parse.urlsplit(service.url)
    try:
        socket.create_connection((place.hostname, place.port or 80), timeout=5).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("workers", [1, 2])
def test_a_signal_lets_what_runs_finish_and_nothing_new_begin(workers: int, content: Built) -> None:
    """The request that waits for a lock is answered once the lock is gone, and the process ends well."""
    with serve(content.settings, workers, **KNOBS) as service, ThreadPoolExecutor(1) as threads:
        await_worker(service)
        with locked(content.settings, LOCKED) as waiting:
            asked = threads.submit(tagged_page, service)
            waiting(1)
            end(service)
            until(lambda: refuses_connections(service))
            assert len(waiting(1)) == 1
        assert asked.result().status_code == 200
        assert service.process.wait(30) == 0


def test_what_does_not_finish_in_its_time_is_told_so(content: Built) -> None:
    """Its statement is cancelled, it is answered, and the process ends as well as otherwise."""
    with serve(content.settings, GENONAUT_SERVICE__SHUTDOWN_S="1", **KNOBS) as service:
        await_worker(service)
        with ThreadPoolExecutor(1) as threads, locked(content.settings, LOCKED) as waiting:
            asked = threads.submit(tagged_page, service)
            waiting(1)
            end(service)
            assert problem(asked.result()) == (503, "shutting_down")
            assert waiting(0) == []
        assert service.process.wait(30) == 0


@pytest.mark.parametrize("workers", [1, 2])
def test_a_second_signal_ends_it_at_once(workers: int, content: Built) -> None:
    """Whatever runs, and every worker with it."""
    with serve(content.settings, workers, **KNOBS) as service:
        await_worker(service)
        with ThreadPoolExecutor(1) as threads, locked(content.settings, LOCKED) as waiting:
            asked = threads.submit(tagged_page, service)
            waiting(1)
            end(service)
            until(lambda: refuses_connections(service))
            assert service.process.poll() is None
            end(service)
            # Sooner than those that run would have been given.
            service.process.wait(15)
            assert isinstance(asked.exception(), httpx.TransportError)
        until(lambda: not any(alive(pid) for pid in started(service)))


def test_a_worker_that_dies_is_replaced(content: Built) -> None:
    """The others answer meanwhile, and all end with the parent."""
    with serve(content.settings, 2) as service:
        until(lambda: len(started(service)) == 2)
        victim = started(service)[0]
        psutil.Process(victim).kill()
        assert page(service).status_code == 200
        until(lambda: len(started(service)) == 3)
        end(service)
        assert service.process.wait(30) == 0
        assert not any(alive(pid) for pid in started(service))


def started(service: Served) -> list[int]:
    return [int(pid) for pid in re.findall(r"Started server process \[(\d+)\]", service.log())]


@pytest.fixture
def refused(content: Built, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Callable[..., str]:
    """Start the service in vain, with an environment and options: what it says."""

    def run(*options: str, settings: Settings = content.settings, **variables: str) -> str:
        assert settings.database_url is not None
        monkeypatch.setenv("DATABASE_URL", settings.database_url.get_secret_value())
        for name, value in variables.items():
            monkeypatch.setenv(name, value)
        assert run_guarded(["serve", "--env", "test", *options]) == 2
        return capsys.readouterr().err

    return run


def test_a_port_in_use_is_refused_with_another_way(refused: Callable[..., str]) -> None:
    """Before anything is served."""
    with closing(socket.create_server(("127.0.0.1", 0))) as taken:
        port = taken.getsockname()[1]
        said = refused("--port", str(port))
    assert f"Cannot listen at 127.0.0.1, port {port}: address already in use." in said
    assert "--port" in said


def test_a_gallery_of_another_environment_is_refused(refused: Callable[..., str]) -> None:
    """By the mark in the database."""
    assert "belongs to environment 'test', the service runs for 'demo'" in refused("--env", "demo")


def test_a_database_without_a_migrated_gallery_is_refused(refused: Callable[..., str], admin_url: str) -> None:
    """An empty one, and one that is on its way."""
    with database(admin_url) as name:
        settings = settings_of(admin_url, name)
        assert "This database is empty" in refused(settings=settings)
        half_way(settings)
        assert "not migrated yet" in refused(settings=settings)


def half_way(settings: Settings) -> None:
    with engine.session(settings) as connection:
        adoption.adopt(connection, settings)


def test_a_deadline_below_the_statements_own_is_refused(refused: Callable[..., str]) -> None:
    """The statement's says what was slow; the knob is named."""
    said = refused(GENONAUT_SERVICE__DEADLINE_S="15")
    assert "service: " in said
    assert "deadline_s must be above statement_timeout_ms" in said


def test_an_address_that_cannot_be_read_is_refused(refused: Callable[..., str]) -> None:
    """It will not answer later either."""
    garbled = load_settings("test").model_copy(update={"database_url": SecretStr("mysql://ada@127.0.0.1/gallery")})
    assert "cannot be read" in refused(settings=garbled)
