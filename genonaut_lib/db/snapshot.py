"""A database's schema as text: one line an object, from the catalogue, in one order; no data, no secrets.

`take` reads a database and `differences` compares two; `db/models.py` says the same of the models.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from psycopg import errors

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.schema import LEDGER_SCHEMA, metadata
from genonaut_lib.db.statements import block
from genonaut_lib.errors import InvalidInput, NotAGallery

REVISION = "revision"
HEAD_LINE = "# schema of a gallery, one object a line"

Snapshot = Mapping[str, str]
"""Definitions by object, `index public.idx_tag_parents_parent` for one; sorted by object."""


@dataclass(frozen=True)
class Difference:
    """One object that is not the same: its definition as expected and as found, None where it is missing."""

    object: str
    expected: str | None
    found: str | None

    @property
    def lines(self) -> tuple[str, ...]:
        """What was expected with a minus, what was found with a plus."""
        signed = (("-", self.expected), ("+", self.found))
        return tuple(f"{sign} {_line(self.object, text)}" for sign, text in signed if text is not None)


def take(connection: Connection) -> Snapshot:
    """Return what the catalogue says of gallery and ledger; nothing is changed.

    Raises NotAGallery for a database without content tables.
    """
    tables = [table.name for table in metadata.tables.values() if table.schema is None]
    rows = connection.execute(block("snapshot", "describe").sql(), {"tables": tables, "ledger": LEDGER_SCHEMA})
    found = {str(name): " ".join(str(definition).split()) for name, definition in rows.fetchall()}
    if "table public.content_items" not in found:
        raise NotAGallery("This database has no table content_items.", hint="Check DATABASE_URL and --env.")
    return dict(sorted((found | _revision(connection)).items()))


def differences(expected: Snapshot, found: Snapshot) -> list[Difference]:
    """Return what differs between two snapshots, by object."""
    pairs = ((name, expected.get(name), found.get(name)) for name in sorted({*expected, *found}))
    return [Difference(name, one, other) for name, one, other in pairs if one != other]


def to_text(snapshot: Snapshot) -> str:
    """Return a snapshot as text, one object a line."""
    return "\n".join([HEAD_LINE, *(_line(name, text) for name, text in snapshot.items())]) + "\n"


def to_json(snapshot: Snapshot) -> str:
    """Return a snapshot as a JSON object."""
    return json.dumps(snapshot, indent=2) + "\n"


def read(file: Path) -> Snapshot:
    """Return the snapshot that `to_text` or `to_json` made; raise InvalidInput for any other file."""
    try:
        text = file.read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError) as error:
        raise InvalidInput(f"{file} cannot be read: {type(error).__name__}.") from error
    if text.startswith(HEAD_LINE):
        return dict(_split(file, line) for line in text.splitlines()[1:] if line)
    return _parse_json(file, text)


def _parse_json(file: Path, text: str) -> Snapshot:
    try:
        content: Any = json.loads(text)
    except json.JSONDecodeError:
        content = None
    if not isinstance(content, dict) or not all(isinstance(value, str) for value in content.values()):
        raise _not_a_dump(file)
    return content


def _split(file: Path, line: str) -> tuple[str, str]:
    name, separator, definition = line.partition(": ")
    if not separator:
        raise _not_a_dump(file)
    return name, definition


def _not_a_dump(file: Path) -> InvalidInput:
    return InvalidInput(f"{file} is no schema dump.", hint="`genonaut schema dump --output FILE` writes one.")


def _line(name: str, definition: str) -> str:
    return f"{name}: {definition}"


def _revision(connection: Connection) -> dict[str, str]:
    try:
        return dict(connection.execute(block("snapshot", "revision").sql()).fetchall())
    except (errors.UndefinedTable, errors.InvalidSchemaName):
        return {}
