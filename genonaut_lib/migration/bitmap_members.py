"""Who lies where, kept up by the seal: members of chunks, and places of ids."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from psycopg import Cursor
from psycopg.rows import TupleRow

from genonaut_lib.db.statements import block
from genonaut_lib.gallery.bitmaps.layout import BLOCK, BLOCK_SHIFT, CHUNK, MEMBERS, Ranks, signed
from genonaut_lib.vocabulary import ContentSource

FILE = "bitmap_seal"

Key = tuple[str, int]
"""An item by its partition key and id."""


@dataclass(frozen=True)
class Sealed:
    """An item and the rank it is sealed at, with the moment it was made (text) and its creator."""

    key: Key
    rank: int
    created_at: str
    creator: UUID

    @property
    def member(self) -> int:
        """The item as one number, as chunks have it."""
        return signed(ContentSource.from_partition(self.key[0]), self.key[1])


def write_chunks(
    cursor: Cursor[TupleRow], values: Mapping[str, Any], cleared: Ranks, appended: Sequence[Sealed], changed: set[int]
) -> None:
    """Take cleared ranks out of their chunks, append members to the last ones, and note what changed.

    `values` name the epoch and the version that changed chunks get; `changed` are those with other changes.
    """
    members = _changed_members(cursor, values, cleared, appended)
    begun = {item.rank // CHUNK: item for item in appended if item.rank % CHUNK == 0}
    cursor.execute(block(FILE, "stage_chunks").sql())
    with cursor.copy(block(FILE, "copy_chunks").sql()) as copy:
        copy.set_types(["int4", "bytea", "text", "text", "int4"])
        for chunk in sorted(members.keys() | changed):
            found = members.get(chunk)
            copy.write_row((chunk, None if found is None else _bytes(found), *_first(begun.get(chunk))))
    for step in ("rewrite_chunks", "add_chunks"):
        cursor.execute(block(FILE, step).sql(), values, prepare=False)


def _changed_members(
    cursor: Cursor[TupleRow], values: Mapping[str, Any], cleared: Ranks, appended: Sequence[Sealed]
) -> dict[int, NDArray[np.int32]]:
    """Return the members of the chunks whose members change, as they will be."""
    joined: dict[int, list[int]] = {}
    for item in appended:
        joined.setdefault(item.rank // CHUNK, []).append(item.member)
    touched = sorted({*joined, *(cleared // CHUNK).tolist()})
    rows = cursor.execute(block(FILE, "members_of_chunks").sql(), {**values, "chunks": touched}).fetchall()
    members = {chunk: np.frombuffer(found, dtype=MEMBERS).copy() for chunk, found in rows}
    for rank in cleared.tolist():
        members[rank // CHUNK][rank % CHUNK] = 0
    none = np.empty(0, dtype=MEMBERS)
    return members | {
        chunk: np.concatenate([members.get(chunk, none), np.array(found, dtype=MEMBERS)])
        for chunk, found in joined.items()
    }


def write_places(cursor: Cursor[TupleRow], epoch: int, moves: Mapping[Key, int | None]) -> None:
    """Note where items are sealed now; None for those that are sealed no more."""
    if not moves:
        return
    blocks = sorted({(source, content_id >> BLOCK_SHIFT) for source, content_id in moves})
    wanted = {"epoch": epoch, "sources": [one[0] for one in blocks], "blocks": [one[1] for one in blocks]}
    rows = cursor.execute(block(FILE, "places_of_blocks").sql(), wanted).fetchall()
    places: dict[Key, list[int | None]] = {(source, number): ranks for source, number, ranks in rows}
    for (source, content_id), rank in moves.items():
        ranks = places.setdefault((source, content_id >> BLOCK_SHIFT), [None] * BLOCK)
        ranks[content_id & (BLOCK - 1)] = rank
    cursor.execute(block(FILE, "stage_places").sql())
    with cursor.copy(block(FILE, "copy_places").sql()) as copy:
        copy.set_types(["text", "int4", "int4[]"])
        for (source, number), ranks in places.items():
            copy.write_row((source, number, ranks))
    cursor.execute(block(FILE, "write_places").sql(), {"epoch": epoch}, prepare=False)


def _bytes(members: NDArray[np.int32]) -> bytes:
    # Arithmetic and concatenation give arrays in this machine's byte order.
    return members.astype(MEMBERS).tobytes()


def _first(item: Sealed | None) -> tuple[str | None, str | None, int | None]:
    return (None, None, None) if item is None else (item.created_at, *item.key)
