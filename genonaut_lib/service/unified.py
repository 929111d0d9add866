"""GET /content/unified: a page of the gallery."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from genonaut_lib.gallery.counts import CountMode
from genonaut_lib.gallery.gallery import Answer
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.service import problems
from genonaut_lib.service.answers import answer_with
from genonaut_lib.service.parameters import Wanted
from genonaut_lib.service.state import Running
from genonaut_lib.service.trace import CURRENT
from genonaut_lib.vocabulary import ContentSource

router = APIRouter(tags=["gallery"])


@router.get("/content/unified", responses=problems.documented(400, 504))
async def unified(service: Running, wanted: Wanted, count: CountMode = CountMode.AUTO) -> Response:
    """Return a page of the gallery."""
    query = await service.gallery.query_of(wanted)
    answer = await service.gallery.page(query, count)
    CURRENT.get().answered(answer)
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
