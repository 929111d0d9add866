"""Bitmaps of touched chunks, read, changed and written back: all tags of an item at once, set by set."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from psycopg import Cursor
from psycopg.rows import TupleRow

from genonaut_lib.db.statements import block
from genonaut_lib.gallery.bitmaps.layout import BYTES, CHUNK, Bits, Ranks

FILE = "bitmap_seal"
PSEUDO_TAGS = 3
MOST_ROWS = 20_000
"""Bitmaps that are held at once, of 2 KB each and three times over; with more tags fewer chunks are done at a time."""
_TAG_SHIFT = 32

Bytes = NDArray[np.uint8]


@dataclass(frozen=True)
class Carried:
    """Which bits items carry: tag number and rank of each, in any order, none twice.

    `touched` are the ranks that may carry no other bits than these; those in no pair will carry none.
    """

    touched: Ranks
    tag_nos: Ranks
    ranks: Ranks

    def of_chunks(self, chunks: Ranks) -> Carried:
        """Return the part that lies in these chunks."""
        kept = np.isin(self.ranks // CHUNK, chunks)
        return Carried(self.touched[np.isin(self.touched // CHUNK, chunks)], self.tag_nos[kept], self.ranks[kept])


@dataclass(frozen=True)
class Bitmaps:
    """Bitmaps by key, ascending: a key holds a tag's number and a chunk; `bits` has a row of BYTES bytes for each."""

    keys: Ranks
    bits: Bytes

    @property
    def tag_nos(self) -> Ranks:
        """The tag of each bitmap."""
        return self.keys >> _TAG_SHIFT

    @property
    def chunks(self) -> Ranks:
        """The chunk of each bitmap."""
        return self.keys & ((1 << _TAG_SHIFT) - 1)


def merge_bits(cursor: Cursor[TupleRow], epoch: int, carried: Carried) -> tuple[set[int], int]:
    """Make the bitmaps of an epoch say what items carry; return the chunks that changed and the bitmaps written.

    `cursor` is a binary one whose adapters know bits, inside the transaction of the seal.
    """
    changed: set[int] = set()
    written = 0
    cursor.execute(block(FILE, "stage_bits").sql())
    for chunks in _portions(cursor, epoch, np.unique(carried.touched // CHUNK)):
        values = {"epoch": epoch, "chunks": chunks.tolist()}
        rows = cursor.execute(block(FILE, "bits_of_chunks").sql(), values).fetchall()
        before = bitmaps_of(rows)
        found = merged(before, carried.of_chunks(chunks))
        fresh = ~np.isin(found.keys, before.keys)
        _stage(cursor, found, fresh)
        changed.update(found.chunks.tolist())
        written += len(found.keys)
    for step in ("drop_bits", "rewrite_bits", "add_bits") if written else ():
        cursor.execute(block(FILE, step).sql(), {"epoch": epoch}, prepare=False)
    return changed, written


def keys_of(tag_nos: Ranks, chunks: Ranks) -> Ranks:
    """Return the keys of tags and chunks."""
    return (tag_nos << _TAG_SHIFT) | chunks


def bitmaps_of(rows: list[TupleRow]) -> Bitmaps:
    """Return rows of (tag number, chunk, bits) as bitmaps."""
    tag_nos, chunks = (np.array([row[column] for row in rows], dtype=np.int64) for column in (0, 1))
    keys = keys_of(tag_nos, chunks)
    bits = np.frombuffer(b"".join(row[2] for row in rows), dtype=np.uint8).reshape(len(rows), BYTES)
    order = np.argsort(keys)
    return Bitmaps(keys[order], bits[order])


def merged(before: Bitmaps, carried: Carried) -> Bitmaps:
    """Return the bitmaps that differ from those before once the touched ranks carry what they carry."""
    wanted = keys_of(carried.tag_nos, carried.ranks // CHUNK)
    keys = np.union1d(before.keys, wanted)
    bits = np.zeros((len(keys), BYTES), dtype=np.uint8)
    bits[np.searchsorted(keys, before.keys)] = before.bits
    chunks, masks = _masks(carried.touched)
    after = bits & ~masks[np.searchsorted(chunks, Bitmaps(keys, bits).chunks)]
    _set(after, np.searchsorted(keys, wanted), carried.ranks % CHUNK)
    changed = (after.view(np.uint64) != bits.view(np.uint64)).any(axis=1)
    return Bitmaps(keys[changed], after[changed])


def _masks(ranks: Ranks) -> tuple[Ranks, Bytes]:
    """Return the chunks of ranks, ascending, and of each the bits of its ranks."""
    chunks, places = np.unique(ranks // CHUNK, return_inverse=True)
    masks = np.zeros((len(chunks), BYTES), dtype=np.uint8)
    _set(masks, places, ranks % CHUNK)
    return chunks, masks


def _set(bits: Bytes, rows: Ranks, positions: Ranks) -> None:
    """Set one bit of each row named; a row may be named many times."""
    flat = bits.reshape(-1)
    np.bitwise_or.at(flat, rows * BYTES + (positions >> 3), (128 >> (positions & 7)).astype(np.uint8))


def _portions(cursor: Cursor[TupleRow], epoch: int, chunks: Ranks) -> Iterator[Ranks]:
    row = cursor.execute(block(FILE, "count_bitmap_tags").sql(), {"epoch": epoch}).fetchone()
    assert row is not None
    size = max(1, MOST_ROWS // (int(row[0]) + PSEUDO_TAGS))
    for first in range(0, len(chunks), size):
        yield chunks[first : first + size]


def _stage(cursor: Cursor[TupleRow], found: Bitmaps, fresh: NDArray[np.bool_]) -> None:
    counts = np.bitwise_count(found.bits).sum(axis=1, dtype=np.int64).tolist()
    columns = zip(found.tag_nos.tolist(), found.chunks.tolist(), counts, found.bits, fresh.tolist(), strict=True)
    with cursor.copy(block(FILE, "copy_bits").sql()) as copy:
        copy.set_types(["int4", "int4", "int4", "bit", "bool"])
        for tag_no, chunk, count, bits, is_new in columns:
            copy.write_row((tag_no, chunk, count, Bits(bits.tobytes()), is_new))
