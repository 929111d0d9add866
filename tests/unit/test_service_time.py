"""What bounds a request of the service, apart from any server: knobs, errors' meanings, work that will not end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterator
from typing import Any

import psycopg
import pytest
from psycopg import errors as sqlstate
from psycopg_pool import PoolTimeout, TooManyRequests
from pydantic import ValidationError

from genonaut_lib.errors import DatabaseUnreachable, GenonautError, InvalidInput, LockNotAcquired, QueryTimedOut
from genonaut_lib.request_errors import SessionsBusy, StatementCancelled, TransactionConflict
from genonaut_lib.service import faults
from genonaut_lib.service.deadline import OnceMore, Watch
from genonaut_lib.service.logs import Lines
from genonaut_lib.service.problems import STATUSES
from genonaut_lib.service.trace import CURRENT, Trace
from genonaut_lib.service_settings import ServiceSettings

MEANT: list[tuple[psycopg.Error, bool, type[GenonautError] | None]] = [
    (PoolTimeout(), False, SessionsBusy),
    (PoolTimeout(), True, DatabaseUnreachable),
    (TooManyRequests(), False, SessionsBusy),
    (psycopg.OperationalError("the connection is closed"), False, DatabaseUnreachable),
    (sqlstate.AdminShutdown(), False, DatabaseUnreachable),
    (sqlstate.CannotConnectNow(), False, DatabaseUnreachable),
    (sqlstate.IdleInTransactionSessionTimeout(), False, DatabaseUnreachable),
    (sqlstate.LockNotAvailable(), False, LockNotAcquired),
    (sqlstate.DeadlockDetected(), False, TransactionConflict),
    (sqlstate.SerializationFailure(), False, TransactionConflict),
    (sqlstate.QueryCanceled(), False, StatementCancelled),
    (sqlstate.NumericValueOutOfRange(), False, InvalidInput),
    (sqlstate.UndefinedTable(), False, None),
    (sqlstate.TooManyColumns(), False, None),
]


@pytest.fixture
def runner() -> Iterator[asyncio.Runner]:
    """One event loop for a test."""
    with asyncio.Runner() as found:
        yield found


@pytest.mark.parametrize(("error", "cut_off", "meant"), MEANT, ids=lambda value: getattr(value, "sqlstate", None))
def test_an_error_of_the_database_has_one_meaning(
    error: psycopg.Error, cut_off: bool, meant: type[GenonautError] | None
) -> None:
    """Each with a status, but for what is a fault of ours."""
    found = faults.meaning(error, cut_off=cut_off, took_ms=10, limit_ms=1000)
    assert (None if found is None else type(found)) is meant
    assert found is None or type(found) in STATUSES


def test_a_cancelled_statement_is_a_timeout_once_it_can_be_one() -> None:
    """Where the server's words are in a language that is not read, its time tells."""
    found = faults.meaning(sqlstate.QueryCanceled(), cut_off=False, took_ms=1000, limit_ms=1000)
    assert isinstance(found, QueryTimedOut)


@pytest.mark.parametrize("deadline_s", [1.0, 15.0])
def test_a_deadline_is_above_the_statements_own(deadline_s: float) -> None:
    """Equal is not above."""
    with pytest.raises(ValidationError, match="15,000 ms"):
        ServiceSettings(deadline_s=deadline_s)
    assert ServiceSettings(deadline_s=15.1).deadline_s == 15.1


def test_work_that_will_not_end_is_answered_for_at_the_deadline(runner: asyncio.Runner) -> None:
    """Before it is cleared up; whatever it says later is dropped."""
    said: list[str] = []

    async def stubborn(scope: Any, receive: Any, send: Any) -> None:
        for _ in range(2):
            try:
                await asyncio.sleep(30)
            except asyncio.CancelledError:
                said.append(f"cancelled, with {len(answer)} messages sent")
        await send({"type": "http.response.start", "status": 200, "headers": []})

    answer: list[dict[str, Any]] = []
    took = runner.run(_asked(Watch(stubborn, deadline_s=0.1), answer))
    assert [message["type"] for message in answer] == ["http.response.start", "http.response.body"]
    assert answer[0]["status"] == 504
    assert said[0] == "cancelled, with 2 messages sent"
    assert took < 10


def test_a_client_that_goes_ends_the_work_and_is_sent_nothing(runner: asyncio.Runner) -> None:
    """Its line in the log says so."""
    ended: list[bool] = []

    async def waiting(scope: Any, receive: Any, send: Any) -> None:
        try:
            await asyncio.sleep(30)
        finally:
            ended.append(True)

    answer: list[dict[str, Any]] = []
    trace = Trace()
    runner.run(_asked(Watch(waiting, deadline_s=20), answer, trace, goes=True))
    assert (answer, ended, trace.code) == ([], [True], "client_gone")


@pytest.mark.parametrize(("method", "times"), [("GET", 2), ("POST", 1), ("PUT", 1), ("DELETE", 1)])
def test_only_what_reads_is_tried_again(method: str, times: int, runner: asyncio.Runner) -> None:
    """And once: nobody knows whether what was written on a session that was lost is there."""
    tried: list[str] = []

    async def losing(scope: Any, receive: Any, send: Any) -> None:
        tried.append(scope["method"])
        scope["route"] = "somewhere"
        trace.lost_session = True
        await send({"type": "http.response.start", "status": 503, "headers": []})
        await send({"type": "http.response.body", "body": b""})

    trace, answer, scope = Trace(), [], {"type": "http", "method": method}
    runner.run(_asked(OnceMore(losing), answer, trace, scope=scope))
    assert tried == [method] * times
    assert [message.get("status") for message in answer] == [503, None]
    assert scope["route"] == "somewhere"


def test_a_body_comes_through_in_all_its_parts(runner: asyncio.Runner) -> None:
    """While its client is watched, and in the order it was sent."""
    body: list[bytes] = []

    async def reading(scope: Any, receive: Any, send: Any) -> None:
        while (message := await receive())["more_body"]:
            body.append(message["body"])
            await asyncio.sleep(0)
        body.append(message["body"])

    runner.run(_asked(Watch(reading, deadline_s=20), [], parts=(b"a", b"b", b"c")))
    assert body == [b"a", b"b", b"c"]


def test_an_error_nobody_expected_is_a_problem_without_its_words(
    runner: asyncio.Runner, caplog: pytest.LogCaptureFixture
) -> None:
    """The log has its kind and its place, and not the words either."""

    async def failing(scope: Any, receive: Any, send: Any) -> None:
        raise ZeroDivisionError(word)

    word, answer = "secretword", []
    runner.run(_asked(Watch(failing, deadline_s=20), answer))
    assert answer[0]["status"] == 500
    assert b"internal_error" in answer[1]["body"]
    (record,) = caplog.records
    line = Lines().format(record)
    assert record.levelno == logging.ERROR
    assert "builtins.ZeroDivisionError" in line
    assert "in failing" in line
    assert word not in line + answer[1]["body"].decode()


async def _asked(
    app: Watch | OnceMore,
    answer: list[dict[str, Any]],
    trace: Trace | None = None,
    *,
    parts: tuple[bytes, ...] = (b"",),
    goes: bool = False,
    scope: dict[str, Any] | None = None,
) -> float:
    """Send a request whose client waits, or goes; return after how many seconds all was over."""
    CURRENT.set(trace or Trace())
    last = len(parts) - 1
    messages = iter([{"type": "http.request", "body": part, "more_body": no < last} for no, part in enumerate(parts)])

    async def receive() -> dict[str, Any]:
        if (message := next(messages, None)) is not None:
            return message
        if not goes:
            await asyncio.sleep(60)
        return {"type": "http.disconnect"}

    async def send(message: Any) -> None:
        answer.append(message)

    loop = asyncio.get_running_loop()
    started = loop.time()
    await app(scope or {"type": "http", "method": "GET"}, receive, send)
    return loop.time() - started
