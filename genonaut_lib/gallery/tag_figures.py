"""The tags of a gallery in figures, from its statistics and its hierarchy: the content is not read."""

from __future__ import annotations

import functools
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.db.statements import block
from genonaut_lib.gallery.statistics import FILE, freshness
from genonaut_lib.gallery.tag_rows import fetched
from genonaut_lib.vocabulary import ContentSource

DEEPEST = 100
"""A circle in the hierarchy has no deepest level; this is where looking for one ends."""


@dataclass(frozen=True)
class Usage:
    """What everybody sees of the tags of one source: how many are in use, and how often they are."""

    tags: int = 0
    relationships: int = 0


@dataclass(frozen=True)
class TagFigures:
    """How many tags there are, how their hierarchy is built, and how they are used.

    `relationships` are steps from a tag to a parent, `deepest_level` is the longest way down from a root,
    0 where there is no hierarchy. `usage` is as of `refreshed_at`, which is None before the first refresh.
    """

    tags: int
    relationships: int
    roots: int
    deepest_level: int
    usage: Mapping[ContentSource, Usage]
    refreshed_at: datetime | None


async def tag_figures(connection: AsyncConnection) -> TagFigures:
    """Return the figures; three statements, which agree inside one snapshot.

    Raises StatisticsMissing where the database has no tables of statistics.
    """
    (figures,) = await fetched(connection, _text("tag_figures"), {"most": DEEPEST})
    rows = await fetched(connection, _text("tag_usage"), {})
    found = {row["content_source"]: Usage(row["used"], row["relationships"]) for row in rows}
    usage = {source: found.get(source.junction, Usage()) for source in ContentSource}
    refreshed_at = (await freshness(connection)).refreshed_at
    return TagFigures(**figures, usage=usage, refreshed_at=refreshed_at)


@functools.cache
def _text(name: str) -> bytes:
    return block(FILE, name).sql().as_bytes(None)
