"""Reads nnU-Net's raw data sets (version 2): volumes, or pictures.

    DATASET/dataset.json   `channel_names`, `labels`, `file_ending`
    DATASET/imagesTr       CASE_0000.EXT, CASE_0001.EXT, …: a file a channel;
                           a colour picture is one file
    DATASET/labelsTr       CASE.EXT

Isensee et al., "nnU-Net", Nature Methods 18 (2021).
"""

from __future__ import annotations

import re
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from unet_bench.data.arrays import of_known_type
from unet_bench.data.dataset import Array, Dataset
from unet_bench.data.dataset_json import modalities, read_json
from unet_bench.data.decode import ENDINGS, decode, files, read_image, read_mask
from unet_bench.data.findings import Findings
from unet_bench.data.labels import Classes, Declared, class_names, declare, label
from unet_bench.data.mask import Mask
from unet_bench.data.nifti import ENDINGS as NIFTI
from unet_bench.data.nifti import read_labels, read_volume
from unet_bench.data.reading import find_all, find_one, pictures, volumes
from unet_bench.data.splits import seeded
from unet_bench.errors import InvalidData
from unet_bench.limits import shown

NEEDS: Final = "dataset.json, imagesTr/CASE_0000.EXT and labelsTr/CASE.EXT"
CHANNEL: Final = re.compile(r"(.+)_(\d{4})")


def recognises(path: Path) -> bool:
    """Return whether `path` is a raw data set of nnU-Net, or holds one."""
    return bool(find_all(path, _fits))


def _fits(path: Path) -> bool:
    if not all((path / name).exists() for name in ("dataset.json", "imagesTr", "labelsTr")):
        return False
    images, labels = (_names(path / folder) for folder in ("imagesTr", "labelsTr"))
    return any(_with_channel(label, "0000") in images for label in labels)


def _names(folder: Path) -> set[str]:
    return {file.name for file in folder.iterdir() if not file.name.startswith(".")}


def _with_channel(name: str, channel: str) -> str:
    stem, dot, ending = name.partition(".")
    return f"{stem}_{channel}{dot}{ending}"


def read(path: Path, *, classes: Classes = None, seed: int = 0) -> Dataset:
    """Return the labelled cases, split 70/10/20 by case and `seed`: imagesTs has no labels.
    Channels are stacked.

    Volumes become float32 in 0..1, see `reading.volumes`. The label called `ignore` becomes 255.
    Raises InvalidData, naming all offenders.
    """
    root = find_one(path, _fits, NEEDS)
    found = Findings(root)
    stated = read_json(root / "dataset.json", found)
    channels = modalities(stated.get("channel_names") or stated.get("modality"))
    if not channels:
        found.problems.append('dataset.json: no channel_names; state them, such as {"0": "MRI"}')
    declared = _declared(stated.get("labels"), found)
    if classes is not None:
        declared = declare(classes, {}, found)
    ending: Any = stated.get("file_ending")
    deep = ending in NIFTI
    if not deep and ending not in ENDINGS:
        found.problems.append(
            f"dataset.json: file_ending {shown(ending)}; "
            f"convert the files to one of {', '.join(NIFTI + ENDINGS)}"
        )
    found.refuse()

    masks = {case: held[0] for case, held in files(root / "labelsTr", [ending]).items()}
    images: dict[str, list[Path]] = {}
    for stem, held in files(root / "imagesTr", [ending]).items():
        if match := CHANNEL.fullmatch(stem):
            images.setdefault(match[1], []).extend(held)
        else:
            found.problems.append(
                f"imagesTr/{held[0].name}: no channel in its name; call it {stem}_0000{ending}"
            )
    for case in images.keys() - masks:
        found.problems.append(f"labelsTr: no label for the case {case}; add {case}{ending}")
    for case in masks.keys() - images:
        found.problems.append(f"imagesTr: no image for the label {case}; add {case}_0000{ending}")
    found.problems.sort()
    found.refuse()
    splits = seeded(sorted(images), seed, found, where="imagesTr/", kind="case")
    pixels = decode(partial(_stack, deep, len(channels)), images, found)
    marked = decode(_read_voxels if deep else read_mask, masks, found)
    labels = label(marked, declared, found, "labelsTr/")
    split_by = f"cases seeded 70/10/20, seed {seed}"
    if deep:
        return volumes(root.name, pixels, labels, splits, split_by, found, channels)
    return pictures(root.name, pixels, labels, splits, split_by, found)


def _read_voxels(path: Path) -> Mask:
    return Mask(read_labels(path), f"{path.parent.name}/{path.name}")


def _stack(deep: bool, channels: int, held: list[Path]) -> Array:
    """Return the channel files of a case as one array, channels last."""
    parts = [read_volume(file) if deep else read_image(file) for file in held]
    shapes = sorted({part.shape[:-1] for part in parts})
    where = f"imagesTr/{held[0].name}"
    if len(shapes) > 1:
        raise InvalidData(
            f"{where}: the channels of this case have shapes {shapes}; they must be equal"
        )
    # Each channel is normalised by itself, so that their depths may differ.
    stacked = of_known_type(np.concatenate(parts, axis=-1))
    if stacked.shape[-1] != channels:
        raise InvalidData(
            f"{where}: this case has {stacked.shape[-1]} channel(s), "
            f"dataset.json names {channels}; add or mend one"
        )
    return stacked


def _declared(labels: object, found: Findings) -> Declared:
    """Return class names, and the value to ignore.

    They are read from `{"background": 0, "ignore": 1}` and the like.
    """
    stated = dict(labels) if isinstance(labels, dict) else {}
    ignore = stated.pop("ignore", None)
    regions = [name for name, value in stated.items() if type(value) is not int]
    if regions:
        found.problems.append(
            f"dataset.json: labels {', '.join(regions)} have no whole number; "
            "give each one (regions are not read)"
        )
        return Declared()
    by_value = {value: name for name, value in stated.items()}
    if not stated or sorted(stated.values()) != list(range(len(stated))):
        found.problems.append(
            f"dataset.json: labels {shown(labels)} must give the values 0, 1, 2, … without a gap"
        )
        return Declared()
    if ignore is not None and type(ignore) is not int:
        found.problems.append(
            f"dataset.json: the label `ignore` is {shown(ignore)}; give it one whole number"
        )
        return Declared()
    names = class_names([by_value[value] for value in range(len(by_value))], found)
    return Declared(names, ignore=frozenset() if ignore is None else frozenset({ignore}))
