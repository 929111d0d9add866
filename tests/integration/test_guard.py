"""Which databases a writing command may touch."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from genonaut_lib.db import guard
from genonaut_lib.db.engine import Connection
from genonaut_lib.db.guard import Kind
from genonaut_lib.db.statements import blocks
from genonaut_lib.errors import NotAGallery, ProductionUnconfirmed, WrongEnvironment
from genonaut_lib.migration import adoption
from genonaut_lib.settings import Settings, load_settings
from tests.factories import Gallery
from tests.integration.conftest import Ended


@pytest.fixture
def production(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """The settings of `production`, pointed at this test's database, unconfirmed."""
    monkeypatch.delenv(guard.CONFIRM_VARIABLE, raising=False)
    return load_settings("production")


def make_legacy(connection: Connection) -> None:
    for found in blocks("legacy").values():
        connection.execute(found.sql())


def test_an_empty_database_may_be_written_to(connection: Connection, settings: Settings) -> None:
    """Nothing is there that could be lost."""
    assert guard.require_writable(connection, settings) is Kind.EMPTY


def test_a_gallery_without_a_mark_may_be_adopted(connection: Connection, settings: Settings) -> None:
    """A gallery of one's own is known by its three tables."""
    make_legacy(connection)
    assert guard.require_writable(connection, settings) is Kind.UNMARKED_GALLERY


def test_a_marked_gallery_may_be_written_to(connection: Connection, gallery: Gallery, settings: Settings) -> None:
    """The mark is this environment's."""
    assert guard.require_writable(connection, settings) is Kind.MARKED_GALLERY


def test_a_database_of_other_tables_is_refused(connection: Connection, settings: Settings) -> None:
    """Somebody's shop is no gallery."""
    connection.execute("create table orders (id serial)")
    with pytest.raises(NotAGallery, match="holds tables, but not a gallery's"):
        guard.require_writable(connection, settings)


def test_other_tables_in_another_schema_are_seen(connection: Connection, settings: Settings) -> None:
    """A database is not empty because its public schema is."""
    connection.execute("create schema shop")
    connection.execute("create table shop.orders (id serial)")
    with pytest.raises(NotAGallery):
        guard.require_writable(connection, settings)


def test_a_gallery_beside_other_tables_is_a_gallery(connection: Connection, settings: Settings) -> None:
    """An application has tables of its own."""
    make_legacy(connection)
    connection.execute("create table orders (id serial)")
    assert guard.kind_of(connection) is Kind.UNMARKED_GALLERY


def test_half_a_gallery_is_none(connection: Connection, settings: Settings) -> None:
    """Both sources must be there."""
    make_legacy(connection)
    connection.execute("drop table content_items_auto")
    assert guard.kind_of(connection) is Kind.OTHER


def test_temporary_tables_and_views_do_not_make_a_database_other(connection: Connection) -> None:
    """They hold nothing of their own."""
    connection.execute("create temporary table scratch (id integer)")
    connection.execute("create view one as select 1")
    assert guard.kind_of(connection) is Kind.EMPTY


def test_a_gallery_of_another_environment_is_refused(connection: Connection, gallery: Gallery) -> None:
    """Both names are in the refusal."""
    with pytest.raises(WrongEnvironment, match=r"'test'.*'dev'"):
        guard.require_writable(connection, load_settings("dev"))


def test_confirming_does_not_open_another_environments_gallery(connection: Connection, gallery: Gallery) -> None:
    """A confirmation is for one's own production, not for somebody else's test."""
    with pytest.raises(WrongEnvironment):
        guard.require_writable(connection, load_settings("production"), "production")


def test_production_unconfirmed_is_refused(connection: Connection, production: Settings) -> None:
    """The name must be typed."""
    with pytest.raises(ProductionUnconfirmed, match="not confirmed"):
        guard.require_writable(connection, production)


@pytest.mark.parametrize("typed", ["yes", "Production", "test", ""])
def test_production_confirmed_by_another_word_is_refused(
    typed: str, connection: Connection, production: Settings
) -> None:
    """Nearly is not enough."""
    with pytest.raises(ProductionUnconfirmed):
        guard.require_writable(connection, production, typed)


def test_production_confirmed_by_name_may_be_written_to(connection: Connection, production: Settings) -> None:
    """Typed out, it is allowed, and so it is a second time on the marked database."""
    guard.require_writable(connection, production, "production")
    adoption.adopt(connection, production)
    assert guard.require_writable(connection, production, "production") is Kind.MARKED_GALLERY


def test_the_confirmation_may_come_from_the_environment(
    connection: Connection, production: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Kernels that a confirmed command starts inherit it."""
    monkeypatch.setenv(guard.CONFIRM_VARIABLE, "production")
    assert guard.require_writable(connection, production) is Kind.EMPTY


def test_a_production_database_is_not_a_test_database(
    connection: Connection, production: Settings, settings: Settings
) -> None:
    """A forgotten --env does not write to production."""
    adoption.adopt(connection, production)
    with pytest.raises(WrongEnvironment, match="'production'"):
        guard.require_writable(connection, settings)


@pytest.mark.parametrize(("kind", "step"), [("empty", "genonaut load --debian"), ("unmarked", "genonaut adopt")])
def test_what_was_not_adopted_is_not_migrated(kind: str, step: str, connection: Connection, settings: Settings) -> None:
    """The hint names the command that comes first."""
    if kind == "unmarked":
        make_legacy(connection)
    with pytest.raises(NotAGallery) as refused:
        guard.require_adopted(connection, settings)
    assert step in str(refused.value.hint)


@pytest.mark.parametrize(
    "arguments",
    [
        ["adopt"], ["load", "--debian"], ["generate", "--shape", "dense", "--items", "1"], ["undo", "seed_tags"],
        ["run", "10_seed_tags", "--apply"], ["pipeline", "migrate"],
    ],
    ids=lambda arguments: arguments[0],
)  # fmt: skip
def test_every_writing_command_refuses_another_environments_gallery(
    arguments: list[str], gallery: Gallery, command: Callable[..., Ended]
) -> None:
    """Exit code 2, both names, nothing written."""
    ended = command(*arguments, "--env", "dev")
    assert (ended.code, "belongs to environment 'test'" in ended.said) == (2, True)


@pytest.mark.parametrize("name", ["adopt", "load", "generate"])
def test_every_writing_command_asks_for_the_confirmation(
    name: str, production: Settings, command: Callable[..., Ended], connection: Connection
) -> None:
    """Exit code 2, and the database is as empty as before."""
    options = {"adopt": [], "load": ["--debian"], "generate": ["--shape", "dense", "--items", "1"]}[name]
    ended = command(name, *options, "--env", "production")
    assert (ended.code, "--confirm production" in ended.said) == (2, True)
    assert guard.kind_of(connection) is Kind.EMPTY
