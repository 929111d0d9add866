"""How many items a viewer may see, by source and by whose they are."""

from __future__ import annotations

import uuid
from collections.abc import Sequence
from dataclasses import dataclass

from psycopg.rows import tuple_row

from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.db.statements import block
from genonaut_lib.gallery.query import Creators, GalleryQuery, Scope
from genonaut_lib.vocabulary import ContentSource

_MINE = (Scope(Creators.MINE, Creators.NOBODY), Scope(Creators.NOBODY, Creators.MINE))
_OTHERS = (Scope(Creators.COMMUNITY, Creators.NOBODY), Scope(Creators.NOBODY, Creators.COMMUNITY))
_ANYBODYS = (Scope(Creators.EVERYBODY, Creators.NOBODY), Scope(Creators.NOBODY, Creators.EVERYBODY))


@dataclass(frozen=True)
class Holdings:
    """How many items there are: the viewer's own, private ones included, and the public ones of everybody else.

    Who is nobody has none of their own, and everybody's public items are the community's.
    """

    user_regular: int
    user_auto: int
    community_regular: int
    community_auto: int


def queries_of(viewer: uuid.UUID | None) -> list[GalleryQuery]:
    """Return the filters whose totals are a viewer's holdings, in the order of their fields; nobody has two."""
    scopes = _ANYBODYS if viewer is None else (*_MINE, *_OTHERS)
    return [GalleryQuery(viewer=viewer, scope=scope, page_size=1) for scope in scopes]


def holdings_of(totals: Sequence[int]) -> Holdings:
    """Return the holdings that the totals of `queries_of` make."""
    return Holdings(*(0,) * (4 - len(totals)), *totals)


async def count_holdings(connection: AsyncConnection, viewer: uuid.UUID | None) -> Holdings:
    """Return a viewer's holdings by a pass over all items, in one statement and so of one snapshot."""
    async with connection.cursor(row_factory=tuple_row) as cursor:
        await cursor.execute(block("holdings", "holdings").sql(), {"viewer": viewer})
        counts = {source: (mine, others) for source, mine, others in await cursor.fetchall()}
    regular, auto = (counts.get(source.partition, (0, 0)) for source in (ContentSource.REGULAR, ContentSource.AUTO))
    return Holdings(regular[0], auto[0], regular[1], auto[1])
