"""The application: what it holds while it runs, its routes, and what becomes of an error."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

from fastapi import FastAPI

from genonaut_lib import __version__
from genonaut_lib.content.items import Items
from genonaut_lib.gallery.gallery import Gallery
from genonaut_lib.service import bearer, faults, items, problems, raw_json, stats, unified
from genonaut_lib.service.deadline import OnceMore, Watch
from genonaut_lib.service.delivery import Delivery
from genonaut_lib.service.meanings import Meanings
from genonaut_lib.service.request_log import Observed
from genonaut_lib.service.sessions import Sessions
from genonaut_lib.service.state import Service
from genonaut_lib.service.stats_memory import StatsMemory
from genonaut_lib.service.tag_names import TagNames
from genonaut_lib.service.tokens import Tokens, tokens_of
from genonaut_lib.settings import ServiceSettings, Settings

PREFIX = "/api/v1"


def create_app(settings: Settings) -> FastAPI:
    """Return the API of one environment; nothing is opened before it starts.

    Raises InvalidSettings where it would not know who asks, or would believe anybody in a protected environment.
    """
    app = FastAPI(
        title="Genonaut gallery",
        version=__version__,
        lifespan=_lifespan(settings, tokens_of(settings)),
        openapi_url=f"{PREFIX}/openapi.json",
        docs_url=f"{PREFIX}/docs",
        redoc_url=None,
    )
    problems.install(app)
    faults.install(app)
    app.include_router(unified.router, prefix=PREFIX)
    app.include_router(items.router, prefix=PREFIX)
    app.include_router(stats.router, prefix=PREFIX)
    bearer.document(app, settings.service)
    _add_middleware(app, settings.service)
    return app


def _add_middleware(app: FastAPI, knobs: ServiceSettings) -> None:
    """Put the layers around the routes; the last one that is added is the outermost."""
    app.add_middleware(OnceMore)
    app.add_middleware(Delivery, gzip_min_bytes=knobs.gzip_min_bytes, gzip_level=knobs.gzip_level)
    app.add_middleware(Watch, deadline_s=knobs.deadline_s)
    app.add_middleware(Observed, slow_ms=knobs.slow_ms)


def _lifespan(
    settings: Settings, tokens: Tokens | None
) -> Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        served = _serving(settings)
        knobs = served.service
        async with Sessions(served, adapters=raw_json.adapters()) as pool:
            gallery = Gallery(pool, served)
            app.state.service = Service(
                settings=served,
                pool=pool,
                gallery=gallery,
                items=Items(pool, knobs.statement_timeout_ms),
                tokens=tokens,
                meanings=Meanings(gallery, knobs.tags_fresh_s),
                names=TagNames(gallery.tag_names, knobs.tags_fresh_s),
                stats=StatsMemory(gallery.holdings, knobs.stats_fresh_s),
            )
            try:
                yield
            finally:
                await app.state.service.stats.close()
                await gallery.close()

    return running


def _serving(settings: Settings) -> Settings:
    """Return the settings with the service's own time limit in the place of the gallery's."""
    planner = settings.planner.model_copy(update={"statement_timeout_ms": settings.service.statement_timeout_ms})
    return settings.model_copy(update={"planner": planner})
