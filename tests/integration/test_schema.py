"""`genonaut schema`: the catalogue as text, compared with the models, with a dump and with another database."""

from __future__ import annotations

import json
import uuid
from collections.abc import Callable, Iterator
from pathlib import Path

import psycopg
import pytest
from psycopg import conninfo, sql

from genonaut_lib.db import models, snapshot
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import InvalidInput, InvalidSettings, NotAGallery
from genonaut_lib.migration import revisions
from genonaut_lib.settings import Settings, load_other_settings
from tests.factories import Gallery
from tests.integration.conftest import Ended

Command = Callable[..., Ended]

PARENT_INDEX = "idx_tag_parents_parent ON public.tag_parents USING btree (parent_id)"
LATER_KEY = "add foreign key (tag_id) references tags (id) on delete cascade not valid"
AGAINST_MODELS = [
    ("alter table tags drop column label", ["- column public.tags.label: text not null"]),
    ("alter table content_tags add column weight integer", ["+ column public.content_tags.weight: integer"]),
    (
        "alter table tags alter column tag_no type bigint",
        ["- column public.tags.tag_no: integer not null", "+ column public.tags.tag_no: bigint not null"],
    ),
    (
        "alter table content_items drop constraint content_items_creator_id_fkey",
        ["- constraint public.content_items FOREIGN KEY (creator_id) REFERENCES users(id): valid"],
    ),
    (
        f"alter table content_tags drop constraint content_tags_tag_id_fkey, {LATER_KEY}",
        [
            "- constraint public.content_tags FOREIGN KEY (tag_id) REFERENCES tags(id) ON DELETE CASCADE: valid",
            "+ constraint public.content_tags FOREIGN KEY (tag_id) REFERENCES tags(id) ON DELETE CASCADE: NOT VALID",
        ],
    ),
    (
        "drop index idx_tag_parents_parent",
        [f"- index public.tag_parents idx_tag_parents_parent: CREATE INDEX {PARENT_INDEX}"],
    ),
    (
        "alter table content_items_all detach partition content_items_auto",
        [
            "- table public.content_items_auto: table, partition of public.content_items_all FOR VALUES IN ('auto')",
            "+ table public.content_items_auto: table",
        ],
    ),
    ("create table workbench.extra ()", ["+ table workbench.extra: table"]),
    ("alter table content_items_all add column tags_old jsonb", ["+ column public.content_items.tags_old: jsonb"]),
]
BETWEEN_DATABASES = [
    ("alter table content_items alter column is_private drop default", "column public.content_items.is_private"),
    (
        "alter table content_tags drop constraint content_tags_content_source_check",
        "constraint public.content_tags.content_tags_content_source_check",
    ),
    ("drop trigger sync_content_tags on content_items", "trigger public.content_items.sync_content_tags"),
    ("alter table content_items disable trigger sync_content_tags", "trigger public.content_items.sync_content_tags"),
    (
        "create or replace function sync_content_tags() returns trigger language plpgsql as 'begin return new; end'",
        "function public.sync_content_tags()",
    ),
    ("alter sequence content_items_all_id_seq increment 2", "sequence public.content_items_all_id_seq"),
    ("alter sequence content_items_all_id_seq owned by none", "sequence public.content_items_all_id_seq"),
    ("grant select on tags to public", "right table public.tags public"),
    ("grant update (title) on content_items to public", "right column public.content_items.title public"),
    ("grant usage on schema workbench to public", "right schema workbench public"),
    ("create index mine on content_items (title)", "index public.mine"),
    ("create view workbench.seen as select 1 as one", "table workbench.seen"),
    ("update pg_index set indisvalid = false where indexrelid = 'idx_tag_aliases_tag'::regclass",
     "index public.idx_tag_aliases_tag"),
]  # fmt: skip


@pytest.fixture
def head(settings: Settings, connection: Connection) -> Connection:
    """A session on a database with the finished schema."""
    revisions.upgrade(settings, "head")
    return connection


@pytest.fixture
def copied(head: Connection, admin_url: str) -> Iterator[str]:
    """The address of a copy of the database."""
    name = f"genonaut_copy_{uuid.uuid4().hex[:12]}"
    names = {"copy": sql.Identifier(name), "original": sql.Identifier(head.info.dbname)}
    head.close()
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(sql.SQL("create database {copy} template {original}").format(**names))
        yield conninfo.make_conninfo(admin_url, dbname=name)
        admin.execute(sql.SQL("drop database {copy} with (force)").format(**names))


def model_lines(connection: Connection) -> list[str]:
    """Return what differs from the models."""
    found = models.as_models_say(snapshot.take(connection))
    return [line for one in snapshot.differences(models.of_models(), found) for line in one.lines]


def test_the_finished_schema_is_what_the_models_say(head: Connection) -> None:
    """Nothing differs, also with what the gallery's owner put beside and on it."""
    head.execute("create table mine (a integer); alter table content_items_all add column licence text")
    head.execute("create index mine_too on content_items (licence); create index on content_items_all (title)")
    head.execute("alter table users add column friend uuid references users (id), add unique (friend)")
    assert model_lines(head) == []


@pytest.mark.parametrize(("statement", "lines"), AGAINST_MODELS)
def test_a_difference_from_the_models_is_shown(statement: str, lines: list[str], head: Connection) -> None:
    """Added, removed and changed: a minus for what was expected, a plus for what is there."""
    head.execute(statement)
    shown = model_lines(head)
    assert [line for line in lines if line not in shown] == []
    assert model_lines_fit(statement, shown, lines)


def model_lines_fit(statement: str, shown: list[str], lines: list[str]) -> bool:
    """Whether no more is shown than expected; a column of the parent stands in three tables."""
    return len(shown) == (3 if "tags_old" in statement else len(lines))


@pytest.mark.parametrize(("statement", "named"), BETWEEN_DATABASES)
def test_two_databases_are_compared_in_everything(statement: str, named: str, head: Connection) -> None:
    """Defaults, checks, triggers, functions, sequences, rights and validity: one change, one difference."""
    before = snapshot.take(head)
    head.execute(statement)
    assert [one.object for one in snapshot.differences(before, snapshot.take(head))] == [named]


def test_rows_and_names_of_the_server_make_no_difference(head: Connection, copied: str) -> None:
    """Two databases with one schema have one dump, whatever is in them."""
    with psycopg.connect(copied, autocommit=True) as other:
        other.execute("set search_path = public")
        before = snapshot.take(other)
        Gallery(other).item([])
        assert snapshot.take(other) == before


def test_a_database_without_a_gallery_is_refused(connection: Connection) -> None:
    """An empty dump would look like an answer."""
    with pytest.raises(NotAGallery):
        snapshot.take(connection)


@pytest.mark.parametrize("options", [[], ["--json"]])
def test_a_dump_is_what_diff_reads(options: list[str], head: Connection, command: Command, tmp_path: Path) -> None:
    """Text and JSON alike: equal to the database they come from, different once it changes."""
    file = tmp_path / "before"
    assert command("schema", "dump", *options, "--output", str(file)).code == 0
    assert command("schema", "diff", "--with", str(file)).code == 0
    head.execute("drop index idx_tag_aliases_tag")
    ended = command("schema", "diff", "--with", str(file))
    assert ended.code == 1
    assert "- index public.idx_tag_aliases_tag: CREATE INDEX" in ended.said


def test_the_dump_on_the_screen_is_the_one_in_the_file(head: Connection, command: Command, tmp_path: Path) -> None:
    """`dump > FILE` does what --output does, and lines are sorted."""
    printed = command("schema", "dump").said
    command("schema", "dump", "--output", str(tmp_path / "f"))
    assert printed == (tmp_path / "f").read_text()
    objects = [line.partition(": ")[0] for line in printed.splitlines()[1:]]
    assert objects == sorted(objects)


def test_diff_with_the_models_ends_with_nought_at_head(head: Connection, command: Command) -> None:
    """A script can rely on the code; nothing comes next."""
    ended = command("schema", "diff", "--json")
    assert ended.code == 0
    assert json.loads(ended.said) == {"equal": True, "differences": [], "next": []}


def test_a_database_half_way_is_told_what_comes_next(settings: Settings, gallery: Gallery, command: Command) -> None:
    """The models describe the end; the notebooks on the way are named."""
    revisions.upgrade(settings, revisions.EXPAND_TAG_COLUMNS)
    ended = command("schema", "diff")
    assert ended.code == 1
    assert "at revision 0004" in ended.said
    assert "What comes next: 12_backfill_tag_uuids, then 13_drop_legacy_tags." in ended.said


def test_diff_compares_with_another_environment(copied: str, command: Command, monkeypatch: pytest.MonkeyPatch) -> None:
    """The other address comes from a variable of its own, and is not shown."""
    monkeypatch.setenv("DATABASE_URL_DEV", copied)
    assert command("schema", "diff", "--env", "test", "--with-env", "dev").code == 0
    with psycopg.connect(copied, autocommit=True) as other:
        other.execute("alter table tags add column rank integer")
    ended = command("schema", "diff", "--env", "test", "--with-env", "dev", "--json")
    assert ended.code == 1
    assert [one["object"] for one in json.loads(ended.said)["differences"]] == ["column public.tags.rank"]
    assert json.loads(ended.said)["differences"][0]["found"] is None


def test_an_environment_without_an_address_is_refused(settings: Settings) -> None:
    """DATABASE_URL is the first database's; it is not taken for the other one's."""
    with pytest.raises(InvalidSettings, match="DATABASE_URL_PRODUCTION"):
        load_other_settings("production")


def test_two_things_to_compare_with_are_refused(command: Command) -> None:
    """Which one was meant is not guessed."""
    assert command("schema", "diff", "--with", "x", "--with-env", "dev").code == 2


@pytest.mark.parametrize("text", ["", "{}x", "[1]", '{"a": 1}', f"{snapshot.HEAD_LINE}\nnonsense"])
def test_a_file_that_is_no_dump_is_refused(text: str, tmp_path: Path) -> None:
    """Another file would differ in everything."""
    (tmp_path / "f").write_text(text)
    with pytest.raises(InvalidInput, match="no schema dump"):
        snapshot.read(tmp_path / "f")


def test_reading_changes_nothing(head: Connection, command: Command) -> None:
    """Both commands work where nothing may be written."""
    head.execute(sql.SQL("alter database {} set default_transaction_read_only = on").format(
        sql.Identifier(head.info.dbname)
    ))  # fmt: skip
    assert command("schema", "dump").code == 0
    assert command("schema", "diff").code == 0
