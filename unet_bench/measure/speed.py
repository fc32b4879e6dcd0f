"""Latency and throughput, alternating with the baseline in the same process."""

from __future__ import annotations

import json
from typing import Any

import torch

from unet_bench.errors import NonFinite
from unet_bench.interfaces import main_output
from unet_bench.measure import guard
from unet_bench.measure.bench import Bench
from unet_bench.measure.clock import Timing, time_pair


def probe(bench: Bench) -> dict[str, Any]:
    """Time forward passes of the setting's batch; the ratio to the baseline is of paired blocks."""
    protocol = bench.cell.protocol
    own, base = _step(bench), _step(bench, baseline=True)
    before = guard.usage()
    with torch.inference_mode(), bench.precision():
        if not bool(torch.isfinite(own()).all()):
            raise NonFinite("the output of a forward pass on random input is not finite")
        timing = time_pair(own, base, budget_s=protocol.speed_s, interval=protocol.interval, sync=_sync(bench.device))
    share = guard.foreign_share(before, guard.usage())
    _keep(bench, timing)
    return columns(bench, timing) | {"quality": guard.quality(share), "foreign_cpu_share": share}


def columns(bench: Bench, timing: Timing) -> dict[str, Any]:
    """The measured columns of a timing."""
    cell = bench.cell
    median, low, high = timing.median()
    ratio, ratio_low, ratio_high = timing.ratio_interval()
    pixels = cell.frame.output[0] * cell.frame.output[1]
    base_pixels = cell.baseline_frame.output[0] * cell.baseline_frame.output[1]
    return {
        "latency_ms": 1e3 * median,
        "latency_ci_low_ms": 1e3 * low,
        "latency_ci_high_ms": 1e3 * high,
        "throughput_img_s": cell.setting.batch / median,
        "throughput_mpx_s": cell.setting.batch * pixels / median / 1e6,
        "latency_ratio": ratio,
        "latency_ratio_ci_low": ratio_low,
        "latency_ratio_ci_high": ratio_high,
        "latency_ratio_per_mpx": ratio * base_pixels / pixels,
        "warmup_steps": timing.warm_up_steps,
        "blocks": len(timing.own),
        "stop_reason": timing.stop_reason,
    }


def _step(bench: Bench, *, baseline: bool = False) -> Any:
    model, images = bench.network(baseline=baseline), bench.images(baseline=baseline)
    return lambda: main_output(model(images))


def _sync(device: torch.device) -> Any:
    match device.type:
        case "cuda":
            return lambda: torch.cuda.synchronize(device)
        case "mps":
            return torch.mps.synchronize
    return lambda: None


def _keep(bench: Bench, timing: Timing) -> None:
    """Every block time is kept: an interval that looks odd can be looked into."""
    if bench.samples is not None:
        raw = {"unit": "s per step", "own": timing.own, "baseline": timing.base, "steps": timing.steps_per_block}
        bench.samples.write_text(json.dumps(raw), encoding="utf-8")
