"""Reads a task of the Medical Segmentation Decathlon: volumes.

    TASK/dataset.json   `training` (image and label files), `labels`, `modality`
    TASK/imagesTr       CASE.nii.gz; several modalities as a fourth dimension
    TASK/labelsTr       CASE.nii.gz

Antonelli et al., "The Medical Segmentation Decathlon", Nature Communications 13 (2022).
"""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any, Final

from unet_bench.data.dataset import Dataset
from unet_bench.data.dataset_json import inside, modalities, read_json, title
from unet_bench.data.decode import decode, files
from unet_bench.data.findings import Findings
from unet_bench.data.labels import Classes, Declared, declare, label
from unet_bench.data.nifti import ENDINGS, read_labels, read_volume
from unet_bench.data.reading import find_all, find_one, volumes
from unet_bench.data.splits import seeded
from unet_bench.limits import shown
from unet_bench_formats.nnunet import in_order

NEEDS: Final = "dataset.json, imagesTr/CASE.nii.gz and labelsTr/CASE.nii.gz"


def recognises(path: Path) -> bool:
    """Return whether `path` is a Decathlon task, or holds one."""
    return bool(find_all(path, _fits))


def _fits(path: Path) -> bool:
    if not all((path / name).exists() for name in ("dataset.json", "imagesTr", "labelsTr")):
        return False
    images, labels = (files(path / folder, ENDINGS).keys() for folder in ("imagesTr", "labelsTr"))
    # nnU-Net has the same folders; what tells them apart is the channel in its names of images.
    return not images.isdisjoint(labels) and images.isdisjoint(f"{case}_0000" for case in labels)


def read(path: Path, *, classes: Classes = None, seed: int = 0) -> Dataset:
    """Return the labelled cases, split 70/10/20 by case and `seed`.

    The official test cases have no labels. Images become float32 in 0..1, see `reading.volumes`.
    Raises InvalidData, naming all offenders.
    """
    root = find_one(path, _fits, NEEDS)
    found = Findings(root)
    stated = read_json(root / "dataset.json", found)
    images, masks = {}, {}
    for pair in _pairs(stated.get("training"), found):
        image, mask = (inside(root, pair[name], found) for name in ("image", "label"))
        if image is None or mask is None:
            continue
        case = image.name.removesuffix(".gz").removesuffix(".nii")
        absent = [file for file in (image, mask) if not os.path.isfile(file)]
        for file in absent:
            where = f"{file.parent.name}/{file.name}"
            found.problems.append(f"{where}: no such file; add it, or mend dataset.json")
        if case in images:
            found.problems.append(
                f"dataset.json: names the training case {case} more than once; keep one"
            )
        elif not absent:
            images[case], masks[case] = image, mask
    if not images:
        found.problems.append(
            "dataset.json: names no training case that exists; "
            "list image and label under `training`"
        )
    if classes is None:
        declared = _declared(stated.get("labels"), found)
    else:
        declared = declare(classes, {}, found)
    if not images or declared.classes is None:
        found.refuse()
    splits = seeded(sorted(images), seed, found, where="imagesTr/", kind="case")
    voxels, marked = decode(read_volume, images, found), decode(read_labels, masks, found)
    values = {case: volume.as_mask() for case, volume in marked.items()}
    labels = label(values, declared, found, "labelsTr/")
    split_by = f"cases seeded 70/10/20, seed {seed}"
    name, channels = title(stated, root.name), modalities(stated.get("modality"))
    return volumes(name, voxels, labels, splits, split_by, found, channels, marked)


def _pairs(training: object, found: Findings) -> list[dict[str, Any]]:
    """Return image and label of each training case, `._` files left out."""
    listed = training if isinstance(training, list) else []
    pairs = [
        pair
        for pair in listed
        if isinstance(pair, dict)
        and isinstance(pair.get("image"), str)
        and isinstance(pair.get("label"), str)
    ]
    if len(pairs) < len(listed):
        found.problems.append(
            "dataset.json: each case under `training` must have an `image` and a `label`"
        )
    return [pair for pair in pairs if not Path(pair["image"]).name.startswith("._")]


def _declared(labels: object, found: Findings) -> Declared:
    """Return class names from `{"0": "background", "1": …}`; values with gaps in their order."""
    stated = labels if isinstance(labels, dict) else {}
    values = {}
    for value, name in stated.items():
        if re.fullmatch("[0-9]{1,9}", value) and isinstance(name, str):
            values[name] = (int(value),)
    if not values or len(values) < len(stated):
        found.problems.append(
            f"dataset.json: labels {shown(labels)} must give whole numbers names, each another, "
            'such as {"0": "background", "1": "liver"}'
        )
        return Declared()
    return in_order(values, None, found, labels)
