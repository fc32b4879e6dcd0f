"""One training: a budget of steps or seconds, evaluations on the way, weights
chosen by them.
"""

from __future__ import annotations

import functools
import math
import os
import sys
import time
from collections.abc import Iterator
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final

import torch
from torch import Tensor, nn

from unet_bench.context import MeasurementContext
from unet_bench.data.dataset import Dataset
from unet_bench.errors import NonFinite
from unet_bench.host.device import is_accelerator
from unet_bench.spec.recipe import Recipe
from unet_bench.train.border import border_weights
from unet_bench.train.checkpoint import Checkpoint, restore, state_of, within
from unet_bench.train.evaluation import evaluate
from unet_bench.train.losses import median_frequency
from unet_bench.train.metrics import scores
from unet_bench.train.normalise import normalisation
from unet_bench.train.outlines import separator
from unet_bench.train.step import TrainingStep
from unet_bench.train.windows import Batch, Images, batches, fits

READ_EVERY: Final = 20
"""Steps between readings of the loss: each one waits for the device."""
MOST_WORKERS: Final = 8
"""Processes that make batches, where the images do not fit on the device."""


@dataclass(frozen=True)
class Evaluation:
    """What validation images said at a step."""

    step: int
    seconds: float  # of training until then
    val_dice: float = math.nan
    val_loss: float = math.nan
    val_iou_all_classes: float = math.nan


@dataclass
class Trained:
    """How a training went. The weights to be tested are in the model."""

    losses: list[float] = field(default_factory=list)
    evaluations: list[Evaluation] = field(default_factory=list)
    chosen: Evaluation | None = None
    seconds: float = 0.0  # evaluations and checkpoints left out
    data_seconds: float = 0.0
    resumed_step: int | None = None
    diverged: int | None = None  # the step whose loss was no number

    @property
    def steps(self) -> int:
        """Steps taken."""
        return len(self.losses)

    def curve(self) -> dict[str, Any]:
        """Return losses and evaluations as plain data; in the file these are still called looks."""
        evaluations = []
        for evaluation in self.evaluations:
            figures = asdict(evaluation)
            evaluations.append({name: finite(value) for name, value in figures.items()})
        curve = {
            "unit": "loss per step",
            "losses": [finite(loss) for loss in self.losses],
            "looks": evaluations,
            "seconds": self.seconds,
        }
        if self.diverged:
            curve["diverged"] = self.diverged
        return curve


def finite(value: float) -> float | None:
    """Return a figure as JSON has it: None for what is no number."""
    return value if math.isfinite(value) else None


class Training:
    """The training of a cell's network, in place.

    `run` takes it to its end, from a checkpoint if there is one. How it went is in `trained`, also
    when it ends by an exception.
    """

    def __init__(
        self, context: MeasurementContext, model: nn.Module, splits: dict[str, Images]
    ) -> None:
        protocol, batch = context.cell.protocol, context.cell.setting.batch
        self.context, self.model, self.trained = context, model, Trained()
        self.recipe = protocol.recipe
        # 0: until `train_s` is over.
        self.steps, self.train_s = protocol.steps_of(batch), protocol.train_s
        self.resident = fits(splits["train"], context.device)
        self.train = splits["train"].to(context.device) if self.resident else splits["train"]
        self.val = splits["val"]
        weights = None
        if self.recipe.class_weights == "median-frequency":
            found = median_frequency(self.train.masks, len(context.cell.task.classes))
            weights = found.to(context.device)
        apply_recipe(context, model)
        self.step = TrainingStep(context, model, class_weights=weights)
        self.checkpoint = Checkpoint(
            context.checkpoint, f"{context.key}-{batch}", protocol.checkpoint_s
        )
        self.best: dict[str, Tensor] = {}
        self.pending: list[Tensor] = []

    def run(self) -> None:
        """Train until the budget is spent. Raises NonFinite when a loss or a score is no number."""
        self.resume()
        self.model.train()
        try:
            self.take_steps(self.trained.steps, self.trained.seconds)
        except NonFinite:
            self.checkpoint.remove()  # from there it would only diverge again
            raise
        if self.recipe.select == "best":
            self.model.load_state_dict(self.best)

    def take_steps(self, begin: int, seconds: float) -> None:
        """Take every step from `begin` on, `seconds` having been spent on those before."""
        started, paused_s = time.perf_counter(), 0.0
        evaluated = self.evaluations_due(begin)
        for number, batch in enumerate(self.batches(begin), begin):
            self.step.set_rate(rate(self.recipe, self.progress(number), self.progress(number + 1)))
            self.pending.append(self.step(*batch).detach())
            if len(self.pending) >= READ_EVERY or not is_accelerator(self.context.device):
                self.read()
            self.trained.seconds = seconds + time.perf_counter() - started - paused_s
            saving = self.checkpoint.due()
            if saving or self.evaluations_due(number + 1) > evaluated:
                self.read()  # waits for the device: only then are the seconds true
                self.trained.seconds = seconds + time.perf_counter() - started - paused_s
                due, paused = self.evaluations_due(number + 1), time.perf_counter()
                if due > evaluated:
                    self.evaluate(number + 1)
                    evaluated = due
                if saving:
                    self.save()
                paused_s += time.perf_counter() - paused
            if self.progress(number + 1) >= 1:
                break

    def progress(self, steps: int) -> float:
        """Return the part of the budget that is spent after so many steps."""
        return steps / self.steps if self.steps else min(1.0, self.trained.seconds / self.train_s)

    def batches(self, begin: int) -> Iterator[Batch]:
        """Yield batches on the device from step `begin` on, and add up the host's time for them."""
        context, cell = self.context, self.context.cell
        source = batches(
            self.train,
            self.recipe,
            *cell.training_window,
            cell.setting.batch,
            cell.seed,
            begin,
            self.steps or sys.maxsize,
            workers=0 if self.resident else min(MOST_WORKERS, os.cpu_count() or 1),
            pin=not self.resident,
        )
        while True:
            waiting = time.perf_counter()
            batch = next(source, None)
            if batch is None:
                return
            images, target, weight = batch
            images = images.to(
                context.device, memory_format=context.memory_format, non_blocking=True
            )
            target = target.to(context.device, non_blocking=True)
            if weight is not None:
                weight = weight.to(context.device, non_blocking=True)
            self.trained.data_seconds += time.perf_counter() - waiting
            yield Batch(images, target, weight)

    def read(self) -> None:
        """Fetch the losses from the device. Raises NonFinite."""
        values = torch.stack(self.pending).tolist() if self.pending else []
        self.pending.clear()
        for value in values:
            self.trained.losses.append(value)
            if not math.isfinite(value):
                self.trained.diverged = self.trained.steps
                raise NonFinite(f"the loss became {value} at step {self.trained.steps}")

    def evaluate(self, step: int) -> None:
        """Score the validation images, and keep the weights if they are the best so far."""
        found = Evaluation(step, self.trained.seconds)
        if self.val.images:
            accumulator, loss = evaluate(self.context, self.model, self.val)
            pooled = scores(accumulator.counts.sum(0))
            iou = accumulator.figures()["iou_all_classes"]
            found = replace(
                found, val_dice=pooled.mean_dice, val_loss=loss, val_iou_all_classes=iou
            )
        self.model.train()
        self.trained.evaluations.append(found)
        best = self.trained.chosen
        # Of equals the later one, and where there is no figure the last.
        if self.recipe.select == "last" or best is None or not found.val_dice < best.val_dice:
            self.trained.chosen = found
            if self.recipe.select == "best":
                weights = self.model.state_dict()
                self.best = {name: tensor.clone() for name, tensor in weights.items()}

    def evaluations_due(self, step: int) -> int:
        """Return how many evaluations are due by a step.

        In a short training several may fall on one step.
        """
        return math.floor(self.progress(step) * self.recipe.evaluations + 1e-9)

    def save(self) -> None:
        """Write a checkpoint."""
        tensors, plain = state_of(self.model, self.step.optimiser, self.context.device)
        tensors |= {f"best/{name}": tensor for name, tensor in self.best.items()}
        state = {
            "trained": asdict(self.trained),
            "optimiser": plain,
            "scaler": self.step.scaler.state_dict(),
        }
        self.checkpoint.save(tensors, state)

    def resume(self) -> None:
        """Go on from the checkpoint, if there is one."""
        found = self.checkpoint.load()
        if found is None:
            return
        tensors, state = found
        restore(tensors, state["optimiser"], self.model, self.step.optimiser, self.context.device)
        self.step.scaler.load_state_dict(state["scaler"])
        best = within(tensors, "best/")
        self.best = {name: tensor.to(self.context.device) for name, tensor in best.items()}
        before = state["trained"]
        before["evaluations"] = [Evaluation(**evaluation) for evaluation in before["evaluations"]]
        before["chosen"] = Evaluation(**before["chosen"]) if before["chosen"] else None
        for name, value in before.items():
            setattr(self.trained, name, value)
        self.trained.resumed_step = self.trained.steps


def rate(recipe: Recipe, before: float, after: float) -> float:
    """Return the learning rate's factor in a step.

    The step takes the budget from `before` to `after`, parts from 0 to 1.
    """
    if recipe.warm_up and before < recipe.warm_up:
        return min(1.0, max(after, 1e-3) / recipe.warm_up)
    left = 1 - (before - recipe.warm_up) / (1 - recipe.warm_up) if recipe.warm_up < 1 else 1.0
    if recipe.schedule == "cosine":
        return 0.5 * (1 - math.cos(math.pi * left))
    return float(left**recipe.power) if recipe.schedule == "poly" else 1.0


def apply_recipe(context: MeasurementContext, model: nn.Module) -> None:
    """Give a network the recipe's initial weights, and its dropout behind the coarsest map."""
    recipe = context.cell.protocol.recipe
    if recipe.init == "he" and context.cell.setting.pretrained == "none":
        torch.manual_seed(context.cell.seed)
        for module in model.modules():
            if isinstance(module, nn.modules.conv._ConvNd):
                nn.init.normal_(module.weight, std=math.sqrt(2 / incoming(module)))
                if module.bias is not None:
                    nn.init.zeros_(module.bias)
    bottleneck = getattr(model, "bottleneck", None)
    if recipe.dropout and isinstance(bottleneck, nn.Module):
        drop = functools.partial(nn.functional.dropout, p=recipe.dropout)
        bottleneck.register_forward_hook(
            lambda module, _, output: drop(output, training=module.training)
        )


def incoming(module: nn.modules.conv._ConvNd) -> float:
    """Return how many inputs an output of a convolution sums (He et al. 2015, eq. 10).

    Of a transposed convolution it is the average.
    """
    taps = math.prod(module.kernel_size) * module.in_channels / module.groups
    return taps / math.prod(module.stride) if module.transposed else taps


def tensors(context: MeasurementContext, dataset: Dataset) -> dict[str, Images]:
    """Return the three splits, normalised by the training images.

    They have weights, if the recipe has them.
    """
    mean, std = normalisation(dataset)
    recipe = context.cell.protocol.recipe
    weigh = None
    if recipe.border_weight:
        weigh = functools.partial(
            border_weights,
            w0=recipe.border_weight,
            sigma=recipe.border_sigma,
            separator=separator(dataset.classes),
        )
    return {
        name: Images.of(samples, mean, std, weigh if name == "train" else None)
        for name, samples in dataset.splits.items()
    }
