"""Who lies where, kept up by the seal: members of chunks, places of ids, and positions of creators."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from psycopg import Cursor
from psycopg.rows import TupleRow

from genonaut_lib.db.statements import block
from genonaut_lib.gallery.bitmaps.layout import BLOCK, BLOCK_SHIFT, CHUNK, MEMBERS, POSITIONS, SPAN, Ranks, signed
from genonaut_lib.vocabulary import ContentSource

FILE = "bitmap_seal"
SPAN_RANKS = SPAN * CHUNK

Key = tuple[str, int]
"""An item by its partition key and id."""
Positions = dict[tuple[UUID, int], Ranks]
"""Positions by creator and span, ascending, counted from the span's first."""


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


def write_creators(
    cursor: Cursor[TupleRow], epoch: int, written: Sequence[Sealed], cleared: Ranks, ranks_before: int
) -> set[int]:
    """Give items to their creators and take them from those who had them; return the chunks that changed.

    Who had an item is not known. Where the row of the creator it has now lists it already, it is the same
    one; only for the others, and for what is cleared, all rows of a span are searched. Nobody had an item
    whose rank is not below `ranks_before`.
    """
    ranks = {(item.creator, item.rank // SPAN_RANKS): set[int]() for item in written}
    for item in written:
        ranks[item.creator, item.rank // SPAN_RANKS].add(item.rank % SPAN_RANKS)
    wanted = {"epoch": epoch, "creators": [key[0] for key in ranks], "spans": [key[1] for key in ranks]}
    before = _positions(cursor.execute(block(FILE, "creators_of_items").sql(), wanted).fetchall())
    none = np.empty(0, dtype=np.int64)
    new = {key: np.setdiff1d(sorted(found), before.get(key, none)) for key, found in ranks.items()}
    arrived = [span * SPAN_RANKS + found for (_, span), found in new.items()]
    moved = np.concatenate([*arrived, cleared]).astype(np.int64)
    before |= _owned(cursor, epoch, moved[moved < ranks_before])
    after = {
        key: np.union1d(_without(before.get(key, none), moved - key[1] * SPAN_RANKS), new.get(key, none))
        for key in before.keys() | new.keys()
    }
    changed = {key: found for key, found in after.items() if not np.array_equal(found, before.get(key, none))}
    _write(cursor, epoch, changed)
    return set((moved // CHUNK).tolist())


def _owned(cursor: Cursor[TupleRow], epoch: int, ranks: Ranks) -> Positions:
    """Return the rows of creators that list any of these ranks."""
    spans = np.unique(ranks // SPAN_RANKS).tolist()
    rows = cursor.execute(block(FILE, "creators_of_spans").sql(), {"epoch": epoch, "spans": spans}).fetchall()
    if not rows:
        return {}
    lengths = np.array([len(row[2]) // POSITIONS.itemsize for row in rows])
    firsts = np.repeat([row[1] * SPAN_RANKS for row in rows], lengths)
    found = np.frombuffer(b"".join(row[2] for row in rows), dtype=POSITIONS) + firsts
    hit = np.unique(np.repeat(np.arange(len(rows)), lengths)[np.isin(found, ranks)])
    return _positions([rows[place] for place in hit.tolist()])


def _positions(rows: Iterable[TupleRow]) -> Positions:
    return {(creator, span): np.frombuffer(found, dtype=POSITIONS).astype(np.int64) for creator, span, found in rows}


def _without(found: Ranks, gone: Ranks) -> Ranks:
    return found[~np.isin(found, gone)]


def _write(cursor: Cursor[TupleRow], epoch: int, changed: Positions) -> None:
    if not changed:
        return
    cursor.execute(block(FILE, "stage_creators").sql())
    with cursor.copy(block(FILE, "copy_creators").sql()) as copy:
        copy.set_types(["uuid", "int4", "bytea"])
        for (creator, span), found in changed.items():
            copy.write_row((creator, span, found.astype(POSITIONS).tobytes()))
    for step in ("write_creators", "drop_creators"):
        cursor.execute(block(FILE, step).sql(), {"epoch": epoch}, prepare=False)


def _bytes(members: NDArray[np.int32]) -> bytes:
    # Arithmetic and concatenation give arrays in this machine's byte order.
    return members.astype(MEMBERS).tobytes()


def _first(item: Sealed | None) -> tuple[str | None, str | None, int | None]:
    return (None, None, None) if item is None else (item.created_at, *item.key)
