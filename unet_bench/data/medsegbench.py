"""Reads MedSegBench files: one .npz with images and labels of its three splits.

    NAME.npz   train_images, val_images, test_images  (N H W) or (N H W 3), uint8
               train_label, val_label, test_label     (N H W), class ids

Kuş and Aydin, "MedSegBench", Scientific Data 11 (2024).
"""

from __future__ import annotations

import zipfile
from pathlib import Path
from typing import Final

import numpy as np

from unet_bench.data.assemble import found, only, pictures, refuse
from unet_bench.data.dataset import Array, Dataset
from unet_bench.data.labels import Classes, class_names, labelled
from unet_bench.data.splits import SPLITS
from unet_bench.errors import InvalidData

KEYS: Final = frozenset(f"{split}_{kind}" for split in SPLITS for kind in ("images", "label"))
NEEDS: Final = f"an .npz file with the arrays {', '.join(sorted(KEYS))}, or a folder with one such file"


def recognises(path: Path) -> bool:
    """Whether `path` is, or holds, an .npz whose arrays are named as MedSegBench names them."""
    return bool(found(path, _fits))


def _fits(path: Path) -> bool:
    if path.suffix != ".npz" or not path.is_file():
        return False
    try:
        with zipfile.ZipFile(path) as archive:
            return {f"{key}.npy" for key in KEYS} <= set(archive.namelist())
    except (OSError, zipfile.BadZipFile):
        return False


def read(path: Path, *, classes: Classes = None, seed: int = 0) -> Dataset:
    """The data set in the file, in its own splits; samples are named SPLIT/NUMBER. `seed` changes nothing.

    Without `classes` the label values decide; labels of 0 and 255 only are 0 and 1.
    Raises InvalidData for a damaged file, one that holds pickles, and images or labels that cannot be used.
    """
    file = path if path.is_file() else only(path, _fits, NEEDS)
    arrays = _load(file)
    problems: list[str] = []
    images: dict[str, Array] = {}
    masks: dict[str, Array] = {}
    splits = {}
    for split in SPLITS:
        pixels, labels = arrays[f"{split}_images"], arrays[f"{split}_label"]
        pixels = pixels[..., None] if pixels.ndim == 3 else pixels
        labels = labels[..., 0] if labels.ndim == 4 and labels.shape[-1] == 1 else labels
        if pixels.ndim != 4 or labels.ndim != 3 or len(pixels) != len(labels):
            problems.append(f"{split}: images {pixels.shape} and labels {labels.shape} do not belong together")
            continue
        if pixels.dtype != np.uint8 or labels.dtype.kind not in "biu":
            problems.append(f"{split}: holds {pixels.dtype} and {labels.dtype}; save uint8 images and whole class ids")
            continue
        splits[split] = [f"{split}/{number:05}" for number in range(len(pixels))]
        images |= zip(splits[split], pixels, strict=True)
        masks |= zip(splits[split], labels, strict=True)
    refuse(file, problems)
    names, masks = labelled(masks, class_names(classes, problems), problems, where="labels")
    return pictures(file, file.stem, names, images, masks, splits, "MedSegBench", problems)


def _load(file: Path) -> dict[str, Array]:
    try:
        with np.load(file, allow_pickle=False) as arrays:
            return {key: arrays[key] for key in KEYS}
    except Exception as error:  # a damaged archive can make zipfile, zlib and numpy raise anything
        raise InvalidData(f"{file}: cannot be read ({error}); needed: {NEEDS}") from error
