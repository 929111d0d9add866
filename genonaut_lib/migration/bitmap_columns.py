"""From ids to ranks, from ranks to bits, and rows as COPY takes them: what the building of bitmaps computes.

Rows are written in PostgreSQL's own binary form, their fields as bytes: no value passes through Python's
own types, and a timestamp that Python's know nothing of, such as infinity, passes as well.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray
from psycopg import sql

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.gallery.bitmaps.layout import BLOCK, BLOCK_SHIFT, CHUNK, MEMBERS, Ranks
from genonaut_lib.vocabulary import ContentSource

Ids = NDArray[np.integer]
NO_RANK = -1
ROOM_FOR_AN_ITEM = 8
"""Places of a map by id for each item it maps; with ids sparser than that, sorted pairs take less memory."""
IDS_A_PIECE = 1 << 19
PAIRS_A_PIECE = 1 << 14
"""Fewer than of ids, for each may lie in a block of its own, whose 128 places are laid out."""

_INT4 = struct.Struct("!i")
_INT8 = struct.Struct("!q")
_INT4_OID = 23
_HEAD = b"PGCOPY\n\xff\r\n\0" + bytes(8)
_TAIL = struct.pack("!h", -1)
_ROWS_A_WRITE = 64
_ARRAY_HEAD = struct.Struct("!5i")


def copy_rows(connection: Connection, table: str, columns: Sequence[str], rows: Iterable[Sequence[bytes]]) -> int:
    """Write rows into the named columns of a table and return their number; fields are in binary form."""
    names = sql.SQL(", ").join(map(sql.Identifier, columns))
    count, held = 0, [_HEAD]
    with connection.cursor() as cursor, cursor.copy(block("copy", "binary_into").sql(table=table, columns=names)) as to:
        for count, fields in enumerate(rows, start=1):  # noqa: B007  # the last number is the count
            held.append(_row(fields))
            if len(held) > _ROWS_A_WRITE:
                to.write(b"".join(held))
                held.clear()
        to.write(b"".join((*held, _TAIL)))
    return count


def _row(fields: Sequence[bytes]) -> bytes:
    parts = [struct.pack("!h", len(fields))]
    for one in fields:
        parts += (_INT4.pack(len(one)), one)
    return b"".join(parts)


def int4(value: int) -> bytes:
    """Return an integer in binary form."""
    return _INT4.pack(value)


def int8(value: int) -> bytes:
    """Return a bigint in binary form."""
    return _INT8.pack(value)


@dataclass(frozen=True)
class Column:
    """The bits of one chunk in binary form, and how many are set."""

    chunk: int
    cardinality: int
    bits: bytes


def columns_of(ranks: Iterable[Ranks], first_chunk: int, chunks: int) -> Iterator[Column]:
    """Yield the bits of the chunks that hold one of `ranks`; `chunks` of them, from `first_chunk` on, cover all.

    Takes a byte for each rank of the chunks, and one of the arrays at a time.
    """
    marks = np.zeros((chunks, CHUNK), dtype=np.uint8)
    for some in ranks:
        marks.reshape(-1)[some - first_chunk * CHUNK] = 1
    sums = marks.sum(axis=1, dtype=np.int64)
    for place in np.flatnonzero(sums):
        bits = int4(CHUNK) + np.packbits(marks[place]).tobytes()
        yield Column(first_chunk + int(place), int(sums[place]), bits)


class RankMap(Protocol):
    """Which rank an id of one source has."""

    def ranks_of(self, ids: Ids) -> Ranks:
        """Return the ranks of the ids that have one; ids as the server sends them, of any order."""

    def pieces(self) -> Iterator[tuple[Ranks, Ranks]]:
        """Yield all ids, ascending, with their ranks; no block of ids lies in two pieces."""


@dataclass(frozen=True)
class DirectMap:
    """Ranks by id, NO_RANK where there is none: four bytes for each id up to the greatest."""

    ranks: NDArray[np.int32]

    def ranks_of(self, ids: Ids) -> Ranks:
        """Return the ranks of the ids that have one."""
        found = self.ranks[ids[(ids >= 0) & (ids < len(self.ranks))]].astype(np.int64)
        known: Ranks = found[found != NO_RANK]
        return known

    def pieces(self) -> Iterator[tuple[Ranks, Ranks]]:
        """Yield all ids, ascending, with their ranks."""
        for start in range(0, len(self.ranks), IDS_A_PIECE):
            ranks = self.ranks[start : start + IDS_A_PIECE]
            places = np.flatnonzero(ranks != NO_RANK)
            yield places + start, ranks[places].astype(np.int64)


@dataclass(frozen=True)
class SortedMap:
    """Ids, ascending, beside their ranks: eight bytes for each item, however far apart the ids are."""

    ids: NDArray[np.int32]
    ranks: NDArray[np.int32]

    def ranks_of(self, ids: Ids) -> Ranks:
        """Return the ranks of the ids that have one."""
        places = np.searchsorted(self.ids, ids)
        inside = places < len(self.ids)
        places, ids = places[inside], ids[inside]
        known: Ranks = self.ranks[places[self.ids[places] == ids]].astype(np.int64)
        return known

    def pieces(self) -> Iterator[tuple[Ranks, Ranks]]:
        """Yield all ids, ascending, with their ranks; a piece ends where its last block does."""
        start = 0
        while start < len(self.ids):
            last = self.ids[min(start + PAIRS_A_PIECE, len(self.ids)) - 1]
            end = int(np.searchsorted(self.ids, last | (BLOCK - 1), side="right"))
            yield self.ids[start:end].astype(np.int64), self.ranks[start:end].astype(np.int64)
            start = end


def maps_of(members: Sequence[NDArray[np.int32]]) -> dict[ContentSource, RankMap]:
    """Return the ranks of each source's ids, from arrays that hold, one after the other, the signed ids by rank."""
    return {source: _map_of(source, members) for source in ContentSource}


def _map_of(source: ContentSource, members: Sequence[NDArray[np.int32]]) -> RankMap:
    count, greatest = 0, -1
    for ids, _ in _pairs(source, members):
        count += len(ids)
        greatest = max(greatest, int(ids.max(initial=-1)))
    if greatest >= ROOM_FOR_AN_ITEM * count + IDS_A_PIECE:
        ids, ranks = map(np.concatenate, zip(*_pairs(source, members), strict=True))
        order = np.argsort(ids)
        return SortedMap(ids[order], ranks[order])
    found = np.full(greatest + 1, NO_RANK, dtype=np.int32)
    for ids, ranks in _pairs(source, members):
        found[ids] = ranks
    return DirectMap(found)


def _pairs(source: ContentSource, members: Sequence[NDArray[np.int32]]) -> Iterator[tuple[NDArray[np.int32], ...]]:
    """Yield the ids of one source and their ranks, array by array; the other source's are negative to it."""
    before = 0
    for part in members:
        ids = part if source is ContentSource.REGULAR else ~part
        places = np.flatnonzero(ids >= 0)
        yield ids[places], (places + before).astype(np.int32)
        before += len(part)


def places_of(ids: Ranks, ranks: Ranks) -> Iterator[tuple[int, bytes]]:
    """Yield each block of these ids and the ranks in it, an array in binary form with null for an id without one."""
    if not len(ids):
        return
    blocks, rows = np.unique(ids >> BLOCK_SHIFT, return_inverse=True)
    slots = np.full((len(blocks), BLOCK), NO_RANK, dtype=np.int64)
    slots[rows, ids & (BLOCK - 1)] = ranks
    empty = slots == NO_RANK
    # An element is its length and its value, or -1 and nothing: what is nothing is taken out by the mask.
    words = np.stack((np.where(empty, -1, 4), slots), axis=2).astype(MEMBERS)
    kept = np.stack((np.ones_like(empty), ~empty), axis=2)
    for number, row, mask, holes in zip(blocks.tolist(), words, kept, empty.any(axis=1).tolist(), strict=True):
        yield number, _ARRAY_HEAD.pack(1, int(holes), _INT4_OID, BLOCK, 1) + row[mask].tobytes()
