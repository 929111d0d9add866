"""A client for measuring: keep-alive and Content-Length and nothing else, so that it adds little to what it measures.

It asks from a process of its own, since the servers run in theirs, and accepts no compression.
"""

from __future__ import annotations

import asyncio
import contextlib
import itertools
import re
import socket
import time
from collections import Counter
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from typing import Self

import uvloop

from genonaut_lib.errors import UnexpectedAnswer

LONGEST_WAIT_S = 600.0
"""A server that says nothing for so long is not waited for; its own time limits are far below."""
LONGEST_IDLE_S = 2.0
"""A connection that was idle for longer is made anew before the clock runs: the server may be about to close it."""
_LENGTH = re.compile(rb"\r\ncontent-length: *([0-9]+)", re.IGNORECASE)
_END = b"\r\n\r\n"
_RECEIVED_AT_ONCE = 262_144


@dataclass(frozen=True)
class Address:
    """Where a server listens."""

    host: str
    port: int

    def request(self, path: str) -> bytes:
        """Return the bytes that ask for a path."""
        return f"GET {path} HTTP/1.1\r\nHost: {self.host}:{self.port}\r\nAccept: */*\r\n\r\n".encode("ascii")


@dataclass(frozen=True)
class Reply:
    """One answer, and the milliseconds from sending the question to its last byte."""

    status: int
    body: bytes
    milliseconds: float


class Client:
    """One connection that is kept, for a block."""

    def __init__(self, address: Address) -> None:
        self._address = address
        self._used_at = 0.0
        self._connect()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._socket.close()

    def get(self, path: str) -> Reply:
        """Return what a path answers with; raise UnexpectedAnswer where the connection ends or no length is told."""
        asked = self._address.request(path)
        if time.monotonic() - self._used_at > LONGEST_IDLE_S:
            self._socket.close()
            self._connect()
        started = time.perf_counter()
        self._socket.sendall(asked)
        received = self._received(bytearray(), 1)
        while (end := received.find(_END)) < 0:
            received = self._received(received, 1)
        status, length = _head(bytes(received[:end]))
        received = self._received(received, end + len(_END) + length - len(received))
        self._used_at = time.monotonic()
        return Reply(status, bytes(received[end + len(_END) :]), (time.perf_counter() - started) * 1000)

    def _connect(self) -> None:
        self._socket = socket.create_connection((self._address.host, self._address.port), LONGEST_WAIT_S)
        self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._used_at = time.monotonic()

    def _received(self, known: bytearray, missing: int) -> bytearray:
        """Return what was received so far with `missing` bytes more, or all that came with them."""
        wanted = len(known) + missing
        while len(known) < wanted:
            piece = self._socket.recv(_RECEIVED_AT_ONCE)
            if not piece:
                raise UnexpectedAnswer("The server closed the connection before its answer was whole.")
            known += piece
        return known


@dataclass
class Tally:
    """What several clients were answered: how many of each status, bytes, milliseconds each, seconds in all."""

    statuses: Counter[int] = field(default_factory=Counter)
    bytes: int = 0
    times: list[float] = field(default_factory=list)
    seconds: float = 0.0

    @property
    def per_second(self) -> float:
        """Answers of status 200 a second."""
        return self.statuses[200] / self.seconds if self.seconds else 0.0

    def take(self, reply: Reply) -> None:
        """Count an answer."""
        self.statuses[reply.status] += 1
        self.bytes += len(reply.body)
        self.times.append(reply.milliseconds)


def load(address: Address, paths: Sequence[str], clients: int, seconds: float) -> Tally:
    """Let several clients ask one path after the other for so many seconds, each on a connection that it keeps.

    All of them share one round trip through the paths, so that each is asked equally often. Whoever waits
    for an answer when the time is over gets it still, and the time that takes counts.
    """
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        return runner.run(_load(address, paths, clients, seconds))


async def _load(address: Address, paths: Sequence[str], clients: int, seconds: float) -> Tally:
    tally, endless = Tally(), itertools.cycle([address.request(path) for path in paths])
    started = time.perf_counter()
    async with asyncio.TaskGroup() as group:
        for _ in range(clients):
            group.create_task(_ask(address, endless, started + seconds, tally))
    tally.seconds = time.perf_counter() - started
    return tally


async def _ask(address: Address, requests: Iterator[bytes], until: float, tally: Tally) -> None:
    reader, writer = await asyncio.open_connection(address.host, address.port)
    with contextlib.closing(writer):
        while (started := time.perf_counter()) < until:
            writer.write(next(requests))
            try:
                status, length = _head((await reader.readuntil(_END))[: -len(_END)])
                body = await reader.readexactly(length)
            except asyncio.IncompleteReadError:
                raise UnexpectedAnswer("The server closed the connection before its answer was whole.") from None
            tally.take(Reply(status, body, (time.perf_counter() - started) * 1000))


def _head(head: bytes) -> tuple[int, int]:
    """Return status and length of an answer."""
    length = _LENGTH.search(head)
    if length is None:
        raise UnexpectedAnswer("The server's answer does not say how long it is.")
    return int(head[9:12]), int(length[1])
