"""An executed plan as a tree: what each node cost by itself, and how far off its estimate was.

Read from EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON). Nothing here asks a database.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from typing import Any

OFF_BY = 10.0
"""An estimate that is off by this factor or more is marked: plans go wrong by orders of magnitude."""

_SHAPE = ("Node Type", "Relation Name", "Index Name", "Join Type", "Strategy", "Partial Mode", "Scan Direction")


@dataclass(frozen=True)
class Node:
    """One node of an executed plan.

    `own_ms` is the time of the node without its children, over all its loops; in a parallel part it is
    the share of one process. `estimated` and `actual` are rows of one loop. `hit` and `read` are blocks
    of the node without its children.
    """

    kind: str
    target: str
    own_ms: float
    estimated: float
    actual: float
    loops: float
    hit: int
    read: int
    children: tuple[Node, ...] = ()

    @property
    def label(self) -> str:
        """The kind of node and what it reads."""
        return f"{self.kind} {self.target}".rstrip()

    @property
    def ratio(self) -> float | None:
        """Actual over estimated rows, both at least one; None for a node that was never executed."""
        return max(self.actual, 1.0) / max(self.estimated, 1.0) if self.loops else None

    @property
    def misjudged(self) -> str:
        """How far off the estimate was, `40x fewer` or `12x more` than estimated; empty when it was near."""
        ratio = 1.0 if self.ratio is None else self.ratio
        if 1 / OFF_BY < ratio < OFF_BY:
            return ""
        return f"{ratio:,.0f}x more" if ratio > 1 else f"{1 / ratio:,.0f}x fewer"

    def walk(self) -> Iterator[Node]:
        """Yield this node and all below it, parents first."""
        yield self
        for child in self.children:
            yield from child.walk()


@dataclass(frozen=True)
class Line:
    """A node as a line of the drawn tree; `hottest` for the one that took the most time by itself."""

    tree: str
    node: Node
    hottest: bool


@dataclass(frozen=True)
class ExecutedPlan:
    """A whole plan. `shape_hash` is equal for plans of one shape, whatever they cost."""

    root: Node
    planning_ms: float
    execution_ms: float
    shape_hash: str

    @cached_property
    def hottest(self) -> Node:
        """The node that took the most time by itself."""
        return max(self.root.walk(), key=lambda node: node.own_ms)

    def lines(self) -> list[Line]:
        """Return the tree, a line for each node, parents first."""
        return [Line(tree, node, node is self.hottest) for tree, node in _drawn(self.root, "", "")]


def parse(document: Sequence[Mapping[str, Any]]) -> ExecutedPlan:
    """Return the plan that EXPLAIN (ANALYZE, BUFFERS, FORMAT JSON) gave for one statement."""
    (found,) = document
    plan = found["Plan"]
    return ExecutedPlan(_node(plan, 1.0), found.get("Planning Time", 0.0), found["Execution Time"], shape_hash(plan))


def shape_hash(plan: Mapping[str, Any]) -> str:
    """Return a digest of a plan's shape: its nodes with their relations and indexes, not costs, times or values."""
    return hashlib.sha256(json.dumps(_shape(plan)).encode()).hexdigest()


def _shape(plan: Mapping[str, Any]) -> list[Any]:
    return [[plan.get(name) for name in _SHAPE], [_shape(child) for child in plan.get("Plans", ())]]


def _node(plan: Mapping[str, Any], processes: float) -> Node:
    """Return a node; `processes` is how many worked on it at once, so that their loops count once."""
    below = processes + plan.get("Workers Launched", 0)
    plans = plan.get("Plans", ())
    own = _total_ms(plan, processes) - sum(_total_ms(child, below) for child in plans)
    return Node(
        kind=_kind(plan),
        target=_target(plan),
        own_ms=max(0.0, own),
        estimated=plan["Plan Rows"],
        actual=plan["Actual Rows"],
        loops=plan["Actual Loops"],
        hit=_own_blocks(plan, "Shared Hit Blocks"),
        read=_own_blocks(plan, "Shared Read Blocks"),
        children=tuple(_node(child, below) for child in plans),
    )


def _total_ms(plan: Mapping[str, Any], processes: float) -> float:
    """Return the time of a node with its children; times are given as the mean of a loop."""
    return float(plan.get("Actual Total Time", 0.0) * plan["Actual Loops"] / processes)


def _own_blocks(plan: Mapping[str, Any], name: str) -> int:
    # What an InitPlan read may count where it was asked for, and not where it hangs in the tree.
    below = sum(int(child.get(name, 0)) for child in plan.get("Plans", ()))
    return max(0, int(plan.get(name, 0)) - below)


def _kind(plan: Mapping[str, Any]) -> str:
    kind = str(plan["Node Type"])
    joined = plan.get("Join Type", "Inner")
    kind = f"{plan['Strategy']} {kind}" if plan.get("Strategy", "Plain") != "Plain" else kind
    kind = kind if joined == "Inner" else f"{kind} ({joined})"
    return f"[{plan['Subplan Name']}] {kind}" if "Subplan Name" in plan else kind


def _target(plan: Mapping[str, Any]) -> str:
    relation = plan.get("Relation Name") or plan.get("CTE Name") or plan.get("Function Name") or plan.get("Alias", "")
    alias = plan.get("Alias", relation)
    named = relation if alias in ("", relation) else f"{relation} {alias}"
    if "Index Name" not in plan:
        return f"on {named}" if named else ""
    return f"using {plan['Index Name']}" + (f" on {named}" if named else "")


def _drawn(node: Node, first: str, rest: str) -> Iterator[tuple[str, Node]]:
    """Yield each node with its label behind the branches that lead to it."""
    yield first + node.label, node
    for child in node.children:
        last = child is node.children[-1]
        yield from _drawn(child, f"{rest}{'└─ ' if last else '├─ '}", f"{rest}{'   ' if last else '│  '}")
