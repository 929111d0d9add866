"""Taking databases into the workbench: empty ones, galleries of one's own, and everything that is neither."""

from __future__ import annotations

import contextlib
from collections.abc import Callable

import psycopg
import pytest

from genonaut_lib.db import guard
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block, blocks
from genonaut_lib.errors import GenonautError, NotAGallery
from genonaut_lib.gallery.page import Page
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.migration import adoption, revisions
from genonaut_lib.migration.phases import PHASES, Context
from genonaut_lib.migration.runner import apply_plan
from genonaut_lib.settings import Settings
from genonaut_lib.tuning.reader import Reader
from genonaut_lib.vocabulary import ContentSource
from tests.factories import Gallery
from tests.integration.conftest import Ended
from tests.migration.test_phases import apply, base_tables, fill

CONTENT = [source.table for source in ContentSource]


@pytest.fixture
def own(connection: Connection) -> Gallery:
    """A gallery made by somebody else's migrations, with content and without a ledger."""
    for found in blocks("legacy").values():
        connection.execute(found.sql())
    gallery = Gallery(connection)
    fill(gallery)
    return gallery


def alter(connection: Connection, change: str) -> None:
    for table in CONTENT:
        connection.execute(f"alter table {table} {change}")  # type: ignore[arg-type]


def migrate(context: Context) -> None:
    for name in PHASES:
        apply(context, name)


def first_page(context: Context) -> Page:
    with Reader(context.connection) as reader:
        return reader.page(GalleryQuery())


def test_a_gallery_of_ones_own_is_adopted_without_touching_its_tables(
    own: Gallery, connection: Connection, settings: Settings
) -> None:
    """Rows, columns, indexes and triggers are what they were; only the schema `workbench` is new."""
    before = base_tables(connection)
    assert adoption.adopt(connection, settings)
    assert base_tables(connection) == before
    assert (guard.marked_environment(connection), revisions.current(connection)) == ("test", revisions.LEDGER)


def test_an_adopted_gallery_can_be_migrated_whole(own: Gallery, context: Context) -> None:
    """What was adopted is what the phases expect."""
    adoption.adopt(context.connection, context.settings)
    migrate(context)
    assert len(first_page(context).rows) == 14


def test_adopting_twice_is_a_no_op(own: Gallery, connection: Connection, settings: Settings) -> None:
    """The second time says that there was nothing to do, and when the first was stays written down."""
    adoption.adopt(connection, settings)
    before = connection.execute("select * from workbench.identity").fetchall()
    assert not adoption.adopt(connection, settings)
    assert connection.execute("select * from workbench.identity").fetchall() == before


def test_the_command_says_what_it_did(own: Gallery, command: Callable[..., Ended]) -> None:
    """`genonaut adopt` leaves with 0 both times."""
    first, second = command("adopt", "--env", "test"), command("adopt", "--env", "test")
    assert (first.code, "marked 'test'" in first.said) == (0, True)
    assert (second.code, "adopted before" in second.said) == (0, True)


def test_an_empty_database_gets_the_legacy_schema(connection: Connection, settings: Settings) -> None:
    """There is a gallery afterwards, as if somebody had made it."""
    assert adoption.adopt(connection, settings)
    tables = connection.execute(block("catalog", "user_tables").sql()).fetchall()
    assert tables == [("public.content_items",), ("public.content_items_auto",), ("public.users",)]


def test_a_gallery_with_an_alembic_version_of_its_own_keeps_it(
    own: Gallery, connection: Connection, settings: Settings
) -> None:
    """The workbench writes its revision elsewhere."""
    connection.execute("create table alembic_version as select 'abc' as version_num")
    adoption.adopt(connection, settings)
    assert connection.execute("select * from public.alembic_version").fetchall() == [("abc",)]


@pytest.mark.parametrize(
    ("change", "finding"),
    [
        ("drop column tags", "lacks tags"),
        ("drop column is_private, drop column created_at", "lacks created_at, is_private"),
        ("alter column tags drop default, alter column tags type text[] using '{}'::text[]", r"has tags text\[\]"),
        ("alter column id type text using id::text", "id text"),
    ],
)
def test_content_tables_of_another_shape_are_refused(
    change: str, finding: str, own: Gallery, connection: Connection, settings: Settings
) -> None:
    """The refusal says what is different, and leaves no mark."""
    if "id type" in change:
        alter(connection, "alter column id drop default")
    alter(connection, change)
    with pytest.raises(NotAGallery, match=finding):
        adoption.adopt(connection, settings)
    assert connection.execute("select to_regnamespace('workbench')").fetchone() == (None,)


@pytest.mark.parametrize("column", ["path_thumb", "updated_at"])
def test_a_gallery_that_a_page_could_not_read_is_refused(
    column: str, own: Gallery, connection: Connection, settings: Settings
) -> None:
    """A column that every page selects is looked for before the migration, not missed after it."""
    alter(connection, f"drop column {column}")
    with pytest.raises(NotAGallery, match=column):
        adoption.adopt(connection, settings)


def test_a_table_called_tags_of_ones_own_is_not_taken_for_ours(
    own: Gallery, connection: Connection, settings: Settings
) -> None:
    """A gallery that has a table where the migration would create one is refused, with its name."""
    connection.execute("create table tags (id uuid primary key, name text)")
    with pytest.raises(NotAGallery, match="tags"):
        adoption.adopt(connection, settings)


def test_undo_never_drops_a_table_that_the_workbench_did_not_make(own: Gallery, context: Context) -> None:
    """Whatever seeding made of a foreign table `tags`, its rows are there afterwards."""
    connection = context.connection
    connection.execute("create table tags (id uuid primary key, name text)")
    connection.execute("insert into tags values (gen_random_uuid(), 'theirs')")
    seed = PHASES["seed_tags"]
    with contextlib.suppress(GenonautError, psycopg.Error):
        adoption.adopt(connection, context.settings)
        apply_plan(seed, context, seed.plan(context))
    with contextlib.suppress(GenonautError):
        seed.undo(context)
    assert connection.execute("select name from tags").fetchall() == [("theirs",)]


def test_big_ids_are_refused_or_migrated(own: Gallery, context: Context) -> None:
    """A bigint id beyond four bytes either keeps the gallery out or goes through every phase."""
    alter(context.connection, "alter column id type bigint")
    own.legacy_item(["anime"], id=3_000_000_000)
    try:
        adoption.adopt(context.connection, context.settings)
    except NotAGallery:
        return
    migrate(context)
    assert first_page(context).keys[0] == "regular/3000000000"


def test_ids_below_one_are_refused_or_migrated(own: Gallery, context: Context) -> None:
    """An item with id 0 either keeps the gallery out or goes through every phase."""
    own.legacy_item(["anime"], id=0)
    try:
        adoption.adopt(context.connection, context.settings)
    except NotAGallery:
        return
    migrate(context)
    assert len(first_page(context).rows) == 15


def _killed_after(statements: int) -> Callable[..., object]:
    """Return a run_ddl that stops for good after some statements."""
    left = iter(range(statements))
    real = revisions.run_ddl

    def run(*arguments: object, **options: object) -> object:
        if next(left, None) is None:
            raise KeyboardInterrupt
        return real(*arguments, **options)  # type: ignore[arg-type]

    return run


@pytest.fixture
def whole(settings: Settings, second_session: Callable[[], Connection]) -> Callable[[], list[object]]:
    """Return how to list everything adoption makes: tables, indexes, triggers."""
    session = second_session()
    made = """
        select relname from pg_class c join pg_namespace n on n.oid = relnamespace
        where nspname in ('public', 'workbench') union all select tgname from pg_trigger where not tgisinternal
        order by 1
    """
    return lambda: session.execute(made).fetchall()  # type: ignore[arg-type, return-value]


@pytest.mark.parametrize("statements", [2, 3, 15])
def test_an_adoption_killed_half_way_goes_on_at_the_next_start(
    statements: int,
    connection: Connection,
    settings: Settings,
    whole: Callable[[], list[object]],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """An empty database is whole after the second start, wherever the first one stopped."""
    with monkeypatch.context() as killed:
        killed.setattr(revisions, "run_ddl", _killed_after(statements))
        with pytest.raises(KeyboardInterrupt):
            adoption.adopt(connection, settings)
    guard.require_writable(connection, settings)
    adoption.adopt(connection, settings)
    found = whole()
    revisions.downgrade(settings, "base")
    connection.execute("drop schema workbench cascade")
    adoption.adopt(connection, settings)
    assert found == whole()
