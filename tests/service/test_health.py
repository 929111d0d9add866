"""How the service says it stands: with everything there, and with a dependency hung, stale or taken."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import closing, contextmanager
from dataclasses import dataclass

import httpx
import psutil
import pytest

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.migration import adoption
from genonaut_lib.migration.phases import PHASES, Context
from genonaut_lib.migration.runner import undo_phase
from genonaut_lib.service.health import HealthBody
from tests.databases import database, settings_of
from tests.factories import Gallery
from tests.migration.test_phases import apply
from tests.service.running import HEALTH_S, Served, migrated, redis_at, served, stopped, timed
from tests.waiting import eventually, until_found

KNOBS = {"GENONAUT_SERVICE__SESSIONS": "1", "GENONAUT_SERVICE__LOCK_TIMEOUT_MS": "60000"}


def fill(gallery: Gallery) -> None:
    gallery.legacy_item(["common"])


@dataclass
class Operated:
    """A service with one session in its pool, a session beside it, and its Redis."""

    service: Served
    connection: Connection
    redis: psutil.Process


@pytest.fixture(scope="module")
def operated(admin_url: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Operated]:
    """A service whose every dependency is there."""
    with (
        migrated(admin_url, fill) as (settings, connection),
        redis_at(tmp_path_factory.mktemp("r")) as (url, redis),
        served(settings, REDIS_URL=url, **KNOBS) as service,
    ):
        eventually(lambda: service.get("/health").json()["status"] == "ok")
        yield Operated(service, connection, redis)


def states(answer: httpx.Response) -> dict[str, str]:
    return {name: one["state"] for name, one in answer.json()["dependencies"].items()}


@contextmanager
def a_page_under_way(operated: Operated) -> Iterator[None]:
    """Have a request for a page wait for a lock, and with it hold the only session of the pool."""
    with closing(engine.connect(operated.service.settings)) as observer, operated.connection.transaction():
        operated.connection.execute("lock table content_items in access exclusive mode")
        asking = threading.Thread(target=operated.service.get, args=("/content/unified",))
        asking.start()
        waiting = (
            "select 1 from pg_locks join pg_stat_activity using (pid)"
            " where not granted and relation = 'content_items'::regclass and datname = current_database()"
        )
        until_found(observer, waiting)
        yield
    asking.join()


@pytest.mark.parametrize("prefix", ["/api/v1", ""])
def test_all_is_well_where_everything_is_there(prefix: str, operated: Operated) -> None:
    """Each dependency by name, with how long it took; below the API's prefix and at the root."""
    answer = operated.service.client.get(f"{prefix}/health")
    assert (answer.status_code, answer.json()["status"]) == (200, "ok"), answer.text
    assert states(answer) == {"database": "ok", "statistics": "ok", "bitmaps": "off", "redis": "ok"}
    assert all(one["latency_ms"] > 0 for one in answer.json()["dependencies"].values())
    assert answer.headers["cache-control"] == "no-store"
    assert HealthBody.model_validate(answer.json()).model_dump(mode="json") == answer.json()
    assert operated.service.client.get(f"{prefix}/ready").json() == {"ready": True}
    assert "genonaut_pool_sessions_max 1.0" in operated.service.client.get(f"{prefix}/metrics").text


def test_a_redis_that_hangs_degrades_and_fails_no_page(operated: Operated) -> None:
    """It is said within the second, and is over as soon as Redis is back."""
    with stopped(operated.redis):
        answer, seconds = timed(lambda: operated.service.get("/health"))
        page = operated.service.get("/content/unified")
    assert (answer.status_code, answer.json()["status"], states(answer)["redis"]) == (200, "degraded", "down")
    assert seconds < HEALTH_S
    assert page.status_code == 200
    eventually(lambda: operated.service.get("/health").json()["status"] == "ok")


def test_a_full_pool_is_healthy_and_not_ready(operated: Operated) -> None:
    """Whoever restarted the service for it would make it worse; whoever sent it more requests too."""
    with a_page_under_way(operated):
        health, ready = operated.service.get("/health"), operated.service.get("/ready")
        in_flight = operated.service.get("/metrics").text
    assert (health.status_code, states(health)["database"]) == (200, "ok")
    assert (ready.status_code, ready.json()["code"]) == (503, "not_ready")
    assert ready.headers["content-type"] == "application/problem+json"
    assert "genonaut_http_in_flight 2.0" in in_flight
    assert "genonaut_pool_sessions_free 0.0" in in_flight
    assert operated.service.get("/ready").status_code == 200


def test_locked_statistics_do_not_make_the_database_look_gone(operated: Operated) -> None:
    """A part that does not answer is a part."""
    with operated.connection.transaction():
        operated.connection.execute("lock table workbench.source_statistics in access exclusive mode")
        answer, seconds = timed(lambda: operated.service.get("/health"))
    assert (answer.status_code, states(answer)["database"], states(answer)["statistics"]) == (200, "ok", "degraded")
    assert seconds < HEALTH_S


def test_stale_statistics_degrade(operated: Operated) -> None:
    """They say how old they are, and which notebook renews them."""
    change = "update workbench.source_statistics set refreshed_at = refreshed_at {} interval '9 days'"
    operated.connection.execute(change.format("-").encode())
    found = operated.service.get("/health").json()
    operated.connection.execute(change.format("+").encode())
    assert (found["status"], found["dependencies"]["statistics"]["state"]) == ("degraded", "degraded")
    assert "50_refresh_tag_stats" in found["dependencies"]["statistics"]["detail"]


def test_ended_sessions_are_not_taken_for_a_database_that_is_gone(operated: Operated) -> None:
    """As after a restart: the check's own session is opened anew at once."""
    operated.service.get("/health")
    ended = (
        "select count(pg_terminate_backend(pid)) from pg_stat_activity"
        " where datname = current_database() and pid <> pg_backend_pid()"
    )
    assert operated.connection.execute(ended).fetchone() != (0,)
    assert operated.service.get("/health").status_code == 200
    eventually(lambda: operated.service.get("/ready").status_code == 200)


ATTACHED = "attach_partitions"


@pytest.fixture(scope="module")
def unready(admin_url: str) -> Iterator[tuple[Served, Connection]]:
    """A service whose migration was rolled back while it ran, and whose Redis nobody finds."""
    with database(admin_url) as name:
        settings = settings_of(admin_url, name)
        with closing(engine.connect(settings)) as connection:
            adoption.adopt(connection, settings)
            context = Context(connection, settings)
            for phase in list(PHASES)[: list(PHASES).index(ATTACHED) + 1]:
                apply(context, phase)
            with served(settings) as service:
                undo_phase(PHASES[ATTACHED], context)
                yield service, connection


def test_without_redis_and_after_a_roll_back(unready: tuple[Served, Connection]) -> None:
    """The service goes on: it is degraded, and says what makes it ready."""
    health, ready = (unready[0].get(path) for path in ("/health", "/ready"))
    assert (health.status_code, health.json()["status"]) == (200, "degraded")
    assert states(health) == {"database": "ok", "statistics": "degraded", "bitmaps": "off", "redis": "down"}
    assert (ready.status_code, ready.json()["code"]) == (503, "not_ready")
    assert "not migrated" in ready.json()["detail"]
    assert unready[0].get("/tags/statistics").json()["code"] == "statistics_missing"
