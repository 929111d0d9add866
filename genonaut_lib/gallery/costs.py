"""What each strategy has to do for a query, in amounts of work that can be counted and timed.

A feature is such an amount; a strategy's cost is the sum of its features, each times a coefficient in
milliseconds (`planner.coefficients`). The fit of coefficients and the choice read the same features:

    statement    1 for every statement
    handed       rows each source hands to the merge, the skipped ones of a numbered page included
    sorted       matching rows of a sort that no index spares
    searched     items whose words are looked at
    walked       items taken in the order of an index, until the page is full
    scanned      items of a source that is read from end to end
    probes       single looks into an index, of an item's tag or of an item
    probed_tags  tags beyond the first in those looks
    postings     rows of the junction read along a tag
    joined       rows of further postings brought together with the first
    grouped      rows put into groups and counted
    fetched      matching items looked up by id, one by one
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

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


@dataclass(frozen=True, slots=True)
class Outlook:
    """A query and what is thought of it.

    `groups` are its groups in the order in which they are looked up, as in the portraits, whose `rows`
    have the search in them. `reach` is how many matching rows are needed before the page is full, its
    offset and the row that tells of a next page included; None for a count, which needs all.
    """

    query: GalleryQuery
    groups: tuple[Group, ...]
    portraits: tuple[Portrait, ...]
    reach: int | None

    @property
    def matching(self) -> float:
        """The items that match in all sources."""
        return sum(self.matching_in(one) for one in self.portraits)

    def matching_in(self, one: Portrait) -> float:
        """The items of one source that match."""
        return min(one.rows * one.share, one.items)

    @property
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

    def shared(self) -> dict[str, float]:
        """Return what every strategy does."""
        reach = 0 if self.reach is None else self.reach
        return {"statement": 1.0, "handed": sum(min(float(reach), self.matching_in(one)) for one in self.portraits)}


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
        left += items * min(1.0, one.carrying / one.items) if one.items else 0.0
        probes += items * sum(looks)
        further += items * sum(look * (len(group) - 1) for look, group in zip(looks, view.groups, strict=True))
    return {
        **view.shared(),
        "walked": taken if walks else 0.0,
        "scanned": 0.0 if walks else float(sum(one.items for one in view.portraits)),
        "probes": probes + (left if view.query.exclude else 0.0),
        "probed_tags": further,
        "searched": left if view.query.search else 0.0,
        "sorted": 0.0 if walks or view.reach is None else view.matching,
    }


def self_join(view: Outlook) -> Features:
    """Return the work of reading or looking up one posting after the other, then fetching what is left."""
    return _with_items(view, _joined(view, len(view.groups)), may_scan=True)


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
    grouped = sum(_pair(one) * _carried(one, 2) for one in view.portraits)
    return _with_items(view, {**read, "probes": read["probes"] + pair_of(view), "grouped": grouped})


def materialized_view(view: Outlook) -> Features:
    """Return the work of the cheaper of two ways: along dates, looking at each row's tags, or by the index of tags."""
    postings = sum(sum(one.sizes) for one in view.portraits)
    by_tags = _with_items(view, {"postings": postings})
    if view.reach is None or view.query.sort.field is not SortField.CREATED_AT:
        return by_tags
    walked = sum(view.walked(one) for one in view.portraits)
    if walked > by_tags["fetched"] + postings / LOOKUP_ROWS:
        return by_tags
    return {**view.shared(), "walked": walked, "searched": walked if view.query.search else 0.0}


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


def _with_items(view: Outlook, read: Mapping[str, float], *, may_scan: bool = False) -> dict[str, float]:
    """Add the work after the postings: matching items are fetched, searched, checked for exclusion and sorted."""
    fetched = scanned = 0.0
    for one in view.portraits:
        scans = may_scan and one.carrying > SCAN_SHARE * one.items
        fetched, scanned = (fetched, scanned + one.items) if scans else (fetched + one.carrying, scanned)
    carrying = sum(one.carrying for one in view.portraits)
    probes = read.get("probes", 0.0) + (carrying if view.query.exclude else 0.0)
    found = {"probes": probes, "fetched": fetched, "searched": carrying if view.query.search else 0.0}
    scans_too = {"scanned": scanned} if may_scan else {}
    return {**view.shared(), **read, **found, **scans_too, "sorted": view.matching if view.reach is not None else 0.0}


def _joined(view: Outlook, places: int) -> dict[str, float]:
    """Return the work of bringing the first postings together, each read or looked up, whichever is less."""
    postings = joined = probes = 0.0
    for one in view.portraits:
        postings += one.sizes[0]
        for size, before in zip(one.sizes[1:places], one.passing, strict=False):
            looked_up = before * LOOKUP_ROWS < size
            joined, probes = (joined, probes + before) if looked_up else (joined + size, probes)
    return {"postings": postings, "joined": joined, "probes": probes}


def _looks(one: Portrait) -> list[float]:
    """Return for each group how often it is looked up in an item: until the first that the item does not carry."""
    if not one.sizes:
        return []
    return [1.0, *(min(1.0, passed / max(one.items, 1)) for passed in one.passing[:-1])]


def _pair(one: Portrait) -> float:
    return one.passing[min(1, len(one.passing) - 1)] if one.passing else 0.0


def _carried(one: Portrait, known: int) -> float:
    """Return how many groups an item carries on average of which `known` are known to be carried."""
    further: Sequence[float] = one.sizes[known:]
    return known + sum(min(1.0, size / one.items) for size in further) if one.items else 0.0


Work = Callable[[Outlook], Features]
