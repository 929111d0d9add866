"""The figures for Prometheus, of two worker processes that share them."""

from __future__ import annotations

import json
import signal
import uuid
from collections.abc import Iterator
from pathlib import Path

import httpx
import psutil
import pytest
from prometheus_client.mmap_dict import MmapedDict
from prometheus_client.parser import text_string_to_metric_families

from genonaut_lib.db.processes import alive
from genonaut_lib.service.metrics import FOLDER_VARIABLE
from genonaut_lib.vocabulary import tag_id
from tests.factories import Gallery
from tests.service.running import Served, migrated, served
from tests.waiting import eventually

SESSIONS = 3
Labels = frozenset[tuple[str, str]]


def fill(gallery: Gallery) -> None:
    for _ in range(3):
        gallery.legacy_item(["common"])


@pytest.fixture(scope="module")
def service(admin_url: str) -> Iterator[Served]:
    """A service of two processes."""
    with (
        migrated(admin_url, fill) as (settings, _),
        served(settings, 2, GENONAUT_SERVICE__SESSIONS=str(SESSIONS)) as found,
    ):
        eventually(lambda: gauge(found, "genonaut_pool_sessions_max") == 2 * SESSIONS, seconds=60)
        yield found


def ask(service: Served, path: str) -> httpx.Response:
    """Ask over a connection of its own, so that either process may answer."""
    return httpx.get(f"{service.url}{path}", timeout=30)


def figures(service: Served, name: str) -> dict[Labels, float]:
    families = text_string_to_metric_families(ask(service, "/metrics").text)
    samples = [sample for family in families for sample in family.samples if sample.name == name]
    return {frozenset(sample.labels.items()): sample.value for sample in samples}


def gauge(service: Served, name: str) -> float | None:
    return figures(service, name).get(frozenset())


def answered(service: Served, **labels: str) -> float:
    found = figures(service, "genonaut_http_requests_total")
    return sum(value for one, value in found.items() if labels.items() <= dict(one).items())


def require(service: Served, count: int, **labels: str) -> None:
    """Require so many answers, and no more; a process counts its answer when it has sent it."""
    eventually(lambda: answered(service, **labels) >= count)
    assert answered(service, **labels) == count


def workers(service: Served) -> list[psutil.Process]:
    """Return the processes that answer; another child looks after what they share."""
    children = [child for child in psutil.Process(service.process.pid).children() if alive(child.pid)]
    return [child for child in children if any("spawn_main" in part for part in child.cmdline())]


def has_sampled(worker: psutil.Process) -> bool:
    """Say whether a process has sampled its gauges; their file is there before, with none or noughts in it."""
    folder = worker.environ().get(FOLDER_VARIABLE)
    file = Path(folder or "nowhere") / f"gauge_livesum_{worker.pid}.db"
    if not file.exists() or not file.stat().st_size:
        return False
    found = {json.loads(key)[0]: value for key, value, *_ in MmapedDict.read_all_values_from_file(file)}
    return found.get("genonaut_pool_sessions_max") == SESSIONS


def test_every_answer_of_every_process_is_counted(service: Served) -> None:
    """Whichever process is asked, it tells of all."""
    route = {"route": "/api/v1/tags/popular", "method": "GET", "status": "200"}
    before = answered(service, **route)
    assert {ask(service, "/api/v1/tags/popular").status_code for _ in range(20)} == {200}
    eventually(lambda: answered(service, **route) - before >= 20)
    assert {answered(service, **route) - before for _ in range(6)} == {20}


def test_a_route_is_its_template_whatever_the_path(service: Served) -> None:
    """Neither ids nor paths that nobody knows, nor methods, make series of their own."""
    for _ in range(3):
        ask(service, f"/api/v1/tags/{uuid.uuid4()}")
        ask(service, f"/nonsense/{uuid.uuid4()}")
        httpx.request("PROPFIND", f"{service.url}/api/v1/tags")
    require(service, 3, route="/api/v1/tags/{tag_id}", status="404")
    require(service, 3, route="unrouted", status="404")
    require(service, 3, method="other")
    routes = {dict(one)["route"] for one in figures(service, "genonaut_http_requests_total")}
    api = {"/api/v1/tags", "/api/v1/tags/popular", "/api/v1/tags/{tag_id}"}
    assert routes <= {*api, "/health", "/metrics", "unrouted"}


def test_times_and_strategies_are_counted(service: Served) -> None:
    """A page is one observation of its route, and one of the strategy that found it."""
    route, before = "/api/v1/content/unified", sum(figures(service, "genonaut_gallery_pages_total").values())
    for _ in range(4):
        assert ask(service, f"/api/v1/content/unified?tag={tag_id('common')}").status_code == 200
    require(service, 4, route=route)
    assert figures(service, "genonaut_http_request_seconds_count")[frozenset({("route", route)})] == 4
    assert sum(figures(service, "genonaut_gallery_pages_total").values()) - before == 4
    assert gauge(service, "genonaut_bitmaps_kept_bytes") == 0


def test_what_is_going_on_is_that_of_living_processes(service: Served) -> None:
    """A killed process leaves its counts, and none of its sessions."""
    ask(service, "/api/v1/tags/popular")
    eventually(lambda: gauge(service, "genonaut_http_in_flight") == 1)
    counted = answered(service, route="/api/v1/tags/popular")
    assert counted > 0
    before = workers(service)
    before[0].send_signal(signal.SIGKILL)
    eventually(lambda: not alive(before[0].pid), seconds=60)
    eventually(lambda: any(has_sampled(one) for one in workers(service) if one not in before), seconds=60)
    assert gauge(service, "genonaut_pool_sessions_max") == 2 * SESSIONS
    assert answered(service, route="/api/v1/tags/popular") == counted
    eventually(lambda: gauge(service, "genonaut_http_in_flight") == 1)


def test_the_folder_of_the_figures_goes_with_the_service(service: Served) -> None:
    """It is made by the command, and nothing of it is left behind."""
    folder = Path(workers(service)[0].environ()[FOLDER_VARIABLE])
    assert any(folder.iterdir())
    service.process.terminate()
    service.process.wait(30)
    assert not folder.exists()
