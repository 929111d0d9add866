"""The bytes of an answer: held back, named and compressed only where that is right."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from genonaut_lib.service.delivery import Delivery, accepts_gzip


@pytest.mark.parametrize(
    ("accepted", "takes"),
    [
        ("", False), ("gzip", True), ("GZIP;q=0.5", True), ("br, gzip", True), ("gzip;q=0", False),
        ("gzip; Q=0.000", False), ("*", True), ("*;q=0", False), ("*, gzip;q=0", False), ("identity", False),
        ("notgzip", False),
    ],
)  # fmt: skip
def test_gzip_is_for_those_who_accept_it(accepted: str, takes: bool) -> None:
    """By name or by the star, and not at a weight of nought."""
    assert accepts_gzip(accepted) is takes


def sent(method: str, status: int, *bodies: bytes, **headers: str) -> list[dict[str, Any]]:
    """Return what goes out for an answer in so many parts, compressed from 100 bytes on."""

    async def app(scope: Any, receive: Any, send: Any) -> None:
        await send({"type": "http.response.start", "status": status, "headers": [(b"content-length", b"7")]})
        for number, body in enumerate(bodies, 1):
            await send({"type": "http.response.body", "body": body, "more_body": number < len(bodies)})

    messages: list[dict[str, Any]] = []

    async def keep(message: Any) -> None:
        messages.append(message)

    given = [(name.replace("_", "-").encode(), value.encode()) for name, value in headers.items()]
    scope = {"type": "http", "method": method, "headers": given}
    asyncio.run(Delivery(app, gzip_min_bytes=100, gzip_level=1)(scope, None, keep))  # type: ignore[arg-type]
    return messages


def test_a_body_in_parts_passes_as_it_is() -> None:
    """Nobody knows its end when its beginning goes out."""
    start, *parts = sent("GET", 200, b"a" * 200, b"b", accept_encoding="gzip")
    assert dict(start["headers"]) == {b"content-length": b"7"}
    assert [part["body"] for part in parts] == [b"a" * 200, b"b"]


@pytest.mark.parametrize(("method", "status"), [("POST", 200), ("GET", 404)])
def test_only_what_was_read_has_a_tag(method: str, status: int) -> None:
    """And is answered with nothing to whoever has it."""
    start, body = sent(method, status, b"body", if_none_match="*")
    assert (start["status"], body["body"]) == (status, b"body")
    assert b"etag" not in dict(start["headers"])


@pytest.mark.parametrize("weak", ["", "W/"])
def test_whoever_has_the_bytes_gets_none(weak: str) -> None:
    """By the tag, weak or not, alone or among others."""
    tag = dict(sent("GET", 200, b"body")[0]["headers"])[b"etag"].decode()
    start, body = sent("GET", 200, b"body", if_none_match=f'"other", {weak}{tag}')
    assert (start["status"], body["body"]) == (304, b"")
    assert dict(start["headers"]) == {b"etag": tag.encode()}
