"""The first half of a build: every item gets its rank, and whatever needs no tag is written.

One REPEATABLE READ transaction. The tags are read in later snapshots; the marks that this transaction's
snapshot does not see say which items have changed since.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray
from psycopg import errors

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import CheckFailed
from genonaut_lib.gallery.bitmaps.layout import (
    AUTO_ITEMS,
    CHUNK,
    MEMBERS,
    POSITIONS,
    PUBLIC_ITEMS,
    REGULAR_ITEMS,
    SPAN,
    Ranks,
)
from genonaut_lib.migration.bitmap_columns import RankMap, columns_of, copy_rows, int4, int8, maps_of, places_of
from genonaut_lib.migration.bitmap_epochs import END_CHUNK, FILE, repeatable_read
from genonaut_lib.vocabulary import ContentSource

ATTEMPTS = 10
"""A sealing that commits while the ranking waits for the row of state makes its snapshot too old; it begins anew."""
_ROW = np.dtype([("at", "V8"), ("id", ">i4"), ("auto", "?"), ("private", "?"), ("creator", "V16")])
_CHUNKS = ("workbench.bitmap_chunks", ("epoch", "chunk", "version", "first_at", "first_source", "first_id", "members"))
BITMAPS = ("workbench.tag_bitmaps", ("epoch", "tag_no", "chunk", "cardinality", "bits"))
"""A table and the columns that are written to it."""
_CREATORS = ("workbench.bitmap_creators", ("epoch", "creator_id", "span", "positions"))
_PLACES = ("workbench.bitmap_places", ("epoch", "source_type", "block", "ranks"))
_TAGS = ("workbench.bitmap_tags", ("epoch", "tag_no"))

Rows = NDArray[np.void]
"""Items in the order of their ranks, as `_ROW` lays them out."""


@dataclass(frozen=True)
class Ranking:
    """What was ranked: the epoch it begins, and the ranks of each source's ids."""

    epoch: int
    items: int
    maps: dict[ContentSource, RankMap]


def rank(connection: Connection, report: Callable[[int], None] = lambda items: None) -> Ranking:
    """Rank all items as a new epoch and announce that it is being built; `report` hears of items ranked so far.

    `connection` is in autocommit mode. Holds one span of items and four bytes for each item in memory.
    Raises CheckFailed when there are negative ids, which no bitmap has a place for; nothing was written then.
    """
    for _ in range(ATTEMPTS - 1):
        try:
            return _rank(connection, report)
        except errors.SerializationFailure:
            continue
    return _rank(connection, report)


def read_ranking(connection: Connection, epoch: int) -> Ranking:
    """Return the ranking that an earlier start wrote for `epoch`."""
    members: list[NDArray[np.int32]] = []
    after = END_CHUNK
    while rows := _members(connection, epoch, after):
        members += [np.frombuffer(row[1], dtype=MEMBERS).astype(np.int32) for row in rows]
        after = rows[-1][0]
    return Ranking(epoch, sum(map(len, members)), maps_of(members))


def _members(connection: Connection, epoch: int, after: int) -> list[tuple[int, bytes]]:
    with connection.cursor(binary=True) as cursor:
        cursor.execute(block(FILE, "members").sql(), {"epoch": epoch, "after": after})
        return cursor.fetchall()


def _rank(connection: Connection, report: Callable[[int], None]) -> Ranking:
    with repeatable_read(connection), connection.transaction():
        row = connection.execute(block(FILE, "begin").sql()).fetchone()
        assert row is not None
        _require_places(connection)
        connection.execute(block(FILE, "drop_kept_marks").sql())
        writer = _Writer(connection, int(row[0]), int(row[1]) + 1)
        for rows in _spans(connection):
            writer.write(rows)
            report(writer.items)
        maps = maps_of(writer.members)
        writer.finish(maps)
        connection.execute(block(FILE, "announce").sql(), {"epoch": writer.epoch})
    return Ranking(writer.epoch, writer.items, maps)


def _require_places(connection: Connection) -> None:
    found = connection.execute(block(FILE, "negative_ids").sql()).fetchall()
    if found:
        named = ", ".join(f"{source} {item}" for source, item in found)
        raise CheckFailed(
            f"Items with negative ids cannot be in the tag bitmap index, here {named}.",
            hint="Give them other ids, then run `genonaut run 40_build_tag_bitmaps` again.",
        )


def _spans(connection: Connection) -> Iterator[Rows]:
    """Yield all items in the order of their ranks, a span at a time."""
    connection.execute(block(FILE, "ranking_memory").sql())
    with connection.cursor("bitmap_ranking") as cursor:
        cursor.execute(block(FILE, "ranking").sql(), {"auto": ContentSource.AUTO.partition}, binary=True)
        while rows := cursor.fetchmany(SPAN * CHUNK):
            yield np.frombuffer(b"".join([row[0] for row in rows]), dtype=_ROW)


@dataclass
class _Writer:
    """Writes the rows of a new epoch, span by span."""

    connection: Connection
    epoch: int
    version: int
    items: int = 0
    members: list[NDArray[np.int32]] = field(default_factory=list)
    last: bytes = b""

    def write(self, rows: Rows) -> None:
        """Write the next span: its chunks, the bitmaps that are no tag's, and its creators' positions."""
        span, ids = self.items // (SPAN * CHUNK), rows["id"].astype(np.int32)
        self.members.append(np.where(rows["auto"], ~ids, ids))
        copy_rows(self.connection, *_CHUNKS, self._chunks(span * SPAN, rows, self.members[-1]))
        copy_rows(self.connection, *BITMAPS, self._bitmaps(span * SPAN, rows))
        copy_rows(self.connection, *_CREATORS, self._creators(span, rows["creator"]))
        self.items += len(rows)
        self.last = rows[-1].tobytes()

    def finish(self, maps: dict[ContentSource, RankMap]) -> None:
        """Write where each item lies, the key of the last rank, and that the bitmaps so far are complete."""
        copy_rows(self.connection, *_PLACES, self._places(maps))
        none_of_tags = (REGULAR_ITEMS, AUTO_ITEMS, PUBLIC_ITEMS)
        copy_rows(self.connection, *_TAGS, ((int4(self.epoch), int4(number)) for number in none_of_tags))
        last = np.frombuffer(self.last, dtype=_ROW)
        copy_rows(self.connection, *_CHUNKS, (self._chunk(END_CHUNK, row, b"") for row in last))

    def _chunks(self, first: int, rows: Rows, members: NDArray[np.int32]) -> Iterator[tuple[bytes, ...]]:
        for number, start in enumerate(range(0, len(rows), CHUNK), start=first):
            yield self._chunk(number, rows[start], members[start : start + CHUNK].astype(MEMBERS).tobytes())

    def _chunk(self, number: int, first: np.void, members: bytes) -> tuple[bytes, ...]:
        source = ContentSource.AUTO if first["auto"] else ContentSource.REGULAR
        key = (first["at"].tobytes(), source.partition.encode(), int4(int(first["id"])))
        return int4(self.epoch), int4(number), int8(self.version), *key, members

    def _bitmaps(self, first: int, rows: Rows) -> Iterator[tuple[bytes, ...]]:
        chosen = {REGULAR_ITEMS: ~rows["auto"], AUTO_ITEMS: rows["auto"], PUBLIC_ITEMS: ~rows["private"]}
        for number, mask in chosen.items():
            ranks = np.flatnonzero(mask) + first * CHUNK
            for column in columns_of([ranks], first, SPAN):
                yield int4(self.epoch), int4(number), int4(column.chunk), int4(column.cardinality), column.bits

    def _creators(self, span: int, creators: NDArray[np.void]) -> Iterator[tuple[bytes, ...]]:
        for creator, positions in _grouped(creators):
            yield int4(self.epoch), creator, int4(span), positions.astype(POSITIONS).tobytes()

    def _places(self, maps: dict[ContentSource, RankMap]) -> Iterator[tuple[bytes, ...]]:
        for source, known in maps.items():
            for piece in known.pieces():
                for number, ranks in places_of(*piece):
                    yield int4(self.epoch), source.partition.encode(), int4(number), ranks


def _grouped(keys: NDArray[np.void]) -> Iterator[tuple[bytes, Ranks]]:
    """Yield each key with its positions, ascending."""
    kinds, numbers = np.unique(keys, return_inverse=True)
    # Stable, so that positions ascend within their group.
    order = np.argsort(numbers, kind="stable")
    ends = np.cumsum(np.bincount(numbers, minlength=len(kinds)))
    for kind, positions in zip(kinds, np.split(order, ends[:-1]), strict=True):
        yield kind.tobytes(), positions
