"""What shows the ledger that a run lives: a session of its own that holds the run's lock and beats.

A lost session is opened anew, so a server that restarts in the middle does not make a run lost.
"""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Iterator

import psycopg

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import DatabaseUnreachable
from genonaut_lib.migration import ledger
from genonaut_lib.migration.ledger import RunStart
from genonaut_lib.settings import Settings


@contextlib.contextmanager
def beating(settings: Settings, start: RunStart) -> Iterator[None]:
    """Write a run down as running and keep it alive in the ledger for a block; raises what `connect` raises."""
    with engine.translated():
        session = engine.connect(settings)
        try:
            ledger.start_run(session, start)
            ledger.beat(session, start.run_id)
        except BaseException:
            session.close()
            raise
    pulse = _Pulse(settings, start, session)
    pulse.start()
    try:
        yield
    finally:
        pulse.stop()


class _Pulse(threading.Thread):
    def __init__(self, settings: Settings, run: RunStart, session: Connection) -> None:
        super().__init__(name="pulse", daemon=True)
        self._settings = settings
        self._run = run
        self._session = session
        self._ending = threading.Event()

    def run(self) -> None:
        """Beat until told to stop; while the server is away, try again at the next beat."""
        while not self._ending.wait(self._settings.runs.heartbeat_s):
            # A run whose beats fail for long is found lost by others, which says it all.
            with contextlib.suppress(psycopg.OperationalError, DatabaseUnreachable):
                self._beat()

    def stop(self) -> None:
        self._ending.set()
        self.join()
        self._session.close()

    def _beat(self) -> None:
        if self._session.closed:
            self._session = engine.connect(self._settings)
            ledger.hold_run(self._session, self._run.run_id)
        ledger.beat(self._session, self._run.run_id)
