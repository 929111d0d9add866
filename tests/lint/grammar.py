"""Statements as PostgreSQL's own grammar reads them, and the few questions the rules ask of them."""

from __future__ import annotations

import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from pglast import ast, parse_sql
from pglast.parser import ParseError

from genonaut_lib.db.schema import metadata

_BOUND_VALUE = re.compile(r"%(\(\w+\))?[sbt]")
_NO_DDL = (
    ast.SelectStmt,
    ast.InsertStmt,
    ast.UpdateStmt,
    ast.DeleteStmt,
    ast.MergeStmt,
    ast.TruncateStmt,
    ast.CopyStmt,
    ast.LockStmt,
    ast.VariableSetStmt,
    ast.VariableShowStmt,
    ast.TransactionStmt,
    ast.ExplainStmt,
    ast.CallStmt,
)
GALLERY = {table.name: table for table in metadata.tables.values() if table.schema is None}
"""The gallery's own tables by name; the ledger's lie in a schema of their own."""


@dataclass(frozen=True)
class Statement:
    """One statement: its text and its tree."""

    text: str
    tree: ast.Node


class NotSql(ValueError):
    """The text is no statement of PostgreSQL's grammar."""


def prepared(text: str) -> str:
    """Return a text with its bound values as `$1`, the way PostgreSQL gets it."""
    return _BOUND_VALUE.sub("$1", text).replace("%%", "%")


@functools.cache
def statements(text: str) -> tuple[Statement, ...]:
    """Return the statements of a text, bound values as `$1`; raise NotSql for what is none."""
    bound = prepared(text)
    try:
        found = parse_sql(bound)
    except ParseError as error:
        raise NotSql(str(error)) from error
    return tuple(Statement(_piece(bound, raw.stmt_location, raw.stmt_len), raw.stmt) for raw in found)


def nodes(tree: object) -> Iterator[ast.Node]:
    """Yield every node of a tree, the root first."""
    if isinstance(tree, ast.Node):
        yield tree
        for name in tree:
            yield from nodes(getattr(tree, name))
    elif isinstance(tree, tuple | list):
        for branch in tree:
            yield from nodes(branch)


def is_ddl(statement: Statement) -> bool:
    """Return whether a statement changes the catalogue for others, or rewrites a table as VACUUM does.

    Rows, settings, statistics and temporary tables are nobody else's business.
    """
    tree = statement.tree
    analyzes = isinstance(tree, ast.VacuumStmt) and not tree.is_vacuumcmd
    return not isinstance(tree, _NO_DDL) and not _is_temporary(tree) and not analyzes


def runs_concurrently(statement: Statement) -> bool:
    """Return whether PostgreSQL refuses the statement inside a transaction block."""
    return any(_refuses_transaction(node) for node in nodes(statement.tree))


def constants(tree: object) -> set[str]:
    """Return the text of every string constant in a tree."""
    values = (node.val for node in nodes(tree) if isinstance(node, ast.A_Const))
    return {value.sval for value in values if isinstance(value, ast.String)}


def _piece(text: str, start: int, length: int) -> str:
    return (text[start : start + length] if length else text[start:]).strip()


def _is_temporary(tree: ast.Node) -> bool:
    relation = getattr(tree, "relation", None) if isinstance(tree, ast.CreateStmt) else None
    if isinstance(tree, ast.CreateTableAsStmt):
        relation = tree.into.rel
    return getattr(relation, "relpersistence", None) == "t"


def _refuses_transaction(node: ast.Node) -> bool:
    if isinstance(node, ast.VacuumStmt):
        return bool(node.is_vacuumcmd)
    if isinstance(node, ast.ReindexStmt):
        return any(option.defname == "concurrently" for option in node.params or ())
    return bool(getattr(node, "concurrent", False))
