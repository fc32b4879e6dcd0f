"""Verdicts that hold for a whole table: many variants against one baseline.

differences with their spread ─▶ that of most of them ─▶ Dunnett's quantile ─▶ how far is separable

Of thirty variants that are equal to the baseline, one or two would lie outside of a 95 % interval
of their own by chance. Dunnett 1955 (A multiple comparison procedure for comparing several
treatments with a control, JASA 50) states how far a difference must be from 0 so that in 95 of 100
such tables none does: the baseline being in all of them, they are correlated by one half.
"""

from __future__ import annotations

import functools
import math
import statistics
from collections.abc import Iterable
from dataclasses import dataclass
from typing import Final, NamedTuple

import numpy as np

from unet_bench.stats.intervals import Z_975, t_975

LEVEL: Final = 0.95
NODES: Final = 40  # of each of two integrals


class Error(NamedTuple):
    """How well a difference is known: its standard error, and the units it is the mean of.

    `units` is 0 where the error is known by other means, such as many repetitions.
    """

    standard: float
    units: int = 0

    @property
    def sd(self) -> float:
        """The standard deviation of a unit."""
        return self.standard * math.sqrt(self.units)


@dataclass(frozen=True)
class Family:
    """Differences from one baseline that are judged together, of which there are `count`.

    `sd` is the standard deviation of units about most of the differences: by the median of their
    variances, so that one that scatters wildly does not hide all others.
    """

    count: int
    sd: float = 0.0

    @classmethod
    def of(cls, errors: Iterable[Error]) -> Family:
        """Return the family of all differences that have an interval."""
        known = [error for error in errors if error.units != 1 and not math.isnan(error.standard)]
        variances = [
            error.sd**2 / _median_variance(error.units - 1) for error in known if error.units
        ]
        return cls(len(known), math.sqrt(statistics.median(variances)) if variances else 0.0)

    def limit(self, error: Error) -> float:
        """Return how far from 0 a difference of this error must be to be separable.

        Units' spread is that of the family, or the difference's own where it is larger: three seeds
        tell a spread badly, but an unsteady variant must not pass for a steady one. Since the
        baseline's own spread is a part of each, the spread of `count` differences is known as if
        from 4 count / (count + 3) of them.
        """
        if not error.units:
            return dunnett(self.count, math.inf) * error.standard
        freedom = 4 * (error.units - 1) * self.count / (self.count + 3)
        if freedom > 30:  # two digits are enough for three of the quantile, and found but once
            freedom = float(f"{freedom:.1e}")
        standard = max(error.sd, self.sd) / math.sqrt(error.units)
        return dunnett(self.count, freedom) * standard


ALONE: Final = Family(1)
"""A single difference: without a correction."""


@functools.cache
def _median_variance(df: int) -> float:
    """Return the median of variances that are estimated at `df` degrees of freedom and truly 1."""
    from scipy.special import gammaincinv

    return float(2 * gammaincinv(df / 2, 0.5) / df)


@functools.lru_cache(maxsize=10_000)
def dunnett(count: int, df: float, level: float = LEVEL) -> float:
    """Return Dunnett's two-sided quantile of `count` differences from one baseline.

    It is the one that the largest absolute value of a multivariate t with correlations of one half
    stays below at this level, 95 % if left out; of a single difference Student's t. By Gauss'
    quadrature over the baseline's error and the estimated spread, to about 0.1 %.
    """
    from scipy.special import ndtri, stdtrit

    if count == 1 and level == LEVEL:
        return Z_975 if math.isinf(df) else t_975(round(df))

    # It lies between Student's and Bonferroni's. In between by the Illinois method: how often a
    # difference is beyond the limit falls nearly as a power of it.
    tails = (1 - level) / 2, (1 - level) / 2 / count
    ends = [float(-ndtri(tail) if math.isinf(df) else -stdtrit(df, tail)) for tail in tails]
    if count == 1:
        return ends[0]
    (low, end) = map(math.log, ends)
    (above, below) = (_excess(limit, count, df, level) for limit in ends)
    while abs(below) > 1e-4:
        middle = (low * below - end * above) / (below - above)
        found = _excess(math.exp(middle), count, df, level)
        if found * below < 0:
            low, above = end, below
        else:
            above /= 2
        end, below = middle, found
    return math.exp(end)


def _excess(limit: float, count: int, df: float, level: float) -> float:
    """Return the logarithm of how much more often a difference is beyond the limit than it may."""
    return math.log(_missed(limit, count, df) / (1 - level))


def _missed(limit: float, count: int, df: float) -> float:
    """Return the probability that any of the differences is beyond the limit."""
    from scipy.special import ndtr

    errors, weights = _normal_nodes()
    spreads, shares = spread_nodes(df)
    ends = math.sqrt(2) * limit * spreads[:, None]
    inside = ndtr(errors + ends) - ndtr(errors - ends)
    return float(1 - shares @ inside**count @ weights)


@functools.cache
def _normal_nodes() -> tuple[np.ndarray, np.ndarray]:
    """Return the baseline's errors, in standard deviations, and their weights."""
    nodes, weights = np.polynomial.hermite_e.hermegauss(NODES)
    return nodes, weights / weights.sum()


@functools.cache
def _share_nodes() -> tuple[np.ndarray, np.ndarray]:
    """Return points between 0 and 1 and their weights.

    They are denser at both ends, where the smallest spreads make the largest quotients.
    """
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    share = (nodes + 1) / 2
    return share**2 * (3 - 2 * share), weights * 3 * share * (1 - share)


@functools.lru_cache(maxsize=64)
def spread_nodes(df: float) -> tuple[np.ndarray, np.ndarray]:
    """Return estimated over true standard deviations at `df` degrees of freedom, and weights."""
    from scipy.special import gammaincinv

    if math.isinf(df):
        return np.ones(1), np.ones(1)
    shares, weights = _share_nodes()
    return np.sqrt(2 * gammaincinv(df / 2, shares) / df), weights
