"""The guard: which databases a writing command may touch.

A database is marked with its environment when the workbench first writes to it. Nothing writes to
a database of another environment, to one that is no gallery, or to production unconfirmed.
"""

from __future__ import annotations

import enum
import os

from psycopg import errors

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import CheckFailed, MissingPrivilege, NotAGallery, ProductionUnconfirmed, WrongEnvironment
from genonaut_lib.settings import Settings

CONFIRM_VARIABLE = "GENONAUT_CONFIRM"
PRODUCTION = "production"
EMPTY_AT_ADOPTION = "empty at adoption"
"""What the schema's comment says while an empty database is being made a gallery."""
GALLERY_TABLES = {"public.users", "public.content_items", "public.content_items_auto"}


class Kind(enum.Enum):
    """What a database is to the workbench."""

    EMPTY = "empty"
    UNMARKED_GALLERY = "a gallery the workbench has not adopted yet"
    MARKED_GALLERY = "a gallery of the workbench"
    OTHER = "not a gallery"


def kind_of(connection: Connection) -> Kind:
    """Return what the database is, from its tables and its mark."""
    tables = {str(row[0]) for row in connection.execute(block("catalog", "user_tables").sql()).fetchall()}
    if marked_environment(connection) is not None:
        return Kind.MARKED_GALLERY
    if not tables or _purpose(connection) == EMPTY_AT_ADOPTION:
        return Kind.EMPTY
    return Kind.UNMARKED_GALLERY if tables >= GALLERY_TABLES else Kind.OTHER


def _purpose(connection: Connection) -> str | None:
    row = connection.execute(block("catalog", "purpose_of_schema").sql()).fetchone()
    return None if row is None else row[0]


def marked_environment(connection: Connection) -> str | None:
    """Return the environment the database is marked with, or None."""
    try:
        row = connection.execute(block("ledger", "environment").sql()).fetchone()
    except (errors.UndefinedTable, errors.InvalidSchemaName):
        return None
    return str(row[0]) if row else None


def require_writable(connection: Connection, settings: Settings, confirm: str | None = None) -> Kind:
    """Return the kind of a database this command may write to.

    Raises NotAGallery, WrongEnvironment, ProductionUnconfirmed, or MissingPrivilege. `confirm` is the
    environment's name as the user typed it (default: the variable GENONAUT_CONFIRM).
    """
    kind = kind_of(connection)
    marked = marked_environment(connection)
    if kind is Kind.OTHER:
        raise NotAGallery(
            "This database holds tables, but not a gallery's (users, content_items, content_items_auto).",
            hint="Check the database name in DATABASE_URL.",
        )
    if marked is not None and marked != settings.environment:
        raise WrongEnvironment(
            f"This database belongs to environment {marked!r}, the command runs for {settings.environment!r}.",
            hint=f"Say --env {marked}, or point DATABASE_URL at the right database.",
        )
    _require_confirmed(settings, marked, confirm)
    _require_rights(connection)
    return kind


def require_ours(connection: Connection, settings: Settings, confirm: str | None = None) -> None:
    """Raise unless content may be made here: in an empty database, or in one the workbench has adopted."""
    if require_writable(connection, settings, confirm) is Kind.UNMARKED_GALLERY:
        raise NotAGallery(
            "This database holds a gallery that the workbench has not adopted; nothing is loaded into it.",
            hint=f"If it is meant: `genonaut adopt --env {settings.environment}` first.",
        )


def require_adopted(connection: Connection, settings: Settings, confirm: str | None = None) -> None:
    """Raise unless the database is a gallery marked with this environment (or confirmed, for production)."""
    kind = require_writable(connection, settings, confirm)
    if kind is Kind.MARKED_GALLERY:
        return
    step = "genonaut load --debian" if kind is Kind.EMPTY else "genonaut adopt"
    raise NotAGallery(f"This database is {kind.value}.", hint=f"Run `{step} --env {settings.environment}` first.")


def require_readable(connection: Connection) -> None:
    """Raise CheckFailed for a gallery whose pages cannot be read yet: one that is not migrated so far."""
    for table in ("content_items_all", "content_tags"):
        row = connection.execute(block("catalog", "has_relation").sql(), {"relation": table}).fetchone()
        if row is None or not row[0]:
            raise CheckFailed(
                f"There is no {table} here: this gallery is not migrated yet.",
                hint="`genonaut plan` shows which notebook comes next.",
            )


def require_servable(connection: Connection, settings: Settings) -> None:
    """Raise unless this is a gallery of this environment, and migrated so far that its pages can be read.

    Nothing is written, so nothing need be confirmed. Raises NotAGallery, WrongEnvironment or CheckFailed.
    """
    marked = marked_environment(connection)
    if marked is None:
        raise NotAGallery(
            f"This database is {kind_of(connection).value}.",
            hint=f"`genonaut adopt --env {settings.environment}` takes a gallery in; an empty database wants content.",
        )
    if marked != settings.environment:
        raise WrongEnvironment(
            f"This database belongs to environment {marked!r}, the service runs for {settings.environment!r}.",
            hint=f"Say --env {marked}, or point DATABASE_URL at the right database.",
        )
    require_readable(connection)


def _require_confirmed(settings: Settings, marked: str | None, confirm: str | None) -> None:
    given = confirm or os.environ.get(CONFIRM_VARIABLE)
    if not (settings.protected or PRODUCTION in (marked, settings.environment)):
        return
    if given != settings.environment:
        raise ProductionUnconfirmed(
            f"Environment {settings.environment!r} is protected and was not confirmed by name.",
            hint=f"Add --confirm {settings.environment} once you are sure.",
        )


def _require_rights(connection: Connection) -> None:
    row = connection.execute(block("catalog", "may_create").sql()).fetchone()
    strangers = [str(found[0]) for found in connection.execute(block("catalog", "not_owned").sql()).fetchall()]
    if not (row and row[0]):
        raise MissingPrivilege(
            "The database user may not create schemas here, or not create tables in schema public: a right is missing.",
            hint="GRANT CREATE ON DATABASE and ON SCHEMA public to it, or use the owner of the database.",
        )
    if strangers:
        raise MissingPrivilege(
            f"The database user does not own {', '.join(strangers)}, and only an owner may alter a table.",
            hint="Use the tables' owner, or GRANT its role to this user.",
        )
