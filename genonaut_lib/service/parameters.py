"""The parameters of a page of the gallery, and the request of the library that they make.

What a value may be is judged by the library alone, so that it is judged once; the document tells it besides.
"""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Iterator
from typing import Annotated, Any

from fastapi import Depends, Request
from fastapi.exceptions import RequestValidationError
from pydantic import BaseModel, ConfigDict, Field, ValidationError, WithJsonSchema

from genonaut_lib.errors import InvalidInput
from genonaut_lib.gallery.counts import CountMode
from genonaut_lib.gallery.facets import MOST_FACETS
from genonaut_lib.gallery.query import MAX_PAGE_SIZE
from genonaut_lib.gallery.request import (
    CREATOR_FILTERS,
    LONGEST_SEARCH,
    MATCHES,
    SORT_FIELDS,
    SORT_ORDERS,
    SOURCE_TYPES,
    SOURCES,
    GalleryRequest,
)

NAMES = {
    "search": "search_term", "tags": "tag", "families": "tag", "exclude": "exclude_tag", "match": "tag_match",
    "viewer": "user_id",
}  # fmt: skip
"""Fields of a GalleryRequest that go by another name here."""

_Number = Annotated[int | str, WithJsonSchema({"type": "integer", "minimum": 1})]
_PageSize = Annotated[int | str, WithJsonSchema({"type": "integer", "minimum": 1, "maximum": MAX_PAGE_SIZE})]
_SourceType = Annotated[str, WithJsonSchema({"type": "string", "enum": [*SOURCE_TYPES, ""]})]
_ContentType = Annotated[str, WithJsonSchema({"type": "string", "enum": [*SOURCES, ""]})]
_CreatorFilter = Annotated[str, WithJsonSchema({"type": "string", "enum": [*CREATOR_FILTERS]})]
_SortField = Annotated[str, WithJsonSchema({"type": "string", "enum": [*SORT_FIELDS]})]
_SortOrder = Annotated[str, WithJsonSchema({"type": "string", "enum": [*SORT_ORDERS]})]
_Match = Annotated[str, WithJsonSchema({"type": "string", "enum": [*MATCHES]})]
_Count = Annotated[CountMode, WithJsonSchema({"type": "string", "enum": [*CountMode]})]
_Search = Annotated[str, WithJsonSchema({"type": "string", "maxLength": LONGEST_SEARCH})]


class Parameters(BaseModel):
    """What a page of the gallery may be asked for by."""

    model_config = ConfigDict(frozen=True)

    page: Annotated[
        _Number, Field(description="The number of the page, from 1. A cursor is another way to say it.", examples=[2])
    ] = 1
    page_size: Annotated[_PageSize, Field(description="The most items on the page.", examples=[25])] = 10
    cursor: Annotated[
        str | None,
        Field(description="`next_cursor` or `prev_cursor` of an answer; everything else must be as it was there."),
    ] = None
    content_source_types: Annotated[
        tuple[_SourceType, ...] | None,
        Field(
            description="Whose items of which source are wanted; may be repeated. One empty word selects none, and "
            "the answer is an empty page. Not together with `content_types` or `creator_filter`. All but both words "
            "of a source need a viewer.",
            examples=[["community-regular", "user-regular"]],
        ),
    ] = None
    content_types: Annotated[
        tuple[_ContentType, ...] | None,
        Field(description="The sources that are wanted; may be repeated. One empty word selects none."),
    ] = None
    creator_filter: Annotated[
        _CreatorFilter | None,
        Field(description="Whose items are wanted: everybody's, the viewer's, or everybody else's."),
    ] = None
    search_term: Annotated[
        _Search, Field(description='Words, "phrases" and -exclusions in title and prompt.', examples=["red -blue"])
    ] = ""
    sort_field: Annotated[_SortField, Field(description="What the items are sorted by.")] = "created_at"
    sort_order: Annotated[_SortOrder, Field(description="In which direction.")] = "desc"
    tag: Annotated[
        tuple[str, ...],
        Field(description="A tag that is wanted, by its id, slug, name or an alias; may be repeated. A comma is a "
              "letter like any other.", examples=[["anime"]]),
    ] = ()  # fmt: skip
    tag_names: Annotated[
        tuple[str, ...], Field(description="The same as `tag`; both together make one list.", examples=[["anime"]])
    ] = ()
    tag_match: Annotated[_Match, Field(description="Whether an item carries any of the tags or all of them.")] = "any"
    exclude_tag: Annotated[
        tuple[str, ...], Field(description="A tag that no item carries; may be repeated.", examples=[["sketch"]])
    ] = ()
    count: Annotated[
        _Count,
        Field(description="Whether all items of the filter are counted: not at all, by estimate, exactly, or exactly "
              "unless that takes long. `count_kind` says what `total_count` is."),
    ] = CountMode.AUTO  # fmt: skip
    facets: Annotated[bool, Field(description="Whether to count the tags of all items of the filter as well.")] = False
    facet_limit: Annotated[
        int, Field(ge=1, le=MOST_FACETS, description="The most tags among the facets, those of most items first.")
    ] = 25
    cache_bypass: Annotated[
        bool, Field(description="Answers come from the database in any case; this changes nothing.")
    ] = False

    def request(self, viewer: uuid.UUID | None) -> GalleryRequest:
        """Return what the library is asked for."""
        return GalleryRequest(
            tags=(*self.tag, *self.tag_names), exclude=self.exclude_tag, match=self.tag_match, viewer=viewer,
            content_source_types=self.content_source_types, content_types=self.content_types,
            creator_filter=self.creator_filter, search=self.search_term, sort_field=self.sort_field,
            sort_order=self.sort_order, page=self.page, page_size=self.page_size, cursor=self.cursor,
        )  # fmt: skip


_LISTS = frozenset({"content_source_types", "content_types", "tag", "tag_names", "exclude_tag"})


def parsed(request: Request) -> Parameters:
    """Return the parameters of a request; raise RequestValidationError for a value that is none."""
    given = request.query_params
    words = {name: given.getlist(name) if name in _LISTS else given[name] for name in given}
    try:
        return Parameters.model_validate(words)
    except ValidationError as error:
        raise RequestValidationError([{**one, "loc": ("query", *one["loc"])} for one in error.errors()]) from None


async def _parsed(request: Request) -> Parameters:
    return parsed(request)


Asked = Annotated[Parameters, Depends(_parsed)]
"""The parameters of a request. FastAPI's own reading of so many takes longer than all else that it does."""


def documented() -> dict[str, Any]:
    """Return what the OpenAPI document says of the parameters."""
    fields = Parameters.model_json_schema()["properties"]
    return {
        "parameters": [
            {"name": name, "in": "query", "required": False, "description": schema.pop("description"), "schema": schema}
            for name, schema in fields.items()
        ]
    }


@contextlib.contextmanager
def in_parameters() -> Iterator[None]:
    """Let the library's refusals of a block name the parameter at fault, and not the field it became."""
    try:
        yield
    except InvalidInput as error:
        name = NAMES.get(error.field or "")
        if name is not None:
            # Its sentences begin with the field, or with `Invalid` and the field.
            error.message = re.sub(rf"^(Invalid )?{error.field}\b", rf"\g<1>{name}", error.message)
            error.field = name
        raise
