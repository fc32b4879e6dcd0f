"""Timing on a synthetic clock: what drifts, what is noisy, and what a stop rule makes of it. Deterministic."""

from __future__ import annotations

import math
import random

import pytest

from unet_bench.measure.clock import settled, time_pair, warm_up
from unet_bench.results.intervals import mean_interval, median_interval, t_975


class Machine:
    """A clock that steps advance: each by its cost, times slow drift, times autocorrelated noise."""

    def __init__(self, seed: int, noise: float = 0.05, drift: float = 0.5) -> None:
        self.random = random.Random(seed)
        self.time, self.state, self.noise, self.drift = 0.0, 0.0, noise, drift

    def now(self) -> float:
        return self.time

    def step(self, cost: float) -> None:
        self.state = 0.9 * self.state + self.random.gauss(0, self.noise)
        self.time += cost * math.exp(self.state) * (1 + self.drift * math.sin(self.time / 3))


def measure(seed: int, own: float, base: float, interval: float = 0.02, budget: float = 6):
    machine = Machine(seed)
    return time_pair(
        lambda: machine.step(own), lambda: machine.step(base), budget_s=budget, interval=interval, now=machine.now
    )


def test_a_ratio_survives_drift_that_the_median_does_not() -> None:
    ratios = [measure(seed, 0.0107, 0.01, budget=12).ratio_interval()[0] for seed in range(20)]
    assert abs(sorted(ratios)[10] - 1.07) < 0.005
    assert sum(abs(ratio - 1.07) < 0.03 for ratio in ratios) >= 19


def test_intervals_of_equal_workloads_cover_one() -> None:
    intervals = [measure(seed, 0.01, 0.01).ratio_interval() for seed in range(80)]
    covered = sum(low <= 1 <= high for _, low, high in intervals)
    assert covered >= 70  # stopping once the interval is narrow costs a little of the nominal 95 %


def test_stops_at_the_interval_or_at_the_cap() -> None:
    machine = Machine(0, noise=0.0, drift=0.0)
    calm = time_pair(
        lambda: machine.step(0.01), lambda: machine.step(0.02), budget_s=60, interval=0.01, now=machine.now
    )
    assert calm.stop_reason == "ci"
    assert calm.ratio_interval()[0] == pytest.approx(0.5)
    assert measure(1, 0.01, 0.01, interval=1e-9).stop_reason == "cap"


def test_blocks_alternate_and_are_long_enough() -> None:
    calls: list[str] = []
    machine = Machine(0, noise=0.0, drift=0.0)

    def own() -> None:
        calls.append("a")
        machine.step(0.02)

    def base() -> None:
        calls.append("b")
        machine.step(0.06)

    timing = time_pair(own, base, budget_s=2, interval=1e-9, now=machine.now)
    a, b = timing.steps_per_block
    assert (a, b) == (3, 1)
    timed = "".join(calls[timing.warm_up_steps :])
    assert timed == ("aaa" + "b" + "b" + "aaa") * (len(timing.own) // 2)


def test_warm_up_waits_for_falling_times_to_settle() -> None:
    falling = iter([0.1 / (n + 1) ** 2 for n in range(10)] + [0.001] * 500)
    times = warm_up(lambda: next(falling))
    assert times[-3:] == [0.001] * 3
    assert settled([1.0, 1.0], [0.99, 1.2])
    assert not settled([1.0, 1.0], [0.9, 0.9])


@pytest.mark.parametrize(("df", "value"), [(1, 12.7062), (4, 2.7764), (20, 2.0860), (30, 2.0423), (120, 1.9799)])
def test_students_t(df: int, value: float) -> None:
    assert t_975(df) == pytest.approx(value, abs=2e-4)


def test_intervals_cover_what_they_say() -> None:
    rng = random.Random(5)
    means, medians = 0, 0
    for _ in range(2000):
        values = [rng.gauss(0, 1) for _ in range(12)]
        _, low, high = mean_interval(values)
        means += low <= 0 <= high
        _, low, high = median_interval(values)
        medians += low <= 0 <= high
    assert 0.935 <= means / 2000 <= 0.965
    assert medians / 2000 >= 0.945  # order statistics: at least the nominal coverage


def test_too_few_values_have_no_interval() -> None:
    assert math.isnan(mean_interval([1.0])[1])
    assert math.isnan(median_interval([1.0] * 5)[1])
