"""How far a ranking would come out the same with other seeds.

networks × seeds ─▶ variance between networks, and what is left of it ─▶ intraclass correlation
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np


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


def reliability(scores: Mapping[str, Mapping[object, float]]) -> Reliability | None:
    """Return the reliability of means over seeds, by network and seed.

    Networks that lack a seed of the others' are left out; what a seed adds to all of them alike
    moves no rank and does not count (ICC(C,k) and ICC(C,1) of McGraw and Wong 1996, tables 4 and
    7). None with fewer than three networks or two seeds, or where nothing varies.
    """
    from scipy.special import fdtri

    seeds = list(dict.fromkeys(seed for of in scores.values() for seed in of))
    complete = [[of[seed] for seed in seeds] for of in scores.values() if len(of) == len(seeds)]
    n, k = len(complete), len(seeds)
    if n < 3 or k < 2:
        return None
    figures = np.array(complete)
    means = figures.mean(axis=1, keepdims=True)
    left = figures - means - figures.mean(axis=0) + figures.mean()
    between = k * float(means.var(ddof=1))
    df = (n - 1) * (k - 1)
    within = float((left**2).sum()) / df
    if not between + within > 0:
        return None

    def of_means(quotient: float) -> float:
        return max(0.0, 1 - 1 / quotient) if quotient > 0 else 0.0

    quotient = between / within if within > 0 else np.inf
    mean = of_means(quotient)
    low = of_means(quotient / fdtri(n - 1, df, 0.975))
    high = of_means(quotient / fdtri(n - 1, df, 0.025))
    return Reliability(mean, mean / (mean + k * (1 - mean)), low, high, n, k)
