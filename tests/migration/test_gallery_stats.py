"""The phase of notebook 50: its tables, the key and who may read it, and the search indexes."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from dataclasses import replace

import pytest
from psycopg import errors, sql
from sqlalchemy import select
from sqlalchemy.dialects import postgresql

from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import CheckFailed
from genonaut_lib.gallery.clauses import ITEM, searched, shape_of
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.migration import revisions
from genonaut_lib.migration.phases import PHASES, Context
from genonaut_lib.migration.phases.create_gallery_stats import TABLES, CreateGalleryStats, search_index
from genonaut_lib.migration.runner import apply_plan, undo_phase, verify_phase
from genonaut_lib.migration.tag_stats import refresh
from genonaut_lib.vocabulary import ContentSource, tag_id
from tests.factories import Gallery
from tests.migration.test_phases import apply, apply_before

PHASE = CreateGalleryStats()
INDEXES = sorted(search_index(source) for source in ContentSource)
KEY = "select name, key from workbench.service_keys"


@pytest.fixture
def ready(context: Context, gallery: Gallery) -> Context:
    """A small gallery that was attached and has its sidecars."""
    for source in ContentSource:
        gallery.legacy_item(["anime"], source, title="red dragon", prompt="a dragon over a lake")
        gallery.legacy_item(["anime"], source, title="blue lake", prompt="water")
    apply_before(context, PHASE.name)
    return context


@pytest.fixture
def role(ready: Context) -> Iterator[str]:
    """A role that may read the content, in a database that gives its roles every new table to read."""
    connection, name = ready.connection, f"app_{uuid.uuid4().hex[:8]}"
    words = {"role": sql.Identifier(name)}
    connection.execute(sql.SQL("create role {role}").format(**words))
    connection.execute(sql.SQL("grant select on content_items, content_items_auto to {role}").format(**words))
    connection.execute(sql.SQL("alter default privileges grant select on tables to {role}, public").format(**words))
    yield name
    connection.execute("reset role")
    connection.execute("alter default privileges revoke select on tables from public")
    connection.execute(sql.SQL("drop owned by {role}").format(**words))
    connection.execute(sql.SQL("drop role {role}").format(**words))


def run(phase: CreateGalleryStats, context: Context) -> list[str]:
    """Apply and verify; return the ids of what was planned."""
    plan = phase.plan(context)
    apply_plan(phase, context, plan)
    assert verify_phase(phase, context).passed
    return [step.id for step in plan.actions]


def valid_indexes(connection: Connection) -> list[str]:
    """The search indexes that are there and valid."""
    rows = connection.execute(
        "select c.relname from pg_index i join pg_class c on c.oid = i.indexrelid"
        " where c.relname = any (%s) and i.indisvalid order by 1",
        [INDEXES],
    ).fetchall()
    return [name for (name,) in rows]


def test_the_cursor_key_is_random_and_long_enough(ready: Context) -> None:
    """32 bytes, others in each database and each time."""
    keys = []
    for _ in range(2):
        run(PHASE, ready)
        ((name, key),) = ready.connection.execute(KEY).fetchall()
        assert (name, len(key)) == ("cursor", 32)
        keys.append(key)
        undo_phase(PHASE, ready)
    assert keys[0] != keys[1]


def test_the_key_stays_as_it_is_when_the_phase_runs_again(ready: Context) -> None:
    """Cursors that were given out stay good through every refresh."""
    run(PHASE, ready)
    before = ready.connection.execute(KEY).fetchall()
    run(PHASE, ready)
    assert ready.connection.execute(KEY).fetchall() == before


def test_nobody_reads_the_key_unless_it_was_granted(ready: Context, role: str) -> None:
    """Neither default privileges nor a right on the content opens it; statistics are read as the content is."""
    run(PHASE, ready)
    connection, name = ready.connection, sql.Identifier(role)
    connection.execute(sql.SQL("set role {}").format(name))
    for table in TABLES.values():
        if table != "workbench.service_keys":
            connection.execute(sql.SQL("select from {}").format(sql.Identifier(*table.split("."))))
    with pytest.raises(errors.InsufficientPrivilege):
        connection.execute(KEY)
    connection.execute("reset role")
    connection.execute(sql.SQL("grant select on workbench.service_keys to {}").format(name))
    connection.execute(sql.SQL("set role {}").format(name))
    assert len(connection.execute(KEY).fetchall()) == 1


def test_a_search_uses_its_indexes(ready: Context) -> None:
    """They are over the very expression that a query asks for, through the parent."""
    run(PHASE, ready)
    connection, query = ready.connection, GalleryQuery(search="dragon -blue")
    connection.execute("set enable_seqscan = off")
    statement = select(ITEM.source_type).where(*searched(shape_of(query)))
    text = str(statement.compile(dialect=postgresql.psycopg.dialect())).encode()  # type: ignore[no-untyped-call]
    plan = str(connection.execute(b"explain " + text, {"search": query.search}).fetchall())
    assert [name for name in INDEXES if name in plan] == INDEXES
    assert sorted(connection.execute(text, {"search": query.search}).fetchall()) == [("auto",), ("items",)]


def test_an_invalid_search_index_is_built_anew(ready: Context) -> None:
    """What a killed CREATE INDEX CONCURRENTLY left is found, dropped and made good."""
    name = search_index(ContentSource.REGULAR)
    create = PHASE.actions()[-3]
    assert create.id == f"create:{name}"
    ready.connection.execute(create.statement)
    ready.connection.execute("update pg_index set indisvalid = false where indexrelid = %s::regclass", [name])
    assert f"clear:{name}" in run(PHASE, ready)
    assert valid_indexes(ready.connection) == INDEXES


def test_the_search_indexes_can_be_left_out_and_built_later(ready: Context) -> None:
    """The finished schema is as the models say either way, and a left-out index does not hold up what comes next."""
    run(replace(PHASE, search_index=False), ready)
    assert valid_indexes(ready.connection) == []
    apply(ready, "cut_over")
    revisions.check(ready.settings)
    assert sorted(run(PHASE, ready)) == [f"create:{name}" for name in INDEXES]
    assert valid_indexes(ready.connection) == INDEXES
    revisions.check(ready.settings)
    assert run(PHASE, ready) == []


def test_undo_leaves_nothing_behind(ready: Context) -> None:
    """Filled tables go as well as empty ones: all of it can be counted again."""
    run(PHASE, ready)
    refresh(ready.connection)
    undo_phase(PHASE, ready)
    names = [*TABLES.values(), *INDEXES]
    found = ready.connection.execute(
        "select name from unnest(%s::text[]) name where to_regclass(name) is not null", [names]
    )
    assert found.fetchall() == []


@pytest.mark.parametrize(
    ("theirs", "named"),
    [
        ("create table tag_cardinality_stats (theirs text)", "name tag_cardinality_stats"),
        ("create table gen_source_stats (theirs text)", "name gen_source_stats"),
        ("create index idx_content_items_search on content_items (title)", "name idx_content_items_search"),
    ],
)
def test_what_somebody_else_made_is_refused_and_left_alone(theirs: str, named: str, ready: Context) -> None:
    """A gallery may have statistics of its own by these names; nothing is written over them."""
    ready.connection.execute(theirs.encode())
    with pytest.raises(CheckFailed, match=named):
        apply(ready, PHASE.name)
    assert revisions.current(ready.connection) == PHASE.before
    assert not PHASE.begun(ready.connection)


def test_a_deleted_tag_takes_its_statistics_along(ready: Context) -> None:
    """No figure points at a tag that is not there."""
    run(PHASE, ready)
    refresh(ready.connection)
    ready.connection.execute("delete from tags where id = %s", [tag_id("anime")])
    assert ready.connection.execute("select count(*) from tag_cardinality_stats").fetchone() == (0,)


def test_the_phase_stands_between_the_sidecars_and_the_cut_over() -> None:
    """The cut over changes who writes, so everything readers need comes before it."""
    names = list(PHASES)
    assert names[-3:] == ["create_tag_bitmaps", PHASE.name, "cut_over"]
