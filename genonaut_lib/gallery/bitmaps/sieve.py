"""A filter over the whole index in one snapshot: words of matching items, window by window."""

from __future__ import annotations

import itertools
import uuid
from collections.abc import AsyncGenerator, AsyncIterator, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import Final, TypeVar

from genonaut_lib.gallery.bitmaps.algebra import Filter, Fold, Operand, Window, united
from genonaut_lib.gallery.bitmaps.layout import CHUNK, Ranks, Words
from genonaut_lib.gallery.bitmaps.marked import Marked
from genonaut_lib.gallery.bitmaps.operands import Operands
from genonaut_lib.gallery.bitmaps.picking import Picker, batches, in_order
from genonaut_lib.gallery.bitmaps.state import Numbered, State
from genonaut_lib.gallery.query import GalleryQuery

T = TypeVar("T")

STRIPS_AT_ONCE: Final = 512
"""Bitmaps of a segment, 62 KB each, that one statement reads and a request holds."""
MOST_BLOCKERS: Final = 3
"""Groups that are looked at before all others, where they suffice to find nothing."""


@dataclass(frozen=True)
class Sieve:
    """What a request knows: the index, the marked items, and its filter."""

    operands: Operands
    marked: Marked
    filter: Filter

    @property
    def state(self) -> State:
        """The state of the index in this snapshot."""
        return self.operands.view.state

    async def walk(self, picker: Picker, *, total: bool) -> Picker:
        """Show the picker what matches, and return it: all there is for a total, else until it is full."""
        async for _ in self.steps(picker, total=total):
            pass
        return picker

    async def steps(self, picker: Picker, *, total: bool) -> AsyncGenerator[None, None]:
        """Show the picker what matches as `walk` does, and stop after each batch of windows.

        Where the first windows hold nothing, and a few of the groups say why, the others are not looked at in
        any window that these few rule out as well: popular tags that never meet would cost all their bitmaps.
        """
        first, has_looked = None, False
        for windows in self._batches(picker, total=total):
            if picker.full and not total:
                break
            async for window, words in self.words(windows, first):
                picker.see(window, words)
            if not has_looked and not picker.counted:
                first, has_looked = await self._narrowed(windows[0]), True
            yield

    def _batches(self, picker: Picker, *, total: bool) -> Iterator[Sequence[Window]]:
        chunks, turn = self.state.chunks, picker.descending
        if not total:
            return batches(chunks, picker.bound, descending=turn)
        windows = in_order(0, chunks, descending=turn)
        return iter([part for part in (windows[:1], windows[1:]) if part])

    async def _narrowed(self, window: Window) -> Sieve | None:
        """Return a sieve by those groups that leave nothing of a window, None if they are not fewer."""
        if len(self.filter.groups) <= MOST_BLOCKERS:
            return None
        folds = await self._folds([window])
        places = folds[window].blockers(MOST_BLOCKERS)
        groups = tuple(self.filter.groups[place] for place in places)
        return replace(self, filter=replace(self.filter, groups=groups, excluded=Operand())) if places else None

    async def words(self, windows: Sequence[Window], first: Sieve | None = None) -> AsyncIterator[tuple[Window, Words]]:
        """Yield each window in which something may match, with the bits of what does; `first` lets less through."""
        possible = [window for window in windows if not self.filter.rules_out(window)]
        if first is not None:
            possible = [window async for window, words in first.words(possible) if words.any()]
        at_once = max(1, STRIPS_AT_ONCE // len(self.filter.tag_nos))
        for part in parts_of(possible, at_once):
            mine = await self.operands.mine(self.filter.viewer, part)
            folds = await self._folds(part)
            for window in part:
                own = mine.get(window.segment)
                dead = self.marked.dead(window.low, window.chunks)
                yield window, folds[window].words(None if own is None else window.of(own), dead)

    async def _folds(self, windows: Sequence[Window]) -> dict[Window, Fold]:
        """Return what the bitmaps say in some windows, however many tags the filter names."""
        folds = {window: Fold(self.filter, window) for window in windows}
        for numbers in parts_of(self.filter.tag_nos, STRIPS_AT_ONCE):
            strips = await self.operands.strips(numbers, windows)
            for window, fold in folds.items():
                for number in numbers:
                    fold.take(number, window.of(strips[number, window.segment].words))
        return folds

    def is_dead(self, rank: int) -> bool:
        """Whether a rank's item is marked, and so may be anything by now."""
        chunk, place = divmod(rank, CHUNK)
        dead = self.marked.dead(chunk, 1)
        return dead is not None and bool(dead.view("u1")[place >> 3] & 0x80 >> (place & 7))


async def filter_of(query: GalleryQuery, operands: Operands, found: Numbered) -> Filter:
    """Return a query's filter over sealed items: numbers of bitmaps, and ranks of what has none."""
    postings = await operands.postings(set(found.numbers.values()) - found.with_bitmaps)

    def operand(tags: Iterable[uuid.UUID]) -> Operand:
        numbers = [found.numbers[tag] for tag in tags if tag in found.numbers]
        ranks: list[Ranks] = [postings[number] for number in numbers if number in postings]
        return Operand(tuple(number for number in numbers if number in found.with_bitmaps), united(ranks))

    groups = tuple(operand(group) for group in query.groups)
    return Filter(groups, operand(query.exclude), query.scope, query.viewer)


def parts_of(things: Sequence[T], size: int) -> Iterator[Sequence[T]]:
    """Cut things into parts of at most `size`."""
    return (things[start : start + size] for start in range(0, len(things), size))


def tags_of(query: GalleryQuery) -> set[uuid.UUID]:
    """Return every tag that a query names."""
    return {*query.exclude, *itertools.chain.from_iterable(query.groups)}
