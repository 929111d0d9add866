"""The guard around nbval: small notebooks that nbval alone would let pass, or wait for."""

from __future__ import annotations

from dataclasses import dataclass
from xml.etree import ElementTree as ET

import pytest
from nbformat import NotebookNode, v4, write

from tests.notebooks.running import run_nbval

SIX = v4.new_output("execute_result", {"text/plain": "6"}, execution_count=1)
PICTURE = v4.new_output("display_data", {"image/png": "aGVsbG8="})
FOUND_WITHIN_S = 5


def cell(source: str, *outputs: NotebookNode, count: int | None = 1, tag: str = "") -> NotebookNode:
    metadata = {"tags": [tag]} if tag else {}
    return v4.new_code_cell(source, outputs=list(outputs), execution_count=count, metadata=metadata)


ANSWER = cell("2 * 3", SIX)
WARNED = v4.new_output("stream", name="stderr", text="careful\n")
UNKNOWN = v4.new_output("stream", name="stderr", text="UsageError: Line magic function `%no_such_magic` not found.\n")
NOTEBOOKS = {
    "sound": [ANSWER, cell("seven = 7"), cell("seven - 1", SIX)],
    "dies": [ANSWER, cell("import os; os.kill(os.getpid(), 9)"), ANSWER, ANSWER],
    "dies_later": [
        cell("import os, threading; threading.Timer(1.0, os.kill, (os.getpid(), 9)).start()"),
        cell("import time; time.sleep(60)"),
        ANSWER,
    ],
    "line_magic": [ANSWER, cell("%no_such_magic"), ANSWER],
    "recorded_magic": [ANSWER, cell("%no_such_magic", UNKNOWN), ANSWER],
    "cell_magic": [ANSWER, cell("%%no_such_magic\n1", tag="nbval-ignore-output"), ANSWER],
    "raises": [ANSWER, cell("1 / 0"), ANSWER],
    "wrong": [cell("2 * 4", SIX), ANSWER],
    "skips": [ANSWER, cell("1 / 0", tag="nbval-skip"), ANSWER],
    "ignores": [ANSWER, cell("2 * 4", SIX, tag="nbval-ignore-output")],
    "warns": [ANSWER, cell("import warnings; warnings.warn('careful')", tag="nbval-ignore-output")],
    "warned_before": [ANSWER, cell("import sys; print('careful', file=sys.stderr)", WARNED)],
    "never_run": [ANSWER, cell("print('anything')", count=None)],
    "empty": [],
    "source": [cell("2 * 3", count=None)],
    "shows_nothing": [cell("six = 6"), cell("2 * 3", SIX, tag="nbval-skip"), cell("six", PICTURE)],
}


@dataclass(frozen=True)
class Outcomes:
    """What a run said: of each cell, and at its end."""

    cells: dict[tuple[str, str], ET.Element]
    said: str
    returncode: int

    def failure(self, notebook: str, number: int) -> str:
        """Return how a cell failed, or nothing."""
        found = self.cells[notebook, f"Cell {number}"].find("failure")
        return "" if found is None else f"{found.get('message')} {found.text}"

    def failed(self, notebook: str) -> list[int]:
        """Return the numbers of the cells that failed."""
        return [number for number in range(len(NOTEBOOKS[notebook])) if self.failure(notebook, number)]


@pytest.fixture(scope="module")
def outcomes(tmp_path_factory: pytest.TempPathFactory) -> Outcomes:
    """Run all of them in one go, each on a kernel of its own."""
    folder = tmp_path_factory.mktemp("guarded")
    for name, cells in NOTEBOOKS.items():
        numbered = [NotebookNode(cell, id=f"cell-{number}") for number, cell in enumerate(cells)]
        write(v4.new_notebook(cells=numbered), folder / f"{name}.ipynb")
    paths = [folder / f"{name}.ipynb" for name in NOTEBOOKS]
    result = run_nbval(paths, "--junitxml", str(folder / "said.xml"), "--continue-on-collection-errors")
    found = {
        (notebook, case.get("name", "")): case
        for case in ET.parse(folder / "said.xml").iter("testcase")
        for notebook in [case.get("classname", "").split(".")[-2] if case.get("classname") else ""]
    }
    return Outcomes(found, result.stdout, result.returncode)


def test_a_sound_notebook_passes(outcomes: Outcomes) -> None:
    """The guard refuses nothing that is as it was recorded."""
    assert outcomes.failed("sound") == []
    assert outcomes.failed("warned_before") == []
    assert outcomes.returncode == 1, "others fail, and the run with them"


@pytest.mark.parametrize("notebook", ["dies", "dies_later"])
def test_a_dead_kernel_is_found_within_seconds(notebook: str, outcomes: Outcomes) -> None:
    """The cell in which the kernel died fails at once and says so."""
    assert outcomes.failed(notebook) == [1]
    assert "The kernel died" in outcomes.failure(notebook, 1)
    assert float(outcomes.cells[notebook, "Cell 1"].get("time", "inf")) < FOUND_WITHIN_S


def test_an_unknown_magic_fails(outcomes: Outcomes) -> None:
    """IPython prints that it does not know it, and goes on as if all was well; so a reference may have it."""
    assert outcomes.failed("line_magic") == [1]
    for notebook in ("recorded_magic", "cell_magic"):
        assert outcomes.failed(notebook) == [1]
        assert "printed an error and went on: UsageError" in outcomes.failure(notebook, 1)


def test_a_wrong_output_fails_and_the_next_cell_is_compared(outcomes: Outcomes) -> None:
    """One difference does not hide the next."""
    assert outcomes.failed("wrong") == [0]
    assert "NOT RUN wrong.ipynb" not in outcomes.said


@pytest.mark.parametrize(("notebook", "left_out"), [("dies", [2, 3]), ("line_magic", [2]), ("raises", [2])])
def test_what_stands_behind_a_failure_is_named(notebook: str, left_out: list[int], outcomes: Outcomes) -> None:
    """Cells behind one that did not get to its end are not run, and nobody takes them for tested."""
    for number in left_out:
        assert f"NOT RUN {notebook}.ipynb::Cell {number}: not run, since Cell 1 failed" in outcomes.said


def test_a_cell_marked_to_be_skipped_is_named(outcomes: Outcomes) -> None:
    """Skipping is no passing."""
    assert "NOT RUN skips.ipynb::Cell 1: marked to be skipped" in outcomes.said


def test_a_cell_that_is_not_compared_is_named(outcomes: Outcomes) -> None:
    """It was run, and that is all that is known."""
    assert "NOT COMPARED ignores.ipynb::Cell 1" in outcomes.said


def test_a_warning_fails_where_the_reference_has_none(outcomes: Outcomes) -> None:
    """Also in a cell whose output is not compared."""
    assert outcomes.failed("warns") == [1]
    assert "careful" in outcomes.failure("warns", 1)


def test_a_cell_that_the_reference_never_ran_fails(outcomes: Outcomes) -> None:
    """nbval takes any output of it."""
    assert outcomes.failed("never_run") == [1]


@pytest.mark.parametrize("notebook", ["empty", "source", "shows_nothing"])
def test_a_notebook_of_which_nothing_is_compared_fails(notebook: str, outcomes: Outcomes) -> None:
    """An empty one, one that was never recorded, one that shows pictures only, which are not compared."""
    assert f"{notebook}.ipynb: no output of it is compared" in outcomes.said
