"""Our own probes: what is special about each, beside the function that measures.

The columns of those that presets run are in the table of columns, `unet_bench/store/columns.py`;
those that check our own measuring bring theirs, as a plugin's do.
"""

from __future__ import annotations

import functools
from dataclasses import replace
from typing import Any, Final

from unet_bench.measure.probe import Estimate, Probe
from unet_bench.spec.cell import Cell, Setting
from unet_bench.store.columns import Column

WARM_UP_ON_GPU_S: Final = 3.0  # of two networks, in one or two timings
ENERGY_S: Final = 26.0
LEAST_BLOCKS: Final = 12  # timed of variant and baseline, however long they take
NOT_KEPT: Final = "its weights were not kept: --keep-weights keeps those of all networks"
QUIET_S: Final = 0.5  # to see whether the machine is quiet, and to measure its ceilings

_shipped = functools.partial(Probe, preload=True)
_timed = functools.partial(_shipped, timed=True)


def _timing(passes: float, cell: Cell, *, of_a_step: int = 1) -> Estimate:
    """Return the estimate of what is timed for the protocol's budget, after so many passes."""
    warm_up_s = QUIET_S if cell.setting.device == "cpu" else WARM_UP_ON_GPU_S
    budget = cell.protocol.speed_s
    return Estimate(passes, warm_up_s, timed_s=budget, timed_passes=LEAST_BLOCKS * of_a_step)


def _passes(passes: float, cell: Cell) -> Estimate:
    return Estimate(passes)


def _energy(cell: Cell) -> Estimate:
    return Estimate(seconds=max(ENERGY_S, cell.protocol.speed_s))


def _training_run(cell: Cell) -> Estimate:
    if cell.variant.trivial:
        return Estimate(tests=True)
    protocol = cell.protocol
    steps = 0 if protocol.train_s else protocol.steps_of(cell.setting.batch)
    evaluations = protocol.recipe.evaluations
    return Estimate(seconds=protocol.train_s, steps=steps, evaluations=evaluations, tests=True)


def _deployed(cell: Cell) -> Estimate:
    return Estimate(evaluations=1, tests=True)


def known_memory(setting: Setting, inference_mib: float, training_mib: float) -> dict[str, Any]:
    """Return the peaks where prediction is exact: on a CPU, eager, contiguous, in fp32."""
    as_is = Setting("cpu", threads=setting.threads, batch=setting.batch)
    if replace(setting, pretrained="none", algorithms="fastest") != as_is:
        return {}
    return {
        "peak_memory_mib": inference_mib,
        "train_peak_memory_mib": training_mib,
        "memory_source": "predicted",
    }


def needs_nvidia(setting: Setting) -> str:
    """Return why energy cannot be read at a setting; empty where it can."""
    if setting.device.partition(":")[0] == "cuda":
        return ""
    return (
        f"energy needs an NVIDIA GPU with NVML's energy counter, and this runs on {setting.device}"
    )


OUR_PROBES: Final = (
    _shipped(
        "cost",
        "unet_bench.measure.cost:probe",
        summary="parameters, MACs, activations, intensity",
        headline="{params:,} parameters",
        settings="first",
        on_device=False,
    ),
    _timed(
        "speed",
        "unet_bench.measure.speed:probe",
        summary="latency and throughput, paired with the baseline",
        headline="{latency_ms:.1f} ms",
        paired=True,
        replicated=True,
        runs_in="any runtime",
        estimate=functools.partial(_timing, 4),
    ),
    _shipped(
        "memory",
        "unet_bench.measure.memory:probe",
        summary="peak memory of inference and a training step",
        headline="{peak_memory_mib:.0f} MiB",
        trains=True,
        keep_freed_memory=False,
        estimate=functools.partial(_passes, 8),
        known=known_memory,
    ),
    _timed(
        "training",
        "unet_bench.measure.training:probe",
        summary="a training step, whole and split, paired likewise",
        paired=True,
        replicated=True,
        trains=True,
        runs_in="training steps",
        estimate=functools.partial(_timing, 20, of_a_step=3),
    ),
    _timed(
        "energy",
        "unet_bench.measure.energy:probe",
        summary="joules an image, paired likewise; NVIDIA GPUs",
        paired=True,
        runs_in="any runtime",
        refuses=needs_nvidia,
        estimate=_energy,
    ),
    _timed(
        "batch",
        "unet_bench.measure.batch:probe",
        summary="the batch of the best throughput, and the largest that fits",
        settings="first batch",
        estimate=functools.partial(_timing, 64),
    ),
    _shipped(
        "accuracy",
        "unet_bench.measure.accuracy:probe",
        summary="trains, then Dice and IoU on test images",
        headline="Dice {dice:.3f}",
        settings="first",
        scores=True,
        trains=True,
        estimate=_training_run,
    ),
    _shipped(
        "deployed",
        "unet_bench.measure.deployed:probe",
        summary="Dice and IoU again, of kept networks as each runtime runs them",
        headline="Dice {dice:.3f} ({dice_change:+.4f})",
        settings="exported",
        scores=True,
        after_training=True,
        runs_in="any runtime",
        estimate=_deployed,
    ),
)

# ---- what checks our own measuring: `unet-bench certify`


def _ms(name: str, meaning: str) -> Column:
    return Column(name, "Float64", meaning, "ms")


def _share(name: str, meaning: str) -> Column:
    heading = f"{name}, %"
    return Column(name, "Float64", meaning, heading=heading, factor=100, scaled="%", decimals=2)


CHECKING_PROBES: Final = (
    _timed(
        "clocks",
        "unet_bench.measure.clocks:probe",
        summary="the host's clock against the device's events and the profiler",
        columns=(
            _ms("host_clock_ms", "a queued pass by the host's clock"),
            _ms("device_events_ms", "the same passes by the device's events; empty on a CPU"),
            _share("events_disagreement", "by what share events exceed the host's clock"),
            _ms("profiled_host_ms", "a pass by the host's clock, while the profiler looked on"),
            _ms("profiler_ms", "the same passes by torch's profiler: see profiler_saw"),
            _share("profiler_disagreement", "by what share the profiler's exceed the host's"),
            Column(
                "profiler_saw",
                "string",
                "kernels: their sum; passes: the span of all, where no kernels can be seen",
            ),
            Column("clock_passes", "Int64", "passes of a block"),
        ),
        headline="{host_clock_ms:.3f} ms",
        estimate=functools.partial(_timing, 10),
    ),
    _shipped(
        "outputs",
        "unet_bench.measure.outputs:probe",
        summary="a setting's outputs against fp32, eager, contiguous, batch norm kept",
        columns=(
            _share("output_difference", "largest difference, of the largest expected score"),
            _share("class_agreement", "share of pixels that are of the same class"),
        ),
        headline="{output_difference:.2e} of the largest score",
        runs_in="any runtime",
        estimate=functools.partial(_passes, 4),
    ),
)
