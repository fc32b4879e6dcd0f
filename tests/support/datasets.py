"""Small data sets."""

from __future__ import annotations

from typing import Any

import numpy as np

from unet_bench.data.dataset import IGNORE, Dataset, Sample


def sample(name: str, seed: int) -> Sample:
    """A bright square and a grey one on noise; a rim is ignored."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((40, 48), np.uint8)
    row, column = rng.integers(2, 12, 2)
    mask[row : row + 12, column : column + 12] = 1
    mask[row + 12 : row + 26, column + 16 : column + 32] = 2
    image = 60 + 40 * rng.random(mask.shape) + 70.0 * mask
    mask[:, -1] = IGNORE
    return Sample(name, image.astype(np.uint8)[..., None], mask)


def dataset(**changes: Any) -> Dataset:
    splits = {"train": range(6), "val": range(6, 8), "test": range(8, 13)}
    made = {
        split: tuple(sample(f"{split}{n}", n) for n in numbers) for split, numbers in splits.items()
    }
    return Dataset("t", ("a", "b", "c"), 1, **{**made, **changes})
