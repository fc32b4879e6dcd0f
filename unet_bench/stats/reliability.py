"""How far a ranking would come out the same with other seeds.

networks × seeds ─▶ variance between networks, and what is left of it ─▶ intraclass correlation
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True)
class Reliability:
    """The intraclass correlation of networks' means over `seeds`, and of a single seed's figures.

    It is the share of the variance of what is ranked that is the networks' own: 1 where seeds do
    not matter, 0 where they alone make the order. A ranking by other seeds would correlate with
    this one by as much. `low` and `high` are the ends of its 95 % interval.
    """

    mean: float
    single: float
    low: float
    high: float
    networks: int
    seeds: int


def complete(scores: Mapping[Any, Mapping[Any, float]]) -> NDArray[np.float64]:
    """Return the figures (network, seed) of the networks that have every seed."""
    seeds = list(dict.fromkeys(seed for of in scores.values() for seed in of))
    rows = [[of[seed] for seed in seeds] for of in scores.values() if len(of) == len(seeds)]
    return np.array(rows, dtype=np.float64).reshape(len(rows), len(seeds))


def residual_variance(figures: NDArray[np.float64]) -> tuple[float, int]:
    """Return the variance (network, seed) about both means, and its degrees of freedom.

    What a network, or a seed, adds to all of its figures is left out. There must be two of both.
    """
    n, k = figures.shape
    left = figures - figures.mean(axis=1, keepdims=True) - figures.mean(axis=0) + figures.mean()
    df = (n - 1) * (k - 1)
    return float((left**2).sum()) / df, df


def reliability(scores: Mapping[str, Mapping[object, float]]) -> Reliability | None:
    """Return the reliability of means over seeds, by network and seed.

    Networks that lack a seed of the others' are left out; what a seed adds to all of them alike
    moves no rank and does not count (ICC(C,k) and ICC(C,1) of McGraw and Wong 1996, tables 4 and
    7). None with fewer than three networks or two seeds, or where nothing varies.
    """
    from scipy.special import fdtri

    figures = complete(scores)
    n, k = figures.shape
    if n < 3 or k < 2:
        return None
    between = k * float(figures.mean(axis=1).var(ddof=1))
    within, df = residual_variance(figures)
    if not between + within > 0:
        return None

    def of_means(quotient: float) -> float:
        return max(0.0, 1 - 1 / quotient) if quotient > 0 else 0.0

    quotient = between / within if within > 0 else np.inf
    mean = of_means(quotient)
    low = of_means(quotient / fdtri(n - 1, df, 0.975))
    high = of_means(quotient / fdtri(n - 1, df, 0.025))
    return Reliability(mean, mean / (mean + k * (1 - mean)), low, high, n, k)
