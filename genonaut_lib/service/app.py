"""The application: what it holds while it runs, its routes, and what becomes of an error."""

from __future__ import annotations

import contextlib
from collections.abc import AsyncIterator, Callable

from fastapi import FastAPI

from genonaut_lib import __version__
from genonaut_lib.gallery.gallery import Gallery
from genonaut_lib.service import faults, problems, unified
from genonaut_lib.service.observing import Observed
from genonaut_lib.service.sessions import Sessions
from genonaut_lib.service.state import Service
from genonaut_lib.service.watching import OnceMore, Watch
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
    faults.install(app)
    # The last one that is added is the outermost: whatever shapes answers belongs between the first and the second.
    app.add_middleware(OnceMore)
    app.add_middleware(Watch, deadline_s=settings.service.deadline_s)
    app.add_middleware(Observed, slow_ms=settings.service.slow_ms)
    app.include_router(unified.router, prefix=PREFIX)
    return app


def _lifespan(settings: Settings) -> Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        served = _serving(settings)
        async with Sessions(served) as pool:
            gallery = Gallery(pool, served)
            app.state.service = Service(served, pool, gallery)
            try:
                yield
            finally:
                await gallery.close()

    return running


def _serving(settings: Settings) -> Settings:
    """Return the settings with the service's own time limit in the place of the gallery's."""
    planner = settings.planner.model_copy(update={"statement_timeout_ms": settings.service.statement_timeout_ms})
    return settings.model_copy(update={"planner": planner})
