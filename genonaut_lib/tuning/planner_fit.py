"""Fitting the planner's coefficients to times measured on this very database.

A strategy's cost is the sum of its features (`planner.features`) times its coefficients. They are
fitted on the logarithm of predicted over measured time, for three reasons: a planner goes wrong by
factors, not by milliseconds; times span four orders of magnitude, and squares of milliseconds would
hear the slowest queries only; and squares of relative errors would favour costs that are too low,
since one can be too low by at most 100 %. Huber's weights keep a statement that met a checkpoint
from moving anything. A statement over its time limit only says that the cost is no less than that.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from genonaut_lib.db import engine
from genonaut_lib.db.engine import Connection
from genonaut_lib.errors import CheckFailed
from genonaut_lib.gallery import planner
from genonaut_lib.gallery.bitmaps.standing import UNKNOWN, Standing
from genonaut_lib.gallery.query import EVERYTHING, MINE, GalleryQuery, TagMatch
from genonaut_lib.gallery.statistics import Statistics
from genonaut_lib.settings import PlannerSettings, Settings
from genonaut_lib.tuning import race
from genonaut_lib.tuning.cases import PAGE_SIZE, canonical_cases
from genonaut_lib.tuning.gallery_bench import Effort, viewers
from genonaut_lib.tuning.grid import GridCase, Reach, grid
from genonaut_lib.tuning.nnls import Array, Flags, Numbers, nnls
from genonaut_lib.tuning.proposal import Coefficients, Proposal, Watched, propose
from genonaut_lib.tuning.race import Contest, Say
from genonaut_lib.tuning.timed_reads import TimedReader

ROUNDS = 12
HUBER = 0.5
"""Errors beyond a factor of e^0.5, about 1.65, count by their size and no longer by its square."""
LEAST_MS = 1e-3
LEAST_PER_COEFFICIENT = 3
"""A strategy with fewer measurements for each of its coefficients keeps the ones it has."""
PRIOR = 0.3
"""How much a present coefficient counts: one that is twice the present one weighs like one query off by a third."""
SECOND_LOOKS = 3
LEAST_SHARE = 0.1
"""No coefficient falls below this share of the present one: work that looks free is work that never came alone."""
DIGITS = 4
"""Significant digits of a coefficient: what is judged is what is written."""


@dataclass(frozen=True)
class Observation:
    """One question under one strategy: its features, its median time, and whether that is only its time limit."""

    features: Mapping[str, float]
    milliseconds: float
    over_limit: bool = False


@dataclass(frozen=True)
class Fit:
    """What a strategy's features cost, in milliseconds a unit, with 95 % confidence intervals by bootstrap.

    `factor` is the median of how many times too high or too low a prediction is: 1.2 is 20 % off.
    """

    coefficients: Mapping[str, float]
    intervals: Mapping[str, tuple[float, float]]
    factor: float
    observations: int

    def predict(self, features: Mapping[str, float]) -> float:
        """Return the cost of features in milliseconds."""
        return sum(self.coefficients.get(name, 0.0) * amount for name, amount in features.items())


@dataclass(frozen=True)
class Sweep:
    """Every watched query measured under every strategy, and the statistics and bitmaps it was planned by."""

    contests: tuple[Contest, ...]
    statistics: Statistics
    bitmaps: Standing = UNKNOWN

    def observations(self) -> dict[str, list[Observation]]:
        """Return what was measured of each strategy whose features are known."""
        found: dict[str, list[Observation]] = {}
        for contest in self.contests:
            features = planner.features(contest.query, self.statistics, self.bitmaps)
            for name, timing in contest.timings.items():
                if name in features:
                    one = Observation(features[name], timing.median_ms, over_limit=timing.timed_out)
                    found.setdefault(name, []).append(one)
        return found

    def watched(self) -> list[Watched]:
        """Return the queries with their median times."""
        return [
            Watched(one.case.name, one.query, {name: timing.median_ms for name, timing in one.timings.items()})
            for one in self.contests
        ]

    def propose(self, present: PlannerSettings, fits: Mapping[str, Fit]) -> Proposal:
        """Return knobs with the fitted coefficients, tried on every watched query."""

        def choose(query: GalleryQuery, knobs: PlannerSettings) -> str:
            return planner.choose(query, self.statistics, knobs, bitmaps=self.bitmaps).strategy

        fitted = {name: one.coefficients for name, one in fits.items()}
        return propose(self.watched(), present, fitted, choose)


def cases(connection: Connection, statistics: Statistics, effort: Effort) -> list[GridCase]:
    """Return the queries to watch: the canonical ones, and those of the grid."""
    canonical = [
        GridCase(
            f"canonical: {one.name}",
            GalleryQuery(
                one.tags,
                TagMatch(one.match),
                viewer=one.viewer,
                scope=MINE if one.mine else EVERYTHING,
                page_size=PAGE_SIZE,
                page=one.page,
            ),
            Reach.FIRST if one.page == 1 else Reach.CURSOR,
        )
        for one in canonical_cases(connection)
    ]
    return [*canonical, *grid(statistics, effort.queries, effort.seed, viewers=viewers(connection))]


def sweep(settings: Settings, effort: Effort, say: Say = lambda line: None) -> Sweep:
    """Read the watched queries under every strategy on the environment's own database, writing nothing.

    Raises StatisticsMissing or CheckFailed where the gallery has no statistics or too few tags.
    """
    with engine.session(settings, writing=False) as connection, TimedReader(settings, effort.timeout_s) as reader:
        statistics = reader.statistics()
        asked = cases(connection, statistics, effort)
        say(f"{len(asked)} queries, {effort.repeats} repeats")
        contests = race.enter(reader, asked, statistics, settings.planner, race.every_strategy)
        race.run(reader, contests, effort.repeats, effort.seed, say)
        return Sweep(tuple(contests), statistics, reader.bitmaps())


def settle(
    settings: Settings, swept: Sweep, fits: Mapping[str, Fit], effort: Effort, say: Say = lambda line: None
) -> Proposal:
    """Return the proposal; what it seems to slow down is measured anew, with twice the repeats, before that counts.

    A few milliseconds of somebody else's are easily more than 5 %. The further times are added to the
    sweep's own, whose medians count.
    """
    for _ in range(SECOND_LOOKS):
        proposal = swept.propose(settings.planner, fits)
        doubted = {one.name for one in proposal.after.worsened}
        if not doubted:
            return proposal
        say(f"measuring {len(doubted)} queries anew")
        with TimedReader(settings, effort.timeout_s) as reader:
            again = [one for one in swept.contests if one.case.name in doubted]
            race.run(reader, again, 2 * effort.repeats, effort.seed, say)
    return swept.propose(settings.planner, fits)


def fit_all(
    observations: Mapping[str, Sequence[Observation]], present: Coefficients, *, bootstraps: int = 100
) -> dict[str, Fit]:
    """Return the fit of every strategy that was measured often enough to tell its coefficients apart."""
    return {
        name: fit(found, present.get(name, {}), bootstraps=bootstraps)
        for name, found in observations.items()
        if len(found) >= LEAST_PER_COEFFICIENT * len(_seen(found))
    }


def fit(
    observations: Sequence[Observation], present: Mapping[str, float], *, bootstraps: int = 100, seed: int = 1
) -> Fit:
    """Return one strategy's coefficients, of those features that occur at all.

    What the measurements cannot tell apart stays near the `present` coefficients. Raises CheckFailed
    where there are fewer observations than features.
    """
    names = _seen(observations)
    if not names or len(observations) < len(names):
        raise CheckFailed(f"{len(observations)} measurements cannot tell {len(names)} coefficients apart.")
    points = _Points(
        np.array([[float(one.features.get(name, 0.0)) for name in names] for one in observations]),
        np.array([max(one.milliseconds, LEAST_MS) for one in observations]),
        np.array([one.over_limit for one in observations]),
    )
    prior = np.array([present.get(name, 0.0) for name in names])
    found = np.array([float(f"{value:.{DIGITS}g}") for value in _solve(points, prior)])
    return Fit(
        dict(zip(names, found.tolist(), strict=True)),
        dict(zip(names, _bootstrap(points, prior, bootstraps, seed), strict=True)),
        float(np.exp(np.median(np.abs(points.errors(points.features @ found))))),
        len(observations),
    )


def _seen(observations: Sequence[Observation]) -> list[str]:
    """Return the features that occur: of a search nothing is learnt where nobody searched."""
    return sorted({name for one in observations for name, amount in one.features.items() if amount > 0})


@dataclass(frozen=True)
class _Points:
    """Observations as arrays: features (n, m), milliseconds (n,), and which are time limits (n,)."""

    features: Array
    times: Array
    over: Flags

    def errors(self, predicted: Array) -> Array:
        """Return log(predicted / measured); nothing is wrong with a prediction beyond a limit that was exceeded."""
        errors = np.log(np.maximum(predicted, LEAST_MS) / self.times)
        return np.asarray(np.where(self.over & (errors > 0), 0.0, errors))

    def drawn(self, draw: Numbers) -> _Points:
        """Return the observations of these numbers."""
        return _Points(self.features[draw], self.times[draw], self.over[draw])


def _solve(points: _Points, prior: Array) -> Array:
    """Return the coefficients that minimise Huber's loss of the logarithms, by weights found anew in each round.

    With the squared weight log(p/t) / (p - t) / p the slope of the weighted squares (p - t)² is that of log(p/t)².
    """
    known, least = prior > 0, LEAST_SHARE * prior
    held = np.diag(PRIOR / np.where(known, prior, 1.0))[known]
    kept = np.full(len(held), PRIOR * (1 - LEAST_SHARE))
    above = points.times - points.features @ least
    weights = 1.0 / points.times
    solution = least
    for _ in range(ROUNDS):
        rows = np.vstack([points.features * weights[:, None], held])
        solution = least + nnls(rows, np.concatenate([above * weights, kept]))
        predicted = np.maximum(points.features @ solution, LEAST_MS)
        off = np.maximum(np.abs(points.errors(predicted)), HUBER)
        weights = np.sqrt(_chord(predicted, points.times) / predicted * HUBER / off)
        weights[points.over & (predicted >= points.times)] = 0.0
    return solution


def _chord(predicted: Array, times: Array) -> Array:
    """Return log(p/t) / (p - t), and its limit 1/t where the two meet."""
    apart = np.abs(predicted - times) > 1e-9 * times
    gap = np.where(apart, predicted - times, 1.0)
    return np.asarray(np.where(apart, np.log(predicted / times) / gap, 1.0 / times))


def _bootstrap(points: _Points, prior: Array, bootstraps: int, seed: int) -> list[tuple[float, float]]:
    """Return the middle 95 % of each coefficient over samples of the observations, drawn with replacement."""
    dice = np.random.default_rng(seed)
    count = len(points.times)
    solutions = [_solve(points.drawn(dice.integers(count, size=count)), prior) for _ in range(max(1, bootstraps))]
    low, high = np.percentile(np.array(solutions), [2.5, 97.5], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))
