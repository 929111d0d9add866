"""A tag bitmap index without a gallery: bits drawn at random, as many as one likes, to see how cost grows.

Every item is regular, public with a chance of 97 in 100, and its id is its rank. There are no places, no
creators and no marks. The number of chunks that serve can be changed in a moment, so that one layer
stands for galleries of several sizes.
"""

from __future__ import annotations

import uuid
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from psycopg import sql

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.locks import run_ddl
from genonaut_lib.db.statements import block
from genonaut_lib.errors import InvalidInput
from genonaut_lib.gallery.bitmaps.layout import CHUNK, MEMBERS, PUBLIC_ITEMS, SOURCE_BITS, Bits, adapt, count
from genonaut_lib.settings import Settings
from genonaut_lib.tuning.race import Progress, Say
from genonaut_lib.vocabulary import ContentSource, tag_id

FIRST_AT = datetime(2020, 1, 1, tzinfo=UTC)
PUBLIC_SHARE = 0.97
POPULAR = (0.97, 0.80)
"""Shares of the popular tags, from the first to the last: as in the dense shape."""
FEWEST_TAGS = 6
BITMAP_COLUMNS = {"epoch": "int4", "tag_no": "int4", "chunk": "int4", "cardinality": "int4", "bits": "bit"}
CHUNK_COLUMNS = {
    "epoch": "int4", "chunk": "int4", "version": "int8", "first_at": "timestamptz", "first_source": "text",
    "first_id": "int4", "members": "bytea",
}  # fmt: skip


@dataclass(frozen=True)
class LayerTag:
    """A tag of the layer: its number, the share of items with it, and whether it is on those without `opposite`."""

    number: int
    share: float
    name: str
    opposite: int | None = None

    @property
    def id(self) -> uuid.UUID:
        """Its id, from its name as everywhere."""
        return tag_id(self.name)


def layer_tags(number: int) -> tuple[LayerTag, ...]:
    """Return that many tags: two halves that never meet, an uncommon one, a rare one, and popular ones.

    Raises InvalidInput for fewer than six.
    """
    if number < FEWEST_TAGS:
        raise InvalidInput(f"The simulated layer needs {FEWEST_TAGS} tags or more, and {number} were asked for.")
    first, last = POPULAR
    shares = np.linspace(first, last, number - 4)
    return (
        LayerTag(1, 0.5, "half::left"),
        LayerTag(2, 0.5, "half::right", opposite=1),
        LayerTag(3, 0.05, "uncommon"),
        LayerTag(4, 0.0025, "rare"),
        *(LayerTag(5 + no, float(share), f"popular::{no}") for no, share in enumerate(shares)),
    )


@dataclass(frozen=True)
class Layer:
    """A simulated index on a session: `chunks` of random bits, drawn from `seed`."""

    connection: Connection
    settings: Settings
    chunks: int
    seed: int

    def make(self, say: Say) -> None:
        """Write members and what is no tag's."""
        adapt(self.connection.adapters)
        self._copy("workbench.bitmap_chunks", CHUNK_COLUMNS, self._members())
        everything = LayerTag(SOURCE_BITS[ContentSource.REGULAR], 1.0, "")
        self._write([everything, LayerTag(PUBLIC_ITEMS, PUBLIC_SHARE, "")], say)

    def add(self, tags: Sequence[LayerTag], say: Say) -> None:
        """Write further tags and their bitmaps."""
        names = [tag.name for tag in tags]
        numbers = [tag.number for tag in tags]
        values: dict[str, Any] = {"ids": [tag.id for tag in tags], "numbers": numbers, "labels": names}
        self.connection.execute(block("bitmap_bench", "make_tags").sql(), values)
        self.connection.execute(block("bitmap_bench", "list_tags").sql(), values)
        self._write(tags, say)
        statement = block("bitmap_bench", "settle_bitmaps").sql()
        run_ddl(self.connection, statement, self.settings.database, transactional=False)

    def serve(self, chunks: int) -> None:
        """Let the first `chunks` be the whole index from now on."""
        values = {
            "chunk_count": chunks,
            "ranks": chunks * CHUNK,
            "end_at": _at(chunks * CHUNK - 1),
            "source": ContentSource.REGULAR.partition,
        }
        self.connection.execute(block("bitmap_bench", "serve").sql(), values)

    def _members(self) -> Iterator[tuple[Any, ...]]:
        for chunk in range(self.chunks):
            first = chunk * CHUNK
            members = np.arange(first, first + CHUNK).astype(MEMBERS).tobytes()
            yield 1, chunk, 1, _at(first), ContentSource.REGULAR.partition, first, members

    def _write(self, tags: Sequence[LayerTag], say: Say) -> None:
        progress = Progress(len(tags), "simulated bitmaps", say)
        for tag in tags:
            self._copy("workbench.tag_bitmaps", BITMAP_COLUMNS, self._bitmaps(tag))
            progress.step()

    def _bitmaps(self, tag: LayerTag) -> Iterator[tuple[Any, ...]]:
        """Yield the rows of one tag; an opposite is drawn from the numbers of the tag that it never meets."""
        drawn = tag.number if tag.opposite is None else tag.opposite
        dice = np.random.default_rng([self.seed, drawn & 0xFFFF])
        for chunk in range(self.chunks):
            marks = dice.random(CHUNK, dtype=np.float32) < tag.share
            bits = np.packbits(marks if tag.opposite is None else ~marks)
            if cardinality := count(bits.view(np.uint64)):
                yield 1, tag.number, chunk, cardinality, Bits(bits.tobytes())

    def _copy(self, table: str, columns: Mapping[str, str], rows: Iterator[tuple[Any, ...]]) -> None:
        names = sql.SQL(", ").join(map(sql.Identifier, columns))
        statement = block("copy", "binary_into").sql(table=table, columns=names)
        with self.connection.cursor() as cursor, cursor.copy(statement) as copy:
            copy.set_types(list(columns.values()))
            for row in rows:
                copy.write_row(row)


def _at(rank: int) -> datetime:
    return FIRST_AT + timedelta(seconds=rank)
