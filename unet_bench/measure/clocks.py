"""The host's clock, with which everything is timed, against the device's: events, and kernels as
torch's profiler sees them.

Each comparison is of the very same passes, so that what changes between passes is in both.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable
from typing import Any, Final, NamedTuple

import torch

from unet_bench.context import MeasurementContext
from unet_bench.host.device import synchroniser, timed_events
from unet_bench.measure.clock import Step, warm_up, without_garbage_collection
from unet_bench.measure.ready import prepare

BLOCK_S: Final = 0.2  # of passes that are queued, then waited for once
BLOCKS: Final = 7
MOST_PASSES: Final = 200  # of a block: the profiler keeps every kernel of them
ANNOTATION: Final = "unet-bench: passes"


class Profiled(NamedTuple):
    """Seconds of the same passes: by the host's clock, and by the profiler."""

    host_s: float
    profiler_s: float
    of: str  # what the profiler timed: kernels, or passes where it sees no kernels


def probe(context: MeasurementContext) -> dict[str, Any]:
    """Return what a pass takes by each clock, in ms, and by how much they disagree."""
    run, device = prepare(context), context.device
    sync, events = synchroniser(device), timed_events(device)

    def waited() -> float:
        start = time.perf_counter()
        run.infer()
        sync()
        return time.perf_counter() - start

    with torch.inference_mode(), context.precision(), without_garbage_collection():
        pass_s = statistics.median(warm_up(waited, most_s=BLOCK_S))
        passes = max(3, min(MOST_PASSES, round(BLOCK_S / pass_s)))

        def block() -> float:
            return timed_block(run.infer, passes, sync)

        host, own = [], []
        for _ in range(BLOCKS):
            if events:
                events[0].record()
            host.append(timed_block(run.infer, passes, sync, events[1] if events else None))
            if events:
                own.append(events[0].elapsed_time(events[1]) / 1e3)
        profiled(device, block)  # what the profiler does once is not timed
        seen = profiled(device, block)
    each = 1e3 / passes
    return {
        "host_clock_ms": each * statistics.median(host),
        "device_events_ms": each * statistics.median(own) if own else None,
        "events_disagreement": disagreement(own, host) if own else None,
        "profiled_host_ms": each * seen.host_s,
        "profiler_ms": each * seen.profiler_s,
        "profiler_disagreement": disagreement([seen.profiler_s], [seen.host_s]),
        "profiler_saw": seen.of,
        "clock_passes": passes,
    }


def timed_block(
    step: Step, passes: int, sync: Callable[[], None], end: torch.Event | None = None
) -> float:
    """Return the seconds of so many queued passes; `end` is recorded behind the last one."""
    start = time.perf_counter()
    for _ in range(passes):
        step()
    if end is not None:
        end.record()
    sync()
    return time.perf_counter() - start


def disagreement(other: list[float], host: list[float]) -> float:
    """Return by what share another clock's seconds exceed the host's, of the median block."""
    return statistics.median(a / b - 1 for a, b in zip(other, host, strict=True))


def profiled(device: torch.device, block: Callable[[], float]) -> Profiled:
    """Return the seconds of a block by both clocks.

    The profiler's are the sum of all kernels where it sees any of the device's, else the block as
    its own clock times it.
    """
    from torch.profiler import ProfilerActivity, profile, record_function, supported_activities

    own = getattr(ProfilerActivity, device.type.upper(), None)
    if own is not None and device.type != "cpu" and own in supported_activities():
        with profile(activities=[own]) as profiler:
            host_s = block()
        if kernels_s := kernel_seconds(profiler.events(), device.type):
            return Profiled(host_s, kernels_s, "kernels")
    with profile(activities=[ProfilerActivity.CPU]) as profiler, record_function(ANNOTATION):
        host_s = block()
    [annotated] = [event for event in profiler.events() if event.name == ANNOTATION]
    return Profiled(host_s, annotated.time_range.elapsed_us() / 1e6, "passes")


def kernel_seconds(events: Any, kind: str) -> float:
    """Return the seconds of all that ran on a kind of device, as torch's own table sums them."""
    micros = 0.0
    for event in events:
        if event.device_type.name.lower() == kind and not event.is_user_annotation:
            micros += event.self_device_time_total
    return micros / 1e6
