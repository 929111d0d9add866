"""What the OpenAPI document says of bearer tokens: the scheme, and which requests need one."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from fastapi import FastAPI

from genonaut_lib.service import problems
from genonaut_lib.service_settings import ServiceSettings

SCHEME = "bearer"
_READING = {"get", "head"}


def document(app: FastAPI, settings: ServiceSettings) -> None:
    """Let the application's document have the scheme, and where tokens are read, what they are for."""
    written = app.openapi

    def described() -> dict[str, Any]:
        found = written()
        schemes = found.setdefault("components", {}).setdefault("securitySchemes", {})
        if SCHEME not in schemes:
            schemes[SCHEME] = _scheme(settings)
            for path, method, operation in _asking(found):
                if settings.auth == "jwt":
                    _require(operation, settings.anonymous and method in _READING and "/admin/" not in path)
        return found

    app.openapi = described  # type: ignore[method-assign]  # the way that FastAPI's documentation describes


def _scheme(settings: ServiceSettings) -> dict[str, str]:
    knobs = settings.jwt
    about = f"A JSON web token signed by {knobs.algorithm}, with `exp` and `sub`, a user's id. "
    about += f"The scope `{knobs.admin_scope}` makes an admin."
    if settings.auth == "none":
        about = "This service reads no tokens: the viewer is whoever `user_id` says."
    return {"type": "http", "scheme": "bearer", "bearerFormat": "JWT", "description": about}


def _asking(document: dict[str, Any]) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Yield the operations that look at who asks: they are those that `user_id` can be said to."""
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            if any(given["name"] == "user_id" for given in operation.get("parameters", ())):
                yield path, method, operation


def _require(operation: dict[str, Any], may_lack: bool) -> None:
    needed: list[dict[str, list[str]]] = [{SCHEME: []}]
    operation["security"] = [{}, *needed] if may_lack else needed
    for status, about in problems.documented(401, 403).items():
        operation["responses"].setdefault(str(status), about)
