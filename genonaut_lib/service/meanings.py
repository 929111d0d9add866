"""What requests mean, remembered by the process for as long as `service.tags_fresh_s` says.

Looking up what words for tags mean takes a session and a round trip, each time anew while somebody turns the
pages of one filter. What is remembered is that a request meant a query, never what the query found. A refusal
is not remembered, so a tag that is made now can be asked for now; one that is renamed, merged or deleted keeps
its old words for at most that long, and what nobody carries any more is found nowhere.
"""

from __future__ import annotations

from dataclasses import replace

from genonaut_lib.gallery.gallery import Gallery
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.gallery.request import GalleryRequest
from genonaut_lib.service.fleeting import Fleeting

MOST = 1_000


class Meanings:
    """Asks the gallery what a request means, and remembers it. The lists of a request must be tuples."""

    def __init__(self, gallery: Gallery, fresh_s: float) -> None:
        self._gallery = gallery
        self._known: Fleeting[GalleryRequest, GalleryQuery] = Fleeting(fresh_s, MOST)

    async def query_of(self, request: GalleryRequest) -> GalleryQuery:
        """Return the query that a request means; raises as `Gallery.query_of` does."""
        known = self._known.current()
        first = request if request.cursor is None else replace(request, cursor=None)
        query = known.get(first)
        if query is None:
            query = known[first] = await self._gallery.query_of(first)
        return query if request.cursor is None else await self._gallery.resumed(query, request.cursor)
