"""Sessions: opening one, saying in a sentence why it failed, and what server is behind it."""

from __future__ import annotations

import contextlib
import urllib.parse
from collections.abc import Iterator
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import psycopg
from psycopg import conninfo, errors
from psycopg.rows import TupleRow
from pydantic import SecretStr

from genonaut_lib.db import embedded, pooling
from genonaut_lib.db.statements import block
from genonaut_lib.errors import (
    DatabaseLost,
    DatabaseStarting,
    DatabaseUnreachable,
    DiskFull,
    GenonautError,
    MissingPrivilege,
    ReadOnlyDatabase,
    RedisUnreachable,
    UnsupportedVersion,
)
from genonaut_lib.settings import Settings

if TYPE_CHECKING:
    # Few commands ask Redis, and its client takes a while to import.
    import redis

Connection = psycopg.Connection[TupleRow]

MINIMUM_POSTGRES = 140_000
MINIMUM_REDIS = (6, 0)
APPLICATION_NAME = "genonaut"


@dataclass(frozen=True)
class ServerFacts:
    """What a PostgreSQL server says of itself."""

    version: int
    version_text: str
    database: str
    user: str
    in_recovery: bool
    database_bytes: int


def database_url(settings: Settings) -> str:
    """Return the address of the environment's database, starting the embedded server if it is that one."""
    if settings.database_url is not None:
        return settings.database_url.get_secret_value()
    _require_embedded(settings, "DATABASE_URL", DatabaseUnreachable)
    return embedded.start_postgres(settings.environment, settings.servers)


def pinned(settings: Settings) -> Settings:
    """Return settings that lead to the same server, and do not start it again once somebody stopped it."""
    return settings.model_copy(update={"database_url": SecretStr(database_url(settings))})


def redis_url(settings: Settings) -> str:
    """Return the address of the environment's Redis, starting the embedded server if it is that one."""
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    _require_embedded(settings, "REDIS_URL", RedisUnreachable)
    return embedded.start_redis(settings.environment)


def redis_address(settings: Settings) -> str | None:
    """Return the address of the environment's Redis, whether it runs or not; None where it has none."""
    if settings.redis_url is not None:
        return settings.redis_url.get_secret_value()
    return embedded.redis_address(settings.environment) if settings.servers.embedded else None


def connect(settings: Settings, *, autocommit: bool = True, writing: bool = True) -> Connection:
    """Return an open session on the environment's database, in autocommit mode unless told otherwise.

    It works in schema public, without a statement timeout and without JIT, whatever the role's own
    settings are (see `sql/session.sql`). Behind a connection pooler nothing is set (see `db/pooling.py`).

    Raises DatabaseUnreachable, UnsupportedVersion, PoolerUnfit, or ReadOnlyDatabase (when `writing`).
    """
    address = database_url(settings)
    try:
        connection = psycopg.connect(
            address,
            autocommit=autocommit,
            connect_timeout=settings.database.connect_timeout_s,
            application_name=APPLICATION_NAME,
        )
    except (psycopg.OperationalError, psycopg.ProgrammingError) as error:
        raise _unreachable(error, address) from None
    try:
        if pooling.is_pooled(connection):
            pooling.settle(connection)
        else:
            connection.execute(block("session", "settle").sql())
        _require_usable(connection, writing)
    except BaseException:
        connection.close()
        raise
    return connection


@contextlib.contextmanager
def session(settings: Settings, *, writing: bool = True) -> Iterator[Connection]:
    """Open a session for a block and close it; driver errors leave the block as sentences."""
    with translated(), connect(settings, writing=writing) as connection:
        yield connection


@contextlib.contextmanager
def translated() -> Iterator[None]:
    """Turn the driver errors a user can act upon into a GenonautError; others pass unchanged."""
    try:
        yield
    except psycopg.Error as error:
        known = translate(error)
        if known is None:
            raise
        raise known from error


def translate(error: psycopg.Error) -> GenonautError | None:
    """Return the refusal a driver error means, chosen by its SQLSTATE, or None for any other error."""
    text = (error.diag.message_primary or str(error)).strip()
    if isinstance(error, errors.DiskFull):
        return DiskFull(
            f"The database's disk is full: {text}.",
            hint="Free space on the server, then run the same command again; it goes on where it stopped.",
        )
    if isinstance(error, errors.InsufficientPrivilege):
        return MissingPrivilege(
            f"The database user lacks a right: {text}.",
            hint="Grant it, or use the user that owns the gallery's tables.",
        )
    if isinstance(error, errors.ReadOnlySqlTransaction):
        return _read_only()
    if isinstance(error, errors.QueryCanceled):
        return GenonautError(f"A statement was ended by the server: {text}.", hint="Run the same command again.")
    if isinstance(error, psycopg.OperationalError) and (error.sqlstate or "08").startswith(("08", "57P")):
        return DatabaseLost(
            f"The connection to PostgreSQL was lost: {text}.",
            hint="Run the same command again; it goes on where it stopped.",
        )
    return None


def facts(connection: Connection) -> ServerFacts:
    """Return what the server behind `connection` says of itself."""
    row = connection.execute(
        "select current_setting('server_version_num')::int, current_setting('server_version'),"
        " current_database(), current_user, pg_is_in_recovery(), pg_database_size(current_database())"
    ).fetchone()
    assert row is not None
    return ServerFacts(*row)


def connect_redis(settings: Settings) -> redis.Redis:
    """Return a Redis client whose server was seen to answer; raise RedisUnreachable or UnsupportedVersion."""
    import redis

    address = redis_url(settings)
    timeout = settings.redis.connect_timeout_s
    try:
        client = redis.Redis.from_url(address, socket_connect_timeout=timeout, socket_timeout=timeout)
        info: dict[str, Any] = client.info("server")
    except (redis.RedisError, ValueError) as error:
        raise RedisUnreachable(
            f"Redis does not answer at {_redis_place(address)}: {type(error).__name__}.",
            hint="Check REDIS_URL and that the server runs, or unset it to use the embedded Redis.",
        ) from None
    version = str(info["redis_version"])
    if tuple(int(part) for part in version.split(".")[:2]) < MINIMUM_REDIS:
        raise UnsupportedVersion(f"Redis {version} is too old.", hint="Use Redis 6 or newer, or the embedded one.")
    return client


def _require_embedded(settings: Settings, variable: str, error: type[GenonautError]) -> None:
    if not settings.servers.embedded:
        raise error(
            f"Environment {settings.environment!r} has no embedded servers and {variable} is not set.",
            hint=f"Set {variable}, or use an environment with `servers: {{embedded: true}}`.",
        )


def _require_usable(connection: Connection, writing: bool) -> None:
    found = connection.info.server_version
    if found < MINIMUM_POSTGRES:
        raise UnsupportedVersion(
            f"PostgreSQL {found // 10_000} is too old.",
            hint="The workbench needs PostgreSQL 14 or newer; upgrade the server first.",
        )
    row = connection.execute("select current_setting('transaction_read_only')::boolean").fetchone()
    if writing and row is not None and row[0]:
        raise _read_only()


def _read_only() -> ReadOnlyDatabase:
    return ReadOnlyDatabase(
        "The database accepts no writes (a replica, or default_transaction_read_only).",
        hint="Point DATABASE_URL at the primary.",
    )


def _unreachable(error: psycopg.Error, address: str) -> DatabaseUnreachable:
    place = _place_of(address)
    if place is None:
        return DatabaseUnreachable(
            "PostgreSQL does not answer at the address in DATABASE_URL: it cannot be read.",
            hint="Write postgresql://user:password@host:5432/database, with @ : / % and blanks in the password "
            "percent-encoded.",
        )
    reason = str(error).strip().splitlines()[-1] if str(error).strip() else type(error).__name__
    secret = str(conninfo.conninfo_to_dict(address).get("password") or "")
    if secret:
        reason = reason.replace(secret, "***")
    if any(word in reason for word in _FOR_NOW):
        return DatabaseStarting(
            f"PostgreSQL at {place} takes no session for now: {reason}.".replace("..", "."), hint="Try again later."
        )
    return DatabaseUnreachable(
        f"PostgreSQL does not answer at {place}: {reason}.".replace("..", "."),
        hint="Check DATABASE_URL and that the server runs, or unset it to use the embedded PostgreSQL.",
    )


def _place_of(address: str) -> str | None:
    """Return host:port/database of an address, None for one whose parts cannot be told from its password."""
    try:
        parts = conninfo.conninfo_to_dict(address)
    except psycopg.ProgrammingError:
        return None
    host, port, name = (str(parts.get(key) or other) for key, other in _DEFAULT_PLACE)
    return None if "@" in host + port + name or not port.isdigit() else f"{host}:{port}/{name}"


_FOR_NOW = (
    "is starting up", "is shutting down", "in recovery mode", "not yet accepting connections", "too many clients",
    "connection slots are reserved",
)  # fmt: skip
"""What a server says (SQLSTATE 57P03 and 53300, which libpq does not hand on) to somebody it sends away for now.

A server that speaks another language than English is taken for one that does not answer."""

_DEFAULT_PLACE = (("host", "localhost"), ("port", "5432"), ("dbname", ""))


def _redis_place(address: str) -> str:
    """Return host and port, or the socket, of an address; never anything that could be a password."""
    parts = urllib.parse.urlsplit(address)
    if parts.scheme == "unix" and parts.path and "@" not in parts.path:
        return parts.path
    if parts.scheme in ("redis", "rediss") and parts.hostname and "@" not in parts.path:
        return parts.netloc.rsplit("@", 1)[-1] + parts.path
    return "the address in REDIS_URL"
