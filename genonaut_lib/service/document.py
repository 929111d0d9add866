"""The OpenAPI document, without what FastAPI puts into it by itself and this service never answers."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI

_MADE_BY_ITSELF = "#/components/schemas/HTTPValidationError"
"""What FastAPI tells as the 422 of every route with parameters; here a malformed value is a problem of status 400."""


def correct(app: FastAPI) -> None:
    """Let the application's document tell no refusal that it does not make."""
    written = app.openapi

    def corrected() -> dict[str, Any]:
        found = written()
        for methods in found.get("paths", {}).values():
            for operation in methods.values():
                _drop(operation["responses"])
        for name in ("HTTPValidationError", "ValidationError"):
            found.get("components", {}).get("schemas", {}).pop(name, None)
        return found

    app.openapi = corrected  # type: ignore[method-assign]  # the way that FastAPI's documentation describes


def _drop(responses: dict[str, Any]) -> None:
    content = responses.get("422", {}).get("content", {})
    if content.get("application/json", {}).get("schema", {}).get("$ref") == _MADE_BY_ITSELF:
        del responses["422"]
