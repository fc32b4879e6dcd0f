"""Timing that synchronises, warms up, alternates with the baseline, and knows when to stop.

Blocks of steps alternate own, baseline, baseline, own, and the other way round in every second such
quad (ABBA BAAB): slow drift cancels within a quad, and what a place in it costs within two.
"""

from __future__ import annotations

import gc
import math
import statistics
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Final

from unet_bench.stats.intervals import Interval, mean_interval, median_interval

Step = Callable[[], object]

BLOCK_S: Final = 0.025  # where synchronising is free; a wait for a GPU costs some 20 µs
GPU_BLOCK_S: Final = 0.1
MIN_WINDOW: Final = 10  # steps of a warm-up window, where time allows
MIN_WARM_UP: Final = 3
WARM_UP_TOLERANCE: Final = 0.02
MIN_QUADS: Final = 10
FEWEST_QUADS: Final = 6  # below that a median has no interval
PATIENCE: Final = 4  # budgets after which two quads must do
LEAD_IN: Final = (
    4  # steps of a block from which one untimed goes before: the first after a switch is slower
)
LOOK_EVERY: Final = (
    1.2  # quads from one look at the interval to the next: each look is a chance to stop by luck
)
PLATEAU_QUADS: Final = 64


@dataclass
class Timing:
    """Block times of a workload and its baseline, two and two to a quad. Seconds per step."""

    steps_per_block: tuple[int, int]
    warm_up_steps: int
    own: list[float] = field(default_factory=list)
    base: list[float] = field(default_factory=list)  # empty where there was none beside it
    singles: list[float] = field(default_factory=list)  # own steps, each waited for
    stop_reason: str = ""
    measured_s: float = 0.0  # in timed blocks, the baseline's included

    def ratios(self) -> list[float]:
        """Log-ratios, one for each quad. Geometric within it: one disturbed block counts for a
        quarter.
        """
        pairs = zip(self.own[::2], self.own[1::2], self.base[::2], self.base[1::2], strict=False)
        return [math.log(a1 * a2 / (b1 * b2)) / 2 for a1, a2, b1, b2 in pairs]

    def ratio_interval(self) -> Interval:
        """(ratio, low, high) to the baseline at 95 %: of the median quad, since disturbances come
        in bursts.

        NaN without a baseline; the ends are NaN with a single quad.
        """
        ratios = self.ratios()
        if not ratios:
            return Interval(math.nan)
        enough = len(ratios) >= FEWEST_QUADS
        found = median_interval(ratios) if enough else mean_interval(ratios)
        return Interval(*map(math.exp, found))

    def median(self) -> Interval:
        """(median, low, high) of seconds per step over blocks, at 95 %."""
        return median_interval(self.own)

    def width(self) -> float:
        """How wide the interval to be closed is, relatively: the ratio's, or without a baseline the
        median's.
        """
        mid, low, high = self.ratio_interval() if self.base else self.median()
        return math.inf if math.isnan(low) else (high - low) / mid


def time_pair(
    own: Step,
    base: Step | None,
    *,
    budget_s: float,
    interval: float,
    sync: Callable[[], None] = lambda: None,
    now: Callable[[], float] = time.perf_counter,
    block_s: float = BLOCK_S,
    singly: bool = True,
    least_warm_up_s: float = 0.0,
    between: Callable[[], None] = lambda: None,
) -> Timing:
    """Time `own` against `base` in alternating blocks until the ratio's 95 % interval is narrower
    than `interval` (relatively), or no longer shrinks, or the budget is spent: `stop_reason` is
    `ci`, `plateau` or `cap`.

    `singly` waits for the device after each step and keeps each own step's time (latency);
    otherwise only after each block (throughput). Without `base`, blocks of `own` alone are timed
    until their median's interval closes. `between` is called after each quad of blocks, outside of
    what is timed.
    """

    def block(step: Step, count: int) -> list[float]:
        times = []
        if count >= LEAD_IN:
            step()
        sync()
        start = now()
        for _ in range(count):
            step()
            if singly:
                sync()
                times.append(now())
        if not singly:
            sync()
            return [(now() - start) / count] * count
        return [end - begin for begin, end in zip([start, *times], times, strict=False)]

    longest = max(least_warm_up_s, 0.05 * budget_s, 0.25)

    def warmed(step: Step) -> list[float]:
        return warm_up(lambda: block(step, 1)[0], least_warm_up_s, longest)

    warm = [warmed(step) for step in (own, base) if step is not None]
    counts = [max(1, math.ceil(block_s / max(statistics.median(times), 1e-9))) for times in warm]
    timing = Timing((counts[0], counts[-1]), sum(map(len, warm)))

    def quad() -> None:
        pairs: list[tuple[list[float], list[float]]]
        if base is None:
            pairs = [(block(own, counts[0]), []) for _ in range(2)]
        elif len(timing.own) % 4 == 0:
            a1, b1, b2, a2 = (block(step, count) for step, count in (first, second, second, first))
            pairs = [(a1, b1), (a2, b2)]
        else:
            b1, a1, a2, b2 = (block(step, count) for step, count in (second, first, first, second))
            pairs = [(a1, b1), (a2, b2)]
        for mine, theirs in pairs:  # nothing is done between blocks that one of them might feel
            timing.own.append(sum(mine) / len(mine))
            timing.base += [sum(theirs) / len(theirs)] if theirs else []
            timing.measured_s += sum(mine) + sum(theirs)
            timing.singles += mine if singly else []

    first, second = (own, counts[0]), (base or own, counts[-1])
    next_look = MIN_QUADS
    with without_garbage_collection():
        start = now()
        while not timing.stop_reason:
            quad()
            between()
            quads, spent = len(timing.own) // 2, now() - start
            if quads >= next_look and spent >= min(1.0, budget_s / 2):
                next_look = math.ceil(quads * LOOK_EVERY)
                timing.stop_reason = _look(timing, interval, spent / budget_s)
            elif spent >= budget_s and (
                quads >= FEWEST_QUADS or (quads >= 2 and spent >= PATIENCE * budget_s)
            ):
                timing.stop_reason = "cap"
    return timing


def _look(timing: Timing, interval: float, spent: float) -> str:
    """Whether it is enough, `spent` budgets into the timing."""
    width, quads = timing.width(), len(timing.own) // 2
    if width <= interval:
        return "ci"
    if spent >= 1:
        return "cap"
    if quads >= PLATEAU_QUADS and spent >= 0.5:
        half = quads // 2 * 2
        earlier = Timing(timing.steps_per_block, 0, timing.own[:half], timing.base[:half])
        return "plateau" if width >= earlier.width() else ""
    return ""


def warm_up(step: Callable[[], float], least_s: float = 0.0, most_s: float = 1.0) -> list[float]:
    """Repeat a timed step until two successive windows agree and no longer fall; returns the times.

    At least `least_s` seconds, and no more than `most_s` once there are a few steps.
    """
    times: list[float] = []
    spent = 0.0
    while True:
        times.append(step())
        spent += times[-1]
        window = max(MIN_WINDOW, len(times) // 4)
        if (
            len(times) >= 2 * window
            and spent >= least_s
            and settled(times[-2 * window : -window], times[-window:])
        ):
            return times
        if spent >= most_s and len(times) >= MIN_WARM_UP:
            return times


def settled(before: Sequence[float], after: Sequence[float]) -> bool:
    """Whether the later window is within 2 % of the earlier one, or slower: it no longer falls."""
    return statistics.median(after) >= (1 - WARM_UP_TOLERANCE) * statistics.median(before)


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Collect what there is, and then not while timing."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def percentile(times: Sequence[float], share: float) -> float:
    """A high percentile of single steps; NaN with fewer than ten steps beyond it (200 for p95, 1000
    for p99).
    """
    if len(times) * (1 - share) < 10 - 1e-9:
        return math.nan
    return sorted(times)[math.ceil(share * len(times)) - 1]
