"""What the service holds while it runs, and how a handler reaches it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Request

from genonaut_lib.db.pool import Pool
from genonaut_lib.gallery.gallery import Gallery
from genonaut_lib.service.meanings import Meanings
from genonaut_lib.service.stats_memory import StatsMemory
from genonaut_lib.service.tag_names import TagNames
from genonaut_lib.settings import Settings


@dataclass(frozen=True)
class Service:
    """The parts of a running service, one of each in a process."""

    settings: Settings
    pool: Pool
    gallery: Gallery
    meanings: Meanings
    names: TagNames
    stats: StatsMemory


async def _service(request: Request) -> Service:
    # Not a plain function: FastAPI would send each request to a thread for it.
    service: Service = request.app.state.service
    return service


Running = Annotated[Service, Depends(_service)]
"""The running service, as a parameter of a handler."""
