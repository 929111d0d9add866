"""Knob values to propose: fitted, tried on every watched query, and refused where they make one slower."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genonaut_lib.errors import ProposalRefused
from genonaut_lib.gallery.query import GalleryQuery
from genonaut_lib.settings import PlannerSettings
from genonaut_lib.tuning.gallery_report import CLOSE

TOLERATED = 1.05
"""A watched query may take up to this many times as long as before, by the measured medians."""
BLENDS = (1.0, 0.75, 0.5, 0.25)
NUDGES = (0.5, 0.67, 0.8, 0.9, 1.1, 1.25, 1.5, 2.0)
"""By what a strategy's coefficients are multiplied to keep a query on the strategy that served it better."""
MOST_PASSES = 2
BOOTSTRAPS = 200

Choose = Callable[[GalleryQuery, PlannerSettings], str]
Coefficients = Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class Watched:
    """A query that no change of knobs may slow down, and its median time under each strategy."""

    name: str
    query: GalleryQuery
    times: Mapping[str, float]

    def regret(self, strategy: str) -> float:
        """Return how many times as long as the best strategy this one takes."""
        return self.times[strategy] / min(self.times.values())


@dataclass(frozen=True)
class Worsening:
    """A watched query that would become slower, and by which strategies it would be read before and after."""

    name: str
    before: str
    after: str
    before_ms: float
    after_ms: float

    def __str__(self) -> str:
        return f"{self.name}: {self.before} {self.before_ms:.2f} ms, {self.after} {self.after_ms:.2f} ms"


@dataclass(frozen=True)
class Verdict:
    """What the choices of a set of knobs are worth on the watched queries.

    `regrets` are times over the best strategy's, in the order of the queries. `interval` is the 95 %
    confidence interval of the share of close ones, by bootstrap over the queries.
    """

    regrets: tuple[float, ...]
    worsened: tuple[Worsening, ...] = ()

    @property
    def close_share(self) -> float:
        """The share of queries read within CLOSE times the best strategy's time."""
        return sum(regret <= CLOSE for regret in self.regrets) / len(self.regrets)

    @property
    def mean_regret(self) -> float:
        """The geometric mean of the regrets."""
        return math.exp(sum(map(math.log, self.regrets)) / len(self.regrets))

    @property
    def interval(self) -> tuple[float, float]:
        """The middle 95 % of the share of close ones over samples of the queries."""
        close = np.array(self.regrets) <= CLOSE
        dice = np.random.default_rng(1)
        shares = [float(dice.choice(close, len(close)).mean()) for _ in range(BOOTSTRAPS)]
        low, high = np.percentile(shares, [2.5, 97.5])
        return float(low), float(high)

    @property
    def rank(self) -> tuple[int, float]:
        """Less is better: no query slower than before comes first, then the mean regret."""
        return len(self.worsened), self.mean_regret


Candidate = tuple[PlannerSettings, Verdict]


@dataclass(frozen=True)
class Proposal:
    """Knobs to adopt, beside the present ones, each with what it is worth."""

    present: PlannerSettings
    knobs: PlannerSettings
    before: Verdict
    after: Verdict

    @property
    def changes(self) -> bool:
        """Whether anything is to be adopted."""
        return self.knobs != self.present


class Judge:
    """Says what knobs are worth on the watched queries, beside the present ones."""

    def __init__(self, watched: Sequence[Watched], present: PlannerSettings, choose: Choose) -> None:
        self.watched, self.present, self.choose = watched, present, choose
        self._before = [choose(one.query, present) for one in watched]

    def verdict(self, knobs: PlannerSettings) -> Verdict:
        """Return the regrets under `knobs`, and which queries are slower than under the present ones."""
        regrets, worsened = [], []
        for one, before in zip(self.watched, self._before, strict=True):
            after = self.choose(one.query, knobs)
            regrets.append(one.regret(after))
            if one.times[after] > TOLERATED * one.times[before]:
                worsened.append(Worsening(one.name, before, after, one.times[before], one.times[after]))
        return Verdict(tuple(regrets), tuple(worsened))

    def better(self, best: Candidate | None, knobs: PlannerSettings) -> Candidate:
        """Return the better of two candidates; the earlier one of two that are worth the same."""
        verdict = self.verdict(knobs)
        return (knobs, verdict) if best is None or verdict.rank < best[1].rank else best


def propose(watched: Sequence[Watched], present: PlannerSettings, fitted: Coefficients, choose: Choose) -> Proposal:
    """Return the best knobs found that slow no watched query down; the present ones where they are no better.

    Where all slow one down, the proposal holds the best of them, and adoption refuses it. Tried
    are the fitted coefficients, blends of them with the present ones, and these with whole strategies
    made a little dearer or cheaper. A strategy that was not fitted keeps its coefficients.
    """
    judge = Judge(watched, present, choose)
    before = judge.verdict(present)
    best: Candidate | None = None
    for blend in BLENDS:
        best = judge.better(best, _with(present, _blended(present.coefficients, fitted, blend)))
    assert best is not None
    knobs, after = _polished(judge, best, list(fitted))
    if not after.worsened and after.mean_regret >= before.mean_regret:
        return Proposal(present, present, before, before)
    return Proposal(present, knobs, before, after)


def _polished(judge: Judge, best: Candidate, strategies: Sequence[str]) -> Candidate:
    """Return the candidate after making one strategy after the other dearer or cheaper, as long as that helps."""
    for _ in range(MOST_PASSES):
        previous = best
        for strategy in strategies:
            for knobs in list(_nudged(best[0], strategy)):
                best = judge.better(best, knobs)
        if best is previous:
            break
    return best


def require_no_worsening(proposal: Proposal) -> None:
    """Raise ProposalRefused where a watched query would become over 5 % slower."""
    worsened = proposal.after.worsened
    if worsened:
        listed = "; ".join(map(str, worsened[:5]))
        raise ProposalRefused(
            f"{len(worsened)} watched queries would become over 5 % slower: {listed}.",
            hint="Measure with more repeats or more queries, or on a machine that does nothing else.",
        )


def _with(present: PlannerSettings, coefficients: Coefficients) -> PlannerSettings:
    return present.model_copy(update={"coefficients": coefficients})


def _blended(present: Coefficients, fitted: Coefficients, share: float) -> Coefficients:
    """Return the geometric mean of both, `share` of it the fitted; what was not fitted is the present."""
    blended = {strategy: dict(values) for strategy, values in present.items()}
    for strategy, values in fitted.items():
        own = blended.setdefault(strategy, {})
        own.update({name: _mean(own.get(name, 0.0), value, share) for name, value in values.items()})
    return blended


def _mean(present: float, fitted: float, share: float) -> float:
    if share == 1.0 or present <= 0 or fitted <= 0:
        return fitted
    return float(f"{present ** (1 - share) * fitted**share:.4g}")


def _nudged(knobs: PlannerSettings, strategy: str) -> Iterator[PlannerSettings]:
    """Yield the knobs with one strategy's coefficients all multiplied by each of a few factors."""
    own = knobs.coefficients[strategy]
    for factor in NUDGES:
        moved = {name: float(f"{value * factor:.4g}") for name, value in own.items()}
        yield _with(knobs, {**knobs.coefficients, strategy: moved})
