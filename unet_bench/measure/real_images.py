"""Batches cut from a task's own images, for what random numbers cannot show."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Literal

import numpy as np
import torch
from torch import Tensor

from unet_bench.context import MeasurementContext
from unet_bench.train.normalise import normalisation, standardised
from unet_bench.train.windows import cut


def batches(
    context: MeasurementContext, split: Literal["train", "test"], images: int
) -> Iterator[Tensor]:
    """Yield batches `(N C *S)` of the cell's size, normalised, of `images` in all at least.

    Images of the split, and where in them a batch lies, are drawn by the cell's seed. They are
    random numbers where the task has no data.
    """
    cell, rng = context.cell, context.rng()
    size, count = cell.setting.batch, -(-images // cell.setting.batch)
    if context.data is None:
        shape = (size, cell.task.in_channels, *cell.input_window.input)
        yield from (torch.from_numpy(rng.standard_normal(shape, np.float32)) for _ in range(count))
        return
    dataset = context.dataset()
    mean, std = normalisation(dataset)
    samples = dataset.splits[split]
    order = rng.permutation(len(samples))
    for first in range(0, count * size, size):
        inputs = []
        for number in range(first, first + size):
            sample = samples[order[number % len(order)]]
            image = torch.from_numpy(standardised(sample.image, mean, std))
            room = np.subtract(image.shape[1:], cell.task.scored)
            corner = tuple(int(rng.integers(most + 1)) for most in room)
            inputs.append(cut(image, corner, cell.input_window))
        yield torch.stack(inputs)
