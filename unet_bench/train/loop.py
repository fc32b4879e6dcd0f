"""One training: a fixed number of steps, the best state by validation Dice, one look at the test images."""

from __future__ import annotations

import copy
import itertools
import math
import time
from dataclasses import dataclass, field
from typing import Final

import numpy as np
import torch
from torch import nn

from unet_bench.errors import NonFinite
from unet_bench.interfaces import main_output
from unet_bench.measure.bench import Bench
from unet_bench.train.metrics import confusion, scores
from unet_bench.train.step import Recipe, TrainingStep
from unet_bench.train.windows import Images, normalisation, scored, scoring_batches, training_batches

LOOKS: Final = 3  # times the validation images are looked at
SETTLING: Final = 8  # training batches from which batch norm takes its statistics before each look


RECIPES: Final = {
    "default": Recipe(),
    "short": Recipe(lr=1e-2),  # for some tens of steps, in which a normed network would hardly move otherwise
}


@dataclass
class Trained:
    """The outcome: the chosen state is loaded into the model."""

    steps: int
    best_step: int
    val_dice: float
    seconds: float
    data_seconds: float
    losses: list[float] = field(default_factory=list)


def train(bench: Bench, model: nn.Module, recipe: Recipe, splits: dict[str, Images]) -> Trained:
    """Train `model` in place for the protocol's steps. Raises NonFinite when the loss is no number."""
    cell, steps = bench.cell, bench.cell.protocol.steps
    take = TrainingStep(bench, model, recipe)
    schedule = torch.optim.lr_scheduler.LambdaLR(take.optimiser, lambda step: cosine(step, steps, recipe.warm_up))
    batches = training_batches(splits["train"], cell.task.scored, cell.frame, cell.setting.batch, bench.rng())
    looks = {round(steps * (i + 1) / LOOKS) for i in range(LOOKS)} | {steps}
    best, best_state = Trained(steps, 0, -math.inf, 0.0, 0.0), copy.deepcopy(model.state_dict())
    started, looking = time.perf_counter(), 0.0
    for step in range(1, steps + 1):
        fetched = time.perf_counter()
        images, target = next(batches)
        images = images.to(bench.device, memory_format=bench.memory_format)
        target = target.to(bench.device)
        best.data_seconds += time.perf_counter() - fetched
        loss = take.forward(images, target)
        if not math.isfinite(value := loss.item()):
            raise NonFinite(f"the loss became {value} at step {step} of {steps}")
        best.losses.append(value)
        take.backward(loss)
        take.update()
        schedule.step()
        if step in looks:
            looked = time.perf_counter()
            settle_batch_norm(bench, model, splits["train"])
            dice = scores(evaluate(bench, model, splits["val"]).sum(0)).mean_dice
            if not dice < best.val_dice:  # of equals the later one, and where there is no figure the last
                best.val_dice, best.best_step, best_state = dice, step, copy.deepcopy(model.state_dict())
            model.train()
            looking += time.perf_counter() - looked
    best.seconds = time.perf_counter() - started - looking
    model.load_state_dict(best_state)
    return best


@torch.no_grad()
def settle_batch_norm(bench: Bench, model: nn.Module, data: Images) -> None:
    """Take batch norm's statistics anew from a few training batches (precise BN, Wu and Johnson 2021, 2105.07576).

    The running averages of a short training remember weights that are long gone, and networks with batch norm would
    be judged by that. The batches are drawn by themselves: training must not see other pixels for it.
    """
    norms = [module for module in model.modules() if isinstance(module, nn.modules.batchnorm._BatchNorm)]
    if not norms:
        return
    momenta = [norm.momentum for norm in norms]
    for norm in norms:
        norm.reset_running_stats()
        norm.momentum = None  # torch's way to say: the plain average
    cell = bench.cell
    batches = training_batches(data, cell.task.scored, cell.frame, cell.setting.batch, np.random.default_rng(cell.seed))
    model.train()
    for images, _ in itertools.islice(batches, SETTLING):
        with bench.precision():
            model(images.to(bench.device, memory_format=bench.memory_format))
    for norm, momentum in zip(norms, momenta, strict=True):
        norm.momentum = momentum


def cosine(step: int, steps: int, warm_up: float) -> float:
    """The learning rate's factor: a linear rise, then half a cosine to zero."""
    rise = max(1, round(warm_up * steps))
    if step < rise:
        return (step + 1) / rise
    return 0.5 * (1 + math.cos(math.pi * min(1.0, (step - rise) / max(1, steps - rise))))


@torch.no_grad()
def evaluate(bench: Bench, model: nn.Module, data: Images) -> np.ndarray:
    """Counts `(image, truth, prediction)` over every pixel of a split, each scored once."""
    cell, classes = bench.cell, len(bench.cell.task.classes)
    model.eval()
    counts = np.zeros((len(data.images), classes, classes), dtype=np.int64)
    for images, target, numbers in scoring_batches(data, cell.task.scored, cell.frame, cell.setting.batch):
        images = images.to(bench.device, memory_format=bench.memory_format)
        with bench.precision():
            logits = scored(main_output(model(images)), cell.frame, cell.task.scored)
        if not bool(torch.isfinite(logits).all()):
            raise NonFinite("the network's scores on validation or test images are not finite")
        predicted = logits.argmax(1).cpu()
        for number, one, truth in zip(numbers, predicted, target, strict=True):
            counts[number] += confusion(one, truth, classes)
    return counts


def tensors(bench: Bench) -> dict[str, Images]:
    """The three splits, normalised by the training images."""
    dataset = bench.dataset()
    mean, std = normalisation(dataset)
    return {name: Images.of(getattr(dataset, name), mean, std) for name in ("train", "val", "test")}
