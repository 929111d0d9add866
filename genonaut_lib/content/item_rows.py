"""One item as it lies in the database: read, and written column by column and tag by tag."""

from __future__ import annotations

import functools
import hashlib
import uuid
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import UTC, datetime
from typing import Any

from psycopg import sql
from psycopg.rows import tuple_row

from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.db.statements import block
from genonaut_lib.vocabulary import ContentSource

FILE = "items"
READ_ONLY_TRIGGER = "refuse_tags_on_update"
"""What makes the arrays read-only since the cut over, on both tables at once."""


@dataclass(frozen=True)
class Key:
    """The identity of an item: equal ids may occur in both sources."""

    source: ContentSource
    id: int

    @property
    def values(self) -> dict[str, Any]:
        """What statements bind to find the item, in both spellings of its source."""
        return {"id": self.id, "partition": self.source.partition, "junction": self.source.junction}


@dataclass(frozen=True)
class Item:
    """An item with the name of its creator and its tags, both lists of which are in the order of names.

    `item_metadata` and `path_thumbs_alt_res` are JSON texts, as PostgreSQL has them. Times are UTC.
    """

    key: Key
    title: str
    content_type: str
    content_data: str
    item_metadata: str | None
    creator_id: uuid.UUID
    creator_username: str | None
    created_at: datetime
    updated_at: datetime
    quality_score: float | None
    is_private: bool
    path_thumb: str | None
    path_thumbs_alt_res: str | None
    prompt: str
    tag_ids: tuple[uuid.UUID, ...]
    tags: tuple[str, ...]

    @functools.cached_property
    def version(self) -> str:
        """Text that differs for every state of the item that a reader could tell apart."""
        parts = [repr(getattr(self, field.name)) for field in fields(self)]
        return hashlib.blake2b("\n".join(parts).encode("utf-8", "surrogatepass"), digest_size=12).hexdigest()

    def is_seen_by(self, viewer: uuid.UUID | None) -> bool:
        """Say whether somebody may see the item: a private one is its creator's alone."""
        return not self.is_private or self.creator_id == viewer


async def read_item(connection: AsyncConnection, key: Key) -> Item | None:
    """Return the item, whoever may see it; None where there is none."""
    row = await _row(connection, "item", key.values)
    if row is None:
        return None
    return Item(key, *(_plain(value) for value in row))


async def hold_truth(connection: AsyncConnection) -> bool:
    """Return whether the junction is the truth, and keep it so, or not so, until the transaction ends."""
    await connection.execute(_statement("hold"), prepare=False)
    values = {"relation": ContentSource.REGULAR.table, "trigger": READ_ONLY_TRIGGER}
    cursor = await connection.execute(block("catalog", "has_trigger").sql(), values)
    row = await cursor.fetchone()
    assert row is not None
    return bool(row[0])


async def has_user(connection: AsyncConnection, user: uuid.UUID) -> bool:
    """Return whether somebody has this id."""
    return await _row(connection, "has_user", {"creator": user}) == (True,)


async def lock_item(connection: AsyncConnection, key: Key) -> bool:
    """Make other writers of the item wait; return whether it is there."""
    return await _row(connection, "lock_item", key.values) is not None


async def insert_item(
    connection: AsyncConnection, source: ContentSource, columns: Mapping[str, Any], tags: Sequence[uuid.UUID]
) -> Key:
    """Insert a row, its array with these tags; return the item's identity. Columns that are not given are empty."""
    values = _EMPTY | dict(columns) | {"partition": source.partition, "tags": list(tags)}
    row = await _row(connection, "insert_item", values)
    assert row is not None
    return Key(source, row[0])


async def update_item(connection: AsyncConnection, key: Key, columns: Mapping[str, Any], *, retagged: bool) -> bool:
    """Write columns, and the time, where a column differs or the tags do; return whether anything was written."""
    values = key.values | dict(columns) | {"retagged": retagged}
    return await _row(connection, _update(tuple(columns)), values) is not None


async def delete_item(connection: AsyncConnection, key: Key) -> None:
    """Delete the row; its tags go with it."""
    await connection.execute(_statement("delete_item"), key.values)


async def set_tags(connection: AsyncConnection, key: Key, tags: Sequence[uuid.UUID]) -> None:
    """Make these the tags of an item in the junction, and no others."""
    for name in ("remove_tags", "add_tags"):
        await connection.execute(_statement(name), key.values | {"tags": list(tags)})


def _plain(value: Any) -> Any:
    """Return a value as it is in every session: times in UTC, whatever the session's zone, and no lists."""
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    return tuple(value) if isinstance(value, list) else value


_EMPTY: dict[str, Any] = {
    "content_data": "", "quality_score": None, "is_private": False, "path_thumb": None, "path_thumbs_alt_res": None,
    "item_metadata": None,
}  # fmt: skip


@functools.cache
def _update(names: tuple[str, ...]) -> sql.Composed:
    """Return the statement that sets these columns; a column set to itself stands for none."""
    if not names:
        return block(FILE, "update_item").sql(columns="title", given="title")
    given = [sql.SQL("{}::uuid[]" if name == "tags" else "{}").format(sql.Placeholder(name)) for name in names]
    columns = sql.SQL(", ").join(map(sql.Identifier, names))
    return block(FILE, "update_item").sql(columns=columns, given=sql.SQL(", ").join(given))


async def _row(
    connection: AsyncConnection, statement: str | sql.Composed, values: Mapping[str, Any]
) -> tuple[Any, ...] | None:
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(_statement(statement) if isinstance(statement, str) else statement, values)
        return await cursor.fetchone()


@functools.cache
def _statement(name: str) -> sql.Composed:
    return block(FILE, name).sql()
