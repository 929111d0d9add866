"""The chain's second copy: the insert-only table `workbench.run_records` of the ledger.

Every folder that seals records of this database enters them here, so the rows form one chain over all machines,
while each machine's file holds its own links. Each link in turn names the newest row it saw: files vouch for the
table as the table vouches for the files.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import psycopg

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.runs.records import links
from genonaut_lib.runs.records.links import NOTHING, Folder, Link, Seen
from genonaut_lib.runs.records.manifest import canonical, digest, moment

FILE = "run_records"
LOCK_TIMEOUT = "30s"


@dataclass(frozen=True)
class Row:
    """A row as the table holds it; `body` is the link's line."""

    place: int
    previous: str
    hash: str
    record_hash: str
    folder_id: str
    folder_place: int
    kind: str
    run_id: uuid.UUID | None
    body: str

    @property
    def run(self) -> str | None:
        """The run it is about, as text."""
        return None if self.run_id is None else str(self.run_id)


@dataclass(frozen=True)
class RunRow:
    """A run as `workbench.runs` holds it; `ended_at` is None while it runs.

    `plan_digest` is that of the plan it showed, where that could not be taken back, and `approval` what it was
    applied by (see `Approval.told`).
    """

    run_id: uuid.UUID
    notebook: str
    state: str
    actor: str
    parameters: Mapping[str, Any]
    notebook_digest: str
    output_path: str | None
    pipeline_id: uuid.UUID | None
    step: str | None
    started_at: datetime
    ended_at: datetime | None
    plan_digest: str | None = None
    approval: Mapping[str, Any] | None = None


@dataclass(frozen=True)
class Records:
    """The table in one database; `id` tells this ledger from every other."""

    connection: Connection
    id: str

    def head(self) -> Seen:
        """Return the newest row, place 0 when there is none."""
        row = self._one("head")
        return Seen(self.id, *row) if row else Seen(self.id, 0, NOTHING)

    def newest_of(self, folder_id: str) -> Link | None:
        """Return the newest link that was sealed in a folder, None when there is none."""
        return _link(self._one("head_of_folder", folder_id=folder_id))

    def folder_at(self, host: str, path: str) -> Folder | None:
        """Return the folder that lay at a path of a host when it last entered a record."""
        fragments = {name: f'"{name}":{canonical(value).decode()}' for name, value in (("host", host), ("path", path))}
        found = _link(self._one("head_of_place", **fragments))
        return found.folder if found is not None and (found.folder.host, found.folder.path) == (host, path) else None

    def of_run(self, run_id: str) -> Link | None:
        """Return the link that seals a run, or None."""
        return _link(self._one("record_of_run", run_id=run_id))

    def enter(self, link: Link) -> bool:
        """Enter a link behind the newest row, and return whether it is there now; a second time does nothing.

        False means that the server is gone, or that somebody held the chain's lock for too long.
        """
        try:
            with self.connection.transaction():
                self.connection.execute(block(FILE, "bound_wait").sql(), {"timeout": LOCK_TIMEOUT})
                self.connection.execute(block(FILE, "lock_chain").sql())
                self.connection.execute(block(FILE, "enter").sql(), _values(self.head(), link))
        except psycopg.OperationalError:
            # The link stays among the waiting ones, and the next start enters it.
            return False
        return True

    def rows(self) -> list[Row]:
        """Return all rows in their order, as one snapshot has them."""
        return [Row(*row) for row in self.connection.execute(block(FILE, "rows").sql()).fetchall()]

    def runs(self) -> list[RunRow]:
        """Return the runs of `workbench.runs`, the earliest first."""
        return self._runs("runs")

    def unsealed_runs(self, folder: str) -> list[RunRow]:
        """Return the runs that are over, wrote below `folder` or nowhere, and have no record in the table."""
        return self._runs("unsealed_runs", folder=f"{folder}/")

    def runs_called(self, start: str) -> list[RunRow]:
        """Return the runs whose id begins with `start`, twenty at most."""
        return self._runs("runs_called", start=start)

    def _runs(self, name: str, **values: Any) -> list[RunRow]:
        rows = self.connection.execute(block(FILE, name).sql(), values).fetchall()
        return [RunRow(*row) for row in rows]

    def _one(self, name: str, **values: Any) -> Any:
        return self.connection.execute(block(FILE, name).sql(), values).fetchone()


def records_of(connection: Connection | None) -> Records | None:
    """Return the table behind a session; None for a database without one, a closed session, or a lost server."""
    if connection is None or connection.closed or connection.broken:
        return None
    try:
        row = connection.execute(
            block("catalog", "has_relation").sql(), {"relation": "workbench.run_records"}
        ).fetchone()
        found = connection.execute(block(FILE, "ledger_of").sql()).fetchone() if row and row[0] else None
    except psycopg.OperationalError:
        # Without the server the chain goes on in the files, and the link waits.
        return None
    return None if found is None else Records(connection, ledger_id(str(found[0]), found[1]))


def ledger_id(environment: str, adopted_at: datetime) -> str:
    """Return what tells a ledger from every other one: from its environment and the instant it was adopted."""
    return digest(f"{environment} {moment(adopted_at)}".encode())[:32]


def row_hash(ledger: str, place: int, previous: str, record_hash: str) -> str:
    """Return the hash of a row: over its ledger, its place, the row before it and the link in it."""
    return digest(canonical({"ledger": ledger, "place": place, "previous": previous, "record": record_hash}))


def _values(head: Seen, link: Link) -> dict[str, Any]:
    place, previous = (head.place or 0) + 1, head.hash or NOTHING
    return {
        "place": place,
        "previous": previous,
        "hash": row_hash(head.id, place, previous, link.hash),
        "record_hash": link.hash,
        "folder_id": link.folder.id,
        "folder_place": link.place,
        "kind": link.kind,
        "run_id": link.run_id,
        "body": link.line.decode("utf-8"),
    }


def _link(row: Any) -> Link | None:
    return None if row is None else links.sound(str(row[0]).encode("utf-8"))
