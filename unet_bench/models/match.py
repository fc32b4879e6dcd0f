"""The width at which a network costs what another does.

Pure: the cost at a width comes from a function.

Cost rises with the width in steps, since widths are whole numbers, and nearly as a power of it
between them: so on logarithms the crossing is looked for by the secant, and by halving where that
says nothing new.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from math import log, sqrt
from typing import Final

MATCHED: Final = ("params", "macs")  # what widths can be scaled to meet
LEAST_SCALE: Final = 1 / 64
MOST_SCALE: Final = 16.0
CLOSE: Final = 0.005  # a cost so near, relatively, is not improved on
ACCEPTED: Final = 0.05  # and one further off than this, relatively, is no match
MOST_TRIES: Final = 12  # a network is built at each
POWERS: Final = (0.5, 3.0)  # of the width, within which cost is taken to rise

Costs = Mapping[float, int]


def nearest_scale(
    cost: Callable[[float], int | None], target: int, start: float, step: float = 0.0
) -> float:
    """Return the width scale from 1/64 to 16 at which `cost` comes nearest to `target`.

    Scales beside `start` have four digits, so that every machine finds the same one. `cost` gives
    `None` for a width that cannot be built: from there on multiples of `step` are tried; without
    one, or if such a one fails, the search ends with what it has.
    """
    costs: dict[float, int] = {}
    scale, grid = start, 0.0
    while scale not in costs and len(costs) < MOST_TRIES:
        found = cost(scale)
        if found is not None:
            costs[scale] = found
            if is_within(found, target, CLOSE):
                break
        elif costs and step and not grid:
            grid = step
        else:
            break
        scale = _rounded(_next(costs, target), grid)
    return min(costs, key=lambda scale: abs(log(costs[scale] / target)), default=start)


def is_within(cost: int, target: int, share: float) -> bool:
    """Return whether a cost is at most a share of the target away from it."""
    return abs(cost - target) <= share * target


def _next(costs: Costs, target: int) -> float:
    """Return the scale to try next.

    It is where a line through the nearest two meets the target, and every other time between them.
    """
    below = max((scale for scale in costs if costs[scale] < target), default=None)
    above = min((scale for scale in costs if costs[scale] > target), default=None)
    if below is None or above is None:
        return _beyond(costs, target)
    if len(costs) % 2:
        return sqrt(below * above)
    return float(below * (target / costs[below]) ** (1 / _power(costs, below, above)))


def _beyond(costs: Costs, target: int) -> float:
    """Return a scale beyond those tried, all of whose costs are on one side of the target.

    Each time it goes further along a step.
    """
    outwards = sorted(costs, reverse=max(costs.values()) < target)
    near, *before = outwards
    if not before:
        reached = near * sqrt(target / costs[near])
    elif costs[near] == costs[before[0]]:
        reached = near * (near / before[0]) ** 2
    else:
        power = min(max(_power(costs, near, before[0]), POWERS[0]), POWERS[1])
        reached = near * (target / costs[near]) ** (1 / power)
    return min(max(reached, LEAST_SCALE), MOST_SCALE)


def _power(costs: Costs, a: float, b: float) -> float:
    """Return the exponent with which cost rises with width from one scale to another."""
    return log(costs[b] / costs[a]) / log(b / a)


def _rounded(scale: float, grid: float) -> float:
    return max(round(scale / grid), 1) * grid if grid else float(f"{scale:.4g}")
