"""What a filter's algebra works on, from memory or from the index's tables: one statement for all that is missing."""

from __future__ import annotations

import functools
import uuid
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import numpy as np
from psycopg.rows import tuple_row

from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.db.statements import block
from genonaut_lib.gallery.bitmaps.algebra import SEGMENT, SEGMENT_WORDS, Window, by_source, members_of
from genonaut_lib.gallery.bitmaps.cache import BITS, Posting, Strip, View
from genonaut_lib.gallery.bitmaps.fetching import keys_text, values_with
from genonaut_lib.gallery.bitmaps.layout import BYTES, CHUNK, MEMBERS, POSITIONS, SPAN, Ranks, Words
from genonaut_lib.gallery.order import Position
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.vocabulary import ContentSource

Key = tuple[datetime, str, int]
"""What ranks are ordered by: created_at, partition key and id."""
Strips = dict[tuple[int, int], Strip]
"""Bitmaps by tag number and segment."""

_STORED = 4 + BYTES
"""Bytes of a bitmap as it is sent: its length in bits comes first."""
_NO_MARKS = np.empty(0, dtype=np.uint8)
_NOTHING = Strip(np.zeros(SEGMENT_WORDS, dtype=np.uint64), 0)


@dataclass(frozen=True)
class Operands:
    """The index as one transaction sees it."""

    connection: AsyncConnection
    view: View

    async def strips(self, numbers: Sequence[int], windows: Sequence[Window]) -> Strips:
        """Return the bitmaps of some numbers, which tell the truth in these windows at least."""
        strips: Strips = {}
        missing: list[tuple[int, Window]] = []
        for window in windows:
            segment, mask = window.segment, window.mask
            for number in numbers:
                strip: Strip = self.view.get((BITS, number, segment)) or _NOTHING
                strips[number, segment] = strip
                if strip.have & mask != mask:
                    missing.append((number, _unknown(strip, window)))
        if missing:
            await self._fill(strips, missing)
        return strips

    async def _fill(self, strips: Strips, missing: Sequence[tuple[int, Window]]) -> None:
        """Read the missing parts, and put strips that have them in the place of those that had not."""
        numbers, windows = [number for number, _ in missing], [window for _, window in missing]
        lows, highs = [window.low for window in windows], [window.high for window in windows]
        rows = {row[0]: row[1:] for row in await self.rows("strips", tag_nos=numbers, lows=lows, highs=highs)}
        for place, (number, window) in enumerate(missing, 1):
            key = number, window.segment
            strips[key] = _filled(strips[key], window, rows.get(place))
            self.view.put((BITS, *key), strips[key], SEGMENT * BYTES)

    async def mine(self, viewer: uuid.UUID | None, windows: Sequence[Window]) -> dict[int, Words]:
        """Return a viewer's items by segment, whole segments; none where they have none."""
        if viewer is None or not windows:
            return {}
        segments = [window.segment for window in windows]
        kept = {segment: self.view.get(("mine", viewer, segment)) for segment in segments}
        missing = [segment for segment, words in kept.items() if words is None]
        if missing:
            kept |= await self._creators(viewer, missing)
        return {segment: words for segment, words in kept.items() if words is not None and len(words)}

    async def _creators(self, viewer: uuid.UUID, segments: Sequence[int]) -> dict[int, Words]:
        """Read where a creator's items lie; in a segment without any, words are kept as none at all."""
        spans = SEGMENT // SPAN
        low, high = min(segments) * spans, (max(segments) + 1) * spans
        rows = await self.rows("creators_spans", viewer=viewer, low=low, high=high)
        marks: dict[int, Any] = {}
        for span, positions in rows:
            bits = marks.setdefault(span // spans, np.zeros(SEGMENT * CHUNK, dtype=np.uint8))
            bits[np.frombuffer(positions, POSITIONS).astype(np.int64) + span % spans * SPAN * CHUNK] = 1
        found = {segment: np.packbits(marks.get(segment, _NO_MARKS)).view(np.uint64) for segment in segments}
        for segment, words in found.items():
            self.view.put(("mine", viewer, segment), words, words.nbytes)
        return found

    async def postings(self, numbers: Collection[int]) -> dict[int, Ranks]:
        """Return the sealed items of tags without bitmaps, from the junction, as ascending ranks."""
        kept = {number: self.view.posting(("posting", number)) for number in numbers}
        missing = [number for number, ranks in kept.items() if ranks is None]
        if missing:
            rows = dict(await self.rows("postings", tag_nos=missing, **ContentSource.spellings()))
            for number in missing:
                ranks = np.sort(np.frombuffer(rows.get(number, b""), MEMBERS).astype(np.int64))
                self.view.put(("posting", number), Posting(ranks, self.view.state), ranks.nbytes)
                kept[number] = ranks
        return {number: ranks for number, ranks in kept.items() if ranks is not None}

    async def signed_ids(self, ranks: Ranks) -> Ranks:
        """Return the signed ids of ranks, in no order."""
        chunks = np.unique(ranks // CHUNK).tolist()
        members: dict[int, Any] = {chunk: self.view.get(("members", chunk)) for chunk in chunks}
        missing = [chunk for chunk, found in members.items() if found is None]
        if missing:
            for chunk, stored in await self.rows("members", chunks=missing):
                members[chunk] = np.frombuffer(stored, MEMBERS)
                self.view.put(("members", chunk), members[chunk], len(stored))
        return members_of(ranks, members)

    async def first_keys(self) -> list[Key]:
        """Return the key that each chunk begins with."""
        keys: list[Key] | None = self.view.get(("first_keys",))
        if keys is None:
            keys = [(row[0], row[1], row[2]) for row in await self.rows("first_keys")]
            self.view.put(("first_keys",), keys, 200 * len(keys))
        return keys

    async def keys(self, ranks: Ranks) -> list[Key]:
        """Return the keys of some ranks, whose items must be there and as they were sealed; ascending."""
        ids = by_source(await self.signed_ids(ranks))
        async with self.connection.cursor(row_factory=tuple_row) as cursor:
            await cursor.execute(keys_text(), values_with(GalleryQuery(), ids))
            return sorted(await cursor.fetchall())

    async def rank_of(self, position: Position) -> int | None:
        """Return the rank of the item at a position by created_at; None where it has none or lies elsewhere by now."""
        rows = await self.rows("place", source=position.source.partition, id=position.id, created_at=position.value)
        return rows[0][0] if rows and rows[0][1] else None

    async def rows(self, name: str, **values: Any) -> list[Any]:
        """Return the rows of a block of tag_bitmaps.sql, read in binary; it may bind the epoch."""
        values["epoch"] = self.view.state.epoch
        async with self.connection.cursor(row_factory=tuple_row, binary=True) as cursor:
            await cursor.execute(_text(name), values)
            return await cursor.fetchall()


@functools.cache
def _text(name: str) -> bytes:
    """Return a block as text; psycopg parses it once then, and not for every request."""
    return block("tag_bitmaps", name).sql().as_bytes(None)


def _unknown(strip: Strip, window: Window) -> Window:
    """Return the part of a window that a strip does not know, from its first unknown chunk to its last."""
    base = window.segment * SEGMENT
    missing = window.mask & ~strip.have
    lowest = (missing & -missing).bit_length() - 1
    return Window(base + lowest, base + missing.bit_length())


def _filled(strip: Strip, window: Window, stored: tuple[bytes, bytes] | None) -> Strip:
    """Return a strip that knows a window besides; chunks that nothing is stored of hold no items."""
    words = strip.words.copy()
    window.of(words)[:] = 0
    if stored is not None:
        chunks = np.frombuffer(stored[0], MEMBERS) - window.segment * SEGMENT
        bits = np.frombuffer(stored[1], dtype=np.uint8).reshape(-1, _STORED)
        words.view(np.uint8).reshape(SEGMENT, BYTES)[chunks] = bits[:, _STORED - BYTES :]
    return Strip(words, strip.have | window.mask)
