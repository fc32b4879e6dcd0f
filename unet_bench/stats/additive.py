"""What single choices are worth, learnt from networks that differ in many at once.

points, Dice ─▶ a sum of effects, shrunk to 0 ─▶ what a new point may score

Bayesian linear regression: each value of a choice adds its effect to the baseline's Dice. How far
effects lie from 0, and trainings from the sum, is estimated from the figures themselves (MacKay
1992, Bayesian interpolation, Neural Computation 4). Interactions are left out: tens of trainings
could not tell them.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

import numpy as np
from numpy.typing import NDArray

from unet_bench.stats.intervals import Z_975, Interval

Array = NDArray[np.float64]
Point = Mapping[str, str]

ROUNDS: Final = 50  # of estimating the two spreads in turn
EXPECTED: Final = 0.02  # the spread, in Dice, of effects, and of trainings about the sum
WEIGHT: Final = 5.0  # as many figures as that expectation counts: a few trainings cannot undo it
WIDE: Final = 0.1  # the spread of what the first alternatives' Dice may be, about the median
LOWEST: Final = 0.15  # what is further below the median failed to learn, and counts as so far below


@dataclass(frozen=True)
class AdditiveModel:
    """Effects of choices on Dice, against the first alternative of each.

    `mean` and `covariance` are of the first alternatives' Dice, then of the effects in the order of
    `values`.
    """

    values: tuple[tuple[str, str], ...]
    mean: Array
    covariance: Array

    def row(self, point: Point) -> Array:
        """Return what a point is to the regression: 1, and 1 for each value that it has."""
        return np.array([1.0, *(float(point.get(name) == value) for name, value in self.values)])

    def effects(self) -> dict[tuple[str, str], Interval]:
        """Return the effect of each value, with its 95 % interval."""
        sds = np.sqrt(np.diag(self.covariance))
        return {
            value: Interval(float(mean), float(mean - Z_975 * sd), float(mean + Z_975 * sd))
            for value, mean, sd in zip(self.values, self.mean[1:], sds[1:], strict=True)
        }

    def sampled(self, chance: np.random.Generator) -> Array:
        """Return Dice and effects as they may truly be, drawn from what is known of them."""
        drawn: Array = chance.multivariate_normal(self.mean, self.covariance, method="cholesky")
        return drawn


def additive_model(
    alternatives: Mapping[str, Sequence[str]], points: Sequence[Point], dice: Sequence[float]
) -> AdditiveModel:
    """Return what some trainings tell of the alternatives of each choice, the first being 0."""
    values = tuple((name, value) for name, of in alternatives.items() for value in of[1:])
    zeros = np.zeros(len(values) + 1)
    model = AdditiveModel(values, zeros, np.eye(len(zeros)))
    rows = np.array([model.row(point) for point in points]).reshape(len(points), len(zeros))
    scores = np.asarray(dice, dtype=np.float64)
    centre = float(np.median(scores)) if len(scores) else 0.0
    scores = np.maximum(scores, centre - LOWEST) - centre
    effect_sd = training_sd = EXPECTED
    for _ in range(ROUNDS):
        precision = np.diag([1 / WIDE**2, *[1 / effect_sd**2] * len(values)])
        covariance = np.linalg.inv(precision + rows.T @ rows / training_sd**2)
        mean = covariance @ rows.T @ scores / training_sd**2
        known = len(values) - float(np.trace(covariance[1:, 1:])) / effect_sd**2  # of the effects
        left = scores - rows @ mean
        effect_sd = _spread(float(mean[1:] @ mean[1:]), known)
        training_sd = _spread(float(left @ left), len(scores) - 1 - known)
    return AdditiveModel(values, mean + centre * np.eye(len(zeros))[0], covariance)


def _spread(squares: float, count: float) -> float:
    """Return the spread of so many figures, by the sum of their squares and what is expected."""
    return math.sqrt((squares + WEIGHT * EXPECTED**2) / (max(count, 0.0) + WEIGHT))
