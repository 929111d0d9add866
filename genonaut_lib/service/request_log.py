"""The outermost middleware: a request has an id, its answer headers that tell of it, and the log a line."""

from __future__ import annotations

import logging
import re
import uuid
from collections.abc import Iterator
from typing import Any

from starlette.datastructures import MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from genonaut_lib.service.trace import CURRENT, Trace

LOG = logging.getLogger("genonaut.requests")

UNROUTED = "unrouted"
"""The route of a path that there is not: the path itself is the client's own words."""
CLIENT_GONE = 499
"""What is written down for a client that did not wait; nobody was sent it. The number is nginx's."""

_SANE_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_NAMED_VIEWER = re.compile(rb"(?:^|&)user_id=[^&]")
_HARDENING = {"X-Content-Type-Options": "nosniff", "Content-Security-Policy": "frame-ancestors 'none'"}


class Observed:
    """Sets the trace of each request and writes it down: never who asked, for what tags, or with what words."""

    def __init__(self, app: ASGIApp, slow_ms: float) -> None:
        self._app = app
        self._slow_ms = slow_ms

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or what else a server asks."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        trace = Trace(request_id_of(scope))
        CURRENT.set(trace)
        seen = _Seen(scope, trace, send)
        try:
            await self._app(scope, receive, seen.sent)
        finally:
            self._write(seen)
            _count(seen, scope)

    def _write(self, seen: _Seen) -> None:
        line, is_slow = seen.line(), seen.took_ms > self._slow_ms
        if is_slow:
            line["plan_hash"] = seen.trace.plan_hash
        level = logging.WARNING if is_slow or seen.status >= 500 else logging.INFO
        LOG.log(level, "slow request" if is_slow else "request", extra=line)


def _count(seen: _Seen, scope: Scope) -> None:
    metrics = getattr(getattr(scope["app"].state, "service", None), "metrics", None)
    if metrics is not None:
        metrics.observe(route_of(scope), scope["method"], seen.status, seen.took_ms / 1000, seen.trace.strategy)


class _Seen:
    """What is seen of one answer on its way out."""

    def __init__(self, scope: Scope, trace: Trace, send: Send) -> None:
        self.trace = trace
        self.status = CLIENT_GONE
        self._scope, self._send = scope, send
        self._bytes = 0
        self._answered_ms: float | None = None

    @property
    def took_ms(self) -> float:
        """How long the client waited: what is cleared up after the answer is not its business."""
        return self.trace.milliseconds if self._answered_ms is None else self._answered_ms

    async def sent(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self.status = message["status"]
            self._add_headers(MutableHeaders(scope=message))
        else:
            self._bytes += len(message.get("body", b""))
            if not message.get("more_body", False):
                self._answered_ms = self.trace.milliseconds
        await self._send(message)

    def line(self) -> dict[str, Any]:
        trace, scope = self.trace, self._scope
        database_ms = None if trace.database_ms is None else round(trace.database_ms, 1)
        return {
            "request_id": trace.request_id, "method": scope["method"], "route": route_of(scope), "status": self.status,
            "ms": round(self.took_ms, 1), "database_ms": database_ms, "strategy": trace.strategy, "bytes": self._bytes,
            "has_viewer": has_viewer(scope), "code": trace.code,
        }  # fmt: skip

    def _add_headers(self, headers: MutableHeaders) -> None:
        headers["X-Request-Id"] = self.trace.request_id
        headers["Server-Timing"] = ", ".join(filter(None, [headers.get("Server-Timing"), *self._timings()]))
        for name, value in _HARDENING.items():
            headers.setdefault(name, value)

    def _timings(self) -> Iterator[str]:
        """Yield what the whole request took until now, and the database's part of it."""
        yield f"request;dur={self.trace.milliseconds:.1f}"
        if self.trace.database_ms is not None:
            yield f"db;dur={self.trace.database_ms:.1f}"


def request_id_of(scope: Scope) -> str:
    """Return the id that a request brought along in X-Request-Id, if it is a sane one, else a new one."""
    given = next((value for name, value in scope["headers"] if name == b"x-request-id"), b"")
    return given.decode() if _SANE_ID.fullmatch(given) else uuid.uuid4().hex


def has_viewer(scope: Scope) -> bool:
    """Return whether a request says who looks: by a token, or by a user's id."""
    if any(name == b"authorization" for name, _ in scope["headers"]):
        return True
    return _NAMED_VIEWER.search(scope["query_string"]) is not None


def route_of(scope: Scope) -> str:
    """Return the template of the path that was asked for, with its prefix, once the router has found it."""
    # FastAPI keeps a route that was included under a prefix as it was, and notes beside it how it is included.
    route = scope.get("fastapi", {}).get("effective_route_context") or scope.get("route")
    return getattr(route, "path_format", UNROUTED)
