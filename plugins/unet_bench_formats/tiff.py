"""Reads multi-page TIFF: a stack of sections and a stack of their labels, as the ISBI 2012 EM
challenge gave them.

    FOLDER/train-volume.tif   a page a section
    FOLDER/train-labels.tif   a page a section: 0 membrane, 255 cell; or class ids

Arganda-Carreras et al., Frontiers in Neuroanatomy 9 (2015).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final

import numpy as np

from unet_bench.data.dataset import Array, Dataset
from unet_bench.data.decode import read_image_pages, read_mask_pages
from unet_bench.data.labels import Classes, class_names, labelled
from unet_bench.data.reading import find_all, find_one, pictures, refuse
from unet_bench.data.splits import in_blocks
from unet_bench.errors import InvalidData

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
    problems: list[str] = []
    stacks: list[list[Array]] = []
    for name, read_stack in (("train-volume", read_image_pages), ("train-labels", read_mask_pages)):
        try:
            stacks.append(read_stack(_stack(root, name) or root / name))
        except InvalidData as error:
            problems.append(str(error))
    refuse(root, problems)
    images, labels = stacks
    if len(images) != len(labels):
        pages = f"train-volume has {len(images)} page(s), train-labels {len(labels)}"
        refuse(root, [f"{pages}; make them equal"])
    stems = [f"section{number:03}" for number in range(len(images))]
    splits = in_blocks(stems, problems, where="train-volume", kind="section")
    marked = dict(zip(stems, labels, strict=True))
    names = class_names(classes, problems)
    values = {int(value) for page in labels for value in np.unique(page)}
    if 255 in values and values <= {0, 255}:
        names = names or CLASSES
        masks = {stem: (page == 0).astype(np.uint8) for stem, page in marked.items()}
    else:
        names, masks = labelled(marked, names, problems, where="train-labels")
    pixels = dict(zip(stems, images, strict=True))
    name, split_by = root.resolve().name, "blocks of sections 70/10/20"
    return pictures(root, name, names, pixels, masks, splits, split_by, problems)
