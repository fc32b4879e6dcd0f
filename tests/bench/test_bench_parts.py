"""pytest-benchmark on parts: the ways up, down and together, side by side. Read the ratios, not the
times.
"""

from __future__ import annotations

import pytest
import torch


@pytest.fixture(autouse=True)
def calm():
    threads = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(threads)


@pytest.mark.benchmark(group="up: 64 to 32 channels, 32² to 64²")
@pytest.mark.parametrize(
    "name", ["transpose", "transpose-4x4", "nearest-conv", "bilinear-conv", "bilinear", "nearest"]
)
def test_up(bench_part, name: str) -> None:
    assert bench_part("up", name).shape[2:] == (64, 64)


@pytest.mark.benchmark(group="block: 32 to 64 channels, 64²")
@pytest.mark.parametrize("name", ["double-conv", "residual", "separable"])
def test_block(bench_part, name: str) -> None:
    output = bench_part("encoder_block", name, in_channels=32, out_channels=64, size=(64, 64))
    assert output.shape == (1, 64, 64, 64)


@pytest.mark.benchmark(group="align: a skip of 72² to a map of 64²")
@pytest.mark.parametrize("name", ["crop", "crop-center", "pad", "resize"])
def test_align(bench_part, name: str) -> None:
    skip, up = bench_part("align", name, in_channels=32, size=(64, 64), margin=4)
    assert skip.shape == up.shape
