"""The hierarchy of tags as it is read: a tag may have several parents, and none is its own ancestor.

Should a cycle be in the data all the same, every walk ends: each tag is met once, at its least depth.
"""

from __future__ import annotations

import functools
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from psycopg.rows import DictRow
from sqlalchemy import (
    CTE,
    Column,
    ColumnElement,
    Select,
    all_,
    any_,
    bindparam,
    distinct,
    exists,
    func,
    literal_column,
    or_,
    select,
)
from sqlalchemy.dialects.postgresql import array
from sqlalchemy.types import Integer, Uuid

from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.db.schema import tag_parents, tags
from genonaut_lib.errors import HierarchyTooLarge, InvalidInput
from genonaut_lib.gallery.compiling import text_of
from genonaut_lib.gallery.tag_rows import BY_NAME, Tag, fetched, tag_of, tag_rows

MOST_NODES = 10_000
"""How many tags one answer of the hierarchy holds at most, unless told otherwise."""

_CHILD, _PARENT = tag_parents.c.tag_id, tag_parents.c.parent_id
_TAG = bindparam("tag", type_=Uuid)


@dataclass(frozen=True)
class Relative:
    """An ancestor or a descendant, and how many steps away it is: the fewest, where several ways lead there."""

    tag: Tag
    depth: int


@dataclass(frozen=True)
class Edge:
    """One parent of one tag, by their ids."""

    child: uuid.UUID
    parent: uuid.UUID


@dataclass(frozen=True)
class Hierarchy:
    """The tags that have a parent or a child, sorted by name, and every edge between them."""

    nodes: tuple[Tag, ...] = ()
    edges: tuple[Edge, ...] = ()


async def roots(connection: AsyncConnection, *, lone: bool = False, most: int = MOST_NODES) -> tuple[Tag, ...]:
    """Return the tags that have children and no parent, by name; with `lone` those without children too.

    Raises HierarchyTooLarge for more than `most`.
    """
    rows = await fetched(connection, _roots_text(lone), {"most": most + 1})
    return tuple(tag_of(row) for row in _within(rows, most))


async def parents(connection: AsyncConnection, tag: uuid.UUID) -> tuple[Tag, ...]:
    """Return the tags one step up, by name; raise InvalidInput for an unknown tag."""
    return tuple(tag_of(row) for row in await _of_known(connection, _step_text(up=True), tag))


async def children(connection: AsyncConnection, tag: uuid.UUID) -> tuple[Tag, ...]:
    """Return the tags one step down, by name; raise InvalidInput for an unknown tag."""
    return tuple(tag_of(row) for row in await _of_known(connection, _step_text(up=False), tag))


async def ancestors(connection: AsyncConnection, tag: uuid.UUID, *, most: int = MOST_NODES) -> tuple[Relative, ...]:
    """Return every tag above, nearest first, then by name.

    Raises InvalidInput for an unknown tag, HierarchyTooLarge for more than `most`.
    """
    return await _relatives(connection, tag, up=True, most=most)


async def descendants(connection: AsyncConnection, tag: uuid.UUID, *, most: int = MOST_NODES) -> tuple[Relative, ...]:
    """Return every tag below, nearest first, then by name.

    Raises InvalidInput for an unknown tag, HierarchyTooLarge for more than `most`.
    """
    return await _relatives(connection, tag, up=False, most=most)


async def hierarchy(connection: AsyncConnection, *, most: int = MOST_NODES) -> Hierarchy:
    """Return the whole forest with its counts, as it was at one moment.

    Raises HierarchyTooLarge for more than `most` tags.
    """
    rows = _within(await fetched(connection, _forest_text(), {"most": most + 1}), most)
    edges = tuple(Edge(row["id"], parent) for row in rows for parent in row["parents"])
    return Hierarchy(tuple(tag_of(row) for row in rows), edges)


async def _relatives(connection: AsyncConnection, tag: uuid.UUID, *, up: bool, most: int) -> tuple[Relative, ...]:
    rows = await _of_known(connection, _walk_text(up=up), tag, most)
    return tuple(Relative(tag_of(row), row["depth"]) for row in rows)


async def _of_known(
    connection: AsyncConnection, text: bytes, tag: uuid.UUID, most: int | None = None
) -> Sequence[DictRow]:
    """Return the rows of a statement about one tag; none may mean that there is no such tag."""
    values = {"tag": tag} if most is None else {"tag": tag, "most": most + 1}
    rows = await fetched(connection, text, values)
    if not rows and not await fetched(connection, _known_text(), {"tag": tag}):
        raise InvalidInput(f"There is no tag with the id {tag}.", hint="List the tags, or look it up by its name.")
    return rows if most is None else _within(rows, most)


def _within(rows: Sequence[DictRow], most: int) -> Sequence[DictRow]:
    if len(rows) > most:
        raise HierarchyTooLarge(
            f"The answer has more than {most} tags.",
            hint="Ask for the children of one tag at a time, or allow more.",
        )
    return rows


@functools.cache
def _known_text() -> bytes:
    return text_of(select(tags.c.id).where(tags.c.id == _TAG))


@functools.cache
def _roots_text(lone: bool) -> bytes:
    statement = tag_rows().where(~exists().where(tags.c.id == _CHILD))
    if not lone:
        statement = statement.where(exists().where(tags.c.id == _PARENT))
    return text_of(_bounded(statement))


@functools.cache
def _step_text(*, up: bool) -> bytes:
    known, reached = _ends(up)
    return text_of(tag_rows().where(tags.c.id.in_(select(reached).where(known == _TAG))).order_by(BY_NAME.asc()))


@functools.cache
def _forest_text() -> bytes:
    above = select(_PARENT).where(tags.c.id == _CHILD).order_by(_PARENT).scalar_subquery()
    related = or_(exists().where(tags.c.id == _CHILD), exists().where(tags.c.id == _PARENT))
    return text_of(_bounded(tag_rows(func.array(above).label("parents")).where(related)))


@functools.cache
def _walk_text(*, up: bool) -> bytes:
    walk = _walk(*_ends(up))
    met = (
        select(func.unnest(walk.c.frontier).label("id"), walk.c.depth).where(walk.c.depth > _number(0)).subquery("met")
    )
    statement = tag_rows(met.c.depth).join_from(tags, met, met.c.id == tags.c.id).order_by(met.c.depth.asc())
    return text_of(_bounded(statement))


def _walk(known: Column[Any], reached: Column[Any]) -> CTE:
    """Return the tags a tag leads to, a row for each depth: the tags new at it, and all met so far.

    Ways are not followed but tags, so that many ways to one tag cost no more than one.
    """
    start = select(array([_TAG]).label("frontier"), array([_TAG]).label("seen"), _number(0).label("depth"))
    walk = start.cte("walk", recursive=True)
    fresh = (
        select(func.array_agg(distinct(reached)).label("reached"))
        .where(known == any_(walk.c.frontier), reached != all_(walk.c.seen))
        .lateral("fresh")
    )
    deeper = select(fresh.c.reached, walk.c.seen.op("||")(fresh.c.reached), walk.c.depth + _number(1))
    return walk.union_all(deeper.select_from(walk.join(fresh, fresh.c.reached.is_not(None))))


def _ends(up: bool) -> tuple[Column[Any], Column[Any]]:
    """Return the columns of an edge in the direction it is walked: from the tag we have to the next."""
    return (_CHILD, _PARENT) if up else (_PARENT, _CHILD)


def _bounded(statement: Select[Any]) -> Select[Any]:
    return statement.order_by(BY_NAME.asc()).limit(bindparam("most", type_=Integer))


def _number(value: int) -> ColumnElement[int]:
    """A number of the statement itself, which nobody has to bind."""
    return literal_column(str(value), Integer)
