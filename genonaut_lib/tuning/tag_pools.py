"""The tags of a gallery by how often they are used, and how often they meet."""

from __future__ import annotations

import enum
import functools
import itertools
import math
import operator
import random
import uuid
from collections import Counter
from collections.abc import Sequence

from genonaut_lib.gallery.query import TagMatch
from genonaut_lib.gallery.statistics import Statistics

CANDIDATES = 40
"""How many tags of a pool are compared with one another for one question: 780 pairs of bitsets, some milliseconds."""
FEW = 5
"""Among how many of the best pairs the dice choose, so that not every question is about the same two tags."""


class Cardinality(enum.StrEnum):
    """How often the tags of a question are used."""

    POPULAR = "popular"
    MIDDLING = "middling"
    RARE = "rare"
    MIXED = "mixed"


class Correlation(enum.StrEnum):
    """How often the tags of a question are on one item."""

    MEETING = "that meet often"
    INDEPENDENT = "picked at random"
    APART = "that hardly ever meet"


BOUNDS = {
    Cardinality.POPULAR: (0.1, 1.0),
    Cardinality.MIDDLING: (0.005, 0.1),
    Cardinality.RARE: (0.0, 0.005),
}
"""Above which share of all items, and up to which, a tag belongs to a class."""
CENTRES = {Cardinality.POPULAR: 1.0, Cardinality.MIDDLING: 0.02, Cardinality.RARE: 0.001}
LEAST = 24
"""A class with fewer tags is filled with those nearest to its centre, so that each has the twenty of one question."""


class TagPools:
    """The tags in use, most used first, and the pool of each class."""

    def __init__(self, statistics: Statistics) -> None:
        sources = statistics.sources.values()
        uses: Counter[uuid.UUID] = Counter()
        for source in sources:
            uses.update(source.cardinalities)
        self.items = sum(source.items for source in sources)
        self.shares = {tag: min(1.0, count / max(1, self.items)) for tag, count in uses.items() if count > 0}
        self.ranked = sorted(self.shares, key=lambda tag: (-self.shares[tag], tag))
        self._bits = _joined_samples(statistics)
        self._sampled = sum(source.sample.size for source in sources)
        classes = {name: self._pool(name) for name in BOUNDS}
        self._pools: dict[Cardinality, tuple[list[uuid.UUID], ...]] = {name: (pool,) for name, pool in classes.items()}
        self._pools[Cardinality.MIXED] = tuple(classes.values())

    def pick(
        self, count: int, cardinality: Cardinality, correlation: Correlation, dice: random.Random
    ) -> list[uuid.UUID]:
        """Return `count` different tags of a class, correlated as asked as far as the samples can tell.

        Two tags of a source that no sampled item carries look as if they never met.
        """
        pools = [dice.sample(pool, min(CANDIDATES, len(pool))) for pool in self._pools[cardinality]]
        chosen = list(self._first_two(pools, correlation, dice)) if count > 1 else [dice.choice(pools[0])]
        while len(chosen) < count:
            rest = [tag for tag in pools[len(chosen) % len(pools)] if tag not in chosen]
            rest = rest or [tag for tag in self.ranked if tag not in chosen]
            chosen.append(self._next(rest, chosen, correlation, dice))
        dice.shuffle(chosen)
        return chosen

    def matching(self, tags: Sequence[uuid.UUID], match: TagMatch) -> float:
        """Return about how many items carry any of the tags or all of them; all items where there is no tag."""
        if not tags or not self._sampled:
            return float(self.items)
        combine = operator.and_ if match is TagMatch.ALL else operator.or_
        bits = functools.reduce(combine, (self._of(tag) for tag in tags))
        return self.items * bits.bit_count() / self._sampled

    def likeness(self, one: uuid.UUID, other: uuid.UUID) -> float:
        """Return the share of sampled items with both tags among those with either (Jaccard), 0 to 1."""
        either = (self._of(one) | self._of(other)).bit_count()
        return (self._of(one) & self._of(other)).bit_count() / either if either else 0.0

    def _pool(self, cardinality: Cardinality) -> list[uuid.UUID]:
        low, high = BOUNDS[cardinality]
        inside = [tag for tag in self.ranked if low < self.shares[tag] <= high]
        if len(inside) >= LEAST:
            return inside
        centre = math.log(CENTRES[cardinality])
        return sorted(self.ranked, key=lambda tag: (abs(math.log(self.shares[tag]) - centre), tag))[:LEAST]

    def _first_two(
        self, pools: list[list[uuid.UUID]], correlation: Correlation, dice: random.Random
    ) -> tuple[uuid.UUID, uuid.UUID]:
        """Return the pair to begin with; of pairs that never meet, rather one of much used tags."""
        if len(pools) == 1:
            pairs = list(itertools.combinations(pools[0], 2))
        else:
            pairs = [pair for pair in itertools.product(*pools[:2]) if pair[0] != pair[1]]  # type: ignore[misc]
        if correlation is Correlation.INDEPENDENT:
            return dice.choice(pairs)
        sign = -1 if correlation is Correlation.MEETING else 1

        def order(pair: tuple[uuid.UUID, uuid.UUID]) -> tuple[float, float]:
            return sign * self.likeness(*pair), -min(self.shares[pair[0]], self.shares[pair[1]])

        return dice.choice(sorted(pairs, key=order)[:FEW])

    def _next(
        self, rest: list[uuid.UUID], chosen: list[uuid.UUID], correlation: Correlation, dice: random.Random
    ) -> uuid.UUID:
        """Return one more tag: the one most often with all that were chosen, or any where that is not asked."""
        if correlation is not Correlation.MEETING:
            return dice.choice(rest)
        together = functools.reduce(operator.and_, (self._of(tag) for tag in chosen))
        return max(rest, key=lambda tag: (together & self._of(tag)).bit_count())

    def _of(self, tag: uuid.UUID) -> int:
        return self._bits.get(tag, 0)


def _joined_samples(statistics: Statistics) -> dict[uuid.UUID, int]:
    """Return each tag's bits in the samples of all sources, one sample after the other."""
    bits: dict[uuid.UUID, int] = {}
    offset = 0
    for source in statistics.sources.values():
        for tag, carriers in source.sample.carriers.items():
            bits[tag] = bits.get(tag, 0) | carriers << offset
        offset += source.sample.size
    return bits
