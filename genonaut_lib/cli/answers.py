"""How an answer of the gallery is shown: a table with what is to be said of it, a plan as a tree, or JSON."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any
from uuid import UUID

from genonaut_lib.cli.options import out, print_json, print_table
from genonaut_lib.gallery.answer import Answer, Explanation
from genonaut_lib.gallery.counts import CountMode, Total
from genonaut_lib.gallery.page import Row
from genonaut_lib.tuning.plan_tree import ExecutedPlan, parse
from genonaut_lib.vocabulary import ContentSource

Names = Mapping[UUID, str]

SHOWN = ("title", "source", "creator", "created", "tags")
MOST_TAGS = 8
"""Tags shown of an item in the table; an item of the dense shape has 75."""

_PLAIN = ("id", "title", "content_type", "creator_id", "created_at", "updated_at", "quality_score", "is_private")


def print_answer(answer: Answer, names: Names, explanation: Explanation | None) -> None:
    """Print a page as a table, what there is to say of it below, and the plan if there is one."""
    print_table("Gallery", SHOWN, [_cells(row, names) for row in answer.page.rows])
    for line in _remarks(answer):
        out.print(line, markup=False)
    if explanation is not None:
        print_plan(parse(explanation.document))


def print_answer_json(answer: Answer, names: Names, explanation: Explanation | None) -> None:
    """Print an answer as JSON; the keys are told in the help of `genonaut gallery`."""
    choice = answer.choice
    found: dict[str, Any] = {
        "rows": [_plain(row, names) for row in answer.page.rows],
        "strategy": choice.strategy,
        "reason": choice.reason,
        "estimated_rows": choice.estimated_rows,
        "total": vars(answer.total),
        "milliseconds": dict(answer.milliseconds),
        "statistics_at": _moment(answer.statistics_at),
        "has_next": answer.page.has_next,
        "next_cursor": answer.next_cursor,
        "previous_cursor": answer.previous_cursor,
    }
    if explanation is not None:
        found["plan"] = _plan(parse(explanation.document)) | {"document": explanation.document}
    print_json(found)


def print_plan(plan: ExecutedPlan) -> None:
    """Print an executed plan as a tree; the hottest node is marked."""
    out.print()
    columns = ["own ms", "expected", "rows", "off", "loops", "hit", "read", "", "node"]
    rows = [
        (
            line.node.own_ms, round(line.node.estimated), round(line.node.actual), line.node.misjudged,
            round(line.node.loops), line.node.hit, line.node.read, "hottest" if line.hottest else "", line.tree,
        )
        for line in plan.lines()
    ]  # fmt: skip
    print_table("Plan: rows are those of one loop", columns, rows)
    times = f"Planning {plan.planning_ms:.2f} ms, execution {plan.execution_ms:.2f} ms"
    out.print(f"{times}, shape {plan.shape_hash[:12]}.", markup=False)


def _cells(row: Row, names: Names) -> tuple[str, ...]:
    tags = _names_of(row, names)
    more = f" and {len(tags) - MOST_TAGS} more" if len(tags) > MOST_TAGS else ""
    created = row["created_at"].isoformat(sep=" ", timespec="minutes")
    return row["title"], _source(row), row["creator_username"], created, ", ".join(tags[:MOST_TAGS]) + more


def _remarks(answer: Answer) -> Iterator[str]:
    choice, times = answer.choice, answer.milliseconds
    yield f"Strategy: {choice.strategy} ({choice.reason})"
    if choice.estimated_rows is not None:
        yield f"Estimate: {choice.estimated_rows:,.0f} items match, by statistics of {_moment(answer.statistics_at)}"
    if answer.total.kind is not CountMode.NONE:
        yield f"Total: {_total(answer.total)}"
    yield "Time: " + ", ".join(f"{name} {milliseconds:.2f} ms" for name, milliseconds in times.items())
    if answer.next_cursor is not None:
        yield f"Next page: --cursor {answer.next_cursor}"
    elif answer.page.has_next:
        yield "Next page: by its number; there is no key to sign a cursor with."


def _total(total: Total) -> str:
    if total.value is None:
        return "unknown"
    if total.kind is CountMode.EXACT:
        return f"{total.value:,}, exact"
    return f"about {total.value:,}, {total.kind}: from {total.low:,} to {total.high:,} in 95 of 100 cases"


def _plain(row: Row, names: Names) -> dict[str, Any]:
    kept = {name: row[name] for name in _PLAIN}
    kept["quality_score"] = _finite(row["quality_score"])
    dates = {name: _moment(row[name]) for name in ("created_at", "updated_at")}
    words = {"source": _source(row), "creator": row["creator_username"], "tags": _names_of(row, names)}
    return kept | dates | words


def _plan(plan: ExecutedPlan) -> dict[str, Any]:
    nodes = [
        {
            "node": line.tree, "own_ms": line.node.own_ms, "estimated": line.node.estimated, "actual": line.node.actual,
            "ratio": line.node.ratio, "loops": line.node.loops, "hit": line.node.hit, "read": line.node.read,
            "hottest": line.hottest,
        }
        for line in plan.lines()
    ]  # fmt: skip
    times = {"planning_ms": plan.planning_ms, "execution_ms": plan.execution_ms}
    return {"shape_hash": plan.shape_hash, **times, "nodes": nodes}


def _names_of(row: Row, names: Names) -> list[str]:
    """Return the names of a row's tags, sorted; a tag that went meanwhile is shown by its id."""
    return sorted(names.get(tag, str(tag)) for tag in row["tags"])


def _finite(number: float | None) -> float | None:
    """JSON has no word for what is no number and for what is infinite."""
    return number if number is not None and math.isfinite(number) else None


def _source(row: Row) -> str:
    return ContentSource.from_partition(row["source_type"]).junction


def _moment(moment: datetime | None) -> str | None:
    return None if moment is None else moment.isoformat()
