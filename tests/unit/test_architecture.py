"""The house keeps its shape: floors, sizes, documented public rooms, SQL in its home."""

from __future__ import annotations

import ast
import statistics
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import genonaut_lib

ROOT = Path(genonaut_lib.__file__).parent
MODULES = sorted(ROOT.rglob("*.py"))
LONGEST_BODY, MEDIAN_BODY, P90_BODY = 40, 6, 20
LONGEST_FILE = 300


def functions() -> Iterator[tuple[Path, ast.FunctionDef | ast.AsyncFunctionDef]]:
    for path in MODULES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef):
                yield path, node


def body_lines(path: Path, node: ast.FunctionDef | ast.AsyncFunctionDef) -> int:
    """Lines of a body without docstring, blanks and comments."""
    body = node.body[1:] if ast.get_docstring(node) is not None else node.body
    if not body:
        return 0
    lines = path.read_text().splitlines()[body[0].lineno - 1 : node.end_lineno]
    return sum(1 for line in lines if line.strip() and not line.strip().startswith("#"))


def test_function_bodies_keep_the_size_budget() -> None:
    """Small rooms: a median of about five lines, nine in ten within twenty, none over forty."""
    sizes = sorted(body_lines(path, node) for path, node in functions())
    assert statistics.median(sizes) <= MEDIAN_BODY
    assert sizes[len(sizes) * 9 // 10] <= P90_BODY
    assert sizes[-1] <= LONGEST_BODY


def test_no_file_grows_beyond_a_room() -> None:
    """A file over three hundred lines holds two ideas."""
    too_long = {path.name: n for path in MODULES if (n := len(path.read_text().splitlines())) > LONGEST_FILE}
    assert too_long == {}


def test_no_folder_is_named_after_a_pattern() -> None:
    """Folders are responsibilities, so that a newcomer finds things."""
    banned = {"utils", "helpers", "services", "repositories", "managers", "common", "misc"}
    assert not [path for path in ROOT.rglob("*") if path.stem in banned]


def test_imports_go_down_the_floors() -> None:
    """import-linter finds no import from a floor above."""
    command = [str(Path(sys.executable).with_name("lint-imports")), "--no-cache"]
    result = subprocess.run(command, cwd=ROOT.parent, capture_output=True, text=True, check=False)
    assert result.returncode == 0, result.stdout


def test_public_functions_and_classes_are_documented() -> None:
    """Whatever has no leading underscore says what it is for."""
    silent = [
        f"{path.relative_to(ROOT)}:{node.lineno} {node.name}"
        for path in MODULES
        for node in public_nodes(ast.parse(path.read_text()))
        if ast.get_docstring(node) is None
    ]
    assert silent == []


def public_nodes(tree: ast.Module) -> Iterator[ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef]:
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef) and not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                methods = [m for m in node.body if isinstance(m, ast.FunctionDef | ast.AsyncFunctionDef)]
                yield from (method for method in methods if not method.name.startswith("_"))


def test_every_module_says_what_it_is_for() -> None:
    """A module opens with its purpose."""
    assert [path for path in MODULES if ast.get_docstring(ast.parse(path.read_text())) is None] == []


def test_no_f_string_reaches_the_database() -> None:
    """`execute` never gets a formatted string: values are bound, identifiers quoted by psycopg.sql."""
    formatted = [
        f"{path.relative_to(ROOT)}:{call.lineno}"
        for path in MODULES
        for call in ast.walk(ast.parse(path.read_text()))
        if isinstance(call, ast.Call)
        and isinstance(call.func, ast.Attribute)
        and call.func.attr in ("execute", "executemany", "copy")
        and call.args
        and isinstance(call.args[0], ast.JoinedStr | ast.BinOp)
    ]
    assert formatted == []


def test_exceptions_are_not_swallowed() -> None:
    """No bare except, no `except Exception`, no handler whose whole body is `pass`."""
    swallowed = [
        f"{path.relative_to(ROOT)}:{handler.lineno}"
        for path in MODULES
        for handler in ast.walk(ast.parse(path.read_text()))
        if isinstance(handler, ast.ExceptHandler)
        and (
            handler.type is None
            or (isinstance(handler.type, ast.Name) and handler.type.id == "Exception")
            or all(isinstance(step, ast.Pass) for step in handler.body)
        )
    ]
    assert swallowed == []
