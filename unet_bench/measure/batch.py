"""How many images at once: the batch of the best throughput, and the largest that fits."""

from __future__ import annotations

import json
import statistics
import time
from collections.abc import Callable, Mapping
from dataclasses import replace
from typing import Any, Final

import torch
from torch.utils._python_dispatch import TorchDispatchMode
from torch.utils._pytree import tree_leaves

from unet_bench.context import MeasurementContext
from unet_bench.errors import is_out_of_memory
from unet_bench.host.device import empty_cache, is_accelerator, synchroniser
from unet_bench.measure.clock import warm_up
from unet_bench.measure.guard import Watch, wait_until_quiet
from unet_bench.measure.memory import MIB, predicted_bytes
from unet_bench.measure.ready import prepare

MOST_ELEMENTS: Final = 2**31 - 1  # of a tensor
MOST: Final = 2**14  # images; beyond, the question is another one
GAIN: Final = 1.02  # a larger batch is worth it if it brings this much
KEPT_FREE: Final = 0.8  # of the free memory, where running out of it ends the process
FEWEST: Final = 3  # steps for each batch


def probe(context: MeasurementContext) -> dict[str, Any]:
    """Find the edge of memory, and the batch from which throughput no longer grows.

    The batch doubles from one image until throughput has twice not grown. On a GPU what fits is
    tried; elsewhere, where the system would end the process, it is predicted. No tensor gets 2³¹
    elements: many kernels number them with 32 bits.
    """
    watch = Watch.over(context.device)
    fits = _fits_when_run if is_accelerator(context.device) else _fits_by_prediction
    most = min(MOST, MOST_ELEMENTS // largest_map(context))
    largest = edge(lambda batch: batch <= most and fits(context.with_batch(batch)))
    wait_until_quiet(watch, context.cell.protocol.speed_s)
    watch.start()
    found: dict[int, float] = {}
    batch, ended = 1, "cap" if largest >= MOST else "elements" if largest == most else "memory"
    while batch <= largest:
        found[batch] = throughput(context.with_batch(batch))
        if batch >= 4 * enough(found):
            ended = "throughput"
            break
        batch *= 2
    verdict = watch.verdict()
    if context.samples is not None:
        context.samples.write_text(
            json.dumps({"unit": "images per second by batch", **found}), encoding="utf-8"
        )
    best_batch = enough(found) if found and verdict.absolute else None
    return {
        "best_batch": best_batch,
        "best_throughput_img_s": found[best_batch] if best_batch else None,
        "largest_batch": largest or None,
        "stop_reason": ended,
        **verdict.columns(),
    }


def enough(found: Mapping[int, float]) -> int:
    """Return the smallest batch within 2 % of the best throughput."""
    return next(batch for batch in sorted(found) if GAIN * found[batch] >= max(found.values()))


def edge(fits: Callable[[int], bool]) -> int:
    """Return the largest batch that fits, to an eighth of it; 0 if not even one image does."""
    low, high = 0, 1
    while high <= MOST and fits(high):
        low, high = high, 2 * high
    while high <= MOST and high - low > max(1, low // 8):
        middle = (low + high) // 2
        low, high = (middle, high) if fits(middle) else (low, middle)
    return low


def largest_map(context: MeasurementContext) -> int:
    """Return the elements of the largest tensor that an operation makes in a pass of one image."""
    alone = replace(context.with_batch(1), stand_in="meta")
    model, largest = alone.blueprint().eval(), Largest()
    with torch.no_grad(), largest:
        model(alone.images())
    return largest.elements


class Largest(TorchDispatchMode):
    """Remembers how many elements the largest tensor has that an operation makes."""

    def __init__(self) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.elements = 1

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        result = func(*args, **(kwargs or {}))
        sizes = [leaf.numel() for leaf in tree_leaves(result) if isinstance(leaf, torch.Tensor)]
        self.elements = max([self.elements, *sizes])
        return result


def throughput(context: MeasurementContext) -> float:
    """Return images per second of forward passes, timed for an eighth of the protocol's time."""
    sync = synchroniser(context.device)
    network = prepare(context)

    def step() -> float:
        start = time.perf_counter()
        network.infer()
        sync()
        return time.perf_counter() - start

    with torch.inference_mode(), context.precision():
        budget = context.cell.protocol.speed_s / 8
        warm_up(step, most_s=budget / 2)
        times = [step() for _ in range(FEWEST)]
        while sum(times) < budget:
            times.append(step())
    return context.cell.setting.batch / statistics.median(times)


def _fits_by_prediction(context: MeasurementContext) -> bool:
    import psutil

    limit = (
        context.cell.protocol.memory_limit_mib * MIB
        or KEPT_FREE * psutil.virtual_memory().available
    )
    return predicted_bytes(context, training=False) <= limit


def _fits_when_run(context: MeasurementContext) -> bool:
    limit = context.cell.protocol.memory_limit_mib * MIB
    if limit and predicted_bytes(context, training=False) > limit:
        return False
    try:
        with torch.inference_mode(), context.precision():
            prepare(context).infer()
            synchroniser(context.device)()
    except Exception as error:
        if not is_out_of_memory(error):
            raise
        return False
    finally:
        empty_cache(context.device)
    return True
