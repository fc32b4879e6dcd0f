"""Means over seeds, folds and data sets, and differences to a baseline in pairs, with intervals
that hold for few.

pairs (same seed, fold and data) ─▶ units that vary independently
      ─▶ mean and 95 % interval ─▶ verdict, of all variants of a table together

What an interval may count is units, not figures: three seeds on each of four data sets are four
units, since another data set moves all three of its seeds together. Folds of one data set share
most of their training images and are therefore less independent than units should be: an interval
over folds is, if anything, too narrow.
"""

from __future__ import annotations

import bisect
import math
import statistics
from collections import defaultdict
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Literal, TypeVar

from unet_bench.stats.family import ALONE, Error, Family
from unet_bench.stats.intervals import (
    Interval,
    bootstrap_interval,
    mean_interval,
    standard_deviation,
    t_975,
)

Verdict = Literal["better", "worse", "not separable"]
Name = TypeVar("Name", bound=Hashable)

# Units; with fewer there is too little to resample, and Student's t holds better.
FEWEST_RESAMPLED: Final = 10
MOST_NEEDED: Final = 1000  # units; a difference that takes more is none that anybody will show


@dataclass(frozen=True)
class Difference:
    """How far a variant is from the baseline: the mean over units with its interval."""

    interval: Interval  # of this difference by itself; without ends if there is but one unit
    pairs: int
    units: int
    verdict: Verdict
    pairs_needed: int | None


@dataclass(frozen=True)
class Measured:
    """A difference with the interval of its own, how well it is known, and of how many pairs."""

    interval: Interval
    error: Error
    pairs: int


Pairs = Sequence[tuple[Hashable, float]]  # a cluster (data set or fold) and a difference


def paired_differences(pairs: Mapping[Name, Pairs], *, corrected: bool) -> dict[Name, Difference]:
    """Return, by variant, how far it is from the baseline that all are compared with; see `judged`.

    Raise ValueError for a variant without pairs.
    """
    values = {name: units(of) for name, of in pairs.items()}
    measured = {
        name: Measured(_interval(of), _error(of), len(pairs[name])) for name, of in values.items()
    }
    return judged(measured, corrected=corrected)


def judged(measured: Mapping[Name, Measured], *, corrected: bool) -> dict[Name, Difference]:
    """Return the verdict on each of several differences to one baseline.

    A difference is separable when its own interval leaves out 0 and, `corrected`, when it exceeds
    what `Family.limit` asks of a table of so many; of a single unit none is. `pairs_needed` is how
    many pairs would make it so if mean and spread stayed as they are: the fewest units at which it
    would be separable by Student's t, each of as many pairs as the units have now, rounded up. It
    never contradicts the verdict; None where the spread is not known, the mean is 0, or more than
    1000 units would be needed.
    """
    family = Family.of(of.error for of in measured.values()) if corrected else ALONE
    return {name: _judged(of, family) for name, of in measured.items()}


def paired_difference(pairs: Pairs) -> Difference:
    """Return one difference, which is compared with nothing else; see `paired_differences`."""
    return paired_differences({None: pairs}, corrected=False)[None]


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


def separable(interval: Interval, error: Error, family: Family) -> bool:
    """Return whether a difference is told from 0: by its own interval, and within its family."""
    own = interval.low > 0 or interval.high < 0
    return own and (family.count < 2 or abs(interval.value) > family.limit(error))


def _interval(values: Sequence[float]) -> Interval:
    return mean_interval(values) if len(values) < FEWEST_RESAMPLED else bootstrap_interval(values)


def _error(values: Sequence[float]) -> Error:
    n = len(values)
    return Error(standard_deviation(values) / math.sqrt(n) if n > 1 else math.nan, n)


def _judged(of: Measured, family: Family) -> Difference:
    found, units = of.interval, of.error.units
    is_told = separable(found, of.error, family)
    verdict: Verdict = "not separable"
    if is_told:
        verdict = "better" if found.value > 0 else "worse"
    needed = _units_needed(of.error, found.value, family, is_told)
    pairs_needed = None if needed is None else math.ceil(needed * of.pairs / units)
    return Difference(found, of.pairs, units, verdict, pairs_needed)


def _units_needed(error: Error, mean: float, family: Family, is_told: bool) -> int | None:
    present = error.units
    if present < 2 or mean == 0:
        return None

    def would_tell(count: int) -> bool:
        then = Error(error.sd / math.sqrt(count), count)
        if t_975(count - 1) * then.standard >= abs(mean):
            return False
        # What would not do with a known spread, which is quick to find, does not with this one.
        is_hopeful = family.count < 2 or family.limit(Error(then.standard)) < abs(mean)
        return is_hopeful and (family.count < 2 or family.limit(then) < abs(mean))

    # From ten units on, verdict and Student's t may differ by a hair: what is separable needs no
    # more than there is.
    candidates = range(2, present) if is_told else range(present + 1, MOST_NEEDED + 1)
    at = bisect.bisect_left(candidates, True, key=would_tell)
    return candidates[at] if at < len(candidates) else present if is_told else None
