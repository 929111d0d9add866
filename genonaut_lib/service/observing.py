"""Middleware that counts answers, until a line in the log is written for each of them, which does it in passing."""

from __future__ import annotations

import time

from starlette.types import ASGIApp, Message, Receive, Scope, Send

from genonaut_lib.service.metrics import route_of
from genonaut_lib.service.trace import CURRENT, Trace


class Observing:
    """Counts every answer with its route, status, time and strategy."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        status, started, trace = 500, time.perf_counter(), Trace()

        async def sent(message: Message) -> None:
            nonlocal status
            status = message.get("status", status)
            await send(message)

        token = CURRENT.set(trace)
        try:
            await self._app(scope, receive, sent)
        finally:
            CURRENT.reset(token)
            seconds = time.perf_counter() - started
            metrics = scope["app"].state.service.metrics
            metrics.observe(route_of(scope), scope["method"], status, seconds, trace.strategy)
