"""Rules about the Python around the SQL: DDL goes through the one helper, and sessions keep their settings.

Read from the syntax tree: a constant, or a named block whose file and name are written out (also by
way of a variable or a loop over constants in the same function), that reaches `execute` or `copy`.
A block handed in as a parameter is not followed; such functions take data blocks. A line is taken out
of a rule by `# lint: allow <rule> because <reason>`, on it or right above.
"""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

from genonaut_lib.db.statements import Block, Waiver, blocks, files
from genonaut_lib.settings import project_root
from tests.lint import grammar
from tests.lint.findings import Breach, Place, Rule
from tests.lint.grammar import NotSql, Statement
from tests.lint.rules import SESSION_FILE, sets_session
from tests.lint.scripts import generic, sql_path

HELPER = "genonaut_lib/db/locks.py"
WAIVER_COMMENT = re.compile(r"# lint: allow ([a-z0-9-]+) because (\S.*)$")
_NO_CODE = {tokenize.COMMENT, tokenize.NL, tokenize.NEWLINE, tokenize.INDENT, tokenize.DEDENT}
SENDERS = {"execute", "executemany", "copy", "exec_driver_sql"}


@dataclass(frozen=True)
class Module:
    """One Python file: its path below the project's root and its text."""

    path: str
    text: str

    @cached_property
    def tree(self) -> ast.Module:
        """The syntax tree."""
        return ast.parse(self.text)


@dataclass(frozen=True)
class Sent:
    """An SQL text that a call sends, and where it stands; `block` when it is a named one."""

    place: Place
    text: str
    block: Block | None = None

    @property
    def statements(self) -> tuple[Statement, ...]:
        """Its statements; none for a fragment that is not SQL by itself."""
        try:
            return grammar.statements(self.text)
        except NotSql:
            return ()


def modules(root: Path | None = None) -> list[Module]:
    """Return every module of the library and of the revisions but the DDL helper itself."""
    root = root or project_root()
    paths = sorted([*root.glob("genonaut_lib/**/*.py"), *root.glob("migrations/**/*.py")])
    found = [Module(path.relative_to(root).as_posix(), path.read_text(encoding="utf-8")) for path in paths]
    return [module for module in found if module.path != HELPER]


def sent(module: Module) -> Iterator[Sent]:
    """Yield every text and block that is known to be sent in a module."""
    constants = _bindings(module.tree.body)
    seen: set[int] = set()
    for scope in _scopes(module.tree):
        names = constants | _bindings([scope])
        for call in ast.walk(scope):
            if _sends(call) and id(call) not in seen:
                seen.add(id(call))
                yield from _sent(module, call, names)


def ddl_outside_helper(module: Module) -> Iterator[Breach]:
    """Yield DDL that is sent past db/locks.py, and any operation of Alembic's own in a revision."""
    for found in sent(module):
        if any(grammar.is_ddl(statement) for statement in found.statements):
            yield Breach(found.place, found.text, "DDL that is not run by db/locks.py")
    if module.path.startswith("migrations/versions/"):
        for node in ast.walk(module.tree):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "op":
                line = f"line {node.lineno}"
                place = Place(module.path, "", line, (module.path, line))
                yield Breach(place, ast.unparse(node), "a revision calls Alembic's operations")


def session_setting(module: Module) -> Iterator[Breach]:
    """Yield settings sent from Python that outlive their transaction."""
    for found in sent(module):
        in_session_file = found.block is not None and sql_path(found.block.file) == SESSION_FILE
        if not in_session_file and any(sets_session(statement) for statement in found.statements):
            yield Breach(found.place, found.text, "changes a setting for the rest of the session")


def line_waivers(module: Module) -> Iterator[tuple[int, Waiver]]:
    """Yield the waivers of a module, each with the line it speaks for: its own, or the next line of code."""
    last = 0
    waiting: list[Waiver] = []
    for token in tokenize.generate_tokens(io.StringIO(module.text).readline):
        if token.type == tokenize.COMMENT and (found := WAIVER_COMMENT.match(token.string)):
            waiver = Waiver(found[1], found[2])
            if token.start[0] == last:
                yield last, waiver
            else:
                waiting.append(waiver)
        elif token.type not in _NO_CODE:
            last = token.end[0]
            yield from ((token.start[0], waiver) for waiver in waiting)
            waiting.clear()


SOURCE_RULES: tuple[Rule[Module], ...] = (
    Rule(
        "ddl-outside-helper",
        "DDL without a lock timeout queues behind a long transaction, and every later session behind it.",
        "Make it an action and run it by run_actions, or call run_ddl.",
        ddl_outside_helper,
    ),
    Rule(
        "session-setting",
        "A setting left behind in a session changes what later statements do.",
        "Use set_config(..., true) inside a transaction; what every session needs stands in sql/session.sql.",
        session_setting,
    ),
)


def _scopes(tree: ast.Module) -> Iterator[ast.AST]:
    """Yield every function, then the module itself, so that a call is judged with its own names first."""
    yield from (node for node in ast.walk(tree) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef))
    yield tree


def _bindings(nodes: list[ast.stmt] | list[ast.AST]) -> dict[str, list[ast.expr]]:
    """Return what each name may stand for: values assigned to it, elements of a tuple it loops over."""
    found: dict[str, list[ast.expr]] = {}
    for node in (inner for outer in nodes for inner in ast.walk(outer)):
        if isinstance(node, ast.Assign):
            for target in node.targets:
                for name, value in _assigned(target, node.value):
                    found.setdefault(name, []).append(value)
        elif isinstance(node, ast.For | ast.comprehension) and isinstance(node.iter, ast.Tuple | ast.List):
            for name, _ in _assigned(node.target, node.iter):
                found.setdefault(name, []).extend(node.iter.elts)
    return found


def _assigned(target: ast.expr, value: ast.expr) -> Iterator[tuple[str, ast.expr]]:
    if isinstance(target, ast.Name):
        yield target.id, value
    elif isinstance(target, ast.Tuple) and isinstance(value, ast.Tuple):
        for one, part in zip(target.elts, value.elts, strict=False):
            yield from _assigned(one, part)


def _sends(node: ast.AST) -> bool:
    return isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in SENDERS


def _sent(module: Module, call: ast.AST, names: dict[str, list[ast.expr]]) -> Iterator[Sent]:
    assert isinstance(call, ast.Call)
    sender = (module.path, f"line {call.lineno}")
    place = Place(module.path, "", sender[1], sender)
    for argument in call.args[:1]:
        for node in _reachable(argument, names):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield Sent(place, node.value)
            for found in _named_blocks(node, names):
                where = Place(sql_path(found.file), found.name, f"sent by {module.path} {sender[1]}", sender)
                yield Sent(where, generic(found).text, found)


def _reachable(expression: ast.expr, names: dict[str, list[ast.expr]], depth: int = 3) -> Iterator[ast.expr]:
    """Yield the expressions a statement may come from: variables, `sql.SQL(...)`, methods called on either."""
    yield expression
    if isinstance(expression, ast.Name) and depth:
        for value in names.get(expression.id, []):
            yield from _reachable(value, names, depth - 1)
    elif isinstance(expression, ast.Call):
        inner = expression.func.value if isinstance(expression.func, ast.Attribute) else None
        if isinstance(expression.func, ast.Attribute) and expression.func.attr == "SQL":
            yield from expression.args[:1]
        elif inner is not None:
            yield from _reachable(inner, names, depth)


def _named_blocks(node: ast.expr, names: dict[str, list[ast.expr]]) -> Iterator[Block]:
    if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id == "block":
        file, name = (_texts(argument, names) for argument in node.args[:2])
        known = set(files())
        yield from (blocks(one)[other] for one in file if one in known for other in name if other in blocks(one))


def _texts(expression: ast.expr, names: dict[str, list[ast.expr]]) -> list[str]:
    values = names.get(expression.id, []) if isinstance(expression, ast.Name) else [expression]
    return [value.value for value in values if isinstance(value, ast.Constant) and isinstance(value.value, str)]
