"""Least squares with coefficients that are not negative: a cost of less than nothing means nothing."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Array = NDArray[np.float64]
Flags = NDArray[np.bool_]
Numbers = NDArray[np.int64]
_TOLERANCE = 1e-10


def nnls(matrix: Array, target: Array) -> Array:
    """Return x >= 0 that minimises |matrix x - target|, by the active sets of Lawson and Hanson.

    Their book "Solving Least Squares Problems" (1974), chapter 23. `matrix` is (n, m), `target` (n,).
    Columns are scaled to length one first, since features differ by many orders of magnitude.
    """
    lengths = np.linalg.norm(matrix, axis=0)
    scaled = matrix / np.where(lengths > 0, lengths, 1.0)
    solution, free = np.zeros(matrix.shape[1]), np.zeros(matrix.shape[1], dtype=bool)
    for _ in range(3 * matrix.shape[1]):
        gradient = scaled.T @ (target - scaled @ solution)
        gradient[free | (lengths == 0)] = -np.inf
        best = int(np.argmax(gradient))
        if gradient[best] <= _TOLERANCE * max(1.0, float(np.linalg.norm(target))):
            break
        free[best] = True
        solution = _within_bounds(scaled, target, solution, free)
    return np.asarray(solution / np.where(lengths > 0, lengths, 1.0))


def _within_bounds(matrix: Array, target: Array, solution: Array, free: Flags) -> Array:
    """Return the best solution over the free coefficients, taking out of `free` what would turn negative."""
    while True:
        trial = np.zeros_like(solution)
        trial[free] = np.linalg.lstsq(matrix[:, free], target, rcond=None)[0]
        negative = free & (trial <= 0)
        if not negative.any():
            return trial
        steps = solution[negative] / (solution[negative] - trial[negative])
        solution = solution + float(steps.min()) * (trial - solution)
        free &= solution > _TOLERANCE
        solution[~free] = 0.0
