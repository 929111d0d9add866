"""The scheduler's session on the database: opened, lost, and tried again and again."""

from __future__ import annotations

import contextlib
import time
from collections.abc import Callable

import psycopg

from genonaut_lib.db import engine, guard
from genonaut_lib.db.engine import Connection
from genonaut_lib.runs.schedules.schedule_book import Book, Holder
from genonaut_lib.settings import Settings

RECONNECT_S = 2.0


class Line:
    """At most one session, with the book over it."""

    def __init__(self, settings: Settings, say: Callable[[str], None]) -> None:
        self.holder = Holder()
        self._settings = settings
        self._say = say
        self._connection: Connection | None = None
        self._opened = 0.0
        self._again = 0.0
        self._is_down = False

    @property
    def is_due(self) -> bool:
        """Whether there is no session and it is time to try for one."""
        return self._connection is None and time.monotonic() >= self._again

    @property
    def age_s(self) -> float:
        """Seconds since the session was opened."""
        return time.monotonic() - self._opened

    def book(self) -> Book | None:
        """Return the book over the session, None where there is none."""
        return None if self._connection is None else Book(self._connection, self.holder)

    def open(self) -> Book:
        """Open a session; raises what `connect` and the guard raise."""
        connection = engine.connect(self._settings)
        try:
            guard.require_adopted(connection, self._settings)
        except BaseException:
            connection.close()
            raise
        # From now on a server that somebody stops is not started again.
        self._settings = engine.pinned(self._settings)
        self._connection, self._opened = connection, time.monotonic()
        if self._is_down:
            self._is_down = False
            self._say("The database answers again.")
        return Book(connection, self.holder)

    def drop(self, reason: str) -> None:
        """Take note that the database is away; it is said once."""
        self.close()
        self._again = time.monotonic() + RECONNECT_S
        if not self._is_down:
            self._is_down = True
            self._say(f"{reason} Trying again every {RECONNECT_S:g} s.")

    def close(self) -> None:
        """Close the session, and with it all its leases."""
        connection, self._connection = self._connection, None
        if connection is not None:
            with contextlib.suppress(psycopg.Error):
                connection.close()
