"""Scoring a split: every pixel once, whatever sizes a network takes and returns."""

from __future__ import annotations

import contextlib
import functools
import itertools
import math
from collections.abc import Callable
from typing import Any

import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from unet_bench.context import MeasurementContext
from unet_bench.data.dataset import IGNORE
from unet_bench.errors import NonFinite
from unet_bench.geometry.shapes import InputWindow
from unet_bench.geometry.sizes import find_input_window
from unet_bench.host.device import without_algorithm_search
from unet_bench.networks.contracts import main_output
from unet_bench.train.metrics import Accumulator
from unet_bench.train.tiles import predict
from unet_bench.train.windows import Images, scored


@torch.no_grad()
def evaluate(
    context: MeasurementContext,
    model: nn.Module,
    data: Images,
    *,
    final: bool = False,
    watch: Callable[[int, NDArray[Any]], None] | None = None,
) -> tuple[Accumulator, float]:
    """Score every pixel of a split; return the scores and the mean cross-entropy.

    `final`: as the protocol has it, with overlap, flips and outlines; otherwise the quick way, in
    abutting tiles. `watch` is told the number of each image and its predicted classes `(*S)`.
    Raises NonFinite, and for images predicted whole whatever `find_input_window` raises.
    """
    cell, protocol = context.cell, context.cell.protocol
    model.eval()
    accumulator = Accumulator(cell.task.classes, outlines=final)
    entropy, pixels = 0.0, 0
    searching = without_algorithm_search() if protocol.whole else contextlib.nullcontext()
    with searching:
        for numbers in alike(data, cell.setting.batch):
            masks = torch.stack([data.masks[number] for number in numbers]).to(context.device)
            size, input_window = cell.task.scored, cell.input_window
            if protocol.whole:
                size = tuple(masks.shape[1:])
                input_window = whole_input_window(context, size)
            probability = predict(
                functools.partial(
                    probabilities, context, model, input_window=input_window, size=size
                ),
                torch.stack([data.images[number] for number in numbers]).to(context.device),
                input_window,
                size,
                overlap=protocol.overlap if final else 0.0,
                flips=protocol.flips and final,
                batch=cell.setting.batch,
            )
            valid = masks != IGNORE
            truth = probability.gather(1, masks.long().where(valid, 0)[:, None])[:, 0]
            summed = -(truth.clamp_min(1e-8).log() * valid).sum() + 0 * probability.sum()
            # One wait for both.
            found, scored_pixels = torch.stack([summed, valid.sum().to(summed.dtype)]).tolist()
            if not math.isfinite(found):
                raise NonFinite("the network's scores on validation or test images are not finite")
            entropy, pixels = entropy + found, pixels + int(scored_pixels)
            classes = probability.argmax(1).cpu().numpy()
            for number, predicted in zip(numbers, classes, strict=True):
                truth_mask = data.masks[number].cpu().numpy()
                accumulator.add(predicted, truth_mask, data.spacing_of(number))
                if watch is not None:
                    watch(number, predicted)
    return accumulator, entropy / pixels if pixels else math.nan


def alike(data: Images, most: int) -> list[list[int]]:
    """Return the numbers of the images in order, in groups of neighbours of one size.

    A group has at most so many.
    """
    runs = itertools.groupby(range(len(data.masks)), key=lambda number: data.masks[number].shape)
    together = [list(run) for _, run in runs]
    return [run[begin : begin + most] for run in together for begin in range(0, len(run), most)]


@functools.lru_cache(maxsize=256)
def whole_input_window(context: MeasurementContext, size: tuple[int, ...]) -> InputWindow:
    """Return the input window in which the cell's network sees images of `size` (`*S`) whole.

    Raises as `find_input_window`.
    """
    task = context.cell.task
    return find_input_window(context.blueprint(), task.in_channels, len(task.classes), size)[0]


def probabilities(
    context: MeasurementContext,
    model: nn.Module,
    images: Tensor,
    *,
    input_window: InputWindow,
    size: tuple[int, ...],
) -> Tensor:
    """Return class probabilities `(N classes *size)` of the scored pixels.

    The inputs are `(N C *window.input)`.
    """
    images = images.to(memory_format=context.memory_format)
    with context.precision():
        return scored(main_output(model(images)), input_window, size).float().softmax(1)
