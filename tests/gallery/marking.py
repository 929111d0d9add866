"""A gallery whose index serves in name: nothing is sealed but places, so that all there is to test are marks."""

from __future__ import annotations

import asyncio
import contextlib
import uuid
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from psycopg import sql

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.pool import AsyncConnection, open_session
from genonaut_lib.gallery.bitmaps.layout import BLOCK, BLOCK_SHIFT
from genonaut_lib.gallery.bitmaps.marked import Marked, Marks
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.migration.phases.create_tag_bitmaps import arm
from genonaut_lib.settings import Settings
from genonaut_lib.vocabulary import ContentSource
from tests.gallery import oracle
from tests.gallery.built import Built
from tests.gallery.oracle import Oracle

MARKS_MAX = 500
EVERYTHING = GalleryQuery()
SNAPSHOT = "begin isolation level repeatable read, read only"

Item = tuple[str, int]


@dataclass
class Reader:
    """A session that reads in snapshots, with the memory of its process."""

    settings: Settings
    session: AsyncConnection
    runner: asyncio.Runner
    marks: Marks = field(default_factory=Marks)
    in_snapshot: bool = False

    def execute(self, statement: str) -> None:
        self.runner.run(self.session.execute(statement.encode()))

    def current(self, marks_max: int = MARKS_MAX) -> Marked:
        """Return what is marked in the open snapshot; its state is the one that was returned beside it."""
        state, view, _ = self.runner.run(self.marks.current(self.session, marks_max, ()))
        assert view.state == state
        return view

    @contextmanager
    def snapshot(self, begin: str = SNAPSHOT) -> Iterator[Marked]:
        """Open a transaction for a block, and yield what is marked in it."""
        self.execute(begin)
        try:
            yield self.current()
        finally:
            self.execute("rollback")

    def opened(self) -> Marked:
        """Open a transaction until `closed`, and return what is marked in it."""
        self.execute(SNAPSHOT)
        self.in_snapshot = True
        return self.current()

    def closed(self) -> None:
        self.execute("rollback")
        self.in_snapshot = False

    def view(self) -> Marked:
        """Return what is marked in a snapshot of this moment."""
        with self.snapshot() as view:
            return view

    def oracle(self, connection: Connection) -> tuple[Oracle, set[Item]]:
        """Return all rows and which items are marked in the open snapshot, as another session sees them."""
        cursor = self.runner.run(self.session.execute("select pg_export_snapshot()"))
        (name,) = self.runner.run(cursor.fetchone())
        connection.execute("begin isolation level repeatable read")
        try:
            connection.execute(f"set transaction snapshot '{name}'".encode())
            return oracle.read(connection), marked_items(connection)
        finally:
            connection.execute("rollback")


@contextmanager
def reader(built: Built, marks: Marks | None = None) -> Iterator[Reader]:
    """Open a reading session; those given the same `marks` are of one process."""
    stack = contextlib.AsyncExitStack()
    session = built.run(stack.enter_async_context(open_session(built.settings)))
    try:
        yield Reader(built.settings, session, built.runner, Marks() if marks is None else marks)
    finally:
        built.run(stack.aclose())


def put_into_service(built: Built) -> None:
    """Arm the triggers and have an empty index serve, in which every item of the moment has a place."""
    arm(built.connection, built.settings.database)
    give_places(built.connection)
    built.connection.execute("update workbench.bitmap_state set serving = 1, version = version + 1, built_at = now()")


def give_places(connection: Connection) -> None:
    """Seal all items in the order of their keys, their places at least; the version is the caller's business."""
    connection.execute("delete from workbench.bitmap_places")
    connection.execute(
        f"""
        insert into workbench.bitmap_places
        select 1, source_type, block, array_agg(rank order by slot) from (
            select b.source_type, b.block, slot, r.rank from (
                select distinct source_type, id >> {BLOCK_SHIFT} as block from content_items_all
            ) b cross join generate_series(0, {BLOCK - 1}) slot
            left join (
                select source_type, id, row_number() over (order by created_at, source_type, id)::int - 1 as rank
                from content_items_all
            ) r on r.source_type = b.source_type and r.id = b.block * {BLOCK} + slot
        ) p group by source_type, block
        """.encode()
    )


def seal(connection: Connection) -> None:
    """Take all visible marks away, as a sealing does: in one snapshot, with a new version and new places."""
    with connection.transaction():
        connection.execute("set transaction isolation level repeatable read")
        connection.execute("update workbench.bitmap_state set version = version + 1, sealed_at = now()")
        connection.execute("delete from workbench.bitmap_marks")
        give_places(connection)


def mark(connection: Connection, source: ContentSource, *ids: int) -> None:
    """Mark items by hand."""
    statement = (
        "insert into workbench.bitmap_marks (source_type, content_id, moved) select %s, unnest(%s::int[]), false"
    )
    connection.execute(statement, [source.partition, list(ids)])


def new_item(connection: Connection, source: ContentSource) -> int:
    """Insert an item like another one, dated now and without tags, and return its id."""
    statement = sql.SQL(
        "insert into {table} (title, content_type, content_data, creator_id, prompt, created_at, is_private) "
        "select title, content_type, content_data, creator_id, prompt, now(), false from {table} limit 1 returning id"
    )
    row = connection.execute(statement.format(table=sql.Identifier(source.table))).fetchone()
    assert row is not None
    return row[0]


def marked_items(connection: Connection) -> set[Item]:
    """Return which items are marked, by the junction's spelling of their source."""
    rows = connection.execute("select distinct source_type, content_id from workbench.bitmap_marks").fetchall()
    return {(ContentSource.from_partition(source).junction, content_id) for source, content_id in rows}


def numbers_of(connection: Connection) -> dict[uuid.UUID, int]:
    return dict(connection.execute("select id, tag_no from tags").fetchall())


def shown(view: Marked, query: GalleryQuery, numbers: Mapping[uuid.UUID, int]) -> dict[Item, object]:
    """Return what is known of each matching item."""
    found = view.matching(query, numbers)
    assert view.total(query, numbers) == len(found)
    return {(one.source.junction, one.id): (one.created_at, sorted(one.tag_nos)) for one in found}


def must_show(
    read: tuple[Oracle, set[Item]], query: GalleryQuery, numbers: Mapping[uuid.UUID, int]
) -> dict[Item, object]:
    """Return what `shown` must be: the marked ones of the rows that the query means, whatever it searches for."""
    rows = [row for row in read[0].rows if (row.source, row.id) in read[1]]
    wanted = [row for row in rows if oracle.wanted(row, replace(query, search=""))]
    return {(row.source, row.id): (row.created_at, sorted(numbers[tag] for tag in row.tags)) for row in wanted}
