"""Whose items lie where, kept up by the seal: positions of creators."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from uuid import UUID

import numpy as np
from numpy.typing import NDArray
from psycopg import Cursor
from psycopg.rows import TupleRow

from genonaut_lib.db.statements import block
from genonaut_lib.gallery.bitmaps.layout import CHUNK, POSITIONS, SPAN, Ranks
from genonaut_lib.migration.bitmap_members import Sealed

FILE = "bitmap_seal"
SPAN_RANKS = SPAN * CHUNK
_ROW_SHIFT = 40
_RANK = (1 << _ROW_SHIFT) - 1

Owner = tuple[UUID, int]
"""A row of the creators: whose, and which span."""
Owned = Ranks
"""Ranks and who has them, as one number each: the owner's number, shifted, and the rank."""


@dataclass
class _Owners:
    """Owners by number, in the order they were first named."""

    numbers: dict[Owner, int] = field(default_factory=dict)

    def number(self, owner: Owner) -> int:
        return self.numbers.setdefault(owner, len(self.numbers))

    def owned(self, rows: Iterable[TupleRow]) -> Owned:
        """Return rows of (creator, span, positions) as one array."""
        kept = list(rows)
        if not kept:
            return np.empty(0, dtype=np.int64)
        lengths = [len(row[2]) // POSITIONS.itemsize for row in kept]
        firsts = [(self.number((row[0], row[1])) << _ROW_SHIFT) + row[1] * SPAN_RANKS for row in kept]
        found = np.frombuffer(b"".join(row[2] for row in kept), dtype=POSITIONS).astype(np.int64)
        return found + np.repeat(np.array(firsts, dtype=np.int64), lengths)


def write_creators(
    cursor: Cursor[TupleRow], epoch: int, written: Sequence[Sealed], cleared: Ranks, ranks_before: int
) -> set[int]:
    """Give items to their creators and take them from those who had them; return the chunks that changed.

    Who had an item is not known. Where the row of the creator it has now lists it already, it is the same
    one; only for the others, and for what is cleared, all rows of a span are searched. Nobody had an item
    whose rank is not below `ranks_before`.
    """
    owners = _Owners()
    wanted = np.array(
        [(owners.number((item.creator, item.rank // SPAN_RANKS)) << _ROW_SHIFT) + item.rank for item in written],
        dtype=np.int64,
    )
    before = owners.owned(_rows_of_owners(cursor, epoch, owners))
    arrived = wanted[~_among(wanted, np.sort(before))]
    moved = np.concatenate([arrived & _RANK, cleared])
    former = owners.owned(_rows_of_ranks(cursor, epoch, moved[moved < ranks_before]))
    before = _distinct(np.concatenate([before, former]))
    after = np.sort(np.concatenate([before[~_among(before & _RANK, np.sort(moved))], arrived]))
    changed = _distinct(np.concatenate([before[~_among(before, after)], after[~_among(after, before)]]) >> _ROW_SHIFT)
    if len(changed):
        _write(cursor, epoch, list(owners.numbers), changed, after)
    return set((moved // CHUNK).tolist())


def _rows_of_owners(cursor: Cursor[TupleRow], epoch: int, owners: _Owners) -> list[TupleRow]:
    values = {
        "epoch": epoch,
        "creators": [owner[0] for owner in owners.numbers],
        "spans": [owner[1] for owner in owners.numbers],
    }
    return cursor.execute(block(FILE, "creators_of_items").sql(), values).fetchall()


def _rows_of_ranks(cursor: Cursor[TupleRow], epoch: int, ranks: Ranks) -> list[TupleRow]:
    """Return the rows that list any of these ranks."""
    if not len(ranks):
        return []
    spans = np.unique(ranks // SPAN_RANKS).tolist()
    rows = cursor.execute(block(FILE, "creators_of_spans").sql(), {"epoch": epoch, "spans": spans}).fetchall()
    found = _Owners().owned(rows)
    hit = _distinct(found[_among(found & _RANK, np.sort(ranks))] >> _ROW_SHIFT)
    return [rows[number] for number in hit.tolist()]


def _write(cursor: Cursor[TupleRow], epoch: int, owners: Sequence[Owner], changed: Ranks, after: Owned) -> None:
    """Write the changed rows as they are after; one that is empty goes."""
    starts = np.searchsorted(after, changed << _ROW_SHIFT).tolist()
    ends = np.searchsorted(after, (changed + 1) << _ROW_SHIFT).tolist()
    cursor.execute(block(FILE, "stage_creators").sql())
    with cursor.copy(block(FILE, "copy_creators").sql()) as copy:
        copy.set_types(["uuid", "int4", "bytea"])
        for number, start, end in zip(changed.tolist(), starts, ends, strict=True):
            creator, span = owners[number]
            positions = (after[start:end] & _RANK) - span * SPAN_RANKS
            copy.write_row((creator, span, positions.astype(POSITIONS).tobytes()))
    for step in ("write_creators", "drop_creators"):
        cursor.execute(block(FILE, step).sql(), {"epoch": epoch}, prepare=False)


def _distinct(values: Ranks) -> Ranks:
    """Return values ascending, each once. Not by np.unique: its hashing takes seconds for numbers like these."""
    ordered = np.sort(values)
    fresh: NDArray[np.bool_] = np.diff(ordered, prepend=-1) != 0
    return ordered[fresh]


def _among(values: Ranks, ascending: Ranks) -> NDArray[np.bool_]:
    """Return of each value whether it is one of the others."""
    if not len(ascending):
        return np.zeros(len(values), dtype=np.bool_)
    places = np.minimum(np.searchsorted(ascending, values), len(ascending) - 1)
    found: NDArray[np.bool_] = ascending[places] == values
    return found
