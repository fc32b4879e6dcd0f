"""Choosing a network under a budget: the best, the gap of every other to it, those as good, and the
next step up.

rows that may be compared ─▶ those within the budget ─▶ the best by the goal ─▶ gaps to it, in pairs where there are any

The goal is Dice; where nobody measured it, latency, and so on. Each comparison is made at 95 % by
itself: of many networks one or another will seem worse by chance.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import exp, hypot, inf, isnan, nan
from typing import Final, Literal

from unet_bench.analysis.budget import LATENCY, Budget, Figure, Fit, figure, fit
from unet_bench.analysis.front import Row, Scores
from unet_bench.stats.paired import paired_difference
from unet_bench.store.figures import Figure as Logarithm
from unet_bench.store.figures import by_time, is_good, relative_latency
from unet_bench.store.schema import INTERVALS
from unet_bench.text_format import one_line

ONE_SEED: Final = 0.018
"""A gap in Dice that one seed cannot show: three equal trainings of nnU-Net lay so far apart
(MIC-DKFZ/nnUNet 2624).
"""
NEAREST: Final = 3  # networks named where nothing fits
RIVALS: Final = 2  # networks that are worse and named, to see how much
GOALS: Final[Mapping[str, str]] = {
    "dice": "accuracy",
    "latency": "speed",
    "peak_memory_mib": "memory",
    "macs": "cost",
    "params": "cost",
}
"""What the best is the best in, the first of them that was measured, and the probe that measures
it.
"""

Verdict = Literal["separable", "apparent", "not separable"]
SUREST: Final[tuple[Verdict, ...]] = ("separable", "apparent", "not separable")
Role = Literal["best", "as good", "unclear", "worse", "step up", "nearest"]


@dataclass(frozen=True)
class Gap:
    """How a network stands to the best: Dice less the best's, or the logarithm of its latency over
    the best's, or how much more it takes of another figure.

    `separable` by an interval that leaves out 0; `apparent` where it is larger than one seed's
    error can be, or than figures without intervals show.
    """

    difference: float
    low: float | None
    high: float | None
    verdict: Verdict
    pairs: int = 0
    pairs_needed: int | None = None
    folds: int = 1


@dataclass(frozen=True)
class Option:
    """A network that is named, and why."""

    role: Role
    row: Row
    fit: Fit
    gap: Gap | None  # to the best
    latency: Figure | None  # ms
    speed: float | None  # latency over the best's
    speed_reach: float  # half of its interval, on the logarithm; NaN: not known

    @property
    def variant(self) -> str:
        """On one line."""
        return one_line(self.row["variant"])


@dataclass(frozen=True)
class Group:
    """Rows that may be compared, trivial baselines apart, and what they are asked for."""

    networks: Sequence[Row]
    trivial: Sequence[Row]
    baseline: Row | None
    budget: Budget
    scores: Scores
    goal: str

    def value(self, row: Row) -> float | None:
        """What the goal says of a row, more is better; None where it is not known or a cell failed."""
        if self.goal == "latency":
            found = self.latency(row)
            return None if found is None else -found.value
        if row.get(self.goal) is None or not is_good(row, GOALS[self.goal]):
            return None
        return float(row[self.goal]) * (1 if self.goal == "dice" else -1)

    def latency(self, row: Row) -> Logarithm | None:
        """The logarithm of the row's latency, on one scale for all of the group."""
        return relative_latency(row, self.baseline, self._as_time)

    @cached_property
    def _as_time(self) -> bool:
        return by_time(self.networks, self.baseline)

    def fit(self, row: Row) -> Fit:
        """How the row stands to the budget."""
        return fit(row, self.baseline, self.budget)

    def price(self, row: Row) -> tuple[float, ...]:
        """What to prefer among equals: the fastest, then that of least memory, then the smallest."""
        latency = self.latency(row)
        rest = (row.get("peak_memory_mib"), row.get("params"))
        return (
            inf if latency is None else latency.value,
            *(inf if x is None else float(x) for x in rest),
        )

    def within(self) -> list[Row]:
        """Networks that fit, the best first."""
        rows = [row for row in self._valued() if self.fit(row).fits]
        return sorted(rows, key=lambda row: (-(self.value(row) or 0.0), self.price(row)))

    def beyond(self) -> list[Row]:
        """Networks that are known not to fit, the nearest to the budget first."""
        rows = [row for row in self._valued() if self.fit(row).over and not self.fit(row).unknown]
        return sorted(rows, key=lambda row: (self.fit(row).most, -(self.value(row) or 0.0)))

    def _valued(self) -> list[Row]:
        return [row for row in self.networks if self.value(row) is not None]


def goal_of(networks: Sequence[Row]) -> str:
    """The first goal that any network has a figure for."""
    for goal, probe in GOALS.items():
        columns = ("latency_ratio", "latency_ms") if goal == "latency" else (goal,)
        if any(
            is_good(row, probe) and row.get(column) is not None
            for row in networks
            for column in columns
        ):
            return goal
    return next(iter(GOALS))


def options(group: Group) -> tuple[Option, ...]:
    """The best, those as good from the cheapest on, those behind that cannot be told from it, the
    next worse ones, and the next step up; or, where nothing fits, the nearest to it.

    A wide interval makes nothing as good: that takes a gap, too, which the seeds of one network may
    have.
    """
    within, beyond = group.within(), group.beyond()
    if not within:
        return tuple(_option(group, "nearest", row, None) for row in beyond[:NEAREST])
    best, *others = within
    gaps = [(row, gap(group, best, row)) for row in others]
    open_ = [(row, found.difference) for row, found in gaps if found.verdict == "not separable"]
    near = [row for row, behind in open_ if group.goal != "dice" or behind >= -ONE_SEED]
    equals, unclear = sorted(near, key=group.price), [row for row, _ in open_ if row not in near]
    worse = [row for row, found in gaps if found.verdict != "not separable"][:RIVALS]
    return (
        _option(group, "best", best, None),
        *(_option(group, "as good", row, best) for row in equals),
        *(_option(group, "unclear", row, best) for row in unclear),
        *(_option(group, "worse", row, best) for row in worse),
        *(_option(group, "step up", row, best) for row in _step_up(group, best, beyond)),
    )


def _step_up(group: Group, best: Row, beyond: Sequence[Row]) -> list[Row]:
    """Of those of higher Dice that do not fit the surest, and of these the one nearest to the
    budget; or none.
    """
    if group.goal != "dice":
        return []
    better = [
        (row, found.verdict) for row in beyond if (found := gap(group, best, row)).difference > 0
    ]
    return [row for wanted in SUREST for row, verdict in better if verdict == wanted][:1]


def _option(group: Group, role: Role, row: Row, best: Row | None) -> Option:
    return Option(
        role=role,
        row=row,
        fit=group.fit(row),
        gap=None if best is None else gap(group, best, row),
        latency=figure(row, group.baseline, LATENCY),
        speed=None if best is None else _speed(group, best, row),
        speed_reach=nan if best is None else _speed_reach(group, best, row),
    )


# ---- how far apart two are


def gap(group: Group, best: Row, row: Row) -> Gap:
    """How a network stands to the best. Dice is compared over equal (fold, seed) where there are
    two and more.
    """
    if group.goal != "dice":
        return _cost_gap(group, best, row)
    own, other = group.scores.get(row["variant"], {}), group.scores.get(best["variant"], {})
    shared = [key for key in own if key in other]
    if len(shared) > 1:
        found = paired_difference(
            [(fold, own[fold, seed] - other[fold, seed]) for fold, seed in shared]
        )
        verdict: Verdict = "not separable" if found.verdict == "not separable" else "separable"
        low, high = (None if isnan(end) else end for end in (found.low, found.high))
        folds = len({fold for fold, _ in shared})
        return Gap(found.mean, low, high, verdict, found.pairs, found.pairs_needed, folds)
    return _unpaired_gap(best, row, len(shared))


def _unpaired_gap(best: Row, row: Row, pairs: int) -> Gap:
    """By both intervals. Those of one seed know of test images alone, and prove nothing beyond
    them.
    """
    difference = row["dice"] - best["dice"]
    reach = hypot(_half(row), _half(best))
    several = min(row.get("seeds") or 1, best.get("seeds") or 1) > 1 and reach > 0
    if abs(difference) <= (reach if several else max(reach, ONE_SEED)):
        return Gap(difference, None, None, "not separable", pairs)
    return Gap(difference, None, None, "separable" if several else "apparent", pairs)


def _half(row: Row) -> float:
    return max(
        (abs(row[end] - row["dice"]) for end in INTERVALS["dice"] if row.get(end) is not None),
        default=0.0,
    )


def _cost_gap(group: Group, best: Row, row: Row) -> Gap:
    """By the figure that is the goal: of latency by the intervals of both; every other is exact."""
    difference = (group.value(best) or 0.0) - (group.value(row) or 0.0)
    reach = _speed_reach(group, best, row) if group.goal == "latency" else 0.0
    if isnan(reach):
        return Gap(difference, None, None, "apparent" if difference else "not separable")
    verdict: Verdict = "separable" if abs(difference) > reach else "not separable"
    return Gap(difference, difference - reach, difference + reach, verdict)


def _speed(group: Group, best: Row, row: Row) -> float | None:
    own, other = group.latency(row), group.latency(best)
    return None if own is None or other is None else exp(own.value - other.value)


def _speed_reach(group: Group, a: Row, b: Row) -> float:
    """Half of the interval of the difference of two latencies, on the logarithm; NaN where one has
    none.
    """
    found = [group.latency(row) for row in (a, b)]
    return hypot(*(nan if x is None else max(x.down, x.up) for x in found))
