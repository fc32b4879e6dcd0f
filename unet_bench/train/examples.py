"""A few test images beside what a network makes of them: small pictures, for people to look at."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from unet_bench.data.dataset import Dataset
from unet_bench.host.files import atomic_write

MOST_SIDE: Final = 256
"""Pixels of a picture's side; larger images are thinned out."""
GREY: Final = (1.0, 99.0)
"""Percentiles of an image that become black and white."""

Array = NDArray[Any]


def chosen(wanted: int, count: int) -> list[int]:
    """Return the numbers of at most so many of `count` images.

    They are spread evenly from the first to the last.
    """
    wanted = min(wanted, count)
    return [round(i * (count - 1) / max(wanted - 1, 1)) for i in range(wanted)]


def picture(image: Array) -> Array:
    """Return an image `(*S C)` as uint8, `(H W)` or `(H W 3)`.

    If there are not three channels, the first is taken.
    """
    small: Array = thinned(image, channels=1).astype(np.float32)
    if small.shape[-1] != 3:
        small = small[..., 0]
    low, high = np.percentile(small, GREY)
    shade: Array = 255 * np.clip((small - low) / max(high - low, 1e-6), 0, 1)
    return shade.astype(np.uint8)


def thinned(array: Array, channels: int = 0) -> Array:
    """Return every n-th pixel of `(*S)`, or `(*S C)`; of a volume its middle slice.

    C is one axis of channels.
    """
    if array.ndim - channels == 3:
        array = array[len(array) // 2]
    step = -(-max(array.shape[:2]) // MOST_SIDE)
    return array[::step, ::step]


def save_inputs(file: Path, dataset: Dataset, numbers: list[int]) -> None:
    """Write images and truth of these test images as `image0`, `truth0`, …

    Nothing is written where another process has done so.
    """
    if file.exists():
        return
    test = [dataset.test[number] for number in numbers]
    images = {f"image{i}": picture(sample.image) for i, sample in enumerate(test)}
    _save(file, images | {f"truth{i}": thinned(sample.mask) for i, sample in enumerate(test)})


def save_predicted(file: Path, predicted: Mapping[int, Array], numbers: list[int]) -> None:
    """Write the predicted classes `(*S)` of these test images as `predicted0`, …

    They are made as small as the images.
    """
    _save(file, {f"predicted{i}": thinned(predicted[number]) for i, number in enumerate(numbers)})


def _save(file: Path, arrays: Mapping[str, Array]) -> None:
    with atomic_write(file) as draft, draft.open("wb") as stream:
        np.savez_compressed(stream, allow_pickle=False, **arrays)
