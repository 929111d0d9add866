"""Making, changing and deleting one item with its tags, in one transaction, before and after the cut over.

Before it an item's array of tags is the truth and triggers carry it into the junction; after it the junction is
written and the array is read-only. Which of the two holds is asked under a lock that keeps it so, and so a
gallery may be cut over, and back, while it is written.
"""

from __future__ import annotations

import asyncio
import random
import uuid
from collections.abc import Awaitable, Callable, Collection, Sequence
from dataclasses import dataclass
from typing import NoReturn, TypeVar

import psycopg
from psycopg import errors as sqlstate

from genonaut_lib.content.item_fields import Given
from genonaut_lib.content.item_rows import (
    Item,
    Key,
    delete_item,
    has_user,
    hold_truth,
    insert_item,
    lock_item,
    read_item,
    set_tags,
    update_item,
)
from genonaut_lib.db.pool import AsyncConnection, Pool
from genonaut_lib.errors import GenonautError, InvalidInput
from genonaut_lib.gallery.naming import resolve
from genonaut_lib.gallery.reading import reading
from genonaut_lib.gallery.request import unknown_tags
from genonaut_lib.request_errors import (
    Forbidden,
    ItemChanged,
    ItemNotFound,
    ItemRefused,
    PromptImmutable,
    UnknownCreator,
    WriteContended,
)
from genonaut_lib.vocabulary import ContentSource

ATTEMPTS = 5
LONGEST_PAUSE_S = 0.1
"""How often a write is tried that PostgreSQL ended for the sake of others, and how long it waits at most between."""

T = TypeVar("T")


@dataclass(frozen=True)
class Editor:
    """Who writes: their own items, as an admin those of others too."""

    user: uuid.UUID
    is_admin: bool = False


@dataclass(frozen=True)
class Items:
    """The items of a gallery, one at a time, over a pool of sessions.

    Each statement may take `limit_ms`. Whatever is written raises WriteContended where others wrote the same
    rows again and again, or held them for too long; ItemRefused where the gallery's own tables have a rule
    against it; QueryTimedOut for a statement over its limit. Nothing is written then.
    """

    pool: Pool
    limit_ms: int

    async def read(self, key: Key, viewer: uuid.UUID | None) -> Item:
        """Return an item that the viewer may see; raise ItemNotFound for any other."""
        async with reading(self.pool, self.limit_ms, one_snapshot=False) as connection:
            item = await read_item(connection, key)
        if item is None or not item.is_seen_by(viewer):
            raise _not_found(key)
        return item

    async def create(self, source: ContentSource, given: Given, creator: uuid.UUID) -> Item:
        """Make an item; words for one tag count once.

        Raises UnknownTag, with near names, for a word that means no tag, UnknownCreator for a creator who is no user.
        """

        async def work(connection: AsyncConnection, junction_is_truth: bool) -> Item:
            if not await has_user(connection, creator):
                raise UnknownCreator(hint="Make the user first.", field="creator_id")
            tags = await _tags_of(connection, given.tags or ())
            columns = {**given.columns, "prompt": given.prompt, "creator": creator}
            key = await insert_item(connection, source, columns, [] if junction_is_truth else tags)
            if junction_is_truth and tags:
                await set_tags(connection, key, tags)
            return await _found(connection, key)

        return await self._write(work)

    async def change(self, key: Key, given: Given, editor: Editor, versions: Collection[str] | None = None) -> Item:
        """Replace the fields that are given; where none of them differs, nothing is written and no time moves.

        `versions` are those the item may have, None for any. Raises ItemNotFound, Forbidden, ItemChanged,
        PromptImmutable for another prompt than the item's, and UnknownTag.
        """

        async def work(connection: AsyncConnection, junction_is_truth: bool) -> Item:
            before = await _mine(connection, key, editor, versions)
            if given.prompt not in (None, before.prompt):
                raise PromptImmutable(hint="Leave prompt out, or make a new item.")
            tags = None if given.tags is None else await _tags_of(connection, given.tags)
            retagged = tags is not None and set(tags) != set(before.tag_ids)
            columns = {**given.columns, "tags": tags} if retagged and not junction_is_truth else given.columns
            if not await update_item(connection, key, columns, retagged=retagged):
                return before
            if tags is not None and retagged and junction_is_truth:
                await set_tags(connection, key, tags)
            return await _found(connection, key)

        return await self._write(work)

    async def delete(self, key: Key, editor: Editor, versions: Collection[str] | None = None) -> None:
        """Delete an item and its tags.

        Raises ItemNotFound, also for one that was deleted before, Forbidden, and ItemChanged as `change` does.
        """

        async def work(connection: AsyncConnection, _: bool) -> None:
            await _mine(connection, key, editor, versions)
            await delete_item(connection, key)

        await self._write(work)

    async def _write(self, work: Callable[[AsyncConnection, bool], Awaitable[T]]) -> T:
        """Do it in a transaction, and anew in another one where PostgreSQL ended it for the sake of others."""
        for _ in range(ATTEMPTS - 1):
            try:
                return await self._attempt(work)
            except _Ended:
                await asyncio.sleep(random.uniform(0, LONGEST_PAUSE_S))  # noqa: S311  # who goes first is no secret
        try:
            return await self._attempt(work)
        except _Ended as error:
            raise WriteContended(hint="Send the request again.") from error

    async def _attempt(self, work: Callable[[AsyncConnection, bool], Awaitable[T]]) -> T:
        try:
            async with reading(self.pool, self.limit_ms, one_snapshot=False) as connection:
                return await work(connection, await hold_truth(connection))
        except (psycopg.DataError, psycopg.IntegrityError, psycopg.OperationalError) as error:
            _explain(error)


class _Ended(GenonautError):
    """PostgreSQL ended the transaction for the sake of others; another one may succeed."""


def _explain(error: psycopg.Error) -> NoReturn:
    """Raise what the end of a write means to the caller; nothing that PostgreSQL said is repeated."""
    column = error.diag.column_name
    if isinstance(error, sqlstate.SerializationFailure | sqlstate.DeadlockDetected) or _lost_a_tag(error):
        raise _Ended from error
    if isinstance(error, sqlstate.LockNotAvailable):
        raise WriteContended(hint="Somebody holds the item, or its table, for long. Send the request again.") from error
    if isinstance(error, psycopg.IntegrityError):
        raise ItemRefused(hint="The gallery's owner knows their tables' rules.", field=column) from error
    if isinstance(error, psycopg.DataError):
        raise InvalidInput("A value is not one that its column can hold; a text may be too long for it.") from error
    raise error


def _lost_a_tag(error: psycopg.Error) -> bool:
    """Return whether a tag was deleted after its name was looked up: looked up again, it is unknown."""
    return isinstance(error, sqlstate.ForeignKeyViolation) and error.diag.table_name == "content_tags"


async def _tags_of(connection: AsyncConnection, words: Sequence[str]) -> list[uuid.UUID]:
    """Return the tags that words mean, each once, in one order for all writers."""
    resolved = await resolve(connection, words)
    if resolved.unknown:
        raise unknown_tags({"tags": tuple(words)}, resolved)
    return sorted(set(resolved.found.values()))


async def _mine(connection: AsyncConnection, key: Key, editor: Editor, versions: Collection[str] | None) -> Item:
    """Lock an item for its editor and return it as it is then."""
    item = await read_item(connection, key) if await lock_item(connection, key) else None
    if item is None or not (item.is_seen_by(editor.user) or editor.is_admin):
        raise _not_found(key)
    if item.creator_id != editor.user and not editor.is_admin:
        raise Forbidden("The item is somebody else's.", hint="Its creator may change it, and an admin.")
    if versions is not None and item.version not in versions:
        raise ItemChanged(hint="Read it again, and decide anew.")
    return item


async def _found(connection: AsyncConnection, key: Key) -> Item:
    item = await read_item(connection, key)
    assert item is not None, "this transaction wrote it"
    return item


def _not_found(key: Key) -> ItemNotFound:
    return ItemNotFound(f"There is no item {key.source.junction}/{key.id}, or none that the caller may see.")


__all__ = ["ATTEMPTS", "Editor", "Item", "Items", "Key"]
