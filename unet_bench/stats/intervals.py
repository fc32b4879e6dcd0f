"""95 % intervals: of a mean (Student's t, bootstrap), of a median (order statistics). Floats in,
plain floats out.
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Sequence
from typing import Final

import numpy as np

Interval = tuple[float, float, float]  # (estimate, low, high)

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


def t_975(df: int) -> float:
    """Student's t 97.5 % quantile (Abramowitz and Stegun 26.7.5 beyond twelve degrees of freedom)."""
    if df <= len(T_975):
        return T_975[df - 1]
    z = Z_975
    first = (z**3 + z) / (4 * df)
    second = (5 * z**5 + 16 * z**3 + 3 * z) / (96 * df**2)
    return z + first + second + (3 * z**7 + 19 * z**5 + 17 * z**3 - 15 * z) / (384 * df**3)


def mean_interval(values: Sequence[float]) -> Interval:
    """(mean, low, high) by Student's t; the ends are NaN with fewer than two values."""
    mean = statistics.fmean(values)
    if len(values) < 2:
        return mean, math.nan, math.nan
    half = t_975(len(values) - 1) * statistics.stdev(values) / math.sqrt(len(values))
    return mean, mean - half, mean + half


def bootstrap_interval(values: Sequence[float], resamples: int = 2000) -> Interval:
    """(mean, low, high) by the percentile bootstrap of the mean, expanded; no shape assumed, the
    same at every call.

    A percentile interval as it is covers too little: its spread is that of n values over n, not n -
    1, and it knows nothing of t. Hesterberg 2015 (What teachers should know about the bootstrap)
    takes percentiles further out, by as much as brings the normal case right. The ends are NaN with
    fewer than two values.
    """
    mean, n = statistics.fmean(values), len(values)
    if n < 2:
        return mean, math.nan, math.nan
    tail = statistics.NormalDist().cdf(-math.sqrt(n / (n - 1)) * t_975(n - 1))
    picks = np.random.default_rng(0).integers(n, size=(resamples, n))
    low, high = np.quantile(np.asarray(values, dtype=float)[picks].mean(axis=1), (tail, 1 - tail))
    return mean, float(low), float(high)


def median_interval(values: Sequence[float]) -> Interval:
    """(median, low, high) by order statistics: no shape assumed. The ends are NaN with fewer than
    six values.
    """
    ordered, n = sorted(values), len(values)
    median = statistics.median(ordered)
    if n < 6:
        return median, math.nan, math.nan
    if n > 500:  # the binomial is normal enough, and its terms too large to add up
        rank = math.floor((n - Z_975 * math.sqrt(n)) / 2) - 1
        return median, ordered[rank], ordered[n - 1 - rank]
    tail, rank = 0.5**n, 0  # the largest rank whose lower tail of Binomial(n, 1/2) is at most 2.5 %
    while tail + math.comb(n, rank + 1) * 0.5**n <= 0.025:
        rank += 1
        tail += math.comb(n, rank) * 0.5**n
    return median, ordered[rank], ordered[n - 1 - rank]
