"""Named SQL blocks: `sql/<file>.sql` holds statements, each under a `-- name:` line.

A block reads

    -- name: rename_tags
    -- lock: ACCESS EXCLUSIVE
    -- Why the statement is the way it is, in a line or more.
    alter table {table} rename column tags to tags_old;

`{table}` is filled with a quoted identifier, `%(after)s` is a bound value; nothing else is
ever put into the text.
"""

from __future__ import annotations

import functools
import re
from dataclasses import dataclass
from importlib import resources
from typing import LiteralString, cast

from psycopg import sql

_HEADER = re.compile(r"^-- name: (\w+)$", re.MULTILINE)
_ATTRIBUTE = re.compile(r"^-- (lock): (.+)$")


@dataclass(frozen=True)
class Block:
    """One named statement: its text, the lock it takes (empty when it is no DDL), and its why."""

    file: str
    name: str
    text: str
    lock: str = ""
    why: str = ""

    def sql(self, **identifiers: str | sql.Composable) -> sql.Composed:
        """Return the statement with `{name}` placeholders replaced by quoted identifiers.

        A dot in a name separates schema and object. A value that already is Composable is used as is.
        """
        quoted = {key: _quote(value) for key, value in identifiers.items()}
        text = cast("LiteralString", self.text)  # type: ignore[redundant-cast]  # mypy takes it for str
        return sql.SQL(text).format(**quoted)


def block(file: str, name: str) -> Block:
    """Return the block `name` of `sql/<file>.sql`; raise KeyError when there is none."""
    return blocks(file)[name]


@functools.cache
def blocks(file: str) -> dict[str, Block]:
    """Return every block of `sql/<file>.sql` by name, in file order."""
    text = resources.files("genonaut_lib.sql").joinpath(f"{file}.sql").read_text(encoding="utf-8")
    pieces = _HEADER.split(text)[1:]
    names, bodies = pieces[::2], pieces[1::2]
    if len(set(names)) < len(names):
        raise ValueError(f"sql/{file}.sql names a block twice")
    return {name: _parse(file, name, body) for name, body in zip(names, bodies, strict=True)}


def files() -> list[str]:
    """Return the names of all SQL files, sorted, without their ending."""
    folder = resources.files("genonaut_lib.sql")
    return sorted(entry.name.removesuffix(".sql") for entry in folder.iterdir() if entry.name.endswith(".sql"))


def _parse(file: str, name: str, body: str) -> Block:
    attributes: dict[str, str] = {}
    why: list[str] = []
    lines = body.strip().splitlines()
    while lines and lines[0].startswith("--"):
        line = lines.pop(0)
        if match := _ATTRIBUTE.match(line):
            attributes[match[1]] = match[2]
        else:
            why.append(line.removeprefix("--").strip())
    return Block(file, name, "\n".join(lines).rstrip(";\n "), why=" ".join(why), **attributes)


def _quote(value: str | sql.Composable) -> sql.Composable:
    return sql.Identifier(*value.split(".")) if isinstance(value, str) else value
