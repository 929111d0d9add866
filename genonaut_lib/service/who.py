"""Who asks: the viewer of a request, and what they may do."""

from __future__ import annotations

import uuid
from dataclasses import dataclass
from typing import Annotated

from fastapi import Depends, Query

from genonaut_lib.errors import InvalidInput


@dataclass(frozen=True)
class Caller:
    """Who a request comes from: `viewer` is None for nobody in particular, who sees what is public."""

    viewer: uuid.UUID | None = None
    is_admin: bool = False


async def _caller(user_id: Annotated[str | None, Query(description="Who looks: the id of a user.")] = None) -> Caller:
    if not user_id:
        return Caller()
    try:
        return Caller(uuid.UUID(user_id))
    except ValueError:
        raise InvalidInput(f"Invalid user_id {user_id[:80]!r}; valid: a UUID.", field="user_id") from None


Asking = Annotated[Caller, Depends(_caller)]
"""Who asks, as a parameter of a handler."""
