"""The application: what it holds while it runs, its routes, and what becomes of an error."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

from fastapi import FastAPI

from genonaut_lib import __version__
from genonaut_lib.db.pool import open_pool
from genonaut_lib.gallery.gallery import Gallery
from genonaut_lib.service import PREFIX, admin, health, problems, tags, unified
from genonaut_lib.service.dependencies import open_redis, watch
from genonaut_lib.service.metrics import InFlight, Metrics
from genonaut_lib.service.observing import Observing
from genonaut_lib.service.readiness import Readiness
from genonaut_lib.service.state import Service
from genonaut_lib.settings import Settings


def create_app(settings: Settings) -> FastAPI:
    """Return the API of one environment; nothing is opened before it starts."""
    app = FastAPI(
        title="Genonaut gallery",
        version=__version__,
        lifespan=_lifespan(settings),
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=f"{PREFIX}/docs",
        redoc_url=None,
    )
    problems.install(app)
    for room in (unified, tags, health, admin):
        app.include_router(room.router, prefix=PREFIX)
    # Balancers and Prometheus look at the root.
    app.include_router(health.router, include_in_schema=False)
    app.add_middleware(Observing)
    app.add_middleware(InFlight)
    return app


def _lifespan(settings: Settings) -> Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        served = _serving(settings)
        async with contextlib.AsyncExitStack() as stack:
            pool = await stack.enter_async_context(open_pool(served, sessions=settings.service.sessions))
            gallery = Gallery(pool, served)
            stack.push_async_callback(gallery.close)
            redis = await stack.enter_async_context(open_redis(served))
            dependencies = await stack.enter_async_context(watch(served, redis))
            metrics = Metrics(pool, gallery)
            await stack.enter_async_context(metrics.sampled())
            app.state.service = Service(served, pool, gallery, redis, dependencies, Readiness(pool), metrics)
            yield

    return running


def _serving(settings: Settings) -> Settings:
    """Return the settings with the service's own time limit in the place of the gallery's."""
    planner = settings.planner.model_copy(update={"statement_timeout_ms": settings.service.statement_timeout_ms})
    return settings.model_copy(update={"planner": planner})
