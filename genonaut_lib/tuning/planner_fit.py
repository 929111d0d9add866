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
from genonaut_lib.gallery.query import EVERYTHING, MINE, GalleryQuery, TagMatch
from genonaut_lib.gallery.statistics import Statistics
from genonaut_lib.settings import PlannerSettings, Settings
from genonaut_lib.tuning import race
from genonaut_lib.tuning.cases import PAGE_SIZE, canonical_cases
from genonaut_lib.tuning.gallery_bench import Effort, viewers
from genonaut_lib.tuning.grid import GridCase, Reach, grid
from genonaut_lib.tuning.nnls import Array, nnls
from genonaut_lib.tuning.proposal import Proposal, Watched, propose
from genonaut_lib.tuning.race import Contest, Say
from genonaut_lib.tuning.timed_reads import Reader

ROUNDS = 12
HUBER = 0.5
"""Errors beyond a factor of e^0.5, about 1.65, count by their size and no longer by its square."""
LEAST_MS = 1e-3
LEAST_PER_COEFFICIENT = 3
"""A strategy with fewer measurements for each of its coefficients keeps the ones it has."""
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
    """Every watched query measured under every strategy, and the statistics it was planned by."""

    contests: tuple[Contest, ...]
    statistics: Statistics

    def observations(self) -> dict[str, list[Observation]]:
        """Return what was measured of each strategy whose features are known."""
        found: dict[str, list[Observation]] = {}
        for contest in self.contests:
            features = planner.features(contest.query, self.statistics)
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
            return planner.choose(query, self.statistics, knobs).strategy

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
    with engine.session(settings, writing=False) as connection, Reader(settings, effort.timeout_s) as reader:
        statistics = reader.statistics()
        asked = cases(connection, statistics, effort)
        say(f"{len(asked)} queries, {effort.repeats} repeats")
        contests = race.enter(reader, asked, statistics, settings.planner, race.every_strategy)
        race.run(reader, contests, effort.repeats, effort.seed, say)
    return Sweep(tuple(contests), statistics)


def fit_all(observations: Mapping[str, Sequence[Observation]], *, bootstraps: int = 100) -> dict[str, Fit]:
    """Return the fit of every strategy that was measured often enough to tell its coefficients apart."""
    return {
        name: fit(found, bootstraps=bootstraps)
        for name, found in observations.items()
        if len(found) >= LEAST_PER_COEFFICIENT * len({feature for one in found for feature in one.features})
    }


def fit(observations: Sequence[Observation], *, bootstraps: int = 100, seed: int = 1) -> Fit:
    """Return one strategy's coefficients; raise CheckFailed where there are fewer observations than features."""
    names = sorted({name for one in observations for name in one.features})
    if not names or len(observations) < len(names):
        raise CheckFailed(f"{len(observations)} measurements cannot tell {len(names)} coefficients apart.")
    matrix = np.array([[float(one.features.get(name, 0.0)) for name in names] for one in observations])
    times = np.array([max(one.milliseconds, LEAST_MS) for one in observations])
    over = np.array([one.over_limit for one in observations])
    found = _rounded(_solve(matrix, times, over))
    intervals = _bootstrap((matrix, times, over), bootstraps, seed)
    return Fit(
        dict(zip(names, found.tolist(), strict=True)),
        dict(zip(names, intervals, strict=True)),
        float(np.exp(np.median(np.abs(_errors(matrix @ found, times, over))))),
        len(observations),
    )


def _solve(matrix: Array, times: Array, over: Array) -> Array:
    """Return the coefficients that minimise Huber's loss of the logarithms, by weights found anew in each round.

    With the weight log(p/t) / (p - t) the weighted residual p - t is the logarithm itself.
    """
    weights = 1.0 / times
    solution = nnls(matrix * weights[:, None], times * weights)
    for _ in range(ROUNDS):
        predicted = np.maximum(matrix @ solution, LEAST_MS)
        errors = _errors(predicted, times, over)
        weights = _chord(predicted, times) * np.sqrt(np.minimum(1.0, HUBER / np.maximum(np.abs(errors), 1e-9)))
        weights[over & (predicted >= times)] = 0.0
        solution = nnls(matrix * weights[:, None], times * weights)
    return solution


def _errors(predicted: Array, times: Array, over: Array) -> Array:
    """Return log(predicted / measured); nothing is wrong with a prediction beyond a limit that was exceeded."""
    errors = np.log(np.maximum(predicted, LEAST_MS) / times)
    return np.asarray(np.where(over & (errors > 0), 0.0, errors))


def _chord(predicted: Array, times: Array) -> Array:
    """Return log(p/t) / (p - t), and its limit 1/t where the two meet."""
    apart = np.abs(predicted - times) > 1e-9 * times
    gap = np.where(apart, predicted - times, 1.0)
    return np.asarray(np.where(apart, np.log(predicted / times) / gap, 1.0 / times))


def _bootstrap(data: tuple[Array, Array, Array], bootstraps: int, seed: int) -> list[tuple[float, float]]:
    """Return the middle 95 % of each coefficient over samples of the observations, drawn with replacement."""
    matrix, times, over = data
    dice = np.random.default_rng(seed)
    draws = [dice.integers(len(times), size=len(times)) for _ in range(max(1, bootstraps))]
    solutions = np.array([_solve(matrix[draw], times[draw], over[draw]) for draw in draws])
    low, high = np.percentile(solutions, [2.5, 97.5], axis=0)
    return list(zip(low.tolist(), high.tolist(), strict=True))


def _rounded(solution: Array) -> Array:
    return np.array([float(f"{value:.{DIGITS}g}") for value in solution])
