"""What every answer of the service keeps to, whatever it was asked: no fault, a problem for every error, no leak."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote

import httpx

from genonaut_lib.settings import project_root
from tests.service.served import Served

DOCUMENT = "/api/v1/openapi.json"
LEAKS = re.compile(
    r"traceback|psycopg|sqlalchemy|starlette|pydantic|uvicorn|site-packages|genonaut_lib|\.py\b|sqlstate|syntax error"
    r"|content_items|content_tags|tag_aliases|tag_parents|users_|tag_cardinality|gen_source|bitmap_|workbench"
    r"|relation \\*\"|violates|constraint|postgres|password|/root|/tmp|/home|/usr|0x[0-9a-f]{6,}"
    f"|{re.escape(str(project_root()))}",
    re.IGNORECASE,
)
"""Words of how the service is made. None of them is in anything that these tests send."""

PARTS = {"status", "code", "detail", "title", "type"}
"""What a problem has at least."""


@dataclass(frozen=True)
class Operation:
    """A route of the OpenAPI document: its method, its path with names in braces, its parameters, its body if any."""

    method: str
    path: str
    query: tuple[str, ...]
    path_names: tuple[str, ...]
    takes_body: bool

    def filled(self, value: str) -> str:
        """Return the path with one value in the place of every name, percent-encoded."""
        return re.sub(r"\{[^}]*\}", quote(value, safe=""), self.path)


def operations(service: Served) -> Iterator[Operation]:
    """Yield every route that the service documents."""
    document = httpx.get(service.url + DOCUMENT, trust_env=False).json()
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            if method not in {"get", "post", "put", "patch", "delete"}:
                continue
            parameters = [one for one in told.get("parameters", ()) if "name" in one]
            yield Operation(
                method.upper(),
                path,
                tuple(one["name"] for one in parameters if one["in"] == "query"),
                tuple(one["name"] for one in parameters if one["in"] == "path"),
                "requestBody" in told,
            )


def faults_of(response: httpx.Response) -> list[str]:
    """Return what an answer does that none may do."""
    found = [f"{response.status_code}"] if response.status_code >= 500 else []
    if response.status_code >= 400:
        found += _unlike_a_problem(response)
        found += [f"leaks {one.group()!r}: {response.text[:300]}" for one in LEAKS.finditer(response.text)]
    said = "\n".join(f"{name}: {value}" for name, value in response.headers.items())
    return found + [f"leaks {one.group()!r} in a header" for one in LEAKS.finditer(said)]


def _unlike_a_problem(response: httpx.Response) -> list[str]:
    kind = response.headers.get("content-type", "")
    if not kind.startswith("application/problem+json"):
        return [f"{response.status_code} of type {kind!r}: {response.text[:200]}"]
    body: Mapping[str, Any] = response.json()
    if not set(body) >= PARTS:
        return [f"a problem without {PARTS - set(body)}"]
    return [] if body["status"] == response.status_code else [f"a problem {body['status']} as {response.status_code}"]
