"""What a verification compares, as values: two sides of the same rows, chunk by chunk over all ids."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from decimal import Decimal

from genonaut_lib.db.statements import Block
from genonaut_lib.vocabulary import ContentSource

FLOOR, CEILING = -(2**31) - 1, 2**31 - 1
"""Chunks reach from below the least `integer` to the greatest: orphans lie in one of them, wherever they are."""


@dataclass(frozen=True)
class Comparison:
    """Two representations of the same pairs, and the backfills that make one from the other.

    `sums` and `sums_once` take %(after)s, %(upto)s and %(source)s and return (rows, pairs, pairs, hash,
    hash) of both sides in one snapshot; `sums_once` may be dearer and leaves out doubles that are no
    fault. `keys` returns (item, value, problem) for each difference, at most %(limit)s.
    """

    phase: str
    tasks: tuple[str, ...]
    sums: Block
    sums_once: Block
    keys: Block


@dataclass(frozen=True)
class Chunk:
    """The ids of one source above `after` up to `upto`."""

    source: ContentSource
    after: int
    upto: int

    @property
    def width(self) -> int:
        """How many ids it spans, used or not."""
        return self.upto - self.after

    def halves(self) -> tuple[Chunk, Chunk]:
        """Return its two halves; it must span two ids or more."""
        middle = (self.after + self.upto) // 2
        return Chunk(self.source, self.after, middle), Chunk(self.source, middle, self.upto)


@dataclass(frozen=True)
class Sums:
    """Count and sum of hashes of both sides of a chunk."""

    rows: int
    left_pairs: int
    right_pairs: int
    left_hash: Decimal
    right_hash: Decimal

    @property
    def agree(self) -> bool:
        """Whether both sides hold the same pairs."""
        return (self.left_pairs, self.left_hash) == (self.right_pairs, self.right_hash)


@dataclass(frozen=True, order=True)
class Mismatch:
    """One difference by its key: the item, the tag or element, and what is wrong with it."""

    source: str
    item: int
    value: str
    problem: str

    def __str__(self) -> str:
        return " ".join(str(part) for part in (self.source, self.item, self.value, self.problem) if part != "")


@dataclass(frozen=True)
class Reading:
    """What the comparison of one chunk found; `pairs` are those of the right side, `seconds` the time of the sums."""

    chunk: Chunk
    rows: int
    pairs: int
    mismatches: tuple[Mismatch, ...]
    seconds: float


def gaps(done: Iterable[Chunk], source: ContentSource) -> list[Chunk]:
    """Return what the chunks of a source leave open between FLOOR and CEILING, in order."""
    left, cursor = [], FLOOR
    for chunk in sorted((one for one in done if one.source is source), key=lambda one: one.after):
        if chunk.after > cursor:
            left.append(Chunk(source, cursor, chunk.after))
        cursor = max(cursor, chunk.upto)
    return [*left, Chunk(source, cursor, CEILING)] if cursor < CEILING else left


def left_open(readings: Iterable[Reading]) -> list[Chunk]:
    """Return what is left to compare of both sources."""
    done = [reading.chunk for reading in readings]
    return [gap for source in ContentSource for gap in gaps(done, source)]
