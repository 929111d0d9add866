"""A Core statement as the text that is sent: values stand in it by name, as psycopg binds them."""

from __future__ import annotations

from sqlalchemy import Executable
from sqlalchemy.dialects.postgresql import psycopg as psycopg_dialect

_DIALECT = psycopg_dialect.dialect()  # type: ignore[no-untyped-call]  # SQLAlchemy types its dialects loosely


def text_of(statement: Executable) -> bytes:
    """Return the text of a statement; compiling takes milliseconds, so callers keep what they got."""
    return str(statement.compile(dialect=_DIALECT)).encode()  # type: ignore[attr-defined]
