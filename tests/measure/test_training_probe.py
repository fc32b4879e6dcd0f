"""The probe of training steps, and that of batches, in this process."""

from __future__ import annotations

import itertools
import json
import math
from dataclasses import replace
from pathlib import Path

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from torch import Tensor, nn

from unet_bench.errors import NonFinite
from unet_bench.measure import batch, pairing, speed, training
from unet_bench.measure.clock import Timing
from unet_bench.measure.guard import Verdict, Watch
from unet_bench.measure.memory import MIB, predicted_bytes
from unet_bench.store.schema import PROBE_COLUMNS

ME = "test_training_probe"


@pytest.fixture
def calm(monkeypatch: pytest.MonkeyPatch) -> None:
    """Whatever else runs on the machine, the guard finds it quiet."""
    monkeypatch.setattr(Watch, "verdict", lambda self: Verdict("clean", "", 0.0, 0.0))


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(
        Watch, "verdict", lambda self: Verdict("contaminated", "others used 90%", 0.9, 0.0)
    )
    for probe in (speed, training):
        monkeypatch.setattr(probe, "wait_until_quiet", lambda *_: 0.0)


class Small(nn.Module):
    def __init__(self, in_channels: int, classes: int) -> None:
        super().__init__()
        self.conv = nn.Conv2d(in_channels, classes, 3, padding=1)

    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x)


class NotANumber(Small):
    def forward(self, x: Tensor) -> Tensor:
        return self.conv(x) * math.nan


@pytest.mark.usefixtures("calm")
def test_a_training_step_has_a_time_a_ratio_and_three_parts(context_of, tmp_path: Path) -> None:
    context = replace(context_of(protocol={"speed_s": 0.6}), samples=tmp_path / "samples.json")
    row = training.probe(context)
    kept = json.loads(context.samples.read_text())["training"]
    assert set(row) - {"quality", "evidence"} <= set(PROBE_COLUMNS["training"])
    assert row["quality"] == "clean"
    for name in (
        "train_step_ms",
        "train_forward_ms",
        "train_backward_ms",
        "train_update_ms",
        "train_throughput_img_s",
    ):
        assert row[name] > 0
    assert row["train_step_ci_low_ms"] <= row["train_step_ms"] <= row["train_step_ci_high_ms"]
    again = (
        training.probe(context)["train_step_ratio"] for _ in range(3)
    )  # where something else ran just then
    assert any(0.6 < ratio < 1.6 for ratio in itertools.chain([row["train_step_ratio"]], again)), (
        "baseline on itself"
    )
    assert row["train_throughput_img_s"] == pytest.approx(2e3 / row["train_step_ms"])
    assert len(kept["own"]) == len(kept["baseline"]) == row["blocks"]


@pytest.mark.slow
@pytest.mark.usefixtures("calm")
def test_a_smaller_network_trains_faster(context_of) -> None:
    assert training.probe(context_of(f"{ME}:Small"))["train_step_ratio"] < 0.7


@pytest.mark.slow
@pytest.mark.usefixtures("busy")
@pytest.mark.parametrize("probe", [speed, training])
def test_on_a_busy_machine_absolute_times_are_empty(context_of, probe) -> None:
    row = probe.probe(context_of())
    assert (row["quality"], row["evidence"], row["foreign_cpu_share"]) == (
        "contaminated",
        "others used 90%",
        0.9,
    )
    units = ("_ms", "_img_s", "_mpx_s")
    assert all(math.isnan(value) for name, value in row.items() if name.endswith(units)), row
    ratio = "latency_ratio" if probe is speed else "train_step_ratio"
    width = (row[f"{ratio}_ci_high"] - row[f"{ratio}_ci_low"]) / row[ratio]
    assert math.isnan(width) or width <= pairing.WIDEST_KEPT


def noisy(spread: float) -> Timing:
    """Twenty quads whose ratios lie evenly between 1 - spread and 1 + spread."""
    own = [1 + spread * (2 * (n // 2) / 19 - 1) for n in range(40)]
    return Timing((1, 1), 3, own, [1.0] * 40, singles=own * 30)


@pytest.mark.parametrize(
    ("quality", "spread", "believed"),
    [
        ("clean", 0.5, {"ratio", "absolute"}),
        ("contaminated", 0.05, {"ratio"}),
        ("contaminated", 0.5, set()),
        ("throttled", 0.5, {"ratio", "absolute"}),  # as it ran at its limit of power
        ("unwatched", 0.5, {"ratio", "absolute"}),
    ],
)
def test_a_disturbed_timing_keeps_its_ratio_if_that_is_narrow(
    quality: str, spread: float, believed: set
) -> None:
    paired = pairing.Paired(noisy(spread), Verdict(quality))
    assert math.isnan(paired.ratio()[0]) == ("ratio" not in believed)
    for value in (paired.seconds()[0], paired.percentile(0.95), paired.percentile(0.99)):
        assert math.isnan(value) == ("absolute" not in believed)


@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize("probe", [speed, training])
def test_what_is_no_number_is_not_timed(context_of, probe) -> None:
    with pytest.raises(NonFinite):
        probe.probe(context_of(f"{ME}:NotANumber"))


@pytest.mark.slow
@pytest.mark.usefixtures("calm")
@pytest.mark.parametrize("error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory")])
@pytest.mark.parametrize("probe", [speed, training])
def test_without_room_for_the_baseline_it_is_timed_alone(
    context_of, monkeypatch, probe, error
) -> None:
    def no_room(*_: object) -> None:
        raise error

    monkeypatch.setattr(probe, "_run_once", no_room)
    row = probe.probe(context_of())
    assert row["quality"] == "unpaired"
    assert "does not fit" in row["evidence"]
    absolute, ratio = (
        ("latency_ms", "latency_ratio") if probe is speed else ("train_step_ms", "train_step_ratio")
    )
    assert row[absolute] > 0
    assert math.isnan(row[ratio])


# ---- batches


@given(st.integers(0, batch.MOST))
def test_the_edge_is_found_to_an_eighth_in_few_tries(most: int) -> None:
    tried: list[int] = []
    found = batch.edge(lambda n: tried.append(n) or n <= most)
    assert found <= most
    assert most - found <= found / 8
    assert (found == 0) == (most == 0)
    assert len(tried) <= math.log2(most + 1) + 6
    assert len(set(tried)) == len(tried)


def test_beyond_the_largest_batch_nobody_looks() -> None:
    tried: list[int] = []
    assert batch.edge(lambda n: tried.append(n) is None) == batch.MOST
    assert max(tried) == batch.MOST


@pytest.fixture
def quiet(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(batch.Watch, "verdict", lambda self: Verdict("clean"))


def test_the_best_batch_fits_into_the_limit(context_of, quiet) -> None:
    context = context_of(f"{ME}:Small", protocol={"speed_s": 0.2, "memory_limit_mib": 1.0})
    row = batch.probe(context)
    assert set(row) <= {*PROBE_COLUMNS["batch"], "quality", "evidence"}
    largest = row["largest_batch"]
    assert 1 <= row["best_batch"] <= largest
    assert predicted_bytes(context.with_batch(largest), False) <= MIB
    assert predicted_bytes(context.with_batch(largest + largest // 8 + 1), False) > MIB
    assert row["best_throughput_img_s"] > 0
    assert row["stop_reason"] in ("memory", "throughput")


def test_where_not_one_image_fits_there_is_no_batch(context_of) -> None:
    row = batch.probe(context_of(f"{ME}:Small", protocol={"memory_limit_mib": 1e-3}))
    assert (row["best_batch"], row["largest_batch"], row["best_throughput_img_s"]) == (
        None,
        None,
        None,
    )
    assert row["stop_reason"] == "memory"


def test_doubling_stops_where_throughput_has_twice_not_grown(
    context_of, quiet, monkeypatch: pytest.MonkeyPatch
) -> None:
    rates = {1: 10.0, 2: 19.0, 4: 30.0, 8: 30.2, 16: 30.3, 32: 60.0}
    monkeypatch.setattr(batch, "throughput", lambda context: rates[context.cell.setting.batch])
    monkeypatch.setattr(
        batch, "_fits_by_prediction", lambda context: context.cell.setting.batch <= 100
    )
    row = batch.probe(context_of())
    assert (row["best_batch"], row["best_throughput_img_s"], row["stop_reason"]) == (
        4,
        30.0,
        "throughput",
    )
    assert 89 <= row["largest_batch"] <= 100


def test_on_a_busy_machine_there_is_no_best_batch(
    context_of, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(
        batch.Watch, "verdict", lambda self: Verdict("contaminated", "others used 60% of 2 cores")
    )
    monkeypatch.setattr(batch, "wait_until_quiet", lambda watch, patience: 0.0)
    monkeypatch.setattr(batch, "throughput", lambda context: float(context.cell.setting.batch))
    monkeypatch.setattr(
        batch, "_fits_by_prediction", lambda context: context.cell.setting.batch <= 4
    )
    row = batch.probe(context_of())
    assert (row["best_batch"], row["largest_batch"], row["quality"]) == (None, 4, "contaminated")
    assert row["evidence"]
