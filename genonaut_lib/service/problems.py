"""Errors as problem+json (RFC 9457): one table says which refusal of the library is which status."""

from __future__ import annotations

import logging
from dataclasses import dataclass
from http import HTTPStatus
from typing import Any

import orjson
from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from pydantic import TypeAdapter

from genonaut_lib.errors import (
    BitmapsUnavailable,
    DatabaseUnreachable,
    DiskFull,
    GenonautError,
    HierarchyTooLarge,
    InvalidInput,
    LockNotAcquired,
    QueryTimedOut,
    ReadOnlyDatabase,
    StatisticsMissing,
    ViewMissing,
)
from genonaut_lib.request_errors import (
    BodyTooLarge,
    DeadlineExceeded,
    Forbidden,
    InvalidCursor,
    ItemChanged,
    ItemNotFound,
    ItemRefused,
    NotReady,
    PromptImmutable,
    SessionsBusy,
    ShuttingDown,
    StatementCancelled,
    TagNotFound,
    TokenRefused,
    TransactionConflict,
    Unauthenticated,
    UnknownCreator,
    UnknownTag,
    WriteContended,
)
from genonaut_lib.service.trace import current

MEDIA_TYPE = "application/problem+json"


@dataclass(frozen=True)
class Problem:
    """What is answered in the place of what was asked for.

    `code` is stable, for programs; `detail` is a sentence, for people; `field` is the parameter at fault.
    `retry_after_s` says when it is worth while to ask again, None where it is not.
    """

    status: int
    code: str
    detail: str
    hint: str | None = None
    field: str | None = None
    request_id: str | None = None
    retry_after_s: int | None = None

    def response(self) -> Response:
        """Return the problem as an answer, with the id under which the log tells more of it."""
        trace = current()
        trace.code = self.code
        body: dict[str, Any] = {
            "type": f"urn:genonaut:problem:{self.code}",
            "title": self.code.replace("_", " "),
            "status": self.status,
            "code": self.code,
            "detail": self.detail,
            "hint": self.hint,
            "field": self.field,
            "request_id": self.request_id or trace.request_id or None,
            "retry_after_s": self.retry_after_s,
        }
        headers = {} if self.retry_after_s is None else {"Retry-After": str(self.retry_after_s)}
        return Response(orjson.dumps(body), self.status, headers, media_type=MEDIA_TYPE)


def documented(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """Return what the OpenAPI document says of the problems a route may answer with."""
    content = {MEDIA_TYPE: {"schema": TypeAdapter(Problem).json_schema()}}
    return {status: {"description": HTTPStatus(status).phrase, "content": content} for status in statuses}


STATUSES: dict[type[GenonautError], tuple[int, str]] = {
    InvalidInput: (400, "invalid_value"),
    QueryTimedOut: (504, "statement_timeout"),
    ItemNotFound: (404, "item_not_found"),
    ItemChanged: (412, "item_changed"),
    PromptImmutable: (409, "prompt_immutable"),
    UnknownCreator: (400, "unknown_creator"),
    ItemRefused: (409, "item_refused"),
    WriteContended: (503, "write_contended"),
    BodyTooLarge: (413, "body_too_large"),
    Unauthenticated: (401, "unauthenticated"),
    TokenRefused: (401, "token_refused"),
    Forbidden: (403, "forbidden"),
    UnknownTag: (400, "unknown_tag"),
    InvalidCursor: (400, "invalid_cursor"),
    SessionsBusy: (503, "pool_full"),
    DatabaseUnreachable: (503, "database_unavailable"),
    ReadOnlyDatabase: (503, "database_read_only"),
    DiskFull: (503, "disk_full"),
    LockNotAcquired: (503, "lock_timeout"),
    StatementCancelled: (503, "statement_cancelled"),
    TransactionConflict: (503, "transaction_conflict"),
    ShuttingDown: (503, "shutting_down"),
    DeadlineExceeded: (504, "deadline_exceeded"),
    TagNotFound: (404, "tag_not_found"),
    HierarchyTooLarge: (422, "hierarchy_too_large"),
    BitmapsUnavailable: (409, "bitmaps_unavailable"),
    ViewMissing: (409, "view_missing"),
    StatisticsMissing: (503, "statistics_missing"),
    NotReady: (503, "not_ready"),
}
"""The most specific class counts; what is not here is a fault of ours."""

HEADERS: dict[type[GenonautError], dict[str, str]] = {
    Unauthenticated: {"WWW-Authenticate": 'Bearer realm="genonaut"'},
    TokenRefused: {"WWW-Authenticate": 'Bearer realm="genonaut", error="invalid_token"'},
}
"""What an answer says in its head besides; the most specific class counts (RFC 6750, section 3)."""
RETRY_AFTER_S = 1
"""What is out of reach for the moment is worth another try after a second."""

INTERNAL = Problem(500, "internal_error", "The service failed to answer; the log tells why, under the request's id.")

LOG = logging.getLogger("genonaut.service")


def install(app: FastAPI) -> None:
    """Make every error of the application a problem."""
    app.add_exception_handler(GenonautError, _refused)
    app.add_exception_handler(RequestValidationError, _malformed)


def problem_of(error: GenonautError) -> Problem:
    """Return the problem that a refusal is; one that no request should lead to is told in the log alone."""
    found = next((STATUSES[kind] for kind in type(error).__mro__ if kind in STATUSES), None)
    if found is None:
        return unexpected(error)
    status, code = found
    retry_after_s = RETRY_AFTER_S if status == HTTPStatus.SERVICE_UNAVAILABLE else None
    field = getattr(error, "field", None)
    return Problem(status, code, error.message, error.hint, field, retry_after_s=retry_after_s)


def unexpected(error: BaseException) -> Problem:
    """Write an error that nobody expected into the log, and return the problem that says nothing of it."""
    LOG.error("A request failed.", exc_info=error)
    return INTERNAL


async def _refused(_: Request, error: Exception) -> Response:
    assert isinstance(error, GenonautError)
    response = problem_of(error).response()
    response.headers.update(next((HEADERS[kind] for kind in type(error).__mro__ if kind in HEADERS), {}))
    return response


async def _malformed(_: Request, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError)
    first = error.errors()[0]
    field = str(first["loc"][-1])
    return Problem(400, "invalid_value", f"Invalid {field}: {first['msg']}.", field=field).response()
