"""The OpenAPI document against the service that runs: whatever it allows is answered as it says."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest

from genonaut_lib.settings import project_root
from tests.service.harmless import DOCUMENT
from tests.service.served import Served

CHECKS = (
    "not_a_server_error", "status_code_conformance", "content_type_conformance", "response_schema_conformance",
    "harmless",
)  # fmt: skip
EXAMPLES, SECONDS = 5, 240
"""Requests made up for each operation, beside its examples and the edges of its parameters; and a limit for a hang."""


@pytest.fixture(scope="module")
def document(service: Served) -> dict[str, Any]:
    """The document as the service gives it."""
    found: dict[str, Any] = httpx.get(service.url + DOCUMENT, trust_env=False).json()
    return found


def test_every_operation_answers_as_it_is_documented(service: Served, tmp_path: Path) -> None:
    """No fault, no status, type or shape that the document does not tell, and every error a problem without a leak.

    schemathesis asks: what the examples say, what lies at the edges of the schemas, and what it makes up.
    """
    # A folder of its own, since schemathesis writes into the current one.
    command = [
        str(Path(sys.executable).with_name("schemathesis")), "run", service.url + DOCUMENT, "--url", service.url,
        "--phases", "examples,coverage,fuzzing", "--checks", ",".join(CHECKS), "--max-examples", str(EXAMPLES),
        "--generation-deterministic", "--suppress-health-check", "all",
        "--request-timeout", "60", "--continue-on-failure", "--warnings", "off", "--no-color",
    ]  # fmt: skip
    environment = {"SCHEMATHESIS_HOOKS": "tests.service.schemathesis_checks", "PYTHONPATH": str(project_root())}
    ended = subprocess.run(
        command, cwd=tmp_path, env=environment, capture_output=True, text=True, timeout=SECONDS, check=False
    )
    assert ended.returncode == 0, ended.stdout[-20_000:] + ended.stderr[-5_000:]


def operations(document: dict[str, Any]) -> Iterator[tuple[str, dict[str, Any]]]:
    for path, methods in document["paths"].items():
        for method, told in methods.items():
            yield f"{method.upper()} {path}", told


def test_every_operation_says_what_it_is_for(document: dict[str, Any]) -> None:
    """A description of it and of each parameter."""
    silent = [name for name, told in operations(document) if not told.get("description")]
    silent += [
        f"{name}: {one['name']}"
        for name, told in operations(document)
        for one in told.get("parameters", ())
        if not (one.get("description") or one.get("schema", {}).get("description"))
    ]
    assert silent == []


def test_every_refusal_in_the_document_is_a_problem(document: dict[str, Any]) -> None:
    """No route is said to refuse in the framework's own form, which none does; /health tells how it is in any case."""
    others = [
        f"{name}: {status}"
        for name, told in operations(document)
        for status, answer in told["responses"].items()
        if status.startswith(("4", "5"))
        and not name.endswith("/health")
        and "application/problem+json" not in answer.get("content", {})
    ]
    assert others == []
