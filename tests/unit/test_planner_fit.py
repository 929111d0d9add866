"""Fitting, proposing and adopting knobs: known coefficients come back, and nothing becomes slower unseen."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import yaml
from hypothesis import given
from hypothesis import strategies as st

from genonaut_lib.errors import CheckFailed, InvalidSettings, ProposalRefused
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.settings import PlannerSettings
from genonaut_lib.tuning import params_file
from genonaut_lib.tuning.nnls import nnls
from genonaut_lib.tuning.planner_fit import Fit, Observation, fit
from genonaut_lib.tuning.proposal import Judge, Proposal, Verdict, Watched, propose

TRUE = {"base": 0.4, "rows": 0.002, "pages": 0.05}
Coefficients = Mapping[str, Mapping[str, float]]


def observations(count: int = 150, *, noise: float = 0.1, seed: int = 1) -> list[Observation]:
    """Times made of known coefficients, each off by a random factor."""
    dice = np.random.default_rng(seed)
    found = []
    for _ in range(count):
        features = {"base": 1.0, "rows": float(10 ** dice.uniform(0, 6)), "pages": float(dice.integers(1, 50))}
        exact = sum(TRUE[name] * amount for name, amount in features.items())
        found.append(Observation(features, exact * float(np.exp(dice.normal(0, noise)))))
    return found


def near(found: Fit, share: float) -> bool:
    return all(abs(found.coefficients[name] / value - 1) < share for name, value in TRUE.items())


def test_known_coefficients_are_recovered_from_noisy_times() -> None:
    """To within some per cent, and the true value of the dearest one lies in its interval."""
    found = fit(observations(), {}, bootstraps=40)
    assert near(found, 0.15)
    low, high = found.intervals["rows"]
    assert low < TRUE["rows"] < high
    assert 1.0 < found.factor < 1.15


def test_a_few_stalled_statements_move_nothing() -> None:
    """One measurement in seven that took a hundred times as long."""
    times = observations()
    stalled = [Observation(one.features, one.milliseconds * 100) for one in times[::6]]
    assert near(fit([*times, *stalled], {}, bootstraps=1), 0.25)


def test_a_time_limit_pulls_no_prediction_down() -> None:
    """What was stopped at 100 ms costs at least that; its true cost is left to the others."""
    cut = [
        Observation(one.features, 100.0, over_limit=True) if one.milliseconds > 100 else one
        for one in observations(noise=0.05)
    ]
    assert sum(one.over_limit for one in cut) > 20
    assert near(fit(cut, {}, bootstraps=1), 0.25)


def test_what_measurements_cannot_tell_apart_stays_as_it_was() -> None:
    """Two features that always come together keep their ratio; one that never occurs gets no coefficient."""
    twins = [Observation({"left": n, "right": n, "never": 0.0}, 0.03 * n) for n in (1.0, 10.0, 100.0) for _ in range(9)]
    found = fit(twins, {"left": 0.02, "right": 0.01, "never": 5.0}, bootstraps=1)
    assert found.coefficients == {"left": pytest.approx(0.02, rel=0.01), "right": pytest.approx(0.01, rel=0.01)}


def test_too_few_measurements_are_refused() -> None:
    """Two points do not tell three coefficients."""
    with pytest.raises(CheckFailed, match="2 measurements"):
        fit(observations(2), {})


@given(st.integers(0, 10_000))
def test_least_squares_meet_the_conditions_of_an_optimum(seed: int) -> None:
    """No coefficient is negative; the gradient is flat where one is free and not downhill where it is nought."""
    dice = np.random.default_rng(seed)
    matrix, target = dice.normal(size=(12, 5)) * 10.0 ** dice.integers(-3, 4, size=5), dice.normal(size=12)
    found = nnls(matrix, target)
    lengths = np.linalg.norm(matrix, axis=0)
    gradient = (matrix / lengths).T @ (matrix @ found - target)
    assert (found >= 0).all()
    assert (gradient > -1e-8).all()
    assert (np.abs(gradient[found > 0]) < 1e-8).all()


def query(number: int) -> GalleryQuery:
    """Stands for a question; told from others by its page size."""
    return GalleryQuery(page_size=number)


FEATURES = {1: {"walk": 1.0, "join": 100.0}, 2: {"walk": 100.0, "join": 1.0}, 3: {"walk": 10.0, "join": 10.0}}


def choose(asked: GalleryQuery, knobs: PlannerSettings) -> str:
    """The cheapest of two strategies with one feature each."""
    amounts = FEATURES[asked.page_size]
    costs = {name: knobs.coefficients[name]["rows"] * amount for name, amount in amounts.items()}
    return min(costs, key=lambda name: costs[name])


def knobs_of(walk: float, join: float) -> PlannerSettings:
    return PlannerSettings().model_copy(update={"coefficients": {"walk": {"rows": walk}, "join": {"rows": join}}})


def watched(**times: tuple[float, float]) -> list[Watched]:
    """Queries 1, 2 and 3 by name with what walk and join took."""
    numbers = {"one": 1, "two": 2, "three": 3}
    return [Watched(name, query(numbers[name]), {"walk": walk, "join": join}) for name, (walk, join) in times.items()]


def test_a_fit_that_helps_is_proposed() -> None:
    """At present everything is walked; the fit joins where that is a hundred times faster."""
    queries = watched(one=(1.0, 100.0), two=(100.0, 1.0))
    found = propose(queries, knobs_of(1e-6, 1.0), {"walk": {"rows": 1.0}, "join": {"rows": 1.0}}, choose)
    assert found.changes
    assert (found.before.close_share, found.after.close_share) == (0.5, 1.0)
    assert found.after.worsened == ()


def test_a_fit_that_slows_one_query_is_nudged_until_it_does_not() -> None:
    """Query three is walked in 10 ms now and would be joined in 11; dearer joins leave it alone and serve two."""
    queries = watched(one=(1.0, 100.0), two=(100.0, 1.0), three=(10.0, 11.0))
    fitted = {"walk": {"rows": 1.0}, "join": {"rows": 0.95}}
    raw = Judge(queries, knobs_of(1e-6, 1.0), choose).verdict(knobs_of(1.0, 0.95))
    found = propose(queries, knobs_of(1e-6, 1.0), fitted, choose)
    assert [one.name for one in raw.worsened] == ["three"]
    assert found.after.worsened == ()
    assert found.after.mean_regret < found.before.mean_regret


def test_what_is_no_better_is_not_proposed() -> None:
    """The present knobs choose the best strategy everywhere, and the fit would change that for nothing."""
    queries = watched(one=(1.0, 1.04), two=(100.0, 1.0))
    found = propose(queries, knobs_of(1.0, 1.0), {"walk": {"rows": 1000.0}}, choose)
    assert found.after.mean_regret <= found.before.mean_regret
    assert found.after.worsened == ()


def test_where_every_change_slows_a_query_down_the_proposal_says_which() -> None:
    """Even the mildest blend joins what is walked well, so the proposal is one that adoption refuses."""
    queries = [
        Watched("joined well", query(2), {"walk": 100.0, "join": 1.0}),
        Watched("walked well", query(2), {"walk": 1.0, "join": 1.1}),
    ]
    found = propose(queries, knobs_of(0.0099, 1.0), {"walk": {"rows": 1e9}, "join": {"rows": 1.0}}, choose)
    assert [one.name for one in found.after.worsened] == ["walked well"]


def test_a_strategy_that_was_not_fitted_keeps_its_coefficients() -> None:
    """A view that is not there today may be there tomorrow."""
    present = knobs_of(1e-6, 1.0).model_copy(
        update={"coefficients": {**knobs_of(1e-6, 1.0).coefficients, "view": {"rows": 7.0}}}
    )
    fitted = {"walk": {"rows": 1.0}, "join": {"rows": 1.0}}
    found = propose(watched(one=(1.0, 100.0), two=(100.0, 1.0)), present, fitted, choose)
    assert found.knobs.coefficients["view"] == {"rows": 7.0}


def worsening_proposal() -> Proposal:
    """Both queries look alike to the features; what one gains by the join the other loses."""
    queries = [
        Watched("joined well", query(2), {"walk": 100.0, "join": 1.0}),
        Watched("walked well", query(2), {"walk": 1.0, "join": 1.1}),
    ]
    present, fitted = knobs_of(1e-6, 1.0), knobs_of(1.0, 1.0)
    judge = Judge(queries, present, choose)
    return Proposal(present, fitted, judge.verdict(present), judge.verdict(fitted))


FILE = """# Ours.
servers:
  embedded: true   # from wheels

planner:
  # Measured in May.
  mode: cost
  coefficients:
    walk: {rows: 0.1}
    join:
      rows: 0.2

  # How many.
  sample_rate: 0.1
# The end of it.
notebooks: {}
"""


@pytest.fixture
def settings_file(tmp_path: Path) -> Path:
    path = tmp_path / "demo.yaml"
    path.write_text(FILE)
    return path


def test_adoption_refuses_what_makes_a_watched_query_slower(settings_file: Path) -> None:
    """The query is named with its times, and the file stays as it was."""
    proposal = worsening_proposal()
    with pytest.raises(ProposalRefused, match=r"walked well: walk 1\.00 ms, join 1\.10 ms"):
        params_file.adopt(settings_file, proposal, pytest.fail)
    assert settings_file.read_text() == FILE


def good_proposal() -> Proposal:
    verdict = Verdict((1.0,))
    return Proposal(knobs_of(0.1, 0.2), knobs_of(1.5e-05, 3.0), verdict, verdict)


def test_adoption_keeps_comments_and_order_of_the_rest(settings_file: Path) -> None:
    """Only the lines of the coefficients are other ones."""
    params_file.adopt(settings_file, good_proposal(), lambda _: None)
    old = "    walk: {rows: 0.1}\n    join:\n      rows: 0.2\n"
    new = "    walk: {rows: 1.5e-05}\n    join: {rows: 3.0}\n"
    assert settings_file.read_text() == FILE.replace(old, new)
    assert yaml.safe_load(settings_file.read_text())["planner"]["coefficients"]["walk"] == {"rows": 1.5e-05}


def test_the_diff_is_shown_before_anything_is_written(settings_file: Path) -> None:
    """Whoever sees something wrong in it can still interrupt."""
    seen: list[tuple[str, str]] = []
    returned = params_file.adopt(
        settings_file, good_proposal(), lambda diff: seen.append((diff, settings_file.read_text()))
    )
    assert seen == [(returned, FILE)]
    assert "-    walk: {rows: 0.1}\n" in returned
    assert "+    walk: {rows: 1.5e-05}\n" in returned


def test_an_interrupted_showing_leaves_the_file_alone(settings_file: Path) -> None:
    """What show raises goes through."""

    def interrupted(diff: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        params_file.adopt(settings_file, good_proposal(), interrupted)
    assert settings_file.read_text() == FILE


def test_adopting_twice_changes_nothing_the_second_time(settings_file: Path) -> None:
    """The diff is empty then."""
    params_file.adopt(settings_file, good_proposal(), lambda _: None)
    assert params_file.adopt(settings_file, good_proposal(), lambda _: None) == ""


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("", "planner:\n  coefficients:\n    walk: {rows: 1.0}\n"),
        ("a: 1  # one", "a: 1  # one\nplanner:\n  coefficients:\n    walk: {rows: 1.0}\n"),
        ("planner:\n# why\nb: 2\n", "planner:\n  coefficients:\n    walk: {rows: 1.0}\n# why\nb: 2\n"),
        (
            "planner:\n    mode: cost  # x\n\n# why\nb: 2\n",
            "planner:\n    mode: cost  # x\n    coefficients:\n      walk: {rows: 1.0}\n\n# why\nb: 2\n",
        ),
        (
            "planner:\n  coefficients: {join: {rows: 2}}\n  mode: cost\n",
            "planner:\n  coefficients:\n    walk: {rows: 1.0}\n  mode: cost\n",
        ),
        (
            "planner:\n  coefficients:\n  mode: cost\n",
            "planner:\n  coefficients:\n    walk: {rows: 1.0}\n  mode: cost\n",
        ),
    ],
)
def test_coefficients_find_their_place_in_any_file(before: str, after: str) -> None:
    """No section, an empty one, one without the key, one written in braces."""
    assert params_file.with_coefficients(before, {"walk": {"rows": 1.0}}) == after


@pytest.mark.parametrize("text", ["planner: {mode: cost}\n", "planner: null\n", "planner: 3\n"])
def test_a_section_that_is_no_block_is_refused(text: str) -> None:
    """Rather than guessing where a line belongs; the hint says how to write it."""
    with pytest.raises(InvalidSettings, match="as a block"):
        params_file.with_coefficients(text, {"walk": {"rows": 1.0}})
