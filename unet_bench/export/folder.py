"""The folder that is shipped: the network, what it takes and returns, and a script that runs it."""

from __future__ import annotations

import json
import runpy
import shutil
import tempfile
from collections.abc import Callable, Collection, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import numpy as np
import torch

from unet_bench.errors import InvalidSuite, NotInstalled, StoreError, Unsupported
from unet_bench.export.eight_bits import nodes_of
from unet_bench.export.model_file import (
    FORMATS,
    INPUT,
    ONNX,
    OUTPUT,
    Deployed,
    Format,
    examples,
    state,
    write_onnx,
    write_openvino,
    write_program,
)
from unet_bench.limits import one_line
from unet_bench.networks.as_onnx import quantized, require
from unet_bench.present.class_pictures import colours_of, hexed
from unet_bench.spec.cell import AS_TRAINED
from unet_bench.train.trained import Network

ABOUT: Final = "model.json"
SCRIPT: Final = "predict.py"
VERSION: Final = 1
MANY: Final = 3  # images at once that the file is checked on
MOST_APART: Final = 1e-3  # in a probability
LICENCE: Final = (
    "Where training began from published weights (--pretrained), their licence, and that of the "
    "data behind them, holds for these, too."
)


@dataclass(frozen=True)
class Exported:
    """A folder that was written, and how far its file is from the network; None: not checked."""

    folder: Path
    apart: float | None
    unchecked: str = ""
    agreement: float | None = None  # share of the training images' pixels that keep their class
    needs: tuple[str, ...] = ()  # packages that the folder runs with

    def table(self) -> dict[str, Any]:
        """Return it for `--json`."""
        return {
            "folder": str(self.folder),
            "difference": self.apart,
            "agreement": self.agreement,
            "unchecked": self.unchecked,
            "needs": self.needs,
        }


def export_network(
    network: Network,
    folder: Path,
    format: str = "onnx",
    quantize: str = AS_TRAINED,
    images: Sequence[np.ndarray] = (),
    in_float: Collection[str] = (),
) -> Exported:
    """Write a trained network into a new folder, whole or not at all.

    It is run beside the network, by the folder's own script, where what runs it is installed.
    `format` is one of FORMATS. `quantize` is as in a setting; it takes `images`, inputs `(1 C *S)`
    of values, by which ranges are found and on which the change is told; slots `in_float` stay as
    trained. Raises StoreError where the folder is there already or the disk refuses, Unsupported
    for a network that the format cannot hold or that returns something else there, NotInstalled,
    InvalidSuite for what cannot be quantised, UnknownName for a slot that it does not have.
    """
    made = FORMATS[format]
    if quantize != AS_TRAINED and not made.is_onnx:
        several = ", ".join(name for name, each in FORMATS.items() if each.is_onnx)
        raise InvalidSuite(f"--quantize {quantize} is for {several}, not for --format {format}")
    if in_float and quantize == AS_TRAINED:
        raise InvalidSuite("--in-float says what is not quantised: give --quantize, too")
    if folder.exists():
        raise StoreError(f"{folder} exists: give another folder by --out, or remove it")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {one_line(str(error))}") from error
    try:
        about = describe(network, made)
        shutil.copyfile(Path(__file__).with_name("predict_script.py"), draft / SCRIPT)
        if made.is_onnx:
            any_batch = write_onnx(network, draft / ONNX)
        else:
            any_batch = write_program(network, draft / made.file)
        about["batch"] = "any" if any_batch else 1
        _finish(draft, made, about)
        apart, unchecked = None, ""
        try:
            apart = difference(network, draft, MANY if any_batch else 1)
        except NotInstalled as error:
            unchecked = str(error)
        if apart is not None and not apart <= MOST_APART:
            raise Unsupported(
                f"{network.variant} as {format} returns probabilities that are {apart:.2g} off, "
                f"more than {MOST_APART:g}: not written"
            )
        about["checked"] = {"with": f"{made.runs_with}, as {SCRIPT} loads it", "difference": apart}
        agreement = None
        if quantize != AS_TRAINED:
            nodes = nodes_of(network, draft / ONNX, in_float)
            quantized(draft / ONNX, quantize, iter(images), nodes).replace(draft / ONNX)
            _finish(draft, made, about)
            agreement = class_agreement(network, draft, images)
            about |= {"quantize": quantize, "in_float": [*in_float], "agreement": agreement}
        _finish(draft, made, about)
        if made.is_onnx and made.file != ONNX:
            (draft / ONNX).unlink()
        draft.chmod(0o755)
        draft.rename(folder)
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {one_line(str(error))}; free space") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Exported(folder, apart, unchecked, agreement, tuple(about["needs"]))


def _finish(draft: Path, made: Format, about: dict[str, Any]) -> None:
    """Bring the files of a draft up to what is known by now."""
    text = json.dumps(about, indent=1, allow_nan=False)
    (draft / ABOUT).write_text(text + "\n", encoding="utf-8")
    if made.is_onnx:
        state(draft / ONNX, about)
    if made.runs_with == "openvino":
        write_openvino(draft / ONNX, draft / made.file, about)


def loaded(folder: Path) -> Callable[[np.ndarray], np.ndarray]:
    """Return a folder's network as its own script loads it. Raises NotInstalled."""
    about = json.loads((folder / ABOUT).read_text(encoding="utf-8"))
    require(about["needs"][0])
    load: Callable[[], Callable[[np.ndarray], np.ndarray]]
    load = runpy.run_path(str(folder / SCRIPT))["load"]
    return load()


def difference(network: Network, folder: Path, batch: int) -> float:
    """Return how far a folder's probabilities are from the network's, at most.

    They are of so many random images. Raises NotInstalled.
    """
    values = examples(network, batch)
    found = loaded(folder)(values.numpy())
    with torch.no_grad():
        expected: Any = Deployed(network).eval()(values).numpy()
    return float(np.abs(found - expected).max())


def class_agreement(network: Network, folder: Path, images: Sequence[np.ndarray]) -> float:
    """Return the share of pixels that are of the same class by the folder and by the network."""
    call, deployed, shares = loaded(folder), Deployed(network).eval(), []
    for values in images:
        with torch.no_grad():
            expected = deployed(torch.from_numpy(values)).numpy()
        shares.append(float((call(values).argmax(1) == expected.argmax(1)).mean()))
    return fmean(shares)


def describe(network: Network, made: Format) -> dict[str, Any]:
    """Return what whoever runs the file has to know."""
    task, window = network.task, network.input_window
    colours = colours_of(task.classes, network.colours)
    return {
        "format": f"unet-bench export {VERSION}",
        "file": made.file,
        "needs": [made.runs_with, "numpy", "pillow"],
        "variant": network.variant,
        "trained_on": f"{task.name}, {network.image_type}",
        "seed": network.seed,
        "classes": [
            {"id": number, "name": name, "colour": hexed(colours[number])}
            for number, name in enumerate(task.classes)
        ],
        "input": {
            "name": INPUT,
            "shape": "(batch, channels, *size), float32: an image's values, not normalised",
            "channels": task.in_channels,
            "size": list(window.input),
            "context": list(window.context),
        },
        "output": {
            "name": OUTPUT,
            "shape": "(batch, classes, *size), float32: of the pixels from `context` on",
            "size": list(task.scored),
        },
        "normalisation": {
            "where": "in the model",
            "mean": np.asarray(network.mean, float).tolist(),
            "std": np.asarray(network.std, float).tolist(),
        },
        "image_type": network.image_type,
        "scale": {name: list(bounds) for name, bounds in network.scale.items()},
        "fit": task.fit,
        "sizes": "images of any size, in tiles: see predict.py",
        "licence": LICENCE,
    }
