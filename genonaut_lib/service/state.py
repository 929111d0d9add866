"""What the service holds while it runs, and how a handler reaches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request
from redis.asyncio import Redis

from genonaut_lib.content.items import Items
from genonaut_lib.db.pool import Pool
from genonaut_lib.gallery.gallery import Gallery
from genonaut_lib.service.dependencies import Dependencies
from genonaut_lib.service.meanings import Meanings
from genonaut_lib.service.metrics import Metrics
from genonaut_lib.service.readiness import Readiness
from genonaut_lib.service.stats_memory import StatsMemory
from genonaut_lib.service.tag_names import TagNames
from genonaut_lib.service.tokens import Tokens
from genonaut_lib.settings import Settings


@dataclass(frozen=True)
class Service:
    """The parts of a running service, one of each in a process."""

    settings: Settings
    pool: Pool
    gallery: Gallery
    items: Items
    tokens: Tokens | None
    meanings: Meanings
    names: TagNames
    stats: StatsMemory
    redis: Redis | None
    dependencies: Dependencies
    readiness: Readiness
    metrics: Metrics


def service_of(request: Request) -> Service:
    """Return the service that a request came to."""
    service: Service = request.app.state.service
    return service


async def _service(request: Request) -> Service:
    # Asynchronous though it waits for nothing: what is not would be called on another thread.
    return service_of(request)


Running = Annotated[Service, Depends(_service)]
"""The running service, as a parameter of a handler."""
