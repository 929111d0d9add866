"""The parameters of a gallery query, as every endpoint takes them that asks for one."""

from __future__ import annotations

from typing import Annotated

from fastapi import Depends, Query

from genonaut_lib.gallery.request import GalleryRequest
from genonaut_lib.service.who import Asking

Words = Annotated[list[str] | None, Query()]


async def _wanted(  # noqa: PLR0913  # the filters of a gallery are the parameters of its page
    caller: Asking,
    *,
    page: str = "1",
    page_size: str = "10",
    cursor: str | None = None,
    content_source_types: Words = None,
    content_types: Words = None,
    creator_filter: str | None = None,
    search_term: str = "",
    sort_field: str = "created_at",
    sort_order: str = "desc",
    tag: Words = None,
    tag_match: str = "any",
    exclude_tag: Words = None,
) -> GalleryRequest:
    return GalleryRequest(
        tags=tag or (), exclude=exclude_tag or (), match=tag_match, viewer=caller.viewer, search=search_term,
        content_source_types=content_source_types, content_types=content_types, creator_filter=creator_filter,
        sort_field=sort_field, sort_order=sort_order, page=page, page_size=page_size, cursor=cursor,
    )  # fmt: skip


Wanted = Annotated[GalleryRequest, Depends(_wanted)]
"""What the caller wants of the gallery; nothing is checked before `Gallery.query_of`."""
