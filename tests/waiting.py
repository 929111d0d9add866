"""Waiting for what other sessions, threads and processes do in their own time; a wait that is too long fails."""

from __future__ import annotations

import time
from collections.abc import Callable

from genonaut_lib.db.engine import Connection

LOOK_EVERY_S = 0.02


def eventually(happened: Callable[[], object], seconds: float = 30.0, what: str = "it never came to be so") -> None:
    """Return once something is so; fail where that takes more than so many seconds."""
    deadline = time.monotonic() + seconds
    while not happened():
        assert time.monotonic() < deadline, what
        time.sleep(LOOK_EVERY_S)


def until_found(connection: Connection, query: str, *values: object) -> None:
    """Return once `query` has a row.

    A position that the query compares with belongs into `values`: the server writes WAL of its own accord, and one
    that is asked for again at every look may never be reached.
    """
    eventually(lambda: connection.execute(query, values).fetchall(), what=query)  # type: ignore[arg-type]
