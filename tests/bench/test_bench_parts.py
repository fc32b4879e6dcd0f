"""pytest-benchmark on parts: the ways up, down and together, side by side. Read the ratios, not the times."""

from __future__ import annotations

import pytest
import torch

from unet_bench.interfaces import Place, stated_channels
from unet_bench.registry import Registry

UPS = ["transpose", "transpose-4x4", "nearest-conv", "bilinear-conv", "bilinear", "nearest"]
BLOCKS = ["double-conv", "residual", "separable"]
ALIGNS = ["crop", "crop-center", "pad", "resize"]


@pytest.fixture(autouse=True)
def calm():
    torch.set_num_threads(1)
    torch.manual_seed(0)
    with torch.inference_mode():
        yield


@pytest.mark.benchmark(group="up: 64 to 32 channels, 32² to 64²")
@pytest.mark.parametrize("name", UPS)
def test_up(benchmark, registry: Registry, name: str) -> None:
    place = Place(in_channels=64, out_channels=32, role="decoder")
    part, x = registry.find("up", name).load()(place).eval(), torch.randn(1, 64, 32, 32)
    assert benchmark(part, x).shape == (1, stated_channels(part, place), 64, 64)


@pytest.mark.benchmark(group="block: 32 to 64 channels, 64²")
@pytest.mark.parametrize("name", BLOCKS)
def test_block(benchmark, registry: Registry, name: str) -> None:
    part = registry.find("encoder_block", name).load()(Place(in_channels=32, out_channels=64)).eval()
    assert benchmark(part, torch.randn(1, 32, 64, 64)).shape == (1, 64, 64, 64)


@pytest.mark.benchmark(group="align: a skip of 72² to a map of 64²")
@pytest.mark.parametrize("name", ALIGNS)
def test_align(benchmark, registry: Registry, name: str) -> None:
    part = registry.find("align", name).load()(Place(in_channels=32, out_channels=32, margin=4))
    skip, up = benchmark(part, torch.randn(1, 32, 72, 72), torch.randn(1, 32, 64, 64))
    assert skip.shape == up.shape
