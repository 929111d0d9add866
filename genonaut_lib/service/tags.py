"""GET /tags and what lies below: lists of tags, one by its id or name, and their hierarchy.

Counts are of items that everybody may see. What the statistics know of all items is not shown, nor can it
be asked for by bounds: nobody learns here how many private items carry a tag.
"""

from __future__ import annotations

import contextlib
import enum
import uuid
from collections.abc import AsyncIterator
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Path, Query, Response
from psycopg.errors import UndefinedTable

from genonaut_lib.db.pool import AsyncConnection
from genonaut_lib.gallery import naming, tags
from genonaut_lib.gallery.reading import reading
from genonaut_lib.gallery.tag_figures import tag_figures
from genonaut_lib.gallery.tags import MOST_TAGS, TagListing, TagSearch, TagSort
from genonaut_lib.request_errors import NotReady, TagNotFound
from genonaut_lib.service import problems
from genonaut_lib.service import tag_bodies as bodies
from genonaut_lib.service.answers import answer_with
from genonaut_lib.service.state import Running, Service
from genonaut_lib.vocabulary import MAX_TAG_LENGTH, ContentSource

router = APIRouter(prefix="/tags", tags=["tags"])

MOST_COUNTED = 2**63 - 1
DEEPEST = 100
FEATURED = 10
"""Tags named in the statistics."""


class SourceWord(enum.StrEnum):
    """The sources as a caller spells them."""

    REGULAR = ContentSource.REGULAR.junction
    AUTO = ContentSource.AUTO.junction


class SortOrder(enum.StrEnum):
    """Which way a list goes."""

    ASC = "asc"
    DESC = "desc"


class Counted(enum.StrEnum):
    """Whether a list of tags says how many there are in all."""

    NONE = "none"
    EXACT = "exact"


Source = Annotated[SourceWord | None, Query(description="Counts of one source. Default: both together.")]
Least = Annotated[int | None, Query(ge=0, le=MOST_COUNTED, description="The fewest items of a tag.", examples=[10])]
Most = Annotated[int | None, Query(ge=0, le=MOST_COUNTED, description="The most items of a tag.", examples=[10_000])]
Order = Annotated[SortOrder, Query(description="`asc` or `desc`.")]
Counting = Annotated[Counted, Query(description="Whether all tags of the list are counted.")]
TagId = Annotated[uuid.UUID, Path(description="A tag's id.", examples=["4c6ef5a5-3d2f-5d4e-9c46-0d6a1b2c3d4e"])]
Search = Annotated[
    str, Query(max_length=2 * MAX_TAG_LENGTH, description="What the name holds; see `search_by`.", examples=["perl"])
]
SearchBy = Annotated[TagSearch, Query(description="Anywhere as a whole word, or at the beginning of the name.")]


def _said(model: type[Any], *problem: int) -> dict[int | str, dict[str, Any]]:
    """Return what the OpenAPI document says of a route's answers."""
    return {200: {"model": model}, **problems.documented(400, *problem, 503, 504)}


async def _listing(  # noqa: PLR0913  # the filters of a list are its parameters
    *,
    page: Annotated[int, Query(ge=1, description="The number of the page, from 1.")] = 1,
    page_size: Annotated[int, Query(ge=1, le=MOST_TAGS, description="The most tags on the page.")] = 50,
    sort: Annotated[TagSort, Query(description="`count` is of items that everybody may see.")] = TagSort.NAME,
    sort_order: Order = SortOrder.ASC,
    search: Search = "",
    search_by: SearchBy = TagSearch.WORD,
    content_source: Source = None,
    min_count: Least = None,
    max_count: Most = None,
) -> TagListing:
    return TagListing(
        sort=sort, descending=sort_order is SortOrder.DESC, source=_source(content_source), search=search,
        search_by=search_by, min_count=min_count, max_count=max_count, page_size=page_size, page=page,
    )  # fmt: skip


Listing = Annotated[TagListing, Depends(_listing)]


@router.get("", responses=_said(bodies.TagPageBody))
async def list_tags(service: Running, listing: Listing, count: Counting = Counted.EXACT) -> Response:
    """Return a page of tags with the number of items that carry them.

    Names and labels are sorted by code point, unknown counts come last. `min_count=1` leaves out tags that
    no item carries.
    """
    async with _asking(service) as connection:
        found = await tags.list_tags(connection, listing)
        total = await tags.count_tags(connection, listing) if count is Counted.EXACT else None
    return answer_with(bodies.page(listing, found, total))


@router.get("/popular", responses=_said(bodies.TagsBody))
async def popular(
    service: Running,
    limit: Annotated[int, Query(ge=1, le=MOST_TAGS, description="The most tags.")] = 20,
    content_source: Source = None,
    min_cardinality: Annotated[int, Query(ge=0, le=MOST_COUNTED, description="Least number of items.")] = 0,
) -> Response:
    """Return the tags that most items show to everybody, in one source or in both together."""
    source = _source(content_source)
    async with _asking(service) as connection:
        found = await tags.popular(connection, limit, source, min_shown=min_cardinality)
    return answer_with(bodies.several(found))


@router.get("/statistics", responses=_said(bodies.TagFiguresBody))
async def statistics(service: Running) -> Response:
    """Return the tags in figures: how many, how deep their hierarchy is, how they are used, the most used ones."""
    async with _asking(service) as connection:
        figures = await tag_figures(connection)
        most_used = await tags.popular(connection, FEATURED, min_shown=1)
    return answer_with(bodies.figures(figures, most_used))


@router.get("/hierarchy", responses=_said(bodies.HierarchyBody, 404, 422))
async def hierarchy(
    service: Running,
    root: Annotated[uuid.UUID | None, Query(description="Only this tag and what lies below it.")] = None,
    depth: Annotated[int | None, Query(ge=0, le=DEEPEST, description="Only so many steps down.")] = None,
) -> Response:
    """Return the tags that have a parent or a child, and the steps between them: all, or a part.

    An answer of more than 10,000 tags is refused (422): ask for one root, or for few steps.
    """
    async with _asking(service) as connection:
        found = await tags.hierarchy(connection, root=root, depth=depth)
    return answer_with(bodies.forest(found))


@router.get("/roots", responses=_said(bodies.TagsBody, 422))
async def roots(
    service: Running,
    lone: Annotated[bool, Query(description="Those without children too.")] = False,
) -> Response:
    """Return the tags that have children and no parent, by name."""
    async with _asking(service) as connection:
        found = await tags.roots(connection, lone=lone)
    return answer_with(bodies.several(found))


@router.get("/by-name/{name:path}", responses=_said(bodies.TagBody, 404))
async def by_name(
    service: Running,
    name: Annotated[str, Path(description="A name, slug or alias, percent-encoded.", examples=["devel::lang:perl"])],
) -> Response:
    """Return the tag that a text means: a name in any spelling, before a slug, before an alias."""
    async with _asking(service) as connection:
        found = await tags.tag_by_name(connection, name)
        if found is None:
            raise await _nobodys(connection, name)
    return answer_with(bodies.tag(found))


@router.get("/{tag_id}", responses=_said(bodies.TagBody, 404))
async def by_id(service: Running, tag_id: TagId) -> Response:
    """Return one tag by its id."""
    async with _asking(service) as connection:
        found = await tags.tag_by_id(connection, tag_id)
    if found is None:
        hint = "List the tags, or look it up by its name."
        raise TagNotFound(f"There is no tag with the id {tag_id}.", hint=hint, field="tag_id")
    return answer_with(bodies.tag(found))


@router.get("/{tag_id}/parents", responses=_said(bodies.TagsBody, 404))
async def parents(service: Running, tag_id: TagId) -> Response:
    """Return the tags one step up, by name; there may be several."""
    async with _asking(service) as connection:
        found = await tags.parents(connection, tag_id)
    return answer_with(bodies.several(found))


@router.get("/{tag_id}/children", responses=_said(bodies.TagsBody, 404))
async def children(service: Running, tag_id: TagId) -> Response:
    """Return the tags one step down, by name."""
    async with _asking(service) as connection:
        found = await tags.children(connection, tag_id)
    return answer_with(bodies.several(found))


@router.get("/{tag_id}/ancestors", responses=_said(bodies.RelativesBody, 404, 422))
async def ancestors(service: Running, tag_id: TagId) -> Response:
    """Return every tag above, nearest first, then by name."""
    async with _asking(service) as connection:
        found = await tags.ancestors(connection, tag_id)
    return answer_with(bodies.relatives(found))


@router.get("/{tag_id}/descendants", responses=_said(bodies.RelativesBody, 404, 422))
async def descendants(service: Running, tag_id: TagId) -> Response:
    """Return every tag below, nearest first, then by name."""
    async with _asking(service) as connection:
        found = await tags.descendants(connection, tag_id)
    return answer_with(bodies.relatives(found))


@contextlib.asynccontextmanager
async def _asking(service: Service) -> AsyncIterator[AsyncConnection]:
    """Open a snapshot of the gallery whose statements are bounded in time; raise NotReady where there are no tags."""
    try:
        async with reading(
            service.pool, service.settings.planner.statement_timeout_ms, one_snapshot=True
        ) as connection:
            yield connection
    except UndefinedTable as error:
        hint = "`genonaut plan` shows which notebook comes next."
        raise NotReady("This gallery is not migrated so far that it had tags.", hint=hint) from error


def _source(word: SourceWord | None) -> ContentSource | None:
    return None if word is None else ContentSource.from_junction(word.value)


async def _nobodys(connection: AsyncConnection, name: str) -> TagNotFound:
    """Return the refusal of a name that no tag has, with those that are spelled alike."""
    near = (await naming.resolve(connection, [name])).unknown.get(name, ())
    hint = f"Near: {', '.join(map(repr, near))}." if near else "GET /tags?search= finds names."
    return TagNotFound(f"No tag is called {name[:80]!r}.", hint=hint, field="name")
