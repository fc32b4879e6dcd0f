"""Small data sets, in memory and as files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image

from unet_bench.data.dataset import IGNORE, Dataset, Sample


def dataset(**changes: Any) -> Dataset:
    """Return six, two and five images of class a with a square of b and one of c."""
    numbers = {"train": range(6), "val": range(6, 8), "test": range(8, 13)}
    samples = {split: tuple(sample(f"{split}{n}", n) for n in of) for split, of in numbers.items()}
    return Dataset("t", ("a", "b", "c"), 1, **{**samples, **changes})


def sample(name: str, seed: int) -> Sample:
    """Return a grey square and a brighter one on noise; the rightmost column is ignored."""
    rng = np.random.default_rng(seed)
    mask = np.zeros((40, 48), np.uint8)
    row, column = rng.integers(2, 12, 2)
    mask[row : row + 12, column : column + 12] = 1
    mask[row + 12 : row + 26, column + 16 : column + 32] = 2
    image = 60 + 40 * rng.random(mask.shape) + 70.0 * mask
    mask[:, -1] = IGNORE
    return Sample(name, image.astype(np.uint8)[..., None], mask)


def image_folder(path: Path, masks: int = 8) -> Path:
    """Write eight grey images, the first few with a mask of 0 and 255; return the folder."""
    rng = np.random.default_rng(0)
    for name in ("images", "masks"):
        (path / name).mkdir(parents=True)
    for number in range(8):
        image = rng.integers(0, 255, (40, 40), dtype=np.uint8)
        Image.fromarray(image).save(path / "images" / f"{number}.png")
        if number < masks:
            mask = (image > 127).astype(np.uint8) * 255
            Image.fromarray(mask).save(path / "masks" / f"{number}.png")
    return path
