"""The rule about ATTACH PARTITION: a validated CHECK of the same plan must prove the bound."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from pglast import ast
from pglast.enums import AlterTableType, ConstrType

from tests.lint.findings import Breach
from tests.lint.grammar import Statement, constants
from tests.lint.scripts import Script


@dataclass
class _Known:
    """What the statements read so far have shown of the tables: which are new, and which checks stand."""

    new: set[str] = field(default_factory=set)
    added: dict[tuple[str, str], set[str]] = field(default_factory=dict)
    valid: set[tuple[str, str]] = field(default_factory=set)

    def proves(self, table: str, values: set[str]) -> bool:
        """Return whether a valid check of the table names every value of the bound."""
        if table in self.new:
            return True
        proofs = [self.added[key] for key in self.valid if key[0] == table]
        return bool(values) and any(values <= proof for proof in proofs)

    def learn(self, table: str, command: ast.AlterTableCmd) -> None:
        """Take in one command of an ALTER TABLE."""
        key = (table, command.name)
        if command.subtype == AlterTableType.AT_AddConstraint and command.def_.contype == ConstrType.CONSTR_CHECK:
            self.added[table, command.def_.conname] = constants(command.def_.raw_expr)
        elif command.subtype == AlterTableType.AT_ValidateConstraint and key in self.added:
            self.valid.add(key)
        elif command.subtype == AlterTableType.AT_DropConstraint:
            self.valid.discard(key)


def attached_without_proof(script: Script) -> Iterator[Breach]:
    """Yield attachments of tables whose rows no earlier step has proved to fit."""
    known = _Known()
    for step in script.steps:
        for statement in step.statements:
            for table in _unproved(statement, known):
                yield Breach(step.place, statement.text, f"no validated CHECK proves that {table} fits the bound")


def _unproved(statement: Statement, known: _Known) -> Iterator[str]:
    tree = statement.tree
    if isinstance(tree, ast.CreateStmt):
        known.new.add(tree.relation.relname)
    if not isinstance(tree, ast.AlterTableStmt):
        return
    for command in tree.cmds:
        if command.subtype == AlterTableType.AT_AttachPartition:
            table = command.def_.name.relname
            if not known.proves(table, constants(command.def_.bound)):
                yield table
        else:
            known.learn(tree.relation.relname, command)
