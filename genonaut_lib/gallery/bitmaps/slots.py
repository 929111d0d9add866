"""Images in slots, and for each tag, creator and source the slots of its items as the bits of one number.

Slots are only ever added, and nothing in one changes: whoever remembers which slots were theirs may go
on using them while others add more.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Final

import numpy as np
from numpy.typing import NDArray

from genonaut_lib.gallery.bitmaps.marked_items import NUMBER, Image
from genonaut_lib.gallery.query import Creators, GalleryQuery
from genonaut_lib.vocabulary import ContentSource

WORTH_KEEPING: Final = 32
"""Bits of a tag that so many items carry are kept once they were made; of a rarer one they are made in no time."""
_LOW: Final = (1 << 32) - 1


class Slots:
    """Slots filled at once with `images`, and more one by one."""

    def __init__(self, images: Sequence[Image]) -> None:
        self.images: list[Image] = []
        self._of_mark: defaultdict[int, int] = defaultdict(int)
        self._of_creator: defaultdict[uuid.UUID, int] = defaultdict(int)
        self._of_source = dict.fromkeys(ContentSource, 0)
        self._public = 0
        self._first = len(images)
        self._pairs = _pairs(images)
        self._early: dict[int, int] = {}
        self._late: defaultdict[int, int] = defaultdict(int)
        for image in images:
            self._place(image)

    def __len__(self) -> int:
        """How many slots there are."""
        return len(self.images)

    @property
    def added(self) -> int:
        """How many were filled one by one; those take more room and time."""
        return len(self.images) - self._first

    def add(self, image: Image) -> int:
        """Fill a new slot and return its bit."""
        bit = self._place(image)
        for number in np.frombuffer(image.packed, NUMBER).tolist():
            self._late[number] |= bit >> self._first
        return bit

    def of_mark(self, mark: int) -> int:
        """Return the slots of one item: those of all its images."""
        return self._of_mark.get(mark, 0)

    def carrying(self, numbers: Iterable[int]) -> int:
        """Return the slots of items that carry any of these tags."""
        bits = 0
        for number in numbers:
            bits |= self._carriers(number)
        return bits

    def seen(self, query: GalleryQuery) -> int:
        """Return the slots of items that are there, by the creators the query wants, and may be seen by its viewer."""
        own = 0 if query.viewer is None else self._of_creator.get(query.viewer, 0)
        by = {
            Creators.MINE: own, Creators.COMMUNITY: self._public & ~own, Creators.EVERYBODY: self._public | own,
        }  # fmt: skip
        bits = 0
        for source in query.sources:
            bits |= self._of_source[source] & by[query.scope.of(source)]
        return bits

    def _place(self, image: Image) -> int:
        """Fill a slot but for its tags; an item that is gone has one too, and is found by its mark alone."""
        bit = 1 << len(self.images)
        self.images.append(image)
        self._of_mark[image.mark] |= bit
        if image.item is not None and image.creator is not None:
            self._of_creator[image.creator] |= bit
            self._of_source[image.item.source] |= bit
            self._public |= 0 if image.is_private else bit
        return bit

    def _carriers(self, number: int) -> int:
        early = self._early.get(number)
        if early is None:
            early = self._looked_up(number)
        late = self._late.get(number)
        return early if late is None else early | late << self._first

    def _looked_up(self, number: int) -> int:
        first, end = np.searchsorted(self._pairs, (number << 32, (number + 1) << 32)).tolist()
        bits = bits_of(self._pairs[first:end] & _LOW)
        if end - first >= WORTH_KEEPING:
            self._early[number] = bits
        return bits


def bits_of(slots: NDArray[np.int64]) -> int:
    """Return the number with these bits set, given in ascending order."""
    if not slots.size:
        return 0
    flags = np.zeros(int(slots[-1]) + 1, dtype=np.uint8)
    flags[slots] = 1
    return int.from_bytes(np.packbits(flags, bitorder="little").tobytes(), "little")


def slots_in(bits: int) -> list[int]:
    """Return the bits that are set, ascending."""
    flags = np.frombuffer(bits.to_bytes((bits.bit_length() + 7) // 8, "little"), dtype=np.uint8)
    return np.flatnonzero(np.unpackbits(flags, bitorder="little")).tolist()


def _pairs(images: Sequence[Image]) -> NDArray[np.int64]:
    """Return every tag with every slot of it, tag above slot in one number, sorted."""
    counts = [len(image.packed) // NUMBER.itemsize for image in images]
    numbers = np.frombuffer(b"".join([image.packed for image in images]), NUMBER).astype(np.int64)
    pairs = numbers << 32 | np.repeat(np.arange(len(images), dtype=np.int64), counts)
    pairs.sort()
    return pairs
