"""Servers that cannot be reached or used: a sentence, exit code 2, and no secret in it."""

from __future__ import annotations

import os
import socketserver
import threading
from collections.abc import Callable, Iterator
from contextlib import closing, contextmanager

import psycopg
import pytest
from psycopg import conninfo, sql

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import (
    DatabaseUnreachable,
    InvalidSettings,
    MissingPrivilege,
    ReadOnlyDatabase,
    RedisUnreachable,
    Refused,
)
from genonaut_lib.settings import Settings, load_settings
from tests.factories import Gallery
from tests.integration.conftest import Ended

Command = Callable[..., Ended]
SECRET = "s3cretword"
ADDRESSES = {
    "refused": f"postgresql://ada:{SECRET}@127.0.0.1:1/gallery",
    "no such socket": f"host=/nonexistent user=ada password={SECRET} dbname=gallery",
    "no such host": f"postgresql://ada:{SECRET}@no-such-host.invalid/gallery?connect_timeout=1",
    "port that is no number": f"postgresql://ada:{SECRET}@127.0.0.1:port/gallery",
    "unknown option": f"postgresql://ada:{SECRET}@127.0.0.1/gallery?colour=red",
    "not an address": SECRET,
    "a slash too few": f"postgresql:/ada:{SECRET}@127.0.0.1/gallery",
    "another scheme": f"mysql://ada:{SECRET}@127.0.0.1/gallery",
    "SQLAlchemy's scheme": f"postgresql+psycopg://ada:{SECRET}@127.0.0.1:1/gallery",
    "at sign in the password": f"postgresql://ada:p@{SECRET}@127.0.0.1:1/gallery",
    "slash in the password": f"postgresql://ada:p/{SECRET}@127.0.0.1:1/gallery",
    "colon in the password": f"postgresql://ada:p:{SECRET}@127.0.0.1:1/gallery",
    "percent in the password": f"postgresql://ada:100%{SECRET}@127.0.0.1:1/gallery",
    "blank in the password": f"host=127.0.0.1 port=1 user=ada password=two {SECRET}",
    "quote in the password": f"host=127.0.0.1 port=1 user=ada password='{SECRET}",
    "password as an option": f"postgresql://127.0.0.1:1/gallery?user=ada&password={SECRET}",
    "no bracket": f"postgresql://ada:{SECRET}@[::1/gallery",
}
REDIS_ADDRESSES = {
    "refused": f"redis://:{SECRET}@127.0.0.1:1/0",
    "no such socket": f"unix:///nonexistent/redis.sock?password={SECRET}",
    "no such host": f"redis://ada:{SECRET}@no-such-host.invalid:6379",
    "port that is no number": f"redis://:{SECRET}@127.0.0.1:port/0",
    "another scheme": f"http://:{SECRET}@127.0.0.1:1",
    "not an address": SECRET,
    "password as an option": f"redis://127.0.0.1:1/0?password={SECRET}",
    "at sign in the password": f"redis://:p@{SECRET}@127.0.0.1:1/0",
    "slash in the password": f"redis://:p/{SECRET}@127.0.0.1:1/0",
}


@pytest.fixture
def stranger(admin_url: str, connection: Connection) -> Iterator[str]:
    """A role without any right on this test's database but to connect; dropped afterwards."""
    name = f"genonaut_stranger_{os.getpid()}"
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(sql.SQL("create role {} login password 'known'").format(sql.Identifier(name)))
    yield name
    connection.execute(sql.SQL("drop owned by {}").format(sql.Identifier(name)))
    with psycopg.connect(admin_url, autocommit=True) as admin:
        admin.execute(sql.SQL("drop role {}").format(sql.Identifier(name)))


@pytest.fixture
def as_stranger(stranger: str, settings: Settings, monkeypatch: pytest.MonkeyPatch) -> Settings:
    """Settings whose user is the stranger; DATABASE_URL says so too."""
    address = conninfo.make_conninfo(engine.database_url(settings), user=stranger, password="known")
    monkeypatch.setenv("DATABASE_URL", address)
    return load_settings("test")


def grant(connection: Connection, rights: str, role: str) -> None:
    connection.execute(sql.SQL("grant {} to {}").format(sql.SQL(rights), sql.Identifier(role)))  # type: ignore[arg-type]


@pytest.mark.parametrize("kind", ADDRESSES)
def test_a_bad_address_is_a_sentence_without_the_password(
    kind: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2, no traceback, and the secret is nowhere in what is said."""
    monkeypatch.setenv("DATABASE_URL", ADDRESSES[kind])
    ended = command("status", "--env", "test")
    assert (ended.code, "PostgreSQL does not answer at" in ended.said) == (2, True)
    assert SECRET not in ended.said
    assert "DATABASE_URL" in ended.said


@pytest.mark.parametrize("kind", REDIS_ADDRESSES)
def test_a_bad_redis_address_is_a_sentence_without_the_password(
    kind: str, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Redis is refused the way PostgreSQL is."""
    monkeypatch.setenv("REDIS_URL", REDIS_ADDRESSES[kind])
    with pytest.raises(RedisUnreachable, match="Redis does not answer at") as refused:
        engine.connect_redis(load_settings("test"))
    assert SECRET not in str(refused.value)
    assert "REDIS_URL" in str(refused.value)


def test_up_refuses_an_unreachable_redis_in_a_sentence(
    command: Command, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 2 through the command line, too."""
    monkeypatch.setenv("REDIS_URL", "redis://127.0.0.1:1/0")
    ended = command("up", "--env", "test")
    assert (ended.code, "Redis does not answer at 127.0.0.1:1/0" in ended.said) == (2, True)


def test_an_unknown_user_or_wrong_password_is_a_sentence_without_it(
    command: Command, settings: Settings, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The server's own words are told, the password is not."""
    address = conninfo.make_conninfo(engine.database_url(settings), user="nobody_here", password=SECRET)
    monkeypatch.setenv("DATABASE_URL", address)
    ended = command("adopt", "--env", "test")
    assert (ended.code, "nobody_here" in ended.said, SECRET in ended.said) == (2, True, False)


def test_a_missing_database_is_a_sentence(settings: Settings, monkeypatch: pytest.MonkeyPatch) -> None:
    """The database is named."""
    monkeypatch.setenv("DATABASE_URL", conninfo.make_conninfo(engine.database_url(settings), dbname="no_gallery"))
    with pytest.raises(DatabaseUnreachable, match="no_gallery"):
        engine.connect(load_settings("test"))


def test_the_settings_never_show_a_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    """Neither a repr nor a dump holds an address."""
    monkeypatch.setenv("DATABASE_URL", ADDRESSES["refused"])
    found = load_settings("test")
    assert SECRET not in f"{found!r} {found} {found.model_dump()} {found.model_dump_json()}"


@pytest.mark.parametrize("environment", ["production"])
def test_an_environment_without_embedded_servers_asks_for_an_address(
    environment: str, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nothing is started that nobody asked for."""
    monkeypatch.delenv("DATABASE_URL", raising=False)
    ended = command("adopt", "--env", environment, "--confirm", environment)
    assert (ended.code, "DATABASE_URL is not set" in ended.said) == (2, True)


def test_a_role_without_rights_may_not_adopt(
    command: Command, as_stranger: Settings, stranger: str, connection: Connection
) -> None:
    """The missing right is named, and nothing was made."""
    ended = command("adopt", "--env", "test")
    assert (ended.code, "may not create schemas" in ended.said) == (2, True)
    assert connection.execute("select to_regnamespace('workbench')").fetchone() == (None,)


def test_a_role_that_does_not_own_the_tables_is_refused_by_table(
    as_stranger: Settings, stranger: str, command: Command, connection: Connection, gallery: Gallery
) -> None:
    """Only an owner may alter a table; the refusal names those that are not this user's."""
    rights = ("create on database " + connection.info.dbname, "all on schema workbench, public")
    for right in (*rights, "all on all tables in schema workbench, public"):
        grant(connection, right, stranger)
    ended = command("generate", "--shape", "dense", "--items", "1", "--env", "test")
    assert (ended.code, "does not own content_items, content_items_auto, users" in ended.said) == (2, True)


def test_a_role_that_may_not_read_the_ledger_is_refused(
    as_stranger: Settings, command: Command, gallery: Gallery
) -> None:
    """SQLSTATE 42501 anywhere is MissingPrivilege, with exit code 2."""
    ended = command("status", "--env", "test")
    assert (ended.code, "lacks a right: permission denied for schema workbench" in ended.said) == (2, True)


def test_a_right_missing_inside_a_revision_is_a_sentence_too(
    as_stranger: Settings, stranger: str, command: Command, connection: Connection
) -> None:
    """Alembic's own statements go through SQLAlchemy, which wraps the driver's error."""
    grant(connection, f"create on database {connection.info.dbname}", stranger)
    connection.execute("create schema workbench")
    ended = command("adopt", "--env", "test")
    assert (ended.code, "permission denied" in ended.said) == (2, True)


def test_a_role_that_may_not_create_tables_is_refused_before_anything_is_made(
    as_stranger: Settings, stranger: str, command: Command, connection: Connection
) -> None:
    """PostgreSQL 15 gives the schema public to the database's owner alone."""
    connection.execute("revoke create on schema public from public")
    grant(connection, f"create on database {connection.info.dbname}", stranger)
    ended = command("adopt", "--env", "test")
    assert (ended.code, "right" in ended.said) == (2, True)
    assert connection.execute("select to_regnamespace('workbench')").fetchone() == (None,)


@pytest.fixture
def read_only(connection: Connection, gallery: Gallery) -> None:
    """Make every new session on this database read-only, as those on a standby are."""
    name = sql.Identifier(connection.info.dbname)
    connection.execute(sql.SQL("alter database {} set default_transaction_read_only = on").format(name))


@pytest.mark.parametrize(
    "arguments",
    [["generate", "--shape", "dense", "--items", "10"], ["load", "--debian"]],
    ids=lambda arguments: arguments[0],
)
def test_a_writing_command_on_a_read_only_database_is_refused(
    arguments: list[str], read_only: None, command: Command
) -> None:
    """The sentence says to use the primary."""
    ended = command(*arguments, "--env", "test")
    assert (ended.code, "accepts no writes" in ended.said) == (2, True)


def test_adopting_a_read_only_database_is_refused(command: Command, connection: Connection) -> None:
    """An empty standby is no place to make a gallery."""
    name = sql.Identifier(connection.info.dbname)
    connection.execute(sql.SQL("alter database {} set default_transaction_read_only = on").format(name))
    ended = command("adopt", "--env", "test")
    assert (ended.code, "accepts no writes" in ended.said) == (2, True)


def test_status_of_a_read_only_database_is_told(read_only: None, command: Command) -> None:
    """Looking needs no right to write."""
    ended = command("status", "--env", "test")
    assert (ended.code, "0002" in ended.said) == (0, True)


def test_a_writing_session_on_a_read_only_database_is_refused_at_once(read_only: None, settings: Settings) -> None:
    """`connect` says so before a statement fails half-way through a command."""
    with pytest.raises(ReadOnlyDatabase), closing(engine.connect(settings)):
        pass


def test_a_lost_session_is_a_sentence(settings: Settings, connection: Connection) -> None:
    """A server that goes away in the middle tells the user to run the command again."""
    with engine.connect(settings) as session:
        connection.execute("select pg_terminate_backend(%s)", [session.info.backend_pid])
        with pytest.raises(DatabaseUnreachable, match="was lost"), engine.translated():
            session.execute("select 1")


@pytest.mark.parametrize(
    ("state", "sentence", "code"),
    [
        ("57P03", "the database system is starting up", 75),
        ("57P03", "the database system is not yet accepting connections", 75),
        ("53300", "sorry, too many clients already", 75),
        ("28000", "no pg_hba.conf entry for host", 2),
    ],
)
def test_a_server_that_is_not_ready_yet_is_worth_another_try(
    state: str, sentence: str, code: int, command: Command, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Exit code 75, for who starts with the machine; what waiting does not mend stays a refusal."""
    with refusing_server(state, sentence) as port:
        monkeypatch.setenv("DATABASE_URL", f"postgresql://ada@127.0.0.1:{port}/gallery?sslmode=disable")
        ended = command("run", "00", "--env", "test")
    assert (ended.code, sentence in ended.said) == (code, True)


@contextmanager
def refusing_server(state: str, sentence: str) -> Iterator[int]:
    """Answer every session as PostgreSQL does that takes none: with one error, then the end."""
    fields = [b"SFATAL", b"VFATAL", b"C" + state.encode(), b"M" + sentence.encode(), b""]
    body = b"".join(field + b"\0" for field in fields)
    answer = b"E" + (len(body) + 4).to_bytes(4, "big") + body

    class Refusal(socketserver.BaseRequestHandler):
        def handle(self) -> None:
            self.request.recv(4096)
            self.request.sendall(answer)

    with socketserver.ThreadingTCPServer(("127.0.0.1", 0), Refusal) as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        try:
            yield server.server_address[1]
        finally:
            server.shutdown()
            thread.join()


def test_refusals_are_what_exit_code_2_stands_for() -> None:
    """Every error of this file is one of them."""
    errors = (DatabaseUnreachable, RedisUnreachable, MissingPrivilege, ReadOnlyDatabase, InvalidSettings)
    assert all(issubclass(error, Refused) for error in errors)
