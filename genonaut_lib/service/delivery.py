"""How the bytes of an answer go out: not at all where the client has them, compressed where they are many.

Starlette's own middleware for gzip would leave an entity tag strong on bytes it changed, and compress for a client
that says `gzip;q=0`.
"""

from __future__ import annotations

import asyncio
import hashlib
import re
import zlib
from dataclasses import dataclass

from starlette.datastructures import Headers, MutableHeaders
from starlette.types import ASGIApp, Message, Receive, Scope, Send

_TAGS = re.compile(r'(?:W/)?"([^"]*)"')
_QUALITY = re.compile(r"^\s*q\s*=\s*([01](?:\.[0-9]{0,3})?)\s*$", re.IGNORECASE)
_GZIP = 31
"""The window of zlib that makes a gzip file, whose header holds no moment: equal bytes stay equal."""

BESIDE_BYTES = 131_072
"""Bodies of so many bytes are compressed on a thread, or the event loop would stand still for a millisecond."""


class Delivery:
    """Middleware that gives every answer to a GET its entity tag, honours If-None-Match, and compresses.

    It holds back the beginning of an answer until its body is there. Bodies that come in parts pass as they are.
    """

    def __init__(self, app: ASGIApp, *, gzip_min_bytes: int, gzip_level: int) -> None:
        self._app = app
        self._min_bytes = gzip_min_bytes
        self._level = gzip_level

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer one request."""
        if scope["type"] == "http":
            send = _Sending(Asked.of(scope), self._min_bytes, self._level, send)
        await self._app(scope, receive, send)


@dataclass(frozen=True)
class Asked:
    """What a request says of the bytes it wants: those it has, by tag, and whether they may be compressed."""

    reads: bool
    has: frozenset[str]
    takes_gzip: bool

    @classmethod
    def of(cls, scope: Scope) -> Asked:
        """Read the headers of a request."""
        headers = Headers(scope=scope)
        known = ",".join(headers.getlist("if-none-match"))
        has = frozenset({"*"}) if known.strip() == "*" else frozenset(_TAGS.findall(known))
        return cls(scope["method"] in {"GET", "HEAD"}, has, accepts_gzip(",".join(headers.getlist("accept-encoding"))))


class _Sending:
    """Sends one answer; its beginning waits for its body."""

    def __init__(self, asked: Asked, min_bytes: int, level: int, send: Send) -> None:
        self._asked = asked
        self._min_bytes = min_bytes
        self._level = level
        self._send = send
        self._start: Message | None = None

    async def __call__(self, message: Message) -> None:
        if message["type"] == "http.response.start":
            self._start = message
            return
        start, self._start = self._start, None
        if start is not None:
            if message["type"] == "http.response.body" and not message.get("more_body", False):
                message = await self._whole(start, message)
            await self._send(start)
        await self._send(message)

    async def _whole(self, start: Message, message: Message) -> Message:
        """Return the body as it goes out, and say so in the headers of the answer."""
        headers, body = MutableHeaders(raw=start["headers"]), message.get("body", b"")
        if "content-encoding" in headers:
            return message
        large = len(body) >= self._min_bytes
        zips = large and self._asked.takes_gzip
        if large:
            headers.add_vary_header("Accept-Encoding")
        if self._asked.reads and start["status"] == 200 and self._has(headers, body, weak=zips):
            start["status"] = 304
            del headers["content-length"], headers["content-type"]
            return {**message, "body": b""}
        return await self._zipped(headers, body) if zips else message

    def _has(self, headers: MutableHeaders, body: bytes, *, weak: bool) -> bool:
        """Give the answer its tag, unless it has one, and return whether the client has these bytes."""
        given = _TAGS.search(headers.get("etag", ""))
        tag = given[1] if given else hashlib.blake2b(body, digest_size=16).hexdigest()
        headers["ETag"] = f'W/"{tag}"' if weak else f'"{tag}"'
        return bool(self._asked.has & {"*", tag})

    async def _zipped(self, headers: MutableHeaders, body: bytes) -> Message:
        if len(body) < BESIDE_BYTES:
            packed = zlib.compress(body, self._level, _GZIP)
        else:
            packed = await asyncio.to_thread(zlib.compress, body, self._level, _GZIP)
        headers["Content-Encoding"] = "gzip"
        headers["Content-Length"] = str(len(packed))
        return {"type": "http.response.body", "body": packed}


def accepts_gzip(accepted: str) -> bool:
    """Return whether an Accept-Encoding takes gzip (RFC 9110, section 12.5.3): named, or meant by `*`, and not at 0."""
    parts = (part.partition(";") for part in accepted.split(","))
    weights = {name.strip().lower(): _weight(parameters) for name, _, parameters in parts}
    return weights.get("gzip", weights.get("*", 0.0)) > 0


def _weight(parameters: str) -> float:
    found = _QUALITY.match(parameters)
    return float(found[1]) if found else 1.0
