"""What each strategy has to do for a query, in amounts of work that can be counted and timed.

A feature is such an amount; a strategy's cost is the sum of its features, each times a coefficient in
milliseconds (`planner.coefficients`). The fit of coefficients and the choice read the same features:

    statement    1 for every statement
    groups       groups of tags that the statement names, in each source: what planning it grows with
    shown        rows of the page, each with its tags and its creator's name
    skipped      rows before a numbered page
    sorted       matching rows of a sort that no index spares
    searched     items whose words are looked at
    walked       items taken in the order of an index, until the page is full
    scanned      items of a source that is read from end to end
    probes       single looks into an index, of an item's tag or of an item
    probed_tags  tags beyond the first in those looks
    postings     rows of the junction read along a tag
    joined       rows of further postings brought together with the first
    grouped      rows put into groups and counted
    fetched      items that carry the tags, looked up by id, one by one
    bitmaps      bitmaps, of one tag and one chunk each, that are brought together
    marked       items that changed since the bitmaps were sealed, each held against the filter
    handed_on    ids that the bitmaps leave for a search or another sort to be looked up
"""

from __future__ import annotations

import functools
from collections.abc import Callable, Mapping
from dataclasses import dataclass

from genonaut_lib.gallery.bitmaps.standing import UNKNOWN, Standing
from genonaut_lib.gallery.estimates import Portrait
from genonaut_lib.gallery.order import SortField
from genonaut_lib.gallery.query import GalleryQuery, Group

Features = Mapping[str, float]

INDEXED = (SortField.CREATED_AT, SortField.ID)
"""Fields an index gives the order of; by any other field everything is read and sorted."""

SEARCH_SHARE = 0.01
"""What part of the items a search is taken to match while nothing was seen of it: few, so that no walk is thought short
for want of knowledge."""

LOOKUP_ROWS = 10
"""A look into an index costs about as much as reading so many rows in its order; PostgreSQL turns there from looking
rows up to reading and hashing all of them."""

SCAN_SHARE = 0.2
"""From this part of a source on, reading all of it costs less than looking its items up one by one."""

GROUP_BYTES = 48
"""Memory of one group of a hash aggregate: an integer key and a counter, with their headers."""


@dataclass(frozen=True)
class Outlook:
    """A query and what is thought of it.

    `groups` are its groups in the order in which they are looked up, as in the portraits, whose `rows`
    have the search in them. `reach` is how many matching rows are needed before the page is full, its
    offset and the row that tells of a next page included; None for a count, which needs all. `totals`
    says that a page is to have its total, `bitmaps` how the tag bitmap index stands, and `rare_rows` how many
    rows the junction has of those named tags, wanted or not, that have no bitmaps.
    """

    query: GalleryQuery
    groups: tuple[Group, ...]
    portraits: tuple[Portrait, ...]
    reach: int | None
    bitmaps: Standing = UNKNOWN
    totals: bool = False
    rare_rows: float = 0.0

    @functools.cached_property
    def matching(self) -> float:
        """The items that match in all sources."""
        return sum(self.matching_in(one) for one in self.portraits)

    def matching_in(self, one: Portrait) -> float:
        """The items of one source that match."""
        return min(one.rows * one.share, one.items)

    @functools.cached_property
    def in_index_order(self) -> bool:
        """Whether a walk may stop early."""
        return self.reach is not None and self.query.sort.field in INDEXED

    def walked(self, one: Portrait) -> float:
        """Return how many items of a source are taken until it has given its part of the page.

        Of n items with m matching ones in random order, r (n + 1) / (m + 1) are taken until the r-th
        match (the mean of the negative hypergeometric distribution). Since m is an estimate and few
        matches make a long walk, the walk is averaged over the interval of m.
        """
        assert self.reach is not None
        present = one.items * one.share
        wanted = self._part_of_page(one)
        matches = (one.low, one.rows, one.rows, one.high)
        taken = (wanted * (present + 1) / (m * one.share + 1) for m in matches)
        return sum(min(present, items) for items in taken) / len(matches)

    def _part_of_page(self, one: Portrait) -> float:
        """Both sources are merged as they come: each gives its share of the page, and one row that waits."""
        assert self.reach is not None
        if len(self.portraits) == 1:
            return self.reach
        matching = self.matching
        return self.reach * (self.matching_in(one) / matching if matching else 0.0) + 1

    @functools.cached_property
    def shared(self) -> dict[str, float]:
        """Return what every strategy does."""
        named = {"statement": 1.0, "groups": float(len(self.groups) * len(self.portraits))}
        if self.reach is None:
            return {**named, "shown": 0.0, "skipped": 0.0}
        offset = (self.query.page - 1) * self.query.page_size
        skipped = min(float(offset), self.matching)
        return {**named, "shown": min(float(self.reach), self.matching) - skipped, "skipped": skipped}


def cost(features: Features, coefficients: Mapping[str, float]) -> float:
    """Return milliseconds; a feature without a coefficient costs nothing."""
    return sum(amount * coefficients.get(name, 0.0) for name, amount in features.items())


def time_walk(view: Outlook) -> Features:
    """Return the work of walking items and looking each one's tags up, the rarest group first."""
    walks, taken, left, probes, further = view.in_index_order, 0.0, 0.0, 0.0, 0.0
    for one in view.portraits:
        items = view.walked(one) if walks else one.items * one.share
        looks = _looks(one)
        taken += items
        left += items * _share(one, one.carrying)
        probes += items * sum(looks)
        further += items * sum(look * (len(group) - 1) for look, group in zip(looks, view.groups, strict=True))
    return {
        **view.shared,
        "walked": taken if walks else 0.0,
        "scanned": 0.0 if walks else float(sum(one.items for one in view.portraits)),
        "probes": probes + (left if view.query.exclude else 0.0),
        "probed_tags": further,
        "searched": left if view.query.search else 0.0,
        "sorted": 0.0 if walks or view.reach is None else view.matching,
    }


def self_join(view: Outlook) -> Features:
    """Return the work of reading or looking up one posting after the other, then fetching what is left."""
    return _with_items(view, _joined(view, len(view.groups)))


def group_having(view: Outlook) -> Features:
    """Return the work of reading all postings and counting how often each item comes up."""
    rows = sum(sum(one.sizes) for one in view.portraits)
    return _with_items(view, {"postings": rows, "grouped": rows})


def two_phase_single(view: Outlook) -> Features:
    """Return the work of looking up all tags of those who carry the rarest."""
    seed = seed_of(view)
    looked_up = seed if len(view.groups) > 1 else 0.0
    grouped = sum(one.sizes[0] * _carried(one, 1) for one in view.portraits)
    return _with_items(view, {"postings": seed, "probes": looked_up, "grouped": grouped})


def two_phase_dual(view: Outlook) -> Features:
    """Return the work of looking up all tags of those who carry the two rarest."""
    read = _joined(view, 2)
    looked_up = pair_of(view) if len(view.groups) > 2 else 0.0
    grouped = sum(_pair(one) * _carried(one, 2) for one in view.portraits)
    work = {**read, "probes": read["probes"] + looked_up, "grouped": read["grouped"] + grouped}
    return _with_items(view, work)


def materialized_view(view: Outlook) -> Features:
    """Return the work of the cheaper of two ways: along dates, looking at each row's tags, or by the index of tags."""
    postings = sum(sum(one.sizes) for one in view.portraits)
    by_tags = _with_items(view, {"postings": postings})
    # Each row that carries the tags is looked up once more, whether it is there and visible still.
    by_tags["probes"] += by_tags["fetched"]
    if view.reach is None or view.query.sort.field is not SortField.CREATED_AT:
        return {**by_tags, "walked": 0.0}
    walked = sum(view.walked(one) for one in view.portraits)
    if walked > by_tags["fetched"] + postings / LOOKUP_ROWS:
        return {**by_tags, "walked": 0.0}
    left = sum(view.walked(one) * _share(one, one.carrying) for one in view.portraits)
    return {
        **dict.fromkeys(by_tags, 0.0), **view.shared,
        "walked": walked, "probes": left * (2 if view.query.exclude else 1),
        "searched": left if view.query.search else 0.0,
    }  # fmt: skip


def seed_of(view: Outlook) -> float:
    """Return how many items carry the rarest group."""
    return sum(one.sizes[0] for one in view.portraits)


def pair_of(view: Outlook) -> float:
    """Return how many items carry both of the two rarest groups."""
    return sum(_pair(one) for one in view.portraits)


def grouping_megabytes(view: Outlook) -> float:
    """Return the memory for the groups of group_having: an item has one, however many postings it is in."""
    groups = max((min(sum(one.sizes), one.items) for one in view.portraits), default=0.0)
    return groups * GROUP_BYTES / 1e6


def _with_items(view: Outlook, read: Mapping[str, float]) -> dict[str, float]:
    """Add the work after the postings: items that carry the tags are fetched, searched, checked for exclusion, sorted.

    A page looks each of them up; a count leaves PostgreSQL the choice of reading all items instead.
    """
    fetched = scanned = 0.0
    for one in view.portraits:
        scans = view.reach is None and one.carrying > SCAN_SHARE * one.items
        fetched, scanned = (fetched, scanned + one.items) if scans else (fetched + one.carrying, scanned)
    carrying = sum(one.carrying for one in view.portraits)
    return {
        **view.shared,
        **read,
        "probes": read.get("probes", 0.0) + (carrying if view.query.exclude else 0.0),
        "fetched": fetched,
        "scanned": scanned,
        "searched": carrying if view.query.search else 0.0,
        "sorted": view.matching if view.reach is not None else 0.0,
    }


def _joined(view: Outlook, places: int) -> dict[str, float]:
    """Return the work of bringing the first postings together, each read or looked up, whichever is less.

    The postings of a family are read in full: its items are told apart before they are joined.
    """
    work = dict.fromkeys(("postings", "joined", "probes", "grouped"), 0.0)
    for one in view.portraits:
        for place, group in enumerate(view.groups[:places]):
            size, before = one.sizes[place], one.passing[place - 1] if place else 0.0
            is_family = len(group) > 1
            looked_up = place > 0 and not is_family and before * LOOKUP_ROWS < size
            work["probes" if looked_up else "joined" if place else "postings"] += before if looked_up else size
            work["grouped"] += size if is_family else 0.0
    return work


def _looks(one: Portrait) -> list[float]:
    """Return for each group how often it is looked up in an item: until the first that the item does not carry."""
    if not one.sizes:
        return []
    return [1.0, *(_share(one, passed) for passed in one.passing[:-1])]


def _pair(one: Portrait) -> float:
    return one.passing[min(1, len(one.passing) - 1)] if one.passing else 0.0


def _carried(one: Portrait, known: int) -> float:
    """Return how many rows an item has on average of the groups but the first `known`."""
    return sum(_share(one, size) for size in one.sizes[known:])


def _share(one: Portrait, items: float) -> float:
    return items / one.items if items < one.items else 1.0


Work = Callable[[Outlook], Features]
