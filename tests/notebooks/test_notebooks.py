"""The notebooks, executed by nbval on the reference gallery, every output compared."""

from __future__ import annotations

import nbformat
import pytest

from genonaut_lib.settings import Settings
from tests.notebooks.reference import FOLDER, ROOT, STEPS, ReferenceStep, fill, parameterised
from tests.notebooks.running import run_nbval

NOT_RECORDED = {
    "60_tune_planner": "shows what this machine measured; its numbers are held by tests of the fit",
    "70_cut_over": "outputs would say when the junction was verified; walked with every phase by tests/migration",
    "90_roll_back": "undoes the run that the others recorded; tests/integration/test_roll_back_notebook.py runs it",
}
"""Notebooks without a reference, each with its reason and with what holds it instead."""


def test_every_notebook_gives_the_reference_outputs(settings: Settings) -> None:
    """The whole pipeline, in order, on the reference gallery, shows what it showed when it was recorded."""
    fill(settings)
    result = run_nbval([step.path for step in STEPS])
    assert result.returncode == 0, result.stdout[-6000:]
    assert "NOT RUN" not in result.stdout


def test_every_notebook_has_a_reference_or_a_reason() -> None:
    """A notebook that nobody recorded is not taken for a tested one."""
    recorded = {step.notebook for step in STEPS}
    notebooks = {path.stem for path in (ROOT / "notebooks").glob("*.ipynb")}
    assert notebooks == recorded | NOT_RECORDED.keys()
    assert not recorded & NOT_RECORDED.keys()


@pytest.mark.parametrize("step", STEPS, ids=lambda step: step.path.stem)
def test_the_reference_is_of_the_notebook_as_it_is_now(step: ReferenceStep) -> None:
    """A changed notebook needs a new reference: `make reference`."""
    recorded = nbformat.read(step.path, as_version=4)
    assert [cell.source for cell in recorded.cells] == [cell.source for cell in parameterised(step).cells]


def test_no_reference_is_without_a_step() -> None:
    """A notebook that is no longer run leaves no stale reference behind."""
    assert sorted(FOLDER.glob("*.ipynb")) == [step.path for step in STEPS]
