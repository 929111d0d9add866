"""Answers as bytes of JSON.

Python makes them and not the database: a page of 25 items with 75 tags each takes either of them about as long, from
the statement to the last byte, and there are more machines to run Python on.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from fastapi import Response

REVALIDATED = {"Cache-Control": "private, no-cache"}
"""For answers that depend on who asks: nobody else may be shown them, and they are asked for again by their tag."""


def answer_with(body: Any, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a body as an answer; orjson knows UUIDs and moments in time."""
    return Response(orjson.dumps(body), status, headers, media_type="application/json")
