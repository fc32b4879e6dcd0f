"""Reads a folder of images and masks, the way most people keep them.

    NAME/images/*.png      PNG, JPEG, TIFF, BMP or GIF; 8 or 16 bits; grey, RGB, RGBA, palette;
                           or volumes, NIfTI
    NAME/masks/*.png       class ids, named as the image or with `_mask` and the like behind;
                           255 = ignore
    NAME/splits/train.txt  optional, with val.txt and test.txt: one stem a line
    NAME/dataset.json      optional: `name`, `classes`, `ignore_index`, `modality`

Everything is read and checked first; what is wrong is reported at once, all of it, by file.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Final

from unet_bench.data.dataset import IGNORE, Dataset
from unet_bench.data.dataset_json import modalities, read_json, title
from unet_bench.data.decode import ENDINGS, FORMATS, decode, files, read_image, read_mask
from unet_bench.data.labels import Classes, class_names, labelled
from unet_bench.data.nifti import ENDINGS as NIFTI
from unet_bench.data.nifti import is_nifti, read_labels, read_volume
from unet_bench.data.reading import pictures, refuse, volumes
from unet_bench.data.splits import SPLITS, Splits, listed, seeded
from unet_bench.limits import shown

MASK_SUFFIXES: Final = (
    "",
    "_mask",
    "_masks",
    "_seg",
    "_segmentation",
    "_label",
    "_labels",
    "_gt",
    "-mask",
)


def recognises(path: Path) -> bool:
    """Return whether `path` holds images/ and masks/."""
    return os.path.isdir(path / "images") and os.path.isdir(path / "masks")


def read_folder(path: Path | str, *, classes: Classes = None, seed: int = 0) -> Dataset:
    """Return the data set in the folder `path`, see above.

    Classes come from `classes` (names, or how many), else from dataset.json, else from the masks.
    Masks which hold nothing but 0 and 255 are 0 and 1, if there are two classes. Without split
    files the images are split 70/10/20 by `seed`; with them, images in no split are left alone.
    Grey and RGB in one set become RGB, 16 bits become 0..1. Volumes become float32 in 0..1, see
    `reading.volumes`; dataset.json may give their `modality` as the Decathlon writes it. Raises
    InvalidData, naming all offenders and the remedies.
    """
    root = Path(path)
    problems: list[str] = []
    _require_folders(root)
    about = _about(root, classes, problems)
    image_files, mask_files = (
        files(root / folder, (*ENDINGS, *NIFTI)) for folder in ("images", "masks")
    )
    splits, split_by = _splits(root, sorted(image_files), seed, problems)
    stems = [stem for split in SPLITS for stem in splits[split]]

    chosen = _chosen(image_files, stems, problems)
    matched = _matched(mask_files, image_files, stems, problems)
    flat = [file.name for file in chosen.values() if not is_nifti(file)]
    deep = [file.name for file in chosen.values() if is_nifti(file)]
    if flat and deep:
        problems.append(f"images/: {flat[0]} is a picture and {deep[0]} a volume; keep one kind")
        refuse(root, problems)
    images = decode(read_volume if deep else read_image, chosen, problems)
    masks = decode(read_labels if deep else read_mask, matched, problems)
    names, masks = labelled(masks, about.classes, problems, ignore=about.ignore, where="masks/")
    if deep:
        return volumes(
            root, about.name, names, images, masks, splits, split_by, problems, about.modalities
        )
    return pictures(root, about.name, names, images, masks, splits, split_by, problems)


def _require_folders(root: Path) -> None:
    missing = [root / name for name in ("images", "masks") if not (root / name).is_dir()]
    remedy = "no such folder; put the images in images/, the masks in masks/"
    refuse(root, [f"{folder}: {remedy}" for folder in missing])


@dataclass(frozen=True)
class _About:
    """What dataset.json and the caller state."""

    name: str
    classes: tuple[str, ...] | None
    ignore: int | None
    modalities: tuple[str, ...]


def _about(root: Path, classes: Classes, problems: list[str]) -> _About:
    stated = read_json(root / "dataset.json", problems)
    ignore = stated.get("ignore_index")
    if ignore is not None and type(ignore) is not int:
        problems.append(
            f"dataset.json: ignore_index {shown(ignore)} must be one whole number or null"
        )
        ignore = None
    names = class_names(stated.get("classes") if classes is None else classes, problems)
    # 255 is `IGNORE` already; and where 255 turns out to mean 1, an ignore_index of 255 was a
    # default nobody meant.
    ignore = None if ignore == IGNORE else ignore
    name = title(stated, os.path.basename(os.path.realpath(root)))
    return _About(name, names, ignore, modalities(stated.get("modality")))


def _splits(root: Path, stems: list[str], seed: int, problems: list[str]) -> tuple[Splits, str]:
    """Return stems by split, none of them unknown, and how they were split."""
    listings = [root / "splits" / f"{split}.txt" for split in SPLITS]
    if not stems:
        problems.append(f"images/: holds no image; put {', '.join(FORMATS)} files there")
        return {split: [] for split in SPLITS}, ""
    if not any(file.exists() for file in listings):
        return seeded(stems, seed, problems, where="images/"), f"seeded 70/10/20, seed {seed}"
    splits = {file.stem: listed(file, problems) for file in listings}
    for stem, count in Counter(chain(*splits.values())).items():
        if count > 1:
            problems.append(f"splits/: {stem} is named {count} times; keep it in one split")
    known = set(stems)
    for split, names in splits.items():
        unknown = [stem for stem in names if stem not in known]
        problems += [f"splits/{split}.txt: no image has the stem {stem!r}" for stem in unknown]
        splits[split] = [stem for stem in names if stem in known]
    return splits, "files"


def _chosen(
    images: dict[str, list[Path]], stems: Iterable[str], problems: list[str]
) -> dict[str, Path]:
    """Return the image file of each stem."""
    chosen = {}
    for stem in dict.fromkeys(stems):
        chosen[stem], *others = images[stem]
        if others:
            problems.append(f"images/: {_listing(images[stem])} have one stem; keep one of them")
    return chosen


def _matched(
    masks: dict[str, list[Path]],
    images: dict[str, list[Path]],
    stems: Iterable[str],
    problems: list[str],
) -> dict[str, Path]:
    """Return the mask file of each stem: `a_mask` is `a`'s, unless there is an image `a_mask`."""
    matched, missing = {}, []
    for stem in dict.fromkeys(stems):
        fitting = [
            stem + suffix for suffix in MASK_SUFFIXES if not suffix or stem + suffix not in images
        ]
        candidates = [file for name in fitting for file in masks.get(name, [])]
        if len(candidates) == 1:
            matched[stem] = candidates[0]
        elif candidates:
            problems.append(
                f"masks/: {_listing(candidates)} fit the image {stem}; keep one of them"
            )
        else:
            missing.append(
                f"masks/: no mask for the image {stem}; add {stem}.png or {stem}_mask.png"
            )
    if missing and not matched:
        given = _listing([file for held in masks.values() for file in held][:3]) or "no image file"
        problems.append(
            f"masks/: holds {given}; name masks as their images, or with _mask, _seg, _gt … behind"
        )
    problems += missing
    return matched


def _listing(held: list[Path]) -> str:
    return ", ".join(file.name for file in held)
