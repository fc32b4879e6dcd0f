"""Choosing a network under a budget: the best, what may replace it, and the next step up.

peers ─▶ those within the budget ─▶ the best by the goal
      ─▶ the gap of each other to it, in pairs where there are any

The goal is Dice; where nobody measured it, latency, and so on. All comparisons with the best are
judged together at 95 %, unless they are asked for one by one (multiple comparisons with the best:
Hsu 1984, by Dunnett's method).
"""

from __future__ import annotations

from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property
from math import exp, hypot, inf, isnan
from typing import Final, Literal

from unet_bench.analysis.budget import LATENCY, Budget, Fit, figure, fit
from unet_bench.analysis.front import ScoresByVariant
from unet_bench.stats.family import dunnett
from unet_bench.stats.intervals import Z_975, Interval
from unet_bench.stats.paired import Difference, Pairs, paired_differences
from unet_bench.store.figures import Network, Peers
from unet_bench.store.schema import BY_NAME

ONE_SEED: Final = 0.018
"""A gap in Dice that one seed cannot show: three equal trainings of nnU-Net lay so far apart
(MIC-DKFZ/nnUNet 2624).
"""
NEAREST: Final = 3  # networks named where nothing fits
WORSE: Final = 2  # networks named that are worse than the best, to see how much
GOALS: Final[Mapping[str, tuple[str, ...]]] = {
    "dice": ("dice",),
    "latency": ("latency_ratio", "latency_ms"),
    "peak_memory_mib": ("peak_memory_mib",),
    "macs": ("macs",),
    "params": ("params",),
}
"""What the best is the best in, the first that was measured, and the columns that say it."""

Verdict = Literal["separable", "apparent", "not separable"]
SUREST: Final[tuple[Verdict, ...]] = ("separable", "apparent", "not separable")
Role = Literal["best", "as good", "unclear", "worse", "step up", "nearest"]


@dataclass(frozen=True)
class Gap:
    """How far a network is from the best.

    `difference` is Dice less the best's, the logarithm of its latency over the best's, or how much
    more it takes of another figure. It is `separable` if its interval leaves out 0, `apparent` if
    it is larger than one seed's error can be, or than figures without intervals show.
    """

    difference: Interval
    verdict: Verdict
    pairs: int = 0
    pairs_needed: int | None = None
    folds: int = 1


@dataclass(frozen=True)
class Option:
    """A network that is named, and why."""

    role: Role
    network: Network
    fit: Fit
    gap: Gap | None  # to the best
    latency: Interval | None  # ms
    log_speed: Interval | None  # the logarithm of latency over the best's

    @property
    def variant(self) -> str:
        """The network's name."""
        return self.network.variant

    @property
    def speed(self) -> float | None:
        """Its latency over the best's."""
        return None if self.log_speed is None else exp(self.log_speed.value)

    @property
    def is_estimated(self) -> bool:
        """Whether the latency is that of the baseline times the ratio to it."""
        return self.latency is not None and self.network.figure("latency_ms") is None


@dataclass(frozen=True)
class Candidates:
    """Networks that may be compared, and what they are asked for."""

    networks: tuple[Network, ...]
    trivial: tuple[Network, ...]  # what needs no training and has a Dice
    budget: Budget
    scores: ScoresByVariant
    corrected: bool = True  # comparisons with the best, for their number

    @cached_property
    def peers(self) -> Peers:
        """The networks, on common scales."""
        return Peers(self.networks)

    @cached_property
    def goal(self) -> str:
        """The first of `GOALS` that any network has a figure for."""
        for goal, columns in GOALS.items():
            if any(network.figure(name) for network in self.networks for name in columns):
                return goal
        return "dice"

    def value(self, network: Network) -> float | None:
        """Return a network's figure for the goal, larger is better; None if it is not known."""
        if self.goal == "latency":
            latency = self.peers.latency(network)
            return None if latency is None else -latency.interval.value
        figure = network.figure(self.goal)
        if figure is None:
            return None
        return figure.value if BY_NAME[self.goal].better == "high" else -figure.value

    def fit(self, network: Network) -> Fit:
        """Return how a network stands to the budget."""
        return fit(network, self.peers.baseline, self.budget)

    def price(self, network: Network) -> tuple[float, ...]:
        """Return the sort key among equals: the fastest, of least memory, then the smallest."""
        latency = self.peers.latency(network)
        rest = (network.number(name) for name in ("peak_memory_mib", "params"))
        known = (None if latency is None else latency.interval.value, *rest)
        return tuple(inf if value is None else value for value in known)

    @cached_property
    def within(self) -> list[Network]:
        """Networks that fit, the best first."""
        fitting = [one for one, fit in self._fits if fit.fits]
        return sorted(fitting, key=lambda one: (-(self.value(one) or 0.0), self.price(one)))

    @cached_property
    def beyond(self) -> list[Network]:
        """Networks that are known not to fit, the nearest to the budget first."""
        over = [(one, fit) for one, fit in self._fits if fit.over and not fit.unknown]
        over.sort(key=lambda entry: (entry[1].most, -(self.value(entry[0]) or 0.0)))
        return [one for one, _ in over]

    @cached_property
    def _fits(self) -> list[tuple[Network, Fit]]:
        return [(one, self.fit(one)) for one in self.networks if self.value(one) is not None]

    def gaps(self, best: Network, others: Sequence[Network]) -> dict[str, Gap]:
        """Return how far each network is from the best, by variant."""
        if self.goal != "dice":
            factor = self._widening(len(others))
            return {one.variant: self._cost_gap(best, one, factor) for one in others}
        pairs = {one.variant: self._pairs(best, one) for one in others}
        several = {name: of for name, of in pairs.items() if len(of) > 1}
        found = paired_differences(several, corrected=self.corrected)
        factor = self._widening(len(others))
        return {
            one.variant: _paired_gap(found[one.variant], pairs[one.variant])
            if one.variant in found
            else _unpaired_gap(best, one, len(pairs[one.variant]), factor)
            for one in others
        }

    def gap(self, best: Network, other: Network) -> Gap:
        """Return how far one network is from another, compared with nothing else."""
        return self.gaps(best, [other])[other.variant]

    def _widening(self, count: int) -> float:
        """Return how much farther than its own interval a difference must reach, of so many."""
        return dunnett(count, inf) / Z_975 if self.corrected and count else 1.0

    def _pairs(self, best: Network, other: Network) -> list[tuple[Hashable, float]]:
        """Return differences in Dice to the best, of equal (fold, seed), with their folds."""
        own, of_best = (self.scores.get(one.variant, {}) for one in (other, best))
        return [(key[0], own[key] - of_best[key]) for key in own if key in of_best]

    def _cost_gap(self, best: Network, other: Network, factor: float) -> Gap:
        """Return the gap in a cost: latency by both intervals, every other cost exactly."""
        difference = (self.value(best) or 0.0) - (self.value(other) or 0.0)
        speed = self.log_speed(best, other) if self.goal == "latency" else None
        reach = speed.half if speed else 0.0
        if isnan(reach):
            return Gap(Interval(difference), "apparent" if difference else "not separable")
        verdict: Verdict = "separable" if abs(difference) > reach * factor else "not separable"
        return Gap(Interval(difference, difference - reach, difference + reach), verdict)

    def log_speed(self, best: Network, network: Network) -> Interval | None:
        """Return the logarithm of a network's latency over the best's.

        Its interval reaches equally far to both sides: as far as the longer sides of the two.
        """
        own, other = self.peers.latency(network), self.peers.latency(best)
        if own is None or other is None:
            return None
        value = own.interval.value - other.interval.value
        half = hypot(own.interval.half, other.interval.half)
        return Interval(value, value - half, value + half)


def options(of: Candidates) -> tuple[Option, ...]:
    """Return the networks to name, the best first; where nothing fits, the nearest to the budget.

    After the best come those as good from the cheapest on, those behind that cannot be told apart
    from it, the next worse ones, and the next step up. A wide interval alone does not make two
    networks equal: the gap must also be within the seed noise.
    """
    if not of.within:
        return tuple(_option(of, "nearest", one, None, None) for one in of.beyond[:NEAREST])
    best, *others = of.within
    named: dict[Role, list[Network]] = {"best": [best], "as good": [], "unclear": [], "worse": []}
    gaps = of.gaps(best, [*others, *of.beyond])
    for one in others:
        to_best = gaps[one.variant]
        near = of.goal != "dice" or to_best.difference.value >= -ONE_SEED
        is_open = to_best.verdict == "not separable"
        named["worse" if not is_open else "as good" if near else "unclear"].append(one)
    named["as good"].sort(key=of.price)
    named["worse"] = named["worse"][:WORSE]
    named["step up"] = _step_up(of, gaps)
    return tuple(
        _option(of, role, one, None if role == "best" else best, gaps.get(one.variant))
        for role, networks in named.items()
        for one in networks
    )


def _step_up(of: Candidates, gaps: Mapping[str, Gap]) -> list[Network]:
    """Return the network to move up to, in a list; empty if there is none.

    It has a higher Dice, but does not fit the budget: the surest to be better, and of several
    equally sure the nearest to the budget.
    """
    if of.goal != "dice":
        return []
    beyond = [(one, gaps[one.variant]) for one in of.beyond]
    better = [(one, gap.verdict) for one, gap in beyond if gap.difference.value > 0]
    return [one for one, _ in sorted(better, key=lambda entry: SUREST.index(entry[1]))][:1]


def _option(
    of: Candidates, role: Role, network: Network, best: Network | None, gap: Gap | None
) -> Option:
    return Option(
        role=role,
        network=network,
        fit=of.fit(network),
        gap=gap,
        latency=figure(network, of.peers.baseline, LATENCY),
        log_speed=None if best is None else of.log_speed(best, network),
    )


def _paired_gap(found: Difference, pairs: Pairs) -> Gap:
    verdict: Verdict = "not separable" if found.verdict == "not separable" else "separable"
    folds = len({fold for fold, _ in pairs})
    return Gap(found.interval, verdict, found.pairs, found.pairs_needed, folds)


def _unpaired_gap(best: Network, network: Network, pairs: int, factor: float) -> Gap:
    """Return the gap in Dice between two networks by both intervals, `factor` times as wide.

    Those of one seed know of test images alone, and prove nothing beyond them.
    """
    own, other = (one.interval("dice") for one in (network, best))
    assert own is not None
    assert other is not None
    difference = Interval(own.value - other.value)
    reach = factor * hypot(*(max(one.reach(unknown=0.0)) for one in (own, other)))
    several = min(network.seeds, best.seeds) > 1 and reach > 0
    if abs(difference.value) <= (reach if several else max(reach, ONE_SEED)):
        return Gap(difference, "not separable", pairs)
    return Gap(difference, "separable" if several else "apparent", pairs)
