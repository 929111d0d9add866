"""Facets from bitmaps: how many of the matching items carry each tag, exactly."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import Any

import numpy as np
from psycopg.rows import tuple_row

from genonaut_lib.db.statements import block
from genonaut_lib.errors import BitmapsUnavailable
from genonaut_lib.gallery.bitmaps import layout
from genonaut_lib.gallery.bitmaps.algebra import SEGMENT, Window, by_source, split
from genonaut_lib.gallery.bitmaps.fetching import Ids
from genonaut_lib.gallery.bitmaps.layout import BYTES, CHUNK, WORDS, Bits, Ranks, Words, positions_in
from genonaut_lib.gallery.bitmaps.marked_items import tag_nos_of
from genonaut_lib.gallery.bitmaps.operands import Operands
from genonaut_lib.gallery.bitmaps.pages import Asked
from genonaut_lib.gallery.bitmaps.sieve import STRIPS_AT_ONCE, parts_of
from genonaut_lib.gallery.facet_sampling import FacetCount
from genonaut_lib.settings import BitmapSettings
from genonaut_lib.vocabulary import ContentSource

Counts = Counter[int]
"""Matching items by tag number."""


@dataclass(frozen=True)
class _Sealed:
    """The sealed items that match: windows that hold some, and their bits."""

    operands: Operands
    windows: tuple[tuple[Window, Words], ...]

    @property
    def size(self) -> int:
        """How many there are."""
        return sum(layout.count(words) for _, words in self.windows)

    @property
    def ranks(self) -> Ranks:
        """Their ranks."""
        parts = [positions_in(words) + window.low * CHUNK for window, words in self.windows]
        return np.concatenate([np.empty(0, dtype=np.int64), *parts])


async def count_tags(asked: Asked, top: int, knobs: BitmapSettings) -> tuple[FacetCount, ...]:
    """Return the `top` tags of what matches a query, its page and order ignored.

    Raises BitmapsUnavailable when more than `filter_max` items would have to be looked at one by one.
    """
    operands = asked.sieve.operands
    if asked.query.search:
        found = await asked.found(await asked.matching())
        return await _named(operands, await _carried(operands, found, others=False), top)
    sealed = await _sealed_of(asked)
    marked = _counted(tag_nos_of(asked.marked))
    if not await _in_memory(sealed) and sealed.size <= knobs.filter_max:
        return await _named(operands, await _by_items(sealed, others=False) + marked, top)
    counts = await _common(sealed) + marked
    rare = asked.sieve.state.rare_most + max(marked.values(), default=0)
    if sealed.windows and _least_of(counts, top) <= rare and (await operands.rows("has_other_tags"))[0][0]:
        counts += await _others(sealed, knobs.filter_max)
    return await _named(operands, counts, top)


async def _sealed_of(asked: Asked) -> _Sealed:
    windows = list(split(0, asked.sieve.state.chunks))
    found = [(window, words) async for window, words in asked.sieve.words(windows) if words.any()]
    return _Sealed(asked.sieve.operands, tuple(found))


def _counted(tag_nos: np.ndarray[tuple[int], np.dtype[np.int32]]) -> Counts:
    numbers, counts = np.unique(tag_nos, return_counts=True)
    return Counter(dict(zip(numbers.tolist(), counts.tolist(), strict=True)))


def _least_of(counts: Counts, top: int) -> int:
    """Return the count that a tag must reach to be among the top."""
    best = sorted(counts.values(), reverse=True)[:top]
    return best[-1] if len(best) == top else 0


async def _in_memory(sealed: _Sealed) -> bool:
    """Whether the bitmaps that would take part fit into memory well; else the server reads all of them each time."""
    tag_nos = await _bitmap_tags(sealed.operands)
    return len(tag_nos) * len(sealed.windows) * SEGMENT * BYTES * 2 <= sealed.operands.view.cache.limit


async def _common(sealed: _Sealed) -> Counts:
    """Count the tags that have bitmaps, where memory holds them all here, else on the server."""
    if not await _in_memory(sealed):
        return await _common_on_server(sealed)
    tag_nos = await _bitmap_tags(sealed.operands)
    counts: Counts = Counter()
    windows = [window for window, _ in sealed.windows]
    for numbers in parts_of(tag_nos, max(1, STRIPS_AT_ONCE // max(1, len(windows)))):
        strips = await sealed.operands.strips(numbers, windows)
        for window, words in sealed.windows:
            for number in numbers:
                counts[number] += layout.count(window.of(strips[number, window.segment].words) & words)
    return counts


async def _bitmap_tags(operands: Operands) -> list[int]:
    key = ("bitmap_tags",)
    kept: list[int] | None = operands.view.get(key)
    if kept is None:
        kept = [number for (number,) in await operands.rows("bitmap_tags")]
        operands.view.put(key, kept, 40 * len(kept))
    return kept


async def _common_on_server(sealed: _Sealed) -> Counts:
    bits: dict[int, Bits] = {}
    for window, words in sealed.windows:
        by_chunk = enumerate(words.reshape(-1, WORDS), window.low)
        bits |= {chunk: Bits(part.tobytes()) for chunk, part in by_chunk if part.any()}
    values: dict[str, Any] = {"epoch": sealed.operands.view.state.epoch, "chunks": list(bits), "bits": [*bits.values()]}
    async with sealed.operands.connection.cursor(row_factory=tuple_row) as cursor:
        layout.adapt(cursor.adapters)
        await cursor.execute(block("tag_bitmaps", "common_bits").sql(), values, prepare=False)
        return Counter(dict(await cursor.fetchall()))


async def _others(sealed: _Sealed, most: int) -> Counts:
    """Count the tags without bitmaps item by item."""
    if sealed.size > most:
        raise BitmapsUnavailable(
            f"More than {most:,} items match, and tags without bitmaps may be among the first.",
            hint="Raise bitmaps.filter_max, lower bitmaps.least_share and build anew, or ask for fewer facets.",
        )
    return await _by_items(sealed, others=True)


async def _by_items(sealed: _Sealed, *, others: bool) -> Counts:
    """Count the tags of the matching items by the junction; with `others` only those that have no bitmaps."""
    return await _carried(sealed.operands, by_source(await sealed.operands.signed_ids(sealed.ranks)), others=others)


async def _carried(operands: Operands, ids: Ids, *, others: bool) -> Counts:
    regular, auto = ContentSource.REGULAR, ContentSource.AUTO
    rows = await operands.rows(
        "carried_tags", others=others, regular_ids=list(ids[regular]), auto_ids=list(ids[auto]),
        regular_junction=regular.junction, auto_junction=auto.junction,
    )  # fmt: skip
    return Counter(dict(rows))


async def _named(operands: Operands, counts: Counts, top: int) -> tuple[FacetCount, ...]:
    """Return the highest counts with the names that settle the order of equal ones."""
    least = max(1, _least_of(counts, top))
    numbers = [number for number, found in counts.items() if found >= least]
    rows = await operands.rows("tags_numbered", tag_nos=numbers) if numbers else []
    named = [FacetCount(tag, name, counts[number], counts[number], counts[number]) for number, tag, name in rows]
    return tuple(sorted(named, key=lambda one: (-one.count, one.name))[:top])
