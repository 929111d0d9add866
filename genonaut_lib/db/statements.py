"""Named SQL blocks: `sql/<file>.sql` holds statements, each under a `-- name:` line.

A block reads

    -- name: rename_tags
    -- lock: ACCESS EXCLUSIVE
    -- Why the statement is the way it is, in a line or more.
    alter table {table} rename column tags to tags_old;

`{table}` is filled with a quoted identifier, `%(after)s` is a bound value; nothing else is
ever put into the text. `-- lint: allow <rule> because <reason>` beside the lock takes the block out
of one rule of the SQL lint; above the first block it speaks for the whole file.
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
_LINT = re.compile(r"^-- lint:")
_WAIVER = re.compile(r"^-- lint: allow ([a-z0-9-]+) because (\S.*)$")


@dataclass(frozen=True)
class Waiver:
    """A rule of the SQL lint that a block or a file is taken out of, and why."""

    rule: str
    reason: str


@dataclass(frozen=True)
class Block:
    """One named statement: its text, the lock it takes (empty when it is no DDL), and its why."""

    file: str
    name: str
    text: str
    lock: str = ""
    why: str = ""
    waivers: tuple[Waiver, ...] = ()

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
    pieces = _HEADER.split(_text(file))[1:]
    names, bodies = pieces[::2], pieces[1::2]
    if len(set(names)) < len(names):
        raise ValueError(f"sql/{file}.sql names a block twice")
    return {name: _parse(file, name, body) for name, body in zip(names, bodies, strict=True)}


def files() -> list[str]:
    """Return the names of all SQL files, sorted, without their ending."""
    folder = resources.files("genonaut_lib.sql")
    return sorted(entry.name.removesuffix(".sql") for entry in folder.iterdir() if entry.name.endswith(".sql"))


def file_waivers(file: str) -> tuple[Waiver, ...]:
    """Return the waivers that stand above the first block of `sql/<file>.sql`."""
    head = _HEADER.split(_text(file))[0]
    return tuple(_waiver(file, line) for line in head.splitlines() if _LINT.match(line))


def _text(file: str) -> str:
    return resources.files("genonaut_lib.sql").joinpath(f"{file}.sql").read_text(encoding="utf-8")


def _parse(file: str, name: str, body: str) -> Block:
    attributes: dict[str, str] = {}
    why: list[str] = []
    waivers: list[Waiver] = []
    lines = body.strip().splitlines()
    while lines and lines[0].startswith("--"):
        line = lines.pop(0)
        if match := _ATTRIBUTE.match(line):
            attributes[match[1]] = match[2]
        elif _LINT.match(line):
            waivers.append(_waiver(f"{file}.{name}", line))
        else:
            why.append(line.removeprefix("--").strip())
    text = "\n".join(lines).rstrip(";\n ")
    return Block(file, name, text, why=" ".join(why), waivers=tuple(waivers), **attributes)


def _waiver(place: str, line: str) -> Waiver:
    found = _WAIVER.match(line)
    if found is None:
        raise ValueError(f"{place}: {line!r} is no waiver; write `-- lint: allow <rule> because <reason>`")
    return Waiver(found[1], found[2])


def _quote(value: str | sql.Composable) -> sql.Composable:
    return sql.Identifier(*value.split(".")) if isinstance(value, str) else value
