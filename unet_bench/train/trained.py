"""Trained networks on disk: weights as safetensors, and beside them, as JSON, all that using them
takes.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Required, TypedDict

import numpy as np
import torch
from PIL import Image
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import nn

from unet_bench.data.dataset import Dataset, Scale, Scaled, resized
from unet_bench.data.scale import TYPES
from unet_bench.data.usual import Usual
from unet_bench.data.volume import Seen
from unet_bench.errors import InvalidSuite, StoreError, UnetBenchError, UnknownName
from unet_bench.geometry.shapes import InputWindow
from unet_bench.geometry.sizes import find_input_window
from unet_bench.host.files import atomic_write
from unet_bench.limits import MOST_NUMBER, MOST_WORDS, one_line, read_json, require_file
from unet_bench.models.build import build
from unet_bench.networks.contracts import main_output
from unet_bench.networks.variants import Variant
from unet_bench.registry.plugins import load
from unet_bench.registry.registry import Registry
from unet_bench.spec.cell import Cell, Task, tuples
from unet_bench.spec.shape import Plain, require_shape
from unet_bench.spec.suite import FITS, ORIENTATIONS
from unet_bench.store.run_folder import RunFolder
from unet_bench.store.trust import require_trust
from unet_bench.train.checkpoint import storable
from unet_bench.train.normalise import normalisation, standardised
from unet_bench.train.tiles import predict_rows
from unet_bench.train.windows import scored

if TYPE_CHECKING:
    from unet_bench.context import MeasurementContext

IMAGE_TYPES: Final = ("uint8", "float32")


class _Variant(TypedDict, total=False):
    name: Required[str]
    choices: dict[str, str]
    architecture: str
    args: dict[str, Plain | list[Plain]]
    width_scale: float
    dims: int


class _Task(TypedDict):
    name: str
    dataset_hash: str
    classes: list[str]
    in_channels: int
    scored: list[int]
    fit: str
    fold: str


class _Window(TypedDict):
    input: list[int]
    output: list[int]
    start: list[int]
    context: list[int]


class _Setting(TypedDict):
    pretrained: str


class _Volumes(TypedDict):
    orientation: str
    spacing: list[float]
    orientations: list[str]
    least: list[float]
    most: list[float]


class _Usual(TypedDict):
    centre: list[list[float]]
    deviation: list[list[float]]


class About(TypedDict, total=False):
    """The JSON beside weights. What older versions did not state yet may be missing."""

    variant: Required[_Variant]
    task: Required[_Task]
    setting: Required[_Setting]
    frame: Required[_Window]
    mean: Required[list[float] | float]
    std: Required[list[float] | float]
    image_type: Required[str]
    seed: Required[int]
    val_dice: Required[float | None]
    modalities: list[str]
    volumes: _Volumes
    usual: _Usual
    colours: dict[str, str]
    digest: str


def save_network(
    path: Path,
    context: MeasurementContext,
    model: nn.Module,
    dataset: Dataset,
    figures: Mapping[str, Any],
) -> None:
    """Write `path` (.safetensors), and beside it the JSON that `load_network` reads.

    A disk that refuses costs the weights, not what was measured with them.
    """
    mean, std = normalisation(dataset)
    cell = context.cell
    about = {
        "variant": cell.variant.to_json(),
        "task": asdict(cell.task),
        "frame": asdict(cell.input_window),
        "mean": mean.tolist(),
        "std": std.tolist(),
        "image_type": dataset.train[0].image.dtype.name,
        "modalities": dataset.modalities,
        "scale": dataset.scale,
        "usual": Usual.of(sample.image for sample in dataset.train).to_json(),
        "colours": _colours(dataset),
        "volumes": asdict(Seen.of(dataset, cell.task.fit == "resize"))
        if dataset.dims == 3
        else None,
        "seed": cell.seed,
        "recipe": cell.protocol.recipe.to_dict(),
        "setting": asdict(cell.setting),
        "val_dice": None if math.isnan(figures["val_dice"]) else figures["val_dice"],
    }
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        # The JSON comes last: where it is, the weights are whole.
        path.with_suffix(".json").unlink(missing_ok=True)
        save_file(storable(model.state_dict()), path)
        about["digest"] = _digest(path)
        with atomic_write(path.with_suffix(".json")) as draft:
            draft.write_text(json.dumps(about, indent=1, allow_nan=False), encoding="utf-8")
    except (OSError, SafetensorError) as error:
        print(f"the trained network could not be kept in {path}: {error}", file=sys.stderr)
        for file in (path, path.with_suffix(".json")):
            file.unlink(missing_ok=True)


@dataclass(frozen=True)
class Network:
    """A trained network with what it was trained on.

    `predict` takes images as they come from a file.
    """

    model: nn.Module
    blueprint: nn.Module  # the same on the meta device
    task: Task
    input_window: InputWindow
    mean: np.ndarray
    std: np.ndarray
    image_type: str
    seed: int
    variant: str
    modalities: tuple[str, ...] = ()
    scale: Scale = field(default_factory=dict)
    """How image files become what it takes; see `unet_bench.data.scale`."""
    usual: Usual | None = None
    """What the training images are like; unknown in runs of older versions."""
    colours: Mapping[str, str] = field(default_factory=dict)
    """The colours of classes in the data set's own masks, #rrggbb by name."""
    volumes: Seen = field(default_factory=Seen)
    """How volumes lay."""

    def predict(
        self, image: np.ndarray, *, whole: bool = False, overlap: float = 0.0, flips: bool = False
    ) -> np.ndarray:
        """Return class ids `(*S)`, uint8, those of the highest of the `probabilities`."""
        found = self.probabilities(image, whole=whole, overlap=overlap, flips=flips)
        class_ids: np.ndarray = found.argmax(-1).astype(np.uint8)
        return class_ids

    def probabilities(
        self, image: np.ndarray, *, whole: bool = False, overlap: float = 0.0, flips: bool = False
    ) -> np.ndarray:
        """Return the probability of each class `(*S K)`, float32, of an image `(*S C)`, in tiles.

        The image has the training images' type and channels.
        """
        found = self.probability_rows(image, whole=whole, overlap=overlap, flips=flips)
        return np.concatenate(list(found))

    @torch.no_grad()
    def probability_rows(
        self,
        image: np.ndarray | Scaled,
        *,
        whole: bool = False,
        overlap: float = 0.0,
        flips: bool = False,
    ) -> Iterator[np.ndarray]:
        """Yield `probabilities` of some rows after the other, so that not all lie in memory."""
        channels, dims = self.task.in_channels, self.task.dims
        known = image.ndim == dims + 1 and image.shape[-1] == channels
        if not known or image.dtype.name != self.image_type:
            sides = "H, W" if dims == 2 else "D, H, W"
            raise InvalidSuite(
                f"image of shape {image.shape} and type {image.dtype}: this network takes "
                f"({sides}, {channels}), {self.image_type}"
            )
        weights = self.model.state_dict().values()
        device = next((tensor.device for tensor in weights), torch.device("cpu"))

        def rows(begin: int, end: int) -> torch.Tensor:
            made = standardised(image[begin:end], self.mean, self.std)
            return torch.from_numpy(made).to(device)[None]

        size = image.shape[:-1] if whole else self.task.scored
        input_window = self.input_window
        if whole:
            input_window, _ = find_input_window(
                self.blueprint, channels, len(self.task.classes), size
            )

        def call(batch: torch.Tensor) -> torch.Tensor:
            return scored(main_output(self.model(batch)), input_window, size).float().softmax(1)

        found = predict_rows(
            call, rows, image.shape[:-1], input_window, size, overlap=overlap, flips=flips
        )
        for scores in found:
            yield np.moveaxis(scores[0].cpu().numpy(), 0, -1)

    def fitted(self, image: np.ndarray | Scaled) -> np.ndarray | Scaled:
        """Return an image `(*S C)` resized as training images were, if they were."""
        if self.task.fit != "resize":
            return image
        return resized(image, self.task.scored, Image.Resampling.BILINEAR)


Kept = tuple[Path, dict[str, Any]]
"""A kept network's JSON file, and what it says."""


def load_network(
    run: Path | str,
    variant: str,
    *,
    data: str | None = None,
    seed: int | None = None,
    fold: str | None = None,
    device: str = "cpu",
    trust: bool = False,
) -> Network:
    """Return the network of a variant that a run trained and kept.

    Of several seeds or folds it is the best by validation Dice. `data` is a task's name, `fold`
    such as 0/5. A network of nobody's plugin is code that the run names: it is imported only with
    `trust`. Raises StoreError when there is none, UnknownName for what was not kept, InvalidSuite
    where it cannot be told which of several is meant, or the run is not trusted.
    """
    kept = _chosen(Path(run), variant, data=data, seed=seed, fold=fold)
    registry, made = load().checked(), _described(kept[1])[2]
    if registry.is_foreign(made):
        require_trust(Path(run), [f"--model {made.architecture}"], trust)
    return read_network(kept, registry, variant, device)


def kept_of(weights: Path, cell: Cell) -> Kept | None:
    """Return what a run's folder of weights has of a cell's network, task and seed; None: nothing.

    Raises StoreError for a file that no run left.
    """
    for file in sorted(weights.glob("[!.]*.json")):
        about = _about(file)
        task, _, variant = _described(about)
        setting = (about["setting"]["pretrained"], about["seed"])
        is_same = variant.canonical() == cell.variant.canonical() and task == cell.task
        if is_same and setting == (cell.setting.pretrained, cell.seed):
            return file, about
    return None


def read_network(kept: Kept, registry: Registry, variant: str, device: str = "cpu") -> Network:
    """Return the network whose weights were kept. Raises StoreError where they are damaged."""
    file, about = kept
    task, input_window, made = _described(about)
    arguments = (registry, made, task.in_channels, len(task.classes), input_window.input)
    with torch.device("meta"):
        blueprint = build(*arguments)
    weights = file.with_suffix(".safetensors")
    try:
        tensors = _tensors(weights, about.get("digest"))
        # Checked before memory is taken for what the JSON speaks of.
        if _shapes(tensors) != _shapes(blueprint.state_dict()):
            raise ValueError("they are another network's weights")
        model = build(*arguments)
        model.load_state_dict(tensors)
    except UnetBenchError:
        raise
    except Exception as error:  # a damaged file can make safetensors and torch raise anything
        raise StoreError(
            f"{weights} cannot be used: {one_line(str(error))}; train it again"
        ) from error
    return Network(
        model=model.eval().to(device),
        blueprint=blueprint,
        task=task,
        input_window=input_window,
        mean=np.asarray(about["mean"]),
        std=np.asarray(about["std"]),
        image_type=about["image_type"],
        seed=about["seed"],
        variant=variant,
        modalities=tuple(about.get("modalities", ())),
        scale=_scale(about),
        usual=_usual(about),
        colours=_own_colours(about),
        volumes=_volumes(about),
    )


def _chosen(
    run: Path, variant: str, *, data: str | None, seed: int | None, fold: str | None
) -> Kept:
    """Return the kept network that is meant. Raises as `load_network`."""
    folder = RunFolder(run).weights
    kept = [(file, _about(file)) for file in sorted(folder.glob("[!.]*.json"))]
    if not kept:
        raise StoreError(f"{run} holds no trained network: train one, by --probes accuracy")
    trained_as = names_of(run).get(variant, variant)
    wanted = {"variant": trained_as, "data": data, "seed": seed, "fold": fold}
    for name, value in wanted.items():
        if value is not None:
            kept = _matching(run, kept, name, value)
    settled = [name for name in facts(kept[0][1]) if name not in ("seed", "fold")]
    differing = [name for name in settled if len(_values(kept, name)) > 1]
    if differing:
        raise InvalidSuite(
            f"{run} trained {variant} with several values of {', '.join(differing)}: "
            "say which by --data, or take a run with one of each"
        )
    if len(kept) > 1 and any(about["val_dice"] is None for _, about in kept):
        raise InvalidSuite(
            f"{run} trained {variant} {len(kept)} times without validation images: "
            "give --seed or --fold"
        )
    return max(kept, key=lambda pair: pair[1]["val_dice"] or 0.0)


def _matching(run: Path, kept: list[Kept], name: str, value: object) -> list[Kept]:
    """Return the networks for which a fact has this value. Raises UnknownName for none."""
    matching = [pair for pair in kept if facts(pair[1])[name] == value]
    if not matching:
        there = ", ".join(sorted(map(str, _values(kept, name))))
        raise UnknownName(
            f"{run} kept no network of {name} {value!r}; there are: {there}; a run keeps the best "
            "of each data set, and all with --keep-weights"
        )
    return matching


def _values(kept: list[Kept], name: str) -> set[Any]:
    return {facts(about)[name] for _, about in kept}


def facts(about: Mapping[str, Any]) -> dict[str, Any]:
    """Return what tells one kept network of a run from another."""
    task, setting = about["task"], about["setting"]
    return {
        "variant": about["variant"]["name"],
        "data": task["name"],
        "seed": about["seed"],
        "fold": task["fold"],
        "size": "x".join(map(str, task["scored"])),
        "pretrained": setting["pretrained"],
    }


def load_model(
    run: Path | str, variant: str, *, seed: int | None = None, trust: bool = False
) -> nn.Module:
    """Return the trained module itself, in eval mode on the CPU: normalised `(N C H W)` to logits.

    Raises as `load_network`.
    """
    return load_network(run, variant, seed=seed, trust=trust).model


def names_of(run: Path) -> dict[str, str]:
    """Return, for each variant that is the same network as another, the trained one's name."""
    from unet_bench.store.log import iterate_rows

    return {row["variant"]: row["same_as"] for row in iterate_rows(run) if row.get("same_as")}


def _about(file: Path) -> dict[str, Any]:
    try:
        found: dict[str, Any] = read_json(file)
        require_shape(found, About, "it")
        _described(found)
    except (
        *(UnetBenchError, OSError, ValueError),
        *(TypeError, LookupError, ArithmeticError),
    ) as error:
        why = one_line(f"{type(error).__name__}: {error}")
        raise StoreError(
            f"{one_line(str(file))} is not what a run leaves beside weights ({why}); delete it"
        ) from error
    return {name: value for name, value in found.items() if value is not None} | {
        "val_dice": found["val_dice"]
    }


def _described(about: Mapping[str, Any]) -> tuple[Task, InputWindow, Variant]:
    """Return what the JSON speaks of.

    Raises ValueError, TypeError, LookupError and ours for what is none.
    """
    task, window = Task(**tuples(about["task"])), InputWindow(**tuples(about["frame"]))
    sizes = (task.scored, window.input, window.output, window.start, window.context)
    whole = [task.in_channels, about["seed"], *itertools.chain(*sizes)]
    if not all(0 <= number <= MOST_NUMBER for number in whole):
        raise ValueError("a size, channel count or seed is below 0, or too large")
    variant = about["variant"]
    texts = (variant["name"], *(variant.get("choices") or {}).values())
    if any(len(text) > MOST_WORDS for text in texts):
        raise ValueError(f"the variant's name or a choice has more than {MOST_WORDS} characters")
    alike = all(len(size) == task.dims for size in sizes)
    if task.dims not in (2, 3) or not alike or min(*window.input, *task.scored) < 1:
        raise ValueError("sizes of several or no dimensions")
    if about["image_type"] not in IMAGE_TYPES or task.fit not in FITS:
        raise ValueError(
            f"image_type is one of {', '.join(IMAGE_TYPES)}, fit one of {', '.join(FITS)}"
        )
    for name, least in (("mean", -math.inf), ("std", 0.0)):
        values = np.asarray(about[name], np.float64)
        valid = (np.isfinite(values) & (values > least)).all()
        if values.shape not in ((), (1,), (task.in_channels,)) or not valid:
            raise ValueError(f"{name} is one finite number for each channel")
    _scale(about)
    _usual(about)
    _own_colours(about)
    _volumes(about)
    dice = about["val_dice"]
    if dice is not None and not 0 <= dice <= 1:
        raise ValueError("val_dice is null, or from 0 to 1")
    return task, window, Variant.from_json(variant)


def _scale(about: Mapping[str, Any]) -> Scale:
    """Return the scale of the images that a network was trained on.

    Data that are drawn have none, nor have runs of older versions, which knew 8 and full 16 bits.
    Raises ValueError for what is none.
    """
    stated = about.get("scale", {})
    if not isinstance(stated, dict) or not stated.keys() <= set(TYPES):
        raise ValueError(f"scale gives bounds to some of {', '.join(TYPES)}")
    scale: Scale = {"uint8": (0.0, 255.0)}
    if about["image_type"] != "uint8":
        scale["uint16"] = (0.0, 65535.0)
    if stated:
        scale = {name: (float(low), float(high)) for name, (low, high) in stated.items()}
    if not all(math.isfinite(end) for bounds in scale.values() for end in bounds):
        raise ValueError("the bounds of a scale are two finite numbers")
    return scale


def _usual(about: Mapping[str, Any]) -> Usual | None:
    """Return what the training images were like. Raises ValueError."""
    stated = about.get("usual")
    return None if stated is None else Usual.from_json(stated, about["task"]["in_channels"])


def _colours(dataset: Dataset) -> dict[str, str]:
    """Return the first colour of each class in the data set's masks, #rrggbb; none of other masks.

    They are by name; see `labels` of the data set.
    """
    coloured = [row for row in dataset.labels if row.value.startswith("#")]
    return {row.meaning: row.value for row in reversed(coloured)}


def _own_colours(about: Mapping[str, Any]) -> dict[str, str]:
    """Return the colours that `_colours` found. Raises ValueError."""
    colours: dict[str, str] = about.get("colours") or {}
    if not all(re.fullmatch("#[0-9a-f]{6}", colour) for colour in colours.values()):
        raise ValueError("colours gives classes their colours, such as #00ff00")
    return colours


def _volumes(about: Mapping[str, Any]) -> Seen:
    """Return how training volumes lay; nothing in runs of older versions, and of images.

    Raises ValueError, and TypeError for keys that it does not know.
    """
    seen = Seen(**tuples(about.get("volumes") or {}))
    if seen.orientation not in ORIENTATIONS:
        raise ValueError(f"orientation is one of {', '.join(ORIENTATIONS)}")
    for spacing in (seen.spacing, seen.least, seen.most):
        if spacing and (len(spacing) != 3 or not all(0 < side < math.inf for side in spacing)):
            raise ValueError("a spacing is three positive numbers")
    return seen


def _tensors(weights: Path, digest: str | None) -> dict[str, torch.Tensor]:
    """Return the weights as they were written.

    Other bytes would predict other masks in silence. Raises anything.
    """
    require_file(weights)
    if digest is not None and digest != _digest(weights):
        raise ValueError("the file is not what was written")
    return load_file(weights)


def _digest(file: Path) -> str:
    with file.open("rb") as content:
        return hashlib.file_digest(content, "sha256").hexdigest()


def _shapes(tensors: Mapping[str, torch.Tensor]) -> dict[str, torch.Size]:
    return {name: tensor.shape for name, tensor in tensors.items()}
