"""Who is clearly behind in a race: networks trained for the same number of steps, by few seeds.

scores by network and unit ─▶ how far two trainings of a network lie apart ─▶ how far each is behind

A network may stop when it is behind the leader by more than chance explains. The leader is chosen
by the very figures, as the luckiest of many, so that a network that is truly the best may lie far
behind it: the limit is that of multiple comparisons with the best (Hsu 1984, by Dunnett's method),
and is divided among the rungs (Bonferroni).
"""

from __future__ import annotations

import math
from collections.abc import Hashable, Mapping
from dataclasses import dataclass
from statistics import fmean
from typing import Final, TypeVar

from unet_bench.stats.family import dunnett
from unet_bench.stats.reliability import complete, residual_variance

ERROR: Final = 0.05
"""How often a race may stop its best network too early, all its rungs taken together."""
MARGIN: Final = 0.01
"""A Dice that is not worth another training: who is behind by less goes on."""

Name = TypeVar("Name", bound=Hashable)
Scores = Mapping[Hashable, float]  # Dice by unit: (fold, seed)


@dataclass(frozen=True)
class Standing:
    """How far a network is behind the leader of a rung.

    `surely` is the least that it is truly behind; minus infinity where that is not known.
    """

    behind: float
    surely: float

    @property
    def is_clear(self) -> bool:
        """Whether it is behind by more than chance and the margin explain."""
        return self.surely > MARGIN


@dataclass(frozen=True)
class Spread:
    """The standard deviation of a training's Dice about its network's mean, of `df` degrees."""

    sd: float
    df: int


def standings(scores: Mapping[Name, Scores], decisions: int = 1) -> dict[Name, Standing]:
    """Return how each network stands, the leader first; without scores none.

    `decisions` is how often networks may be stopped in the race. Networks are compared by the units
    that both have.
    """
    if not scores:
        return {}
    spread, leader = spread_of(scores), leader_of(scores)
    limit = math.inf
    if spread:
        level = 1 - 2 * ERROR / decisions  # of both sides, of which only one matters
        limit = dunnett(max(1, len(scores) - 1), spread.df, level) * spread.sd
    found = {}
    for name, own in scores.items():
        shared = [unit for unit in own if unit in scores[leader]]
        if not shared:
            found[name] = Standing(fmean(scores[leader].values()) - fmean(own.values()), -math.inf)
            continue
        behind = fmean(scores[leader][unit] - own[unit] for unit in shared)
        error = 0.0 if name == leader else limit * math.sqrt(2 / len(shared))
        found[name] = Standing(behind, behind - error)
    return dict(sorted(found.items(), key=lambda item: (item[0] != leader, item[1].behind)))


def leader_of(scores: Mapping[Name, Scores]) -> Name:
    """Return the network with the best mean over the units that the most networks have."""
    counts: dict[Hashable, int] = {}
    for own in scores.values():
        for unit in own:
            counts[unit] = counts.get(unit, 0) + 1
    common = {unit for unit, count in counts.items() if count == max(counts.values())}
    return max(
        scores, key=lambda name: fmean(of) if (of := _within(scores[name], common)) else -math.inf
    )


def spread_of(scores: Mapping[Name, Scores]) -> Spread | None:
    """Return how far trainings of a network lie apart, what moves all alike left out.

    It is of the networks that have every unit; None with fewer than two, or two units.
    """
    figures = complete(scores)
    if min(figures.shape) < 2:
        return None
    variance, df = residual_variance(figures)
    return Spread(math.sqrt(variance), df)


def _within(own: Scores, units: set[Hashable]) -> list[float]:
    return [score for unit, score in own.items() if unit in units]
