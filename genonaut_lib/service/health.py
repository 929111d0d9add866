"""GET /health, /ready and /metrics: how the service stands, for people, balancers and Prometheus."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter, Response
from pydantic import BaseModel, ConfigDict

from genonaut_lib.service import problems
from genonaut_lib.service.answers import answer_with
from genonaut_lib.service.dependencies import State
from genonaut_lib.service.metrics import CONTENT_TYPE
from genonaut_lib.service.state import Running

router = APIRouter(tags=["operation"])


class FindingBody(BaseModel):
    """How a dependency stands; `latency_ms` is null where it did not answer."""

    state: State
    latency_ms: float | None
    detail: str | None


class DependenciesBody(BaseModel):
    """All that the service depends on."""

    database: FindingBody
    statistics: FindingBody
    bitmaps: FindingBody
    redis: FindingBody


class HealthBody(BaseModel):
    """`ok`; `degraded` where pages are answered all the same; `down` without a database."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "status": "degraded",
                    "dependencies": {
                        "database": {"state": "ok", "latency_ms": 0.31, "detail": None},
                        "statistics": {"state": "ok", "latency_ms": 0.42, "detail": "Refreshed 2025-06-01 ..."},
                        "bitmaps": {"state": "off", "latency_ms": 0.5, "detail": "switched off (bitmaps.enabled)"},
                        "redis": {"state": "down", "latency_ms": None, "detail": "no answer (ConnectionError)"},
                    },
                }
            ]
        }
    )

    status: State
    dependencies: DependenciesBody


class ReadyBody(BaseModel):
    """Always true: who is not ready answers with a problem."""

    ready: bool = True


@router.get(
    "/health",
    responses={200: {"model": HealthBody}, 503: {"model": HealthBody, "description": "There is no database."}},
)
async def health(service: Running) -> Response:
    """Return how each dependency stands, within a second whatever hangs."""
    report = await service.dependencies.report()
    return _unkept(answer_with(report.body(), 503 if report.status is State.DOWN else 200))


@router.get("/ready", responses={200: {"model": ReadyBody}, **problems.documented(503)})
async def ready(service: Running) -> Response:
    """Return whether a page could be answered now."""
    await service.readiness.require()
    return _unkept(answer_with({"ready": True}))


@router.get(
    "/metrics",
    responses={200: {"content": {"text/plain": {"schema": {"type": "string"}}}}},
    response_class=Response,
)
async def metrics(service: Running) -> Response:
    """Return the figures of all worker processes, in the text format of Prometheus."""
    text = await asyncio.to_thread(service.metrics.text)
    return _unkept(Response(text, headers={"content-type": CONTENT_TYPE}))


def _unkept(response: Response) -> Response:
    """Return an answer that is of this moment only."""
    response.headers["cache-control"] = "no-store"
    return response
