"""The unit that is run, retried and resumed: variant × task × setting × probe × seed × replicate.

Cells travel to worker processes, and later to other machines, as JSON; their id is the hash of just
these.
"""

from __future__ import annotations

import functools
import hashlib
import json
import math
import os
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, field, replace
from typing import Any, Final, NamedTuple

from unet_bench.errors import InvalidSuite
from unet_bench.geometry.shapes import InputWindow
from unet_bench.networks.variants import Variant
from unet_bench.spec.option import FROM_ONE, MEASURING, TRAINING, WHERE, Bounds, option
from unet_bench.spec.recipe import Recipe

AS_TRAINED: Final = "none"  # numbers as they were trained, not quantised
MOST_OVERLAP: Final = 0.9  # of neighbouring tiles; beyond it their number explodes
MOST_THREADS: Final = 1024
MOST_IMAGES: Final = 2**20  # of a batch
SCORED: Final = ("test", "validation")  # splits
ADDED: Final = {"score": SCORED[0]}  # fields that older runs lack, and what they were then


@dataclass(frozen=True, kw_only=True)
class Task:
    """A data set as networks meet it: what goes in, and the pixels that are scored."""

    name: str
    dataset_hash: str
    classes: tuple[str, ...]
    in_channels: int
    scored: tuple[int, ...]  # (H, W) pixels, or (D, H, W) voxels: then images are volumes
    fit: str  # how images came to that size: resize or crop
    fold: str = ""  # which fold is the test set, of how many: 0/5

    @property
    def dims(self) -> int:
        """Of the images: 2, or 3 of volumes."""
        return len(self.scored)

    @functools.cached_property
    def id(self) -> str:
        """Return 12 hex digits over all of it."""
        return _hash(_text(self))


def require_threads(threads: tuple[int, ...]) -> None:
    """Raise InvalidSuite for more threads than any machine has use for."""
    if max(threads) > MOST_THREADS:
        raise InvalidSuite(
            f"threads={max(threads)} is more than {MOST_THREADS}; this machine has "
            f"{os.cpu_count()} cores"
        )


@dataclass(frozen=True)
class Setting:
    """How a network is run. A suite takes several values of every axis but the device."""

    device: str = option(
        "cpu",
        "Where networks run",
        panel=WHERE,
        note="auto (a GPU if there is one), cpu, cuda, cuda:1, xpu, mps",
    )
    precision: str = option(
        "fp32", "Number format", panel=MEASURING, choices=("fp32", "tf32", "fp16", "bf16")
    )
    memory_format: str = option(
        "contiguous",
        "Order of images in memory",
        panel=MEASURING,
        choices=("contiguous", "channels_last"),
    )
    runtime: str = option(
        "eager",
        "What runs networks",
        "--runtime",
        "--mode",
        panel=MEASURING,
        listed="unet-bench list runtimes",
        note="eager, compile, cudagraphs, onnxruntime, openvino, …",
    )
    quantize: str = option(
        AS_TRAINED,
        "Numbers of 8 bits for inference, by runtimes that can",
        panel=MEASURING,
        choices=(AS_TRAINED, "dynamic-int8", "static-int8"),
        note="static-int8 is calibrated on training images",
    )
    batch_norm: str = option(
        "kept",
        "Batch norm, for inference folded into the convolutions or not",
        panel=MEASURING,
        choices=("kept", "folded"),
    )
    algorithms: str = option(
        "fastest", "Algorithms of torch", panel=MEASURING, choices=("fastest", "deterministic")
    )
    pretrained: str = option(
        "none",
        "Published weights that a training begins from",
        panel=TRAINING,
        choices=("none", "imagenet"),
    )
    threads: int = option(
        1,
        "CPU threads of one operator",
        panel=MEASURING,
        bounds=FROM_ONE,
        check=require_threads,
    )
    batch: int = option(
        4, "Images a step", "-b", panel=MEASURING, bounds=Bounds(least=1, most=MOST_IMAGES)
    )

    @functools.cached_property
    def canonical(self) -> str:
        """Return it as text for a cell's id: what was added later counts where it is used."""
        plain = asdict(self)
        plain["mode"] = plain.pop("runtime")
        if plain["quantize"] == AS_TRAINED:
            del plain["quantize"]
        return json.dumps(plain, sort_keys=True)

    def eager(self) -> Setting:
        """Return the setting with eager torch as runtime, its numbers as they were trained."""
        return replace(self, runtime=Setting.runtime, quantize=Setting.quantize)


@dataclass(frozen=True, kw_only=True)
class Protocol:
    """How long and how carefully is measured; the same for every variant of a run."""

    version: int = 2
    speed_s: float = 2.0  # of timed blocks per cell, the baseline's included
    interval: float = 0.02  # stop timing when the ratio's 95 % interval is this narrow, relatively
    # of the variant, relatively: injected by the self-test, to see whether it is found
    slowdown: float = 0.0
    memory_limit_mib: float = 0.0  # 0: none but the machine's
    shrink_batch: bool = False  # where the batch does not fit, halve it until it does
    recipe: Recipe = field(default_factory=Recipe)
    budget: str = "60 steps"  # of training, as it was asked for
    steps: int = 60  # what that comes to; 0: as many as `images` need, or until `train_s` is over
    images: int = 0
    train_s: float = 0.0
    whole: bool = False  # test images are predicted at once, not in tiles
    overlap: float = 0.0  # part of a tile's side that neighbouring tiles share
    flips: bool = False  # predictions are means over the flipped images, too
    window: tuple[int, ...] = ()  # scored pixels of a training window; empty: the task's
    checkpoint_s: float = 0.0  # seconds between checkpoints of a training; 0: none
    keep_weights: bool = False
    examples: int = 3  # test images whose predictions are kept to be looked at
    score: str = SCORED[0]  # the split whose images are scored

    def steps_of(self, batch: int) -> int:
        """Return how many steps the budget amounts to; 0: until `train_s` is over."""
        return self.steps or math.ceil(self.images / batch)

    @property
    def evaluation(self) -> str:
        """How test images are predicted, in words."""
        words = ["whole" if self.whole else "tiled"]
        if self.overlap > 0 and not self.whole:
            words.append(f"overlap {self.overlap:g}")
        if self.flips:
            words.append("flips")
        if self.score != SCORED[0]:
            words.append(f"{self.score} images")
        return " ".join(words)


class TrainingWindow(NamedTuple):
    """What a training sees of images at once."""

    size: tuple[int, ...]  # the pixels whose loss counts
    input: InputWindow  # from which they come out


@dataclass(frozen=True, kw_only=True)
class Cell:
    """One measurement to make."""

    variant: Variant
    input_window: InputWindow
    baseline: Variant
    baseline_input_window: InputWindow
    task: Task
    setting: Setting
    protocol: Protocol
    probe: str
    seed: int = 0
    replicate: int = 0
    small_window: TrainingWindow | None = None  # to train on, where that is not what is scored
    rung: int = 0  # of a race, from 1; 0: of none

    @property
    def training_window(self) -> TrainingWindow:
        """What its training sees at once: a small window, or as much as is scored at once."""
        return self.small_window or TrainingWindow(self.task.scored, self.input_window)

    @functools.cached_property
    def id(self) -> str:
        """Return 12 hex digits over what is measured, not how carefully."""
        parts = [json.dumps(self.variant.canonical()), _text(self.task), self.setting.canonical]
        rung = f", {self.rung}" if self.rung > 1 else ""  # the first is as any training
        return _hash(
            f"[{', '.join(parts)}, {json.dumps(self.probe)}, {self.seed}, {self.replicate}{rung}]"
        )

    def key(self, code: str) -> str:
        """Return 12 hex digits that change whenever the result may.

        They are over cell, protocol, baseline, and `code`, the digits of the software.
        """
        parts = [
            json.dumps(self.id),
            _text(self.protocol),
            json.dumps(self.baseline.canonical()),
            json.dumps(code),
        ]
        return _hash(f"[{', '.join(parts)}]")

    def to_json(self) -> dict[str, Any]:
        """Return plain data."""
        variants = {"variant": self.variant.to_json(), "baseline": self.baseline.to_json()}
        rest = ("input_window", "baseline_input_window", "task", "setting", "protocol")
        scalars = {name: getattr(self, name) for name in ("probe", "seed", "replicate", "rung")}
        window = self.small_window
        small = window and {"size": window.size, "input": asdict(window.input)}
        parts = {name: _plain(getattr(self, name)) for name in rest}
        return variants | parts | scalars | {"small_window": small}

    @classmethod
    def from_json(cls, data: Mapping[str, Any]) -> Cell:
        """Return the cell that `to_json` made plain."""
        return cls(
            variant=Variant.from_json(data["variant"]),
            baseline=Variant.from_json(data["baseline"]),
            input_window=InputWindow(**tuples(data["input_window"])),
            baseline_input_window=InputWindow(**tuples(data["baseline_input_window"])),
            task=Task(**tuples(data["task"])),
            setting=Setting(**data["setting"]),
            protocol=Protocol(
                **{**tuples(data["protocol"]), "recipe": Recipe(**data["protocol"]["recipe"])}
            ),
            probe=data["probe"],
            seed=data["seed"],
            replicate=data["replicate"],
            small_window=_training_window(data.get("small_window")),
            rung=data.get("rung", 0),
        )


def _training_window(data: Mapping[str, Any] | None) -> TrainingWindow | None:
    if data is None:
        return None
    return TrainingWindow(tuple(data["size"]), InputWindow(**tuples(data["input"])))


def tuples(data: Mapping[str, Any]) -> dict[str, Any]:
    """Return data with JSON's lists as the tuples they were."""
    return {
        name: tuple(value) if isinstance(value, list) else value for name, value in data.items()
    }


def digest(value: Any) -> str:
    """Return 12 hex digits over plain data."""
    return _hash(json.dumps(value, sort_keys=True))


def _hash(text: str) -> str:
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def _text(part: Task | Protocol) -> str:
    """Return a part of a cell as `digest` writes it; many cells share a few of them.

    What was added later counts where it is used.
    """

    def written() -> str:
        used = {name: value for name, value in _plain(part).items() if ADDED.get(name) != value}
        return json.dumps(used, sort_keys=True)

    text: str = _once(part, "_json", written)
    return text


def _plain(part: Any) -> dict[str, Any]:
    plain: dict[str, Any] = _once(part, "_dict", lambda: asdict(part))
    return plain


def _once(part: Any, name: str, make: Callable[[], Any]) -> Any:
    """Return the value made of a frozen part, and keep it: cheaper than any hash of the part."""
    if name not in part.__dict__:
        part.__dict__[name] = make()
    return part.__dict__[name]
