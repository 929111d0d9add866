"""What is sealed and what is marked, as one snapshot sees it: asked once by every request, in one statement."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from genonaut_lib.db.pool import AsyncConnection

Mark = int
"""Which item is marked: twice its id, and one more for an auto item. Ids below 0 have a mark as well."""


@dataclass(frozen=True)
class Origin:
    """Which index this is. Whatever was read under another origin says nothing of this one.

    `database` is the database's oid, `built_at` tells an index that was dropped and built anew.
    """

    server_started: datetime
    database: int
    epoch: int
    built_at: datetime | None


@dataclass(frozen=True)
class State:
    """The index that serves in one snapshot: what it holds, and which snapshot that is.

    `chunks` and `ranks` count what is sealed. `snapshot` is the text of `pg_current_snapshot()`. `lasting`
    says whether it tells what later snapshots see more: it does not on a replica (`in_recovery`), in a
    transaction that writes itself, nor where each statement has a snapshot of its own. What was read in a
    snapshot that is not lasting is for this transaction alone.
    """

    epoch: int
    version: int
    chunks: int
    ranks: int
    server_started: datetime
    snapshot: str
    in_recovery: bool
    sealed_at: datetime | None
    built_at: datetime | None
    database: int
    lasting: bool

    @property
    def origin(self) -> Origin:
        """Which index this is."""
        return Origin(self.server_started, self.database, self.epoch, self.built_at)

    def follows(self, older: State) -> bool:
        """Whether this snapshot sees whatever the other saw, and so is equal to it or later."""
        raise NotImplementedError


@dataclass(frozen=True)
class Probe:
    """The answer to one probe; `state` is None where no index serves.

    `renewed` says that something else is sealed than was known: `marks` are all there are. Otherwise they
    are those that the known snapshot did not see. `too_many`: there are more, and not all were looked at.
    """

    state: State | None
    marks: tuple[Mark, ...] = ()
    renewed: bool = True
    too_many: bool = False


async def probe(connection: AsyncConnection, known: State | None, marks_max: int) -> Probe:
    """Ask what serves and what is marked; of marks only those that `known` did not see, as long as it holds.

    At most `marks_max` + 1 items are named, each once. Raises psycopg's UndefinedTable or InvalidSchemaName
    where there are no tables of the index.
    """
    raise NotImplementedError
