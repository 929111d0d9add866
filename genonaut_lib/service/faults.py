"""What an error of the database's means to whoever asked: never its text, which may hold SQL, values and addresses."""

from __future__ import annotations

import logging
from http import HTTPStatus

import psycopg
from fastapi import FastAPI, Request, Response
from psycopg import errors as sqlstate
from psycopg_pool import PoolClosed, PoolTimeout, TooManyRequests
from starlette.exceptions import HTTPException

from genonaut_lib.errors import (
    DatabaseUnreachable,
    DiskFull,
    GenonautError,
    InvalidInput,
    LockNotAcquired,
    QueryTimedOut,
    ReadOnlyDatabase,
)
from genonaut_lib.gallery.reading import is_own_timeout
from genonaut_lib.request_errors import SessionsBusy, ShuttingDown, StatementCancelled, TransactionConflict
from genonaut_lib.service.problems import Problem, problem_of, unexpected
from genonaut_lib.service.sessions import Sessions
from genonaut_lib.service.state import Service
from genonaut_lib.service.trace import current

LOG = logging.getLogger("genonaut.service")

MEANINGS: dict[type[psycopg.Error], GenonautError] = {
    TooManyRequests: SessionsBusy("All sessions with the database are taken, and too many requests wait for one."),
    PoolTimeout: SessionsBusy("All sessions with the database are taken, and none became free in time."),
    PoolClosed: ShuttingDown("The service is shutting down."),
    sqlstate.LockNotAvailable: LockNotAcquired("A table was locked by somebody else for longer than a request waits."),
    sqlstate.SerializationFailure: TransactionConflict(),
    sqlstate.DeadlockDetected: TransactionConflict(),
    sqlstate.ReadOnlySqlTransaction: ReadOnlyDatabase("The database accepts no writes at present."),
    sqlstate.DiskFull: DiskFull("The database's disk is full."),
    sqlstate.QueryCanceled: StatementCancelled(),
    psycopg.DataError: InvalidInput("A value is none that the database can hold or compare."),
}
"""The most specific class counts; what is not here is a fault of ours, unless the session was lost."""

UNREACHABLE = DatabaseUnreachable("The database does not answer at present.")
LOST = ("08", "57P0", "25P03", "25P04")
"""How the SQLSTATEs begin with which a session ends: connection, shutdown and crash, idle and too long transactions."""


def install(app: FastAPI) -> None:
    """Make problems of the database's errors, and of those of HTTP itself: no such path, no such method."""
    app.add_exception_handler(psycopg.Error, _failed)
    app.add_exception_handler(HTTPException, _no_such_thing)


def meaning(error: psycopg.Error, *, cut_off: bool, took_ms: float, limit_ms: float) -> GenonautError | None:
    """Return the refusal that an error of the database's is, None for one that is a fault of ours.

    `cut_off`: no session can be opened at present. The request took `took_ms` so far, and each of its
    statements may take `limit_ms`.
    """
    if is_session_lost(error) or (cut_off and isinstance(error, PoolTimeout | TooManyRequests)):
        return UNREACHABLE
    if isinstance(error, sqlstate.QueryCanceled) and is_own_timeout(error, took_ms, limit_ms):
        return QueryTimedOut(f"A statement took longer than {limit_ms:,.0f} ms and was ended.", hint="Ask for less.")
    return next((MEANINGS[kind] for kind in type(error).__mro__ if kind in MEANINGS), None)


def is_session_lost(error: psycopg.Error) -> bool:
    """Return whether the session ended under the statement: what has no SQLSTATE is the connection's own failure."""
    if isinstance(error, PoolTimeout | TooManyRequests | PoolClosed):
        return False
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError)
    return error.sqlstate.startswith(LOST)


async def _failed(request: Request, error: Exception) -> Response:
    assert isinstance(error, psycopg.Error)
    trace, service = current(), _service(request)
    trace.lost_session = is_session_lost(error)
    pool, limit_ms = service.pool, service.settings.service.statement_timeout_ms
    if isinstance(pool, Sessions) and trace.lost_session:
        await pool.replace_idle(trace.started)
    cut_off = isinstance(pool, Sessions) and pool.is_cut_off
    known = meaning(error, cut_off=cut_off, took_ms=trace.milliseconds, limit_ms=limit_ms)
    if known is None:
        return unexpected(error).response()
    if isinstance(known, InvalidInput):
        LOG.warning("A value reached the database that it refused.", exc_info=error)
    return problem_of(known).response()


def _service(request: Request) -> Service:
    service: Service = request.app.state.service
    return service


async def _no_such_thing(_: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    phrase = HTTPStatus(error.status_code).phrase
    response = Problem(error.status_code, phrase.lower().replace(" ", "_"), f"{phrase}.").response()
    response.headers.update(error.headers or {})
    return response
