"""How the tag bitmap index stands, as the planner wants to know it: whether it serves, and what reading it takes."""

from __future__ import annotations

import uuid
from collections.abc import Set as AbstractSet
from dataclasses import dataclass

from psycopg import errors as sqlstate
from psycopg.rows import tuple_row

from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.db.statements import block
from genonaut_lib.settings import BitmapSettings

NOTEBOOK = "40_build_tag_bitmaps"
MARKS_EACH = 4
"""How many marks are looked at for each marked item that is allowed: an item seldom has more before it is sealed."""


@dataclass(frozen=True)
class Ready:
    """The index serves: so many `chunks` of so many `ranks` in all, `marks` marked items, and bitmaps of these `tags`.

    `filter_max` is how many items it may hand on to a search or to another sort.
    """

    epoch: int
    ranks: int
    chunks: int
    marks: int
    tags: AbstractSet[uuid.UUID]
    filter_max: int


@dataclass(frozen=True)
class Unready:
    """The index does not serve, and why."""

    why: str


Standing = Ready | Unready

UNKNOWN = Unready("nothing is known of a tag bitmap index")
SWITCHED_OFF = Unready("switched off (bitmaps.enabled)")
ABSENT = Unready(f"there is no tag bitmap index: run {NOTEBOOK}")


async def look(connection: AsyncConnection, knobs: BitmapSettings, before: Standing) -> Standing:
    """Return how the index stands, in one round trip, and a second one where it was built anew since `before`.

    Whoever may not read it has none. Raises nothing but what psycopg raises for a lost connection.
    """
    if not knobs.enabled:
        return SWITCHED_OFF
    try:
        return await _look(connection, knobs, before)
    except (sqlstate.UndefinedTable, sqlstate.InvalidSchemaName):
        return ABSENT
    except sqlstate.InsufficientPrivilege:
        return Unready("this session may not read the tag bitmap index")


async def _look(connection: AsyncConnection, knobs: BitmapSettings, before: Standing) -> Standing:
    async with connection.cursor(row_factory=tuple_row, binary=True) as cursor:
        await cursor.execute(block("bitmap_standing", "standing").sql(), {"most": MARKS_EACH * (knobs.marks_max + 1)})
        found = await cursor.fetchone()
        if found is None:
            return ABSENT
        epoch, ranks, chunks, marks = found
        if marks > knobs.marks_max:
            return Unready(f"over {knobs.marks_max:,} items changed since it was sealed (bitmaps.marks_max)")
        if isinstance(before, Ready) and before.epoch == epoch:
            return Ready(epoch, ranks, chunks, marks, before.tags, knobs.filter_max)
        await cursor.execute(block("bitmap_standing", "tags").sql(), {"epoch": epoch})
        tags = frozenset([tag async for (tag,) in cursor])
        return Ready(epoch, ranks, chunks, marks, tags, knobs.filter_max)
