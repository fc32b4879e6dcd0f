"""Live bytes, counted storage by storage."""

from __future__ import annotations

import gc

import torch

from unet_bench.measure.memory import LiveBytes


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
