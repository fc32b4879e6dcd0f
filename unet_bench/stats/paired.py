"""Means over seeds, folds and data sets, and differences to a baseline in pairs, with intervals
that hold for few.

pairs (same seed, fold and data) ─▶ units that vary independently
      ─▶ mean and 95 % interval ─▶ verdict

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

# Units; with fewer there is too little to resample, and Student's t holds better.
FEWEST_RESAMPLED: Final = 10
MOST_NEEDED: Final = 1000  # units; a difference that takes more is none that anybody will show


@dataclass(frozen=True)
class Difference:
    """How far a variant is from the baseline: the mean over units with its interval."""

    interval: Interval  # without ends if there is but one unit
    pairs: int
    units: int
    verdict: Verdict
    pairs_needed: int | None


def paired_difference(pairs: Sequence[tuple[Hashable, float]]) -> Difference:
    """Return the mean of `pairs`: each a cluster (data set or fold) and a difference in a figure.

    A difference is separable when its interval leaves out 0; of a single unit none is.
    `pairs_needed` is how many pairs would make it so if mean and spread stayed as they are: the
    fewest units whose interval by Student's t leaves out 0, each of as many pairs as the units have
    now, rounded up. It never contradicts the verdict; None where the spread is not known, the mean
    is 0, or more than 1000 units would be needed. Raise ValueError without pairs.
    """
    values = units(pairs)
    found = _interval(values)
    separable = found.low > 0 or found.high < 0
    verdict: Verdict = "not separable"
    if separable:
        verdict = "better" if found.value > 0 else "worse"
    needed = _units_needed(values, found.value, separable)
    per_unit = len(pairs) / len(values)
    pairs_needed = None if needed is None else math.ceil(needed * per_unit)
    return Difference(found, len(pairs), len(values), verdict, pairs_needed)


def clustered_mean(values: Sequence[tuple[Hashable, float]]) -> Interval:
    """Return the mean over the units of (cluster, figure) with its interval; none for a single one.

    By Student's t below ten units, from ten on by the cluster bootstrap. Raise ValueError without
    values.
    """
    return _interval(units(values))


def units(values: Sequence[tuple[Hashable, float]]) -> list[float]:
    """Return what varies independently: means of clusters, or the values of a single one."""
    clusters: dict[Hashable, list[float]] = defaultdict(list)
    for cluster, value in values:
        clusters[cluster].append(value)
    if len(clusters) > 1:
        return [statistics.fmean(own) for own in clusters.values()]
    return [value for _, value in values]


def coarsest(labels: Sequence[tuple[Hashable, ...]]) -> list[Hashable]:
    """Return the labels of the first level, from coarse to fine, at which they differ.

    Labels are tuples such as (data set, fold, seed).
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
