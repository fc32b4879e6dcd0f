"""Timing on a synthetic clock: what drifts, what is noisy, and what a stop rule makes of it.
Deterministic.
"""

from __future__ import annotations

import contextlib
import gc
import math
import random
from itertools import pairwise

import pytest
from support.machine import Machine

from unet_bench.measure import clock
from unet_bench.measure.clock import (
    Timing,
    percentile,
    settled,
    time_pair,
    warm_up,
    without_garbage_collection,
)
from unet_bench.stats.intervals import mean_interval, median_interval, t_975


def measure(seed: int, own: float, base: float, interval: float = 0.02, budget: float = 6):
    machine = Machine(seed)
    return time_pair(
        lambda: machine.step(own),
        lambda: machine.step(base),
        budget_s=budget,
        interval=interval,
        now=machine.now,
    )


@pytest.mark.slow
def test_a_ratio_survives_drift_that_the_median_does_not() -> None:
    ratios = [measure(seed, 0.0107, 0.01, budget=12).ratio_interval()[0] for seed in range(20)]
    assert abs(sorted(ratios)[10] - 1.07) < 0.005
    assert sum(abs(ratio - 1.07) < 0.03 for ratio in ratios) >= 19


@pytest.mark.slow
def test_intervals_of_equal_workloads_cover_one() -> None:
    intervals = [measure(seed, 0.01, 0.01).ratio_interval() for seed in range(32)]
    covered = sum(low <= 1 <= high for _, low, high in intervals)
    assert covered >= 28  # stopping once the interval is narrow costs a little of the nominal 95 %


def test_stops_at_the_interval_or_at_the_cap() -> None:
    machine = Machine(0, noise=0.0, drift=0.0)
    calm = time_pair(
        lambda: machine.step(0.01),
        lambda: machine.step(0.02),
        budget_s=60,
        interval=0.01,
        now=machine.now,
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

    timing = time_pair(own, base, budget_s=2, interval=1e-9, now=machine.now, block_s=0.05)
    a, b = timing.steps_per_block
    assert (a, b) == (3, 1)
    timed = "".join(calls[timing.warm_up_steps :])
    quads = ["aaa" + "b" + "b" + "aaa", "b" + "aaa" + "aaa" + "b"]
    assert timed == "".join(quads[n % 2] for n in range(len(timing.candidate) // 2))


def test_a_place_in_the_quad_costs_neither_of_the_two() -> None:
    """Bookkeeping between quads makes what comes next slower: both get their share of that."""
    machine, calls = Machine(0, noise=0.01, drift=0.0), iter(range(10**9))

    def step() -> None:
        machine.step(0.033 if next(calls) % 4 == 0 else 0.03)

    timing = time_pair(step, step, budget_s=30, interval=1e-9, now=machine.now)
    assert timing.ratio_interval()[0] == pytest.approx(1, abs=5e-3)


def test_short_steps_are_led_in_by_one_that_is_not_timed() -> None:
    calls: list[str] = []
    machine = Machine(0, noise=0.0, drift=0.0)

    def step(cost: float) -> None:
        calls.append("x")
        machine.step(cost)

    timing = time_pair(
        lambda: step(0.005), lambda: step(0.005), budget_s=1, interval=1e-9, now=machine.now
    )
    count, blocks = timing.steps_per_block[0], len(timing.candidate) + len(timing.baseline)
    assert count == 5
    assert len(calls) == timing.warm_up_steps + blocks * (count + 1)


def test_gives_up_where_more_time_brings_nothing() -> None:
    """The noise grows as fast as the samples: the interval of all of them is no narrower than that
    of half.
    """
    machine, rng = Machine(0, noise=0.0, drift=0.0), random.Random(0)
    timing = time_pair(
        lambda: machine.step(0.01 * math.exp(rng.gauss(0, machine.time / 40))),
        lambda: machine.step(0.01),
        budget_s=40,
        interval=0.001,
        now=machine.now,
    )
    assert timing.stop_reason == "plateau"
    assert len(timing.candidate) // 2 >= clock.PLATEAU_QUADS
    assert machine.time < 40


def test_the_budget_is_kept_where_steps_are_slow() -> None:
    """Steps of a second in a budget of less than two: two quads must do and give an interval."""
    machine = Machine(0, noise=0.01, drift=0.0)
    timing = time_pair(
        lambda: machine.step(1.0),
        lambda: machine.step(1.0),
        budget_s=1.8,
        interval=0.01,
        now=machine.now,
    )
    assert (timing.stop_reason, len(timing.candidate), len(timing.baseline)) == ("cap", 4, 4)
    assert timing.warm_up_steps == 2 * clock.MIN_WARM_UP
    assert not math.isnan(timing.ratio_interval()[1])


def test_without_a_baseline_the_median_closes_and_there_is_no_ratio() -> None:
    machine = Machine(0, noise=0.001, drift=0.0)
    timing = time_pair(
        lambda: machine.step(0.01), None, budget_s=60, interval=0.01, now=machine.now
    )
    assert (timing.stop_reason, timing.baseline, timing.ratios()) == ("ci", [], [])
    assert all(math.isnan(value) for value in timing.ratio_interval())
    median, low, high = timing.median()
    assert (high - low) / median <= 0.01
    assert timing.measured_s == pytest.approx(sum(timing.candidate) * timing.steps_per_block[0])


@pytest.mark.parametrize("singly", [True, False])
def test_waits_for_the_device_at_each_step_or_at_each_block(singly: bool) -> None:
    machine, waits = Machine(0, noise=0.0, drift=0.0), [0]

    def sync() -> None:
        waits[0] += 1

    timing = time_pair(
        lambda: machine.step(0.01),
        lambda: machine.step(0.02),
        budget_s=1,
        interval=0.01,
        sync=sync,
        now=machine.now,
        block_s=0.095,
        singly=singly,
    )
    assert timing.steps_per_block == (10, 5)
    blocks = len(timing.candidate)
    in_blocks = blocks * (11 + 6 if singly else 2 + 2)
    assert waits[0] == 2 * timing.warm_up_steps + in_blocks
    assert len(timing.singles) == (10 * blocks if singly else 0)


def test_one_burst_of_twenty_hardly_moves_the_ratio() -> None:
    rng = random.Random(3)
    own, base = ([cost * math.exp(rng.gauss(0, 0.005)) for _ in range(40)] for cost in (1.07, 1.0))
    calm = Timing((1, 1), 0, list(own), list(base)).ratio_interval()[0]
    for at in range(20):
        burst = [value * (10 if i // 2 == at else 1) for i, value in enumerate(own)]
        assert Timing((1, 1), 0, burst, base).ratio_interval()[0] == pytest.approx(calm, rel=0.01)


def test_percentiles_need_enough_steps_beyond_them() -> None:
    assert math.isnan(percentile([1.0] * 199, 0.95))
    assert math.isnan(percentile([1.0] * 999, 0.99))
    assert percentile(range(1, 201), 0.95) == 190
    assert percentile(range(1, 1001), 0.99) == 990


def test_looks_at_the_interval_are_few_and_far_between(monkeypatch: pytest.MonkeyPatch) -> None:
    looks: list[int] = []
    look = clock._stop_reason
    monkeypatch.setattr(
        clock,
        "_stop_reason",
        lambda timing, *rest: looks.append(len(timing.candidate) // 2) or look(timing, *rest),
    )
    assert measure(1, 0.01, 0.01, interval=1e-9, budget=60).stop_reason in ("cap", "plateau")
    assert looks[0] >= clock.MIN_QUADS
    assert len(looks) >= 5
    assert all(later >= clock.CHECK_FACTOR * earlier for earlier, later in pairwise(looks))


def test_garbage_is_not_collected_while_timing() -> None:
    states: list[bool] = []
    machine = Machine(0, noise=0.0, drift=0.0)

    def step() -> None:
        states.append(gc.isenabled())
        machine.step(0.01)

    assert gc.isenabled()
    timing = time_pair(step, step, budget_s=1, interval=0.01, now=machine.now)
    assert not any(states[timing.warm_up_steps :])
    assert gc.isenabled()


@pytest.mark.parametrize("before", [True, False])
def test_garbage_collection_is_afterwards_as_it_was(before: bool) -> None:
    try:
        (gc.enable if before else gc.disable)()
        with contextlib.suppress(KeyError), without_garbage_collection():
            assert not gc.isenabled()
            raise KeyError
        assert gc.isenabled() == before
    finally:
        gc.enable()


def test_warm_up_is_capped_and_lasts_at_least_as_long_as_asked() -> None:
    ever_faster = (0.1 * 0.97**n for n in range(10_000))
    assert sum(warm_up(lambda: next(ever_faster), most_s=1.0)) == pytest.approx(1.0, abs=0.1)
    assert len(warm_up(lambda: 10.0, most_s=1.0)) == clock.MIN_WARM_UP
    assert len(warm_up(lambda: 0.01)) == 2 * clock.MIN_WINDOW
    assert sum(warm_up(lambda: 0.01, least_s=0.8, most_s=2.0)) == pytest.approx(0.8, abs=0.02)


def test_warm_up_waits_for_falling_times_to_settle() -> None:
    falling = iter([0.1 / (n + 1) ** 2 for n in range(10)] + [0.001] * 500)
    times = warm_up(lambda: next(falling))
    assert times[-3:] == [0.001] * 3
    assert settled([1.0, 1.0], [0.99, 1.2])
    assert not settled([1.0, 1.0], [0.9, 0.9])


@pytest.mark.parametrize(
    ("df", "value"), [(1, 12.7062), (4, 2.7764), (20, 2.0860), (30, 2.0423), (120, 1.9799)]
)
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
