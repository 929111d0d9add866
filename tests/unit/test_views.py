"""What notebooks show: escaped HTML for people, plain text for everything else, plots as PNG."""

from __future__ import annotations

import uuid

import pandas as pd
import pytest

from genonaut_lib.db.statements import block
from genonaut_lib.migration.estimate import Estimate, PlanEstimate
from genonaut_lib.migration.plan import Check, Outcome, Plan, Verification, action
from genonaut_lib.migration.preview import Preview
from genonaut_lib.runs import views
from genonaut_lib.runs.views import View
from genonaut_lib.tuning.bench import Comparison, Measurement
from genonaut_lib.tuning.cases import Case

MARKUP = "<script>alert('x') & more</script>"
PNG = b"\x89PNG\r\n\x1a\n"


def measurement(name: str = "popular", p50: float = 10.0, keys: tuple[str, ...] | None = ("regular/1",)) -> Measurement:
    """Return a measurement of a case with one tag."""
    case = Case(name, (uuid.UUID(int=1),), "any", False, 1, uuid.UUID(int=2))
    return Measurement(case, "time_walk", keys, p50, p50 * 2, 30)


@pytest.mark.parametrize(
    "view",
    [
        View(MARKUP),
        View("t", remark=MARKUP),
        View("t", pd.DataFrame({"a": [MARKUP]})),
        View("t", pd.DataFrame({MARKUP: [1]})),
        View("t", statements=[MARKUP]),
    ],
    ids=["title", "remark", "cell", "column", "statement"],
)
def test_html_of_a_view_is_escaped(view: View) -> None:
    """A tag name with markup in it is shown, not run."""
    found = view._repr_html_()
    assert "<script>" not in found
    assert "&lt;script&gt;" in found


def test_text_of_a_view_is_plain() -> None:
    """A terminal sees title, remark and table without markup."""
    text = repr(View("Title", pd.DataFrame({"a": [1, 2]}), "Remark."))
    assert text.splitlines()[:2] == ["Title", "Remark."]
    assert "<" not in text


def test_view_without_a_table_is_its_words() -> None:
    """Nothing is shown for what is not there."""
    assert repr(View("Title")) == "Title"
    assert View("Title")._repr_html_() == "<h4>Title</h4>"


def test_long_finding_is_shown_whole() -> None:
    """A reason cut short cannot be acted upon."""
    text = "word " * 60
    view = views.checks_view([Check("disk", False, text)])
    assert text.strip() in view._repr_html_()
    assert text.strip() in repr(view)


def test_statements_are_folded_and_counted() -> None:
    """The SQL of a plan is there to unfold, each statement ended."""
    found = View("Plan", statements=["select 1", "select 2"])._repr_html_()
    assert "<summary>2 statements</summary>" in found
    assert "select 1;\n\nselect 2;" in found


@pytest.mark.parametrize(("holds", "word"), [(True, "ok"), (False, "NOT READY")])
def test_check_that_does_not_hold_stands_out(holds: bool, word: str) -> None:
    """A failed precondition is in capitals."""
    assert views.checks_view([Check("disk", holds, "found")]).table["result"].tolist() == [word]


def test_empty_plan_says_why() -> None:
    """Nothing to do is explained by the plan's note."""
    view = views.plan_view(Plan("seed_tags", (), note="done: past it"))
    assert (view.title, view.remark, view.table) == ("Plan: nothing to do", "done: past it", None)


def test_plan_view_shows_digest_locks_and_statements() -> None:
    """What is confirmed is what is shown."""
    step = action("drop:x", block("attach_partitions", "drop_source_type"), reversible=False, table="content_items")
    plan = Plan("attach_partitions", (step,), {"rows": 12345})
    view = views.plan_view(plan)
    assert view.remark == f"rows: 12,345. Digest {plan.digest[:12]}."
    assert view.table.iloc[0].tolist()[:4] == ["drop:x", "ACCESS EXCLUSIVE", "reads and writes", "NO"]
    assert view.statements == [step.text]


def test_plan_view_with_costs_ends_with_their_total() -> None:
    """Each action with rows, WAL, disk and duration; what nobody can know is unknown, and the total says so."""
    steps = tuple(
        action(f"drop:{name}", block("attach_partitions", "detach"), table="content_items") for name in ("x", "y")
    )
    known = Estimate(1_000, 2_000_000, 90.0, 3_000_000_000, exact=False)
    costs = PlanEstimate((known, Estimate(None, None, None, None)), 10**9)
    view = views.plan_view(Plan("attach_partitions", steps), Preview(Plan("attach_partitions", steps), costs, None))
    assert view.table[["action", "rows", "WAL", "disk", "duration"]].to_numpy().tolist() == [
        ["drop:x", "~1,000", "2.0 MB", "3.0 GB", "1.5 min"],
        ["drop:y", "unknown", "unknown", "unknown", "unknown"],
        ["total, at least", "", "2.0 MB", "3.0 GB", "1.5 min"],
    ]
    assert view.remark.endswith("WAL included: 3.0 GB; free: unknown: ask the server's owner.")


def test_outcome_keeps_the_order_of_its_figures() -> None:
    """Figures are read in the order the phase gave them."""
    view = views.outcome_view(Outcome("x", {"zulu": 1234567, "alpha": 1.5, "mike": "word"}))
    assert view.table.to_numpy().tolist() == [["zulu", "1,234,567"], ["alpha", "1.50"], ["mike", "word"]]


@pytest.mark.parametrize(("mismatches", "verdict"), [(0, "passed"), (3, "FAILED")])
def test_verification_view_says_the_verdict(mismatches: int, verdict: str) -> None:
    """A failed verification cannot be taken for a passed one."""
    view = views.verification_view(Verification("x", 1000, mismatches, samples=("row 7",) * mismatches))
    assert view.title == f"Verification {verdict}"
    assert f"1,000 examined, {mismatches} mismatches." in view.remark


def test_verification_view_shows_the_first_samples() -> None:
    """The reader sees where to look."""
    view = views.verification_view(Verification("x", 9, 2, samples=("row 7", "row 8")))
    assert view.remark.endswith("First: row 7; row 8")


def test_measurement_that_timed_out_says_so() -> None:
    """A case without an answer does not look like one with no rows."""
    view = views.measurements_view("Before", [measurement(keys=None), measurement(keys=())])
    assert view.table["rows"].tolist() == ["timed out", 0]


def test_comparison_view_shows_ratio_and_sameness() -> None:
    """Faster counts only where the rows are the same."""
    pairs = [
        Comparison(measurement(p50=50.0), measurement(p50=5.0)),
        Comparison(measurement(), measurement(keys=("regular/2",))),
        Comparison(measurement(keys=None), measurement()),
    ]
    table = views.comparisons_view(pairs).table
    assert table["faster"].tolist() == ["10.0x", "1.0x", "1.0x"]
    assert table["same rows"].tolist() == ["yes", "NO", "unknown (timed out)"]


def test_cases_view_names_a_match_only_for_several_tags() -> None:
    """Any or all of one tag is the same question."""
    assert views.cases_view([measurement().case]).table["match"].tolist() == [""]


def test_chart_gives_png_bytes_and_a_sentence() -> None:
    """A plot is a picture for people and words for everything else."""
    chart = views.bar_chart("Rows", {"regular": 1.0, "auto": 3.0}, "rows")
    assert chart._repr_png_().startswith(PNG)
    assert repr(chart) == "[plot: Rows]"


def test_chart_of_nothing_is_drawn() -> None:
    """A phase that found nothing still has its plot."""
    assert views.bar_chart("Nothing", {}, "rows")._repr_png_().startswith(PNG)


def test_comparisons_chart_gives_png_bytes() -> None:
    """The medians of every case are drawn on one plot."""
    chart = views.comparisons_chart([Comparison(measurement(p50=50.0), measurement(p50=5.0))])
    assert chart._repr_png_().startswith(PNG)
    assert repr(chart) == "[plot: median before and after, 1 cases]"
