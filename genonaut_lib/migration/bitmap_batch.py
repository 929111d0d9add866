"""One batch of the seal: what becomes of each marked item, and the writes that make it so."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from psycopg import Cursor
from psycopg.rows import TupleRow

from genonaut_lib.db.statements import block
from genonaut_lib.gallery.bitmaps.layout import CHUNK, PUBLIC_ITEMS, SOURCE_BITS, Ranks
from genonaut_lib.migration.bitmap_bits import Carried, merge_bits
from genonaut_lib.migration.bitmap_creators import write_creators
from genonaut_lib.migration.bitmap_members import Key, Sealed, write_chunks, write_places
from genonaut_lib.vocabulary import ContentSource

FILE = "bitmap_seal"
_TAG_NO = np.dtype(">i4")


@dataclass(frozen=True)
class Serving:
    """The epoch that serves: its version, chunks and ranks, and whether another one is being built."""

    epoch: int
    version: int
    chunks: int
    ranks: int
    building: bool


@dataclass(frozen=True)
class Item:
    """A marked item in the batch's snapshot.

    `source` is its partition key. `moved`: it cannot keep its rank. `newest` is the last of its marks.
    `created_at` is text. `above` says that its key lies above the end, `ripe` that it is old enough.
    """

    source: str
    id: int
    moved: bool
    marks: int
    newest: str
    present: bool
    created_at: str | None
    creator: UUID | None
    private: bool
    rank: int | None
    above: bool
    ripe: bool

    @property
    def key(self) -> Key:
        """The item's identity."""
        return self.source, self.id

    @property
    def stays(self) -> bool:
        """Whether it is written anew where it is."""
        return self.present and self.rank is not None and not self.moved

    @property
    def leaves(self) -> bool:
        """Whether the place it has is given up."""
        return self.rank is not None and not self.stays

    @property
    def joins(self) -> bool:
        """Whether it is appended behind the end."""
        return self.present and not self.stays and self.above and self.ripe

    @property
    def remains(self) -> bool:
        """Whether it stays marked, since it has no place yet."""
        return self.present and not self.stays and not self.joins

    def at(self, rank: int) -> Sealed:
        """Return the item as it is sealed at a rank; it is present."""
        assert self.created_at is not None
        assert self.creator is not None
        return Sealed(self.key, rank, self.created_at, self.creator)


@dataclass(frozen=True)
class Settled:
    """What a batch did with its items; see SealResult."""

    sealed: int
    appended: int
    rewritten: int
    removed: int
    waiting: int
    young: int


@dataclass(frozen=True)
class Batch:
    """Marked items in the order of their keys, and what becomes of them."""

    serving: Serving
    items: Sequence[Item]

    @property
    def appended(self) -> list[Sealed]:
        """The items that join, at the ranks behind the end."""
        joining = [item for item in self.items if item.joins]
        return [item.at(rank) for rank, item in enumerate(joining, self.serving.ranks)]

    @property
    def rewritten(self) -> list[Sealed]:
        """The items that stay at their ranks."""
        return [item.at(item.rank) for item in self.items if item.stays and item.rank is not None]

    @property
    def cleared(self) -> Ranks:
        """The ranks that are given up; no other item ever gets one of them."""
        return np.array([item.rank for item in self.items if item.leaves], dtype=np.int64)

    @property
    def moves(self) -> dict[Key, int | None]:
        """Where items are from now on that were elsewhere or nowhere."""
        gone: dict[Key, int | None] = {item.key: None for item in self.items if item.leaves}
        return gone | {item.key: item.rank for item in self.appended}

    @property
    def settled(self) -> Settled:
        """What there is to report."""
        remaining = [item for item in self.items if item.remains]
        young = sum(item.above and not item.ripe for item in remaining)
        return Settled(
            sealed=len(self.items) - len(remaining),
            appended=len(self.appended),
            rewritten=len(self.rewritten),
            removed=len(self.cleared),
            waiting=len(remaining) - young,
            young=young,
        )

    @property
    def is_idle(self) -> bool:
        """Whether nothing would be written: all items wait as they did."""
        return all(item.remains and not item.leaves and item.marks == 1 for item in self.items)


def settle(cursor: Cursor[TupleRow], serving: Serving, items: Sequence[Item]) -> Settled:
    """Write what the items are, take their marks, and raise the version; nothing where all of them wait.

    `cursor` is a binary one whose adapters know bits, in the transaction that read serving epoch and items.
    """
    batch = Batch(serving, items)
    if batch.is_idle:
        return batch.settled
    appended, rewritten, cleared = batch.appended, batch.rewritten, batch.cleared
    written = [*rewritten, *appended]
    changed, _ = merge_bits(cursor, serving.epoch, _carried(cursor, batch, written))
    changed |= write_creators(cursor, serving.epoch, written, cleared, serving.ranks)
    values = {"epoch": serving.epoch, "version": serving.version + 1}
    write_chunks(cursor, values, cleared, appended, changed)
    write_places(cursor, serving.epoch, batch.moves)
    _take_marks(cursor, items)
    cursor.execute(block(FILE, "advance").sql(), _end(serving, appended))
    return batch.settled


def _carried(cursor: Cursor[TupleRow], batch: Batch, written: Sequence[Sealed]) -> Carried:
    """Return which bits items carry: those of their tags, of their source, and of being public."""
    ranks = np.array([item.rank for item in written], dtype=np.int64)
    public = {item.key for item in batch.items if not item.private}
    sources = [SOURCE_BITS[ContentSource.from_partition(item.key[0])] for item in written]
    shown = np.array([item.rank for item in written if item.key in public], dtype=np.int64)
    tag_nos, places = _tags(cursor, batch.serving.epoch, written)
    return Carried(
        touched=np.concatenate([ranks, batch.cleared]),
        tag_nos=np.concatenate([tag_nos, np.array(sources, dtype=np.int64), np.full(len(shown), PUBLIC_ITEMS)]),
        ranks=np.concatenate([ranks[places], ranks, shown]),
    )


def _tags(cursor: Cursor[TupleRow], epoch: int, written: Sequence[Sealed]) -> tuple[Ranks, Ranks]:
    """Return the numbers of all tags of items, and beside each the place of its item among them."""
    values: dict[str, Any] = {
        "epoch": epoch,
        "junction_sources": [ContentSource.from_partition(item.key[0]).junction for item in written],
        "content_ids": [item.key[1] for item in written],
    }
    rows = cursor.execute(block(FILE, "tags_of_items").sql(), values).fetchall()
    tag_nos = np.frombuffer(b"".join(row[1] for row in rows), dtype=_TAG_NO).astype(np.int64)
    lengths = np.array([len(row[1]) // _TAG_NO.itemsize for row in rows], dtype=np.int64)
    return tag_nos, np.repeat(np.array([row[0] for row in rows], dtype=np.int64), lengths)


def _take_marks(cursor: Cursor[TupleRow], items: Sequence[Item]) -> None:
    values = {
        "sources": [item.source for item in items],
        "content_ids": [item.id for item in items],
        "keep": [item.newest if item.remains else None for item in items],
    }
    cursor.execute(block(FILE, "take_marks").sql(), values)


def _end(serving: Serving, appended: Sequence[Sealed]) -> dict[str, Any]:
    """Return ranks, chunks and end as they are behind what was appended; an end of None stays."""
    ranks = serving.ranks + len(appended)
    values: dict[str, Any] = {"ranks": ranks, "chunk_count": -(-ranks // CHUNK)}
    last = appended[-1] if appended else None
    at, source, content_id = (None, None, None) if last is None else (last.created_at, *last.key)
    return values | {"end_at": at, "end_source": source, "end_id": content_id}
