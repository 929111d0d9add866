"""What the answers about tags look like: their models for the OpenAPI document, and the plain values that are sent."""

from __future__ import annotations

import uuid
from collections.abc import Iterable
from datetime import datetime
from typing import Any

from pydantic import BaseModel, ConfigDict, Field

from genonaut_lib.gallery.tag_figures import TagFigures
from genonaut_lib.gallery.tags import Hierarchy, Relative, Tag, TagListing, TagPage
from genonaut_lib.vocabulary import ContentSource

_TAG = {
    "id": "4c6ef5a5-3d2f-5d4e-9c46-0d6a1b2c3d4e",
    "name": "devel::lang:perl",
    "slug": "devel-lang-perl",
    "label": "devel::lang:perl",
    "created_at": "2025-01-01T00:00:00Z",
    "count": 1843,
    "counts": {"regular": 612, "auto": 1231},
    "counted_at": "2025-06-01T04:00:00Z",
}
_PARENT = _TAG | {"id": "0e2b7a31-5b0c-5f7e-8a51-6f7e8d9c0b1a", "name": "devel", "slug": "devel", "label": "devel"}


def _example(value: dict[str, Any]) -> ConfigDict:
    return ConfigDict(json_schema_extra={"examples": [value]})


class CountsBody(BaseModel):
    """Items of each source."""

    regular: int
    auto: int


class TagBody(BaseModel):
    """A tag and how many items carry it.

    Counts are of items that everybody may see, as of `counted_at`; all three are null where they are not
    known yet, which is so for a tag that is younger than the statistics.
    """

    model_config = _example(_TAG)

    id: uuid.UUID
    name: str
    slug: str
    label: str
    created_at: datetime
    count: int | None
    counts: CountsBody | None
    counted_at: datetime | None


class TagPagination(BaseModel):
    """Where a page of tags lies; `total_count` and `total_pages` are null where they were not asked for."""

    page: int
    page_size: int
    total_count: int | None
    total_pages: int | None
    has_next: bool
    has_previous: bool


class TagPageBody(BaseModel):
    """A page of tags."""

    model_config = _example(
        {
            "items": [_TAG],
            "pagination": {
                "page": 1, "page_size": 50, "total_count": 1, "total_pages": 1, "has_next": False,
                "has_previous": False,
            },
        }
    )  # fmt: skip

    items: list[TagBody]
    pagination: TagPagination


class TagsBody(BaseModel):
    """Some tags."""

    model_config = _example({"items": [_TAG]})

    items: list[TagBody]


class RelativeBody(TagBody):
    """A tag above or below another one, and how many steps away it is: the fewest, where several ways lead there."""

    model_config = _example(_PARENT | {"depth": 1})

    depth: int


class RelativesBody(BaseModel):
    """The tags above or below another one, the nearest first."""

    model_config = _example({"items": [_PARENT | {"depth": 1}]})

    items: list[RelativeBody]


class EdgeBody(BaseModel):
    """One parent of one tag, by their ids."""

    child: uuid.UUID
    parent: uuid.UUID


class HierarchyBody(BaseModel):
    """Tags, by name, and every step from one of them to a parent among them."""

    model_config = _example({"nodes": [_PARENT, _TAG], "edges": [{"child": _TAG["id"], "parent": _PARENT["id"]}]})

    nodes: list[TagBody]
    edges: list[EdgeBody]


class HierarchyFigures(BaseModel):
    """How the hierarchy is built: `relationships` are steps from a tag to a parent."""

    relationships: int
    roots: int
    deepest_level: int


class UsageFigures(BaseModel):
    """How tags are used in one source, by items that everybody may see."""

    tags: int = Field(description="Tags that at least one item carries.")
    relationships: int = Field(description="How often an item carries a tag.")


class UsageBody(BaseModel):
    """How tags are used in each source."""

    regular: UsageFigures
    auto: UsageFigures


class TagFiguresBody(BaseModel):
    """The tags in figures; `usage` and `most_used` are as of `refreshed_at`, null before the first refresh."""

    model_config = _example(
        {
            "tags": 612,
            "hierarchy": {"relationships": 590, "roots": 24, "deepest_level": 2},
            "usage": {
                "regular": {"tags": 580, "relationships": 27_411},
                "auto": {"tags": 601, "relationships": 82_540},
            },
            "refreshed_at": "2025-06-01T04:00:00Z",
            "most_used": [_TAG],
        }
    )

    tags: int
    hierarchy: HierarchyFigures
    usage: UsageBody
    refreshed_at: datetime | None
    most_used: list[TagBody]


def tag(found: Tag) -> dict[str, Any]:
    """Return a tag as it is sent: of its counts only what everybody may see."""
    counts = {source.junction: count.display_count for source, count in found.counts.items()}
    return {
        "id": found.id, "name": found.name, "slug": found.slug, "label": found.label, "created_at": found.created_at,
        "count": found.total.display_count if found.total else None,
        "counts": counts or None, "counted_at": found.counted_at,
    }  # fmt: skip


def several(found: Iterable[Tag]) -> dict[str, Any]:
    """Return some tags."""
    return {"items": [tag(one) for one in found]}


def relatives(found: Iterable[Relative]) -> dict[str, Any]:
    """Return tags with how far away they are."""
    return {"items": [tag(one.tag) | {"depth": one.depth} for one in found]}


def page(listing: TagListing, found: TagPage, total: int | None) -> dict[str, Any]:
    """Return a page of tags; `total` is None where nobody asked for it."""
    pagination = {
        "page": listing.page, "page_size": listing.page_size, "total_count": total,
        "total_pages": None if total is None else -(-total // listing.page_size),
        "has_next": found.next_place is not None, "has_previous": listing.page > 1,
    }  # fmt: skip
    return several(found.tags) | {"pagination": pagination}


def forest(found: Hierarchy) -> dict[str, Any]:
    """Return a hierarchy."""
    edges = [{"child": edge.child, "parent": edge.parent} for edge in found.edges]
    return {"nodes": [tag(one) for one in found.nodes], "edges": edges}


def figures(found: TagFigures, most_used: Iterable[Tag]) -> dict[str, Any]:
    """Return the tags in figures."""
    names = ("relationships", "roots", "deepest_level")
    return {
        "tags": found.tags,
        "hierarchy": {name: getattr(found, name) for name in names},
        "usage": {source.junction: vars(found.usage[source]) for source in ContentSource},
        "refreshed_at": found.refreshed_at,
        "most_used": [tag(one) for one in most_used],
    }
