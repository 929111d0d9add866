"""The notebooks, executed by nbval on the reference gallery, every output compared."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import nbformat
import pytest

import genonaut_lib
from genonaut_lib.db.engine import Connection
from genonaut_lib.migration.phases import PHASES, Context
from genonaut_lib.migration.phases.drop_legacy_tags import CONFIRMATION, DropLegacyTags
from genonaut_lib.migration.runner import apply_plan, verify_phase
from genonaut_lib.settings import Settings
from tests.notebooks.reference import FOLDER, ROOT, STEPS, ReferenceStep, fill, parameterised

HERE = Path(__file__).parent


def run_nbval(paths: list[Path], **variables: str) -> subprocess.CompletedProcess[str]:
    command = [
        sys.executable, "-m", "pytest", "-c", str(HERE / "nbval.ini"), "--rootdir", str(HERE), "--nbval",
        "--nbval-current-env", "--nbval-sanitize-with", str(HERE / "sanitise.cfg"), *map(str, paths),
    ]  # fmt: skip
    environment = {**os.environ, "GENONAUT_ENVIRONMENT": "test", **variables}
    return subprocess.run(command, env=environment, cwd=ROOT, capture_output=True, text=True, check=False, timeout=280)


def apply_up_to(context: Context, name: str) -> None:
    """Apply and verify every phase before `name`, as their notebooks would."""
    for phase in PHASES.values():
        if phase.name == name:
            return
        ready = DropLegacyTags(confirm=CONFIRMATION) if phase.name == "drop_legacy_tags" else phase
        apply_plan(ready, context, ready.plan(context))
        verify_phase(ready, context)


def step_of(notebook: str) -> ReferenceStep:
    return next(step for step in STEPS if step.notebook == notebook)


def test_every_notebook_gives_the_reference_outputs(settings: Settings) -> None:
    """The whole pipeline, in order, on the reference gallery, shows what it showed when it was recorded."""
    fill(settings)
    result = run_nbval([step.path for step in STEPS])
    assert result.returncode == 0, result.stdout[-6000:]
    assert "skipped" not in result.stdout.splitlines()[-1]


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.path.stem)
def test_the_reference_is_of_the_notebook_as_it_is_now(step: ReferenceStep) -> None:
    """A changed notebook needs a new reference: `make reference`."""
    recorded = nbformat.read(step.path, as_version=4)
    assert [cell.source for cell in recorded.cells] == [cell.source for cell in parameterised(step).cells]


def test_no_reference_is_without_a_step() -> None:
    """A notebook that is no longer run leaves no stale reference behind."""
    assert sorted(FOLDER.glob("*.ipynb")) == [step.path for step in STEPS]


MUTANTS = {
    "the bulk load reads every row in every batch": (
        "21_backfill_content_tags",
        "bulk_content_tags",
        "select id, tags from {table} where id > %(after)s and id <= %(upto)s",
        "select id, tags from {table}",
    ),
    "the UUID backfill fills every row in its first batch": (
        "12_backfill_tag_uuids",
        "backfill_tag_uuids",
        "where c.tags is null and c.id > %(after)s and c.id <= %(upto)s",
        "where c.tags is null and c.id > %(after)s",
    ),
    "the UUID backfill keeps what it could not map": (
        "12_backfill_tag_uuids",
        "backfill_tag_uuids",
        "where tag_id is not null), '{{}}') end",
        "), '{{}}') end",
    ),
}


@pytest.mark.parametrize("mutant", MUTANTS)
def test_a_lost_where_turns_the_notebooks_red(
    mutant: str, settings: Settings, context: Context, connection: Connection, tmp_path: Path
) -> None:
    """Drop a WHERE from a backfill, and the notebook that runs it fails its comparison."""
    notebook, file, good, bad = MUTANTS[mutant]
    shutil.copytree(Path(genonaut_lib.__file__).parent, tmp_path / "genonaut_lib")
    sql = tmp_path / "genonaut_lib" / "sql" / f"{file}.sql"
    assert sql.read_text().count(good) == 1
    sql.write_text(sql.read_text().replace(good, bad))
    fill(settings)
    apply_up_to(context, notebook[3:])
    result = run_nbval([step_of(notebook).path], PYTHONPATH=str(tmp_path))
    assert result.returncode == 1, result.stdout[-3000:]
    assert f"{step_of(notebook).path.stem}" in result.stdout
