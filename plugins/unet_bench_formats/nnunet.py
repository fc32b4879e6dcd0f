"""Reads nnU-Net's raw data sets (version 2): volumes, or pictures.

    DATASET/dataset.json   `channel_names`, `labels`, `file_ending`
    DATASET/imagesTr       CASE_0000.EXT, CASE_0001.EXT, …: a file a channel;
                           a colour picture is one file
    DATASET/labelsTr       CASE.EXT

Labels may have gaps, or be regions. `splits_final.json`, in DATASET or in
`nnUNet_preprocessed/DATASET` beside `nnUNet_raw`, is used by `--folds splits_final`.

Isensee et al., "nnU-Net", Nature Methods 18 (2021).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from unet_bench.data.arrays import of_known_type
from unet_bench.data.dataset import IGNORE, Array, Dataset
from unet_bench.data.dataset_json import modalities, read_json
from unet_bench.data.decode import ENDINGS, decode, files, read_image, read_mask
from unet_bench.data.findings import Findings, listing
from unet_bench.data.folds import folds_file
from unet_bench.data.labels import Classes, Declared, Span, class_names, declare, label
from unet_bench.data.nifti import ENDINGS as NIFTI
from unet_bench.data.nifti import read_labels, read_volume
from unet_bench.data.reading import find_all, find_one, pictures, volumes
from unet_bench.data.splits import seeded
from unet_bench.data.volume import Volume
from unet_bench.errors import InvalidData
from unet_bench.limits import shown

NEEDS: Final = "dataset.json, imagesTr/CASE_0000.EXT and labelsTr/CASE.EXT"
MOST_VALUE: Final = 2**31
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
    if folds := folds_file(root, "splits_final"):
        found.notes.append(f"{folds.name} is there, and used by --folds splits_final")
    split_by = f"cases seeded 70/10/20, seed {seed}"
    if deep:
        voxels = decode(partial(_read_volumes, len(channels)), images, found)
        marked = decode(read_labels, masks, found)
        values = {case: volume.as_mask() for case, volume in marked.items()}
        labels = label(values, declared, found, "labelsTr/")
        return volumes(root.name, voxels, labels, splits, split_by, found, channels, marked)
    pixels = decode(partial(_stack, len(channels)), images, found)
    labels = label(decode(read_mask, masks, found), declared, found, "labelsTr/")
    return pictures(root.name, pixels, labels, splits, split_by, found)


def _read_volumes(channels: int, held: list[Path]) -> list[Volume]:
    """Return the channel files of a case."""
    parts = [read_volume(file) for file in held]
    _require_channels(sum(part.values.shape[-1] for part in parts), channels, held[0])
    return parts


def _stack(channels: int, held: list[Path]) -> Array:
    """Return the pictures of a case as one array, channels last."""
    parts = [read_image(file) for file in held]
    shapes = sorted({part.shape[:-1] for part in parts})
    if len(shapes) > 1:
        raise InvalidData(
            f"imagesTr/{held[0].name}: the channels of this case have shapes {shapes}; "
            "they must be equal"
        )
    # Each channel is normalised by itself, so that their depths may differ.
    stacked = of_known_type(np.concatenate(parts, axis=-1))
    _require_channels(stacked.shape[-1], channels, held[0])
    return stacked


def _require_channels(given: int, stated: int, first: Path) -> None:
    if given != stated:
        raise InvalidData(
            f"imagesTr/{first.name}: this case has {given} channel(s), "
            f"dataset.json names {stated}; add or mend one"
        )


def _declared(labels: object, found: Findings) -> Declared:
    """Return class names, and the value to ignore.

    They are read from `{"background": 0, "ignore": 1}` and the like. Values with gaps become 0, 1,
    2, … in their order, regions the parts that they have in common, see `_parts`.
    """
    stated = dict(labels) if isinstance(labels, dict) else {}
    ignore = stated.pop("ignore", None)
    if ignore is not None and type(ignore) is not int:
        found.problems.append(
            f"dataset.json: the label `ignore` is {shown(ignore)}; give it one whole number"
        )
        return Declared()
    values = {name: _values(value) for name, value in stated.items()}
    if unread := [name for name, held in values.items() if not held]:
        found.problems.append(
            f"dataset.json: labels {listing(unread)} have no whole number; give each one, or to a "
            'region several, such as "whole tumor": [1, 2, 3]'
        )
        return Declared()
    if any(isinstance(value, list) for value in stated.values()):
        values = _parts(values, found)
    return in_order(values, ignore, found, labels)


def in_order(
    values: Mapping[str, tuple[int, ...]], ignore: int | None, found: Findings, labels: object
) -> Declared:
    """Return classes 0, 1, 2, … in the order of the values that names have; of gaps, with a note.

    `labels` is what dataset.json says.
    """
    order = sorted(values, key=lambda name: min(values[name]))
    counted = [value for held in values.values() for value in held]
    if not order or min(counted) != 0 or len(counted) > len(set(counted)) or ignore in counted:
        found.problems.append(
            f"dataset.json: labels {shown(labels)} must give 0 to the background, and each other "
            "value to one label"
        )
        return Declared()
    names = class_names(order, found)
    if sorted(counted) == list(range(len(order))):
        return Declared(names, ignore=frozenset() if ignore is None else frozenset({ignore}))
    if all(len(held) == 1 for held in values.values()):
        found.notes.append(
            f"dataset.json: labels with the values {_text(sorted(counted))} are classes "
            f"0 to {len(order) - 1}, in this order"
        )
    spans = [Span(v, v, number) for number, name in enumerate(order) for v in values[name]]
    spans += [] if ignore is None else [Span(ignore, ignore, IGNORE)]
    return Declared(names, tuple(sorted(spans, key=lambda span: span.low)))


def _values(stated: object) -> tuple[int, ...]:
    """Return the values of one label, or nothing."""
    listed: list[Any] = stated if isinstance(stated, list) else [stated]
    known = all(type(value) is int and 0 <= value < MOST_VALUE for value in listed)
    return tuple(dict.fromkeys(listed)) if known else ()


def _parts(regions: Mapping[str, tuple[int, ...]], found: Findings) -> dict[str, tuple[int, ...]]:
    """Return what regions, which may lie in one another, divide the values into.

    A part has the values that lie in the same regions, and the name of the smallest of these; where
    that holds more than the part, `…, rest`. Networks end in classes that exclude each other, and
    nnU-Net's `regions_class_order` says which of these parts a region ends in.
    """
    holders: dict[int, list[str]] = {}
    for name, held in sorted(regions.items(), key=lambda pair: len(pair[1])):
        for value in held:
            holders.setdefault(value, []).append(name)
    together: dict[tuple[str, ...], list[int]] = {}
    for value, inside in sorted(holders.items()):
        together.setdefault(tuple(inside), []).append(value)
    parts = {}
    for names, values in together.items():
        sets = {name: set(regions[name]) for name in names}
        smallest = [n for n in names if not any(sets[other] < sets[n] for other in names)]
        is_all = set.intersection(*(sets[name] for name in smallest)) == set(values)
        parts[" and ".join(smallest) + ("" if is_all else ", rest")] = tuple(values)
    told = "; ".join(f"{name}: {_text(held)}" for name, held in parts.items())
    found.notes.append(
        f"dataset.json: labels are regions, taken for {len(parts)} classes that exclude each "
        f"other ({told}); Dice of a class is not that of a region"
    )
    return parts


def _text(values: Iterable[int]) -> str:
    return ", ".join(map(str, values))
