"""A trained network as a runtime runs it: scored again on the test images, beside eager torch."""

from __future__ import annotations

import copy
from typing import Any

import torch
from torch import Tensor, nn

from unet_bench.context import MeasurementContext
from unet_bench.errors import Unsupported
from unet_bench.measure.accuracy import figures_of, groups_of, tested
from unet_bench.measure.agreement import agreement
from unet_bench.measure.probes import NOT_KEPT
from unet_bench.measure.ready import Runnable, prepare
from unet_bench.train.evaluation import evaluate
from unet_bench.train.loop import tensors
from unet_bench.train.metrics import bootstrap_change
from unet_bench.train.trained import kept_of, read_network


def probe(context: MeasurementContext) -> dict[str, Any]:
    """Return the scores on test images, and by how much Dice changes from eager torch's.

    Raises Unsupported for a network that was not kept, WrongOutput for one that the runtime makes
    another of.
    """
    cell = context.cell
    kept = context.trained and kept_of(context.trained, cell)
    if not kept:
        raise Unsupported(NOT_KEPT)
    if cell.protocol.whole:
        raise Unsupported(
            "whole images have many sizes, and a runtime is given one: --evaluation tiled"
        )
    model = read_network(kept, context.registry, cell.variant.name, str(context.device)).model
    as_trained = context.eager()
    eager = prepare(as_trained, model=copy.deepcopy(model))
    run = prepare(context, model=model)
    alike = agreement(context, run, eager)
    dataset = context.dataset()
    images = tensors(context, dataset)["test"]
    before, _ = evaluate(as_trained, Padded(eager), images, final=True)
    after = tested(context, Padded(run), images, dataset)
    change = after.figures()["dice"] - before.figures()["dice"]
    low, high = bootstrap_change(after.counts, before.counts, context.rng(), groups_of(dataset))
    return {
        **figures_of(context, after, dataset),
        **alike,
        **run.ready.told,
        "dice_change": change,
        "dice_change_ci_low": low,
        "dice_change_ci_high": high,
    }


class Padded(nn.Module):
    """A network that was made ready for batches of one size, for fewer images, too."""

    def __init__(self, run: Runnable) -> None:
        super().__init__()
        self._run = run

    def forward(self, images: Tensor) -> Tensor:
        missing = len(self._run.images) - len(images)
        more = images.new_zeros((missing, *images.shape[1:]))
        return self._run.on(torch.cat([images, more]))[: len(images)]
