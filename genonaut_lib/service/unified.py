"""GET /content/unified: a page of the gallery."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Query, Response

from genonaut_lib.gallery.counts import CountMode
from genonaut_lib.gallery.gallery import Answer
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.gallery.request import GalleryRequest
from genonaut_lib.service import problems
from genonaut_lib.service.answers import answer_with
from genonaut_lib.service.state import Running
from genonaut_lib.service.who import Asking
from genonaut_lib.vocabulary import ContentSource

router = APIRouter(tags=["gallery"])


@router.get("/content/unified", responses=problems.documented(400, 504))
async def unified(  # noqa: PLR0913  # the filters of a gallery are the parameters of its page
    service: Running,
    caller: Asking,
    *,
    page: str = "1",
    page_size: str = "10",
    cursor: str | None = None,
    content_source_types: Annotated[list[str] | None, Query()] = None,
    content_types: Annotated[list[str] | None, Query()] = None,
    creator_filter: str | None = None,
    search_term: str = "",
    sort_field: str = "created_at",
    sort_order: str = "desc",
    tag: Annotated[list[str] | None, Query()] = None,
    tag_match: str = "any",
    exclude_tag: Annotated[list[str] | None, Query()] = None,
    count: CountMode = CountMode.AUTO,
) -> Response:
    """Return a page of the gallery."""
    request = GalleryRequest(
        tags=tag or (), exclude=exclude_tag or (), match=tag_match, viewer=caller.viewer, search=search_term,
        content_source_types=content_source_types, content_types=content_types, creator_filter=creator_filter,
        sort_field=sort_field, sort_order=sort_order, page=page, page_size=page_size, cursor=cursor,
    )  # fmt: skip
    query = await service.gallery.query_of(request)
    answer = await service.gallery.page(query, count)
    return answer_with(_body(query, answer))


def _body(query: GalleryQuery, answer: Answer) -> dict[str, Any]:
    return {
        "items": [_item(row) for row in answer.page.rows],
        "pagination": {
            "page": query.page,
            "page_size": query.page_size,
            "total_count": answer.total.value,
            "count_kind": answer.total.kind.value,
            "has_next": answer.page.has_next,
            "has_previous": answer.page.has_previous,
            "next_cursor": answer.next_cursor,
            "prev_cursor": answer.previous_cursor,
        },
    }


def _item(row: dict[str, Any]) -> dict[str, Any]:
    return row | {"source_type": ContentSource.from_partition(row["source_type"]).junction}
