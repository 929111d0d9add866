"""Squawk over the same scripts: which of its rules are left out and why, and its findings by block."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pglast import ast

from genonaut_lib.errors import Refused
from tests.lint.findings import Finding
from tests.lint.grammar import prepared
from tests.lint.scripts import Script, Step

OLDEST_POSTGRES = "14.0"

EXCLUDED = {
    "require-lock-timeout": "db/locks.py sets it around every statement",
    "require-statement-timeout": "a validation may take hours; waiting is bounded by lock_timeout, see sql/session.sql",
    "prefer-robust-stmts": "a plan asks the catalogue what is done already; tests/unit/test_plan.py holds it to that",
    "prefer-bigint-over-int": "ids and counts are as wide as the gallery made them",
    "prefer-text-field": "the gallery's own widths are kept",
    "prefer-identity": "the legacy schema is as it was found, with serial ids",
}
"""Rules of squawk that say nothing here, each with the reason."""

FREE_IN_UNDO = {
    "ban-drop-column",
    "ban-drop-function",
    "ban-drop-not-null",
    "ban-drop-table",
    "ban-drop-view",
    "renaming-column",
}
"""Taking something back is what an undo is for."""

NEW_TABLE_INDEX = "require-concurrent-index-creation"


@dataclass(frozen=True)
class _Printed:
    """A script as a file, with the step that each line belongs to."""

    script: Script
    text: str
    steps: tuple[Step, ...]


def findings(scripts: Iterable[Script]) -> Iterator[Finding]:
    """Yield what squawk finds in the scripts; raise Refused when it is not installed or does not run."""
    with tempfile.TemporaryDirectory() as folder:
        printed = {str(Path(folder, f"{number}.sql")): _print(script) for number, script in enumerate(scripts)}
        for path, found in printed.items():
            Path(path).write_text(found.text, encoding="utf-8")
        for complaint in _run(list(printed)):
            yield from _finding(printed[complaint["file"]], complaint)


def _print(script: Script) -> _Printed:
    lines: list[str] = []
    steps: list[Step] = []
    for step in script.steps:
        # What PostgreSQL's own grammar refused has its finding already.
        added = [] if step.error else f"{prepared(step.text)};".splitlines()
        lines += added
        steps += [step] * len(added)
    return _Printed(script, "\n".join(lines) + "\n", tuple(steps))


def _run(paths: list[str]) -> list[dict[str, Any]]:
    beside = Path(sys.executable).with_name("squawk")
    program = str(beside) if beside.exists() else shutil.which("squawk")
    if program is None:
        raise Refused("squawk is not installed.", hint="`make check` installs it; by hand: pip install -e '.[dev]'.")
    options = [f"--pg-version={OLDEST_POSTGRES}", "--reporter=json", f"--exclude={','.join(EXCLUDED)}"]
    result = subprocess.run([program, *options, *paths], capture_output=True, text=True, check=False)
    if result.returncode not in (0, 1) or not result.stdout.strip():
        raise Refused(f"squawk ended with {result.returncode}: {result.stderr.strip()[:300]}")
    complaints: list[dict[str, Any]] = json.loads(result.stdout)
    return complaints


def _finding(printed: _Printed, complaint: dict[str, Any]) -> Iterator[Finding]:
    rule = complaint["rule_name"]
    step = printed.steps[complaint["line"]]
    free = printed.script.undoes and rule in FREE_IN_UNDO
    new = rule == NEW_TABLE_INDEX and _indexes_new_table(printed.script, step)
    if not free and not new:
        mend = complaint["help"] or "See the rule's page in squawk's documentation."
        yield Finding(rule, step.place, step.text, complaint["message"], mend)


def _indexes_new_table(script: Script, step: Step) -> bool:
    """Return whether a step indexes only tables that the same script made: nobody waits for those."""
    new = {found.relation.relname for found in _trees(script) if isinstance(found, ast.CreateStmt)}
    return all(one.tree.relation.relname in new for one in step.statements if isinstance(one.tree, ast.IndexStmt))


def _trees(script: Script) -> Iterator[ast.Node]:
    return (statement.tree for step in script.steps for statement in step.statements)
