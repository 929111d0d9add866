"""Who asks: the viewer of a request, and what they may do.

Without tokens (`service.auth: none`, for demos) the viewer is whoever `user_id` says. With them the viewer is the
subject of the bearer token, and nobody in particular without one.
"""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Annotated, Any

from fastapi import Depends, Query, Request

from genonaut_lib.content.items import Editor
from genonaut_lib.errors import InvalidInput
from genonaut_lib.request_errors import Forbidden, TokenRefused, Unauthenticated
from genonaut_lib.service.state import Running, Service
from genonaut_lib.service.tokens import Bearer, Tokens, parse_uuid


@dataclass(frozen=True)
class Caller:
    """Who a request comes from: `viewer` is None for nobody in particular, who sees what is public."""

    viewer: uuid.UUID | None = None
    is_admin: bool = False


_WHO_LOOKS = "Who looks: the id of a user. With tokens, their subject or nothing."
UserId = Annotated[str | None, Query(description=_WHO_LOOKS)]
DOCUMENTED: Mapping[str, Any] = {
    "name": "user_id", "in": "query", "required": False, "description": _WHO_LOOKS, "schema": {"type": "string"}
}  # fmt: skip
"""What the OpenAPI document says of `user_id`, for a handler that takes it from the request itself."""


def caller_of(request: Request, service: Service, user_id: str | None) -> Caller:
    """Return who asks; raise InvalidInput, Unauthenticated, TokenRefused or Forbidden."""
    if service.tokens is None:
        return Caller(_named(user_id))
    # The token first: a broken one is said to be broken, whatever else is wrong.
    bearer, named = _bearer(request, service.tokens), _named(user_id)
    if bearer is None:
        return _nobody(service, named)
    if named not in (None, bearer.subject):
        raise Forbidden("The token was not given to the user of user_id.", hint="Leave user_id out.", field="user_id")
    return Caller(bearer.subject, bearer.is_admin)


async def _caller(request: Request, service: Running, user_id: UserId = None) -> Caller:
    return caller_of(request, service, user_id)


def _named(user_id: str | None) -> uuid.UUID | None:
    named = parse_uuid(user_id)
    if user_id and named is None:
        raise InvalidInput(f"Invalid user_id {user_id[:80]!r}; valid: a UUID.", field="user_id")
    return named


def _nobody(service: Service, named: uuid.UUID | None) -> Caller:
    if named is not None:
        raise Unauthenticated("user_id names a user, and there is no token to show it.", hint=_SEND_ONE)
    if not service.settings.service.anonymous:
        raise Unauthenticated(hint=_SEND_ONE)
    return Caller()


def _bearer(request: Request, tokens: Tokens) -> Bearer | None:
    """Return who the request's token was given to, None where it has none; a broken one is never passed over."""
    given = request.headers.getlist("authorization")
    if not given:
        return None
    scheme, _, token = given[0].strip().partition(" ")
    if len(given) > 1 or scheme.lower() != "bearer" or not token.strip():
        raise TokenRefused("The request has no single bearer token in its Authorization.", hint=_SEND_ONE)
    return tokens.read(token.strip())


Asking = Annotated[Caller, Depends(_caller)]
"""Who asks, as a parameter of a handler."""


async def _editor(service: Running, caller: Asking) -> Editor:
    if caller.viewer is None:
        how = "Say who you are: `?user_id=` and the id of a user." if service.tokens is None else _SEND_ONE
        raise Unauthenticated("Items are written by somebody, and the request does not say by whom.", hint=how)
    return Editor(caller.viewer, caller.is_admin)


Writing = Annotated[Editor, Depends(_editor)]
"""Who writes, as a parameter of a handler; a request from nobody does not reach it."""


async def _administrator(service: Running, caller: Asking) -> Caller:
    """Let admins pass; without tokens there are none, and a gallery without tokens is a demo that hides nothing."""
    if service.tokens is not None and caller.viewer is None:
        raise Unauthenticated("This is for admins, and the request does not say who sends it.", hint=_SEND_ONE)
    if service.tokens is not None and not caller.is_admin:
        scope = service.settings.service.jwt.admin_scope
        raise Forbidden("This is for admins.", hint=f"It takes a token with the scope {scope}.")
    return caller


Administering = Annotated[Caller, Depends(_administrator)]
"""Who looks after the service, as a parameter of a handler; its `viewer` sees no more than anybody."""

_SEND_ONE = "Send `Authorization: Bearer` and a token."
