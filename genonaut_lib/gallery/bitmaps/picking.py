"""Which ranks make a page: windows walked newest or oldest first, bits counted, and only those unpacked that show."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Final

import numpy as np

from genonaut_lib.gallery.bitmaps.algebra import Window, split
from genonaut_lib.gallery.bitmaps.layout import CHUNK, WORDS, Ranks, Words, positions_in

FIRST_CHUNKS: Final = 4
"""Chunks that are looked at first; then twice as many each time."""


@dataclass
class Picker:
    """Takes words of one window after the other, in walking order, and keeps the ranks that are wanted.

    `skip` matching ranks are passed by, `take` kept, those beyond `bound` only (below it where
    `descending`, above it otherwise). `counted` are all matches seen, on whichever side of the bound.
    """

    skip: int
    take: int
    descending: bool = True
    bound: int | None = None
    counted: int = 0

    def __post_init__(self) -> None:
        self._kept: list[Ranks] = []

    @property
    def ranks(self) -> Ranks:
        """The ranks that were kept, in walking order."""
        return np.concatenate(self._kept) if self._kept else np.empty(0, dtype=np.int64)

    @property
    def full(self) -> bool:
        """Whether no further rank is wanted."""
        return self.take <= 0

    def see(self, window: Window, words: Words) -> None:
        """Count a window's bits, and pick what is wanted of them."""
        sizes = sizes_of(words)
        self.counted += int(sizes.sum())
        if self.full:
            return
        inside = cut(words, window, self.bound, descending=self.descending)
        self._pick(window, inside, sizes if inside is words else sizes_of(inside))

    def _pick(self, window: Window, words: Words, sizes: Ranks) -> None:
        for chunk in self._walk(sizes):
            size = int(sizes[chunk])
            if self.skip >= size:
                self.skip -= size
                continue
            ranks = positions_in(words[chunk * WORDS : (chunk + 1) * WORDS]) + (window.low + chunk) * CHUNK
            kept = (ranks[::-1] if self.descending else ranks)[self.skip : self.skip + self.take]
            self._kept.append(kept)
            self.skip, self.take = 0, self.take - len(kept)
            if self.full:
                return

    def _walk(self, sizes: Ranks) -> list[int]:
        filled: list[int] = np.flatnonzero(sizes).tolist()
        return filled[::-1] if self.descending else filled


def sizes_of(words: Words) -> Ranks:
    """Return how many bits are set in each chunk."""
    counts: Ranks = np.bitwise_count(words).reshape(-1, WORDS).sum(axis=1, dtype=np.int64)
    return counts


def cut(words: Words, window: Window, bound: int | None, *, descending: bool) -> Words:
    """Return the bits below a rank (above it, unless descending): the words themselves where all are, else new ones."""
    if bound is None:
        return words
    place = min(max(bound - window.low * CHUNK, -1), window.chunks * CHUNK)
    if place == window.chunks * CHUNK if descending else place == -1:
        return words
    marks = words.view(np.uint8).copy()
    _clear(marks, place, descending=descending)
    return marks.view(np.uint64)


def _clear(marks: np.ndarray[tuple[int], np.dtype[np.uint8]], place: int, *, descending: bool) -> None:
    """Clear the bits from a place on, or those up to and with it."""
    first = max(place, 0) if descending else place + 1
    byte, kept = first >> 3, 0xFF >> (first & 7)
    if descending:
        marks[byte + 1 :] = 0
        marks[byte : byte + 1] &= 0xFF ^ kept
    else:
        marks[:byte] = 0
        marks[byte : byte + 1] &= kept


def batches(chunks: int, bound: int | None, *, descending: bool) -> Iterator[list[Window]]:
    """Yield the windows beyond a bound in walking order, in batches that grow: few chunks fill most pages."""
    low, high = _range(chunks, bound, descending=descending)
    size = FIRST_CHUNKS
    while low < high:
        first, last = (max(low, high - size), high) if descending else (low, min(high, low + size))
        yield in_order(first, last, descending=descending)
        low, high = (low, first) if descending else (last, high)
        size *= 2


def in_order(low: int, high: int, *, descending: bool) -> list[Window]:
    """Return chunks as windows in walking order."""
    windows = list(split(low, high))
    return windows[::-1] if descending else windows


def _range(chunks: int, bound: int | None, *, descending: bool) -> tuple[int, int]:
    if bound is None:
        return 0, chunks
    chunk = bound // CHUNK
    return (0, min(chunks, max(chunk, 0) + 1)) if descending else (max(chunk, 0), chunks)
