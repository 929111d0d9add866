"""Whether the tag bitmap index says what content and junction say: chunks drawn by chance, compared bit by bit."""

from __future__ import annotations

import random
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from psycopg import Cursor, errors
from psycopg.rows import TupleRow

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import BitmapsUnavailable, InvalidInput
from genonaut_lib.gallery.bitmaps import layout
from genonaut_lib.gallery.bitmaps.layout import CHUNK, MEMBERS, POSITIONS, PUBLIC_ITEMS, SOURCE_BITS, SPAN, Ranks
from genonaut_lib.vocabulary import ContentSource

FILE = "bitmap_health"
MOST = 1_000
"""Differences that are named; further ones are only counted."""
_TAG_NO = np.dtype(">i4")
_PSEUDO = {SOURCE_BITS[source]: f"source {source.junction}" for source in ContentSource} | {PUBLIC_ITEMS: "public"}

Key = tuple[str, int]
"""An item by its partition key and id."""
_TAG_SHIFT = 32
"""A bit is one number: the tag's, shifted by so much, and a position in a chunk."""


@dataclass(frozen=True)
class Difference:
    """What the index says of an item and is not so: of which item, about what, what is sealed and what is there."""

    source: str
    id: int
    subject: str
    sealed: str
    found: str

    def __str__(self) -> str:
        """One line for a log."""
        return f"{self.source} {self.id}: {self.subject}: sealed {self.sealed}, found {self.found}"


@dataclass(frozen=True)
class HealthResult:
    """Chunks drawn and of how many, items compared and left out since they are marked, and what differs.

    `differences` names the first MOST of them, `total` counts all.
    """

    chunks: tuple[int, ...]
    of: int
    items: int
    marked: int
    total: int
    differences: tuple[Difference, ...]

    @property
    def passed(self) -> bool:
        """Whether nothing differs."""
        return self.total == 0

    def __str__(self) -> str:
        """One line for a log."""
        verdict = "nothing differs" if self.passed else f"{self.total:,} differences"
        return f"{self.items:,} items in {len(self.chunks)} of {self.of} chunks, {self.marked:,} marked: {verdict}"


@dataclass(frozen=True)
class There:
    """An item as content and junction have it; `rank` is where its place says it is sealed."""

    key: Key
    creator: UUID
    private: bool
    rank: int | None
    tag_nos: bytes

    @property
    def own_bits(self) -> list[int]:
        """The numbers below 0 that it has a bit for."""
        own = SOURCE_BITS[ContentSource.from_partition(self.key[0])]
        return [own] if self.private else [own, PUBLIC_ITEMS]


@dataclass(frozen=True)
class Chunk:
    """A chunk as the tables have it: key of each position, bits, creators by position; and what is there in truth.

    `keys` are those whose place leads back to the position; the others are dead. `bits` are numbers, see
    _TAG_SHIFT, in any order.
    """

    number: int
    keys: Mapping[int, Key]
    bits: Ranks
    creators: Mapping[int, UUID]
    there: Sequence[There]


def check(connection: Connection, chunks: int, seed: int) -> HealthResult:
    """Compare up to `chunks` chunks, which `seed` draws, with content and junction; marked items are left out.

    One snapshot: nothing that is written meanwhile counts. `connection` is in autocommit mode. Raises
    BitmapsUnavailable where no index serves, and InvalidInput for less than one chunk.
    """
    if chunks < 1:
        raise InvalidInput(f"chunks is {chunks}, and must be at least 1.")
    with connection.transaction(), connection.cursor(binary=True) as cursor:
        # lint: allow session-setting because SET TRANSACTION ends with its transaction
        cursor.execute("set transaction isolation level repeatable read, read only")
        layout.adapt(cursor.adapters)
        epoch, of = _extent(cursor)
        drawn = tuple(sorted(random.Random(seed).sample(range(of), min(chunks, of))))  # noqa: S311  # a sample
        marked = {(row[0], row[1]) for row in _rows(cursor, "marked")}
        items, left_out, differing = 0, 0, list[_Found]()
        for number in drawn:
            chunk = _read(cursor, epoch, number)
            items += len(chunk.there)
            left_out += sum(item.key in marked for item in chunk.there)
            differing += _compare(chunk, marked)
        named = tuple(_named(cursor, differing[:MOST]))
    return HealthResult(drawn, of, items - left_out, left_out, len(differing), named)


@dataclass(frozen=True)
class _Found:
    """A difference before its tag has a name; `key` None stands for a dead position."""

    key: Key | None
    rank: int
    subject: int | str
    sealed: str
    found: str


def _compare(chunk: Chunk, marked: set[Key]) -> Iterator[_Found]:
    """Yield what differs in a chunk, but of marked items."""
    first = chunk.number * CHUNK
    doubtful = {position for position, key in chunk.keys.items() if key in marked}
    certain = [item for item in chunk.there if item.key not in marked]
    here = {item.rank - first: item for item in certain if item.rank is not None and 0 <= item.rank - first < CHUNK}
    for position, number, is_sealed in _bits_that_differ(chunk, here):
        if position not in doubtful:
            said = ("yes", "no") if is_sealed else ("no", "yes")
            yield _Found(chunk.keys.get(position), first + position, number, *said)
    for position in sorted(chunk.creators.keys() | here.keys() - doubtful):
        sealed, item = chunk.creators.get(position), here.get(position)
        creator = None if item is None else item.creator
        if sealed != creator and position not in doubtful:
            yield _Found(chunk.keys.get(position), first + position, "creator", str(sealed), str(creator))
    yield from _misplaced(chunk, certain)


def _bits_that_differ(chunk: Chunk, here: Mapping[int, There]) -> Iterator[tuple[int, int, bool]]:
    """Yield position, tag and whether it is sealed, of bits that are either sealed or there."""
    tag_nos = np.frombuffer(b"".join(item.tag_nos for item in here.values()), dtype=_TAG_NO).astype(np.int64)
    lengths = [len(item.tag_nos) // _TAG_NO.itemsize for item in here.values()]
    carried = (tag_nos << _TAG_SHIFT) | np.repeat(np.array(list(here), dtype=np.int64), lengths)
    own = [(number << _TAG_SHIFT) | position for position, item in here.items() for number in item.own_bits]
    wanted = np.concatenate([carried, np.array(own, dtype=np.int64)])
    differing = np.setxor1d(chunk.bits, wanted)
    for bit, is_sealed in zip(differing.tolist(), np.isin(differing, chunk.bits).tolist(), strict=True):
        yield bit & ((1 << _TAG_SHIFT) - 1), bit >> _TAG_SHIFT, is_sealed


def _misplaced(chunk: Chunk, certain: Iterable[There]) -> Iterator[_Found]:
    """Yield items that have no place, one that is no member's, or one before that of an item with a lesser key."""
    last = -1
    for item in certain:
        rank = -1 if item.rank is None else item.rank
        if chunk.keys.get(rank - chunk.number * CHUNK) != item.key:
            said = "nowhere" if item.rank is None else f"at rank {rank}"
            yield _Found(item.key, rank, "place", said, f"no such member of chunk {chunk.number}, and no mark")
        elif rank < last:
            yield _Found(item.key, rank, "order", f"at rank {rank}", f"a lesser key at rank {last}")
        last = max(last, rank)


def _read(cursor: Cursor[TupleRow], epoch: int, number: int) -> Chunk:
    values = {"epoch": epoch, "chunk": number, "span": number // SPAN, **ContentSource.spellings()}
    there = [
        There((source, content_id), creator, private, rank, tag_nos)
        for source, content_id, creator, private, rank, tag_nos in _rows(cursor, "content", values)
    ]
    return Chunk(number, _keys(cursor, values), _bits(cursor, values), dict(_creators(cursor, values)), there)


def _keys(cursor: Cursor[TupleRow], values: Mapping[str, Any]) -> dict[int, Key]:
    """Return the keys of the live positions of a chunk."""
    none: dict[str, list[Any]] = {"sources": [], "content_ids": []}
    rows = _rows(cursor, "chunk", {**values, **none})
    members = np.frombuffer(rows[0][0], dtype=MEMBERS).tolist() if rows else []
    keys = [(source.partition, content_id) for source, content_id in map(layout.unsigned, members)]
    asked = {"sources": [key[0] for key in keys], "content_ids": [key[1] for key in keys]}
    places = _rows(cursor, "chunk", {**values, **asked})[0][1] if rows else []
    first = values["chunk"] * CHUNK
    return {
        position: key for position, (key, rank) in enumerate(zip(keys, places, strict=True)) if rank == first + position
    }


def _bits(cursor: Cursor[TupleRow], values: Mapping[str, Any]) -> Ranks:
    found = [
        (tag_no << _TAG_SHIFT) | layout.positions_in(np.frombuffer(bits, dtype=np.uint64))
        for tag_no, bits in _rows(cursor, "bits", values)
    ]
    return np.concatenate([np.empty(0, dtype=np.int64), *found])


def _creators(cursor: Cursor[TupleRow], values: Mapping[str, Any]) -> Iterator[tuple[int, UUID]]:
    first = values["chunk"] % SPAN * CHUNK
    for creator, positions in _rows(cursor, "creators", values):
        found = np.frombuffer(positions, dtype=POSITIONS).astype(np.int64) - first
        yield from ((position, creator) for position in found[(found >= 0) & (found < CHUNK)].tolist())


def _named(cursor: Cursor[TupleRow], found: Sequence[_Found]) -> Iterator[Difference]:
    numbers = sorted({one.subject for one in found if isinstance(one.subject, int)})
    names = {row[0]: f"tag {row[1]}" for row in _rows(cursor, "names", {"tag_nos": numbers})} | _PSEUDO
    for one in found:
        subject = names.get(one.subject, f"tag number {one.subject}") if isinstance(one.subject, int) else one.subject
        if one.key is None:
            yield Difference("rank", one.rank, subject, one.sealed, "no item there")
        else:
            source = ContentSource.from_partition(one.key[0]).junction
            yield Difference(source, one.key[1], subject, one.sealed, one.found)


def _extent(cursor: Cursor[TupleRow]) -> tuple[int, int]:
    hint = "Run `genonaut run 40_build_tag_bitmaps`."
    try:
        row = _rows(cursor, "extent")[0]
    except (errors.UndefinedTable, errors.InvalidSchemaName) as error:
        raise BitmapsUnavailable("There is no tag bitmap index here.", hint=hint) from error
    if row[0] is None:
        raise BitmapsUnavailable("No tag bitmap index serves here, so there is nothing to check.", hint=hint)
    return row[0], row[1]


def _rows(cursor: Cursor[TupleRow], name: str, values: Mapping[str, Any] | None = None) -> list[TupleRow]:
    return cursor.execute(block(FILE, name).sql(), values or {}).fetchall()
