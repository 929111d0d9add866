"""Between people and ids: what the tags of an answer are called, and whom a viewer's name means."""

from __future__ import annotations

import uuid
from collections.abc import Collection, Mapping

from psycopg.rows import tuple_row

from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.db.statements import block
from genonaut_lib.errors import InvalidInput


async def tag_names(connection: AsyncConnection, tags: Collection[uuid.UUID]) -> Mapping[uuid.UUID, str]:
    """Return the names of tags by id, in one round trip; a tag that is no more has none."""
    if not tags:
        return {}
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(block("gallery", "tag_names").sql(), {"tags": list(tags)})
        return {tag: name async for tag, name in cursor}


async def viewer_named(connection: AsyncConnection, word: str) -> uuid.UUID:
    """Return the id of the user that a UUID or a username means; raise InvalidInput where nobody has that name.

    A UUID is taken as it is: whoever was deleted, or never made anything, may look all the same.
    """
    try:
        return uuid.UUID(word)
    except ValueError:
        found = None if "\0" in word else await _user_id(connection, word)
    if found is None:
        problem = f"There is no user called {word!r}."
        raise InvalidInput(problem, hint="Give a username as it is spelled in `users`, or an id.", field="viewer")
    return found


async def _user_id(connection: AsyncConnection, name: str) -> uuid.UUID | None:
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(block("gallery", "user_named").sql(), {"name": name})
        row = await cursor.fetchone()
    return None if row is None else row[0]
