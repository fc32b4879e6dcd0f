"""Reads MedSegBench files: one .npz with images and labels of its three splits.

    NAME.npz   train_images, val_images, test_images  (N H W) or (N H W 3), uint8
               train_label, val_label, test_label     (N H W), class ids

Kuş and Aydin, "MedSegBench", Scientific Data 11 (2024).
"""

from __future__ import annotations

import os
import zipfile
from pathlib import Path
from typing import IO, Final

import numpy as np

from unet_bench import limits
from unet_bench.data.arrays import require_header
from unet_bench.data.dataset import Array, Dataset
from unet_bench.data.findings import Findings
from unet_bench.data.labels import Classes, declare, label
from unet_bench.data.reading import find_all, find_one, pictures
from unet_bench.data.splits import SPLITS
from unet_bench.errors import InvalidData
from unet_bench.limits import one_line

KEYS: Final = frozenset(f"{split}_{kind}" for split in SPLITS for kind in ("images", "label"))
NEEDS: Final = (
    f"an .npz file with the arrays {', '.join(sorted(KEYS))}, or a folder with one such file"
)


def recognises(path: Path) -> bool:
    """Return whether `path` is, or holds, an .npz with arrays named as MedSegBench names them."""
    return bool(find_all(path, _fits))


def _fits(path: Path) -> bool:
    if path.suffix != ".npz" or not os.path.isfile(path):
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return {f"{key}.npy" for key in KEYS} <= set(archive.namelist())
    except Exception:  # a damaged archive can make zipfile raise anything
        return False


def read(path: Path, *, classes: Classes = None, seed: int = 0) -> Dataset:
    """Return the data set in the file, in its own splits.

    Samples are named SPLIT/NUMBER. `seed` changes nothing. Without `classes` the label values
    decide; labels of 0 and 255 only are 0 and 1. Raises InvalidData for a damaged file, one that
    holds pickles, and images or labels that cannot be used.
    """
    file = path if path.is_file() else find_one(path, _fits, NEEDS)
    arrays = _load(file)
    found = Findings(file)
    images: dict[str, Array] = {}
    masks: dict[str, Array] = {}
    splits = {}
    for split in SPLITS:
        pixels, labels = arrays[f"{split}_images"], arrays[f"{split}_label"]
        pixels = pixels[..., None] if pixels.ndim == 3 else pixels
        labels = labels[..., 0] if labels.ndim == 4 and labels.shape[-1] == 1 else labels
        if pixels.ndim != 4 or labels.ndim != 3 or len(pixels) != len(labels):
            found.problems.append(
                f"{split}: images {pixels.shape} and labels {labels.shape} do not belong together"
            )
            continue
        if pixels.dtype != np.uint8 or labels.dtype.kind not in "biu":
            found.problems.append(
                f"{split}: holds {pixels.dtype} and {labels.dtype}; "
                "save uint8 images and whole class ids"
            )
            continue
        if len(pixels) and not pixels.size:
            found.problems.append(f"{split}: images {pixels.shape} without a pixel; save images")
            continue
        splits[split] = [f"{split}/{number:05}" for number in range(len(pixels))]
        images |= zip(splits[split], pixels, strict=True)
        masks |= zip(splits[split], labels, strict=True)
    found.refuse()
    labelled = label(masks, declare(classes, {}, found), found, "labels")
    return pictures(file.stem, images, labelled, splits, "MedSegBench", found)


def _load(file: Path) -> dict[str, Array]:
    try:
        limits.require_file(file)
        with zipfile.ZipFile(file) as archive:
            for key in sorted(KEYS):
                size = archive.getinfo(f"{key}.npy").file_size
                with archive.open(f"{key}.npy") as array:
                    _require(key, array, size)
        with np.load(file, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in KEYS}
    except InvalidData as error:
        raise InvalidData(f"{one_line(str(file))}: {error}") from None
    except Exception as error:  # a damaged archive can make zipfile, zlib and numpy raise anything
        raise InvalidData(
            f"{one_line(str(file))}: cannot be read ({one_line(str(error))}); needed: {NEEDS}"
        ) from error


def _require(key: str, array: IO[bytes], size: int) -> None:
    """Raise InvalidData, naming the array, for one that is too large or too short."""
    try:
        require_header(array, size)
    except InvalidData as error:
        raise InvalidData(f"{key} {error}") from None
