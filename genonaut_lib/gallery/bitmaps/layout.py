"""How the index lies in its tables: chunks of bits, ranks, signed ids, and bytes to and from numpy.

A rank counts items by (created_at, source, id), oldest first. Rank r lies in chunk r // CHUNK at position
r % CHUNK. Bits are stored as PostgreSQL's `bit(n)` has them: position 0 is the most significant bit of
the first byte, as numpy's packbits and unpackbits take them by default.
"""

from __future__ import annotations

import struct
from typing import Final

import numpy as np
import psycopg
from numpy.typing import NDArray
from psycopg.adapt import AdaptersMap, Buffer, Dumper, Loader

from genonaut_lib.vocabulary import ContentSource

CHUNK: Final = 15_872
"""Ranks of a chunk. 1,984 bytes of bits with their row's head fit a page of 8 KB four times; of 16,384 ranks, three."""
BYTES: Final = CHUNK // 8
WORDS: Final = CHUNK // 64
SPAN: Final = 4
"""Chunks of a span: a position in one still fits two bytes."""
BLOCK_SHIFT: Final = 7
"""`id >> BLOCK_SHIFT` is the block of an id in `bitmap_places`."""
BLOCK: Final = 1 << BLOCK_SHIFT

REGULAR_ITEMS: Final = -1
AUTO_ITEMS: Final = -2
PUBLIC_ITEMS: Final = -3
SOURCE_BITS: Final = {ContentSource.REGULAR: REGULAR_ITEMS, ContentSource.AUTO: AUTO_ITEMS}
"""Bitmaps that are no tag's: items of each source, and (PUBLIC_ITEMS) those that everybody sees."""

MEMBERS: Final = np.dtype(">i4")
POSITIONS: Final = np.dtype(">u2")

Words = NDArray[np.uint64]
"""Bits of one or more chunks, WORDS words each; words are the stored bytes as they are, and are no numbers."""
Ranks = NDArray[np.int64]

_BIT_OID = 1560
_LENGTH = struct.Struct("!i")


class Bits(bytes):
    """The BYTES bytes of one chunk's bits, as a parameter that psycopg sends as `bit`."""


class _BitDumper(Dumper):
    oid = _BIT_OID
    format = psycopg.pq.Format.BINARY

    def dump(self, obj: Bits) -> Buffer:
        return _LENGTH.pack(len(obj) * 8) + obj


class _BitLoader(Loader):
    format = psycopg.pq.Format.BINARY

    def load(self, data: Buffer) -> bytes:
        return bytes(data)[_LENGTH.size :]


def adapt(context: AdaptersMap) -> None:
    """Make the sessions or cursors of these adapters send `Bits` and, in binary results, load `bit` as bytes."""
    context.register_dumper(Bits, _BitDumper)
    context.register_loader(_BIT_OID, _BitLoader)


def packed(positions: Ranks) -> Bits:
    """Return the bits of one chunk from positions in it, in any order, repeats harmless."""
    marks = np.zeros(CHUNK, dtype=np.uint8)
    marks[positions] = 1
    return Bits(np.packbits(marks).tobytes())


def positions_in(words: Words) -> Ranks:
    """Return the positions of the bits that are set, ascending; those of further chunks count on."""
    return np.flatnonzero(np.unpackbits(words.view(np.uint8)))


def count(words: Words) -> int:
    """Return how many bits are set."""
    return int(np.bitwise_count(words).sum(dtype=np.int64))


def signed(source: ContentSource, content_id: int) -> int:
    """Return an item's identity as one number: the id of a regular item, its complement for an auto one."""
    return content_id if source is ContentSource.REGULAR else ~content_id


def unsigned(member: int) -> tuple[ContentSource, int]:
    """Return the source and id that `signed` made one number of."""
    return (ContentSource.REGULAR, member) if member >= 0 else (ContentSource.AUTO, ~member)
