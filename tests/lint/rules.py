"""Rules that squawk lacks, as values: what a script of SQL statements must not do."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from pglast import ast
from pglast.enums import AlterTableType, ConstrType, VariableSetKind

from tests.lint import grammar
from tests.lint.findings import Breach, Rule
from tests.lint.grammar import Statement
from tests.lint.proofs import attached_without_proof
from tests.lint.scripts import Script, Step
from tests.lint.writes import unbounded_write

SESSION_FILE = "genonaut_lib/sql/session.sql"
_GIVES_BACK = (VariableSetKind.VAR_RESET, VariableSetKind.VAR_RESET_ALL)


def unreadable(script: Script) -> Iterator[Breach]:
    """Yield texts that PostgreSQL's grammar does not know."""
    for step in script.steps:
        if step.error:
            yield Breach(step.place, step.text, step.error)


def missing_lock(script: Script) -> Iterator[Breach]:
    """Yield DDL whose block does not say which lock it takes."""
    for step, statement in _pairs(script):
        if grammar.is_ddl(statement) and not step.lock:
            yield Breach(step.place, statement.text, "DDL without a `-- lock:` line")


def concurrently_in_transaction(script: Script) -> Iterator[Breach]:
    """Yield statements that PostgreSQL would refuse because of the transaction they are sent in."""
    for step, statement in _pairs(script):
        alone = len(step.statements) == 1 and not step.transactional
        if grammar.runs_concurrently(statement) and not alone:
            yield Breach(step.place, statement.text, "would run inside a transaction block, which PostgreSQL refuses")


def validated_with_add(script: Script) -> Iterator[Breach]:
    """Yield steps that add a constraint NOT VALID and validate it in the same transaction."""
    for step in script.steps:
        commands = [node for found in step.statements for node in grammar.nodes(found.tree)]
        added = {node.def_.conname for node in commands if _adds_not_valid(node)}
        for node in commands:
            if _is_command(node, AlterTableType.AT_ValidateConstraint) and node.name in added:
                yield Breach(step.place, step.text, f"adds {node.name} NOT VALID and validates it in one transaction")


def session_setting(script: Script) -> Iterator[Breach]:
    """Yield settings that outlive their transaction, outside the one file that makes a session ours."""
    for step, statement in _pairs(script):
        if step.place.file != SESSION_FILE and sets_session(statement):
            yield Breach(step.place, statement.text, "changes a setting for the rest of the session")


def sets_session(statement: Statement) -> bool:
    """Return whether a statement changes a setting beyond its own transaction."""
    if isinstance(statement.tree, ast.VariableSetStmt):
        return not statement.tree.is_local and statement.tree.kind not in _GIVES_BACK
    return any(_sets_session(node) for node in grammar.nodes(statement.tree))


def _each(find: Callable[[Statement], str | None]) -> Callable[[Script], Iterator[Breach]]:
    """Return the check that asks `find` about every statement by itself."""

    def check(script: Script) -> Iterator[Breach]:
        for step, statement in _pairs(script):
            if problem := find(statement):
                yield Breach(step.place, statement.text, problem)

    return check


def _pairs(script: Script) -> Iterator[tuple[Step, Statement]]:
    return ((step, statement) for step in script.steps for statement in step.statements)


def _is_command(node: ast.Node, kind: AlterTableType) -> bool:
    return isinstance(node, ast.AlterTableCmd) and node.subtype == kind


def _adds_not_valid(node: ast.Node) -> bool:
    kinds = (ConstrType.CONSTR_CHECK, ConstrType.CONSTR_FOREIGN)
    added = _is_command(node, AlterTableType.AT_AddConstraint) and node.def_.contype in kinds
    return bool(added and node.def_.skip_validation)


def _sets_session(node: ast.Node) -> bool:
    if not isinstance(node, ast.FuncCall) or node.funcname[-1].sval != "set_config":
        return False
    local = node.args[2]
    return not (isinstance(local, ast.A_Const) and isinstance(local.val, ast.Boolean) and local.val.boolval)


RULES: tuple[Rule[Script], ...] = (
    Rule(
        "unreadable",
        "What the grammar does not know, no rule can judge.",
        "Mend the statement; a fragment of a longer one says so in a waiver.",
        unreadable,
    ),
    Rule(
        "attach-without-proof",
        "Without a validated CHECK, ATTACH PARTITION scans the table under ACCESS EXCLUSIVE.",
        "Add a CHECK of the bound NOT VALID and VALIDATE it, in steps of the same plan before this one.",
        attached_without_proof,
    ),
    Rule(
        "unbounded-write",
        "One statement over a whole gallery table holds row locks for hours and cannot be resumed.",
        "Write batches bounded by the key (`id > %(after)s and id <= %(upto)s`) through the backfill engine.",
        _each(unbounded_write),
    ),
    Rule(
        "missing-lock",
        "Nobody applies a statement without knowing what it holds up.",
        "Add `-- lock: <mode>` to the block's header.",
        missing_lock,
    ),
    Rule(
        "concurrently-in-transaction",
        "PostgreSQL refuses CONCURRENTLY and VACUUM inside a transaction block.",
        "Give the statement a block of its own, and an action that is not transactional.",
        concurrently_in_transaction,
    ),
    Rule(
        "validated-with-add",
        "The lock of ADD CONSTRAINT is held until the transaction ends, so the scan of VALIDATE runs under it.",
        "Put VALIDATE CONSTRAINT into an action of its own.",
        validated_with_add,
    ),
    Rule(
        "session-setting",
        "A setting left behind in a session changes what later statements do.",
        "Use `set local` or set_config(..., true); what every session needs stands in sql/session.sql.",
        session_setting,
    ),
)
