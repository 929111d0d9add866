"""The marked items of a snapshot: read from the content once, and kept for the snapshots that follow.

Why what is kept is exact: whoever changes an item marks it in the same transaction. So an image still
holds in a later snapshot unless that one sees a mark which the image's did not, and such marks are what
the probe returns; or unless the mark was taken away, and then the version of what is sealed is another, and
everything is read anew. A snapshot that does not follow the one that is kept is answered without it.
"""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.errors import BitmapsUnavailable
from genonaut_lib.gallery.bitmaps import marked_items
from genonaut_lib.gallery.bitmaps.layout import BYTES, CHUNK, Ranks, Words
from genonaut_lib.gallery.bitmaps.marked_items import Image, MarkedItem
from genonaut_lib.gallery.bitmaps.slots import Slots, slots_in
from genonaut_lib.gallery.bitmaps.state import Numbered, Probe, State, probe
from genonaut_lib.gallery.query import GalleryQuery, Group

BUILD: Final = "40_build_tag_bitmaps"
SEAL: Final = "54_seal_tag_bitmaps"
ADDED_MIN: Final = 256
ADDED_SHARE: Final = 0.25
"""So many slots, or this part of those filled at once, are added one by one before all are filled anew."""


@dataclass(frozen=True)
class Marked:
    """The marked items of one snapshot. Never changes: its slots gain more, which are not `live` in it."""

    state: State
    slots: Slots = field(repr=False)
    live: int = field(repr=False)
    ranks: Ranks = field(repr=False)

    @classmethod
    def of(cls, state: State, images: Sequence[Image]) -> Marked:
        """Return the view of a snapshot in which these are the images of all marked items."""
        slots = Slots(images)
        return cls(state, slots, (1 << len(slots)) - 1, _ranks(images))

    def extended(self, state: State, images: Sequence[Image]) -> Marked:
        """Return the view of a snapshot that follows, which sees these images anew and all others as they were."""
        if not images:
            return Marked(state, self.slots, self.live, self.ranks)
        if self.slots.added + len(images) > max(ADDED_MIN, ADDED_SHARE * self.size):
            anew = {image.mark for image in images}
            kept = [image for image in self._images(self.live) if image.mark not in anew]
            return Marked.of(state, [*kept, *images])
        # Where an item is sealed does not change while the version stays, so only new ones may have a place to add.
        ranks = _with(self.ranks, [image for image in images if not self.live & self.slots.of_mark(image.mark)])
        live = self.live
        for image in images:
            live = (live ^ (live & self.slots.of_mark(image.mark))) | self.slots.add(image)
        return Marked(state, self.slots, live, ranks)

    @property
    def size(self) -> int:
        """How many items are marked, those that are gone included."""
        return self.live.bit_count()

    def dead(self, first_chunk: int, chunks: int) -> Words | None:
        """Return the sealed places of marked items in these chunks, of shape (chunks * WORDS,); None for none."""
        bounds = np.searchsorted(self.ranks, (first_chunk * CHUNK, (first_chunk + chunks) * CHUNK))
        ranks = self.ranks[bounds[0] : bounds[1]] - first_chunk * CHUNK
        if not ranks.size:
            return None
        marks = np.zeros(chunks * BYTES, dtype=np.uint8)
        np.bitwise_or.at(marks, ranks >> 3, (0x80 >> (ranks & 7)).astype(np.uint8))
        return marks.view(np.uint64)

    def matching(self, query: GalleryQuery, numbers: Mapping[uuid.UUID, int]) -> list[MarkedItem]:
        """Return the marked items that a filter means, in no order; page, sort and search are ignored.

        `numbers` has the tag_no of each tag that exists; any other tag is carried by nothing.
        """
        found = self._images(self._matching(query, numbers))
        return [image.item for image in found if image.item is not None]

    def total(self, query: GalleryQuery, numbers: Mapping[uuid.UUID, int]) -> int:
        """Return how many items `matching` would return, without making the list."""
        return self._matching(query, numbers).bit_count()

    def _matching(self, query: GalleryQuery, numbers: Mapping[uuid.UUID, int]) -> int:
        left = self.live & self.slots.seen(query)
        for group in query.groups:
            left = left and left & self._carrying(group, numbers)
        if left and query.exclude:
            left ^= left & self._carrying(query.exclude, numbers)
        return left

    def _carrying(self, tags: Group, numbers: Mapping[uuid.UUID, int]) -> int:
        return self.slots.carrying([numbers[tag] for tag in tags if tag in numbers])

    def _images(self, bits: int) -> list[Image]:
        return [self.slots.images[slot] for slot in slots_in(bits)]


@dataclass(frozen=True)
class _TooMany:
    """In this snapshot more than `marks_max` items are marked, and so in all that follow it, until some are sealed."""

    state: State
    marks_max: int


class Marks:
    """The marked items of a process, brought up to date in each snapshot that asks.

    For the tasks of one event loop: views that were handed out never change.
    """

    def __init__(self) -> None:
        self._known: Marked | _TooMany | None = None

    async def current(
        self, connection: AsyncConnection, marks_max: int, tags: Collection[uuid.UUID]
    ) -> tuple[State, Marked, Numbered]:
        """Return the state of the index, the marked items and the numbers of `tags` in this transaction's snapshot.

        The transaction must be REPEATABLE READ. Raises BitmapsUnavailable where no index serves, where more
        than `marks_max` items are marked, and for a date that no Python datetime can be; psycopg's
        UndefinedTable or InvalidSchemaName where there are no tables of the index.
        """
        known, found = await self._probed(connection, marks_max, tags)
        state = found.state
        if state is None:
            problem = "There is no tag bitmap index that serves."
            raise BitmapsUnavailable(problem, hint=f"Run `genonaut run {BUILD}`.")
        if found.too_many or isinstance(known, _TooMany):
            raise self._refusal(state, marks_max)
        images = await marked_items.read(connection, state.epoch, found.marks)
        view = Marked.of(state, images) if known is None else known.extended(state, images)
        if view.size > marks_max:
            raise self._refusal(state, marks_max)
        self._keep(view)
        return state, view, found.tags

    async def _probed(
        self, connection: AsyncConnection, marks_max: int, tags: Collection[uuid.UUID]
    ) -> tuple[Marked | _TooMany | None, Probe]:
        """Return what is known and holds in this snapshot (or None), and the marks that are new to it."""
        known = self._known
        if isinstance(known, _TooMany) and known.marks_max < marks_max:
            known = None
        found = await probe(connection, None if known is None else known.state, marks_max, tags)
        if known is None or found.state is None or found.renewed:
            return None, found
        if not found.state.follows(known.state):
            return None, await probe(connection, None, marks_max, tags)
        return known, found

    def _refusal(self, state: State, marks_max: int) -> BitmapsUnavailable:
        self._keep(_TooMany(state, marks_max))
        problem = f"More than {marks_max:,} items changed since the tag bitmap index was sealed."
        return BitmapsUnavailable(problem, hint=f"Run `genonaut run {SEAL}`, and more often.")

    def _keep(self, found: Marked | _TooMany) -> None:
        """Keep what was found unless something later is kept: others may have been here meanwhile."""
        kept = None if self._known is None else self._known.state
        if found.state.lasting and (kept is None or not found.state.is_beside(kept) or found.state.follows(kept)):
            self._known = found


def _with(ranks: Ranks, images: Sequence[Image]) -> Ranks:
    more = _ranks(images)
    return np.insert(ranks, np.searchsorted(ranks, more), more) if more.size else ranks


def _ranks(images: Sequence[Image]) -> Ranks:
    """Return where these items are sealed, ascending."""
    return np.array(sorted([image.rank for image in images if image.rank is not None]), dtype=np.int64)
