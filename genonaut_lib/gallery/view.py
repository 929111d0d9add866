"""The materialised view of both sources with their tags: its name, and how old what it holds is."""

from __future__ import annotations

from datetime import datetime

from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.db.statements import block

NAME = "unified_content_with_tags"


async def refreshed_at(connection: AsyncConnection) -> datetime | None:
    """Return when the view was refreshed; None where there is none of ours or it was never filled."""
    cursor = await connection.execute(block("gallery_view", "state").sql())
    row = await cursor.fetchone()
    return row[1] if row is not None and row[0] else None
