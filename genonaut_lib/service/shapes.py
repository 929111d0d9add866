"""The shapes of the gallery's answers, for the OpenAPI document; no answer is checked against them while it is made."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

# FastAPI leaves nulls out of its document, so that an example with one would lack a field.
_ITEM: dict[str, Any] = {
    "id": 17, "source_type": "regular", "created_at": "2026-03-01T12:00:00+00:00",
    "updated_at": "2026-03-01T12:00:00+00:00", "title": "A lighthouse at dusk", "content_type": "image",
    "creator_id": "7d444840-9dc0-51d1-b245-5ffdce74fad2", "quality_score": 0.87, "is_private": False,
    "path_thumb": "/thumbs/17.webp", "path_thumbs_alt_res": {"512x512": "/thumbs/17-512.webp"},
    "prompt": "a lighthouse at dusk, oil on canvas", "item_metadata": {"model": "dawn-2"},
    "creator_username": "ada", "tags": ["lighthouse", "oil painting"],
}  # fmt: skip
_STATS = {
    "user_regular_count": 12, "user_auto_count": 340, "community_regular_count": 65_000,
    "community_auto_count": 1_109_853,
}  # fmt: skip
_FACET = {
    "tag_id": "2b5c8a0a-6c0f-5f3e-9c6b-0f4a1c9d7e11", "name": "oil painting", "count": 412, "low": 371, "high": 453,
}  # fmt: skip
_PAGINATION = {
    "page": 2, "page_size": 10, "total_count": 412, "count_kind": "exact", "total_pages": 42, "has_next": True,
    "has_previous": True, "next_cursor": "AQEAAAAAAAAAEQAF9fuCTpwA0yQHVmX0Qdk5kYbwC5mfFw",
    "prev_cursor": "AQMAAAAAAAAAIwAF9fuDTpwAq1kQhQv8o0n2b7XcVd3t0g",
}  # fmt: skip


def _showing(example: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"example": example})


class Item(BaseModel):
    """An item of the gallery; `source_type` and `id` together are its identity."""

    model_config = _showing(_ITEM)

    id: int
    source_type: Literal["regular", "auto"]
    created_at: datetime
    updated_at: datetime
    title: str
    content_type: str
    creator_id: uuid.UUID
    quality_score: float | None
    is_private: bool
    path_thumb: str | None
    path_thumbs_alt_res: Any = Field(description="Any JSON, as it was stored.")
    prompt: str
    item_metadata: Any = Field(description="Any JSON, as it was stored.")
    creator_username: str | None
    tags: list[str] = Field(description="The names of its tags, sorted.")


class Pagination(BaseModel):
    """Where a page lies, and what lies about it."""

    model_config = _showing(_PAGINATION)

    page: int | None = Field(description="Null where a cursor led here: nobody knows how many pages come before.")
    page_size: int
    total_count: int | None = Field(description="How many items match; null where that is not known.")
    count_kind: Literal["none", "estimated", "exact"] = Field(description="What total_count is worth.")
    total_pages: int | None = Field(description="Null unless total_count is exact.")
    has_next: bool
    has_previous: bool
    next_cursor: str | None = Field(description="Null on the last page, and where there is no key to sign it with.")
    prev_cursor: str | None = Field(description="Null on the first page, and where there is no key to sign it with.")


class Stats(BaseModel):
    """How many items the viewer may see: their own, private ones included, and the public ones of everybody else."""

    model_config = _showing(_STATS)

    user_regular_count: int
    user_auto_count: int
    community_regular_count: int
    community_auto_count: int


class DatedStats(Stats):
    """The same, and when they were counted: at most `service.stats_fresh_s` ago."""

    model_config = _showing(_STATS | {"stats_at": "2026-03-01T12:00:00.250000+00:00"})

    stats_at: datetime


class FacetCount(BaseModel):
    """How many items of the filter carry a tag; with 95 in 100 the true number lies from `low` to `high`."""

    model_config = _showing(_FACET)

    tag_id: uuid.UUID
    name: str
    count: int
    low: int
    high: int


class Facets(BaseModel):
    """The tags that most items of the filter carry."""

    model_config = _showing({"counts": [_FACET], "sampled": True, "sample_size": 2_000})

    counts: list[FacetCount]
    sampled: bool = Field(description="Whether the counts are scaled up from a random sample.")
    sample_size: int | None = Field(description="How many matching items the sample holds; null for exact counts.")


class UnifiedPage(BaseModel):
    """A page of the gallery."""

    model_config = _showing({"items": [_ITEM], "pagination": _PAGINATION, "stats": _STATS})

    items: list[Item]
    pagination: Pagination
    stats: Stats | None = Field(description="Null where the viewer was never counted for, and counting takes long.")
    facets: Facets | None = Field(None, description="There only if it was asked for.")
