"""The one table of result columns. Types, docs, headings and report axes come from here.

`python -m unet_bench.store.schema > results/README.md` writes the documentation of a run's folder.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any, Final, Literal

from unet_bench.errors import StoreError
from unet_bench.networks.choices import DTYPES, FIELDS, NAMES

SCHEMA_VERSION: Final = 1
MOST_WHOLE: Final = 2**63  # what a whole number stays below

Better = Literal["", "high", "low"]


@dataclass(frozen=True)
class Column:
    """A column of one or more tables. `probes` measure it; `better` says which end of it is good."""

    name: str
    dtype: str
    unit: str = ""
    meaning: str = ""
    tables: tuple[str, ...] = ("cells", "results")
    probes: tuple[str, ...] = ()
    better: Better = ""
    label: str = ""  # in sentences and on axes; else the name
    heading: str = ""  # above a column, with the unit; else the name
    factor: float = 1.0  # of what is shown
    decimals: int = 0  # 0: three significant digits, counts whole

    def __post_init__(self) -> None:
        object.__setattr__(self, "label", self.label or self.name)
        object.__setattr__(self, "heading", self.heading or self.name)


TABLES: Final[Mapping[str, str]] = {
    "cells": "one row per cell: its last attempt",
    "results": "one row per variant × task × setting: every probe's figures side by side",
    "classes": "one row per class of every accuracy cell",
}

PROBES: Final = ("cost", "speed", "memory", "accuracy", "training", "energy", "batch")

# Both from mild to grave: the status or quality of several cells is the last of theirs in this
# order.
STATUSES: Final[Mapping[str, str]] = {
    "ok": "there are figures",
    "skipped": "left out on purpose",
    "unsupported": "the variant cannot run on this task or setting, by its nature",
    "oom": "memory ran out",
    "timeout": "took longer than it was allowed to",
    "killed": "the worker was ended from outside",
    "nonfinite": "a loss or an output became NaN or infinite",
    "error": "anything else that went wrong; `error` and `log` say what",
}
QUALITIES: Final[Mapping[str, str]] = {
    "clean": "nothing disturbed the measurement",
    "unwatched": "nobody could say whether others used the GPU: NVML, which does, does not know it",
    "recompiled": "the model was compiled again inside the timed part",
    "unpaired": "timed without the baseline beside it, which did not fit: there is no ratio",
    "throttled": "the device lowered its clocks for lack of power or for heat: times are as it ran so",
    "contaminated": "other work ran on the machine: absolute times are left empty, a ratio is kept if its interval is "
    "at most 10 % wide",
    "mixed": "replicates ran on unlike devices: nothing of them is averaged",
}

PER_CLASS: Final = (
    "per_class"  # the rows of classes.csv, as the accuracy probe leaves them in its own
)
WHERE: Final = (
    "device_name",
    "env_id",
    "torch",
    "commit",
)  # what tells machines and their software apart

SIZE: Final = ("scored_depth", "scored_height", "scored_width")  # without a depth: images

# What decides whether two rows may be compared: the task at one scored size, and how it was run.
CONDITIONS: Final = (
    "task",
    "dataset_hash",
    *SIZE,
    "fit",
    "match",
    "recipe",
    "budget",
    "evaluation",
    "pretrained",
    "device",
    "precision",
    "memory_format",
    "mode",
    "batch_norm",
    "algorithms",
    "threads",
    "batch_requested",
)

# Figures that come with a 95 % interval, and the columns of its ends.
INTERVALS: Final[Mapping[str, tuple[str, str]]] = {
    "latency_ms": ("latency_ci_low_ms", "latency_ci_high_ms"),
    "latency_ratio": ("latency_ratio_ci_low", "latency_ratio_ci_high"),
    "latency_ratio_per_mpx": ("latency_ratio_per_mpx_ci_low", "latency_ratio_per_mpx_ci_high"),
    "throughput_ratio": ("throughput_ratio_ci_low", "throughput_ratio_ci_high"),
    "train_step_ms": ("train_step_ci_low_ms", "train_step_ci_high_ms"),
    "train_step_ratio": ("train_step_ratio_ci_low", "train_step_ratio_ci_high"),
    "dice": ("dice_ci_low", "dice_ci_high"),
    "dice_difference": ("dice_difference_ci_low", "dice_difference_ci_high"),
}

_TIMED = ("speed", "training")
_WATCHED = (*_TIMED, "batch")
_CELLS = ("cells",)
_RESULTS = ("results",)
_CLASSES = ("classes",)
_MOST = ("cells", "results")
_ALL = ("cells", "results", "classes")


def _figure(
    name: str,
    dtype: str,
    unit: str,
    meaning: str,
    probe: str,
    better: Better = "",
    tables: tuple[str, ...] = _MOST,
) -> Column:
    return Column(name, dtype, unit, meaning, tables, (probe,), better)


def _with_interval(
    name: str, suffix: str, unit: str, meaning: str, probe: str, better: Better
) -> tuple[Column, ...]:
    """A figure and the ends of its 95 % interval."""
    return (
        _figure(f"{name}{suffix}", "Float64", unit, meaning, probe, better),
        _figure(f"{name}_ci_low{suffix}", "Float64", unit, "lower end of its 95 % interval", probe),
        _figure(
            f"{name}_ci_high{suffix}", "Float64", unit, "upper end of its 95 % interval", probe
        ),
    )


_PEAKS: Final[Mapping[str, str]] = {
    "peak_memory_mib": "on CUDA the allocator's peak, elsewhere the live tensor bytes'",
    "live_memory_mib": "peak of live tensor bytes, the same on every machine",
    "rss_memory_mib": "on a CPU, how much the process itself grew, libraries' workspaces included; Linux",
    "requested_memory_mib": "on CUDA, what tensors asked of the allocator at its peak, before it rounded that up",
    "reserved_memory_mib": "on CUDA, the most that the allocator had taken",
    "process_memory_mib": "on CUDA, what the process holds, its context included; by NVML",
}


def _peaks(prefix: str, of: str) -> Iterable[Column]:
    for name, meaning in _PEAKS.items():
        yield _figure(f"{prefix}{name}", "Float64", "MiB", f"{of}: {meaning}", "memory", "low")


def _status(probe: str) -> Column:
    return Column(
        f"{probe}_status", "string", "", f"the worst status of the {probe} cells", _RESULTS
    )


COLUMNS: Final = (
    Column("schema_version", "Int64", "", "version of this table of columns", _MOST),
    Column("run_id", "string", "", "the run, which is also its folder's name", _ALL),
    Column(
        "cell_id",
        "string",
        "",
        "hash of variant, task, setting, probe, seed and replicate",
        ("cells", "classes"),
    ),
    Column("variant", "string", "", "name of the set of choices, or of the architecture", _ALL),
    Column(
        "same_as",
        "string",
        "",
        "the variant measured in its place, since their choices come to the same",
        _MOST,
    ),
    Column("probe", "string", "", "the kind of measurement: " + ", ".join(PROBES), _CELLS),
    Column("status", "string", "", "whether there are figures; see statuses", _CELLS),
    Column(
        "seed",
        "Int64",
        "",
        "seed of the weights, the order and the augmentation",
        ("cells", "classes"),
    ),
    Column("replicate", "Int64", "", "which of several fresh processes", _CELLS),
    Column(
        "fold",
        "string",
        "",
        "which fold of the data was the test set, of how many: 0/5",
        ("cells", "classes"),
    ),
    Column("attempt", "Int64", "", "how often the cell has been tried, from 1", _CELLS),
    Column(
        "key",
        "string",
        "",
        "hash that changes whenever the figures may: cell, protocol, software, device",
        _CELLS,
    ),
    Column("started", "string", "", "when the attempt began: ISO 8601, UTC", _CELLS),
    Column(
        "wall_s",
        "Float64",
        "s",
        "how long the attempt took, from start to end of its process",
        _CELLS,
    ),
    Column("host", "string", "", "the name of the machine that measured it", _CELLS),
    Column("place", "string", "", "which of that machine's devices it was", _CELLS),
    Column("log", "string", "", "the worker's stderr, relative to the run's folder", _CELLS),
    *(Column(name, DTYPES[name], "", FIELDS[name].metadata["help"], _MOST) for name in NAMES),
    Column(
        "architecture",
        "string",
        "",
        "the whole network, where it does not decompose into slots",
        _MOST,
    ),
    Column("architecture_args", "string", "", "the architecture's arguments", _MOST),
    Column(
        "inactive", "string", "", "choices that cannot matter in this variant, by commas", _MOST
    ),
    Column("plugins", "string", "", "who provided the variant's parts", _MOST),
    Column("task", "string", "", "the data set or synthetic input", _ALL),
    Column("dataset_hash", "string", "", "hash of the images, masks and split", _MOST),
    Column("device", "string", "", "where it ran: cpu, cuda, xpu, mps", _MOST),
    Column("device_name", "string", "", "the device's model", _MOST),
    Column(
        "precision",
        "string",
        "",
        "number format of the forward pass: fp32, tf32, fp16, bf16",
        _MOST,
    ),
    Column("memory_format", "string", "", "order of the dimensions in memory", _MOST),
    Column(
        "mode",
        "string",
        "",
        "how inference and timed steps are run: eager, compile, cudagraphs",
        _MOST,
    ),
    Column(
        "batch_norm", "string", "", "for inference: kept, or folded into the convolutions", _MOST
    ),
    Column("algorithms", "string", "", "torch's: the fastest, or deterministic ones only", _MOST),
    Column("threads", "Int64", "", "CPU threads of one operator", _MOST),
    Column("batch_requested", "Int64", "images", "batch size asked for", _MOST),
    Column(
        "batch_effective",
        "Int64",
        "images",
        "batch size run, the smallest of the cells; smaller than requested where --shrink-batch halved it",
        _MOST,
    ),
    Column(
        "input_depth", "Int64", "px", "of the input fed to the network, where it is a volume", _MOST
    ),
    Column("height", "Int64", "px", "of the input fed to the network", _MOST),
    Column("width", "Int64", "px", "of the input fed to the network", _MOST),
    Column(
        "output_depth", "Int64", "px", "of the map the network returns, where it is a volume", _MOST
    ),
    Column("output_height", "Int64", "px", "of the map the network returns", _MOST),
    Column("output_width", "Int64", "px", "of the map the network returns", _MOST),
    Column(
        "scored_depth",
        "Int64",
        "px",
        "of what the task scores, where it is volumes; empty: images",
        _MOST,
    ),
    Column(
        "scored_height",
        "Int64",
        "px",
        "of what the task scores; unpadded nets get mirrored context around it",
        _MOST,
    ),
    Column(
        "scored_width",
        "Int64",
        "px",
        "of what the task scores; unpadded nets get mirrored context around it",
        _MOST,
    ),
    Column("in_channels", "Int64", "", "channels of the input", _MOST),
    Column("classes", "Int64", "", "classes the network tells apart, background included", _MOST),
    Column("fit", "string", "", "how images came to the scored size: crop or resize", _MOST),
    Column(
        "match",
        "string",
        "",
        "what of the baseline's all widths were scaled to meet: params or macs; empty: `width_scale` was one for all",
        _MOST,
    ),
    Column(
        "pretrained", "string", "", "published weights that training began from, or none", _MOST
    ),
    Column(
        "recipe",
        "string",
        "",
        "how it was trained; a recipe from a file is followed by a hash of it",
        _MOST,
    ),
    Column(
        "budget", "string", "", "how long it was trained: steps, epochs, images or seconds", _MOST
    ),
    Column(
        "evaluation",
        "string",
        "",
        "how test images were predicted: tiled or whole, overlap, flips",
        _MOST,
    ),
    Column(
        "slowdown",
        "Float64",
        "",
        "what the self-test made the variant's step slower by, as a part of it",
        _CELLS,
    ),
    Column("preset", "string", "", "the suite or preset the run was asked for by", _RESULTS),
    Column("seeds", "Int64", "", "seeds the accuracy figures come from", _RESULTS),
    Column("replicates", "Int64", "", "fresh processes the speed figures come from", _RESULTS),
    Column("env_id", "string", "", "hash of the stable facts of the environment", _MOST),
    Column("torch", "string", "", "version of torch", _MOST),
    Column("commit", "string", "", "git commit of unet-bench, marked when dirty", _MOST),
    *map(_status, PROBES),
    Column("quality", "string", "", "how good the figures are; the worst of the cells", _MOST),
    Column("evidence", "string", "", "what was seen that makes the quality less than clean", _MOST),
    Column("error", "string", "", "the first error's text", _MOST),
    Column(
        "oom_asked_mib",
        "Float64",
        "MiB",
        "of `oom`: what could not be had, where the message says",
        _CELLS,
    ),
    Column("params", "Int64", "", "parameters, auxiliary heads included", _MOST, ("cost",), "low"),
    Column(
        "macs",
        "Int64",
        "",
        "multiply-accumulates of one image or volume at the input's size, main path (FlopCounterMode ÷ 2)",
        _MOST,
        ("cost",),
        "low",
    ),
    Column(
        "activations",
        "Int64",
        "",
        "elements that convolutions and linear maps put out, one image",
        _MOST,
        ("cost",),
        "low",
    ),
    _figure(
        "flop_per_byte",
        "Float64",
        "",
        "arithmetic intensity: 2 × MACs over the bytes of what convolutions and linear maps read and write once, fp32",
        "cost",
    ),
    Column(
        "build_s",
        "Float64",
        "s",
        "building the network and bringing it to the device",
        _CELLS,
        _TIMED,
    ),
    Column("compile_s", "Float64", "s", "compiling or capturing it: the first call", _MOST, _TIMED),
    Column(
        "compile_cache", "string", "", "the compiler's cache on disk: cold, or warm", _CELLS, _TIMED
    ),
    Column("graph_breaks", "Int64", "", "places where compiling was interrupted", _MOST, _TIMED),
    Column("warmup_steps", "Int64", "", "steps before the timed ones", _CELLS, _TIMED),
    Column("blocks", "Int64", "", "timed blocks", _CELLS, _TIMED),
    Column(
        "measured_s",
        "Float64",
        "s",
        "part of wall_s in timed blocks, the baseline's included",
        _CELLS,
        _TIMED,
    ),
    Column(
        "foreign_cpu_share",
        "Float64",
        "",
        "part of the CPU that other work took, 0 to 1",
        _CELLS,
        _WATCHED,
        "low",
    ),
    Column(
        "steal_share",
        "Float64",
        "",
        "part of the CPU that the virtual machine's host took",
        _CELLS,
        _WATCHED,
        "low",
    ),
    Column(
        "foreign_gpu_share",
        "Float64",
        "",
        "part of the GPU's time that others' work took",
        _CELLS,
        _WATCHED,
        "low",
    ),
    Column(
        "gpu_clock_mhz",
        "Float64",
        "MHz",
        "the GPU's clock while timing, mean of samples; by NVML",
        _CELLS,
        _WATCHED,
    ),
    Column(
        "gpu_power_w", "Float64", "W", "the GPU's power while timing, likewise", _CELLS, _WATCHED
    ),
    Column(
        "gpu_temperature_c",
        "Float64",
        "°C",
        "the GPU's temperature while timing, likewise",
        _CELLS,
        _WATCHED,
    ),
    Column(
        "stop_reason",
        "string",
        "",
        "why it ended: ci, plateau, cap; of batches: throughput, memory, elements (2³¹ in a tensor), cap",
        _CELLS,
        _WATCHED,
    ),
    *_with_interval(
        "latency",
        "_ms",
        "ms",
        "median time of one forward pass of the batch, waited for",
        "speed",
        "low",
    ),
    _figure(
        "latency_p95_ms",
        "Float64",
        "ms",
        "19 of 20 passes are quicker; from 200 steps on",
        "speed",
        "low",
    ),
    _figure(
        "latency_p99_ms",
        "Float64",
        "ms",
        "99 of 100 passes are quicker; from 1000 steps on",
        "speed",
        "low",
    ),
    _figure(
        "throughput_img_s", "Float64", "img/s", "images per second, passes queued", "speed", "high"
    ),
    _figure(
        "throughput_mpx_s",
        "Float64",
        "Mpx/s",
        "output megapixels per second; of volumes 10⁶ voxels are one",
        "speed",
        "high",
    ),
    *_with_interval(
        "latency_ratio",
        "",
        "×",
        "latency over the baseline's, in alternating blocks of one process",
        "speed",
        "low",
    ),
    *_with_interval(
        "latency_ratio_per_mpx",
        "",
        "×",
        "latency per output megapixel over the baseline's",
        "speed",
        "low",
    ),
    *_with_interval(
        "throughput_ratio", "", "×", "throughput over the baseline's, likewise", "speed", "high"
    ),
    _figure(
        "ceiling_tflop_s",
        "Float64",
        "TFLOP/s",
        "a large matrix product on the device, just then",
        "speed",
    ),
    _figure(
        "ceiling_gb_s",
        "Float64",
        "GB/s",
        "a large copy on the device, just then: read and written",
        "speed",
    ),
    _figure(
        "roofline_fraction",
        "Float64",
        "",
        "FLOP/s over what the ceilings allow at its flop_per_byte",
        "speed",
        "high",
    ),
    *_with_interval(
        "train_step", "_ms", "ms", "median time of a training step of the batch", "training", "low"
    ),
    *_with_interval(
        "train_step_ratio",
        "",
        "×",
        "training step over the baseline's, likewise",
        "training",
        "low",
    ),
    _figure(
        "train_throughput_img_s",
        "Float64",
        "img/s",
        "images trained on per second",
        "training",
        "high",
    ),
    _figure(
        "train_forward_ms",
        "Float64",
        "ms",
        "its forward pass and loss, waited for",
        "training",
        "low",
    ),
    _figure(
        "train_backward_ms", "Float64", "ms", "its backward pass, waited for", "training", "low"
    ),
    _figure(
        "train_update_ms",
        "Float64",
        "ms",
        "its update of the weights, waited for",
        "training",
        "low",
    ),
    _figure(
        "train_split_excess_ms",
        "Float64",
        "ms",
        "what the three come to beyond the whole: waiting costs",
        "training",
    ),
    Column(
        "predicted_memory_mib",
        "Float64",
        "MiB",
        "live_memory_mib as foreseen without running, eager",
        _MOST,
    ),
    Column(
        "predicted_train_memory_mib",
        "Float64",
        "MiB",
        "train_live_memory_mib as foreseen, likewise",
        _MOST,
    ),
    *_peaks("", "inference"),
    *_peaks("train_", "training step"),
    _figure(
        "energy_j_img",
        "Float64",
        "J/img",
        "energy of the whole GPU for one image's forward pass",
        "energy",
        "low",
    ),
    _figure(
        "energy_ratio",
        "Float64",
        "×",
        "energy an image over the baseline's, side by side",
        "energy",
        "low",
    ),
    _figure("power_w", "Float64", "W", "mean power of the GPU during forward passes", "energy"),
    _figure(
        "energy_windows",
        "Int64",
        "",
        "windows of the energy counter, as many as the baseline's",
        "energy",
        "",
        _CELLS,
    ),
    _figure(
        "best_batch",
        "Int64",
        "images",
        "the smallest batch within 2 % of the best throughput",
        "batch",
    ),
    _figure(
        "best_throughput_img_s",
        "Float64",
        "img/s",
        "images per second at that batch",
        "batch",
        "high",
    ),
    _figure(
        "largest_batch",
        "Int64",
        "images",
        "largest batch that fits, to an eighth, up to 16384",
        "batch",
        "high",
    ),
    Column(
        "dice",
        "Float64",
        "",
        "Dice score, 0 to 1: of the class, or the mean over foreground classes, pooled over the test set",
        _ALL,
        ("accuracy",),
        "high",
    ),
    Column(
        "dice_ci_low",
        "Float64",
        "",
        "lower end of its 95 % interval: over seeds and folds; of a single one, over test images (bootstrap)",
        _MOST,
        ("accuracy",),
    ),
    Column(
        "dice_ci_high",
        "Float64",
        "",
        "upper end of its 95 % interval, likewise",
        _MOST,
        ("accuracy",),
    ),
    Column("dice_sd", "Float64", "", "standard deviation of dice over seeds and folds", _RESULTS),
    Column(
        "dice_pairs",
        "Int64",
        "",
        "pairs (seed, fold) that this variant and the baseline have in common",
        _RESULTS,
    ),
    Column(
        "dice_difference",
        "Float64",
        "",
        "mean over the pairs: dice less the baseline's",
        _RESULTS,
        (),
        "high",
    ),
    Column(
        "dice_difference_ci_low",
        "Float64",
        "",
        "lower end of its 95 % interval, from two pairs on",
        _RESULTS,
    ),
    Column(
        "dice_difference_ci_high",
        "Float64",
        "",
        "upper end of its 95 % interval, from two pairs on",
        _RESULTS,
    ),
    Column(
        "dice_verdict", "string", "", "better, worse, or not separable from the baseline", _RESULTS
    ),
    Column(
        "dice_pairs_needed",
        "Int64",
        "",
        "pairs that would separate them, if difference and spread stayed as they are",
        _RESULTS,
    ),
    Column(
        "iou",
        "Float64",
        "",
        "intersection over union, 0 to 1: of the class, or the mean over foreground classes, pooled over the test set",
        _ALL,
        ("accuracy",),
        "high",
    ),
    _figure(
        "dice_all_classes", "Float64", "", "dice, class 0 included in the mean", "accuracy", "high"
    ),
    _figure(
        "iou_all_classes",
        "Float64",
        "",
        "iou, class 0 included in the mean (mIoU)",
        "accuracy",
        "high",
    ),
    _figure(
        "dice_per_image",
        "Float64",
        "",
        "Dice of each test image, foreground classes that occur in truth or prediction; then the mean over images",
        "accuracy",
        "high",
        _ALL,
    ),
    _figure(
        "iou_per_image",
        "Float64",
        "",
        "intersection over union, likewise image by image",
        "accuracy",
        "high",
        _ALL,
    ),
    _figure(
        "hd95_px",
        "Float64",
        "px",
        "95th percentile of the distances between true and predicted outlines, the worse direction; mean over test "
        "images and foreground classes",
        "accuracy",
        "low",
        _ALL,
    ),
    _figure(
        "boundary_f1",
        "Float64",
        "",
        "F1 of outline pixels within 0.75 % of the image's diagonal; mean over test images and foreground classes",
        "accuracy",
        "high",
        _ALL,
    ),
    _figure(
        "rand_f1",
        "Float64",
        "",
        "where a class is called membrane or boundary: foreground-restricted Rand F-score of the parts it leaves",
        "accuracy",
        "high",
    ),
    Column(
        "train_s",
        "Float64",
        "s",
        "training, data included, looks at validation images left out",
        _MOST,
        ("accuracy",),
        "low",
    ),
    Column("train_steps", "Int64", "", "optimiser steps taken", _MOST, ("accuracy",)),
    Column(
        "train_images",
        "Int64",
        "images",
        "images those steps saw, repetitions counted",
        _CELLS,
        ("accuracy",),
    ),
    Column(
        "train_precision",
        "string",
        "",
        "number format of training",
        _CELLS,
        ("accuracy",),
    ),
    Column(
        "train_memory_format",
        "string",
        "",
        "order of the dimensions in memory, in training",
        _CELLS,
        ("accuracy",),
    ),
    Column("best_step", "Int64", "", "step of the weights that were tested", _CELLS, ("accuracy",)),
    Column(
        "val_dice", "Float64", "", "validation Dice of those weights", _CELLS, ("accuracy",), "high"
    ),
    _figure(
        "val_iou_all_classes", "Float64", "", "validation mIoU of those weights", "accuracy", "high"
    ),
    Column("first_loss", "Float64", "", "training loss of the first step", _CELLS, ("accuracy",)),
    Column(
        "final_loss", "Float64", "", "training loss of the last step", _CELLS, ("accuracy",), "low"
    ),
    Column(
        "data_s",
        "Float64",
        "s",
        "the host's part of it for making batches and waiting for them",
        _CELLS,
        ("accuracy",),
        "low",
    ),
    Column("data_share", "Float64", "", "data_s over train_s", _CELLS, ("accuracy",), "low"),
    Column(
        "resumed_step",
        "Int64",
        "",
        "step from which a killed training went on, if one did",
        _CELLS,
        ("accuracy",),
    ),
    Column("baseline", "string", "", "the variant that ratios compare with", _MOST),
    Column(
        "pareto",
        "boolean",
        "",
        "no variant beats it in Dice, latency and peak memory at once",
        _RESULTS,
    ),
    Column("class_index", "Int64", "", "the class's value in the masks", _CLASSES),
    Column("class_name", "string", "", "the class's name", _CLASSES),
    Column("pixels", "Int64", "px", "pixels of the class in the test set", _CLASSES),
)

BY_NAME: Final[Mapping[str, Column]] = {column.name: column for column in COLUMNS}
PROBE_COLUMNS: Final[Mapping[str, tuple[str, ...]]] = {
    probe: tuple(column.name for column in COLUMNS if probe in column.probes) for probe in PROBES
}
NOT_MEASURED: Final = frozenset(c.name for c in COLUMNS if not c.probes) - {"quality", "evidence"}


GRAVITY: Final[Mapping[str, int]] = {
    name: rank for names in (STATUSES, QUALITIES) for rank, name in enumerate(names)
}


# Of most values the type says all: a run that goes on looks at millions of them.
_TYPES: Final = {"string": str, "Float64": float, "boolean": bool, "Int64": type(None)}
_SURE: Final[Mapping[str, tuple[type, ...]]] = {
    column.name: (_TYPES[column.dtype], type(None))
    for column in COLUMNS
    if column.unit != "×" and column.name not in ("status", "quality")
}


def fault(row: Mapping[str, Any], known: Mapping[str, Column] = BY_NAME) -> str:
    """The first value that its column does not take, in words; empty if there is none."""
    for name, value in row.items():
        if type(value) in _SURE.get(name, ()):
            continue
        if isinstance(value, int) and abs(value) >= MOST_WHOLE:
            return f"{name} has more than 64 bits"
        if name == PER_CLASS and not _are_records(value):
            return f"{name} is no list of records: {ascii(value)[:60]}"
        column = known.get(name)
        if column is None or value is None:
            continue
        words = STATUSES if name == "status" else QUALITIES if name == "quality" else None
        right = (
            (value in words)
            if words and isinstance(value, str)
            else _takes(column.dtype, value) and not words
        )
        if not right or (column.unit == "×" and value <= 0):
            return f"{name} does not take {ascii(value)[:60]}"
    return ""


def _are_records(value: object) -> bool:
    return value is None or (
        isinstance(value, list | tuple) and all(isinstance(record, dict) for record in value)
    )


def _takes(dtype: str, value: object) -> bool:
    if dtype == "boolean" or isinstance(value, bool):
        return dtype == "boolean" and isinstance(value, bool)
    if dtype == "Int64":
        return isinstance(value, int) or (isinstance(value, float) and value.is_integer())
    return isinstance(value, int | float) or (dtype == "string" and isinstance(value, str))


def worst_of(names: Iterable[str | None]) -> str | None:
    """Of several statuses or qualities the worst; an unknown one is worse than all."""
    return max(
        (name for name in names if name),
        key=lambda name: GRAVITY.get(name, len(GRAVITY)),
        default=None,
    )


def columns(table: str) -> tuple[Column, ...]:
    """The columns of the table `cells`, `results` or `classes`, in order. Raises StoreError for any
    other.
    """
    if table not in TABLES:
        raise StoreError(f"unknown table {table!r}: it is one of {', '.join(TABLES)}")
    return tuple(column for column in COLUMNS if table in column.tables)


_INTRO = """\
# A run's folder

<!-- Generated: python -m unet_bench.store.schema > results/README.md -->

`unet-bench run` leaves a folder `results/<run_id>/`:

| file | holds |
|---|---|
| `run.json` | what was asked for and where it ran; written first |
| `cells.jsonl` | the truth: one line per attempt at a cell, only ever appended to |
| `cells.csv`, `results.csv`, `classes.csv` | tables made from it; open `results.csv` first |
| `selftest.json`, `selftest.txt` | how far its timings can be trusted, once `unet-bench selftest` was run |
| `samples/` | raw block times; of trainings every loss, and what validation images said on the way; each network's \
shape; some test images (`--examples`), their truth and what each network made of them |
| `weights/` | trained networks, with `--keep-weights`: safetensors, and JSON that says what they are |
| `checkpoints/` | of trainings that were killed, from which `--resume` goes on |
| `logs/` | the workers' stderr |
| `.lock` | the id of the process that last wrote to the run |

```python
from unet_bench import read_results

frame = read_results("results/<run_id>")  # pandas, each column with the type given below
```

A cell that failed is a row with a status and empty figures; an empty field always means "no value", never zero.
Rows with the same conditions may be compared: {conditions}.

Several replicates are joined into the mean of the processes, with a 95 % t interval; ratios are joined on the
logarithm; of several peaks the highest counts. Several seeds are joined into their mean; where there are several folds,
into the mean of the folds' means. Their interval is Student's t below ten of them, and from ten on an expanded
percentile bootstrap. Cells that failed are left out, and named by the status.

A probe from a plugin adds columns of its own at the end.
"""


def markdown() -> str:
    """The documentation of a run's folder and of every column, for `results/README.md`."""
    listed = (
        (f"`{c.name}`", c.dtype, c.unit, ", ".join(c.tables), ", ".join(c.probes), c.meaning)
        for c in COLUMNS
    )
    parts = (
        _INTRO.format(conditions=", ".join(f"`{name}`" for name in CONDITIONS)),
        _section("Tables", ("table", "holds"), _coded(TABLES)),
        _section("Statuses", ("status", "meaning"), _coded(STATUSES)),
        _section("Qualities", ("quality", "meaning"), _coded(QUALITIES)),
        _section("Columns", ("column", "type", "unit", "tables", "probes", "meaning"), listed),
    )
    return "\n".join(parts)


def _coded(meanings: Mapping[str, str]) -> Iterable[tuple[str, str]]:
    return ((f"`{name}`", meaning) for name, meaning in meanings.items())


def _section(title: str, header: tuple[str, ...], rows: Iterable[tuple[str, ...]]) -> str:
    lines = (" | ".join(row) for row in (header, ("---",) * len(header), *rows))
    return f"## {title}\n\n" + "".join(f"| {line} |\n" for line in lines)


if __name__ == "__main__":
    print(markdown(), end="")
