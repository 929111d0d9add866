"""What 63_explain_gallery shows: the question, the plan as a tree, whether it changed, and where the time went."""

from __future__ import annotations

import pandas as pd
from matplotlib.figure import Figure

from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.runs.views import Chart, View, figures_view
from genonaut_lib.tuning.explain import Archived, Explained
from genonaut_lib.tuning.plan_tree import OFF_BY, Line

COLUMNS = ["node", "own ms", "expected", "rows", "off", "loops", "hit", "read", ""]
HOTTEST, OTHER = "#d1495b", "#2f6fde"
MOST_BARS = 25
LONGEST_LABEL = 60


def question_view(query: GalleryQuery, strategy: str | None) -> View:
    """Return what is asked, as it was understood."""
    figures = {
        "tags": len(query.tags),
        "families": len(query.families),
        "match": query.match.value,
        "excluded": len(query.exclude),
        "regular": query.scope.regular.value,
        "auto": query.scope.auto.value,
        "search": query.search or "none",
        "sort": f"{query.sort.field.value} {'descending' if query.sort.descending else 'ascending'}",
        "page": query.page,
        "page size": query.page_size,
        "strategy": strategy or "the planner's choice",
    }
    return figures_view("Question", figures)


def plan_view(found: Explained) -> View:
    """Return the plan as a table that is a tree: parents above their children, the hottest node marked."""
    plan, choice = found.plan, found.choice
    remark = (
        f"{choice.strategy}: {choice.reason}. Planning {plan.planning_ms:.2f} ms, "
        f"execution {plan.execution_ms:.2f} ms. Rows are those of one loop; an estimate off by {OFF_BY:.0f} "
        "times or more is marked."
    )
    return View("Plan", pd.DataFrame([_cells(line) for line in plan.lines()], columns=COLUMNS), remark)


def archive_view(found: Archived) -> View:
    """Return where the plan was kept and how it compares with the last one of the same query."""
    verdict = {None: "the first of this query", False: "the same as last time", True: "ANOTHER than last time"}
    figures = {
        "shape of the plan": verdict[found.changed],
        "hash": found.shape_hash[:12],
        "hash last time": "" if found.before is None else found.before[:12],
        "kept in": found.file.name,
    }
    return figures_view("Compared", figures)


def times_chart(found: Explained) -> Chart:
    """Return the time of each node without its children as bars, in the order of the tree; at most 25, the hottest."""
    lines = found.plan.lines()
    least = sorted((line.node.own_ms for line in lines), reverse=True)[:MOST_BARS][-1]
    shown = [line for line in lines if line.node.own_ms >= least][:MOST_BARS]
    figure = Figure(figsize=(9, 0.32 * len(shown) + 1))
    axes = figure.subplots()
    colours = [HOTTEST if line.hottest else OTHER for line in shown]
    bars = axes.barh(range(len(shown)), [line.node.own_ms for line in shown], color=colours)
    axes.bar_label(bars, fmt="{:,.2f}", padding=3)
    axes.set_yticks(range(len(shown)), [line.node.label[:LONGEST_LABEL] for line in shown])
    axes.invert_yaxis()
    axes.set_xlabel("ms, without the nodes below")
    axes.spines[["top", "right"]].set_visible(False)
    return Chart(f"time of each node, {found.plan.hottest.label} the hottest", figure)


def _cells(line: Line) -> tuple[object, ...]:
    node = line.node
    # Blanks that do not break and are not folded: HTML would take the branches of the tree away.
    tree = line.tree.replace(" ", "\N{NO-BREAK SPACE}")
    rows = round(node.estimated), round(node.actual), node.misjudged, round(node.loops)
    return tree, node.own_ms, *rows, node.hit, node.read, "hottest" if line.hottest else ""
