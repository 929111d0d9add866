"""/content: one item, made, read, changed and deleted."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from typing import Annotated, Any, Literal

import orjson
from fastapi import APIRouter, Depends, Header, Path, Request, Response

from genonaut_lib.content.item_fields import fields_of, fields_of_new
from genonaut_lib.content.items import Editor, Item, Key
from genonaut_lib.errors import InvalidInput
from genonaut_lib.request_errors import Forbidden
from genonaut_lib.service import problems
from genonaut_lib.service.answers import answer_with
from genonaut_lib.service.bodies import object_of
from genonaut_lib.service.item_models import ShownItem, body_of_change, body_of_new
from genonaut_lib.service.state import Running
from genonaut_lib.service.tokens import parse_uuid
from genonaut_lib.service.who import Asking, Writing
from genonaut_lib.vocabulary import ContentSource

router = APIRouter(tags=["items"])
LEAST_ID, GREATEST_ID = -(2**31), 2**31 - 1


async def _key(
    source: Annotated[Literal["regular", "auto"], Path(description="Which source the item is of.")],
    id: Annotated[int, Path(ge=LEAST_ID, le=GREATEST_ID, description="Its number there.")],
) -> Key:
    return Key(ContentSource.from_junction(source), id)


async def _versions(
    if_match: Annotated[str | None, Header(description="ETags the item may have; refused if it has another.")] = None,
) -> frozenset[str] | None:
    if if_match is None or if_match.strip() == "*":
        return None
    return frozenset(one.strip().removeprefix("W/").strip('"') for one in if_match.split(","))


Versions = Annotated[frozenset[str] | None, Depends(_versions)]


@router.post(
    "/content",
    status_code=201,
    openapi_extra=body_of_new(),
    responses={
        201: {"model": ShownItem, "description": "The item as it was made; Location says where it is."},
        **problems.documented(400, 401, 403, 409, 413, 503, 504),
    },
)
async def create(request: Request, service: Running, editor: Writing) -> Response:
    """Make an item of the caller's, with its tags, in one transaction."""
    body = await object_of(request)
    source, creator = _source(body.pop("source_type", "regular")), _creator(body.pop("creator_id", None), editor)
    item = await service.items.create(source, fields_of_new(body), creator)
    location = f"{request.url.path}/{source.junction}/{item.key.id}"
    return _answer(item, editor, 201, {"Location": location}) or Response(None, 201, {"Location": location})


@router.get(
    "/content/{source}/{id}",
    responses={200: {"model": ShownItem, "description": "The item."}, **problems.documented(400, 404, 504)},
)
async def read(key: Annotated[Key, Depends(_key)], service: Running, caller: Asking) -> Response:
    """Return one item. Another's private item is not there for anybody else."""
    return _shown(await service.items.read(key, caller.viewer))


@router.put(
    "/content/{source}/{id}",
    openapi_extra=body_of_change(),
    responses={
        200: {"model": ShownItem, "description": "The item as it is now."},
        204: {"description": "Changed by an admin, who does not see the private items of others."},
        **problems.documented(400, 401, 403, 404, 409, 412, 413, 503, 504),
    },
)
async def change(
    request: Request, key: Annotated[Key, Depends(_key)], service: Running, editor: Writing, versions: Versions
) -> Response:
    """Replace the fields of an item that are given, its tags as a whole; the same request again changes nothing."""
    given = fields_of(await object_of(request))
    item = await service.items.change(key, given, editor, versions)
    return _answer(item, editor) or Response(None, 204)


@router.delete(
    "/content/{source}/{id}",
    status_code=204,
    responses=problems.documented(400, 401, 403, 404, 409, 412, 503, 504),
)
async def delete(key: Annotated[Key, Depends(_key)], service: Running, editor: Writing, versions: Versions) -> Response:
    """Delete an item and its tags; once more, and there is none."""
    await service.items.delete(key, editor, versions)
    return Response(None, 204)


def _answer(item: Item, editor: Editor, status: int = 200, headers: Mapping[str, str] | None = None) -> Response | None:
    """Return the item as an answer, None where the editor is an admin who may write it and not see it."""
    return _shown(item, status, headers) if item.is_seen_by(editor.user) else None


def _shown(item: Item, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    response = answer_with(_body(item), status)
    response.headers.update({"ETag": f'"{item.version}"', **(headers or {})})
    return response


def _body(item: Item) -> dict[str, Any]:
    return {
        "id": item.key.id,
        "title": item.title,
        "content_type": item.content_type,
        "source_type": item.key.source.junction,
        "creator_id": item.creator_id,
        "creator_username": item.creator_username,
        "quality_score": item.quality_score,
        "tags": item.tags,
        "created_at": item.created_at,
        "updated_at": item.updated_at,
        "path_thumb": item.path_thumb,
        "path_thumbs_alt_res": _as_it_is(item.path_thumbs_alt_res),
        "prompt": item.prompt,
        "item_metadata": _as_it_is(item.item_metadata),
        "is_private": item.is_private,
        "content_data": item.content_data,
    }


def _as_it_is(json: str | None) -> orjson.Fragment | None:
    return None if json is None else orjson.Fragment(json)


def _source(word: Any) -> ContentSource:
    valid = [source.junction for source in ContentSource]
    if word not in valid:
        raise InvalidInput(f"Invalid source_type; valid: {', '.join(valid)}.", field="source_type")
    return ContentSource.from_junction(word)


def _creator(given: Any, editor: Editor) -> uuid.UUID:
    """Return whose the new item is: the caller's, unless an admin names somebody else."""
    creator = editor.user if given is None else parse_uuid(given)
    if creator is None:
        raise InvalidInput("Invalid creator_id; valid: a UUID.", field="creator_id")
    if creator != editor.user and not editor.is_admin:
        raise Forbidden("Nobody but an admin makes items for others.", hint="Leave creator_id out.", field="creator_id")
    return creator
