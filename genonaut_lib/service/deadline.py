"""The middleware that bounds a request in time: by its deadline, and by its client's patience."""

from __future__ import annotations

import asyncio

from fastapi import Response
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from genonaut_lib.errors import GenonautError
from genonaut_lib.request_errors import DeadlineExceeded, ShuttingDown
from genonaut_lib.service.problems import problem_of, unexpected
from genonaut_lib.service.trace import current

ABANDONED = "client_gone"
"""What the log says of a request whose client did not wait for the answer."""

ROUTING = ("fastapi", "route", "path_params", "endpoint")
"""What the router leaves in a scope."""

CANCELS = 5
CANCEL_EVERY_S = 1.0
"""A task that was cancelled may wait for a server that hangs. Cancelled again, it closes its session instead."""


_UNDER_WAY: set[asyncio.Future[None]] = set()
"""What the application works at, on this process's one event loop."""


class Watch:
    """Lets the application work in a task: cancelled when the client goes, answered for at the deadline."""

    def __init__(self, app: ASGIApp, deadline_s: float) -> None:
        self._app = app
        self._deadline_s = deadline_s

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request, or what else a server asks."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope, receive, send)
        await exchange.carried_out(self._app, self._deadline_s)


class Exchange:
    """One request and its answer, between the server and the application."""

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        self._scope = scope
        self._receive, self._send = receive, send
        self._messages: asyncio.Queue[Message] = asyncio.Queue(maxsize=1)
        self._started = self._complete = self._closed = False

    async def carried_out(self, app: ASGIApp, deadline_s: float) -> None:
        """Have the application answer, or answer in its place; return once nothing is left of its work."""
        work: asyncio.Future[None] = asyncio.ensure_future(app(self._scope, self._taken, self._sent))
        _UNDER_WAY.add(work)
        work.add_done_callback(_UNDER_WAY.discard)
        client = asyncio.create_task(self._listen())
        try:
            await self._ended(work, client, deadline_s)
        except asyncio.CancelledError:
            # The time for finishing is over: the server cancels whatever still runs.
            await self._answer_for(ShuttingDown())
        finally:
            client.cancel()
            await put_away(work)
        if not work.cancelled() and (error := work.exception()) is not None:
            await self._respond(unexpected(error).response())

    async def _ended(self, work: asyncio.Future[None], client: asyncio.Task[None], deadline_s: float) -> None:
        """Return when the work is done, its client gone, or its time over, and answered for."""
        done, _ = await asyncio.wait({work, client}, timeout=deadline_s, return_when=asyncio.FIRST_COMPLETED)
        if not done:
            problem = f"The request took longer than {deadline_s:g} s and was given up."
            await self._answer_for(DeadlineExceeded(problem, hint="Ask for less."))
        elif work not in done and self._complete:
            # A server says that the client is gone once it has everything; the application may still clear up.
            await asyncio.wait({work}, timeout=deadline_s)
        elif work not in done:
            self._closed = True
            current().code = ABANDONED

    async def _listen(self) -> None:
        """Hand messages on as they are taken, one at a time; return when the client is gone."""
        while (message := await self._receive())["type"] != "http.disconnect":
            await self._messages.put(message)

    async def _taken(self) -> Message:
        return await self._messages.get()

    async def _sent(self, message: Message) -> None:
        """Send what the application says, unless it was answered for."""
        if self._closed:
            return
        self._started = self._started or message["type"] == "http.response.start"
        self._complete = message["type"] == "http.response.body" and not message.get("more_body", False)
        await self._send(message)

    async def _answer_for(self, error: GenonautError) -> None:
        await self._respond(problem_of(error).response())

    async def _respond(self, response: Response) -> None:
        """Answer in the application's place, if it has not begun to; its own words are dropped from now on."""
        if not (self._started or self._closed):
            await response(self._scope, self._taken, self._send)
        self._closed = True


async def put_away(work: asyncio.Future[None]) -> None:
    """Cancel a task until it has ended, for some seconds."""
    for _ in range(CANCELS):
        if work.done():
            return
        work.cancel()
        await asyncio.wait({work}, timeout=CANCEL_EVERY_S)


async def all_put_away() -> None:
    """Wait until nothing is under way any more, for some seconds: statements that were cancelled need to be told."""
    if _UNDER_WAY:
        await asyncio.wait(set(_UNDER_WAY), timeout=CANCELS * CANCEL_EVERY_S)


class OnceMore:
    """The middleware that tries a reading request again whose session with the database was lost; innermost."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request; nothing was sent when it is tried again, since the answer is a problem until then."""
        if scope["type"] != "http" or scope["method"] not in ("GET", "HEAD"):
            await self._app(scope, receive, send)
            return
        trace = current()

        async def sent_unless_lost(message: Message) -> None:
            if not trace.lost_session:
                await send(message)

        await self._routed(scope, receive, sent_unless_lost)
        if trace.lost_session:
            trace.lost_session, trace.code = False, None
            await self._routed(scope, receive, send)

    async def _routed(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Have the request answered, each time as if for the first time, and note what route it took."""
        tried = {key: value for key, value in scope.items() if key not in ROUTING}
        try:
            await self._app(tried, receive, send)
        finally:
            scope.update({key: tried[key] for key in ROUTING if key in tried})
