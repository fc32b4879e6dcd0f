"""What eight bits cost a trained network, and in which slot: each left in float by itself.

ONNX file ─▶ nodes of each slot ─▶ quantised but for one slot ─▶ the same images, in pairs
"""

from __future__ import annotations

import math
import tempfile
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np
import pandas as pd
import torch
from torch import Tensor

from unet_bench.data.dataset import IGNORE, Dataset, Sample
from unet_bench.errors import command_line, unknown
from unet_bench.export.model_file import INPUT, ONNX, write_onnx
from unet_bench.export.training_images import training_inputs
from unet_bench.networks.as_onnx import CALIBRATION, modules_of, quantized, require
from unet_bench.present.blocks import Cell, Command, Line, Notes, Table, Text
from unet_bench.present.document import Displayed, Document
from unet_bench.text_format import counted
from unet_bench.train.metrics import Accumulator, bootstrap_change, scores
from unet_bench.train.tiles import predict_rows
from unet_bench.train.trained import Network

INSIDE: Final = "model."  # where a network's modules are in its file
MOST_IMAGES: Final = 64  # that are scored
HARMLESS: Final = 0.003  # of Dice
NOTHING, ALL = "nothing", "all"  # what is left in float


@dataclass(frozen=True)
class Change:
    """A change in Dice on the same images, and its 95 % interval; NaN below five groups."""

    dice: float
    low: float
    high: float

    @property
    def has_interval(self) -> bool:
        """Whether there were images enough for one."""
        return not math.isnan(self.low)

    def __str__(self) -> str:
        if not self.has_interval:
            return f"{self.dice:+z.4f}"
        return f"{self.dice:+z.4f} ({self.low:+z.4f} to {self.high:+z.4f})"


@dataclass(frozen=True)
class LeftInFloat:
    """The network in eight bits but for a slot, or `nothing`, or `all`."""

    slot: str
    dice: float
    lost: Change  # against all in float
    regained: Change  # against nothing in float
    same_class: float  # share of pixels
    mib: float

    def row(self) -> dict[str, Any]:
        """Return its figures by column."""
        return {
            "in_float": self.slot,
            "dice": self.dice,
            **_columns("lost", self.lost),
            **_columns("regained", self.regained),
            "same_class": self.same_class,
            "file_mib": self.mib,
        }


@dataclass(frozen=True, repr=False)
class QuantizeReport(Displayed):
    """What eight bits cost, by what is left in float; the first line is of nothing."""

    network: Network
    run: Path
    how: str
    images: str  # which were scored
    lines: tuple[LeftInFloat, ...]

    __repr__ = Displayed.__str__

    @property
    def guilty(self) -> list[str]:
        """The slots that bring back Dice, for sure, where something is lost; most first."""
        nothing = self.lines[0]
        if -nothing.lost.dice <= HARMLESS:
            return []
        return [one.slot for one in self.lines if one.slot != ALL and one.regained.low > 0]

    def document(self) -> Document:
        """Return what `unet-bench quantize-report` shows."""
        labels = ("left in float", "Dice", "change by eight bits", "brought back", "same class")
        table = Table(
            (*labels, "MiB"),
            tuple(
                Line(
                    one.slot,
                    (
                        Cell(f"{one.dice:.4f}"),
                        Cell("" if one.slot == ALL else str(one.lost)),
                        Cell("" if one.slot == NOTHING else str(one.regained)),
                        Cell(f"{one.same_class:.2%}"),
                        Cell(f"{one.mib:.2f}"),
                    ),
                )
                for one in self.lines
            ),
        )
        legend = (
            f"{self.images}; intervals: 95 %, over images, the weights being the same; left in "
            "float: a slot's operators, all others have numbers of eight bits"
        )
        data = pd.DataFrame([one.row() for one in self.lines])
        content = {
            "variant": self.network.variant,
            "quantize": self.how,
            "images": self.images,
            "guilty": self.guilty,
            "rows": data.astype(object).where(data.notna(), None).to_dict("records"),
        }
        blocks = (
            Notes((self.answer(),), is_lead=True),
            table,
            Text(legend, "quiet"),
            Command(*self.step()),
        )
        return Document("quantize-report", blocks, data, content)

    def answer(self) -> str:
        """Return what the figures say, in a sentence."""
        lost, name = self.lines[0].lost, self.network.variant
        if -lost.dice <= HARMLESS:
            return f"{name} loses nothing to speak of in eight bits: Dice {lost}"
        told = f"{name} loses Dice in eight bits, {lost}"
        if not lost.has_interval:
            return f"{told}; to blame a slot takes five images, or groups of them, at least"
        if not self.guilty:
            return f"{told}, and no slot by itself brings it back"
        slot = self.guilty[0]
        best = next(one for one in self.lines if one.slot == slot)
        return f"{told}; {slot} left in float brings back {best.regained}"

    def step(self) -> tuple[str, str]:
        """Return what to do next, and the command."""
        words = ["export", self.run, self.network.variant, "--quantize", self.how]
        if self.guilty:
            words += ["--in-float", self.guilty[0]]
        return "a folder that runs without PyTorch", command_line(*words)


def quantize_report(
    network: Network,
    dataset: Dataset,
    run: Path,
    how: str,
    progress: Callable[[str], None] = lambda _: None,
) -> QuantizeReport:
    """Return what eight bits cost on validation images, or on test images where there are none.

    `how` is as in a setting; `progress` is told what is done next. Raises NotInstalled, and
    Unsupported for a network that ONNX cannot hold.
    """
    require("onnx", "onnxscript", "onnxruntime")
    split = "val" if dataset.val else "test"
    samples = _some(dataset.splits[split])
    inputs = training_inputs(dataset.train, network, CALIBRATION)
    groups = [sample.group or sample.name for sample in samples]
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / ONNX
        write_onnx(network, file)
        by_slot = slots_of(network, file)
        progress("as trained")
        trained = _score(network, samples, file)
        found = [_Scored(ALL, trained, trained, file)]
        for slot, nodes in {NOTHING: [], **by_slot}.items():
            progress(f"{slot} left in float")
            made = quantized(file, how, iter(inputs), nodes)
            found.append(_Scored(slot, _score(network, samples, made), trained, made))
    nothing = next(one for one in found if one.slot == NOTHING)
    change = partial(_change, groups=groups)
    lines = [
        LeftInFloat(
            one.slot,
            _dice(one.counts),
            lost=change(one.counts, trained.counts),
            regained=change(one.counts, nothing.counts),
            same_class=one.same_class,
            mib=one.mib,
        )
        for one in found
    ]
    order = {NOTHING: -1, ALL: 1}
    lines.sort(key=lambda line: (order.get(line.slot, 0), -line.regained.dice))
    kind = "validation" if split == "val" else "test"
    told = f"{counted(len(samples), f'{kind} image')} of {network.task.name}"
    return QuantizeReport(network, run, how, told, tuple(lines))


def slots_of(network: Network, file: Path) -> dict[str, list[str]]:
    """Return the names of an ONNX file's nodes by the slot that they are of, innermost.

    Of a network that is not made of slots they are by its top modules.
    """
    found: dict[str, list[str]] = {}
    slots = _slot_of_module(network)
    for node, modules in modules_of(file).items():
        inside = [name.removeprefix(INSIDE) for name in modules if name.startswith(INSIDE)]
        # By paths, since a part may be run piece by piece, without a call of its own.
        outer = _outer(inside[-1]) if inside else ()
        slot = next((slots[name] for name in outer if name in slots), "")
        if slot and node:
            found.setdefault(slot, []).append(node)
    return found


def _outer(path: str) -> Iterator[str]:
    """Yield a module's path and those of the modules around it."""
    while path:
        yield path
        path = path.rpartition(".")[0]


def nodes_of(network: Network, file: Path, slots: Collection[str]) -> list[str]:
    """Return the names of an ONNX file's nodes in some slots. Raises UnknownName."""
    if not slots:
        return []
    by_slot = slots_of(network, file)
    for slot in slots:
        if slot not in by_slot:
            command = f"unet-bench geometry {network.variant}"
            raise unknown(f"slot of {network.variant}", slot, by_slot, command)
    return [node for slot in slots for node in by_slot[slot]]


def _slot_of_module(network: Network) -> Mapping[str, str]:
    labels = {
        name: getattr(module, "_unet_bench_label", None)
        for name, module in network.model.named_modules()
    }
    slots = {name: str(label.slot) for name, label in labels.items() if label is not None}
    return slots or {name: name for name, _ in network.model.named_children()}


# ---- scoring


class _Scored:
    """The images' counts by one file."""

    def __init__(self, slot: str, found: _Found, trained: _Found, file: Path) -> None:
        self.slot, self.counts = slot, found.counts
        same, pixels = 0, 0
        for mine, before, truth in zip(found.masks, trained.masks, found.truths, strict=True):
            valid = truth != IGNORE
            same, pixels = same + int((mine == before)[valid].sum()), pixels + int(valid.sum())
        self.same_class = same / pixels if pixels else float("nan")
        self.mib = file.stat().st_size / 2**20


@dataclass(frozen=True)
class _Found:
    counts: np.ndarray
    masks: list[np.ndarray]
    truths: list[np.ndarray]


def _score(network: Network, samples: Sequence[Sample], file: Path) -> _Found:
    import onnxruntime

    session = onnxruntime.InferenceSession(str(file), providers=["CPUExecutionProvider"])

    def call(values: Tensor) -> Tensor:
        return torch.from_numpy(session.run(None, {INPUT: values.numpy()})[0])

    found = Accumulator(network.task.classes, outlines=False)
    masks = []
    for sample in samples:
        masks.append(np.concatenate(list(_classes(network, call, sample.image))))
        found.add(masks[-1], sample.mask)
    return _Found(found.counts, masks, [sample.mask for sample in samples])


def _classes(
    network: Network, call: Callable[[Tensor], Tensor], image: np.ndarray
) -> Iterator[np.ndarray]:
    """Yield class ids `(R *S)` of rows of an image `(*S C)`, in abutting tiles."""

    def rows(begin: int, end: int) -> Tensor:
        return torch.from_numpy(np.moveaxis(image[begin:end], -1, 0).astype(np.float32))[None]

    size = network.task.scored
    for found in predict_rows(call, rows, image.shape[:-1], network.input_window, size):
        yield found[0].argmax(0).numpy().astype(np.uint8)


def _some(samples: Sequence[Sample]) -> list[Sample]:
    """Return at most so many, evenly from all."""
    count = min(MOST_IMAGES, len(samples))
    return [samples[i * len(samples) // count] for i in range(count)]


def _change(counts: np.ndarray, before: np.ndarray, groups: Sequence[str]) -> Change:
    rng = np.random.default_rng(0)
    low, high = bootstrap_change(counts, before, rng, groups)
    return Change(_dice(counts) - _dice(before), low, high)


def _dice(counts: np.ndarray) -> float:
    return scores(counts.sum(0)).mean_dice


def _columns(name: str, change: Change) -> dict[str, float]:
    return {name: change.dice, f"{name}_ci_low": change.low, f"{name}_ci_high": change.high}
