"""The set algebra of a filter, on words of bits: pure functions, whole chunks at a time.

What is not set in any tag, source or public bitmap belongs to no item, so nothing has to be said of
positions that were cleared or never filled.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import cached_property
from typing import Final

import numpy as np

from genonaut_lib.gallery.bitmaps.layout import BYTES, CHUNK, PUBLIC_ITEMS, SOURCE_BITS, WORDS, Ranks, Words
from genonaut_lib.gallery.query import EVERYTHING, Creators, Scope
from genonaut_lib.vocabulary import ContentSource

SEGMENT: Final = 32
"""Chunks of a segment: bits are kept in memory by tag and segment."""
SEGMENT_WORDS: Final = SEGMENT * WORDS
PROBED_WORDS: Final = 4 * WORDS
"""What is looked at to find the groups that rule out most: four chunks."""
NO_RANKS: Final[Ranks] = np.empty(0, dtype=np.int64)


@dataclass(frozen=True, slots=True)
class Window:
    """The chunks from `low` to before `high`, all of one segment."""

    low: int
    high: int

    @property
    def segment(self) -> int:
        """The segment they lie in."""
        return self.low // SEGMENT

    @property
    def chunks(self) -> int:
        """How many there are."""
        return self.high - self.low

    @property
    def mask(self) -> int:
        """The chunks as bits, those of the segment counted from the lowest bit."""
        return ((1 << self.chunks) - 1) << self.low % SEGMENT

    def of(self, words: Words) -> Words:
        """Return the window's part of its segment's words, shared."""
        start = self.low % SEGMENT
        return words[start * WORDS : (start + self.chunks) * WORDS]


@dataclass(frozen=True)
class Operand:
    """Tags of which one is enough: numbers of those with bitmaps, and the ranks, ascending, of all others' items."""

    bitmaps: tuple[int, ...] = ()
    ranks: Ranks = field(default_factory=lambda: NO_RANKS)

    def is_bare(self, window: Window) -> bool:
        """Whether none of its items lies in a window, without any bitmap being looked at."""
        return not self.bitmaps and not len(_within(self.ranks, window))


@dataclass(frozen=True)
class Filter:
    """What sealed items are wanted: one of each group and none of `excluded`, of the scope, seen by the viewer."""

    groups: tuple[Operand, ...] = ()
    excluded: Operand = Operand()
    scope: Scope = EVERYTHING
    viewer: uuid.UUID | None = None

    @cached_property
    def tag_nos(self) -> tuple[int, ...]:
        """The numbers of every bitmap that it takes, each once; those that are no tags come first."""
        operands = (*self.groups, self.excluded)
        numbers = dict.fromkeys(number for operand in operands for number in operand.bitmaps)
        return (*self._base, *(number for number in numbers if number not in self._base))

    @cached_property
    def _base(self) -> tuple[int, ...]:
        return (*SOURCE_BITS.values(), PUBLIC_ITEMS) if self.needs_sources else (PUBLIC_ITEMS,)

    @property
    def needs_sources(self) -> bool:
        """Whether it matters of which source an item is: not where everybody sees what everybody sees."""
        return self.viewer is not None or self.scope != EVERYTHING

    @cached_property
    def places(self) -> Mapping[int, tuple[int, ...]]:
        """The groups that a tag's bitmap belongs to, by their places; -1 is what is excluded."""
        places: dict[int, tuple[int, ...]] = {}
        for place, operand in ((-1, self.excluded), *enumerate(self.groups)):
            for number in operand.bitmaps:
                places[number] = (*places.get(number, ()), place)
        return places

    def rules_out(self, window: Window) -> bool:
        """Whether no item of a window can match, without any bitmap being looked at."""
        return not self.scope.sources or any(group.is_bare(window) for group in self.groups)


class Fold:
    """The words of a filter in one window, put together from bitmaps as they arrive, in any order."""

    def __init__(self, wanted: Filter, window: Window) -> None:
        self._filter, self._window = wanted, window
        self._base: dict[int, Words] = {}
        self._unions: dict[int, Words] = {}
        self._own: set[int] = set()
        for place, operand in ((-1, wanted.excluded), *enumerate(wanted.groups)):
            if len(_within(operand.ranks, window)):
                self._add(place, words_of(operand.ranks, window))

    def take(self, number: int, words: Words) -> None:
        """Take a bitmap's words of this window."""
        if number < 0:
            self._base[number] = words
        for place in self._filter.places.get(number, ()):
            self._add(place, words)

    def _add(self, place: int, words: Words) -> None:
        known = self._unions.get(place)
        if known is None:
            self._unions[place] = words
        elif place in self._own:
            np.bitwise_or(known, words, out=known)
        else:
            self._unions[place] = known | words
            self._own.add(place)

    def blockers(self, most: int) -> tuple[int, ...]:
        """Return the places of at most so many groups that meet nowhere in the window's first chunks, if some do.

        The rarest first, then greedily whichever leaves least: not always the fewest, found in one pass for each.
        """
        groups = {place: words[:PROBED_WORDS] for place, words in self._unions.items() if place >= 0}
        chosen: list[int] = []
        left: Words | None = None
        while groups and len(chosen) < most:
            meets = {place: words if left is None else left & words for place, words in groups.items()}
            place = min(meets, key=lambda one: int(np.bitwise_count(meets[one]).sum()))
            left = meets[place]
            chosen.append(place)
            del groups[place]
            if not left.any():
                return tuple(chosen)
        return ()

    def words(self, mine: Words | None, dead: Words | None) -> Words:
        """Return the bits of the items that match: new words, the caller's own.

        `mine` are the viewer's items, `dead` the places that are not what their bits say.
        """
        words = allowed(self._filter.scope, self._base, mine)
        for place in range(len(self._filter.groups)):
            union = self._unions.get(place)
            if union is None:
                return np.zeros_like(words)
            np.bitwise_and(words, union, out=words)
        for unwanted in (self._unions.get(-1), dead):
            if unwanted is not None:
                np.bitwise_and(words, ~unwanted, out=words)
        return words


def allowed(scope: Scope, base: Mapping[int, Words], mine: Words | None) -> Words:
    """Return the items of a scope that the viewer, whose items are `mine`, may see; new words."""
    public = base[PUBLIC_ITEMS]
    if len(base) == 1:
        return public.copy()
    parts = [base[SOURCE_BITS[source]] & _by(scope.of(source), public, mine) for source in scope.sources]
    return parts[0] if len(parts) == 1 else np.bitwise_or(parts[0], parts[1], out=parts[0])


def _by(creators: Creators, public: Words, mine: Words | None) -> Words:
    if creators is Creators.MINE:
        return np.zeros_like(public) if mine is None else mine
    if mine is None:
        return public
    return public | mine if creators is Creators.EVERYBODY else public & ~mine


def words_of(ranks: Ranks, window: Window) -> Words:
    """Return the bits of ranks, ascending, that lie in a window."""
    places = _within(ranks, window) - window.low * CHUNK
    bits = np.zeros(window.chunks * BYTES, dtype=np.uint8)
    np.bitwise_or.at(bits, places >> 3, (0x80 >> (places & 7)).astype(np.uint8))
    return bits.view(np.uint64)


def united(parts: Sequence[Ranks]) -> Ranks:
    """Return ranks of several tags as one ascending row, each once."""
    if not parts:
        return NO_RANKS
    return parts[0] if len(parts) == 1 else np.unique(np.concatenate(parts))


def split(low: int, high: int) -> Iterator[Window]:
    """Cut chunks into windows where segments end, in ascending order."""
    while low < high:
        end = min(high, (low // SEGMENT + 1) * SEGMENT)
        yield Window(low, end)
        low = end


def members_of(ranks: Ranks, members: Mapping[int, Ranks]) -> Ranks:
    """Return the signed ids of ranks from the members of their chunks, chunk by chunk."""
    chunks, places = np.divmod(ranks, CHUNK)
    parts = [members[chunk][places[chunks == chunk]] for chunk in np.unique(chunks).tolist()]
    return np.concatenate(parts).astype(np.int64) if parts else NO_RANKS


def by_source(signed: Ranks) -> dict[ContentSource, list[int]]:
    """Return ids by source from signed ids."""
    regular = signed >= 0
    return {ContentSource.REGULAR: signed[regular].tolist(), ContentSource.AUTO: (~signed[~regular]).tolist()}


def _within(ranks: Ranks, window: Window) -> Ranks:
    if not len(ranks):
        return ranks
    low, high = np.searchsorted(ranks, (window.low * CHUNK, window.high * CHUNK))
    return ranks[low:high]
