"""Changing the hierarchy of tags: a tag may have several parents, and is never its own ancestor."""

from __future__ import annotations

import graphlib
import uuid
from collections.abc import Mapping, Sequence

from genonaut_lib.db.engine import Connection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import CheckFailed, CycleRefused, InvalidInput

Path = tuple[str, ...]
"""Names of tags, each the child of the next."""


def add_parent(connection: Connection, child: uuid.UUID, parent: uuid.UUID) -> bool:
    """Make a tag a child of another; return whether that is new.

    Raises CycleRefused, with the path, where the parent is the child or one of its descendants;
    InvalidInput for an unknown tag; CheckFailed in a transaction that does not see what others commit.
    """
    with connection.transaction():
        _begin(connection)
        names = _names(connection, child, parent)
        way = _way(connection, parent, child)
        if way is not None:
            raise _refusal((names[child], names[parent], *way))
        return _execute(connection, "add", child, parent)


def remove_parent(connection: Connection, child: uuid.UUID, parent: uuid.UUID) -> bool:
    """Make a tag a child of another no longer; return whether it was one. Raises InvalidInput for an unknown tag."""
    with connection.transaction():
        _names(connection, child, parent)
        return _execute(connection, "remove", child, parent)


def find_cycles(connection: Connection) -> tuple[Path, ...]:
    """Return cycles in the hierarchy, each once round from its least name back to it; none if all is well.

    Whoever breaks each of them has broken all, though not every way round is named: there may be
    more of them than anybody could read. `add_parent` makes none; another writer of the table may.
    """
    parents: dict[str, list[str]] = {}
    for child, parent in connection.execute(block("hierarchy", "edges").sql()).fetchall():
        parents.setdefault(child, []).append(parent)
    found = []
    while (cycle := _cycle(parents)) is not None:
        found.append(_from_least(cycle))
        parents[cycle[0]].remove(cycle[1])
    return tuple(sorted(found))


def _begin(connection: Connection) -> None:
    """Take the hierarchy's lock. A snapshot from before it would hide what its last holder committed."""
    row = connection.execute(block("hierarchy", "lock").sql()).fetchone()
    if row is None or row[1] not in ("read committed", "read uncommitted"):
        raise CheckFailed(
            "The hierarchy of tags cannot be changed safely in a transaction that does not see later commits.",
            hint="Begin the transaction with isolation level READ COMMITTED.",
        )


def _names(connection: Connection, *wanted: uuid.UUID) -> Mapping[uuid.UUID, str]:
    found: dict[uuid.UUID, str] = dict(connection.execute(block("hierarchy", "names").sql(), {"tags": list(wanted)}))
    for tag in wanted:
        if tag not in found:
            raise InvalidInput(f"There is no tag with the id {tag}.", hint="Seed the tag first, or look its id up.")
    return found


def _way(connection: Connection, start: uuid.UUID, end: uuid.UUID) -> Path | None:
    """Return the names on a shortest way from a tag up to another, without the first; None if no way leads there."""
    above: dict[uuid.UUID, list[tuple[uuid.UUID, str]]] = {}
    for child, parent, name in connection.execute(
        block("hierarchy", "edges_above").sql(), {"tag_id": start}
    ).fetchall():
        above.setdefault(child, []).append((parent, name))
    ways: dict[uuid.UUID, Path] = {start: ()}
    waiting = [start]
    for tag in waiting:
        for parent, name in above.get(tag, []):
            if parent not in ways:
                ways[parent] = (*ways[tag], name)
                waiting.append(parent)
    return ways.get(end)


def _refusal(path: Path) -> CycleRefused:
    return CycleRefused(
        f"{path[0]!r} would become its own ancestor: {' -> '.join(path)}.",
        hint="Remove one of the other steps on that path first.",
        path=path,
    )


def _execute(connection: Connection, name: str, child: uuid.UUID, parent: uuid.UUID) -> bool:
    """Write an edge; return whether that changed anything."""
    return connection.execute(block("hierarchy", name).sql(), {"child_id": child, "parent_id": parent}).rowcount > 0


def _cycle(parents: Mapping[str, Sequence[str]]) -> Path | None:
    """Return one cycle, each name the child of the next and the last one the first again; None without any."""
    try:
        graphlib.TopologicalSorter(parents).prepare()
    except graphlib.CycleError as error:
        # In its list each node is a predecessor, hence a parent, of the next one.
        return tuple(reversed(error.args[1]))
    return None


def _from_least(cycle: Path) -> Path:
    steps = cycle[:-1]
    place = steps.index(min(steps))
    return (*steps[place:], *steps[: place + 1])
