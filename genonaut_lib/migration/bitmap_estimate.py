"""What a build of the tag bitmap index will cost, what it took in the end, and whether it agrees with the junction."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import datetime

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.gallery.bitmaps.layout import CHUNK
from genonaut_lib.migration.bitmap_epochs import FILE, MARKS, TABLES

SAMPLED = 1_000_000
"""Relationships that a sample should hold: a tag of 0.25 % of all items is then seen some dozens of times."""
BYTES_A_BITMAP = 2_048 + 24
"""A quarter of a page, and its place in the key's index."""
BYTES_AN_ITEM = 4 + 4.4 + 2.4
"""Its id by rank, its rank by id, its position among its creator's (measured on the dense shape)."""
S_AN_ITEM = 6e-6
S_A_RELATIONSHIP_COUNTED = 0.1e-6
S_A_RELATIONSHIP_READ = 0.25e-6
"""Seconds, measured on one core with the tables in memory; on a cold disk it is the disk that counts."""


@dataclass(frozen=True)
class BuildEstimate:
    """About what a build will do: tags and rows of `tag_bitmaps`, bytes of the whole index, seconds."""

    items: int
    relationships: int
    tags: int
    rows: int
    bytes: int
    seconds: float


@dataclass(frozen=True)
class Size:
    """Rows, as the last ANALYZE had it, and bytes of a table, its indexes included."""

    table: str
    rows: int
    bytes: int


@dataclass(frozen=True)
class TagComparison:
    """Items that carry a tag by the bitmaps and by the junction; `marked` items may have changed since."""

    tag: str
    sealed: int
    found: int
    marked: int

    @property
    def agrees(self) -> bool:
        """Whether no more differs than the marked items may account for."""
        return abs(self.sealed - self.found) <= self.marked


@dataclass(frozen=True)
class Standing:
    """The epoch that serves: items with a rank, chunks, tags with bitmaps, and marks that wait to be sealed."""

    epoch: int
    items: int
    chunks: int
    built_at: datetime
    tags: int
    marks: int


def items_about(connection: Connection) -> int:
    """Return about how many items there are."""
    return _about(connection)[0]


def estimate(connection: Connection, workers: int, least_share: float) -> BuildEstimate:
    """Return about what a build will do; reads a sample of the junction, and changes nothing."""
    items, relationships = _about(connection)
    tags = _tags_about(connection, items, relationships, least_share)
    chunks = math.ceil(items / CHUNK)
    rows = sum(min(count, chunks) for count in tags) + 3 * chunks
    read = sum(tags)
    seconds = items * S_AN_ITEM + relationships * S_A_RELATIONSHIP_COUNTED + read * S_A_RELATIONSHIP_READ / workers
    total = int(rows * BYTES_A_BITMAP + items * BYTES_AN_ITEM)
    return BuildEstimate(items, read, len(tags), rows, total, seconds)


def sizes(connection: Connection) -> tuple[Size, ...]:
    """Return the room that each table of the index takes."""
    rows = connection.execute(block(FILE, "sizes").sql(), {"tables": [*TABLES, *MARKS]}).fetchall()
    return tuple(Size(*row) for row in rows)


def compare(connection: Connection, tags: int, seed: int = 0) -> tuple[TagComparison, ...]:
    """Compare so many tags, drawn by `seed`, with the junction; empty where no index serves."""
    rows = connection.execute(block(FILE, "compare_tags").sql(), {"limit": tags, "seed": seed}).fetchall()
    return tuple(TagComparison(*row) for row in rows)


def cardinalities(connection: Connection) -> list[int]:
    """Return how many items each tag with bitmaps has, the most used first."""
    return [int(row[0]) for row in connection.execute(block(FILE, "cardinalities").sql())]


def standing(connection: Connection) -> Standing | None:
    """Return what serves, None without an index."""
    row = connection.execute(block(FILE, "standing").sql()).fetchone()
    return None if row is None else Standing(*row)


def _about(connection: Connection) -> tuple[int, int]:
    row = connection.execute(block(FILE, "content_estimate").sql()).fetchone()
    assert row is not None
    return int(row[0]), int(row[1])


def _tags_about(connection: Connection, items: int, relationships: int, least_share: float) -> list[int]:
    """Return about how many items carry each of the tags that will get bitmaps."""
    percent = min(100.0, 100 * SAMPLED / max(1, relationships))
    rows = connection.execute(block(FILE, "sample_tags").sql(), {"percent": percent}).fetchall()
    counts = (round(count * 100 / percent) for (count,) in rows)
    least = max(1, math.ceil(least_share * items))
    return [count for count in counts if count >= least]
