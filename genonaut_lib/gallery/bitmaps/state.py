"""What is sealed and what is marked, as one snapshot sees it: asked once by every request, in one statement."""

from __future__ import annotations

import functools
import struct
import uuid
from collections.abc import Collection, Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final

from psycopg.rows import tuple_row

from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.db.statements import block
from genonaut_lib.vocabulary import ContentSource

Mark = int
"""Which item is marked: twice its id, and one more for an auto item. Ids below 0 have a mark as well."""

ROWS_OF_AN_ITEM: Final = 16
"""So many rows of marks may an item have on average before the probe gives up counting items."""

_FILE = "bitmap_marks"
_TAG: Final = struct.Struct("!16si?")
"""A tag's id, its number, and whether it has bitmaps."""


@dataclass(frozen=True)
class State:
    """The index that serves in one snapshot: what it holds, and which snapshot that is.

    `chunks` and `ranks` count what is sealed; no tag without bitmaps is carried by more than `rare_most` of it.
    `server_started`, `database` (its oid), `epoch`, `built_at` and `version` together name what is sealed: what was
    read under others says nothing of this. `snapshot` is the text of `pg_current_snapshot()`. `lasting` says
    whether it tells what later snapshots see more: it does not on a replica (`in_recovery`), in a transaction that
    writes itself, nor where each statement has a snapshot of its own. What was read in a snapshot that is not
    lasting is for its transaction alone.
    """

    epoch: int
    version: int
    chunks: int
    ranks: int
    rare_most: int
    server_started: datetime
    snapshot: str
    in_recovery: bool
    sealed_at: datetime | None
    built_at: datetime | None
    database: int
    lasting: bool

    def is_beside(self, other: State) -> bool:
        """Whether both are of one database on one run of its server, so that their snapshots compare."""
        return (self.server_started, self.database) == (other.server_started, other.database)

    def follows(self, older: State) -> bool:
        """Whether this snapshot sees whatever the other saw, and so is equal to it or later.

        Of two snapshots of one primary at least one follows the other, since commits have an order.
        """
        if not self.is_beside(older):
            return False
        (_, end, running), (_, older_end, older_running) = _parts(self.snapshot), _parts(older.snapshot)
        return end >= older_end and all(number >= older_end or number in older_running for number in running)


@dataclass(frozen=True)
class Numbered:
    """The tags of a query that exist: their numbers, and which of these have bitmaps."""

    numbers: Mapping[uuid.UUID, int] = field(default_factory=dict)
    with_bitmaps: frozenset[int] = frozenset()


@dataclass(frozen=True)
class Probe:
    """The answer to one probe; `state` is None where no index serves. `tags` are those that were named in asking.

    `renewed` says that something else is sealed than was known: `marks` are all there are. Otherwise they
    are those that the known snapshot did not see. `too_many`: there are more, and not all were looked at.
    """

    state: State | None
    marks: tuple[Mark, ...] = ()
    renewed: bool = True
    too_many: bool = False
    tags: Numbered = Numbered()


async def probe(
    connection: AsyncConnection, known: State | None, marks_max: int, tags: Collection[uuid.UUID] = ()
) -> Probe:
    """Ask what serves and what is marked; of marks only those that `known` did not see, as long as it holds.

    Each item is named once, and at most `marks_max` are. Raises psycopg's UndefinedTable or InvalidSchemaName
    where there are no tables of the index.
    """
    rows_max = ROWS_OF_AN_ITEM * (marks_max + 1)
    limits = {"items": marks_max + 1, "rows": rows_max, "auto": ContentSource.AUTO.partition}
    values = _naming(known) | limits | {"tags": list(tags)}
    async with connection.cursor(row_factory=tuple_row, binary=True) as cursor:
        await cursor.execute(_text(), values)
        row = await cursor.fetchone()
    if row is None:
        return Probe(None)
    *state, renewed, packed, rows_read, named = row
    marks = _unpacked(packed)
    if len(marks) > marks_max or (rows_read or 0) >= rows_max:
        return Probe(State(*state), renewed=renewed, too_many=True)
    return Probe(State(*state), marks, renewed, tags=_numbered(named or b""))


@functools.cache
def _text() -> bytes:
    """Return the probe as text; psycopg parses it once then, and not for every request."""
    return block(_FILE, "probe").sql().as_bytes(None)


def _numbered(named: bytes) -> Numbered:
    rows = list(_TAG.iter_unpack(named))
    numbers = {uuid.UUID(bytes=tag): number for tag, number, _ in rows}
    return Numbered(numbers, frozenset(number for _, number, has_bitmaps in rows if has_bitmaps))


def _naming(known: State | None) -> dict[str, Any]:
    names = ("server_started", "database", "epoch", "built_at", "version", "snapshot")
    return {name: getattr(known, name, None) for name in names}


def _unpacked(packed: bytes | None) -> tuple[Mark, ...]:
    return () if packed is None else struct.unpack(f"!{len(packed) // 8}q", packed)


def _parts(snapshot: str) -> tuple[int, int, frozenset[int]]:
    """Return xmin, xmax and the numbers between them that were running."""
    first, end, running = snapshot.split(":")
    return int(first), int(end), frozenset(map(int, running.split(","))) if running else frozenset()
