"""Live bytes, counted storage by storage; foreseen to the byte; and the limit."""

from __future__ import annotations

import gc
import sys
from pathlib import Path

import pytest
import torch
from support.variants import VARIANTS
from torch import nn

from unet_bench import run
from unet_bench.context import MeasurementContext
from unet_bench.measure import memory
from unet_bench.measure.memory import (
    LiveBytes,
    live_peak,
    peak_rss,
    predicted_bytes,
    reset_peak_rss,
    workload,
)
from unet_bench.measure.ready import prepare
from unet_bench.spec.recipe import Recipe

TINY = {"data": ["cells"], "size": "32x32", "width_scale": 0.0625, "batch": 1, "threads": 1}


def test_bytes_are_counted_once_and_given_back() -> None:
    start = torch.zeros(256)
    tracker = LiveBytes()
    tracker.add(start)
    tracker.add(start.view(16, 16))
    assert tracker.live == 1024
    with tracker:
        doubled = start * 2
        assert tracker.live == 2048
        view = doubled[:10]
        del doubled
        assert tracker.live == 2048  # the view keeps the storage
        del view
        gc.collect()
        assert tracker.live == 1024
        start.add_(1)
    assert (tracker.live, tracker.peak) == (1024, 2048)


def test_a_training_step_keeps_what_backward_needs() -> None:
    torch.manual_seed(0)
    x = torch.randn(1000, requires_grad=True)
    tracker = LiveBytes()
    tracker.add(x)
    with tracker:
        loss = (x.exp().sin()).sum()
        assert tracker.live >= 2 * 4000  # x, and exp(x), which both exp and sin need
        loss.backward()
    assert x.grad is not None
    assert tracker.peak >= 3 * 4000


def test_the_second_step_counts_and_what_the_first_left() -> None:
    state: list[torch.Tensor] = []

    def step() -> None:
        if not state:
            torch.zeros(10_000)  # needed once, such as a search for an algorithm
            state.append(torch.zeros(256))
        else:
            torch.zeros(10)

    assert live_peak([torch.zeros(100)], step) == 400 + 1024 + 40


def real_bytes(context: MeasurementContext, training: bool) -> int:
    return live_peak(*workload(context, prepare(context, training=training), training))


@pytest.mark.parametrize("name", VARIANTS)
def test_the_peak_is_foreseen_to_the_byte(context_of, name: str) -> None:
    context = context_of(name)
    for training in (False, True):
        assert predicted_bytes(context, training) == real_bytes(context, training)


@pytest.mark.parametrize(
    "recipe",
    [
        Recipe(optimizer="adam", weight_decay=0.1, clip=0.0),
        Recipe(optimizer="sgd", momentum=0.9, nesterov=True, weight_decay=0.1),
        Recipe(optimizer="sgd", momentum=0.0),
    ],
    ids=["adam", "momentum", "plain"],
)
def test_what_the_optimiser_keeps_is_foreseen_to_the_byte(context_of, recipe: Recipe) -> None:
    # Images so small that weights, their gradients and the update make the peak.
    context = context_of("unet-light-decoder", protocol={"recipe": recipe}, batch=1)
    assert predicted_bytes(context, True) == real_bytes(context, True)


class Hoarder(nn.Module):
    """A network that needs much for a moment, and then keeps a tensor from its first pass on."""

    def __init__(self) -> None:
        super().__init__()
        self.head = nn.Conv2d(1, 3, 1)
        self.grid: torch.Tensor | None = None

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = x + torch.zeros(1000, *x.shape, device=x.device).amax(0)
        if self.training and self.grid is None:
            self.grid = torch.zeros_like(x)
        return self.head(x)


def test_what_a_network_keeps_itself_is_foreseen_to_the_byte(context_of, monkeypatch) -> None:
    context = context_of()
    monkeypatch.setattr("unet_bench.context.build", lambda *_: Hoarder())
    assert predicted_bytes(context, True) == real_bytes(context, True)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unet", "unet-group", "unet-4uiiurz1", "segnet"])
def test_the_order_in_memory_does_not_spoil_what_is_foreseen(context_of, name: str) -> None:
    context = context_of(name, memory_format="channels_last")
    for training in (False, True):
        assert predicted_bytes(context, training) == real_bytes(context, training)


@pytest.mark.slow
@pytest.mark.parametrize("name", ["unet", "unet-instance", "unet-bilinear"])
def test_half_precision_is_foreseen_to_a_hundredth(context_of, name: str) -> None:
    half, whole = context_of(name, precision="bf16"), context_of(name)
    for training in (False, True):
        foreseen = predicted_bytes(half, training)
        assert foreseen == pytest.approx(real_bytes(half, training), rel=0.01)
        assert foreseen != predicted_bytes(whole, training)


def test_a_larger_batch_needs_more_and_training_more_than_inference(context_of) -> None:
    small, large = context_of(batch=1), context_of(batch=4)
    assert (
        predicted_bytes(small, False) < predicted_bytes(large, False) < predicted_bytes(large, True)
    )
    assert predicted_bytes(large, True) < 4 * predicted_bytes(small, True)  # weights come once


@pytest.mark.parametrize(("size", "counted"), [(1, 512), (512, 512), (513, 1024), (0, 0)])
def test_storages_are_rounded_up_as_an_allocator_does(size: int, counted: int) -> None:
    tracker = LiveBytes(memory.GRAIN)
    tensor = torch.zeros(size, dtype=torch.uint8)
    tracker.add(tensor)
    assert tracker.live == counted
    del tensor
    gc.collect()
    assert tracker.live == 0


@pytest.mark.skipif(sys.platform != "linux", reason="the peak can be reset on Linux alone")
def test_the_peak_of_the_process_is_that_since_it_was_reset() -> None:
    before = reset_peak_rss()
    assert before is not None
    torch.ones(2**24)  # 64 MiB, given back at once
    grown = peak_rss() - before
    assert 60 * 2**20 < grown < 100 * 2**20
    again = reset_peak_rss()
    assert again is not None
    assert again < before + 30 * 2**20


@pytest.mark.slow
def test_every_peak_stands_beside_what_was_foreseen(tmp_path: Path) -> None:
    frame = run(
        "unet,segnet", out=tmp_path, probes=["memory"], **{**TINY, "batch": 4, "size": "64x64"}
    )
    assert set(frame["memory_status"]) == {"ok"}
    assert (frame["predicted_memory_mib"] == frame["live_memory_mib"]).all()
    assert (frame["predicted_train_memory_mib"] == frame["train_live_memory_mib"]).all()
    assert (frame["peak_memory_mib"] == frame["live_memory_mib"]).all()
    if sys.platform == "linux":
        assert (frame["train_rss_memory_mib"] > 0).all()
        assert (frame["rss_memory_mib"] >= 0).all()


@pytest.mark.slow
def test_what_is_foreseen_to_be_too_large_is_skipped_with_both_figures(tmp_path: Path) -> None:
    frame = run(
        "unet", out=tmp_path, probes=["speed", "memory", "training"], memory_limit="100K", **TINY
    )
    [row] = frame.to_dict("records")
    assert [row[f"{probe}_status"] for probe in ("speed", "memory", "training")] == ["skipped"] * 3
    assert row["predicted_memory_mib"] > 0.1
    assert row["predicted_train_memory_mib"] > row["predicted_memory_mib"]
    assert "predicted to need" in row["error"]
    assert "the limit of 0.09766 MiB" in row["error"]
