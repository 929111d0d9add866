"""What is linted: the plans of the phases, the files of the revisions, and every other named block."""

from __future__ import annotations

import string
from collections.abc import Iterable
from dataclasses import dataclass
from functools import cached_property
from typing import Any

from genonaut_lib.db.statements import Block, blocks, files
from genonaut_lib.migration.phases import PHASES, SchemaPhase
from genonaut_lib.migration.plan import Action, action
from genonaut_lib.migration.revisions import file_actions
from tests.lint.findings import Place
from tests.lint.grammar import NotSql, Statement, statements

REVISION_FILES = {"legacy": False, "legacy_undo": True, "ledger_schema": False, "ledger_schema_undo": True}
"""Files that a revision runs as a whole, and whether they take something back."""


@dataclass(frozen=True)
class Step:
    """One action of a script: what is sent in one go."""

    place: Place
    text: str
    lock: str
    transactional: bool

    @cached_property
    def statements(self) -> tuple[Statement, ...]:
        """The statements, none of them when the text cannot be parsed."""
        return () if self.error else statements(self.text)

    @cached_property
    def error(self) -> str:
        """Why the text cannot be parsed; empty when it can."""
        try:
            statements(self.text)
        except NotSql as error:
            return str(error)
        return ""


@dataclass(frozen=True)
class Script:
    """Steps that run one after the other; `undoes` when they take something back."""

    name: str
    steps: tuple[Step, ...]
    undoes: bool = False


def scripts() -> list[Script]:
    """Return every plan of every schema phase, every revision's file, and each block that is in none of them."""
    planned = [*_phase_scripts(), *_file_scripts()]
    covered = {(step.place.file, step.place.block) for script in planned for step in script.steps}
    rest = (found for file in files() for found in blocks(file).values())
    return planned + [
        Script(found.file, (step_of(generic(found)),))
        for found in rest
        if (sql_path(found.file), found.name) not in covered
    ]


def script_of(name: str, actions: Iterable[Action], *, undoes: bool = False) -> Script:
    """Return the script of a list of actions."""
    return Script(name, tuple(step_of(found) for found in actions), undoes)


def step_of(found: Action) -> Step:
    """Return an action as the lint sees it: its text with identifiers filled in."""
    file, name = (sql_path(found.source.file), found.source.name) if found.source else ("a plan", "")
    return Step(Place(file, name, found.id), found.text, found.lock, found.transactional)


def sql_path(file: str) -> str:
    """Return the path of an SQL file below the project's root."""
    return f"genonaut_lib/sql/{file}.sql"


def generic(found: Block) -> Action:
    """Return a block as an action; a table is the most used one, whatever else is called by its placeholder."""
    names = {name for _, name, _, _ in string.Formatter().parse(found.text) if name}
    identifiers: dict[str, Any] = {name: "content_items" if name == "table" else name for name in names}
    return action("as it stands", found, **identifiers)


def _phase_scripts() -> list[Script]:
    found = [phase for phase in PHASES.values() if isinstance(phase, SchemaPhase)]
    forward = [script_of(phase.name, phase.actions()) for phase in found]
    return forward + [script_of(f"{phase.name}.undo", phase.undo_actions(), undoes=True) for phase in found]


def _file_scripts() -> list[Script]:
    return [script_of(file, file_actions(file), undoes=undoes) for file, undoes in REVISION_FILES.items()]
