"""Where a position lies among the ranks: exactly, whether or not its item is still there."""

from __future__ import annotations

from bisect import bisect_left, bisect_right
from typing import Final, cast

import numpy as np

from genonaut_lib.gallery.bitmaps.algebra import Window
from genonaut_lib.gallery.bitmaps.layout import CHUNK, Ranks, positions_in
from genonaut_lib.gallery.bitmaps.operands import Key
from genonaut_lib.gallery.bitmaps.sieve import Sieve
from genonaut_lib.gallery.order import Position

PROBES: Final = 64
"""Keys that are read at once while a place is searched in a chunk: three rounds suffice for any chunk."""


def key_of(position: Position) -> Key:
    """Return a position by created_at as what ranks are ordered by."""
    return cast("Key", (position.value, position.source.partition, position.id))


async def bound_of(sieve: Sieve, position: Position | None, *, descending: bool) -> int | None:
    """Return the rank that all matching ranks beyond the position lie below (above, unless descending).

    An item that is sealed and not marked has the key it was ranked by. If the position is not such an
    item's, its place is searched among the matching ones of its chunk, by their keys.
    """
    if position is None:
        return None
    rank = await sieve.operands.rank_of(position)
    if rank is not None and not sieve.is_dead(rank):
        return rank
    return await _searched(sieve, key_of(position), descending=descending)


async def _searched(sieve: Sieve, key: Key, *, descending: bool) -> int:
    chunk = bisect_right(await sieve.operands.first_keys(), key) - 1
    if chunk < 0:
        return 0 if descending else -1
    ranks = await _matching(sieve, Window(chunk, chunk + 1))
    before = await _count_before(sieve, ranks, key, tied=not descending)
    if descending:
        return int(ranks[before]) if before < len(ranks) else (chunk + 1) * CHUNK
    return int(ranks[before - 1]) if before else chunk * CHUNK - 1


async def _matching(sieve: Sieve, window: Window) -> Ranks:
    parts = [positions_in(words) async for _, words in sieve.words([window])]
    return np.concatenate([np.empty(0, dtype=np.int64), *parts]) + window.low * CHUNK


async def _count_before(sieve: Sieve, ranks: Ranks, key: Key, *, tied: bool) -> int:
    """Return how many of the ranks have lesser keys; with `tied`, an equal one counts as well."""
    bisect = bisect_right if tied else bisect_left
    low, high = 0, len(ranks)
    while low < high:
        probes = np.unique(np.linspace(low, high - 1, PROBES).astype(np.int64))
        passed = bisect(await sieve.operands.keys(ranks[probes]), key)
        if passed < len(probes):
            high = int(probes[passed])
        if passed:
            low = int(probes[passed - 1]) + 1
    return low
