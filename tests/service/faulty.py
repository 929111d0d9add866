"""A PostgreSQL of a test's own, to be stopped, killed, hung and started again under the service."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest
from pydantic import SecretStr

from genonaut_lib.db import embedded
from genonaut_lib.migration import tag_stats
from genonaut_lib.migration.bitmap_build import build
from genonaut_lib.settings import Settings, load_settings
from tests import databases
from tests.gallery import built
from tests.gallery.served import LEAST_SHARE
from tests.service.running import stopped
from tests.service.served import Served

ENVIRONMENT = "test"
RECOVERS_S = 5.0
"""How soon the service must answer again once its database does."""


@dataclass
class Database:
    """A server in a state folder of its own, with a migrated gallery in its database."""

    state: Path
    settings: Settings

    @property
    def url(self) -> str:
        assert self.settings.database_url is not None
        return self.settings.database_url.get_secret_value()

    def start(self) -> None:
        with state(self.state):
            embedded.start_postgres(ENVIRONMENT, load_settings(ENVIRONMENT).servers)

    def stop(self) -> None:
        with state(self.state):
            embedded.stop(ENVIRONMENT)

    def kill(self) -> None:
        """Kill the postmaster; its children end by themselves, and a new one could not start before."""
        first, *others = self._processes()
        first.kill()
        _, alive = psutil.wait_procs([first, *others], timeout=30)
        assert not [process for process in alive if process.is_running() and process.status() != psutil.STATUS_ZOMBIE]

    @contextmanager
    def hung(self) -> Iterator[None]:
        """Stop every process of the server without ending it, for a block."""
        with stopped(*self._processes()):
            yield

    def _processes(self) -> list[psutil.Process]:
        pid = int((self.state / ENVIRONMENT / "postgres" / "postmaster.pid").read_text().splitlines()[0])
        first = psutil.Process(pid)
        return [first, *first.children(recursive=True)]


@contextmanager
def state(folder: Path) -> Iterator[None]:
    """Make a folder that of the embedded servers, for a block."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("GENONAUT_STATE", str(folder))
        yield


@contextmanager
def database() -> Iterator[Database]:
    """Start a server, make a migrated gallery with statistics and bitmaps on it, and take it away."""
    folder = databases.server_folder("gx-")
    with state(folder), databases.one_at_a_time():
        url = embedded.start_postgres(ENVIRONMENT, load_settings(ENVIRONMENT).servers)
    settings = load_settings(ENVIRONMENT).model_copy(update={"database_url": SecretStr(url)})
    found = Database(folder, settings)
    try:
        with ExitStack() as stack:
            template = stack.enter_context(built.template(url))
            name = stack.enter_context(databases.database(url, template.name))
            found.settings = databases.settings_of(url, name)
            build(found.settings, least_share=LEAST_SHARE)
            with psycopg.connect(found.url, autocommit=True) as connection:
                tag_stats.refresh(connection)
            yield found
            found.start()
    finally:
        found.stop()
        shutil.rmtree(folder)


@contextmanager
def locked(settings: Settings, table: str = "content_items") -> Iterator[Callable[[int], list[int]]]:
    """Hold a lock that every reader of a table waits for; yields a function that waits until so many do: their pids."""
    assert settings.database_url is not None
    address = settings.database_url.get_secret_value()
    with closing(psycopg.connect(address)) as holder, closing(psycopg.connect(address, autocommit=True)) as observer:
        holder.execute(f"lock table {table} in access exclusive mode".encode())
        yield lambda number: waiting(observer, number)


def waiting(observer: psycopg.Connection[tuple[int]], number: int, seconds: float = 30) -> list[int]:
    """Return the pids of the sessions that wait for a lock, once there are so many."""
    ends = time.monotonic() + seconds
    while len(found := waiters(observer)) != number:
        assert time.monotonic() < ends, f"{len(found)} sessions wait for a lock, not {number}"
        time.sleep(0.005)
    return found


def waiters(observer: psycopg.Connection[tuple[int]]) -> list[int]:
    statement = (
        "select pid from pg_stat_activity where wait_event_type = 'Lock' and state = 'active'"
        " and datname = current_database()"
    )
    return [pid for (pid,) in observer.execute(statement).fetchall()]


def page(service: Served, **parameters: str) -> httpx.Response:
    """Ask for a page of the regular items, which reads `content_items`."""
    return service.client.get("/content/unified", params={"content_types": "regular", **parameters})


def tagged_page(service: Served) -> httpx.Response:
    """Ask for a page of a tag, which reads `tag_aliases` where nothing is remembered of tags; no other page does."""
    return service.client.get("/content/unified", params={"tag": "common"})


def problem(response: httpx.Response) -> tuple[int, str]:
    """Return the status and the code of a problem, which says where the log tells more, and when to come again."""
    body = response.json()
    assert response.headers["content-type"] == "application/problem+json"
    assert body["request_id"] == response.headers["x-request-id"]
    assert response.headers.get("retry-after") == ("1" if response.status_code == 503 else None)
    assert not [word for word in ("select", "content_items", "Traceback", "psycopg") if word in response.text]
    return response.status_code, body["code"]


def seconds_until_answered(service: Served) -> float:
    """Ask until a page comes, and return how long that took; what comes before it must be an unavailable service."""
    started = time.monotonic()
    while (response := page(service)).status_code != 200:
        assert response.status_code in (503, 504), response.text
        assert time.monotonic() - started < 30, response.text
        time.sleep(0.05)
    return time.monotonic() - started
