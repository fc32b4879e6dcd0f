"""Means over seeds, folds and data sets, and differences to a baseline in pairs, with intervals
that hold for few.

pairs (same seed, fold and data) ─▶ units that vary independently ─▶ mean and 95 % interval ─▶ verdict

What an interval may count is units, not figures: three seeds on each of four data sets are four
units, since another data set moves all three of its seeds together. Folds of one data set share
most of their training images and are therefore less independent than units should be: an interval
over folds is, if anything, too narrow.
"""

from __future__ import annotations

import math
import statistics
from collections import defaultdict
from collections.abc import Hashable, Sequence
from dataclasses import dataclass
from typing import Final, Literal

from unet_bench.stats.intervals import Interval, bootstrap_interval, mean_interval, t_975

Verdict = Literal["better", "worse", "not separable"]

FEWEST_RESAMPLED: Final = (
    10  # units; with fewer there is too little to resample, and Student's t holds better
)
MOST_NEEDED: Final = 1000  # units; a difference that takes more is none that anybody will show


@dataclass(frozen=True)
class Difference:
    """How far a variant is from the baseline: mean over units, with the ends of its 95 % interval
    (NaN: one unit).
    """

    mean: float
    low: float
    high: float
    pairs: int
    units: int
    verdict: Verdict
    pairs_needed: int | None


def paired_difference(pairs: Sequence[tuple[Hashable, float]]) -> Difference:
    """The difference that `pairs` show, each a cluster (data set or fold) and own figure less the
    baseline's.

    A difference is separable when its interval leaves out 0; of a single unit none is.
    `pairs_needed` is how many pairs would make it so if mean and spread stayed as they are: the
    fewest units whose interval by Student's t leaves out 0, each of as many pairs as the units have
    now, rounded up. It never contradicts the verdict; None where the spread is not known, the mean
    is 0, or more than 1000 units would be needed. Raises ValueError without pairs.
    """
    values = units(pairs)
    mean, low, high = _interval(values)
    separable = low > 0 or high < 0
    verdict: Verdict = "not separable"
    if separable:
        verdict = "better" if mean > 0 else "worse"
    needed = _units_needed(values, mean, separable)
    per_unit = len(pairs) / len(values)
    pairs_needed = None if needed is None else math.ceil(needed * per_unit)
    return Difference(mean, low, high, len(pairs), len(values), verdict, pairs_needed)


def clustered_mean(values: Sequence[tuple[Hashable, float]]) -> Interval:
    """(mean, low, high) over the units of (cluster, figure); the ends are NaN for a single one.

    Student's t below ten units, from ten on the cluster bootstrap. Raises ValueError without
    values.
    """
    return _interval(units(values))


def units(values: Sequence[tuple[Hashable, float]]) -> list[float]:
    """What varies independently: the clusters' means if there are several clusters, otherwise the
    values themselves.
    """
    clusters: dict[Hashable, list[float]] = defaultdict(list)
    for cluster, value in values:
        clusters[cluster].append(value)
    return (
        [statistics.fmean(own) for own in clusters.values()]
        if len(clusters) > 1
        else [own for _, own in values]
    )


def coarsest(labels: Sequence[tuple[Hashable, ...]]) -> list[Hashable]:
    """Of labels from coarse to fine, such as (data set, fold, seed), the first level at which they
    differ.
    """
    levels = [list(level) for level in zip(*labels, strict=True)]
    return next((level for level in levels if len(set(level)) > 1), [None] * len(labels))


def _interval(values: Sequence[float]) -> Interval:
    return mean_interval(values) if len(values) < FEWEST_RESAMPLED else bootstrap_interval(values)


def _units_needed(values: Sequence[float], mean: float, separable: bool) -> int | None:
    if len(values) < 2:
        return None
    sd, present = statistics.stdev(values), len(values)
    # From ten units on, verdict and Student's t may differ by a hair: what is separable needs no
    # more than there is.
    candidates = range(2, present) if separable else range(present + 1, MOST_NEEDED + 1)
    found = (n for n in candidates if t_975(n - 1) * sd / math.sqrt(n) < abs(mean))
    return next(found, present if separable else None)
