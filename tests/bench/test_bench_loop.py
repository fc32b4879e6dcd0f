"""What our training loop costs, beside one written by hand. Ratios within one run; run it on a
quiet machine.
"""

from __future__ import annotations

import json
import math
import time
from collections.abc import Callable
from dataclasses import replace
from statistics import median
from typing import TYPE_CHECKING

import numpy as np
import pytest
import torch
from torch.nn import functional as F

from unet_bench.context import keep_freed_memory
from unet_bench.data import brain
from unet_bench.spec.recipe import Recipe
from unet_bench.stats.intervals import mean_interval
from unet_bench.train.loop import Training, tensors
from unet_bench.train.windows import Images

if TYPE_CHECKING:
    from unet_bench.context import MeasurementContext

STEPS, PAIRS = 10, 12
RECIPE = Recipe(select="last", evaluations=1)


def ours(context: MeasurementContext, splits: dict[str, Images]) -> Callable[[], float]:
    """Seconds of `STEPS` of our training; looks, which a loop by hand has not, left out as in
    `train_s`.
    """

    def run() -> float:
        training = Training(context, context.network(training=True), splits)
        training.run()
        return training.trained.seconds

    return run


def by_hand(context: MeasurementContext, splits: dict[str, Images]) -> Callable[[], float]:
    """Seconds of as many steps of a loop as one writes it: resident tensors, random crops and flips
    of a batch.
    """
    images, masks = torch.stack(splits["train"].images), torch.stack(splits["train"].masks).long()
    (height, width), batch = context.cell.task.scored, context.cell.setting.batch

    def run() -> float:
        model = context.network(training=True)
        optimiser = torch.optim.AdamW(
            model.parameters(), lr=RECIPE.lr, weight_decay=RECIPE.weight_decay
        )
        schedule = torch.optim.lr_scheduler.CosineAnnealingLR(optimiser, STEPS)
        rng = np.random.default_rng(0)
        started = time.perf_counter()
        for _ in range(STEPS):
            chosen = torch.from_numpy(rng.choice(len(images), batch, replace=False))
            row = int(rng.integers(images.shape[2] - height + 1))
            column = int(rng.integers(images.shape[3] - width + 1))
            x = images[chosen, :, row : row + height, column : column + width]
            y = masks[chosen, row : row + height, column : column + width]
            if rng.random() < 0.5:
                x, y = x.flip(-1), y.flip(-1)
            logits = model(x)
            probability, truth = logits.softmax(1), F.one_hot(y, logits.shape[1]).movedim(-1, 1)
            overlap, both = (
                (probability * truth).sum((0, 2, 3)),
                (probability + truth).sum((0, 2, 3)),
            )
            loss = F.cross_entropy(logits, y) + 1 - (2 * overlap / both.clamp_min(1e-6)).mean()
            loss.backward()
            torch.nn.utils.clip_grad_norm_(model.parameters(), RECIPE.clip)
            optimiser.step()
            optimiser.zero_grad(set_to_none=True)
            schedule.step()
            assert math.isfinite(loss.item())
        return time.perf_counter() - started

    return run


@pytest.mark.parametrize("width_scale", [0.25])
def test_our_loop_beside_one_by_hand(benchmark, context_of, tmp_path, width_scale: float) -> None:
    """The same network, images and batch, in alternating blocks of ten steps: ABBA."""
    keep_freed_memory()
    context = context_of(
        "unet", size=(96, 112), protocol={"recipe": RECIPE, "steps": STEPS}, batch=4
    )
    cell = context.cell
    variant = replace(cell.variant, choices=cell.variant.choices.replace(width_scale=width_scale))
    task = replace(cell.task, classes=brain.CLASSES)
    context = replace(context, cell=replace(cell, variant=variant, task=task, probe="accuracy"))
    splits = tensors(context, brain.load())
    splits = {**splits, "val": Images([], [])}
    loops = {"ours": ours(context, splits), "by hand": by_hand(context, splits)}
    for run in loops.values():
        run()
    logs = []
    for pair in range(PAIRS):
        order = list(loops) if pair % 2 else list(loops)[::-1]
        seconds = {name: loops[name]() for name in order}
        logs.append(math.log(seconds["ours"] / seconds["by hand"]))
    ratio, low, high = (math.exp(value) for value in mean_interval(logs))
    benchmark.extra_info |= {"ours / by hand": [ratio, low, high], "median": math.exp(median(logs))}
    benchmark.pedantic(lambda: None)
    print(
        f"\ntraining loop, ours / by hand: {ratio:.3f} ({low:.3f} to {high:.3f}) {json.dumps(logs)}"
    )
    assert high - low <= 0.1, "the machine is too busy to tell"
    assert low <= 1.02
