"""How many rows a table has and how wide they are: counted where that is quick, sampled where it is not."""

from __future__ import annotations

from dataclasses import dataclass

from psycopg import sql

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.vocabulary import ContentSource

COUNTED_ROWS = 100_000
"""Below so many rows, by the last ANALYZE, a table is counted; counting as many takes milliseconds."""
COUNTED_PAGES = 32_768
"""... unless it has grown beyond 256 MB since that ANALYZE."""
SAMPLE_PAGES = 1_000
"""Pages read of a large table: 8 MB, some thousand rows, hence averages true to a few per cent."""


@dataclass(frozen=True)
class RowCount:
    """A number of rows; one that was not counted is shown with a tilde."""

    rows: int
    exact: bool = True

    @property
    def figure(self) -> int | str:
        """What a table of figures shows."""
        return self.rows if self.exact else f"~{self.rows:,}"


@dataclass(frozen=True)
class ArraySample:
    """Averages over some pages of a content table.

    `waiting` is the share of rows without tag ids. Widths are bytes of a whole row and of its legacy
    names (0 once they are gone); `elements` is the length of the array.
    """

    rows: int
    percent: float
    waiting: float
    row_width: float
    names_width: float
    elements: float


@dataclass(frozen=True)
class TableSize:
    """What the catalogue says of a table; a table that does not exist has no pages."""

    reltuples: float = 0.0
    pages: int = 0
    total_bytes: int = 0

    @property
    def small(self) -> bool:
        """Whether counting the table is quick."""
        return self.reltuples < COUNTED_ROWS and self.pages < COUNTED_PAGES

    @property
    def percent(self) -> float:
        """The share of pages to sample, in per cent."""
        return 100.0 if self.small else min(100.0, 100.0 * SAMPLE_PAGES / max(self.pages, 1))


def size_of(connection: Connection, table: str) -> TableSize:
    """Return what the catalogue says of `table`."""
    row = connection.execute(block("estimates", "table_size").sql(), {"relation": table}).fetchone()
    return TableSize(float(row[0]), int(row[1]), int(row[2])) if row else TableSize()


def rows_of(connection: Connection, source: ContentSource) -> RowCount:
    """Return the rows of a source's table: counted when it is small, else estimated from a sample.

    The sample knows dead rows from living ones, which `reltuples` during a backfill does not.
    """
    if size_of(connection, source.table).small:
        row = connection.execute(block("estimates", "count_rows").sql(table=source.table)).fetchone()
        assert row is not None
        return RowCount(int(row[0]))
    return scaled(sample_of(connection, source))


def scaled(sample: ArraySample) -> RowCount:
    """Return the rows of the table a sample was taken of."""
    return RowCount(round(sample.rows * 100 / sample.percent), exact=sample.percent >= 100)


def relationships_of(connection: Connection) -> RowCount:
    """Return how many array elements both tables hold, all of them or as many as samples let expect."""
    samples = [sample_of(connection, source) for source in ContentSource]
    total = sum(sample.elements * sample.rows * 100 / sample.percent for sample in samples)
    return RowCount(round(total), all(scaled(sample).exact for sample in samples))


def names_column(connection: Connection, table: str) -> str | None:
    """Return the column with the legacy names, None once they are gone."""
    if _type_of(connection, table, "tags_old"):
        return "tags_old"
    return "tags" if _type_of(connection, table, "tags") == "jsonb" else None


def sample_of(connection: Connection, source: ContentSource) -> ArraySample:
    """Return averages over the table's rows: over all of them when it is small, else over some pages."""
    percent = size_of(connection, source.table).percent
    names = names_column(connection, source.table)
    if names is None:
        statement = block("estimates", "sample_ids").sql(table=source.table, ids="tags")
    else:
        # Before the new column is there, every row waits for it.
        waiting = sql.SQL("tags is null" if names == "tags_old" else "true")
        statement = block("estimates", "sample_names").sql(table=source.table, names=names, waiting=waiting)
    row = connection.execute(statement, {"percent": percent}).fetchone()
    assert row is not None
    return ArraySample(int(row[0]), percent, int(row[1]) / max(int(row[0]), 1), *(float(value) for value in row[2:]))


def _type_of(connection: Connection, table: str, column: str) -> str | None:
    values = {"relation": table, "column": column}
    row = connection.execute(block("catalog", "column_type").sql(), values).fetchone()
    return str(row[0]) if row else None
