"""What tags are called, remembered by the process for as long as `service.tags_fresh_s` says."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from operator import attrgetter

from genonaut_lib.service.fleeting import Fleeting

MOST = 200_000
"""Names that are kept: some 40 MB at the very most, and a few KB in a gallery of hundreds of tags."""

Read = Callable[[Collection[uuid.UUID]], Awaitable[Mapping[uuid.UUID, str]]]

_NUMBER = attrgetter("int")
"""UUIDs are hashed and compared in Python code, their numbers are not: half the time of a page's thousands of tags."""


class TagNames:
    """Reads the names it does not know, all in one round trip. A tag that is no more has no name."""

    def __init__(self, read: Read, fresh_s: float) -> None:
        self._read = read
        self._known: Fleeting[int, str] = Fleeting(fresh_s, MOST)

    async def names(self, ids: Collection[uuid.UUID]) -> Mapping[uuid.UUID, str]:
        """Return the names of these tags."""
        known = await self._with(ids)
        return {tag: known[tag.int] for tag in ids if tag.int in known}

    async def of_rows(self, rows: Sequence[Collection[uuid.UUID]]) -> list[list[str]]:
        """Return the names of the tags of each row, sorted."""
        known = self._known.current()
        try:
            return [sorted(map(known.__getitem__, map(_NUMBER, tags))) for tags in rows]
        except KeyError:
            # Seldom, so that a page's tags are not looked at twice.
            found = await self._with(set().union(*rows))
        return [sorted(found[tag.int] for tag in tags if tag.int in found) for tags in rows]

    async def _with(self, ids: Collection[uuid.UUID]) -> Mapping[int, str]:
        """Return what is known, these tags included as far as they are there."""
        known = self._known.current()
        missing = [tag for tag in ids if tag.int not in known]
        if missing:
            known.update((tag.int, name) for tag, name in (await self._read(missing)).items())
        return known
