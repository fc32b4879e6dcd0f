"""Times in a table agree with the ratios beside them, however the machine drifted between cells."""

import copy
import math
import random
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from unet_bench.stats.intervals import Interval
from unet_bench.store.one_scale import on_one_scale

ENDS = ("latency_ci_low_ms", "latency_ci_high_ms")


def row(
    name: str, ms: float, ratio: float | None, half: float = 0.02, **more: Any
) -> dict[str, Any]:
    """A network's row, its intervals a part of the figure to either side."""
    found = {"run_id": "r", "variant": name, "baseline": "unet", "latency_ms": ms}
    found |= dict(zip(ENDS, (ms * math.exp(-half), ms * math.exp(half)), strict=True))
    if ratio is not None:
        ends = (ratio * math.exp(-half), ratio * math.exp(half))
        found |= {"latency_ratio": ratio}
        found |= dict(zip(("latency_ratio_ci_low", "latency_ratio_ci_high"), ends, strict=True))
    return found | more


@settings(deadline=None)
@given(st.lists(st.tuples(st.floats(0.2, 5), st.floats(0.5, 2)), min_size=1, max_size=6))
def test_times_and_ratios_say_the_same(others: list[tuple[float, float]]) -> None:
    """Each network ran while the machine was `drift` times as slow as usual."""
    rows = [row("unet", 10.0, 1.03)]
    rows += [
        row(f"v{n}", 10.0 * ratio * drift, ratio, latency_p95_ms=11.0 * ratio * drift)
        for n, (ratio, drift) in enumerate(others)
    ]
    on_one_scale(rows)
    baseline, *rest = rows
    assert baseline["latency_ratio"] == baseline["latency_ratio_ci_high"] == 1.0
    for one in rest:
        assert one["latency_ms"] / baseline["latency_ms"] == pytest.approx(one["latency_ratio"])
        assert one[ENDS[0]] < one["latency_ms"] < one[ENDS[1]]
        assert one["latency_p95_ms"] / one["latency_ms"] == pytest.approx(1.1)


def test_the_baselines_time_is_covered_as_often_as_stated() -> None:
    rng, covered, trials = random.Random(0), 0, 400
    for _ in range(trials):
        rows = [
            row(name, 10.0 * true * math.exp(drift + rng.gauss(0, 0.01)), true)
            for name, true in (("unet", 1.0), *((f"v{n}", 1.0 + n / 10) for n in range(7)))
            for drift in [rng.gauss(0, 0.05)]
        ]
        on_one_scale(rows)
        found = Interval(rows[0]["latency_ms"], *(rows[0][end] for end in ENDS))
        covered += found.low <= 10.0 <= found.high
    assert covered / trials >= 0.93


def test_what_has_no_pair_stays_as_measured() -> None:
    rows = [row("unet", 10.0, None), row("v", 20.0, None), row("w", 30.0, 2.0, baseline="other")]
    before = copy.deepcopy(rows)
    on_one_scale(rows)
    assert rows == before


def test_a_busy_machines_row_keeps_its_ratio_and_no_time() -> None:
    rows = [row("unet", 10.0, 1.0), row("v", 20.0, 2.0), row("busy", 1.0, 3.0)]
    rows[2] |= dict.fromkeys(("latency_ms", *ENDS))
    on_one_scale(rows)
    assert rows[2]["latency_ms"] is None
    assert rows[2]["latency_ratio"] == 3.0


def test_machines_are_scales_of_their_own() -> None:
    rows = [row(name, ms, 1.0, device_name=name) for name, ms in (("unet", 10.0), ("v", 50.0))]
    on_one_scale(rows)
    assert [one["latency_ms"] for one in rows] == [10.0, 50.0]


def test_throughput_and_training_steps_follow_their_own_ratios() -> None:
    rows = [
        row("unet", 10.0, 1.0, throughput_img_s=100.0, throughput_ratio=1.0),
        row("v", 10.0, 1.0, throughput_img_s=40.0, throughput_ratio=0.5, throughput_mpx_s=4.0),
    ]
    rows[0] |= {"train_step_ms": 30.0, "train_step_ratio": 1.0, "train_throughput_img_s": 10.0}
    rows[1] |= {"train_step_ms": 90.0, "train_step_ratio": 2.0, "train_throughput_img_s": 3.0}
    on_one_scale(rows)
    unet, other = rows
    assert other["throughput_img_s"] / unet["throughput_img_s"] == pytest.approx(0.5)
    assert other["throughput_mpx_s"] / other["throughput_img_s"] == pytest.approx(0.1)
    assert other["train_step_ms"] / unet["train_step_ms"] == pytest.approx(2.0)
    assert other["train_throughput_img_s"] * other["train_step_ms"] == pytest.approx(270.0)


def test_a_network_that_equals_the_baseline_has_its_figures() -> None:
    """Whichever of the two names was measured."""
    for measured, renamed in (("unet", "alias"), ("alias", "unet")):
        own = row(measured, 10.0, 1.02, same_as=None)
        rows = [own, {**own, "variant": renamed, "same_as": measured}, row("v", 18.0, 2.0)]
        on_one_scale(rows)
        first, second, _ = rows
        assert first["latency_ms"] == second["latency_ms"]
        assert first["latency_ratio"] == second["latency_ratio"] == 1.0
