"""pyproject.toml, requirements.lock and environment.yml say the same; nothing names a registry or a machine."""

from __future__ import annotations

import re
import subprocess
import tomllib
from pathlib import Path

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name
from packaging.version import Version

ROOT = Path(__file__).parents[2]
PROJECT = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
EXTRAS = PROJECT["optional-dependencies"]


def requirements() -> list[Requirement]:
    return [Requirement(line) for line in PROJECT["dependencies"] + [r for extra in EXTRAS.values() for r in extra]]


def locked() -> dict[str, list[Requirement]]:
    found: dict[str, list[Requirement]] = {}
    for line in (ROOT / "requirements.lock").read_text().splitlines():
        if line.strip() and not line.startswith("#"):
            requirement = Requirement(line)
            found.setdefault(canonicalize_name(requirement.name), []).append(requirement)
    return found


def tracked_files() -> list[Path]:
    listing = subprocess.run(["git", "ls-files"], cwd=ROOT, capture_output=True, text=True, check=True).stdout
    return [ROOT / name for name in listing.splitlines()]


def test_every_locked_package_is_pinned_exactly() -> None:
    """A fresh machine gets what was tested."""
    for pins in locked().values():
        assert all([spec.operator for spec in pin.specifier] == ["=="] for pin in pins)


@pytest.mark.parametrize("requirement", requirements(), ids=str)
def test_the_lock_satisfies_the_project(requirement: Requirement) -> None:
    """Each dependency is locked at a version the project accepts."""
    pins = locked()[canonicalize_name(requirement.name)]
    versions = [Version(spec.version) for pin in pins for spec in pin.specifier]
    assert all(version in requirement.specifier for version in versions)


def test_every_dependency_says_why_it_is_there() -> None:
    """One line of reason beside each."""
    text = (ROOT / "pyproject.toml").read_text()
    block = text[text.index("dependencies = [") : text.index("[project.scripts]")]
    lines = [line for line in block.splitlines() if line.strip().startswith('"')]
    assert [line for line in lines if not re.search(r'",\s+# [\w`]', line)] == []


def test_conda_users_get_the_same_python_servers_and_project() -> None:
    """environment.yml installs the project by pip against the lock, with extras that exist."""
    environment = yaml.safe_load((ROOT / "environment.yml").read_text())
    plain = [entry for entry in environment["dependencies"] if isinstance(entry, str)]
    names = {re.split(r"[=<>! ]", entry)[0] for entry in plain}
    assert {"python", "pip", "postgresql", "redis-server"} <= names
    python = next(entry for entry in plain if entry.startswith("python"))
    assert Version(re.sub(r"[^0-9.]", "", python)).release[:2] >= (3, 11)
    pip = next(entry["pip"] for entry in environment["dependencies"] if isinstance(entry, dict))
    assert "-c requirements.lock" in pip
    project = next(entry for entry in pip if entry.startswith("-e ."))
    assert set(re.findall(r"\w+", project.partition("[")[2])) <= set(EXTRAS)


def test_conda_servers_are_no_older_than_the_code_accepts() -> None:
    """PostgreSQL 14 and Redis 6 are the floor everywhere."""
    text = (ROOT / "environment.yml").read_text()
    assert "postgresql>=14" in text.replace(" ", "")
    assert "redis-server>=6" in text.replace(" ", "")


def test_no_file_names_a_registry() -> None:
    """Which registry is used is the machine's own business."""
    pattern = re.compile("index" + "-url|find" + r"-links|https?://[^ )]*/simple(/|\b)")
    checked = [path for path in tracked_files() if path.suffix in (".toml", ".lock", ".yml", ".yaml", ".md", "")]
    assert [path for path in checked if path.is_file() and pattern.search(path.read_text(errors="ignore"))] == []


def test_shipped_data_is_in_the_package() -> None:
    """`genonaut load --debian` works from an installed package."""
    data = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["setuptools"]["package-data"]
    assert "data/*.gz" in data["genonaut_lib"]
    assert (ROOT / "genonaut_lib/data/debian_packages.jsonl.gz").is_file()
