"""Reads folders of instances, as Kaggle's Data Science Bowl 2018 gave them: one mask file a
nucleus, merged here.

    FOLDER/ID/images/ID.png
    FOLDER/ID/masks/*.png    0 and 255, one nucleus each

Caicedo et al., "Nucleus segmentation across imaging experiments", Nature Methods 16 (2019).
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

import numpy as np

from unet_bench.data.dataset import Array, Dataset
from unet_bench.data.decode import ENDINGS, decode, files, read_image, read_mask
from unet_bench.data.findings import Findings
from unet_bench.data.labels import Classes, by_format, class_names
from unet_bench.data.reading import find_all, find_one, pictures
from unet_bench.data.splits import seeded
from unet_bench.errors import InvalidData

CLASSES: Final = ("background", "nucleus")
NEEDS: Final = "folders ID/images/ID.png with ID/masks/*.png"


def recognises(path: Path) -> bool:
    """Return whether `path`, or a folder in it, holds ID/images/ID.png and ID/masks.

    Such a folder is stage1_train.
    """
    return bool(find_all(path, _fits))


def _fits(path: Path) -> bool:
    return path.is_dir() and any(
        (case / "masks").is_dir()
        and any((case / "images" / f"{case.name}{ending}").exists() for ending in ENDINGS)
        for case in _cases(path)
    )


def _cases(root: Path) -> Iterator[Path]:
    # `scandir` tells files from folders without a look at each: a folder of a million pictures is
    # asked, too.
    with os.scandir(root) as entries:
        folders = [
            Path(entry.path)
            for entry in entries
            if entry.is_dir() and not entry.name.startswith(".")
        ]
    return (folder for folder in folders if (folder / "images").is_dir())


def read(path: Path, *, classes: Classes = None, seed: int = 0) -> Dataset:
    """Return the images with their instances merged to one class, split 70/10/20 by `seed`.

    Raises InvalidData, naming all offenders: an image without any mask file, instances of another
    size, and the rest.
    """
    root = find_one(path, _fits, NEEDS)
    found = Findings(root)
    images, masks = {}, {}
    for case in sorted(_cases(root)):
        held = [file for named in files(case / "images").values() for file in named]
        instances = files(case / "masks") if (case / "masks").is_dir() else {}
        if len(held) != 1:
            found.problems.append(f"{case.name}/images: holds {len(held)} images; keep one")
        elif not instances:
            found.problems.append(
                f"{case.name}/masks: holds no mask; add one, all 0 where the image shows no nucleus"
            )
        else:
            images[case.name] = held[0]
            masks[case.name] = [file for named in instances.values() for file in named]
    found.refuse()
    splits = seeded(sorted(images), seed, found, where=root.name)
    pixels, merged = decode(read_image, images, found), decode(_merged, masks, found)
    labels = by_format(merged, class_names(classes, found) or CLASSES)
    split_by = f"seeded 70/10/20, seed {seed}"
    return pictures(root.resolve().name, pixels, labels, splits, split_by, found)


def _merged(instances: list[Path]) -> Array:
    """Return `(H W)`: 1 where any instance is not 0. Raises InvalidData for several sizes."""
    first, *rest = instances
    merged: Array = read_mask(first).values != 0
    for file in rest:
        instance = read_mask(file).values != 0
        if instance.shape != merged.shape:
            case = file.parent.parent.name
            raise InvalidData(
                f"{case}/masks/{file.name}: of another size than {first.name}; "
                "all of an image are equal"
            )
        merged |= instance
    return merged.astype(np.uint8)
