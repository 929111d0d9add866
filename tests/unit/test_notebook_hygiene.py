"""Notebooks stay thin: one parameters cell, short cells, no logic, no output, the same rooms everywhere."""

from __future__ import annotations

import ast
from pathlib import Path

import nbformat
import papermill
import pytest
from nbformat import NotebookNode

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
PHASE_CALLS = ["preflight", "plan", "apply", "verify", "summary"]
MOST_CELLS, MOST_LINES = 12, 6


@pytest.fixture(params=NOTEBOOKS, ids=lambda path: path.stem)
def notebook(request: pytest.FixtureRequest) -> NotebookNode:
    return nbformat.read(request.param, as_version=4)


def code_cells(notebook: NotebookNode) -> list[NotebookNode]:
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


def parameters_cell(notebook: NotebookNode) -> NotebookNode:
    tagged = [cell for cell in code_cells(notebook) if "parameters" in cell.metadata.get("tags", [])]
    assert len(tagged) == 1
    return tagged[0]


def test_notebooks_are_named_by_number_verb_and_object() -> None:
    """The number is the order, the verb what it does."""
    assert NOTEBOOKS
    assert all(path.stem[:2].isdigit() and path.stem[2] == "_" for path in NOTEBOOKS)


def test_a_notebook_is_valid_and_without_output(notebook: NotebookNode) -> None:
    """Outputs belong to executed copies; the source shows only what will be done."""
    nbformat.validate(notebook)
    assert all(not cell.outputs and cell.execution_count is None for cell in code_cells(notebook))


def test_a_notebook_is_thin(notebook: NotebookNode) -> None:
    """At most a dozen code cells of at most six lines."""
    cells = code_cells(notebook)
    assert len(cells) <= MOST_CELLS
    assert all(len(cell.source.splitlines()) <= MOST_LINES for cell in cells)


def test_a_notebook_holds_no_logic(notebook: NotebookNode) -> None:
    """No definition, no try, no loop, no condition, no f-string, no SQL."""
    banned = (
        ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda, ast.Try, ast.For, ast.While, ast.If,
        ast.JoinedStr, ast.ListComp, ast.DictComp,
    )  # fmt: skip
    for cell in code_cells(notebook):
        assert not [node for node in ast.walk(ast.parse(cell.source)) if isinstance(node, banned)]
        assert not any(word in cell.source.lower() for word in ("select ", "insert ", "update ", "delete "))


def test_parameters_are_typed_literals_that_write_nothing_by_default(notebook: NotebookNode) -> None:
    """Each parameter has an annotation and a literal default; dry_run, where there is one, is True."""
    for node in ast.parse(parameters_cell(notebook).source).body:
        assert isinstance(node, ast.AnnAssign)
        value = ast.literal_eval(node.value)
        assert isinstance(node.target, ast.Name)
        assert value is True if node.target.id == "dry_run" else True


def test_a_notebook_opens_with_purpose_blast_radius_and_undo(notebook: NotebookNode) -> None:
    """Whoever opens it reads first what it may do to them."""
    first = notebook.cells[0]
    assert first.cell_type == "markdown"
    assert first.source.startswith("# ")
    assert "**Blast radius**" in first.source
    assert "**Undo**" in first.source


@pytest.mark.parametrize("path", [p for p in NOTEBOOKS if p.stem[0] in "123"], ids=lambda path: path.stem)
def test_a_phase_notebook_has_every_room_in_order(path: Path) -> None:
    """Open, preflight, plan, apply, verify, summary: the same rooms everywhere."""
    source = "\n".join(cell.source for cell in code_cells(nbformat.read(path, as_version=4)))
    places = [source.index(f"run.{call}()") for call in PHASE_CALLS]
    assert places == sorted(places)
    assert f'open_run("{path.stem}"' in source


@pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
def test_papermill_finds_the_parameters(path: Path) -> None:
    """The runner can check what it is given against what the notebook has."""
    found = papermill.inspect_notebook(path)
    assert "environment" in found
    assert all(spec["inferred_type_name"] in ("str", "bool", "int", "float") for spec in found.values())
