"""The parameters of a page of the gallery, and the request of the library that they make.

What a value may be is judged by the library alone, so that it is judged once; the document tells it besides.
"""

from __future__ import annotations

import contextlib
import re
import uuid
from collections.abc import Iterator
from typing import Annotated

from fastapi import Query
from pydantic import BaseModel, ConfigDict, WithJsonSchema

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
_Search = Annotated[str, WithJsonSchema({"type": "string", "maxLength": LONGEST_SEARCH})]


class Parameters(BaseModel):
    """What a page of the gallery may be asked for by."""

    model_config = ConfigDict(frozen=True)

    page: Annotated[
        _Number, Query(description="The number of the page, from 1. A cursor is another way to say it.", examples=[2])
    ] = 1
    page_size: Annotated[_PageSize, Query(description="The most items on the page.", examples=[25])] = 10
    cursor: Annotated[
        str | None,
        Query(description="`next_cursor` or `prev_cursor` of an answer; everything else must be as it was there."),
    ] = None
    content_source_types: Annotated[
        tuple[_SourceType, ...] | None,
        Query(
            description="Whose items of which source are wanted; may be repeated. One empty word selects none, and "
            "the answer is an empty page. Not together with `content_types` or `creator_filter`. All but both words "
            "of a source need a viewer.",
            examples=[["community-regular", "user-regular"]],
        ),
    ] = None
    content_types: Annotated[
        tuple[_ContentType, ...] | None,
        Query(description="The sources that are wanted; may be repeated. One empty word selects none."),
    ] = None
    creator_filter: Annotated[
        _CreatorFilter | None,
        Query(description="Whose items are wanted: everybody's, the viewer's, or everybody else's."),
    ] = None
    search_term: Annotated[
        _Search, Query(description='Words, "phrases" and -exclusions in title and prompt.', examples=["red -blue"])
    ] = ""
    sort_field: Annotated[_SortField, Query(description="What the items are sorted by.")] = "created_at"
    sort_order: Annotated[_SortOrder, Query(description="In which direction.")] = "desc"
    tag: Annotated[
        tuple[str, ...],
        Query(description="A tag that is wanted, by its id, slug, name or an alias; may be repeated. A comma is a "
              "letter like any other.", examples=[["anime"]]),
    ] = ()  # fmt: skip
    tag_names: Annotated[
        tuple[str, ...], Query(description="The same as `tag`; both together make one list.", examples=[["anime"]])
    ] = ()
    tag_match: Annotated[_Match, Query(description="Whether an item carries any of the tags or all of them.")] = "any"
    exclude_tag: Annotated[
        tuple[str, ...], Query(description="A tag that no item carries; may be repeated.", examples=[["sketch"]])
    ] = ()
    count: Annotated[
        CountMode,
        Query(description="Whether all items of the filter are counted: not at all, by estimate, exactly, or exactly "
              "unless that takes long. `count_kind` says what `total_count` is."),
    ] = CountMode.AUTO  # fmt: skip
    facets: Annotated[bool, Query(description="Whether to count the tags of all items of the filter as well.")] = False
    facet_limit: Annotated[
        int, Query(ge=1, le=MOST_FACETS, description="The most tags among the facets, those of most items first.")
    ] = 25
    cache_bypass: Annotated[
        bool, Query(description="Answers come from the database in any case; this changes nothing.")
    ] = False

    def request(self, viewer: uuid.UUID | None) -> GalleryRequest:
        """Return what the library is asked for."""
        return GalleryRequest(
            tags=(*self.tag, *self.tag_names), exclude=self.exclude_tag, match=self.tag_match, viewer=viewer,
            content_source_types=self.content_source_types, content_types=self.content_types,
            creator_filter=self.creator_filter, search=self.search_term, sort_field=self.sort_field,
            sort_order=self.sort_order, page=self.page, page_size=self.page_size, cursor=self.cursor,
        )  # fmt: skip


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
