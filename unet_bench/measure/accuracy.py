"""Trains, chooses weights on validation images, and scores them once on the test images."""

from __future__ import annotations

import json
import math
import traceback
from dataclasses import replace
from typing import Any

from torch import nn

from unet_bench.context import Bench
from unet_bench.data.dataset import Dataset
from unet_bench.host.device import mixed_precision
from unet_bench.measure.floors import Floor
from unet_bench.train import examples
from unet_bench.train.evaluation import evaluate, whole_frame
from unet_bench.train.loop import Trained, Training, tensors
from unet_bench.train.metrics import bootstrap_dice
from unet_bench.train.trained import save_network
from unet_bench.train.windows import Images


def probe(bench: Bench) -> dict[str, Any]:
    """The scores on test images, and how the training went. Raises NonFinite."""
    dataset = bench.dataset()
    splits = tensors(bench, dataset)
    as_asked, bench = bench, mixed(bench)
    model = bench.network(training=True)
    if isinstance(model, Floor):
        model.fit(splits["train"].images, splits["train"].masks)
        return scored_on_test(replaced_protocol(as_asked, whole=True, flips=False), model, splits["test"], dataset)
    training = Training(bench, model, splits)
    try:
        if bench.cell.protocol.whole:  # a size that the network cannot take is found before it is trained
            for mask in (*splits["val"].masks, *splits["test"].masks):
                whole_frame(bench, tuple(mask.shape))
        training.run()
    finally:
        if bench.samples is not None:
            inputs = {"examples": example_inputs(bench)} if bench.cell.protocol.examples else {}
            bench.samples.write_text(json.dumps(training.trained.curve() | inputs), encoding="utf-8")
    found = scored_on_test(bench, model, splits["test"], dataset) | how_it_went(bench, training.trained)
    if bench.weights is not None:
        save_network(bench.weights, bench, model, dataset, found)
    training.checkpoint.remove()
    return found


def scored_on_test(bench: Bench, model: nn.Module, test: Images, dataset: Dataset) -> dict[str, Any]:
    """The figures of the test images, pooled, per image and per class; some predictions are left to be looked at."""
    numbers = examples.chosen(bench.cell.protocol.examples, len(dataset.test))
    predicted: dict[int, Any] = {}

    def keep(number: int, classes: Any) -> None:
        if number in numbers:
            predicted[number] = classes.astype("uint8")

    tally, _ = evaluate(bench, model, test, final=True, watch=keep)
    if numbers and bench.samples is not None:
        try:
            examples.save_inputs(bench.samples.with_name(example_inputs(bench)), dataset, numbers)
            examples.save_predicted(bench.samples.with_suffix(".npz"), predicted, numbers)
        except OSError:  # the figures of a whole training are worth more than its pictures
            traceback.print_exc()
    low, high = bootstrap_dice(tally.counts, bench.rng())
    return {**tally.figures(), "dice_ci_low": low, "dice_ci_high": high, "per_class": tally.per_class()}


def example_inputs(bench: Bench) -> str:
    """The file that holds the images and masks whose predictions are kept: one for all networks of a task."""
    return f"examples-{bench.cell.task.id}-{bench.cell.protocol.examples}.npz"


def how_it_went(bench: Bench, trained: Trained) -> dict[str, Any]:
    """Time, steps, losses, and the weights that were chosen."""
    chosen = trained.chosen
    return {
        "train_s": trained.seconds,
        "train_steps": trained.steps,
        "train_images": trained.steps * bench.cell.setting.batch,
        "train_precision": bench.cell.setting.precision,
        "train_memory_format": bench.cell.setting.memory_format,
        "best_step": chosen.step if chosen else None,
        "val_dice": chosen.val_dice if chosen else math.nan,
        "val_iou_all_classes": chosen.val_iou_all_classes if chosen else math.nan,
        "first_loss": trained.losses[0],
        "final_loss": trained.losses[-1],
        "data_s": trained.data_seconds,
        "data_share": trained.data_seconds / trained.seconds,
        "resumed_step": trained.resumed_step,
    }


def mixed(bench: Bench) -> Bench:
    """The same in mixed precision and channels last, where the recipe wants mixed precision and the device has it.

    Not where the setting states a half precision itself: then it is trained as stated.
    """
    setting = bench.cell.setting
    if not bench.cell.protocol.recipe.amp or bench.device.type not in ("cuda", "xpu") or setting.precision != "fp32":
        return bench
    # Tensor cores want half precision's channels last: otherwise each convolution reorders its input.
    faster = replace(setting, precision=mixed_precision(bench.device), memory_format="channels_last")
    return replace(bench, cell=replace(bench.cell, setting=faster))


def replaced_protocol(bench: Bench, **changes: Any) -> Bench:
    """The same under a protocol with some fields changed."""
    return replace(bench, cell=replace(bench.cell, protocol=replace(bench.cell.protocol, **changes)))
