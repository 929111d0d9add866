"""Marked items as they are in the content, whatever the bitmaps say of them."""

from __future__ import annotations

import uuid
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from functools import cached_property
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray
from psycopg import DataError
from psycopg.rows import tuple_row

from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import BitmapsUnavailable
from genonaut_lib.gallery.bitmaps.layout import BLOCK, BLOCK_SHIFT
from genonaut_lib.gallery.bitmaps.state import Mark
from genonaut_lib.vocabulary import ContentSource

NUMBER: Final = np.dtype(">i4")
_PAIR: Final = np.dtype([("id", ">i4"), ("tag_no", ">i4")])

TagNumbers = NDArray[np.int32]


@dataclass(frozen=True)
class MarkedItem:
    """An item that is there. `packed` are the numbers of its tags, four bytes each."""

    created_at: datetime
    source: ContentSource
    id: int
    packed: bytes

    @cached_property
    def tag_nos(self) -> tuple[int, ...]:
        """The numbers of its tags, in no order."""
        return tuple(np.frombuffer(self.packed, NUMBER).tolist())


@dataclass(frozen=True)
class Image:
    """What one snapshot shows of a marked item: where it is sealed, if it is, and what it is unless it is gone."""

    mark: Mark
    rank: int | None
    item: MarkedItem | None = None
    creator: uuid.UUID | None = None
    is_private: bool = True

    @property
    def packed(self) -> bytes:
        """The numbers of its tags, four bytes each; none of an item that is gone."""
        return b"" if self.item is None else self.item.packed


def mark_of(source: ContentSource, content_id: int) -> Mark:
    """Return the mark that names an item."""
    return 2 * content_id + (source is ContentSource.AUTO)


def tag_nos_of(items: Iterable[MarkedItem]) -> TagNumbers:
    """Return the tag numbers of all these items one after the other, as facets count them."""
    return np.frombuffer(b"".join([item.packed for item in items]), NUMBER).astype(np.int32)


async def read(connection: AsyncConnection, epoch: int, marks: Sequence[Mark]) -> list[Image]:
    """Return the images of marked items in the transaction's snapshot; one statement for each source they are of.

    Raises BitmapsUnavailable for an item with a date that no Python datetime can be, such as infinity.
    """
    images: list[Image] = []
    for source in ContentSource:
        ids = sorted(mark >> 1 for mark in marks if mark & 1 == (source is ContentSource.AUTO))
        if ids:
            images += await _of_source(connection, epoch, source, ids)
    return images


async def _of_source(connection: AsyncConnection, epoch: int, source: ContentSource, ids: list[int]) -> list[Image]:
    values = {"item_ids": ids, "epoch": epoch, "partition": source.partition, "junction": source.junction}
    layout = {"in_block": BLOCK - 1, "block_shift": BLOCK_SHIFT}
    async with connection.cursor(row_factory=tuple_row, binary=True) as cursor:
        await cursor.execute(block("bitmap_marks", "images").sql(table=source.table), values | layout)
        try:
            rows = await cursor.fetchall()
        except DataError as error:
            problem = f"A changed item of {source.table} cannot be read: {error}"
            raise BitmapsUnavailable(problem, hint="Give it a created_at between the years 1 and 9999.") from error
    (tags,) = [row[-1] for row in rows if row[0] is None]
    found = [row for row in rows if row[0] is not None]
    return [_image(source, row, one) for row, one in zip(found, _tags_of(found, tags or b""), strict=True)]


def _tags_of(rows: Sequence[tuple[Any, ...]], tags: bytes) -> list[bytes]:
    """Return the packed tag numbers of each row's item, from the pairs of all of them."""
    pairs = np.frombuffer(tags, _PAIR)
    order = np.argsort(pairs["id"].astype(np.int32), kind="stable")
    of_pairs, packed = pairs["id"][order], pairs["tag_no"][order].tobytes()
    ids = np.array([row[0] for row in rows], dtype=np.int32)
    first, end = (np.searchsorted(of_pairs, ids, side).tolist() for side in ("left", "right"))
    size = NUMBER.itemsize
    return [packed[size * one : size * other] for one, other in zip(first, end, strict=True)]


def _image(source: ContentSource, row: tuple[Any, ...], packed: bytes) -> Image:
    content_id, created_at, creator, is_private, rank, _ = row
    mark = mark_of(source, content_id)
    if created_at is None:
        return Image(mark, rank)
    return Image(mark, rank, MarkedItem(created_at, source, content_id, packed), creator, is_private)
