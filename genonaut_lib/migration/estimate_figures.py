"""What the estimates ask the database: sizes, averages, server settings, and how fast its backfills were."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import dataclass
from functools import cached_property

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.migration import estimate_model as model
from genonaut_lib.migration.estimate_model import PAGE, Column
from genonaut_lib.migration.plan import Plan
from genonaut_lib.migration.tables import ArraySample, RowCount, names_column, sample_of, scaled, size_of
from genonaut_lib.vocabulary import ContentSource

JUNCTION, PARENT = "content_tags", "content_items_all"
SOURCES = {source.table: source for source in ContentSource}
JUNCTION_INDEXES = ("content_tags_pkey", "idx_content_tags_tag_src_content")
"""What the junction will have, for who asks before it is there."""
NAMES_SAMPLED = 100
RATE_ROWS = 1_000
"""Rows a backfill must have read before its rate says something of this database."""
SECONDS_A_ROW: dict[str, Callable[[float], float]] = {
    "observe_spellings": lambda elements: model.OBSERVE_ROW_S + elements * model.OBSERVE_ELEMENT_S,
    "backfill_tag_uuids": lambda elements: model.FILL_ROW_S + elements * model.FILL_ELEMENT_S,
    "backfill_content_tags": lambda elements: elements * model.LINK_S,
    "load_content_tags": lambda elements: elements * model.LINK_S / 3,
}
"""Seconds a row of each backfill, by the length of its array."""


@dataclass(frozen=True)
class Server:
    """What decides how much a server writes: page images and their compression, sort memory, WAL it keeps."""

    page_images: bool
    images_compressed: bool
    sort_memory: int
    wal_kept: int


@dataclass
class Figures:
    """What the estimators of one plan ask the database, the dear things once."""

    connection: Connection
    plan: Plan

    @cached_property
    def server(self) -> Server:
        """The server's settings."""
        row = self.connection.execute(block("estimates", "server").sql()).fetchone()
        assert row is not None
        return Server(bool(row[0]), bool(row[1]), int(row[2]), int(row[3]))

    @cached_property
    def samples(self) -> dict[str, ArraySample]:
        """Averages of both content tables."""
        return {table: sample_of(self.connection, source) for table, source in SOURCES.items()}

    @cached_property
    def _rates(self) -> dict[str, tuple[int, float]]:
        rows = self.connection.execute(block("estimates", "rates").sql()).fetchall()
        return {str(task): (int(read), float(seconds)) for task, read, seconds in rows}

    def rows(self, table: str) -> RowCount:
        """Return the rows of a table; of the junction as many as it will have."""
        counts = [(scaled(sample), sample.elements) for sample in self._samples_of(table)]
        total = sum(count.rows * (elements if table == JUNCTION else 1) for count, elements in counts)
        return RowCount(round(total), all(count.exact for count, _ in counts))

    def pages(self, table: str) -> int:
        """Return the pages of a table; of the junction as many as it will have."""
        if table == JUNCTION:
            return model.heap_bytes(self.rows(table).rows, model.heap_row(model.JUNCTION_COLUMNS.values())) // PAGE
        parts = SOURCES if table == PARENT else (table,)
        return sum(size_of(self.connection, part).pages for part in parts)

    def _samples_of(self, table: str) -> list[ArraySample]:
        if table in (JUNCTION, PARENT):
            return list(self.samples.values())
        return [self.samples[table]] if table in SOURCES else []

    def kept_indexes(self, table: str) -> list[tuple[str, str, int]]:
        """Return (name, access method, bytes) of the indexes that are there while the plan's batches are written."""
        rows = self.connection.execute(block("estimates", "indexes").sql(), {"relation": table}).fetchall()
        there = [(str(name), str(method), int(size)) for name, method, size in rows]
        if table == JUNCTION and not self._exists(table):
            there = [(name, "btree", 0) for name in JUNCTION_INDEXES]
        return [index for index in there if not self._goes(index[0])]

    def _exists(self, table: str) -> bool:
        row = self.connection.execute(block("catalog", "has_relation").sql(), {"relation": table}).fetchone()
        return bool(row and row[0])

    def _goes(self, index: str) -> bool:
        named = (step.id.rsplit(":", 1)[-1] for step in self.plan.actions if step.id.startswith(("drop:", "build:")))
        return index in named

    def columns(self, table: str) -> dict[str, Column]:
        """Return the width and alignment of a table's columns, by name."""
        if table == JUNCTION:
            return model.JUNCTION_COLUMNS
        rows = self.connection.execute(block("estimates", "column_widths").sql(), {"relation": table}).fetchall()
        return {
            name: Column(width if width > 0 else average, model.ALIGNMENT[alignment] if width > 0 else 1)
            for name, width, alignment, average in rows
        }

    def images(self, pages: float) -> int:
        """Return the WAL bytes of page images of `pages` pages on this server."""
        server = self.server
        return model.images(pages, written=server.page_images, compressed=server.images_compressed)

    def compressed_share(self, source: ContentSource) -> float:
        """Return what compression will leave of the source's legacy names."""
        names = names_column(self.connection, source.table)
        if names is None:
            return 1.0
        statement = block("estimates", "names_of_some").sql(table=source.table, names=names)
        values = {"percent": self.samples[source.table].percent, "limit": NAMES_SAMPLED}
        rows = self.connection.execute(statement, values).fetchall()
        return model.compressed_share([str(text) for (text,) in rows])

    def items_left(self, task: str, source: ContentSource) -> RowCount:
        """Return the items a backfill has still to read: what its checkpoints leave, or all."""
        values = {"task": task, "source": source.junction}
        row = self.connection.execute(block("estimates", "rows_left").sql(), values).fetchone()
        assert row is not None
        return RowCount(int(row[1])) if row[0] else scaled(self.samples[source.table])

    def pace(self, task: str = "") -> float:
        """Return how many times slower than the measured machine this database is, by its own backfills."""
        return self._pace((task,)) or self._pace(SECONDS_A_ROW) or 1.0

    def _pace(self, tasks: Iterable[str]) -> float | None:
        known = {task: self._rates[task] for task in tasks if self._rates.get(task, (0, 0.0))[0] >= RATE_ROWS}
        mean = self.rows(JUNCTION).rows / max(self.rows(PARENT).rows, 1)
        modelled = sum(read * SECONDS_A_ROW[task](mean) for task, (read, _) in known.items())
        return sum(seconds for _, seconds in known.values()) / modelled if modelled else None
