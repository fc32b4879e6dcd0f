"""Trains, chooses weights on validation images, and scores them once on the test images."""

from __future__ import annotations

import json
import math
import traceback
from dataclasses import replace
from typing import Any

from torch import nn

from unet_bench.context import MeasurementContext
from unet_bench.data.dataset import Dataset
from unet_bench.host.device import mixed_precision
from unet_bench.measure.trivial import TrivialBaseline
from unet_bench.train import examples
from unet_bench.train.evaluation import evaluate, whole_input_window
from unet_bench.train.loop import Trained, Training, tensors
from unet_bench.train.metrics import Accumulator, bootstrap_dice
from unet_bench.train.trained import save_network
from unet_bench.train.windows import Images


def probe(context: MeasurementContext) -> dict[str, Any]:
    """Return the scores on test images, and how the training went. Raises NonFinite."""
    dataset = context.dataset()
    splits = tensors(context, dataset)
    as_asked, context = context, mixed(context)
    model = context.network(training=True)
    if isinstance(model, TrivialBaseline):
        model.fit(splits["train"].images, splits["train"].masks)
        context = replaced_protocol(as_asked, whole=True, flips=False)
        return figures_of(context, tested(context, model, splits["test"], dataset), dataset)
    training = Training(context, model, splits)
    try:
        # A size that the network cannot take is found before it is trained.
        if context.cell.protocol.whole:
            for mask in (*splits["val"].masks, *splits["test"].masks):
                whole_input_window(context, tuple(mask.shape))
        training.run()
    finally:
        if context.samples is not None:
            inputs = {"examples": example_inputs(context)} if context.cell.protocol.examples else {}
            context.samples.write_text(
                json.dumps(training.trained.curve() | inputs), encoding="utf-8"
            )
    found = figures_of(context, tested(context, model, splits["test"], dataset), dataset)
    found |= how_it_went(context, training.trained)
    if context.weights is not None:
        save_network(context.weights, context, model, dataset, found)
    training.checkpoint.remove()
    return found


def figures_of(
    context: MeasurementContext, scores: Accumulator, dataset: Dataset
) -> dict[str, Any]:
    """Return the figures of the test images as columns: pooled, per image and per class."""
    low, high = bootstrap_dice(scores.counts, context.rng(), groups_of(dataset))
    return {
        "test_images": len(dataset.test),
        **scores.figures(),
        "dice_ci_low": low,
        "dice_ci_high": high,
        "per_class": scores.per_class(),
    }


def groups_of(dataset: Dataset) -> list[str]:
    """Return which test images belong together, such as the slices of a volume."""
    return [sample.group or sample.name for sample in dataset.test]


def tested(
    context: MeasurementContext, model: nn.Module, test: Images, dataset: Dataset
) -> Accumulator:
    """Return the scores of the test images; keep some predictions to be looked at."""
    numbers = examples.chosen(context.cell.protocol.examples, len(dataset.test))
    predicted: dict[int, Any] = {}

    def keep(number: int, classes: Any) -> None:
        if number in numbers:
            predicted[number] = classes.astype("uint8")

    accumulator, _ = evaluate(context, model, test, final=True, watch=keep)
    if numbers and context.samples is not None:
        try:
            examples.save_inputs(
                context.samples.with_name(example_inputs(context)), dataset, numbers
            )
            examples.save_predicted(context.samples.with_suffix(".npz"), predicted, numbers)
        except OSError:  # the figures of a whole training are worth more than its pictures
            traceback.print_exc()
    return accumulator


def example_inputs(context: MeasurementContext) -> str:
    """Return the file with the images and masks whose predictions are kept.

    All networks of a task share it.
    """
    return f"examples-{context.cell.task.id}-{context.cell.protocol.examples}.npz"


def how_it_went(context: MeasurementContext, trained: Trained) -> dict[str, Any]:
    """Time, steps, losses, and the weights that were chosen."""
    chosen = trained.chosen
    return {
        "train_s": trained.seconds,
        "train_steps": trained.steps,
        "train_images": trained.steps * context.cell.setting.batch,
        "train_precision": context.cell.setting.precision,
        "train_memory_format": context.cell.setting.memory_format,
        "best_step": chosen.step if chosen else None,
        "val_dice": chosen.val_dice if chosen else math.nan,
        "val_iou_all_classes": chosen.val_iou_all_classes if chosen else math.nan,
        "first_loss": trained.losses[0],
        "final_loss": trained.losses[-1],
        "data_s": trained.data_seconds,
        "data_share": trained.data_seconds / trained.seconds,
        "resumed_step": trained.resumed_step,
    }


def mixed(context: MeasurementContext) -> MeasurementContext:
    """Return the context in mixed precision and channels last, where recipe and device allow it.

    The recipe must want mixed precision and the device must have it. A setting that states a half
    precision itself is trained as stated.
    """
    setting = context.cell.setting
    if (
        not context.cell.protocol.recipe.amp
        or context.device.type not in ("cuda", "xpu")
        or setting.precision != "fp32"
    ):
        return context
    # Tensor cores want half precision's channels last: otherwise each convolution reorders its
    # input.
    faster = replace(
        setting, precision=mixed_precision(context.device), memory_format="channels_last"
    )
    return replace(context, cell=replace(context.cell, setting=faster))


def replaced_protocol(context: MeasurementContext, **changes: Any) -> MeasurementContext:
    """Return the context under a protocol with some fields changed."""
    return replace(
        context, cell=replace(context.cell, protocol=replace(context.cell.protocol, **changes))
    )
