"""Timing that synchronises, warms up, alternates with the baseline, and knows when to stop."""

from __future__ import annotations

import functools
import gc
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from unet_bench.results.intervals import mean_interval, median_interval

Step = Callable[[], object]

MIN_WARM_UP: Final = 3
MAX_WARM_UP: Final = 200
WARM_UP_TOLERANCE: Final = 0.05
MIN_PAIRS: Final = 5
PATIENCE: Final = 10  # budgets after which fewer pairs must do


@dataclass
class Timing:
    """Block times of a workload and its baseline, taken in ABBA order. Seconds per step."""

    steps_per_block: tuple[int, int]
    warm_up_steps: int
    own: list[float] = field(default_factory=list)
    base: list[float] = field(default_factory=list)
    stop_reason: str = ""

    def ratios(self) -> list[float]:
        """Log-ratios, one for each ABBA quadruple: slow drift cancels within it."""
        pairs = zip(self.own[::2], self.own[1::2], self.base[::2], self.base[1::2], strict=False)
        return [math.log((a1 + a2) / (b1 + b2)) for a1, a2, b1, b2 in pairs]

    def ratio_interval(self) -> tuple[float, float, float]:
        """(ratio, low, high) to the baseline at 95 %; the ends are NaN below two quadruples."""
        mean, low, high = mean_interval(self.ratios())
        return math.exp(mean), math.exp(low), math.exp(high)

    def median(self) -> tuple[float, float, float]:
        """(median, low, high) of seconds per step at 95 %."""
        return median_interval(self.own)


def time_pair(
    own: Step,
    base: Step,
    *,
    budget_s: float,
    interval: float,
    sync: Callable[[], None] = lambda: None,
    now: Callable[[], float] = time.perf_counter,
    block_s: float = 0.05,
) -> Timing:
    """Time `own` against `base` in alternating blocks until the ratio's 95 % interval is narrower than `interval`
    (relative), or the budget is spent.
    """

    def block(step: Step, count: int) -> float:
        sync()
        start = now()
        for _ in range(count):
            step()
        sync()
        return (now() - start) / count

    warm = [warm_up(functools.partial(block, step, 1)) for step in (own, base)]
    counts = [max(1, math.ceil(block_s / max(min(times), 1e-9))) for times in warm]
    timing = Timing((counts[0], counts[1]), sum(map(len, warm)))
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    start = now()
    try:
        while not timing.stop_reason:
            timing.own.append(block(own, counts[0]))
            timing.base.append(block(base, counts[1]))
            timing.base.append(block(base, counts[1]))
            timing.own.append(block(own, counts[0]))
            timing.stop_reason = _reason_to_stop(timing, interval, now() - start, budget_s)
    finally:
        if was_enabled:
            gc.enable()
    return timing


def _reason_to_stop(timing: Timing, interval: float, spent: float, budget: float) -> str:
    ratios = timing.ratios()
    if len(ratios) >= MIN_PAIRS:
        _, low, high = timing.ratio_interval()
        if high - low <= interval:
            return "ci"
    enough = len(ratios) >= MIN_PAIRS or (len(ratios) >= 2 and spent >= PATIENCE * budget)
    return "cap" if spent >= budget and enough else ""


def warm_up(step: Callable[[], float]) -> list[float]:
    """Repeat a timed step until two successive windows agree and no longer fall; returns the times."""
    times: list[float] = []
    while len(times) < MAX_WARM_UP:
        times.append(step())
        window = max(MIN_WARM_UP, len(times) // 4)
        if len(times) >= 2 * window and sum(times) >= 0.1 and settled(times[-2 * window : -window], times[-window:]):
            break
        if sum(times) > 1.0 and len(times) >= MIN_WARM_UP:
            break
    return times


def settled(before: Sequence[float], after: Sequence[float]) -> bool:
    """Whether the later window is no longer faster than the earlier one."""
    return statistics.median(after) >= (1 - WARM_UP_TOLERANCE) * statistics.median(before)
