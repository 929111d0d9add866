"""A second pair of eyes: while a statement waits for a lock, another session sees whom it waits for.

Nobody is killed. The only thing a watch ever ends is the statement it watches, by that statement's own
connection, and only where no lock_timeout could be set for it.
"""

from __future__ import annotations

import threading
import time
import uuid
from dataclasses import dataclass, field
from typing import Self

import psycopg
from psycopg import sql

from genonaut_lib.db import pooling
from genonaut_lib.db.pooling import Connection
from genonaut_lib.db.statements import block

NAME = "genonaut watch"
FIRST_LOOK_S = 0.05
"""Most DDL is over by then, and no second session is opened at all."""
LOOK_EVERY_S = 0.1
CANCEL_TIMEOUT_S = 5.0


@dataclass(frozen=True)
class Blocker:
    """A session in the way: its server pid, user, application, state, seconds its transaction is open, query."""

    pid: int
    user: str
    application: str
    state: str
    open_s: int
    query: str

    def __str__(self) -> str:
        """One line of it."""
        application = f" of {self.application}" if self.application else ""
        query = " ".join(self.query.split())
        return f"pid {self.pid} (user {self.user}{application}, {self.state} for {self.open_s} s): {query}"


@dataclass
class Watch:
    """Watches the statement that `connection` runs inside the `with` block.

    `pid` is the server session, None where only a marker before the statement can tell it.
    With `limit_s`, the statement is cancelled once it has waited for locks that long without a break;
    a time in which nothing could be seen counts as waiting, so the wait is never unlimited.
    """

    connection: Connection
    pid: int | None = None
    limit_s: float | None = None
    token: str = field(default_factory=lambda: f"genonaut {uuid.uuid4().hex}")
    blockers: tuple[Blocker, ...] = ()
    blind: str = ""
    cancelled: bool = False

    def __enter__(self) -> Self:
        self._over = threading.Event()
        self._free_at = time.monotonic()
        self._thread = threading.Thread(target=self._run, name=NAME, daemon=True)
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._over.set()
        # Waited for: a cancellation still on its way would hit the connection's next statement.
        self._thread.join()

    def marked(self, statement: sql.Composed) -> sql.Composed:
        """Return the statement with the marker before it."""
        return sql.SQL("/* {} */ ").format(sql.Literal(self.token)) + statement

    def _run(self) -> None:
        if self._over.wait(FIRST_LOOK_S):
            return
        try:
            with pooling.beside(self.connection, NAME) as session:
                while not self._over.is_set():
                    self._look(session)
                    self._bound()
                    self._over.wait(LOOK_EVERY_S)
        except psycopg.Error as error:
            self._say_why(error)
        while not self._over.wait(LOOK_EVERY_S):
            self._bound()

    def _look(self, session: Connection) -> None:
        pid = self.pid or self._find(session)
        if pid is None:
            return
        rows = session.execute(block("session", "blocking_sessions").sql(), {"pid": pid}).fetchall()
        if rows:
            self.blockers = tuple(Blocker(*row) for row in rows)
        else:
            self._free_at = time.monotonic()

    def _find(self, session: Connection) -> int | None:
        values = {"marker": f"/* '{self.token}' */"}
        row = session.execute(block("session", "session_of_statement").sql(), values).fetchone()
        return int(row[0]) if row else None

    def _bound(self) -> None:
        if self.limit_s is None or time.monotonic() - self._free_at <= self.limit_s:
            return
        try:
            self.connection.cancel_safe(timeout=CANCEL_TIMEOUT_S)
        except psycopg.Error as error:
            self._say_why(error)
        else:
            self.cancelled = True
            # A request that got lost on its way is made again, in as long a time.
            self._free_at = time.monotonic()

    def _say_why(self, error: psycopg.Error) -> None:
        self.blind = (str(error).strip() or type(error).__name__).splitlines()[0]
