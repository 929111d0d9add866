"""The README's commands for the HTTP API, run as they stand there against a small gallery with the same tags."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
from collections.abc import Iterator

import pytest
from pydantic import SecretStr

from genonaut_lib.db import engine, scratch
from genonaut_lib.migration import adoption, bitmap_build, tag_stats
from genonaut_lib.migration.phases import Context
from genonaut_lib.settings import load_settings, project_root
from genonaut_lib.vocabulary import ContentSource
from tests.factories import Gallery
from tests.migration.test_phases import apply_before
from tests.service.served import Served, serve

TEXT = (project_root() / "README.md").read_text(encoding="utf-8")
SECTION = TEXT[TEXT.index("## The HTTP API") : TEXT.index("## Statistics")]
LINES = [line for fence in re.findall(r"```sh\n(.*?)```", SECTION, re.DOTALL) for line in fence.splitlines()]
ASKING = [line for line in LINES if line.startswith("curl ")]
REFUSED = "role::programm'"
TAGS = ["role::program", "interface::commandline", "role::shared-lib", "devel::lang:perl", "devel::editor"]


@pytest.fixture(scope="module")
def service(admin_url: str) -> Iterator[Served]:
    """Forty items of the demo's kind, served."""
    settings = load_settings("test").model_copy(update={"database_url": SecretStr(admin_url)})
    with scratch.database(settings, "readme_test") as own, engine.connect(own) as connection:
        adoption.adopt(connection, own)
        gallery = Gallery(connection)
        for number in range(40):
            kept = [tag for place, tag in enumerate(TAGS) if number % (place + 1) == 0]
            gallery.legacy_item(kept, list(ContentSource)[number % 2], title=f"editor {number}")
        apply_before(Context(connection, own), "")
        tag_stats.refresh(connection)
        bitmap_build.build(own)
        with serve(own) as served:
            yield served


def run(service: Served, commands: str) -> str:
    if shutil.which("curl") is None:
        pytest.skip("curl is not here")
    script = commands.replace("http://127.0.0.1:8000", service.url).replace("curl ", "curl --silent --show-error ")
    ended = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script], capture_output=True, text=True, timeout=60, check=False
    )
    assert ended.returncode == 0, ended.stderr
    return ended.stdout


@pytest.mark.parametrize("line", [line for line in ASKING if "--json" not in line])
def test_what_is_asked_is_answered(service: Served, line: str) -> None:
    """Every address is a route's, every parameter one of its, and each filter finds something."""
    said = run(service, line)
    if line.endswith("/metrics'"):
        assert "# TYPE" in said
        return
    found = json.loads(said)
    assert found.get("code") == ("unknown_tag" if line.endswith(REFUSED) else None), said
    assert "items" not in found or found["items"], said


def test_an_item_is_made_as_it_is_told(service: Served) -> None:
    """By the user whom the line before finds."""
    made = [line for line in LINES if line.startswith("user=") or "--json" in line]
    assert json.loads(run(service, "\n".join(made)))["title"] == "A lamp"


def test_the_service_is_started_as_it_is_told() -> None:
    """By commands of the same names, for the demo's environment."""
    assert LINES[:2] == ["genonaut up --env demo", "genonaut serve --env demo"]
