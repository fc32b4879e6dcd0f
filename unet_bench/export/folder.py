"""The folder that is shipped: the network, what it takes and returns, and a script that runs it."""

from __future__ import annotations

import json
import shutil
import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np

from unet_bench.errors import NotInstalled, StoreError, Unsupported
from unet_bench.export.onnx_file import (
    INPUT,
    MOST_APART,
    OUTPUT,
    class_agreement,
    difference,
    state,
    write_onnx,
)
from unet_bench.limits import one_line
from unet_bench.networks.as_onnx import quantized
from unet_bench.present.class_pictures import colours_of, hexed
from unet_bench.spec.cell import AS_TRAINED
from unet_bench.train.trained import Network

MODEL: Final = "model.onnx"
ABOUT: Final = "model.json"
SCRIPT: Final = "predict.py"
VERSION: Final = 1
MANY: Final = 3  # images at once that the file is checked on
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

    def table(self) -> dict[str, Any]:
        """Return it for `--json`."""
        return {
            "folder": str(self.folder),
            "difference": self.apart,
            "agreement": self.agreement,
            "unchecked": self.unchecked,
        }


def export_network(
    network: Network,
    folder: Path,
    quantize: str = AS_TRAINED,
    images: Sequence[np.ndarray] = (),
) -> Exported:
    """Write a trained network into a new folder, whole or not at all.

    It is run beside the network where ONNX Runtime is installed. `quantize` is as in a setting; it
    takes `images`, inputs `(1 C *S)` of values, by which ranges are found and on which the change
    is told. Raises StoreError where the folder is there already or the disk refuses, Unsupported
    for a network that ONNX cannot hold or that returns something else there, NotInstalled.
    """
    if folder.exists():
        raise StoreError(f"{folder} exists: give another folder by --out, or remove it")
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        draft = Path(tempfile.mkdtemp(prefix=f".{folder.name}-", dir=folder.parent))
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {one_line(str(error))}") from error
    try:
        about = describe(network)
        write_onnx(network, draft / MODEL, about)
        apart, unchecked = None, ""
        try:
            batch = MANY if about["batch"] == "any" else 1
            apart = difference(network, draft / MODEL, batch)
        except NotInstalled as error:
            unchecked = str(error)
        if apart is not None and not apart <= MOST_APART:
            raise Unsupported(
                f"{network.variant} as ONNX returns probabilities that are {apart:.2g} off, more "
                f"than {MOST_APART:g}: not written"
            )
        about["checked"] = {"with": "onnxruntime, CPU", "difference": apart}
        agreement = None
        if quantize != AS_TRAINED:
            quantized(draft / MODEL, quantize, iter(images)).replace(draft / MODEL)
            agreement = class_agreement(network, draft / MODEL, images)
            about |= {"quantize": quantize, "agreement": agreement}
            state(draft / MODEL, about)
        text = json.dumps(about, indent=1, allow_nan=False)
        (draft / ABOUT).write_text(text + "\n", encoding="utf-8")
        shutil.copyfile(Path(__file__).with_name("predict_onnx.py"), draft / SCRIPT)
        draft.chmod(0o755)
        draft.rename(folder)
    except OSError as error:
        raise StoreError(f"cannot write {folder}: {one_line(str(error))}; free space") from error
    finally:
        shutil.rmtree(draft, ignore_errors=True)
    return Exported(folder, apart, unchecked, agreement)


def describe(network: Network) -> dict[str, Any]:
    """Return what whoever runs the file has to know."""
    task, window = network.task, network.input_window
    colours = colours_of(task.classes, network.colours)
    return {
        "format": f"unet-bench export {VERSION}",
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
