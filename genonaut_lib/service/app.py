"""The application: what it holds while it runs, its routes, and what becomes of an error."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

from fastapi import FastAPI

from genonaut_lib import __version__
from genonaut_lib.db.pool import open_pool
from genonaut_lib.gallery.gallery import Gallery
from genonaut_lib.service import document, problems, raw_json, stats, unified
from genonaut_lib.service.delivery import Delivery
from genonaut_lib.service.meanings import Meanings
from genonaut_lib.service.state import Service
from genonaut_lib.service.stats_memory import StatsMemory
from genonaut_lib.service.tag_names import TagNames
from genonaut_lib.settings import Settings

PREFIX = "/api/v1"


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
    app.include_router(unified.router, prefix=PREFIX)
    app.include_router(stats.router, prefix=PREFIX)
    knobs = settings.service
    app.add_middleware(Delivery, gzip_min_bytes=knobs.gzip_min_bytes, gzip_level=knobs.gzip_level)
    document.correct(app)
    return app


def _lifespan(settings: Settings) -> Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        served = _serving(settings)
        knobs, adapters = served.service, raw_json.adapters()
        async with open_pool(served, sessions=knobs.sessions, adapters=adapters) as pool:
            gallery = Gallery(pool, served)
            meanings = Meanings(gallery, knobs.tags_fresh_s)
            names = TagNames(gallery.tag_names, knobs.tags_fresh_s)
            counts = StatsMemory(gallery.holdings, knobs.stats_fresh_s)
            app.state.service = Service(served, pool, gallery, meanings, names, counts)
            try:
                yield
            finally:
                await counts.close()
                await gallery.close()

    return running


def _serving(settings: Settings) -> Settings:
    """Return the settings with the service's own time limit in the place of the gallery's."""
    planner = settings.planner.model_copy(update={"statement_timeout_ms": settings.service.statement_timeout_ms})
    return settings.model_copy(update={"planner": planner})
