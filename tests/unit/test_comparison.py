"""Two runs beside one another: what differs is told, and nothing else."""

from __future__ import annotations

from typing import Any

from genonaut_lib.runs.reading.comparison import Comparison, Pair, Told, compare
from genonaut_lib.runs.reading.showings import planned_actions, showings
from tests.written import APPLIED, VERIFIED, notebook

PLAN = "Plan\nrows: 3. Digest 07a1.\n    action lock blocks\ndrop:index none   none\n create:it none   none\n     total"
BAR = "\rwork: 0%| | 0/83 [00:00<?, ?items/s]\rwork: 100%|#| 83/83 [00:01<00:00, 77.1items/s, changed=83, left=00:00]\n"


def told(executed: dict[str, Any], run_id: str = "a", **content: Any) -> Told:
    times = {"started_at": "2026-01-01T00:00:00Z", "ended_at": "2026-01-01T00:00:05Z"}
    parameters = executed["metadata"]["papermill"]["parameters"]
    return Told(run_id, {"notebook": "n", **times, **content}, executed, parameters)


def differing(found: Comparison, group: str) -> list[tuple[str, Any, Any]]:
    return [(pair.name, pair.before, pair.after) for pair in found.groups[group] if not pair.is_same]


def test_a_run_is_the_same_as_itself() -> None:
    """Also where it took another time."""
    one = told(notebook((APPLIED,)))
    assert compare(one, told(notebook((APPLIED,)), "b", ended_at="2026-01-01T00:00:09Z")).is_same


def test_each_thing_that_differs_is_named_on_both_sides() -> None:
    """Parameters, code and server, planned actions, figures, and the lines of the cell; None is untold."""
    changed = PLAN.replace("create:it", "create:at"), APPLIED.replace("1,204", "9")
    one = told(notebook((PLAN, APPLIED), {"share": 1}), git_commit="abc")
    other = told(notebook(changed), git_commit="def")
    found = compare(one, other)
    assert not found.is_same
    assert differing(found, "run") == [("git_commit", "abc", "def")]
    assert differing(found, "parameters") == [("share", 1, None)]
    assert differing(found, "plan") == [("create:it", "planned", None), ("create:at", None, "planned")]
    assert differing(found, "figures") == [("Applied: items changed", "1,204", "9")]
    assert found.cells is not None
    assert "-items changed 1,204" in found.cells[0].diff
    assert found.cells[0].seconds == Pair("seconds", 0.5, 0.5)


def test_a_progress_bar_differs_only_by_where_it_ended() -> None:
    """How fast it went, and how often it was drawn, is never the same twice."""
    outputs = [{"output_type": "stream", "name": "stdout", "text": text} for text in BAR.split("\r")]
    drawn, at_once = notebook(), notebook()
    drawn["cells"][0]["outputs"] = outputs[:1] + [{**one, "text": "\r" + one["text"]} for one in outputs[1:]]
    at_once["cells"][0]["outputs"] = [{**outputs[0], "text": BAR.replace("77.1", "99.9").replace("00:01", "00:07")}]
    assert compare(told(drawn), told(at_once)).is_same


def test_cells_are_compared_beside_the_one_they_are_most_like() -> None:
    """A cell that came in between does not make all behind it differ."""
    one, other = notebook((VERIFIED,)), notebook((VERIFIED,))
    other["cells"].insert(0, {"cell_type": "code", "source": "new()", "outputs": [], "metadata": {}})
    found = compare(told(one), told(other)).cells
    assert found is not None
    assert [(cell.source, bool(cell.diff)) for cell in found] == [("new()", True), ("run.apply()", False)]


def test_runs_whose_notebooks_are_gone_are_compared_by_what_was_sealed() -> None:
    """Retired files leave the manifest's content; of cells nothing is said."""
    found = compare(Told("a", {"outcome": "ok"}, {}, None), Told("b", {"outcome": "failed"}, {}, None))
    assert differing(found, "run") == [("outcome", "ok", "failed")]
    assert found.cells is None
    assert not compare(Told("a", {}, {}, None), Told("b", {}, {}, None)).is_same


def test_a_plan_is_read_back_by_its_actions() -> None:
    """The row of totals is none of them; a run that shows no plan planned nothing that is known."""
    assert planned_actions(showings(notebook((PLAN,)))) == ["drop:index", "create:it"]
    assert planned_actions(showings(notebook((APPLIED,)))) is None
