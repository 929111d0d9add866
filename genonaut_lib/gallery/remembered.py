"""Choices of the planner, remembered for as long as it would choose the same.

A page is asked for again and again while somebody reloads it or others look at the same filter, and choosing for
twenty tags takes 0.2 ms. What is remembered is how to ask, never what was found: a choice counts as long as all that
it rests on is what it was.
"""

from __future__ import annotations

from collections import OrderedDict

from genonaut_lib.gallery.bitmaps.standing import UNKNOWN, Standing
from genonaut_lib.gallery.choice import Choice
from genonaut_lib.gallery.estimates import are_known
from genonaut_lib.gallery.feedback import Feedback, Lesson
from genonaut_lib.gallery.planner import choose, choose_with_total
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.gallery.statistics import Statistics
from genonaut_lib.settings import PlannerSettings

CAPACITY = 1_000
"""Choices that are kept: a few KB each."""

_Key = tuple[GalleryQuery, bool, bool]


class Choices:
    """Chooses as the planner does, by the knobs and the feedback of one gallery."""

    def __init__(self, knobs: PlannerSettings, feedback: Feedback, capacity: int = CAPACITY) -> None:
        self._knobs = knobs
        self._feedback = feedback
        self._capacity = capacity
        self._kept: OrderedDict[_Key, tuple[Lesson, Choice]] = OrderedDict()
        self._known: tuple[Statistics | None, Standing] = (None, UNKNOWN)

    def __len__(self) -> int:
        return len(self._kept)

    def choice(
        self, query: GalleryQuery, statistics: Statistics | None, bitmaps: Standing, *, totals: bool, view_ready: bool
    ) -> Choice:
        """Return what `planner.choose` says of a page, or `choose_with_total` with `totals`."""
        self._forget_unless(statistics, bitmaps)
        key, lesson = (query, totals, view_ready), self._feedback.recall(query, statistics)
        kept = self._kept.get(key)
        if kept is not None and kept[0] == lesson:
            self._kept.move_to_end(key)
            return kept[1]
        chooses = choose_with_total if totals else choose
        made = chooses(query, statistics, self._knobs, feedback=self._feedback, view_ready=view_ready, bitmaps=bitmaps)
        # The tree of the paper, which decides else, also goes by what all queries of late came to.
        if self._knobs.mode == "cost" and are_known(statistics):
            self._keep(key, lesson, made)
        return made

    def _forget_unless(self, statistics: Statistics | None, bitmaps: Standing) -> None:
        """Forget everything where these are not what was known: compared by identity, since both are large."""
        known = self._known
        if known[0] is not statistics or known[1] is not bitmaps:
            self._known = statistics, bitmaps
            self._kept.clear()

    def _keep(self, key: _Key, lesson: Lesson, made: Choice) -> None:
        self._kept[key] = lesson, made
        self._kept.move_to_end(key)
        if len(self._kept) > self._capacity:
            self._kept.popitem(last=False)
