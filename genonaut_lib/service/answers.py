"""Answers as bytes of JSON."""

from __future__ import annotations

from typing import Any

import orjson
from fastapi import Response


def answer_with(body: Any, status: int = 200) -> Response:
    """Return a body as an answer; orjson knows UUIDs and moments in time."""
    return Response(orjson.dumps(body), status, media_type="application/json")
