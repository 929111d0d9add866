"""GET /stats/unified: how many items the viewer may see."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from genonaut_lib.gallery.holdings import Holdings
from genonaut_lib.service import problems
from genonaut_lib.service.answers import REVALIDATED, answer_with
from genonaut_lib.service.shapes import DatedStats
from genonaut_lib.service.state import Running
from genonaut_lib.service.who import Asking

router = APIRouter(tags=["gallery"])

_RESPONSES: dict[int | str, dict[str, Any]] = {
    200: {"model": DatedStats, "description": "The counts"},
    304: {"description": "The bytes that If-None-Match names are still right"},
}


@router.get("/stats/unified", responses=_RESPONSES | problems.documented(400, 401, 403, 503, 504))
async def stats(service: Running, caller: Asking) -> Response:
    """Return how many items the viewer may see: exactly, as of the moment that is said.

    `user_*` are the viewer's own, private ones included, and 0 without a viewer; `community_*` are the public ones
    of everybody else.
    """
    counted = await service.stats.current(caller.viewer)
    return answer_with(counts_of(counted.holdings) | {"stats_at": counted.at}, headers=REVALIDATED)


def counts_of(holdings: Holdings) -> dict[str, int]:
    """Return a viewer's holdings as answers name them."""
    return {
        "user_regular_count": holdings.user_regular,
        "user_auto_count": holdings.user_auto,
        "community_regular_count": holdings.community_regular,
        "community_auto_count": holdings.community_auto,
    }
