"""The rule about writes: a statement on a gallery table touches a range of its key, never all of it."""

from __future__ import annotations

from collections.abc import Iterator

from pglast import ast
from pglast.enums import A_Expr_Kind, BoolExprType

from tests.lint.grammar import GALLERY, Statement, nodes

_EITHER_SOURCE = {"content_source", "source_type"}
"""Columns that only tell the sources apart: half of a table is not a range."""

_NAMED = (A_Expr_Kind.AEXPR_IN, A_Expr_Kind.AEXPR_OP_ANY, A_Expr_Kind.AEXPR_BETWEEN)
_SIDE = {"<": "upper", "<=": "upper", ">": "lower", ">=": "lower"}
_OTHER_SIDE = {"upper": "lower", "lower": "upper"}


def unbounded_write(statement: Statement) -> str | None:
    """Return what is written without bounds, or None."""
    for node in nodes(statement.tree):
        if isinstance(node, ast.TruncateStmt):
            tables = [found.relname for found in node.relations if _is_gallery(found)]
            if tables:
                return f"TRUNCATE of {', '.join(tables)}"
        elif isinstance(node, ast.UpdateStmt | ast.DeleteStmt) and _is_gallery(node.relation):
            table = node.relation.relname
            if not _is_bounded(node.whereClause, _keys(table)):
                verb = "UPDATE" if isinstance(node, ast.UpdateStmt) else "DELETE"
                return f"{verb} of {table} without a range of its key"
    return None


def _is_gallery(relation: ast.RangeVar) -> bool:
    return relation.relname in GALLERY and relation.schemaname in (None, "public")


def _keys(table: str) -> set[str]:
    """Return the columns a range can be given by: the primary key, `id` where there is none."""
    return {column.name for column in GALLERY[table].primary_key.columns} - _EITHER_SOURCE or {"id"}


def _is_bounded(where: ast.Node | None, keys: set[str]) -> bool:
    bounds = {bound for part in _conjuncts(where) for bound in _bounds(part, keys)}
    return "named" in bounds or {"upper", "lower"} <= bounds


def _conjuncts(where: ast.Node | None) -> Iterator[ast.Node]:
    """Yield what must hold all at once; below an OR nothing does."""
    if isinstance(where, ast.BoolExpr) and where.boolop == BoolExprType.AND_EXPR:
        for part in where.args:
            yield from _conjuncts(part)
    elif where is not None:
        yield where


def _bounds(part: ast.Node, keys: set[str]) -> Iterator[str]:
    """Yield `named` for keys that are listed or equal to something, `lower` or `upper` for a half-open range."""
    if isinstance(part, ast.SubLink):
        if _is_key(part.testexpr, keys):
            yield "named"
    elif isinstance(part, ast.A_Expr) and part.kind in _NAMED:
        if _is_key(part.lexpr, keys):
            yield "named"
    elif isinstance(part, ast.A_Expr) and part.kind == A_Expr_Kind.AEXPR_OP:
        yield from _comparison(part, keys)


def _comparison(part: ast.A_Expr, keys: set[str]) -> Iterator[str]:
    operator = part.name[-1].sval
    left, right = _is_key(part.lexpr, keys), _is_key(part.rexpr, keys)
    if operator == "=" and (left or right):
        yield "named"
    elif operator in _SIDE and left != right:
        yield _SIDE[operator] if left else _OTHER_SIDE[_SIDE[operator]]


def _is_key(expression: object, keys: set[str]) -> bool:
    if isinstance(expression, ast.RowExpr):
        return any(_is_key(one, keys) for one in expression.args)
    if not isinstance(expression, ast.ColumnRef):
        return False
    last = expression.fields[-1]
    return isinstance(last, ast.String) and last.sval in keys
