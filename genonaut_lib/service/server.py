"""Running the service: uvicorn, with one process or several."""

from __future__ import annotations

import os

import uvicorn
from fastapi import FastAPI

from genonaut_lib.service.app import create_app
from genonaut_lib.service.metrics import shared_metrics
from genonaut_lib.settings import ENVIRONMENT_VARIABLE, Settings, load_settings


def made() -> FastAPI:
    """Return the API of the environment that GENONAUT_ENVIRONMENT names; what each worker process calls."""
    return create_app(load_settings())


def serve(settings: Settings, workers: int) -> None:
    """Serve until a signal ends it."""
    os.environ[ENVIRONMENT_VARIABLE] = settings.environment
    knobs = settings.service
    with shared_metrics(workers):
        uvicorn.run(
            "genonaut_lib.service.server:made",
            factory=True,
            host=knobs.host,
            port=knobs.port,
            workers=workers,
            loop="uvloop",
            http="httptools",
            access_log=False,
            server_header=False,
        )
