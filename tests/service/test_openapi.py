"""The OpenAPI document against the service that runs: whatever it allows is answered as it says."""

from __future__ import annotations

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, Phase, settings
from schemathesis.checks import not_a_server_error
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)
from schemathesis.specs.openapi.schemas import OpenApiSchema

from tests.service.harmless import DOCUMENT, faults_of
from tests.service.served import Served

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]
EXAMPLES = 12
"""Requests made up for each operation, beside its examples and what lies at the edges of its parameters."""

api = schemathesis.pytest.from_fixture("document")


@pytest.fixture(scope="module")
def document(service: Served) -> OpenApiSchema:
    """The document as the service gives it."""
    return schemathesis.openapi.from_url(service.url + DOCUMENT)


@api.parametrize()
@settings(
    max_examples=EXAMPLES,
    deadline=None,
    derandomize=True,
    database=None,
    phases=(Phase.explicit, Phase.generate),
    suppress_health_check=list(HealthCheck),
)
def test_every_operation_answers_as_it_is_documented(case: schemathesis.Case, service: Served) -> None:
    """No fault, no status and no type that the document does not tell, and bodies of the shape it tells."""
    response = case.call_and_validate(base_url=service.url, checks=CHECKS, timeout=60)
    answer = httpx.Response(response.status_code, headers=_single(response), content=response.content or b"")
    assert faults_of(answer) == []


def _single(response: schemathesis.Response) -> dict[str, str]:
    kept = {name: values[0] for name, values in response.headers.items()}
    return {name: value for name, value in kept.items() if name != "content-encoding"}


def test_every_operation_says_what_it_is_for_and_how_it_refuses(service: Served) -> None:
    """A summary, a description, an answer and at least one problem; parameters are described, bodies have examples."""
    found = httpx.get(service.url + DOCUMENT, trust_env=False).json()
    silent = []
    for path, methods in found["paths"].items():
        for method, told in methods.items():
            here = f"{method.upper()} {path}"
            silent += [] if told.get("description") else [f"{here}: no description"]
            silent += [
                f"{here}: {one['name']} is not described" for one in told.get("parameters", ()) if not described(one)
            ]
            silent += [
                f"{here}: {status} is no problem"
                for status, answer in told["responses"].items()
                if status.startswith(("4", "5")) and "application/problem+json" not in answer.get("content", {})
            ]
    assert silent == []


def described(parameter: dict[str, object]) -> bool:
    schema = parameter.get("schema")
    return bool(parameter.get("description") or (isinstance(schema, dict) and schema.get("description")))
