"""Timing that synchronises, warms up, alternates with the baseline, and knows when to stop.

Blocks of steps alternate candidate, baseline, baseline, candidate, and the other way round in every
second such quad (ABBA BAAB): slow drift cancels within a quad, and what a place in it costs within
two.
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
# Steps of a block from which an untimed one goes before: the first after a switch is slower.
LEAD_IN: Final = 4
# Quads from one look at the interval to the next: each look is a chance to stop by luck.
CHECK_FACTOR: Final = 1.2
PLATEAU_QUADS: Final = 64


@dataclass
class Timing:
    """Block times of a workload and its baseline, two and two to a quad. Seconds per step."""

    steps_per_block: tuple[int, int]
    warm_up_steps: int
    candidate: list[float] = field(default_factory=list)
    baseline: list[float] = field(default_factory=list)  # empty where there was none
    singles: list[float] = field(default_factory=list)  # the candidate's steps, each waited for
    stop_reason: str = ""
    measured_s: float = 0.0  # in timed blocks, the baseline's included

    def add(self, pairs: Sequence[tuple[list[float], list[float]]], singly: bool) -> None:
        """Add the blocks of a quad: the candidate's and the baseline's seconds of each step."""
        for mine, theirs in pairs:
            self.candidate.append(sum(mine) / len(mine))
            if theirs:
                self.baseline.append(sum(theirs) / len(theirs))
            self.measured_s += sum(mine) + sum(theirs)
            if singly:
                self.singles += mine

    def ratios(self) -> list[float]:
        """Return log-ratios, one for each quad.

        Geometric within it: one disturbed block counts for a quarter.
        """
        pairs = zip(
            self.candidate[::2],
            self.candidate[1::2],
            self.baseline[::2],
            self.baseline[1::2],
            strict=False,
        )
        return [math.log(a1 * a2 / (b1 * b2)) / 2 for a1, a2, b1, b2 in pairs]

    def ratio_interval(self) -> Interval:
        """Return (ratio, low, high) to the baseline at 95 %, of the median quad.

        The median, since disturbances come in bursts. NaN without a baseline; the ends are NaN with
        a single quad.
        """
        ratios = self.ratios()
        if not ratios:
            return Interval(math.nan)
        enough = len(ratios) >= FEWEST_QUADS
        found = median_interval(ratios) if enough else mean_interval(ratios)
        return Interval(*map(math.exp, found))

    def median(self) -> Interval:
        """Return (median, low, high) of seconds per step over blocks, at 95 %."""
        return median_interval(self.candidate)

    def width(self) -> float:
        """Return how wide the interval to be closed is, relatively.

        It is the ratio's, or without a baseline the median's.
        """
        mid, low, high = self.ratio_interval() if self.baseline else self.median()
        return math.inf if math.isnan(low) else (high - low) / mid


def time_pair(
    candidate: Step,
    baseline: Step | None,
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
    """Time a step against the baseline's in alternating blocks.

    It ends when the ratio's 95 % interval is narrower than `interval` (relatively), no longer
    shrinks, or the budget is spent: `stop_reason` is `ci`, `plateau` or `cap`. `singly` waits for
    the device after each step and keeps each of the candidate's times (latency); otherwise only
    after each block (throughput). Without a baseline, blocks of the candidate alone are timed until
    their median's interval closes. `between` is called after each quad of blocks, outside of what
    is timed.
    """
    blocks = _Blocks(sync, now, singly)
    longest = max(least_warm_up_s, 0.05 * budget_s, 0.25)

    def warm_up_times(step: Step) -> list[float]:
        return warm_up(lambda: blocks.time(step, 1)[0], least_warm_up_s, longest)

    warm = [warm_up_times(step) for step in (candidate, baseline) if step is not None]
    counts = [max(1, math.ceil(block_s / max(statistics.median(times), 1e-9))) for times in warm]
    timing = Timing((counts[0], counts[-1]), sum(map(len, warm)))
    next_check = MIN_QUADS
    with without_garbage_collection():
        start = now()
        while not timing.stop_reason:
            flipped = len(timing.candidate) % 4 != 0
            timing.add(blocks.quad(candidate, baseline, timing.steps_per_block, flipped), singly)
            between()
            quads, spent = len(timing.candidate) // 2, now() - start
            if quads >= next_check and spent >= min(1.0, budget_s / 2):
                next_check = math.ceil(quads * CHECK_FACTOR)
                timing.stop_reason = _stop_reason(timing, interval, spent / budget_s)
            elif _is_spent(quads, spent / budget_s):
                timing.stop_reason = "cap"
    return timing


@dataclass(frozen=True)
class _Blocks:
    """Times blocks of steps, one after another."""

    sync: Callable[[], None]
    now: Callable[[], float]
    singly: bool

    def time(self, step: Step, count: int) -> list[float]:
        """Return the seconds of each of `count` steps; their mean, unless each is waited for."""
        times = []
        if count >= LEAD_IN:
            step()
        self.sync()
        start = self.now()
        for _ in range(count):
            step()
            if self.singly:
                self.sync()
                times.append(self.now())
        if not self.singly:
            self.sync()
            return [(self.now() - start) / count] * count
        return [end - begin for begin, end in zip([start, *times], times, strict=False)]

    def quad(
        self, candidate: Step, baseline: Step | None, counts: tuple[int, int], flipped: bool
    ) -> list[tuple[list[float], list[float]]]:
        """Return two pairs of blocks, taken in the order ABBA, or BAAB when `flipped`.

        Without a baseline: two blocks of the candidate.
        """
        mine, theirs = counts
        if baseline is None:
            return [(self.time(candidate, mine), []) for _ in range(2)]
        if flipped:
            b1, a1 = self.time(baseline, theirs), self.time(candidate, mine)
            a2, b2 = self.time(candidate, mine), self.time(baseline, theirs)
        else:
            a1, b1 = self.time(candidate, mine), self.time(baseline, theirs)
            b2, a2 = self.time(baseline, theirs), self.time(candidate, mine)
        return [(a1, b1), (a2, b2)]


def _is_spent(quads: int, spent: float) -> bool:
    """Return whether a timing ends unseen, after `spent` budgets.

    The fewer quads it has, the later it ends.
    """
    return spent >= 1 and (quads >= FEWEST_QUADS or (quads >= 2 and spent >= PATIENCE))


def _stop_reason(timing: Timing, interval: float, spent: float) -> str:
    """Return why it is enough, `spent` budgets into the timing; empty where it is not."""
    width, quads = timing.width(), len(timing.candidate) // 2
    if width <= interval:
        return "ci"
    if spent >= 1:
        return "cap"
    if quads >= PLATEAU_QUADS and spent >= 0.5:
        half = quads // 2 * 2
        earlier = Timing(timing.steps_per_block, 0, timing.candidate[:half], timing.baseline[:half])
        return "plateau" if width >= earlier.width() else ""
    return ""


def warm_up(step: Callable[[], float], least_s: float = 0.0, most_s: float = 1.0) -> list[float]:
    """Repeat a timed step until two successive windows agree; return the times.

    They agree, too, when the later one is slower. At least `least_s` seconds, and no more than
    `most_s` once there are a few steps.
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
    """Return whether the later window is within 2 % of the earlier one, or slower."""
    return statistics.median(after) >= (1 - WARM_UP_TOLERANCE) * statistics.median(before)


@contextmanager
def without_garbage_collection() -> Iterator[None]:
    """Collect garbage now, and not within the context."""
    was_enabled = gc.isenabled()
    gc.collect()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()


def percentile(times: Sequence[float], share: float) -> float:
    """Return a high percentile of single steps.

    NaN with fewer than ten steps beyond it: fewer than 200 for p95, 1000 for p99.
    """
    if len(times) * (1 - share) < 10 - 1e-9:
        return math.nan
    return sorted(times)[math.ceil(share * len(times)) - 1]
