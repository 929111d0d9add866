"""The bodies of items as the OpenAPI document shows them; nothing is checked by them when a request comes."""

from __future__ import annotations

import uuid
from datetime import datetime
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from genonaut_lib.content.item_fields import (
    LONGEST_CONTENT_TYPE,
    LONGEST_DATA,
    LONGEST_PATH,
    LONGEST_PROMPT,
    LONGEST_TITLE,
    LONGEST_WORD,
    MOST_TAGS,
)

_EXAMPLE: dict[str, Any] = {
    "title": "Red house by the sea",
    "content_type": "image",
    "content_data": "/images/4711.png",
    "prompt": "a red house by the sea, oil on canvas",
    "tags": ["anime", "landscape"],
    "quality_score": 0.8,
    "is_private": False,
    "path_thumb": "/thumbs/4711.webp",
    "path_thumbs_alt_res": {"512x768": "/thumbs/4711_512.webp"},
    "item_metadata": {"seed": 7, "sampler": "euler"},
}
_USER = "6f1b1c1e-4a3f-4c53-8f3e-0d6d1c0f6a11"


class _Described(BaseModel):
    """What the bodies share."""

    model_config = ConfigDict(extra="forbid")

    title: str = Field(max_length=LONGEST_TITLE)
    content_type: str = Field(max_length=LONGEST_CONTENT_TYPE)
    content_data: str = Field("", max_length=LONGEST_DATA)
    prompt: str = Field(max_length=LONGEST_PROMPT, description="Written once; another one is refused later on.")
    quality_score: float | None = Field(None, description="Any finite number.")
    is_private: bool = Field(False, description="Whether only its creator sees the item.")
    path_thumb: str | None = Field(None, max_length=LONGEST_PATH)
    path_thumbs_alt_res: dict[str, str] | None = Field(None, description="Paths of thumbnails by resolution.")
    item_metadata: dict[str, Any] | None = None


class NewItem(_Described):
    """An item to be made. Tags are called by id, name, slug or alias; each must be there, and counts once."""

    model_config = ConfigDict(json_schema_extra={"examples": [_EXAMPLE | {"source_type": "regular"}]})

    source_type: Literal["regular", "auto"] = "regular"
    creator_id: uuid.UUID | None = Field(None, description="The caller, who is meant without it. Admins name others.")
    tags: list[str] = Field([], max_length=MOST_TAGS, description=f"Words of at most {LONGEST_WORD} characters.")


class ShownItem(_Described):
    """An item."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                _EXAMPLE
                | {"id": 4711, "source_type": "regular", "creator_id": _USER, "creator_username": "ada"}
                | {"created_at": "2026-01-31T12:00:00.5+00:00", "updated_at": "2026-01-31T12:00:00.5+00:00"}
            ]
        }
    )

    id: int
    source_type: Literal["regular", "auto"]
    creator_id: uuid.UUID
    creator_username: str | None
    created_at: datetime
    updated_at: datetime
    tags: list[str] = Field(description="Names, sorted.")


def body_of_new() -> dict[str, Any]:
    """Return what an operation says of the body that makes an item."""
    return _body(NewItem.model_json_schema(), "The item to be made.")


def body_of_change() -> dict[str, Any]:
    """Return what an operation says of the body that changes an item: any of its fields, none of them needed."""
    schema = NewItem.model_json_schema()
    settable = {
        name: about for name, about in schema["properties"].items() if name not in ("source_type", "creator_id")
    }
    schema |= {
        "title": "ChangedItem",
        "description": "The fields to be replaced; what is left out stays as it is.",
        "properties": {name: _without_default(about) for name, about in settable.items()},
        "examples": [{"title": "Blue house", "tags": ["landscape"], "quality_score": None}],
    }
    del schema["required"]
    return _body(schema, "The fields to be replaced.")


def _without_default(about: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in about.items() if name != "default"}


def _body(schema: dict[str, Any], about: str) -> dict[str, Any]:
    content = {"application/json": {"schema": schema}}
    return {"requestBody": {"required": True, "description": about, "content": content}}
