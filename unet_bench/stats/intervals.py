"""Estimates with 95 % intervals.

Of a mean (Student's t, bootstrap), of a median (order statistics), of a difference.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Final, NamedTuple

import numpy as np

# Student's t, 97.5 % quantile, one to twelve degrees of freedom; beyond, an expansion in 1/df is
# exact to 1e-4.
T_975: Final = (
    12.7062,
    4.3027,
    3.1824,
    2.7764,
    2.5706,
    2.4469,
    2.3646,
    2.3060,
    2.2622,
    2.2281,
    2.2010,
    2.1788,
)
Z_975: Final = 1.959963984540054


class Interval(NamedTuple):
    """An estimate and the ends of its 95 % interval: NaN where it has none, itself where exact."""

    value: float
    low: float = math.nan
    high: float = math.nan

    @classmethod
    def exact(cls, value: float) -> Interval:
        """Return an estimate without an error."""
        return cls(value, value, value)

    def reach(self, unknown: float = math.nan) -> tuple[float, float]:
        """Return how far the interval reaches below and above the estimate."""
        ends = self.value - self.low, self.high - self.value
        down, up = (unknown if math.isnan(end) else max(end, 0.0) for end in ends)
        return down, up

    @property
    def half(self) -> float:
        """The longer side of the interval; NaN without one."""
        return max(self.reach())

    def plus(self, shift: float) -> Interval:
        """Return the estimate moved by a number without an error."""
        return Interval(*(end + shift for end in self))

    def negated(self) -> Interval:
        """Return the estimate with the other sign."""
        return Interval(-self.value, -self.high, -self.low)

    def log(self) -> Interval:
        """Return the logarithm of a positive estimate, without an interval if that reaches 0."""
        if not self.low > 0:
            return Interval(math.log(self.value))
        return Interval(*map(math.log, self))

    def minus(self, other: Interval) -> Interval:
        """Return the difference of two independent estimates.

        Each end combines those of both (Zou and Donner 2008, Construction of confidence limits
        about effect measures), since neither interval need be symmetric.
        """
        (down, up), (other_down, other_up) = self.reach(), other.reach()
        value = self.value - other.value
        low, high = value - math.hypot(down, other_up), value + math.hypot(up, other_down)
        return Interval(value, low, high)


def t_975(df: int) -> float:
    """Return Student's t 97.5 % quantile (Abramowitz and Stegun 26.7.5 beyond df 12)."""
    if df <= len(T_975):
        return T_975[df - 1]
    z = Z_975
    first = (z**3 + z) / (4 * df)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
    return z + first + second + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * df**3)


def standard_deviation(values: Sequence[float]) -> float:
    """Return the standard deviation of two or more values, as `statistics.stdev` much quicker."""
    if min(values) == max(values):
        return 0.0
    mean = statistics.fmean(values)
    return math.sqrt(math.fsum((value - mean) ** 2 for value in values) / (len(values) - 1))


def mean_interval(values: Sequence[float]) -> Interval:
    """Return the mean with its interval by Student's t; none with fewer than two values."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return Interval(mean)
    half = t_975(len(values) - 1) * standard_deviation(values) / math.sqrt(len(values))
    return Interval(mean, mean - half, mean + half)


def bootstrap_interval(values: Sequence[float], resamples: int = 2000) -> Interval:
    """Return the mean with its interval by the expanded percentile bootstrap.

    No shape is assumed, and every call gives the same. A plain percentile interval covers too
    little: its spread is that of n values over n, not n - 1, and it knows nothing of Student's t.
    Hesterberg 2015 (What teachers should know about the bootstrap) takes percentiles further out,
    so that the normal case comes out right. There is no interval with fewer than two values.
    """
    mean, n = statistics.fmean(values), len(values)
    if n < 2:
        return Interval(mean)
    tail = statistics.NormalDist().cdf(-math.sqrt(n / (n - 1)) * t_975(n - 1))
    picks = np.random.default_rng(0).integers(n, size=(resamples, n))
    low, high = np.quantile(np.asarray(values, dtype=float)[picks].mean(axis=1), (tail, 1 - tail))
    return Interval(mean, float(low), float(high))


def median_interval(values: Sequence[float]) -> Interval:
    """Return the median with its interval by order statistics; none with fewer than six values."""
    ordered, n = sorted(values), len(values)
    median = statistics.median(ordered)
    if n < 6:
        return Interval(median)
    if n > 500:  # the binomial is normal enough, and its terms too large to add up
        rank = math.floor((n - Z_975 * math.sqrt(n)) / 2) - 1
        return Interval(median, ordered[rank], ordered[n - 1 - rank])
    tail, rank = 0.5**n, 0  # the largest rank whose lower tail of Binomial(n, 1/2) is at most 2.5 %
    while tail + math.comb(n, rank + 1) * 0.5**n <= 0.025:
        rank += 1
        tail += math.comb(n, rank) * 0.5**n
    return Interval(median, ordered[rank], ordered[n - 1 - rank])
