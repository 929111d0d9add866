"""The application: what it holds while it runs, its routes, and what becomes of an error."""

from __future__ import annotations

import contextlib
import gc
from collections.abc import AsyncIterator, Callable

from fastapi import FastAPI

from genonaut_lib import __version__
from genonaut_lib.content.items import Items
from genonaut_lib.gallery.gallery import Gallery
from genonaut_lib.service import (
    PREFIX,
    admin,
    bearer,
    document,
    faults,
    health,
    items,
    problems,
    raw_json,
    stats,
    tags,
    unified,
)
from genonaut_lib.service.deadline import OnceMore, Watch, all_put_away
from genonaut_lib.service.delivery import Delivery
from genonaut_lib.service.dependencies import open_redis, watch
from genonaut_lib.service.meanings import Meanings
from genonaut_lib.service.metrics import InFlight, Metrics
from genonaut_lib.service.readiness import Readiness
from genonaut_lib.service.request_log import Observed
from genonaut_lib.service.sessions import Sessions
from genonaut_lib.service.state import Service
from genonaut_lib.service.stats_memory import StatsMemory
from genonaut_lib.service.tag_names import TagNames
from genonaut_lib.service.tokens import Tokens, tokens_of
from genonaut_lib.service_settings import ServiceSettings
from genonaut_lib.settings import Settings

COLLECT_AFTER = (50_000, 20, 20)
"""Objects made before a collection, and collections of a generation before one of the next."""


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
    for room in (unified, items, stats, tags, health, admin):
        app.include_router(room.router, prefix=PREFIX)
    # Balancers and Prometheus look at the root.
    app.include_router(health.router, include_in_schema=False)
    document.correct(app)
    bearer.document(app, settings.service)
    _add_middleware(app, settings.service)
    return app


def _add_middleware(app: FastAPI, knobs: ServiceSettings) -> None:
    """Put the layers around the routes; the last one that is added is the outermost."""
    app.add_middleware(OnceMore)
    app.add_middleware(Delivery, gzip_min_bytes=knobs.gzip_min_bytes, gzip_level=knobs.gzip_level)
    app.add_middleware(Watch, deadline_s=knobs.deadline_s)
    app.add_middleware(Observed, slow_ms=knobs.slow_ms)
    app.add_middleware(InFlight)


def _lifespan(
    settings: Settings, tokens: Tokens | None
) -> Callable[[FastAPI], contextlib.AbstractAsyncContextManager[None]]:
    @contextlib.asynccontextmanager
    async def running(app: FastAPI) -> AsyncIterator[None]:
        async with contextlib.AsyncExitStack() as stack:
            app.state.service = await _opened(stack, _serving(settings), tokens)
            _settle_memory()
            # Before the sessions are closed, over which they are to be told.
            stack.push_async_callback(all_put_away)
            yield

    return running


def _settle_memory() -> None:
    """Keep the garbage collector from looking through, again and again, what lives as long as the process.

    A page makes some thousands of objects and hardly ever a cycle; with Python's own thresholds each page would
    be collected several times.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(*COLLECT_AFTER)


async def _opened(stack: contextlib.AsyncExitStack, settings: Settings, tokens: Tokens | None) -> Service:
    """Open the parts of the service; the stack closes them."""
    knobs = settings.service
    pool = await stack.enter_async_context(Sessions(settings, adapters=raw_json.adapters()))
    gallery = Gallery(pool, settings)
    stack.push_async_callback(gallery.close)
    counted = StatsMemory(gallery.holdings, knobs.stats_fresh_s)
    stack.push_async_callback(counted.close)
    redis = await stack.enter_async_context(open_redis(settings))
    metrics = Metrics(pool, gallery)
    await stack.enter_async_context(metrics.sampled())
    return Service(
        settings=settings,
        pool=pool,
        gallery=gallery,
        items=Items(pool, knobs.statement_timeout_ms),
        tokens=tokens,
        meanings=Meanings(gallery, knobs.tags_fresh_s),
        names=TagNames(gallery.tag_names, knobs.tags_fresh_s),
        stats=counted,
        redis=redis,
        dependencies=await stack.enter_async_context(watch(settings, redis)),
        readiness=Readiness(pool),
        metrics=metrics,
    )


def _serving(settings: Settings) -> Settings:
    """Return the settings with the service's own time limit in the place of the gallery's."""
    planner = settings.planner.model_copy(update={"statement_timeout_ms": settings.service.statement_timeout_ms})
    return settings.model_copy(update={"planner": planner})
