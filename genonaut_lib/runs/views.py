"""What notebooks show: tables, statements and plots, as HTML for people and as text for everything else."""

from __future__ import annotations

import hashlib
import html
import io
from collections.abc import Mapping, Sequence
from dataclasses import astuple, dataclass
from typing import Any

import pandas as pd
from matplotlib.figure import Figure

from genonaut_lib.migration.decisions import DecisionCount
from genonaut_lib.migration.estimate import PlanEstimate
from genonaut_lib.migration.figures import COSTS, estimate_texts, total_texts
from genonaut_lib.migration.lock_modes import blocks
from genonaut_lib.migration.plan import Check, Outcome, Plan, Verification
from genonaut_lib.migration.preview import Preview
from genonaut_lib.tuning.bench import Comparison, Measurement
from genonaut_lib.tuning.cases import Case


@dataclass(frozen=True)
class View:
    """A titled table, with a remark above it and statements to unfold below it."""

    title: str
    table: pd.DataFrame | None = None
    remark: str = ""
    statements: Sequence[str] = ()

    def _repr_html_(self) -> str:
        parts = [f"<h4>{html.escape(self.title)}</h4>"]
        if self.remark:
            parts.append(f"<p>{html.escape(self.remark)}</p>")
        if self.table is not None:
            parts.append(_table_html(self.title, self.table))
        if self.statements:
            text = html.escape(";\n\n".join(self.statements) + ";")
            count = len(self.statements)
            parts.append(f"<details><summary>{count} statements</summary><pre>{text}</pre></details>")
        return "\n".join(parts)

    def __repr__(self) -> str:
        table = "" if self.table is None else self.table.to_string(index=False, na_rep="")
        return "\n".join(part for part in (self.title, self.remark, table) if part)


@dataclass(frozen=True)
class Chart:
    """A plot as PNG, with a sentence for those who cannot see it."""

    title: str
    figure: Figure

    def _repr_png_(self) -> bytes:
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=110, bbox_inches="tight")
        return buffer.getvalue()

    def __repr__(self) -> str:
        return f"[plot: {self.title}]"


def checks_view(checks: Sequence[Check]) -> View:
    """Return preconditions as a table."""
    rows = [(check.subject, "ok" if check.holds else "NOT READY", check.finding) for check in checks]
    return View("Preflight", pd.DataFrame(rows, columns=["checked", "result", "found"]))


def plan_view(plan: Plan, costs: Preview | None = None) -> View:
    """Return a plan: every statement with its lock, what that holds up, and what it will cost.

    The last row is the total; with a unit nobody can know beforehand it says "at least".
    """
    if not plan.actions:
        return View("Plan: nothing to do", remark=plan.note)
    rows = [
        (step.id, step.lock or "none", blocks(step.lock), "yes" if step.reversible else "NO", _first_sentence(step.why))
        for step in plan.actions
    ]
    table = pd.DataFrame(rows, columns=["action", "lock", "blocks", "reversible", "why"])
    figures = ", ".join(f"{name}: {_figure(value)}" for name, value in plan.facts.items())
    remark = f"{figures}. Digest {plan.digest[:12]}." if figures else f"Digest {plan.digest[:12]}."
    if costs is not None:
        table = _with_costs(table, costs.estimate)
        remark += f" {costs.disk_text}"
    return View("Plan", table, remark, [step.text for step in plan.actions])


def _with_costs(table: pd.DataFrame, estimate: PlanEstimate) -> pd.DataFrame:
    """Return the table of a plan with what each action costs before its reasons, and a row of totals."""
    name = "total" if estimate.complete else "total, at least"
    total = pd.DataFrame([{"action": name, "lock": "", "blocks": "", "reversible": "", "why": ""}])
    wide = pd.concat([table, total], ignore_index=True)
    texts = [*(estimate_texts(step) for step in estimate.actions), total_texts(estimate.total)]
    for place, column in enumerate(COSTS, start=3):
        wide.insert(place, column, [text[place - 3] for text in texts])
    return wide


def outcome_view(outcome: Outcome) -> View:
    """Return what was done."""
    return figures_view("Applied", outcome.figures)


def verification_view(verification: Verification) -> View:
    """Return what was compared and what differed."""
    verdict = "passed" if verification.passed else "FAILED"
    remark = f"{verification.examined:,} examined, {verification.mismatches:,} mismatches."
    if verification.samples:
        remark += " First: " + "; ".join(verification.samples)
    return figures_view(f"Verification {verdict}", verification.figures, remark)


def figures_view(title: str, figures: Mapping[str, Any], remark: str = "") -> View:
    """Return figures by name as a two-column table."""
    rows = [(name, _figure(value)) for name, value in figures.items()]
    return View(title, pd.DataFrame(rows, columns=["figure", "value"]) if rows else None, remark)


def cases_view(cases: Sequence[Case]) -> View:
    """Return the questions of a measurement."""
    rows = [
        (
            case.name,
            len(case.tags),
            case.match if len(case.tags) > 1 else "",
            "mine" if case.mine else "everybody",
            case.page,
        )
        for case in cases
    ]
    return View("Questions", pd.DataFrame(rows, columns=["case", "tags", "match", "whose", "page"]))


def measurements_view(title: str, measurements: Sequence[Measurement]) -> View:
    """Return measurements: median and 95th percentile in milliseconds."""
    rows = [
        (found.case.name, "timed out" if found.row_keys is None else len(found.row_keys), found.p50_ms, found.p95_ms)
        for found in measurements
    ]
    return View(title, pd.DataFrame(rows, columns=["case", "rows", "p50 ms", "p95 ms"]).round(2))


def comparisons_view(pairs: Sequence[Comparison]) -> View:
    """Return cases before and after, ratio first."""
    same = {True: "yes", False: "NO", None: "unknown (timed out)"}
    rows = [
        (
            pair.before.case.name,
            f"{pair.speedup:.1f}x",
            pair.before.p50_ms,
            pair.after.p50_ms,
            pair.before.p95_ms,
            pair.after.p95_ms,
            same[pair.same_rows],
        )
        for pair in pairs
    ]
    columns = ["case", "faster", "p50 before", "p50 after", "p95 before", "p95 after", "same rows"]
    return View("Gallery before and after (ms)", pd.DataFrame(rows, columns=columns).round(2))


def comparisons_chart(pairs: Sequence[Comparison]) -> Chart:
    """Return the medians before and after as bars on a logarithmic axis."""
    figure = Figure(figsize=(8, 0.45 * len(pairs) + 1.2))
    axes = figure.subplots()
    places = range(len(pairs))
    axes.barh([place - 0.2 for place in places], [p.before.p50_ms for p in pairs], 0.4, label="before", color="#b0b7c3")
    axes.barh([place + 0.2 for place in places], [p.after.p50_ms for p in pairs], 0.4, label="after", color="#2f6fde")
    axes.set_yticks(list(places), [pair.before.case.name for pair in pairs])
    axes.invert_yaxis()
    axes.set_xscale("log")
    axes.set_xlabel("median, ms (logarithmic)")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return Chart(f"median before and after, {len(pairs)} cases", figure)


def bar_chart(title: str, values: Mapping[str, float], unit: str) -> Chart:
    """Return named values as horizontal bars, in the order given."""
    figure = Figure(figsize=(7, 0.35 * max(len(values), 1) + 1))
    axes = figure.subplots()
    bars = axes.barh(list(values), list(values.values()), color="#2f6fde")
    axes.bar_label(bars, fmt="{:,.0f}", padding=3)
    axes.invert_yaxis()
    axes.set_xlabel(unit)
    axes.set_title(title, loc="left", fontsize=11)
    axes.spines[["top", "right"]].set_visible(False)
    return Chart(title, figure)


def decisions_view(counts: Sequence[DecisionCount]) -> View:
    """Return the decisions about dirty data: what the seeding counted, what the backfill wrote down."""
    rows = [astuple(count) for count in counts]
    columns = ["kind", "decision", "spellings", "counted", "elements", "items"]
    if not rows:
        return View("Decisions about dirty data: none")
    table = pd.DataFrame(rows, columns=columns).astype({"elements": "Int64", "items": "Int64"})
    return View("Decisions about dirty data", table)


def decisions_chart(counts: Sequence[DecisionCount]) -> Chart:
    """Return how many elements each decision concerned, as written down or else as counted."""
    elements = {f"{count.kind}: {count.decision}": float(count.elements or count.counted) for count in counts}
    return bar_chart("Dirty elements by kind and decision", elements, "elements")


def _table_html(title: str, table: pd.DataFrame) -> str:
    """Return a table as HTML: words to the left, figures to the right, everything escaped.

    The id that pandas gives its styles comes from the title, so that two runs show the same HTML.
    """
    figures = [name for name in table.columns if name == "value" or pd.api.types.is_numeric_dtype(table[name])]
    styler = table.style.hide(axis="index").set_uuid(hashlib.sha256(title.encode()).hexdigest()[:6])
    styler = styler.format(na_rep="", precision=2, escape="html", thousands=",").format_index(escape="html", axis=1)
    styler = styler.set_properties(**{"text-align": "left"})
    styler = styler.set_properties(subset=figures, **{"text-align": "right"})
    return str(styler.set_table_styles([{"selector": "th", "props": "text-align: left"}]).to_html())


def _figure(value: Any) -> str:
    if isinstance(value, float):
        return f"{value:,.2f}"
    return f"{value:,}" if isinstance(value, int) else str(value)


def _first_sentence(text: str) -> str:
    return text.split(". ", maxsplit=1)[0].rstrip(".")
