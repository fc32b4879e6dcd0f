"""Latency and throughput of inference, alternating with the baseline in the same process."""

from __future__ import annotations

import functools
import math
import time
from pathlib import Path
from socket import gethostname
from typing import Any

import torch

from unet_bench.context import AUTOCAST, MeasurementContext
from unet_bench.errors import NonFinite, is_out_of_memory
from unet_bench.host.device import empty_cache, is_accelerator, synchroniser
from unet_bench.measure.agreement import agreement
from unet_bench.measure.ceiling import ceiling_of_run
from unet_bench.measure.clock import Step
from unet_bench.measure.cost import cost
from unet_bench.measure.guard import Watch, wait_until_quiet
from unet_bench.measure.pairing import (
    Paired,
    interval_columns,
    quality,
    save_samples,
    time_paired,
    try_baseline,
)
from unet_bench.measure.ready import Runnable, prepare
from unet_bench.spec.cell import digest
from unet_bench.stats.intervals import Interval


def probe(context: MeasurementContext) -> dict[str, Any]:
    """Time forward passes of the setting's batch; ratios to the baseline are of paired blocks.

    A network that a runtime other than eager torch runs is timed beside itself in eager, too. On a
    CPU one timing gives latency and throughput; on a GPU, where steps queue up, there is one
    for each.
    """
    watch = Watch.over(context.device)
    # Both are made outside of inference mode: weights made inside are another kind of tensor, and
    # quicker by 1 to 2 %.
    candidate = prepare(context)
    baseline = try_baseline(context, lambda: prepare(context.baseline()))
    eager, alike = None, {}
    if not candidate.is_eager and (
        eager := try_baseline(context, lambda: prepare(context.eager()))
    ):
        alike = agreement(context, candidate, eager)
    with torch.inference_mode(), context.precision():
        if not bool(torch.isfinite(candidate.infer()).all()):
            raise NonFinite("the output of a forward pass on random input is not finite")
        baseline = (
            try_baseline(context, functools.partial(_run_once, baseline)) if baseline else None
        )
        step = slow_down(context, candidate.infer)
        pair = (step, baseline.infer if baseline else None)
        wait_until_quiet(watch, context.cell.protocol.speed_s)
        share = 0.5 if eager else 1.0
        if not is_accelerator(context.device):
            latency = throughput = time_paired(context, *pair, watch, share=share)
        else:
            throughput = time_paired(context, *pair, watch, share=0.6 * share, singly=False)
            latency = time_paired(context, *pair, watch, share=0.4 * share)
        found = columns(context, latency, throughput) | roofline(context, throughput)
        timings = [throughput] if latency is throughput else [throughput, latency]
        if eager:
            timings.append(time_paired(context, step, eager.infer, watch, share=share))
            found |= alike | interval_columns("eager_ratio", "", timings[-1].ratio())
    save_samples(context, latency=latency.timing, throughput=throughput.timing)
    return candidate.columns() | found | quality(timings, baseline)


def columns(context: MeasurementContext, latency: Paired, throughput: Paired) -> dict[str, Any]:
    """Return the measured columns."""
    cell = context.cell
    pixels, baseline_pixels = (
        math.prod(cell.input_window.output),
        math.prod(cell.baseline_input_window.output),
    )
    ratio, per_step = latency.ratio(), throughput.seconds()[0]
    slower = throughput.ratio()
    faster = Interval(1 / slower.value, 1 / slower.high, 1 / slower.low)
    timings = [latency.timing] if latency is throughput else [latency.timing, throughput.timing]
    return {
        **interval_columns("latency", "_ms", latency.seconds(), 1e3),
        "latency_p95_ms": 1e3 * latency.percentile(0.95),
        "latency_p99_ms": 1e3 * latency.percentile(0.99),
        **interval_columns("latency_ratio", "", ratio),
        **interval_columns("latency_ratio_per_mpx", "", ratio, baseline_pixels / pixels),
        "throughput_img_s": cell.setting.batch / per_step,
        "throughput_mpx_s": cell.setting.batch * pixels / per_step / 1e6,
        **interval_columns("throughput_ratio", "", faster),
        "warmup_steps": sum(timing.warm_up_steps for timing in timings),
        "blocks": sum(len(timing.candidate) for timing in timings),
        "measured_s": sum(timing.measured_s for timing in timings),
        "stop_reason": latency.timing.stop_reason,
    }


def notes_on_ceiling(context: MeasurementContext) -> Path | None:
    """Return the file in which cells of a run leave a processor's ceilings for one another.

    A GPU's take no time to measure, and a run may have several.
    """
    if context.samples is None or is_accelerator(context.device):
        return None
    setting = context.cell.setting
    about = digest([gethostname(), setting.precision, setting.threads])
    return context.samples.with_name(f"ceiling-{about}.json")


def roofline(context: MeasurementContext, throughput: Paired) -> dict[str, Any]:
    """Measure the device's ceilings, and the part of what they allow that the network reaches."""
    cell = context.cell
    try:
        roof = ceiling_of_run(context.device, cell.setting.precision, notes_on_ceiling(context))
    except Exception as error:  # the timing is done, and worth more than the ceilings
        if not is_out_of_memory(error):
            raise
        empty_cache(context.device)
        return {}
    with torch.inference_mode(False):  # torch's counter hangs hooks on what needs a gradient
        counted = cost(context.blueprint(), cell.task.in_channels, cell.input_window.input)
    flop_s = 2 * counted["macs"] * cell.setting.batch / throughput.seconds()[0]
    narrower = 2 if cell.setting.precision in AUTOCAST else 1  # numbers of 16 bits instead of 32
    allowed = roof.attainable(counted["flop_per_byte"] * narrower)
    if not throughput.verdict.absolute:
        return {}
    return {
        "ceiling_tflop_s": roof.flop_s / 1e12,
        "ceiling_gb_s": roof.byte_s / 1e9,
        "roofline_fraction": flop_s / allowed if allowed else None,
    }


def slow_down(context: MeasurementContext, step: Step) -> Step:
    """Return the step, made slower by the protocol's share where the self-test asks for it."""
    share = context.cell.protocol.slowdown
    if not share:
        return step
    sync = synchroniser(context.device)

    def seconds_of_step() -> float:
        start = time.perf_counter()
        step()
        sync()
        return time.perf_counter() - start

    if context.device.type == "cuda":
        torch.cuda._sleep(1)  # the first call loads its kernel
        sync()
        seconds = sorted(seconds_of_step() for _ in range(11))[5]
        start, cycles = time.perf_counter(), 10_000_000
        torch.cuda._sleep(cycles)
        sync()
        wanted = int(cycles * share * seconds / (time.perf_counter() - start))

        def step_and_sleep() -> None:
            step()
            torch.cuda._sleep(wanted)

        return step_and_sleep

    def step_and_spin() -> None:
        start = time.perf_counter()
        step()
        sync()
        end = start + (1 + share) * (time.perf_counter() - start)
        while time.perf_counter() < end:
            pass

    return step_and_spin


def _run_once(runnable: Runnable) -> Runnable:
    runnable.infer()
    return runnable
