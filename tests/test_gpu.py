"""What needs a CUDA device. Run by `nox -s gpu`; skipped elsewhere."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch

from unet_bench import run

pytestmark = [pytest.mark.gpu, pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device here")]
TINY = {"preset": "quick", "device": "cuda", "data": ["brain"], "steps": 20, "size": "64x64"}


@pytest.mark.parametrize("precision", ["fp32", "tf32", "fp16", "bf16"])
def test_every_probe_in_every_precision(tmp_path: Path, precision: str) -> None:
    frame = run("unet,unet-paper", out=tmp_path, precision=precision, **TINY)
    assert (frame[["cost_status", "speed_status", "memory_status", "accuracy_status"]] == "ok").all().all()
    assert (frame["peak_memory_mib"] > 0).all()


def test_the_baseline_against_itself_is_one(tmp_path: Path) -> None:
    frame = run("unet", out=tmp_path, probes=["speed"], speed_s=5.0, **TINY)
    assert abs(frame.loc[0, "latency_ratio"] - 1) < 0.02


def test_channels_last_gives_the_same_figures_of_cost(tmp_path: Path) -> None:
    frame = run("unet", out=tmp_path, probes=["cost", "speed"], memory_format="channels_last", **TINY)
    assert frame.loc[0, "speed_status"] == "ok"
