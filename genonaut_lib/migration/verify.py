"""Chunked comparison of two representations of the same rows, naming what differs by key."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import Any

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import Block, block
from genonaut_lib.vocabulary import ContentSource

CHUNK_ROWS = 20_000
SAMPLES = 20


@dataclass
class Comparison:
    """What a comparison saw so far: rows examined, rows that differ, and the first of them."""

    examined: int = 0
    mismatches: int = 0
    samples: list[str] = field(default_factory=list)

    def add(self, source: ContentSource, rows: list[tuple[Any, ...]]) -> None:
        """Count the differing rows of one chunk and keep the first few as text."""
        self.mismatches += len(rows)
        room = SAMPLES - len(self.samples)
        self.samples += [f"{source.junction} {' '.join(str(value) for value in row)}" for row in rows[:room]]


def chunks(connection: Connection, source: ContentSource, rows: int = CHUNK_ROWS) -> Iterator[tuple[int, int, int]]:
    """Yield (after, upto, rows in it) over all ids of a source, in id order."""
    row = connection.execute(block("catalog", "id_bounds").sql(table=source.table)).fetchone()
    assert row is not None
    after = int(row[0])
    while True:
        statement = block("verify", "chunk").sql(table=source.table)
        row = connection.execute(statement, {"after": after, "rows": rows}).fetchone()
        if row is None or row[0] is None:
            return
        yield after, int(row[0]), int(row[1])
        after = int(row[0])


def compare(connection: Connection, mismatches: Block, report: Callable[[int], None] = lambda rows: None) -> Comparison:
    """Run the block `mismatches` over every chunk of both sources.

    The block takes %(after)s, %(upto)s, %(source)s and %(limit)s and returns one row a difference.
    Each chunk is read in one statement, hence one snapshot.
    """
    comparison = Comparison()
    for source in ContentSource:
        statement = mismatches.sql(table=source.table)
        for after, upto, rows in chunks(connection, source):
            values = {"after": after, "upto": upto, "source": source.junction, "limit": 10_000}
            comparison.add(source, connection.execute(statement, values).fetchall())
            comparison.examined += rows
            report(rows)
    return comparison
