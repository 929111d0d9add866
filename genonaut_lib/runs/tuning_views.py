"""What 60_tune_planner shows: how the strategies did, what their features cost, what a change would do."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pandas as pd
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from genonaut_lib.runs.views import Chart, View
from genonaut_lib.tuning.gallery_report import CLOSE
from genonaut_lib.tuning.planner_fit import Fit, Observation
from genonaut_lib.tuning.proposal import Proposal
from genonaut_lib.tuning.race import Contest

GREY, BLUE = "#b0b7c3", "#2f6fde"
MOST_ROWS = 12


def sweep_view(contests: Sequence[Contest]) -> View:
    """Return, for each strategy, how often it was the fastest and how often chosen, and its times."""
    names = sorted({name for one in contests for name in one.timings})
    rows = []
    for name in names:
        times = sorted(one.timings[name].median_ms for one in contests if name in one.timings)
        fastest = sum(one.best.strategy == name for one in contests)
        chosen = sum(one.choice.strategy == name for one in contests)
        over = sum(one.timings[name].timed_out for one in contests if name in one.timings)
        rows.append((name, len(times), fastest, chosen, times[len(times) // 2], times[-1], over))
    columns = ["strategy", "queries", "fastest", "chosen", "median ms", "slowest ms", "over the limit"]
    return View(f"{len(contests)} queries under every strategy", pd.DataFrame(rows, columns=columns).round(3))


def fits_view(fits: Mapping[str, Fit]) -> View:
    """Return every coefficient with its confidence interval."""
    rows = [
        (name, feature, f"{value:.4g}", f"{fit.intervals[feature][0]:.3g} to {fit.intervals[feature][1]:.3g}")
        for name, fit in fits.items()
        for feature, value in fit.coefficients.items()
    ]
    off = ", ".join(f"{name} {fit.factor:.2f}" for name, fit in fits.items())
    table = pd.DataFrame(rows, columns=["strategy", "feature", "ms a unit", "95 %"])
    return View("Fitted coefficients", table, f"Predictions are off by a factor of (median): {off}.")


def proposal_view(proposal: Proposal) -> View:
    """Return what the proposed knobs are worth beside the present ones, and which queries they would slow down."""
    rows = []
    for name, verdict in (("now", proposal.before), ("proposed", proposal.after)):
        low, high = verdict.interval
        rows.append((name, verdict.close_share, f"{low:.2f} to {high:.2f}", verdict.mean_regret, max(verdict.regrets)))
    columns = ["knobs", f"within {CLOSE} of the best", "95 %", "mean ratio", "worst ratio"]
    return View("Choices on the watched queries", pd.DataFrame(rows, columns=columns).round(3), _remark(proposal))


def diff_view(title: str, diff: str) -> View:
    """Return a change of a params file, line by line."""
    if not diff:
        return View(title, remark="The params file stays as it is.")
    return View(title, pd.DataFrame({"params file": diff.splitlines()}))


def predictions_chart(observations: Mapping[str, Sequence[Observation]], fits: Mapping[str, Fit]) -> Chart:
    """Return predicted against measured times, one plot a strategy, both axes logarithmic."""
    columns = max(1, min(3, len(fits)))
    rows = max(1, -(-len(fits) // columns))
    figure = Figure(figsize=(3.2 * columns, 3 * rows), layout="constrained")
    plots = figure.subplots(rows, columns, squeeze=False).flatten().tolist()
    for axes, (name, fit) in zip(plots, fits.items(), strict=False):
        _scatter(axes, name, [(one.milliseconds, fit.predict(one.features)) for one in observations[name]])
    for axes in plots[len(fits) :]:
        axes.set_axis_off()
    return Chart(f"predicted against measured ms, {len(fits)} strategies", figure)


def regrets_chart(proposal: Proposal) -> Chart:
    """Return the times of the choices over the best strategy's, sorted, now and as proposed."""
    figure = Figure(figsize=(7, 3.2), layout="constrained")
    axes = figure.subplots()
    for label, verdict, colour in (("now", proposal.before, GREY), ("proposed", proposal.after, BLUE)):
        axes.plot(sorted(verdict.regrets), label=label, color=colour)
    axes.axhline(CLOSE, color="black", linewidth=0.6, linestyle=":")
    axes.set_yscale("log")
    axes.set_xlabel("watched queries, sorted")
    axes.set_ylabel("chosen over best")
    axes.legend(frameon=False)
    axes.spines[["top", "right"]].set_visible(False)
    return Chart(f"regret before and after, {len(proposal.after.regrets)} queries", figure)


def _remark(proposal: Proposal) -> str:
    worsened = proposal.after.worsened
    if worsened:
        return f"{len(worsened)} would become over 5 % slower: " + "; ".join(map(str, worsened[:MOST_ROWS]))
    return "No watched query becomes over 5 % slower." if proposal.changes else "No better knobs were found."


def _scatter(axes: Axes, name: str, points: Sequence[tuple[float, float]]) -> None:
    low, high = min(map(min, points)) / 1.5, max(map(max, points)) * 1.5
    axes.plot([low, high], [low, high], color=GREY, linewidth=1)
    measured, predicted = zip(*points, strict=True)
    axes.scatter(measured, predicted, s=9, color=BLUE, alpha=0.6)
    axes.set_xscale("log")
    axes.set_yscale("log")
    axes.set_title(name, loc="left", fontsize=10)
    axes.set_xlabel("measured ms")
    axes.set_ylabel("predicted ms")
    axes.spines[["top", "right"]].set_visible(False)
