"""What a number of pairs can find."""

from __future__ import annotations

import functools
import math
from typing import Final

from unet_bench.stats.family import spread_nodes
from unet_bench.stats.intervals import t_975

POWER: Final = 0.8  # how often a true difference is to be found


@functools.cache
def effect_found(pairs: int) -> float:
    """Return how many standard deviations of a paired difference are found in four of five cases.

    By Student's t at 95 % confidence, for one comparison. Its power is that of the noncentral t:
    the mean over spreads as they may be estimated.
    """
    from scipy.optimize import brentq
    from scipy.special import ndtr

    spreads, shares = spread_nodes(pairs - 1)
    limits = t_975(pairs - 1) * spreads

    def lacking(effect: float) -> float:
        shift = effect * math.sqrt(pairs)
        return float(POWER - shares @ (ndtr(shift - limits) + ndtr(-shift - limits)))

    return float(brentq(lacking, 0.0, 100.0))
