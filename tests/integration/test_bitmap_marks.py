"""Every kind of write leaves exactly the marks it should: by table and statement, before and after the cut over."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

import pytest

from genonaut_lib.db.engine import Connection
from genonaut_lib.migration.phases import Context
from genonaut_lib.vocabulary import ContentSource, tag_id
from tests.integration import bitmap_gallery
from tests.integration.bitmap_gallery import COLUMNS, INSERT, OTHER, PARENT, Marks, marks
from tests.migration.test_phases import apply

KEPT, MOVED = False, True
ANIME, MANGA = tag_id("anime"), tag_id("manga")


@dataclass(frozen=True)
class Target:
    """A table that a statement names, and the source that is written through it."""

    table: str
    source: ContentSource

    def run(self, connection: Connection, statement: str) -> int:
        """Carry out a statement on items of the source and return how many rows it wrote."""
        where = statement.replace("{one}", "id = 1 and {mine}").replace("{mine}", "source_type = '{source}'")
        text = where.replace("{table}", self.table).replace("{source}", self.source.partition)
        return connection.execute(text.encode()).rowcount

    def marked(self, items: dict[int, bool]) -> Marks:
        """Return marks of items of this source."""
        return {(self.source.partition, item): moved for item, moved in items.items()}

    def __str__(self) -> str:
        return f"{self.source.partition} by {self.table}"


TARGETS = [Target(table, source) for source in ContentSource for table in (PARENT, source.table)]
UPSERT = f"{INSERT.replace('{rows}', 'unnest(array[1, 100])')} on conflict (id, source_type) do"
GRACE = "(select id from users where username = 'grace')"
WRITES: dict[str, tuple[str, int, dict[int, bool]]] = {
    "one insert": (INSERT.replace("{rows}", "generate_series(100, 100)"), 1, {100: KEPT}),
    "a bulk insert": (INSERT.replace("{rows}", "generate_series(100, 102)"), 3, {100: KEPT, 101: KEPT, 102: KEPT}),
    "an insert of nothing": (INSERT.replace("{rows}", "generate_series(1, 0)"), 0, {}),
    "created_at": ("update {table} set created_at = created_at + interval '1 us' where {one}", 1, {1: MOVED}),
    "the creator": (f"update {{table}} set creator_id = {GRACE} where {{one}}", 1, {1: KEPT}),
    "privacy": ("update {table} set is_private = true where {mine}", 3, {1: KEPT, 2: KEPT, 3: KEPT}),
    "privacy of some": ("update {table} set is_private = id = 2 where {mine}", 3, {2: KEPT}),
    "created_at and privacy": (
        "update {table} set is_private = true, created_at = now() where {one}", 1, {1: MOVED}),
    "the values there were": (
        "update {table} set created_at = created_at, creator_id = creator_id, is_private = is_private where {mine}",
        3, {}),
    "other columns": (
        "update {table} set title = 'new', quality_score = 1, updated_at = now(), tags = tags where {mine}", 3, {}),
    "an id": ("update {table} set id = 101 where {one}", 1, {1: MOVED, 101: MOVED}),
    "a delete": ("delete from {table} where {one}", 1, {1: MOVED}),
    "a delete of all": ("delete from {table} where {mine}", 3, {1: MOVED, 2: MOVED, 3: MOVED}),
    "an upsert": (f"{UPSERT} update set is_private = true", 2, {1: KEPT, 100: KEPT}),
    "an upsert that changes nothing": (f"{UPSERT} update set title = 'new'", 2, {100: KEPT}),
    "an upsert that keeps": (f"{UPSERT} nothing", 1, {100: KEPT}),
    "an array": (f"update {{table}} set tags = array['{ANIME}'::uuid] where {{one}}", 1, {1: KEPT}),
    "arrays emptied": ("update {table} set tags = '{}' where {mine} and id > 1", 2, {2: KEPT, 3: KEPT}),
}  # fmt: skip
"""A statement, the rows it writes, and the items it marks."""

LINKS: dict[str, tuple[str, int, Marks]] = {
    "one tag more": (f"insert into content_tags values (1, 'regular', '{OTHER}')", 1, {("items", 1): KEPT}),
    "a tag for both": (f"insert into content_tags select 2, s, '{OTHER}' from unnest(array['regular', 'auto']) s", 2,
                       {("items", 2): KEPT, ("auto", 2): KEPT}),
    "a tag that was there": (f"insert into content_tags values (1, 'auto', '{ANIME}') on conflict do nothing", 0, {}),
    "a tag less": (f"delete from content_tags where tag_id = '{ANIME}' and content_id = 3 and content_source = 'auto'",
                   1, {("auto", 3): KEPT}),
    "another tag": (f"update content_tags set tag_id = '{OTHER}' where tag_id = '{MANGA}' and content_id = 2", 2,
                    {("items", 2): KEPT, ("auto", 2): KEPT}),
    "another item": ((f"update content_tags set content_id = 77 where tag_id = '{MANGA}' and content_id = 2"
                     " and content_source = 'auto'"), 1, {("auto", 2): KEPT, ("auto", 77): KEPT}),
    "another source": ((f"update content_tags set content_source = 'auto', tag_id = '{OTHER}' where content_id = 1"
                       f" and content_source = 'regular' and tag_id = '{ANIME}'"), 1,
                       {("items", 1): KEPT, ("auto", 1): KEPT}),
    "a tag deleted": (f"delete from tags where id = '{MANGA}'", 1,
                      {(source.partition, item): KEPT for source in ContentSource for item in (1, 2, 3)}),
    "a tag renamed": (f"update tags set name = 'comic', label = 'Comic' where id = '{MANGA}'", 1, {}),
}  # fmt: skip


@pytest.fixture(scope="module")
def to_copy(admin_url: str) -> Iterator[str]:
    """The database that is copied."""
    with bitmap_gallery.model(admin_url) as name:
        yield name


@pytest.fixture
def armed(to_copy: str, admin_url: str) -> Iterator[Context]:
    """A migrated gallery, armed, with three items of each source and a third tag that nothing carries."""
    with bitmap_gallery.copy(admin_url, to_copy) as context:
        yield context


@pytest.mark.parametrize("target", TARGETS, ids=str)
@pytest.mark.parametrize("write", WRITES)
def test_a_write_of_content_marks_the_items_it_changes(write: str, target: Target, armed: Context) -> None:
    """No other item, and none whose place, owner, privacy and tags are what they were."""
    statement, rows, marked = WRITES[write]
    assert target.run(armed.connection, statement) == rows
    assert marks(armed.connection) == target.marked(marked)


@pytest.mark.parametrize("write", LINKS)
def test_a_write_of_tags_marks_the_items_that_carry_them(write: str, armed: Context) -> None:
    """Before and after, in the right source; by the cascade of a tag's deletion too."""
    statement, rows, marked = LINKS[write]
    assert armed.connection.execute(statement.encode()).rowcount == rows
    assert marks(armed.connection) == marked


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_a_copy_marks_what_it_brings(target: Target, armed: Context) -> None:
    """COPY fires the triggers of an insert."""
    columns = f"id, {COLUMNS}"
    row = armed.connection.execute(
        f"select 100, {columns.removeprefix('id, ')} from content_items_all where id = 1".encode()
    ).fetchone()
    assert row is not None
    with armed.connection.cursor() as cursor, cursor.copy(f"copy {target.table} ({columns}) from stdin".encode()) as to:
        to.write_row((100, target.source.partition, *row[2:]))
    assert marks(armed.connection) == target.marked({100: KEPT})


def test_an_item_that_changes_its_source_is_marked_in_both(armed: Context) -> None:
    """By the parent PostgreSQL moves the row: it leaves one identity and takes another."""
    statement = "update content_items_all set source_type = 'auto', id = 100 where id = 1 and source_type = 'items'"
    armed.connection.execute(statement)
    assert marks(armed.connection) == {("items", 1): MOVED, ("auto", 100): MOVED}


def test_a_merge_of_tags_marks_whatever_carried_the_one_that_goes(armed: Context) -> None:
    """Links are moved to the tag that stays, doubles go with the tag."""
    connection = armed.connection
    connection.execute("delete from content_tags where tag_id = %s and content_id = 3", [MANGA])
    marks(connection)
    with connection.transaction():
        connection.execute(
            "update content_tags t set tag_id = %s where tag_id = %s and not exists (select from content_tags o"
            " where (o.content_id, o.content_source, o.tag_id) = (t.content_id, t.content_source, %s))",
            [MANGA, ANIME, MANGA],
        )
        connection.execute("delete from tags where id = %s", [ANIME])
    assert marks(connection) == {(source.partition, item): KEPT for source in ContentSource for item in (1, 2, 3)}


def test_a_statement_marks_an_item_once(armed: Context) -> None:
    """However many of its tags one statement writes; the array's triggers write tag by tag."""
    connection = armed.connection
    connection.execute("delete from content_tags where content_id = 1 and content_source = 'auto'")
    count = connection.execute("select source_type, content_id, moved from workbench.bitmap_marks").fetchall()
    assert count == [("auto", 1, False)]


def test_a_write_that_is_rolled_back_leaves_no_mark(armed: Context) -> None:
    """Marks are written in the writer's own transaction, its savepoints included."""
    connection = armed.connection
    with connection.transaction():
        connection.execute("delete from content_items where id = 1")
        with connection.transaction(force_rollback=True):
            connection.execute("delete from content_items where id = 2")
    with connection.transaction(force_rollback=True):
        connection.execute("delete from content_items where id = 3")
    assert marks(connection) == {("items", 1): MOVED}


def test_a_mark_names_the_transaction_that_others_see(armed: Context) -> None:
    """Within a savepoint too it is the id that a snapshot knows, or a mark would never count as visible."""
    connection = armed.connection
    with connection.transaction(), connection.transaction():
        connection.execute("delete from content_items where id = 1")
        row = connection.execute("select pg_current_xact_id()::text").fetchone()
    named = connection.execute(
        "select distinct changed_by::text, pg_visible_in_snapshot(changed_by, pg_current_snapshot())"
        " from workbench.bitmap_marks"
    ).fetchall()
    assert row is not None
    assert named == [(row[0], True)]


@pytest.mark.parametrize("target", TARGETS, ids=str)
def test_after_the_cut_over_items_and_tags_mark_as_before(target: Target, armed: Context) -> None:
    """Insert, tag, retag, delete, as the application does from then on."""
    apply(armed, "cut_over")
    key = [100, target.source.junction]
    found = []
    for statement, values in (
        (INSERT.replace("{rows}", "generate_series(100, 100)"), None),
        ("insert into content_tags select %s, %s, unnest(%s::uuid[])", [*key, [ANIME, OTHER]]),
        ("delete from content_tags where content_id = %s and content_source = %s and tag_id = %s", [*key, ANIME]),
        ("delete from {table} where id = 100 and {mine}", None),
    ):
        if values is None:
            target.run(armed.connection, statement)
        else:
            armed.connection.execute(statement.encode(), values)
        found.append(marks(armed.connection))
    assert found == [target.marked({100: moved}) for moved in (KEPT, KEPT, KEPT, MOVED)]
