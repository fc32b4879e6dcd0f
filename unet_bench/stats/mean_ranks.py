"""Average ranks over data sets, whether they differ, and which cannot be told apart.

data sets × networks ─▶ ranks within each data set ─▶ means ─▶ Friedman's test
                     ─▶ Nemenyi's difference ─▶ groups

After Demšar 2006 (Statistical comparisons of classifiers over multiple data sets, JMLR 7), sections
3.2.2 to 3.2.4. Ranks need no common scale: that one data set is harder than another does not
matter, nor how far one is ahead.
"""

from __future__ import annotations

import functools
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from math import factorial, inf, nan, sqrt
from typing import Final

import pandas as pd

from unet_bench.errors import InvalidSuite

LEVEL: Final = 0.05
FEWEST_DATA_SETS: Final = 2
FEWEST_NETWORKS: Final = 3
FEW_DATA_SETS: Final = 5  # below, hardly anything can be significant


@dataclass(frozen=True)
class Ranks:
    """Average ranks, 1 the best, in this order.

    `groups` names by letters the networks that cannot be told apart. `chi2` is Friedman's
    statistic. `f` is that of Iman and Davenport, which is less conservative (infinite where all
    data sets agree). Each has its p. Average ranks that are farther apart than
    `critical_difference` differ at 5 % (Nemenyi), all pairs taken together; groups are made only
    where Friedman's test says that there is a difference.
    """

    means: Mapping[str, float]
    # What the ranks are of, averaged over data sets: no part of what they say.
    scores: Mapping[str, float] = field(compare=False)
    groups: Mapping[str, str]
    cliques: tuple[tuple[str, ...], ...]  # of two and more networks
    data_sets: int
    chi2: float
    chi2_p: float
    f: float
    p: float
    critical_difference: float
    # Networks without a figure somewhere, and on how many data sets they lack it.
    left_out: Mapping[str, int]


def mean_ranks(scores: pd.DataFrame, *, lower_is_better: bool = False) -> Ranks:
    """Rank networks (columns) within each data set (rows), and test the average ranks.

    Ties are averaged. A network that lacks a score is left out, never filled in; so is a data set
    without any score. Friedman's statistic is taken as Demšar states it, without a correction for
    ties: with many ties it is conservative. Raise InvalidSuite with fewer than
    two data sets or three networks.
    """
    figures = scores.to_numpy(dtype=float, na_value=nan)
    scores = pd.DataFrame(figures, scores.index, scores.columns).dropna(how="all")
    lacking = scores.isna().sum()
    complete = scores.loc[:, lacking == 0]
    data_sets, count = complete.shape
    if data_sets < FEWEST_DATA_SETS or count < FEWEST_NETWORKS:
        raise InvalidSuite(
            f"average ranks need at least {FEWEST_DATA_SETS} data sets and {FEWEST_NETWORKS} "
            f"networks scored on all of them; there are {data_sets} and {count}: run more, such as "
            "--data A --data B"
        )
    means = complete.rank(axis=1, ascending=lower_is_better).mean().sort_values(kind="stable")
    chi2, chi2_p, f, p = _friedman(list(means), data_sets)
    difference = critical_difference(count, data_sets)
    names = [str(name) for name in means.index]
    cliques = _cliques(list(means), difference if p < LEVEL else inf)
    return Ranks(
        means=dict(zip(names, map(float, means), strict=True)),
        scores={str(name): float(mean) for name, mean in complete.mean().items()},
        groups={
            name: "".join(_letter(c) for c, (i, j) in enumerate(cliques) if i <= n < j)
            for n, name in enumerate(names)
        },
        cliques=tuple(tuple(names[i:j]) for i, j in cliques if j - i > 1),
        data_sets=data_sets,
        chi2=chi2,
        chi2_p=chi2_p,
        f=f,
        p=p,
        critical_difference=difference,
        left_out={str(name): int(n) for name, n in lacking.items() if n},
    )


@functools.cache
def critical_difference(networks: int, data_sets: int) -> float:
    """Return how far two average ranks must be apart to differ at 5 % (Nemenyi)."""
    from scipy.stats import studentized_range

    quantile = studentized_range.ppf(1 - LEVEL, networks, inf) / sqrt(2)
    return float(quantile * sqrt(networks * (networks + 1) / (6 * data_sets)))


def _friedman(means: Sequence[float], n: int) -> tuple[float, float, float, float]:
    """Return Friedman's chi² and its p, and Iman and Davenport's F and its p, of n data sets."""
    from scipy.stats import chi2 as chi2_distribution
    from scipy.stats import f as f_distribution

    k = len(means)
    middle = (k + 1) / 2
    chi2 = 12 * n / (k * (k + 1)) * sum((mean - middle) ** 2 for mean in means)
    chi2_p = float(chi2_distribution.sf(chi2, k - 1))
    room = n * (k - 1) - chi2
    if room < 1e-9:  # all agree: F is infinite, and how seldom that is by chance can be counted
        return chi2, chi2_p, inf, float(factorial(k)) ** (1 - n) if k < 100 else 0.0
    f = (n - 1) * chi2 / room
    return chi2, chi2_p, f, float(f_distribution.sf(f, k - 1, (k - 1) * (n - 1)))


def _cliques(means: Sequence[float], difference: float) -> list[tuple[int, int]]:
    """Return the longest stretches [i, j) of ascending means that lie within the difference."""
    stretches: list[tuple[int, int]] = []
    for i, mean in enumerate(means):
        j = max(n for n, other in enumerate(means) if other - mean <= difference) + 1
        if not stretches or j > stretches[-1][1]:
            stretches.append((i, j))
    return stretches


def _letter(n: int) -> str:
    """Return a letter for each index: a to z, then a2 to z2."""
    letter = "abcdefghijklmnopqrstuvwxyz"[n % 26]
    return letter + (str(n // 26 + 1) if n >= 26 else "")
