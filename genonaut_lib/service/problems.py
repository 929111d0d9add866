"""Errors as problem+json (RFC 9457): one table says which refusal of the library is which status."""

from __future__ import annotations

from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter

from genonaut_lib.errors import GenonautError, InvalidCursor, InvalidInput, QueryTimedOut, UnknownTag

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Problem:
    """What is answered in the place of what was asked for.

    `code` is stable, for programs; `detail` is a sentence, for people; `field` is the parameter at fault.
    """

    status: int
    code: str
    detail: str
    hint: str | None = None
    field: str | None = None

    def response(self) -> Response:
        """Return the problem as an answer."""
        body: dict[str, Any] = {
            "type": f"urn:genonaut:problem:{self.code}",
            "title": self.code.replace("_", " "),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "hint": self.hint,
            "field": self.field,
        }
        return Response(orjson.dumps(body), self.status, media_type=MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what the OpenAPI document says of the problems a route may answer with."""
    content = {MEDIA_TYPE: {"schema": TypeAdapter(Problem).json_schema()}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


STATUSES: dict[type[GenonautError], tuple[int, str]] = {
    InvalidInput: (400, "invalid_value"),
    QueryTimedOut: (504, "statement_timeout"),
    UnknownTag: (400, "unknown_tag"),
    InvalidCursor: (400, "invalid_cursor"),
}
"""The most specific class counts; what is not here is a fault of ours."""


def install(app: FastAPI) -> None:
    """Make every error of the application a problem."""
    app.add_exception_handler(GenonautError, _refused)
    app.add_exception_handler(RequestValidationError, _malformed)


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, GenonautError)
    status, code = next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), (500, "internal_error"))
    return Problem(status, code, error.message, error.hint, getattr(error, "field", None)).response()


async def _malformed(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = str(first["loc"][-1])
    return Problem(400, "invalid_value", f"Invalid {field}: {first['msg']}.", field=field).response()
