"""Reads multi-page TIFF: a stack of sections and a stack of their labels, as the ISBI 2012 EM
challenge gave them.

    FOLDER/train-volume.tif   a page a section
    FOLDER/train-labels.tif   a page a section: 0 membrane, 255 cell; or class ids

Arganda-Carreras et al., Frontiers in Neuroanatomy 9 (2015).
"""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Final, TypeVar

import numpy as np

from unet_bench.data.dataset import Dataset
from unet_bench.data.decode import read_image_pages, read_mask_pages
from unet_bench.data.findings import Findings
from unet_bench.data.labels import Classes, Labelled, declare, label
from unet_bench.data.mask import Mask
from unet_bench.data.reading import find_all, find_one, pictures
from unet_bench.data.splits import in_blocks
from unet_bench.errors import InvalidData

T = TypeVar("T")

ENDINGS: Final = (".tif", ".tiff")
CLASSES: Final = ("cell", "membrane")
NEEDS: Final = "train-volume.tif and train-labels.tif"


def recognises(path: Path) -> bool:
    """Return whether `path` holds train-volume.tif and train-labels.tif, or a folder in it does."""
    return bool(find_all(path, _fits))


def _fits(path: Path) -> bool:
    return _stack(path, "train-volume") is not None and _stack(path, "train-labels") is not None


def _stack(root: Path, name: str) -> Path | None:
    files = (root / f"{name}{ending}" for ending in ENDINGS)
    return next((file for file in files if os.path.isfile(file)), None)


def read(path: Path, *, classes: Classes = None, seed: int = 0) -> Dataset:
    """Return the sections of the stack, split 70/10/20 in blocks.

    Neighbours look alike. `seed` changes nothing. Labels of 0 and 255 are the challenge's: 255 is
    cell, class 0, and 0 is membrane, class 1. Others are class ids. The test stack has no labels
    and is left out. Raises InvalidData, naming all offenders.
    """
    root = find_one(path, _fits, NEEDS)
    found = Findings(root)
    images = _pages(read_image_pages, root, "train-volume", found)
    masks = _pages(read_mask_pages, root, "train-labels", found)
    found.refuse()
    if len(images) != len(masks):
        pages = f"train-volume has {len(images)} page(s), train-labels {len(masks)}"
        found.problems.append(f"{pages}; make them equal")
        found.refuse()
    stems = [f"section{number:03}" for number in range(len(images))]
    splits = in_blocks(stems, found, where="train-volume", kind="section")
    labels = _labelled(dict(zip(stems, masks, strict=True)), classes, found)
    pixels = dict(zip(stems, images, strict=True))
    return pictures(
        root.resolve().name, pixels, labels, splits, "blocks of sections 70/10/20", found
    )


def _pages(
    read_stack: Callable[[Path], list[T]], root: Path, name: str, found: Findings
) -> list[T]:
    try:
        return read_stack(_stack(root, name) or root / name)
    except InvalidData as error:
        found.problems.append(str(error))
        return []


def _labelled(masks: dict[str, Mask], classes: Classes, found: Findings) -> Labelled:
    values = {int(value) for mask in masks.values() for value in np.unique(mask.values)}
    declared = declare(classes, {}, found)
    if 255 not in values or not values <= {0, 255} or declared.is_binary:
        return label(masks, declared, found, "train-labels")
    cells = {stem: (mask.values == 0).astype(np.uint8) for stem, mask in masks.items()}
    return Labelled(declared.classes or CLASSES, cells)
