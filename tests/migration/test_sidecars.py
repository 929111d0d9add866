"""The sidecars: a row for an item, gone with the item; the tables gone with an undo only while they are empty."""

from __future__ import annotations

import threading
from collections.abc import Callable

import pytest
from psycopg.errors import CheckViolation, ForeignKeyViolation

from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import CannotUndo, CheckFailed
from genonaut_lib.migration import revisions
from genonaut_lib.migration.phases import PHASES, Context
from genonaut_lib.migration.runner import undo_phase
from genonaut_lib.vocabulary import ContentSource
from tests.factories import Gallery
from tests.migration.test_phases import apply, apply_before

SIDECARS = PHASES["create_sidecars"]
TABLES = ("content_items_more", "content_items_auto_more")
MORE = 'insert into {} (source_id, metadata_more) values (%s, \'{{"camera": "brownie"}}\')'


def add(connection: Connection, table: str, item: int) -> None:
    connection.execute(MORE.format(table).encode(), [item])


@pytest.fixture
def items(gallery: Gallery, context: Context) -> dict[ContentSource, int]:
    """One item of each source, both with the same id, in a gallery that has its sidecars."""
    made = {source: gallery.legacy_item(["anime"], source) for source in ContentSource}
    apply_before(context, "create_tag_bitmaps")
    assert len(set(made.values())) == 1
    return made


@pytest.mark.parametrize("source", list(ContentSource))
def test_a_sidecar_row_goes_with_its_item_alone(
    source: ContentSource, items: dict[ContentSource, int], connection: Connection
) -> None:
    """Deleting through the parent deletes the row; the other source's item of the same id keeps its own."""
    for one, item in items.items():
        add(connection, f"{one.table}_more", item)
    connection.execute("delete from content_items_all where source_type = %s", [source.partition])
    rows = connection.execute(
        "select source_table from content_items_more union all select source_table from content_items_auto_more"
    ).fetchall()
    assert rows == [(other.table,) for other in ContentSource if other is not source]


def test_a_sidecar_row_without_an_item_is_refused(items: dict[ContentSource, int], connection: Connection) -> None:
    """The foreign key points at the partition, attached or not."""
    for table in TABLES:
        with pytest.raises(ForeignKeyViolation):
            add(connection, table, 4711)


def test_a_sidecar_row_names_no_other_table(items: dict[ContentSource, int], connection: Connection) -> None:
    """`source_table` says which table the id is of, and nothing else."""
    item = items[ContentSource.REGULAR]
    with pytest.raises(CheckViolation):
        connection.execute(
            "insert into content_items_more (source_table, source_id) values ('content_items_auto', %s)", [item]
        )


@pytest.mark.parametrize("table", TABLES)
def test_a_sidecar_with_a_row_is_not_dropped(
    table: str, items: dict[ContentSource, int], context: Context, connection: Connection
) -> None:
    """Neither by undo nor by plain alembic; the other, empty one stays as well."""
    add(connection, table, 1)
    with pytest.raises(CannotUndo, match=f"{table} holds rows"):
        undo_phase(SIDECARS, context)
    with pytest.raises(CannotUndo, match=f"{table} holds rows"):
        revisions.downgrade(context.settings, revisions.ATTACH_PARTITIONS)
    assert connection.execute(f"select metadata_more from {table}".encode()).fetchall() == [({"camera": "brownie"},)]
    assert revisions.current(connection) == SIDECARS.revision  # type: ignore[attr-defined]
    assert SIDECARS.verify(context).passed


def test_a_row_written_while_the_drop_waits_is_not_dropped(
    items: dict[ContentSource, int], context: Context, connection: Connection, second_session: Callable[[], Connection]
) -> None:
    """Undo saw an empty table, the writer was first at the lock: the drop looks again and refuses."""
    writer, refusals = second_session(), []

    def undo() -> None:
        try:
            SIDECARS.undo(context)
        except CannotUndo as refusal:
            refusals.append(str(refusal))

    with writer.transaction():
        add(writer, "content_items_more", items[ContentSource.REGULAR])
        undoing = threading.Thread(target=undo)
        undoing.start()
        waiting = (
            "select count(*) from pg_locks join pg_stat_activity using (pid)"
            " where not granted and relation = 'content_items_more'::regclass and datname = current_database()"
        )
        while writer.execute(waiting).fetchone() == (0,):
            assert undoing.is_alive()
    undoing.join()
    assert "content_items_more holds rows" in refusals[0]
    assert connection.execute("select count(*) from content_items_more").fetchone() == (1,)


def test_a_table_of_somebody_else_is_neither_taken_nor_dropped(
    gallery: Gallery, context: Context, connection: Connection
) -> None:
    """A name that is taken is refused before anything is done, and undo has nothing to take back."""
    apply_before(context, SIDECARS.name)
    connection.execute("create table content_items_auto_more (theirs text)")
    with pytest.raises(CheckFailed, match="name content_items_auto_more"):
        apply(context, SIDECARS.name)
    with pytest.raises(CannotUndo, match="not applied"):
        undo_phase(SIDECARS, context)
    assert connection.execute("select theirs from content_items_auto_more").fetchall() == []
