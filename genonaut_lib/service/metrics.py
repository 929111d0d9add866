"""Figures of the service for Prometheus, of one process or of several.

Several processes write theirs into files of a folder, which whoever is asked adds up. prometheus_client decides
by a variable of the environment which of both it is, when it is imported; so `genonaut serve` sets it before it
starts its workers.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

from prometheus_client import CONTENT_TYPE_LATEST, CollectorRegistry, Counter, Gauge, Histogram, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from starlette.types import ASGIApp, Receive, Scope, Send

from genonaut_lib.db.pool import Pool
from genonaut_lib.db.processes import alive
from genonaut_lib.gallery.gallery import Gallery

CONTENT_TYPE = CONTENT_TYPE_LATEST
FOLDER_VARIABLE = "PROMETHEUS_MULTIPROC_DIR"
SAMPLED_S = 1.0
"""How old the gauges of another process may be."""

BUCKETS = (0.001, 0.002, 0.004, 0.008, 0.012, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0, 10.0, 15.0, 30.0)
"""Seconds. 4 and 12 ms are what a first page may take at the median and in ninety-nine of a hundred cases."""

METHODS = frozenset({"GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "OPTIONS"})

_POOL = {
    "genonaut_pool_sessions": ("pool_size", "Sessions of the pool, free or not."),
    "genonaut_pool_sessions_max": ("pool_max", "The most sessions the pool may have."),
    "genonaut_pool_sessions_free": ("pool_available", "Sessions that nobody uses."),
    "genonaut_pool_waiting": ("requests_waiting", "Requests that wait for a session."),
}


class Metrics:
    """The figures of this process; `text` has those of all processes."""

    def __init__(self, pool: Pool, gallery: Gallery) -> None:
        self._pool, self._gallery = pool, gallery
        self._folder = os.environ.get(FOLDER_VARIABLE)
        self._registry = registry = CollectorRegistry()
        self._requests = Counter(
            "genonaut_http_requests", "Requests that were answered.", ["route", "method", "status"], registry=registry
        )
        self._seconds = Histogram(
            "genonaut_http_request_seconds", "How long an answer took.", ["route"], buckets=BUCKETS, registry=registry
        )
        self._strategies = Counter(
            "genonaut_gallery_pages", "Pages by the strategy they were found by.", ["strategy"], registry=registry
        )
        self._in_flight = self._gauge("genonaut_http_in_flight", "Requests that are being answered.")
        self._kept = self._gauge("genonaut_bitmaps_kept_bytes", "Bitmaps kept between requests.")
        self._sessions = {key: self._gauge(name, about) for name, (key, about) in _POOL.items()}

    def observe(self, route: str, method: str, status: int, seconds: float, strategy: str | None = None) -> None:
        """Count an answer; `route` is the template of its path, never the path, or there would be ever more series."""
        self._requests.labels(route, method if method in METHODS else "other", str(status)).inc()
        self._seconds.labels(route).observe(seconds)
        if strategy is not None:
            self._strategies.labels(strategy).inc()

    def in_flight(self) -> contextlib.AbstractContextManager[None]:
        """Count a request as being answered for a block."""
        return self._in_flight.track_inprogress()

    def sample(self) -> None:
        """Look at what is not counted as it happens."""
        measures = self._pool.get_stats()
        for key, gauge in self._sessions.items():
            gauge.set(measures.get(key, 0))
        self._kept.set(self._gallery.kept_bytes)

    @contextlib.asynccontextmanager
    async def sampled(self) -> AsyncIterator[None]:
        """Sample for a block, where another process may be asked for the figures of this one."""
        if self._folder is None:
            yield
            return
        task = asyncio.create_task(self._sample_on())
        try:
            yield
        finally:
            task.cancel()
            _forget(os.getpid(), self._folder)

    def text(self) -> bytes:
        """Return the figures in the text format of Prometheus."""
        self.sample()
        if self._folder is None:
            return generate_latest(self._registry)
        _forget_dead(Path(self._folder))
        registry = CollectorRegistry()
        MultiProcessCollector(registry, path=self._folder)  # type: ignore[no-untyped-call]
        return generate_latest(registry)

    def _gauge(self, name: str, about: str) -> Gauge:
        return Gauge(name, about, registry=self._registry, multiprocess_mode="livesum")

    async def _sample_on(self) -> None:
        while True:
            self.sample()
            await asyncio.sleep(SAMPLED_S)


class InFlight:
    """Middleware that counts the requests that are being answered."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        with scope["app"].state.service.metrics.in_flight():
            await self._app(scope, receive, send)


@contextlib.contextmanager
def shared_metrics(workers: int) -> Iterator[None]:
    """Make a folder in which several processes share their figures, for a block; a folder that was given is used."""
    if workers == 1 or FOLDER_VARIABLE in os.environ:
        yield
        return
    with tempfile.TemporaryDirectory(prefix="genonaut-metrics-") as folder:
        os.environ[FOLDER_VARIABLE] = folder
        try:
            yield
        finally:
            del os.environ[FOLDER_VARIABLE]


def _forget_dead(folder: Path) -> None:
    """Take the gauges of killed processes away; those that ended in peace did it themselves."""
    for file in folder.glob("gauge_live*_*.db"):
        pid = file.stem.rpartition("_")[2]
        if pid.isdigit() and not alive(int(pid)):
            _forget(int(pid), str(folder))


def _forget(pid: int, folder: str) -> None:
    mark_process_dead(pid, folder)  # type: ignore[no-untyped-call]
