"""Plans: which cells a suite comes to, in which order, and at odd sizes."""

from __future__ import annotations

from collections import Counter
from pathlib import Path
from typing import Any

import pytest
import torch

from unet_bench import pipeline, run
from unet_bench.interfaces import main_output
from unet_bench.plan import Planned
from unet_bench.suite import from_dict
from unet_bench.train.windows import scored

TINY = {"data": ["cells"], "size": "32x32", "width_scale": 0.0625, "batch": 1, "threads": 1}
THREE = ["unet", "unet-add", "segnet"]


def planned(**options: Any) -> list[Planned]:
    with pipeline.plan(from_dict({**TINY, **options})) as made:
        return made.planned


def test_every_combination_of_axes_is_a_cell_and_cost_is_counted_once() -> None:
    cells = planned(
        variants=["unet"],
        probes=["cost", "speed", "memory", "accuracy"],
        precision=["fp32", "bf16"],
        batch=[2, 1],
        memory_format=["contiguous", "channels_last"],
        seeds=[3, 4],
    )
    counted = Counter(p.cell.probe for p in cells)
    assert counted == {"cost": 1, "speed": 8, "memory": 8, "accuracy": 4}
    assert len({p.cell.id for p in cells}) == len(cells)
    first = {(p.cell.setting.precision, p.cell.setting.batch) for p in cells if p.cell.probe in ("cost", "accuracy")}
    assert first == {("fp32", 2)}
    assert len({p.cell.setting for p in cells}) == 8


def test_axes_are_rows_of_their_own(tmp_path: Path) -> None:
    options = {**TINY, "probes": ["cost", "memory"], "precision": ["fp32", "bf16"], "batch": [1, 2]}
    frame = run("unet", out=tmp_path, **options)
    rows = frame.set_index(["precision", "batch_requested"])
    assert set(rows.index) == {("fp32", 1), ("fp32", 2), ("bf16", 1), ("bf16", 2)}
    assert rows["params"].notna().sum() == 1
    assert rows["params"].notna()[("fp32", 1)]
    assert set(rows["memory_status"]) == {"ok"}
    peaks = rows["peak_memory_mib"]
    assert peaks[("bf16", 2)] < peaks[("fp32", 2)]
    assert peaks[("fp32", 1)] < peaks[("fp32", 2)]


def test_replicates_are_shuffled_and_lie_apart() -> None:
    options = {"variants": [*THREE, "unet-valid"], "probes": ["speed"], "replicates": 4}
    cells = [p.cell for p in planned(**options)]
    assert [cell.replicate for cell in cells] == [r for r in range(4) for _ in range(4)]
    orders = {tuple(cell.variant.name for cell in cells[at : at + 4]) for at in range(0, 16, 4)}
    assert len(orders) >= 3
    assert {tuple(sorted(order)) for order in orders} == {tuple(sorted([*THREE, "unet-valid"]))}
    assert [cell.id for cell in cells] == [p.cell.id for p in planned(**options)]
    assert len({cell.id for cell in cells}) == 16


def test_replicates_are_of_timings_and_seeds_of_accuracies() -> None:
    probes = ["cost", "speed", "memory", "training", "accuracy"]
    counted = Counter(p.cell.probe for p in planned(variants=["unet"], probes=probes, replicates=3, seeds=[0, 1]))
    assert counted == {"cost": 1, "speed": 3, "memory": 1, "training": 3, "accuracy": 4}


@pytest.mark.parametrize(
    ("options", "probe", "words"),
    [
        ({"memory_limit": "1M", "batch": 8}, "training", ["MiB, beyond the limit of 1 MiB", "--memory-limit"]),
        ({"limit_tmac": 1e-9}, "speed", ["tera-MACs", "beyond the limit of 1e-09", "--limit 0"]),
    ],
)
def test_what_is_beyond_a_limit_is_skipped_with_both_figures(options: dict, probe: str, words: list[str]) -> None:
    cost, timed = planned(variants=["unet"], probes=["cost", probe], **options)
    assert (cost.status, timed.status) == ("", "skipped")
    assert all(word in timed.reason for word in words), timed.reason


@pytest.mark.parametrize("axis", [{"precision": ["tf32", "fp32"]}, {"mode": ["cudagraphs", "eager"]}])
def test_what_is_measured_once_is_measured_at_a_setting_that_runs(axis: dict) -> None:
    cells = planned(variants=["unet"], probes=["cost", "speed"], device="cpu", **axis)
    assert [(p.cell.probe, p.status) for p in cells] == [("cost", ""), ("speed", "unsupported"), ("speed", "")]


ODD = ["unet", "unet-paper", "unet-strided", "unet-bilinear", "unet-nested", "unet-zju"]


@pytest.mark.parametrize("name", [*ODD, "resnet34-unet", "mobilenetv3-unet"])
def test_odd_sizes_are_run(bench_of, name: str) -> None:
    bench = bench_of(name, size=(33, 47), batch=1)
    with torch.inference_mode():
        output = main_output(bench.network()(bench.images()))
    assert tuple(output.shape[2:]) == bench.cell.frame.output
    assert tuple(scored(output, bench.cell.frame, (33, 47)).shape[2:]) == (33, 47)


def test_odd_sizes_that_a_network_cannot_take_are_refused_with_a_reason() -> None:
    *_, segnet = planned(variants=["unet", "segnet"], probes=["cost"], size="33x47")
    assert segnet.status == "unsupported"
    assert "0.969697" in segnet.reason
