"""Joules an image by the GPU's energy counter, alternating with the baseline in one process."""

from __future__ import annotations

import functools
import json
import math
import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

import torch

from unet_bench.context import MeasurementContext
from unet_bench.errors import Unsupported
from unet_bench.host.device import synchroniser
from unet_bench.host.nvml import Gpu, open_gpu
from unet_bench.measure.clock import Step, warm_up
from unet_bench.measure.guard import GPU_BUSY
from unet_bench.measure.ready import prepare

WINDOW_S: Final = 3.0  # the counter moves every 10 to 100 ms: at most 3 % of a window
LEAD_S: Final = 0.2  # before a window, so that what the counter lags by is the same network's
CHUNK_S: Final = 0.05  # steps between two looks at the clock
MIN_QUADS: Final = 2
NEEDS: Final = "energy needs an NVIDIA GPU with NVML's energy counter (package nvidia-ml-py)"


class Window(NamedTuple):
    """What a network did while the counter was watched."""

    joules: float
    images: int
    seconds: float


@dataclass
class Energy:
    """Windows of a workload and its baseline, taken in ABBA order."""

    candidate: list[Window] = field(default_factory=list)
    baseline: list[Window] = field(default_factory=list)
    crowded: bool = False  # other processes' kernels ran on the GPU too

    def columns(self) -> dict[str, Any]:
        """Return the measured columns.

        The ratio is the geometric mean of quadruples; slow drift cancels within each.
        """
        ratios = [
            joules_per_image(self.candidate[i : i + 2]) / joules_per_image(self.baseline[i : i + 2])
            for i in range(0, len(self.candidate), 2)
        ]
        joules = sum(window.joules for window in self.candidate)
        seconds = sum(window.seconds for window in self.candidate)
        return {
            "energy_j_img": None if self.crowded else joules_per_image(self.candidate),
            "energy_ratio": statistics.geometric_mean(ratios),
            "power_w": None if self.crowded else joules / seconds,
            "energy_windows": len(self.candidate),
            "quality": "contaminated" if self.crowded else "clean",
            "evidence": "other processes used the GPU" if self.crowded else None,
        }


def joules_per_image(windows: Sequence[Window]) -> float:
    """Return joules an image over several windows."""
    return sum(w.joules for w in windows) / sum(w.images for w in windows)


def probe(context: MeasurementContext) -> dict[str, Any]:
    """Measure joules of forward passes of the setting's batch.

    Raises Unsupported where no GPU counts them.
    """
    gpu = open_gpu(context.device)
    if gpu is None:
        raise Unsupported(f"{NEEDS}; NVML knows no GPU as {context.device}")
    candidate, baseline = _step(context), _step(context.baseline())
    sync = synchroniser(context.device)
    with torch.inference_mode(), context.precision():
        energy = measure(
            candidate,
            baseline,
            gpu,
            context.cell.protocol.speed_s,
            context.cell.setting.batch,
            sync=sync,
        )
    if context.samples is not None:
        raw = {
            "unit": "J, images, s per window",
            "own": energy.candidate,
            "baseline": energy.baseline,
        }
        context.samples.write_text(json.dumps(raw), encoding="utf-8")
    return energy.columns()


def measure(
    candidate: Step,
    baseline: Step,
    gpu: Gpu,
    budget_s: float,
    images: int,
    now: Callable[[], float] = time.perf_counter,
    sync: Callable[[], None] = lambda: None,
) -> Energy:
    """Watch the counter in windows of candidate and baseline, steps of `images` each.

    Until `budget_s` seconds are spent; two quadruples at least. Raises Unsupported where the
    counter is missing or stands still.
    """

    def timed(step: Step) -> float:
        sync()
        start = now()
        step()
        sync()
        return now() - start

    def run(step: Step, chunk: int, duration_s: float) -> tuple[int, float]:
        steps, spent, start = 0, 0.0, now()
        while spent < duration_s:
            for _ in range(chunk):
                step()
            sync()
            steps, spent = steps + chunk, now() - start
        return steps, spent

    def window(step: Step, chunk: int) -> Window:
        run(step, chunk, LEAD_S)
        before, since_s = _joules(gpu), time.time()
        steps, spent = run(step, chunk, WINDOW_S)
        joules = _joules(gpu) - before
        if joules <= 0:
            raise Unsupported(
                f"{NEEDS}; this GPU's stood still at {before:g} J for {spent:.1f} s of work"
            )
        energy.crowded |= (gpu.foreign_share(since_s) or 0.0) > GPU_BUSY
        return Window(joules, steps * images, spent)

    energy = Energy()
    _joules(gpu)  # complain before the warm-up
    a, b = (
        (step, _chunk(warm_up(functools.partial(timed, step)))) for step in (candidate, baseline)
    )
    start = now()
    while len(energy.candidate) < 2 * MIN_QUADS or now() - start < budget_s:
        energy.candidate.append(window(*a))
        energy.baseline.append(window(*b))
        energy.baseline.append(window(*b))
        energy.candidate.append(window(*a))
    return energy


def _chunk(times: Sequence[float]) -> int:
    """Return how many steps take about `CHUNK_S`.

    Waiting for so many costs nothing.
    """
    return max(1, math.ceil(CHUNK_S / max(min(times), 1e-9)))


def _joules(gpu: Gpu) -> float:
    joules = gpu.energy_j()
    if joules is None:
        raise Unsupported(f"{NEEDS}; this GPU has none")
    return joules


def _step(context: MeasurementContext) -> Step:
    return prepare(context).infer
