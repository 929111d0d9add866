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
    and_,
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
from genonaut_lib.request_errors import TagNotFound

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
    """Return the tags one step up, by name; raise TagNotFound for an unknown tag."""
    return tuple(tag_of(row) for row in await _of_known(connection, _step_text(up=True), tag))


async def children(connection: AsyncConnection, tag: uuid.UUID) -> tuple[Tag, ...]:
    """Return the tags one step down, by name; raise TagNotFound for an unknown tag."""
    return tuple(tag_of(row) for row in await _of_known(connection, _step_text(up=False), tag))


async def ancestors(connection: AsyncConnection, tag: uuid.UUID, *, most: int = MOST_NODES) -> tuple[Relative, ...]:
    """Return every tag above, nearest first, then by name.

    Raises TagNotFound for an unknown tag, HierarchyTooLarge for more than `most`.
    """
    return await _relatives(connection, tag, up=True, most=most)


async def descendants(connection: AsyncConnection, tag: uuid.UUID, *, most: int = MOST_NODES) -> tuple[Relative, ...]:
    """Return every tag below, nearest first, then by name.

    Raises TagNotFound for an unknown tag, HierarchyTooLarge for more than `most`.
    """
    return await _relatives(connection, tag, up=False, most=most)


async def hierarchy(
    connection: AsyncConnection, *, root: uuid.UUID | None = None, depth: int | None = None, most: int = MOST_NODES
) -> Hierarchy:
    """Return the whole forest with its counts, or a part of it, as it was at one moment.

    `root` leaves that tag and what lies below it, `depth` what is at most so many steps below it, or below
    the roots; edges are those between tags that are left. Raises TagNotFound for an unknown root,
    InvalidInput for a negative depth, HierarchyTooLarge for more than `most` tags.
    """
    if depth is not None and depth < 0:
        raise InvalidInput(f"depth is {depth}, and counts from 0.", field="depth")
    rows = await fetched(connection, *_part(root, depth, most))
    if root is not None and not rows:
        raise _unknown(root, "root")
    nodes = {row["id"] for row in _within(rows, most)}
    edges = tuple(Edge(row["id"], parent) for row in rows for parent in row["parents"] if parent in nodes)
    return Hierarchy(tuple(tag_of(row) for row in rows), edges)


def _part(root: uuid.UUID | None, depth: int | None, most: int) -> tuple[bytes, dict[str, Any]]:
    """Return the statement of the forest or a part of it, and its values."""
    if root is None and depth is None:
        return _forest_text(), {"most": most + 1}
    # Whatever is more than `most` steps away has more than `most` tags above it.
    deepest = most if depth is None else min(depth, most)
    return _part_text(rooted=root is not None), {"tag": root, "deepest": deepest, "most": most + 1}


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
        raise _unknown(tag, "tag_id")
    return rows if most is None else _within(rows, most)


def _unknown(tag: uuid.UUID, field: str) -> TagNotFound:
    hint = "List the tags, or look it up by its name."
    return TagNotFound(f"There is no tag with the id {tag}.", hint=hint, field=field)


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
    related = or_(exists().where(tags.c.id == _CHILD), exists().where(tags.c.id == _PARENT))
    return text_of(_bounded(tag_rows(_above()).where(related)))


@functools.cache
def _part_text(*, rooted: bool) -> bytes:
    start = array([_TAG]) if rooted else _every_root()
    walk = _walk(*_ends(up=False), start, bindparam("deepest", type_=Integer))
    met = select(func.unnest(walk.c.frontier).label("id")).subquery("met")
    return text_of(_bounded(tag_rows(_above()).join_from(tags, met, met.c.id == tags.c.id)))


def _above() -> ColumnElement[Any]:
    """The ids of a tag's parents."""
    found = select(_PARENT).where(tags.c.id == _CHILD).order_by(_PARENT).scalar_subquery()
    return func.array(found).label("parents")


def _every_root() -> ColumnElement[Any]:
    """The ids of all tags that have children and no parent; null where there is none, and nothing is met from there."""
    top = tags.alias("top")
    is_root = and_(exists().where(top.c.id == _PARENT), ~exists().where(top.c.id == _CHILD))
    return select(func.array_agg(top.c.id)).where(is_root).scalar_subquery()


@functools.cache
def _walk_text(*, up: bool) -> bytes:
    walk = _walk(*_ends(up), array([_TAG]))
    met = (
        select(func.unnest(walk.c.frontier).label("id"), walk.c.depth).where(walk.c.depth > _number(0)).subquery("met")
    )
    statement = tag_rows(met.c.depth).join_from(tags, met, met.c.id == tags.c.id).order_by(met.c.depth.asc())
    return text_of(_bounded(statement))


def _walk(
    known: Column[Any], reached: Column[Any], start: ColumnElement[Any], deepest: ColumnElement[int] | None = None
) -> CTE:
    """Return the tags that some lead to, a row for each depth up to the deepest: the tags new at it, and all met.

    Ways are not followed but tags, so that many ways to one tag cost no more than one.
    """
    first = select(start.label("frontier"), start.label("seen"), _number(0).label("depth"))
    walk = first.cte("walk", recursive=True)
    fresh = (
        select(func.array_agg(distinct(reached)).label("reached"))
        .where(known == any_(walk.c.frontier), reached != all_(walk.c.seen))
        .lateral("fresh")
    )
    deeper = select(fresh.c.reached, walk.c.seen.op("||")(fresh.c.reached), walk.c.depth + _number(1))
    deeper = deeper.select_from(walk.join(fresh, fresh.c.reached.is_not(None)))
    return walk.union_all(deeper if deepest is None else deeper.where(walk.c.depth < deepest))


def _ends(up: bool) -> tuple[Column[Any], Column[Any]]:
    """Return the columns of an edge in the direction it is walked: from the tag we have to the next."""
    return (_CHILD, _PARENT) if up else (_PARENT, _CHILD)


def _bounded(statement: Select[Any]) -> Select[Any]:
    return statement.order_by(BY_NAME.asc()).limit(bindparam("most", type_=Integer))


def _number(value: int) -> ColumnElement[int]:
    """A number of the statement itself, which nobody has to bind."""
    return literal_column(str(value), Integer)
