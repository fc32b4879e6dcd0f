"""Reads what torchvision's segmentation data sets find; decoding and checking are unet-bench's own.

The official test labels are secret or are somebody's validation set. Test data are never chosen on:
where labels exist for training and validation only, the official validation set is the test set
here, and a seeded tenth of the training set validates.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import chain
from pathlib import Path
from typing import Final

import numpy as np
from torchvision.datasets import Cityscapes, OxfordIIITPet, VOCSegmentation

from unet_bench.data.dataset import IGNORE, Array, Dataset
from unet_bench.data.decode import decode, read_image, read_mask
from unet_bench.data.findings import Findings
from unet_bench.data.labels import Classes, by_format, class_names
from unet_bench.data.mask import Mask
from unet_bench.data.reading import find_one, pictures
from unet_bench.data.splits import tenth
from unet_bench.errors import InvalidData
from unet_bench_formats import places

PET: Final = ("background", "pet", "border")
TRIMAP: Final = {1: 1, 2: 0, 3: 2}
"""Oxford's trimaps count from one, the pet first."""
THINGS: Final = (
    "aeroplane bicycle bird boat bottle bus car cat chair cow diningtable dog horse motorbike "
    "person pottedplant sheep sofa train tvmonitor"
)
VOC: Final = ("background", *THINGS.split())
EVALUATED: Final = {kind.id: kind.train_id for kind in Cityscapes.classes if kind.id >= 0}
"""Cityscapes' label ids and the class each is evaluated as; 255 for those that are not."""
STREET: Final = tuple(
    kind.name
    for kind in sorted(Cityscapes.classes, key=lambda kind: kind.train_id)
    if 0 <= kind.train_id < IGNORE
)

Pairs = list[tuple[Path, Path]]
"""Image and mask files."""


def read_pet(path: Path, *, classes: Classes = None, seed: int = 0) -> Dataset:
    """Return Oxford-IIIT Pet: background, pet, border.

    A seeded tenth of trainval validates, the official test set tests. Raises InvalidData, naming
    all offenders.
    """
    root = find_one(
        path,
        places.pet,
        "oxford-iiit-pet/images, annotations/trimaps, annotations/trainval.txt and test.txt",
    )

    def pairs(split: str) -> Pairs:
        found = OxfordIIITPet(root.resolve().parent, split=split, target_types="segmentation")
        # torchvision's items are open pictures, of which a damaged one could not be named; its
        # lists have the files.
        return [
            (Path(image), Path(mask))
            for image, mask in zip(found._images, found._segs, strict=True)
        ]

    about = f"official trainval less a seeded tenth that validates (seed {seed}); official test"
    read, splits = partial(_mapped, TRIMAP), ("trainval", "test")
    return _read(root, "oxford-pet", pairs, splits, PET, read, classes, seed, about)


def read_voc(path: Path, *, classes: Classes = None, seed: int = 0) -> Dataset:
    """Return Pascal VOC of one year: background and 20 classes, 255 = ignore.

    The official val tests. Raises InvalidData, naming all offenders.
    """
    root = find_one(
        places.devkit(path),
        places.voc,
        "VOCdevkit/VOC2012/JPEGImages, SegmentationClass, ImageSets",
    )

    def pairs(split: str) -> Pairs:
        year = root.name.removeprefix("VOC")
        found = VOCSegmentation(root.resolve().parents[1], year=year, image_set=split)
        return [
            (Path(image), Path(mask)) for image, mask in zip(found.images, found.masks, strict=True)
        ]

    name, about = root.name.lower(), _val_tests(seed)
    return _read(root, name, pairs, ("train", "val"), VOC, read_mask, classes, seed, about)


def read_cityscapes(path: Path, *, classes: Classes = None, seed: int = 0) -> Dataset:
    """Return Cityscapes with fine labels: the 19 classes that are evaluated, all else 255 = ignore.

    The official val tests. Raises InvalidData, naming all offenders.
    """
    root = find_one(
        path, places.cityscapes, "leftImg8bit/{train,val}/CITY and gtFine/{train,val}/CITY"
    )

    def pairs(split: str) -> Pairs:
        found = Cityscapes(root, split=split, mode="fine", target_type="semantic")
        files = zip(
            map(Path, found.images), (Path(masks[0]) for masks in found.targets), strict=True
        )
        return sorted(pair for pair in files if not pair[0].name.startswith("."))

    read, splits, about = partial(_mapped, EVALUATED), ("train", "val"), _val_tests(seed)
    return _read(root, "cityscapes", pairs, splits, STREET, read, classes, seed, about)


def _val_tests(seed: int) -> str:
    return f"official train less a seeded tenth that validates (seed {seed}); official val tests"


def _read(
    root: Path,
    name: str,
    pairs: Callable[[str], Pairs],
    official: tuple[str, str],
    known: tuple[str, ...],
    mask: Callable[[Path], Mask | Array],
    classes: Classes,
    seed: int,
    split_by: str,
) -> Dataset:
    """Return the two `official` splits, the first without a tenth that validates."""
    found = Findings(root)
    try:
        training, testing = (pairs(split) for split in official)
    except (OSError, RuntimeError, ValueError) as error:
        raise InvalidData(
            f"{root}: torchvision does not find the data set there ({error}); complete it"
        ) from error
    for file in chain(*training, *testing):
        if not file.exists():
            found.problems.append(f"{file.parent.name}/{file.name}: no such file; add it")
    found.refuse()
    train, val = tenth([image.stem for image, _ in training], seed)
    splits = {"train": train, "val": val, "test": [image.stem for image, _ in testing]}
    both = training + testing
    images = decode(read_image, {image.stem: image for image, _ in both}, found)
    masks = decode(mask, {image.stem: labels for image, labels in both}, found)
    labels = by_format(masks, class_names(classes, found) or known)
    return pictures(name, images, labels, splits, split_by, found)


def _mapped(classes: dict[int, int], path: Path) -> Array:
    """Return a mask whose values are replaced as `classes` says.

    Raises InvalidData for a value that is not among them.
    """
    mask = read_mask(path).values
    table = np.full(IGNORE + 1, IGNORE, np.uint8)
    table[list(classes)] = list(classes.values())
    stray = sorted(
        int(value) for value in np.unique(mask) if value not in classes and value != IGNORE
    )
    if stray:
        raise InvalidData(
            f"{path.parent.name}/{path.name}: values {', '.join(map(str, stray[:10]))} "
            "are none of this format's labels"
        )
    return table[mask]
