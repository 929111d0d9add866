"""What tags are called, remembered by the process for as long as `service.tags_fresh_s` says."""

from __future__ import annotations

import uuid
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence

from genonaut_lib.service.fleeting import Fleeting

MOST = 200_000
"""Names that are kept: some 40 MB at the very most, and a few KB in a gallery of hundreds of tags."""

Read = Callable[[Collection[uuid.UUID]], Awaitable[Mapping[uuid.UUID, str]]]


class TagNames:
    """Reads the names it does not know, all in one round trip. A tag that is no more has no name."""

    def __init__(self, read: Read, fresh_s: float) -> None:
        self._read = read
        self._known: Fleeting[uuid.UUID, str] = Fleeting(fresh_s, MOST)

    async def names(self, ids: Collection[uuid.UUID]) -> Mapping[uuid.UUID, str]:
        """Return the names of these tags, and maybe of others."""
        known = self._known.current()
        missing = [tag for tag in ids if tag not in known]
        if missing:
            known.update(await self._read(missing))
        return known

    async def of_rows(self, rows: Sequence[Collection[uuid.UUID]]) -> list[list[str]]:
        """Return the names of the tags of each row, sorted."""
        known = self._known.current()
        try:
            return [sorted(map(known.__getitem__, tags)) for tags in rows]
        except KeyError:
            # Seldom, so that the thousands of tags of a page are not looked at twice.
            names = await self.names(set().union(*rows))
        return [sorted(names[tag] for tag in tags if tag in names) for tags in rows]
