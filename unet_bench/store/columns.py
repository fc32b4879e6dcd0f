"""The table of result columns: what each figure is, and how it is shown, said in this one place.

A new figure is a line here and its value in what a probe returns; tables, plots, reports and docs
read the rest. Imports nothing heavy.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any, Final, Literal

from unet_bench.networks.choices import DTYPES, FIELDS, NAMES

Better = Literal["", "high", "low"]

OUR_PROBE_NAMES: Final = (
    "cost",
    "speed",
    "memory",
    "accuracy",
    "training",
    "energy",
    "batch",
    "deployed",
)


@dataclass(frozen=True)
class Column:
    """A column of one or more tables; of a figure also how it is compared and shown.

    `label` names it in sentences and on axes, `heading` with its unit above a column; both default
    to the name. Shown values are `factor` × the stored ones, in the unit `scaled`, with `decimals`
    (0: three significant digits, counts whole).
    """

    name: str
    dtype: str
    meaning: str
    unit: str = ""
    tables: tuple[str, ...] = ("cells", "results")
    probes: tuple[str, ...] = ()
    """The probes that measure it."""
    better: Better = ""
    exact: bool = False
    """Counted or computed: one measurement has no error."""
    signed: bool = False
    """Of a score: a change of it, which may be below 0."""
    by_difference: bool = False
    """Compared by difference, as scores are, not by quotient."""
    interval: tuple[str, str] | None = None
    """The columns with the ends of its 95 % interval."""
    ratio: str = ""
    """The column of its ratio to the baseline, measured side by side."""
    verdict: str = ""
    """The column that says in a word what its interval shows."""
    label: str = ""
    heading: str = ""
    factor: float = 1.0
    scaled: str = ""
    decimals: int = 0
    place: int = 0
    """Where it stands among the columns that tables show from the start; 0: on demand only."""

    def __post_init__(self) -> None:
        """Fill in what follows from the rest."""
        suffix = "_" + self.unit.lower().replace("/", "_")
        object.__setattr__(self, "label", self.label or self.name.removesuffix(suffix))
        object.__setattr__(self, "heading", self.heading or self.name)
        object.__setattr__(self, "scaled", self.scaled or self.unit)

    @property
    def is_ratio(self) -> bool:
        """Whether it is itself a quotient, of the baseline's figure."""
        return self.unit == "×"


_CELLS: Final = ("cells",)
_RESULTS: Final = ("results",)
_CLASSES: Final = ("classes",)
_BOTH: Final = ("cells", "classes")
_ALL: Final = ("cells", "results", "classes")

_COST: Final = ("cost",)
_SPEED: Final = ("speed",)
_TRAINING: Final = ("training",)
_ENERGY: Final = ("energy",)
_BATCH: Final = ("batch",)
_ACCURACY: Final = ("accuracy",)
_SCORED: Final = ("accuracy", "deployed")
_RUN: Final = ("speed", "deployed")
_TIMED: Final = ("speed", "training")
_WATCHED: Final = (*_TIMED, "batch")


def _text(name: str, meaning: str, **more: Any) -> Column:
    return Column(name, "string", meaning, **more)


def _count(name: str, meaning: str, **more: Any) -> Column:
    return Column(name, "Int64", meaning, **more)


def _real(name: str, unit: str, meaning: str, **more: Any) -> Column:
    return Column(name, "Float64", meaning, unit, **more)


def status_column(probe: str) -> Column:
    """Return the column of a probe's status."""
    return _text(f"{probe}_status", f"the worst status of the {probe} cells", tables=_RESULTS)


def _with_interval(figure: Column) -> tuple[Column, ...]:
    """Return a figure and the ends of its 95 % interval, whose names end in its unit as well."""
    unit = f"_{figure.unit}" if figure.unit and not figure.is_ratio else ""
    stem = figure.name.removesuffix(unit)
    low, high = f"{stem}_ci_low{unit}", f"{stem}_ci_high{unit}"
    return (
        replace(figure, interval=(low, high)),
        _real(low, figure.unit, "lower end of its 95 % interval", probes=figure.probes),
        _real(high, figure.unit, "upper end of its 95 % interval", probes=figure.probes),
    )


_PEAKS: Final[Mapping[str, str]] = {
    "peak_memory_mib": "on CUDA the allocator's peak, elsewhere the live tensor bytes'",
    "live_memory_mib": "peak of live tensor bytes, the same on every machine",
    "rss_memory_mib": (
        "on a CPU, how much the process itself grew, libraries' workspaces included; Linux"
    ),
    "requested_memory_mib": (
        "on CUDA, what tensors asked of the allocator at its peak, before it rounded that up"
    ),
    "reserved_memory_mib": "on CUDA, the most that the allocator had taken",
    "process_memory_mib": "on CUDA, what the process holds, its context included; by NVML",
}


def _peaks(prefix: str, of: str, label: str, heading: str, place: int) -> Iterable[Column]:
    """Yield the columns of the memory probe; the first is the one that tables show."""
    shown: dict[str, Any] = {"label": label, "heading": heading, "place": place, "exact": True}
    for name, meaning in _PEAKS.items():
        more = shown if name == "peak_memory_mib" else {}
        about = f"{of}: {meaning}"
        yield _real(f"{prefix}{name}", "MiB", about, probes=("memory",), better="low", **more)


COLUMNS: Final = (
    _count("schema_version", "version of this table of columns"),
    _text("run_id", "the run, which is also its folder's name", tables=_ALL),
    _text("cell_id", "hash of variant, task, setting, probe, seed and replicate", tables=_BOTH),
    _text("variant", "name of the set of choices, or of the architecture", tables=_ALL),
    _text("same_as", "the variant measured in its place: both are the same network"),
    _text("probe", "the kind of measurement: " + ", ".join(OUR_PROBE_NAMES), tables=_CELLS),
    _text("status", "whether there are figures; see statuses", tables=_CELLS),
    _count("seed", "seed of the weights, the order and the augmentation", tables=_BOTH),
    _count("replicate", "which of several fresh processes", tables=_CELLS),
    _text("fold", "which fold of the data was the test set, of how many: 0/5", tables=_BOTH),
    _count("position", "place of the cell in the plan, whose order tables have", tables=_CELLS),
    _count("attempt", "how often the cell has been tried, from 1", tables=_CELLS),
    _text(
        "key",
        "hash that changes whenever the figures may: cell, protocol, software, device",
        tables=_CELLS,
    ),
    _text("started", "when the attempt began: ISO 8601, UTC", tables=_CELLS),
    _real(
        "wall_s", "s", "how long the attempt took, from start to end of its process", tables=_CELLS
    ),
    _text("host", "the name of the machine that measured it", tables=_CELLS),
    _text("place", "which of that machine's devices it was", tables=_CELLS),
    _text("log", "the worker's stderr, relative to the run's folder", tables=_CELLS),
    *(Column(name, DTYPES[name], FIELDS[name].metadata["help"]) for name in NAMES),
    _text("architecture", "the whole network, where it does not decompose into slots"),
    _text("architecture_args", "the architecture's arguments"),
    _text("inactive", "choices that cannot matter in this variant, by commas"),
    _text("plugins", "who provided the variant's parts"),
    Column("trivial", "boolean", "whether it is a trivial baseline, which needs no training"),
    _text("task", "the data set or synthetic input", tables=_ALL),
    _text("dataset_hash", "hash of the images, masks and split"),
    _text("device", "where it ran: cpu, cuda, xpu, mps"),
    _text("device_name", "the device's model"),
    _text("precision", "number format of the forward pass: fp32, tf32, fp16, bf16"),
    _text("memory_format", "order of the dimensions in memory"),
    _text("runtime", "what ran inference and timed steps: eager, compile, onnxruntime, …"),
    _text("quantize", "numbers of 8 bits for inference: none, dynamic-int8, static-int8"),
    _text("batch_norm", "for inference: kept, or folded into the convolutions"),
    _text("algorithms", "torch's: the fastest, or deterministic ones only"),
    _count("threads", "CPU threads of one operator"),
    _count("batch_requested", "batch size asked for", unit="images"),
    _count(
        "batch_effective",
        (
            "batch size run, the smallest of the cells; smaller than requested where "
            "--shrink-batch halved it"
        ),
        unit="images",
    ),
    _count("input_depth", "of the input fed to the network, where it is a volume", unit="px"),
    _count("height", "of the input fed to the network", unit="px"),
    _count("width", "of the input fed to the network", unit="px"),
    _count("output_depth", "of the map the network returns, where it is a volume", unit="px"),
    _count("output_height", "of the map the network returns", unit="px"),
    _count("output_width", "of the map the network returns", unit="px"),
    _count(
        "scored_depth", "of what the task scores, where it is volumes; empty: images", unit="px"
    ),
    _count(
        "scored_height",
        "of what the task scores; unpadded nets get mirrored context around it",
        unit="px",
    ),
    _count(
        "scored_width",
        "of what the task scores; unpadded nets get mirrored context around it",
        unit="px",
    ),
    _count("in_channels", "channels of the input"),
    _count("classes", "classes the network tells apart, background included"),
    _text("fit", "how images came to the scored size: crop or resize"),
    _text(
        "match",
        (
            "the baseline's figure that all widths were scaled to meet: params or macs; empty: "
            "all have one `width_scale`"
        ),
    ),
    _text("pretrained", "published weights that training began from, or none"),
    _text("recipe", "how it was trained; a recipe from a file is followed by a hash of it"),
    _text("budget", "how long it was trained: steps, epochs, images or seconds"),
    _text(
        "window",
        "how much of an image a training step was to see: the scored pixels of its windows; empty: "
        "as much as is scored",
    ),
    _text("window_taken", "how much it did see: a network that takes one size is given that"),
    _count("rung", "of a race, from 1: each trains longer, and fewer networks"),
    _text(
        "race",
        "what became of a network after a rung: it went on, was stopped, and why, or finished",
    ),
    _text("evaluation", "how test images were predicted: tiled or whole, overlap, flips"),
    _real(
        "slowdown",
        "",
        "the share by which the self-test slowed the variant's step down",
        tables=_CELLS,
    ),
    _text("preset", "the preset of the run", tables=_RESULTS),
    _count("seeds", "seeds the accuracy figures come from", tables=_RESULTS),
    _count("replicates", "fresh processes the speed figures come from", tables=_RESULTS),
    _text("env_id", "hash of the stable facts of the environment"),
    _text("torch", "version of torch"),
    _text("commit", "git commit of unet-bench, marked when dirty"),
    *map(status_column, OUR_PROBE_NAMES),
    _text("quality", "how good the figures are; the worst of the cells"),
    _text("evidence", "why the quality is not clean"),
    _text("error", "the first error's text"),
    _real(
        "oom_asked_mib",
        "MiB",
        "of `oom`: the memory that was asked for, where the message says",
        tables=_CELLS,
    ),
    _count(
        "params",
        "parameters, auxiliary heads included",
        probes=_COST,
        better="low",
        label="parameters",
        heading="params M",
        scaled="M",
        factor=1e-6,
        place=1,
        exact=True,
    ),
    _count(
        "macs",
        (
            "multiply-accumulates of one image or volume at the input's size, main path "
            "(FlopCounterMode ÷ 2)"
        ),
        probes=_COST,
        better="low",
        label="MACs",
        heading="GMACs",
        scaled="G",
        factor=1e-9,
        place=2,
        exact=True,
    ),
    _count(
        "activations",
        "elements that convolutions and linear maps put out, one image",
        probes=_COST,
        better="low",
    ),
    _real(
        "flop_per_byte",
        "",
        (
            "arithmetic intensity: 2 × MACs over the bytes of what convolutions and linear "
            "maps read and write once, fp32"
        ),
        probes=_COST,
    ),
    _real(
        "build_s",
        "s",
        "building the network and bringing it to the device",
        probes=_TIMED,
        tables=_CELLS,
    ),
    _real("compile_s", "s", "compiling or capturing it: the first call", probes=_TIMED),
    _text("runtime_version", "version of a runtime that is not torch", probes=_RUN, tables=_CELLS),
    _real("file_mib", "MiB", "the file that the network was exported to", probes=_RUN),
    *_with_interval(
        _real(
            "eager_ratio",
            "×",
            "time of a step, of the same network's run eagerly: paired blocks",
            probes=_SPEED,
            better="low",
            label="time to eager",
            heading="× eager",
            decimals=2,
            place=6,
        )
    ),
    _real(
        "eager_difference",
        "",
        "largest difference from eager's scores, of the largest: on test images",
        probes=_RUN,
    ),
    _real(
        "eager_agreement",
        "",
        "share of the test images' pixels that are of the class that eager says",
        probes=_RUN,
    ),
    _text(
        "compile_cache", "the compiler's cache on disk: cold, or warm", probes=_TIMED, tables=_CELLS
    ),
    _count("graph_breaks", "places where compiling was interrupted", probes=_TIMED),
    _count("warmup_steps", "steps before the timed ones", probes=_TIMED, tables=_CELLS),
    _count("blocks", "timed blocks", probes=_TIMED, tables=_CELLS),
    _real(
        "measured_s",
        "s",
        "part of wall_s in timed blocks, the baseline's included",
        probes=_TIMED,
        tables=_CELLS,
    ),
    _real(
        "foreign_cpu_share",
        "",
        "part of the CPU that other work took, 0 to 1",
        probes=_WATCHED,
        better="low",
        tables=_CELLS,
    ),
    _real(
        "steal_share",
        "",
        "part of the CPU that the virtual machine's host took",
        probes=_WATCHED,
        better="low",
        tables=_CELLS,
    ),
    _real(
        "foreign_gpu_share",
        "",
        "part of the GPU's time that others' work took",
        probes=_WATCHED,
        better="low",
        tables=_CELLS,
    ),
    _real(
        "gpu_clock_mhz",
        "MHz",
        "the GPU's clock while timing, mean of samples; by NVML",
        probes=_WATCHED,
        tables=_CELLS,
    ),
    _real(
        "gpu_power_w", "W", "the GPU's power while timing, likewise", probes=_WATCHED, tables=_CELLS
    ),
    _real(
        "gpu_temperature_c",
        "°C",
        "the GPU's temperature while timing, likewise",
        probes=_WATCHED,
        tables=_CELLS,
    ),
    _text(
        "stop_reason",
        (
            "why it ended: ci, plateau, cap; of batches: throughput, memory, elements (2³¹ in "
            "a tensor), cap"
        ),
        probes=_WATCHED,
        tables=_CELLS,
    ),
    *_with_interval(
        _real(
            "latency_ms",
            "ms",
            (
                "median time of one forward pass of the batch, waited for; in `results` on one "
                "scale with the ratios"
            ),
            probes=_SPEED,
            better="low",
            label="latency",
            heading="latency ms",
            ratio="latency_ratio",
            place=3,
        )
    ),
    _real(
        "latency_p95_ms",
        "ms",
        "19 of 20 passes are quicker; from 200 steps on",
        probes=_SPEED,
        better="low",
    ),
    _real(
        "latency_p99_ms",
        "ms",
        "99 of 100 passes are quicker; from 1000 steps on",
        probes=_SPEED,
        better="low",
    ),
    _real(
        "throughput_img_s",
        "img/s",
        "images per second, passes queued; in `results` on one scale with the ratios",
        probes=_SPEED,
        better="high",
        label="throughput",
        heading="img/s",
        ratio="throughput_ratio",
        place=5,
    ),
    _real(
        "throughput_mpx_s",
        "Mpx/s",
        "output megapixels per second; of volumes 10⁶ voxels are one",
        probes=_SPEED,
        better="high",
    ),
    *_with_interval(
        _real(
            "latency_ratio",
            "×",
            "latency over the baseline's, in alternating blocks of one process",
            probes=_SPEED,
            better="low",
            label="latency",
            heading="ratio",
            place=4,
        )
    ),
    *_with_interval(
        _real(
            "latency_ratio_per_mpx",
            "×",
            "latency per output megapixel over the baseline's",
            probes=_SPEED,
            better="low",
        )
    ),
    *_with_interval(
        _real(
            "throughput_ratio",
            "×",
            "throughput over the baseline's, likewise",
            probes=_SPEED,
            better="high",
            label="throughput",
        )
    ),
    _real(
        "ceiling_tflop_s",
        "TFLOP/s",
        "a large matrix product on the device, measured right after",
        probes=_SPEED,
    ),
    _real(
        "ceiling_gb_s",
        "GB/s",
        "a large copy on the device, measured right after: read and written",
        probes=_SPEED,
    ),
    _real(
        "roofline_fraction",
        "",
        "FLOP/s over what the ceilings allow at its flop_per_byte",
        probes=_SPEED,
        better="high",
    ),
    *_with_interval(
        _real(
            "train_step_ms",
            "ms",
            (
                "median time of a training step of the batch; in `results` on one scale with the "
                "ratios"
            ),
            probes=_TRAINING,
            better="low",
            label="training step",
            heading="step ms",
            ratio="train_step_ratio",
            place=8,
        )
    ),
    *_with_interval(
        _real(
            "train_step_ratio",
            "×",
            "training step over the baseline's, likewise",
            probes=_TRAINING,
            better="low",
            label="training step",
            heading="step ratio",
            place=9,
        )
    ),
    _real(
        "train_throughput_img_s",
        "img/s",
        "images trained on per second",
        probes=_TRAINING,
        better="high",
    ),
    _real(
        "train_forward_ms",
        "ms",
        "its forward pass and loss, waited for",
        probes=_TRAINING,
        better="low",
    ),
    _real(
        "train_backward_ms", "ms", "its backward pass, waited for", probes=_TRAINING, better="low"
    ),
    _real(
        "train_update_ms",
        "ms",
        "its update of the weights, waited for",
        probes=_TRAINING,
        better="low",
    ),
    _real(
        "train_split_excess_ms",
        "ms",
        "by how much the three exceed the whole, since waiting costs",
        probes=_TRAINING,
    ),
    _real(
        "predicted_memory_mib",
        "MiB",
        "live_memory_mib as foreseen without running, eager",
        label="predicted memory",
    ),
    _real("predicted_train_memory_mib", "MiB", "train_live_memory_mib as foreseen, likewise"),
    _text(
        "memory_source",
        "whether peak memory was measured, or is predicted: the live tensor bytes, where these are "
        "known to the byte without running",
        probes=("memory",),
    ),
    *_peaks("", "inference", "inference memory", "infer MiB", 6),
    *_peaks("train_", "training step", "training memory", "train MiB", 7),
    _real(
        "energy_j_img",
        "J/img",
        "energy of the whole GPU for one image's forward pass",
        probes=_ENERGY,
        better="low",
        label="energy",
        heading="J/img",
        ratio="energy_ratio",
        place=10,
    ),
    _real(
        "energy_ratio",
        "×",
        "energy an image over the baseline's, side by side",
        probes=_ENERGY,
        better="low",
        label="energy",
    ),
    _real("power_w", "W", "mean power of the GPU during forward passes", probes=_ENERGY),
    _count(
        "energy_windows",
        "windows of the energy counter, as many as the baseline's",
        probes=_ENERGY,
        tables=_CELLS,
    ),
    _count(
        "best_batch",
        "the smallest batch within 2 % of the best throughput",
        probes=_BATCH,
        unit="images",
        label="best batch",
        heading="best batch",
        place=11,
    ),
    _real(
        "best_throughput_img_s",
        "img/s",
        "images per second at that batch",
        probes=_BATCH,
        better="high",
    ),
    _count(
        "largest_batch",
        "largest batch that fits, to an eighth, up to 16384",
        probes=_BATCH,
        better="high",
        unit="images",
        label="largest batch",
        heading="largest",
        place=12,
    ),
    _real(
        "dice",
        "",
        (
            "Dice score, 0 to 1: of the class, or the mean over foreground classes, pooled "
            "over the test set"
        ),
        probes=_SCORED,
        better="high",
        tables=_ALL,
        label="Dice",
        heading="Dice",
        decimals=3,
        place=13,
        by_difference=True,
        interval=("dice_ci_low", "dice_ci_high"),
    ),
    _real(
        "dice_ci_low",
        "",
        (
            "lower end of its 95 % interval: over seeds and folds; of a single one, over test "
            "images (bootstrap)"
        ),
        probes=_SCORED,
    ),
    _real("dice_ci_high", "", "upper end of its 95 % interval, likewise", probes=_SCORED),
    _real(
        "dice_sd",
        "",
        "standard deviation of dice over seeds and folds",
        tables=_RESULTS,
        label="standard deviation of Dice",
        heading="sd",
        decimals=3,
    ),
    _count(
        "dice_pairs",
        "pairs (seed, fold) that this variant and the baseline have in common",
        tables=_RESULTS,
        heading="pairs",
    ),
    _real(
        "dice_difference",
        "",
        "mean over the pairs: dice less the baseline's",
        better="high",
        tables=_RESULTS,
        label="Dice, difference",
        heading="Δ Dice",
        decimals=3,
        verdict="dice_verdict",
        place=14,
        by_difference=True,
        interval=("dice_difference_ci_low", "dice_difference_ci_high"),
    ),
    _real(
        "dice_difference_ci_low",
        "",
        "lower end of its 95 % interval, from two pairs on",
        tables=_RESULTS,
    ),
    _real(
        "dice_difference_ci_high",
        "",
        "upper end of its 95 % interval, from two pairs on",
        tables=_RESULTS,
    ),
    _text("dice_verdict", "better, worse, or not separable from the baseline", tables=_RESULTS),
    _count(
        "dice_pairs_needed",
        "pairs that would separate them, if difference and spread stayed as they are",
        tables=_RESULTS,
        heading="needed",
    ),
    _real(
        "iou",
        "",
        (
            "intersection over union, 0 to 1: of the class, or the mean over foreground "
            "classes, pooled over the test set"
        ),
        probes=_SCORED,
        better="high",
        tables=_ALL,
        label="IoU",
        heading="IoU",
        decimals=3,
        place=15,
        by_difference=True,
    ),
    _real(
        "dice_all_classes",
        "",
        "dice, class 0 included in the mean",
        probes=_SCORED,
        better="high",
    ),
    _real(
        "iou_all_classes",
        "",
        "iou, class 0 included in the mean (mIoU)",
        probes=_SCORED,
        better="high",
    ),
    *_with_interval(
        _real(
            "dice_change",
            "",
            "dice less that of eager torch, same weights and test images",
            probes=("deployed",),
            better="high",
            by_difference=True,
            signed=True,
            label="change in Dice",
            heading="Δ Dice",
            decimals=4,
            place=16,
        )
    ),
    _count("test_images", "test images that were scored", probes=_SCORED),
    _real(
        "dice_per_image",
        "",
        (
            "Dice of each test image, foreground classes that occur in truth or prediction; "
            "then the mean over images"
        ),
        probes=_SCORED,
        better="high",
        tables=_ALL,
    ),
    _real(
        "iou_per_image",
        "",
        "intersection over union, likewise image by image",
        probes=_SCORED,
        better="high",
        tables=_ALL,
    ),
    _real(
        "hd95_px",
        "px",
        (
            "95th percentile of the distances between true and predicted outlines, the worse "
            "direction; mean over test images and foreground classes"
        ),
        probes=_SCORED,
        better="low",
        tables=_ALL,
    ),
    _real(
        "hd95_mm",
        "mm",
        (
            "the same distances in millimetres, by the spacing of the voxels that were scored; "
            "where every test image states one"
        ),
        probes=_SCORED,
        better="low",
        tables=_ALL,
    ),
    _real(
        "boundary_f1",
        "",
        (
            "F1 of outline pixels within 0.75 % of the image's diagonal; mean over test images "
            "and foreground classes"
        ),
        probes=_SCORED,
        better="high",
        tables=_ALL,
    ),
    _real(
        "rand_f1",
        "",
        (
            "where a class is called membrane or boundary: foreground-restricted Rand F-score "
            "of the parts it leaves"
        ),
        probes=_SCORED,
        better="high",
    ),
    _real(
        "train_s",
        "s",
        "training with data loading, without evaluations on validation images",
        probes=_ACCURACY,
        better="low",
    ),
    _count("train_steps", "optimiser steps taken", probes=_ACCURACY),
    _count(
        "train_images",
        "images those steps saw, repetitions counted",
        probes=_ACCURACY,
        tables=_CELLS,
        unit="images",
        label="training images",
    ),
    _text("train_precision", "number format of training", probes=_ACCURACY, tables=_CELLS),
    _text(
        "train_memory_format",
        "order of the dimensions in memory, in training",
        probes=_ACCURACY,
        tables=_CELLS,
    ),
    _count("best_step", "step of the weights that were tested", probes=_ACCURACY, tables=_CELLS),
    _real(
        "val_dice",
        "",
        "validation Dice of those weights",
        probes=_ACCURACY,
        better="high",
        tables=_CELLS,
        label="validation Dice",
        heading="validation Dice",
        decimals=3,
        by_difference=True,
    ),
    _real(
        "val_iou_all_classes",
        "",
        "validation mIoU of those weights",
        probes=_ACCURACY,
        better="high",
    ),
    _real("first_loss", "", "training loss of the first step", probes=_ACCURACY, tables=_CELLS),
    _real(
        "final_loss",
        "",
        "training loss of the last step",
        probes=_ACCURACY,
        better="low",
        tables=_CELLS,
    ),
    _real(
        "data_s",
        "s",
        "the host's part of it for making batches and waiting for them",
        probes=_ACCURACY,
        better="low",
        tables=_CELLS,
    ),
    _real("data_share", "", "data_s over train_s", probes=_ACCURACY, better="low", tables=_CELLS),
    _count(
        "resumed_step",
        "step from which a killed training went on, if one did",
        probes=_ACCURACY,
        tables=_CELLS,
    ),
    _text("baseline", "the variant that ratios compare with"),
    Column(
        "pareto",
        "boolean",
        "no variant beats it in Dice, latency and peak memory at once",
        tables=_RESULTS,
    ),
    _count("class_index", "the class's value in the masks", tables=_CLASSES),
    _text("class_name", "the class's name", tables=_CLASSES),
    _count("pixels", "pixels of the class in the test set", tables=_CLASSES, unit="px"),
)
