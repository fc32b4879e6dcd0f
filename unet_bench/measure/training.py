"""Time of a training step: whole, beside the baseline's, and split into its three parts."""

from __future__ import annotations

import math
import statistics
import time
from typing import Any, Final

from torch import Tensor

from unet_bench.context import MeasurementContext
from unet_bench.errors import NonFinite
from unet_bench.host.device import synchroniser
from unet_bench.measure.clock import Step, without_garbage_collection
from unet_bench.measure.guard import Watch, wait_until_quiet
from unet_bench.measure.pairing import (
    interval_columns,
    quality,
    save_samples,
    time_paired,
    try_baseline,
)
from unet_bench.measure.ready import Runnable, prepare
from unet_bench.train.step import TrainingStep

SPLIT_SHARE: Final = 0.15  # of the budget
FEWEST: Final = 5  # split steps


def probe(context: MeasurementContext) -> dict[str, Any]:
    """Time the training step that the recipe takes, on random images and classes."""
    watch = Watch.over(context.device)
    target = context.target()
    candidate = prepare(context, training=True)
    take_step = _trainer(context, candidate)
    if not math.isfinite(take_step(candidate.images, target).item()):
        raise NonFinite("the loss of a training step on random images is not finite")
    other = context.baseline()
    baseline = try_baseline(
        context, lambda: _run_once(other, prepare(other, training=True), target)
    )
    wait_until_quiet(watch, context.cell.protocol.speed_s)
    paired = time_paired(
        context,
        lambda: take_step(candidate.images, target),
        _step(other, baseline, target) if baseline else None,
        watch,
        share=1 - SPLIT_SHARE,
    )
    whole = paired.seconds()
    forward, backward, update = split(context, take_step, candidate.images, target)
    save_samples(context, training=paired.timing)
    believed = 1e3 if paired.verdict.absolute else math.nan
    return {
        **candidate.columns(),
        **interval_columns("train_step", "_ms", whole, 1e3),
        **interval_columns("train_step_ratio", "", paired.ratio()),
        "train_throughput_img_s": context.cell.setting.batch / whole[0],
        "train_forward_ms": believed * forward,
        "train_backward_ms": believed * backward,
        "train_update_ms": believed * update,
        "train_split_excess_ms": believed * (forward + backward + update - whole[0]),
        "warmup_steps": paired.timing.warm_up_steps,
        "blocks": len(paired.timing.candidate),
        "measured_s": paired.timing.measured_s,
        "stop_reason": paired.timing.stop_reason,
        **quality([paired], baseline),
    }


def split(
    context: MeasurementContext, step: TrainingStep, images: Tensor, target: Tensor
) -> tuple[float, ...]:
    """Return median seconds of forward pass and loss, backward pass, and update.

    The device is waited for after each.
    """
    sync = synchroniser(context.device)
    parts: list[tuple[float, float, float]] = []
    with without_garbage_collection():
        end = time.perf_counter() + SPLIT_SHARE * context.cell.protocol.speed_s
        while len(parts) < FEWEST or time.perf_counter() < end:
            sync()
            marks = [time.perf_counter()]
            loss = step.forward(images, target)
            sync()
            marks.append(time.perf_counter())
            step.backward(loss)
            sync()
            marks.append(time.perf_counter())
            step.update()
            sync()
            marks.append(time.perf_counter())
            parts.append((marks[1] - marks[0], marks[2] - marks[1], marks[3] - marks[2]))
    return tuple(statistics.median(part) for part in zip(*parts, strict=True))


def _trainer(context: MeasurementContext, runnable: Runnable) -> TrainingStep:
    return TrainingStep(context, runnable.model, call=runnable.ready.call)


def _step(context: MeasurementContext, runnable: Runnable, target: Tensor) -> Step:
    step = _trainer(context, runnable)
    return lambda: step(runnable.images, target)


def _run_once(context: MeasurementContext, runnable: Runnable, target: Tensor) -> Runnable:
    _step(context, runnable, target)()
    return runnable
