"""Those who are there while the schema changes: an application that writes, and a watch on the locks."""

from __future__ import annotations

import threading
import time
from abc import ABC, abstractmethod
from typing import Self

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import ContentSource


class _Bystander(ABC):
    """A thread with a session of its own that does one small thing again and again until the block ends."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.failure: BaseException | None = None
        self._stopped = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stopped.set()
        self._thread.join()
        if self.failure is not None:
            raise self.failure

    def _run(self) -> None:
        try:
            with engine.connect(self.settings) as connection:
                while not self._stopped.wait(0.001):
                    self._act(connection)
        except BaseException as error:  # noqa: BLE001  # raised again when the block ends
            self.failure = error

    @abstractmethod
    def _act(self, connection: Connection) -> None: ...


class Application(_Bystander):
    """Updates one row after another; `worst_ms` is the longest it had to wait for one."""

    worst_ms = 0.0
    writes = 0

    def _act(self, connection: Connection) -> None:
        source = list(ContentSource)[self.writes % 2]
        statement = block("backfill_bench", "application_write").sql(table=source.table)
        started = time.monotonic()
        connection.execute(statement, {"id": self.writes % 100 + 1})
        self.worst_ms = max(self.worst_ms, 1000 * (time.monotonic() - started))
        self.writes += 1


class LockWatch(_Bystander):
    """Looks about once a millisecond; `longest_ms` is the longest an ACCESS EXCLUSIVE lock was seen held."""

    longest_ms = 0.0
    _since: float | None = None

    def _act(self, connection: Connection) -> None:
        row = connection.execute(block("backfill_bench", "is_held_exclusively").sql()).fetchone()
        now = time.monotonic()
        if row is None or not row[0]:
            self._since = None
            return
        self._since = self._since or now
        self.longest_ms = max(self.longest_ms, 1000 * (now - self._since))
