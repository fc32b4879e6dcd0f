"""Cutting a network's input out of an image so that chosen pixels are scored, with mirrored context beyond borders."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor

from unet_bench.cells import Frame
from unet_bench.data.dataset import IGNORE, Dataset, Sample, tiles


@dataclass(frozen=True)
class Images:
    """A split as tensors: images `(C H W)` float, normalised; masks `(H W)` int64."""

    images: list[Tensor]
    masks: list[Tensor]

    @classmethod
    def of(cls, samples: Sequence[Sample], mean: np.ndarray, std: np.ndarray) -> Images:
        """Normalise by the training set's mean and standard deviation per channel."""
        images = [torch.from_numpy(((s.image - mean) / std).astype(np.float32).transpose(2, 0, 1)) for s in samples]
        return cls(images, [torch.from_numpy(s.mask.astype(np.int64)) for s in samples])


def normalisation(dataset: Dataset) -> tuple[np.ndarray, np.ndarray]:
    """Mean and standard deviation `(C,)` over the training images alone."""
    pixels = np.concatenate([s.image.reshape(-1, s.image.shape[-1]).astype(np.float64) for s in dataset.train])
    return pixels.mean(0), np.maximum(pixels.std(0), 1e-6)


def mirrored(start: int, length: int, size: int) -> Tensor:
    """Indices `start … start + length` into an axis of `size`, reflected at its ends without repeating the border."""
    index = torch.arange(start, start + length)
    if size == 1:
        return torch.zeros_like(index)
    period = 2 * (size - 1)
    index = index.remainder(period)
    return torch.where(index < size, index, period - index)


def cut(image: Tensor, row: int, column: int, frame: Frame) -> Tensor:
    """The input `(C H W)` that scores the pixels beginning at (row, column)."""
    rows = mirrored(row - frame.context[0], frame.input[0], image.shape[1])
    columns = mirrored(column - frame.context[1], frame.input[1], image.shape[2])
    return image[:, rows][:, :, columns]


def scored(logits: Tensor, frame: Frame, size: tuple[int, int]) -> Tensor:
    """The scored pixels `(N classes h w)` of an output."""
    (top, left), (height, width) = frame.start, size
    return logits[..., top : top + height, left : left + width]


def training_batches(
    data: Images, size: tuple[int, int], frame: Frame, batch: int, rng: np.random.Generator
) -> Iterator[tuple[Tensor, Tensor]]:
    """Endless `(N C H W)`, `(N h w)`: random windows of shuffled images, flipped.

    The random numbers do not depend on the frame, so every variant of a seed sees the same pixels scored.
    """
    order: list[int] = []
    while True:
        images, masks = [], []
        for _ in range(batch):
            order = order or rng.permutation(len(data.images)).tolist()
            index = order.pop()
            image, mask = data.images[index], data.masks[index]
            row = int(rng.integers(mask.shape[0] - size[0] + 1))
            column = int(rng.integers(mask.shape[1] - size[1] + 1))
            turned = [axis for axis, turn in zip((-2, -1), rng.random(2) < 0.5, strict=True) if turn]
            # The whole image is flipped, not the window: the context around it need not be symmetric.
            images.append(cut(image.flip(turned), row, column, frame))
            masks.append(mask.flip(turned)[row : row + size[0], column : column + size[1]])
        yield torch.stack(images), torch.stack(masks)


def scoring_batches(
    data: Images, size: tuple[int, int], frame: Frame, batch: int
) -> Iterator[tuple[Tensor, Tensor, list[int]]]:
    """Inputs `(N C H W)`, targets `(N h w)` and image numbers, so that every pixel is scored exactly once."""
    pending: list[tuple[Tensor, Tensor, int]] = []
    for number, (image, mask) in enumerate(zip(data.images, data.masks, strict=True)):
        for tile in tiles(mask.shape[0], mask.shape[1], size):
            target = torch.full(size, IGNORE)
            target[tile.inner] = mask[tile.owned]
            rows, columns = tile.window
            pending.append((cut(image, rows.start, columns.start, frame), target, number))
            if len(pending) == batch:
                yield _stacked(pending)
                pending = []
    if pending:
        yield _stacked(pending)


def _stacked(items: list[tuple[Tensor, Tensor, int]]) -> tuple[Tensor, Tensor, list[int]]:
    images, targets, numbers = zip(*items, strict=True)
    return torch.stack(images), torch.stack(targets), list(numbers)
