"""What needs a CUDA device. Run by `nox -s gpu`; skipped elsewhere."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import torch

from unet_bench import read_results, run

if TYPE_CHECKING:
    from unet_bench.context import MeasurementContext

pytestmark = [
    pytest.mark.gpu,
    pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here"),
]
TINY = {
    "preset": "quick",
    "device": "cuda",
    "data": ["brain"],
    "steps": 20,
    "size": "64x64",
    "floors": False,
}


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16"])
def test_every_probe_in_every_precision(tmp_path: Path, precision: str) -> None:
    frame = run("unet,unet-paper", out=tmp_path, precision=precision, **TINY)
    assert (
        (frame[["cost_status", "speed_status", "memory_status", "accuracy_status"]] == "ok")
        .all()
        .all()
    )
    assert (frame["peak_memory_mib"] > 0).all()


def test_the_baseline_against_itself_is_one(tmp_path: Path) -> None:
    frame = run("unet", out=tmp_path, probes=["speed"], speed_s=5.0, **TINY)
    assert abs(frame.loc[0, "latency_ratio"] - 1) < 0.02


def test_channels_last_gives_the_same_figures_of_cost(tmp_path: Path) -> None:
    frame = run(
        "unet", out=tmp_path, probes=["cost", "speed"], memory_format="channels_last", **TINY
    )
    assert frame.loc[0, "speed_status"] == "ok"


@pytest.mark.parametrize("runtime", ["compile", "cudagraphs"])
@pytest.mark.parametrize("batch_norm", ["kept", "folded"])
def test_every_way_of_running(tmp_path: Path, runtime: str, batch_norm: str) -> None:
    options = {
        "runtime": runtime,
        "batch_norm": batch_norm,
        "probes": ["speed", "memory"],
        "speed_s": 2.0,
    }
    frame = run("unet", out=tmp_path, **{**TINY, **options})
    assert (frame[["speed_status", "memory_status"]] == "ok").all().all()
    assert (frame["compile_s"] > 0).all()


def test_training_and_batch(tmp_path: Path) -> None:
    frame = run("unet,unet-add", out=tmp_path, probes=["training", "batch"], speed_s=3.0, **TINY)
    assert (frame[["training_status", "batch_status"]] == "ok").all().all()
    assert (frame["largest_batch"] >= frame["best_batch"]).all()


def test_predicted_memory_is_the_allocators_peak_but_for_workspaces(tmp_path: Path) -> None:
    """Within a tenth and 64 MiB, at a size where maps and not workspaces decide."""
    options = {
        **TINY,
        "size": "256x256",
        "batch": 8,
        "width_scale": 1.0,
        "probes": ["memory"],
        "limit_tmac": 0,
    }
    row = run("unet", out=tmp_path, **options).iloc[0]
    for prefix in ("", "train_"):
        measured, predicted = row[f"{prefix}peak_memory_mib"], row[f"predicted_{prefix}memory_mib"]
        assert abs(measured - predicted) <= 0.1 * measured + 64


def test_the_hosts_clock_agrees_with_the_devices_events() -> None:
    from unet_bench import build_model
    from unet_bench.host.device import indexed, synchroniser
    from unet_bench.measure.clock import GPU_BLOCK_S, time_pair

    device = indexed("cuda")
    model, images = (
        build_model("unet").eval().to(device),
        torch.randn(4, 3, 256, 256, device=device),
    )
    with torch.inference_mode():
        timing = time_pair(
            lambda: model(images),
            None,
            budget_s=2,
            interval=0.01,
            sync=synchroniser(device),
            block_s=GPU_BLOCK_S,
            singly=False,
        )
        start, end = (torch.cuda.Event(enable_timing=True) for _ in range(2))
        start.record()
        for _ in range(50):
            model(images)
        end.record()
        torch.cuda.synchronize()
    assert abs(timing.median()[0] / (start.elapsed_time(end) / 1e3 / 50) - 1) < 0.02


def test_training_mixes_precisions_and_repeats_itself_with_deterministic_algorithms(
    tmp_path: Path,
) -> None:
    options = {**TINY, "probes": ["accuracy"], "algorithms": "deterministic", "keep_weights": True}
    first, second = (run("unet", out=tmp_path / name, **options) for name in "ab")
    cells = [read_results(frame.attrs["path"], "cells").iloc[0] for frame in (first, second)]
    assert {cell["train_precision"] for cell in cells} <= {"bf16", "fp16"}
    kept = [
        next(Path(frame.attrs["path"]).glob("weights/*.safetensors")).read_bytes()
        for frame in (first, second)
    ]
    assert kept[0] == kept[1]


@pytest.mark.parametrize("recipe", ["paper", "nnunet"])
def test_augmentation_runs_on_the_device(tmp_path: Path, recipe: str) -> None:
    frame = run("unet,unet-paper", out=tmp_path, recipe=recipe, **{**TINY, "probes": ["accuracy"]})
    assert (frame["accuracy_status"] == "ok").all()


def test_images_that_do_not_fit_on_the_device_are_made_by_workers(
    tmp_path: Path, context_of: Callable[..., MeasurementContext], monkeypatch: pytest.MonkeyPatch
) -> None:
    """The very same batches, and so the same weights."""
    from unet_bench.data import brain
    from unet_bench.measure import accuracy
    from unet_bench.train import loop

    context = context_of("unet", protocol={"steps": 8}, device="cuda", algorithms="deterministic")
    task = replace(context.cell.task, classes=brain.CLASSES)
    brain.load().save(tmp_path / "data.npz")
    context = replace(
        context, cell=replace(context.cell, task=task, probe="accuracy"), data=tmp_path / "data.npz"
    )
    resident = accuracy.probe(context)
    monkeypatch.setattr(loop, "fits", lambda *_: False)
    assert accuracy.probe(context)["final_loss"] == pytest.approx(resident["final_loss"], rel=1e-3)
