"""Reads stacks of images and masks that numpy saved.

    ROOT/images.npy  masks.npy        all images (N H W) or (N H W C), all masks (N H W)
    ROOT/X_train.npy  y_train.npy …   a pair a split; imgs, labels, gt and the like are known, too
    NAME.npz                          the same as arrays in one file

One file an image belongs in images/ and masks/, see the reader `folder`.
"""

from __future__ import annotations

import os
import re
import zipfile
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final

import numpy as np

from unet_bench.data import arrays
from unet_bench.data.dataset import Array, Dataset
from unet_bench.data.decode import children
from unet_bench.data.findings import Findings, listing
from unet_bench.data.labels import Classes, declare, label
from unet_bench.data.layout import split_called
from unet_bench.data.reading import find_all, find_one, pictures
from unet_bench.data.splits import complete, seeded
from unet_bench.errors import InvalidData
from unet_bench.limits import one_line
from unet_bench_formats import medsegbench

NEEDS: Final = "images.npy and masks.npy, X_train.npy and y_train.npy, or an .npz with such arrays"
IMAGES: Final = frozenset(("images", "image", "imgs", "img", "x", "data", "inputs"))
MASKS: Final = frozenset(
    ("masks", "mask", "labels", "label", "y", "gt", "targets", "target", "segmentations")
)

Pairs = dict[str, tuple[str, str]]
"""The names of the arrays of images and of masks, by split, or by "" where there are none."""


def recognises(path: Path) -> bool:
    """Return whether `path` is, or holds, a pair of arrays by their names."""
    return bool(find_all(path, _fits))


def _fits(path: Path) -> bool:
    return bool(_pairs(_names(path))) and not medsegbench.recognises(path)


def _names(path: Path) -> list[str]:
    """Return the names of the arrays in an .npz file, or of the .npy files in a folder."""
    if path.is_dir():
        held = [child.name for child in children(path) if not child.name.startswith(".")]
    elif path.suffix.lower() == ".npz" and os.path.isfile(path):
        try:
            with zipfile.ZipFile(path) as archive:
                held = archive.namelist()
        except Exception:  # a damaged archive can make zipfile raise anything
            return []
    else:
        return []
    return [name.removesuffix(".npy") for name in held if name.endswith(".npy")]


def _pairs(names: Iterable[str]) -> Pairs:
    """Return which arrays are pairs; nothing where two would be the same."""
    images: dict[str, list[str]] = {}
    masks: dict[str, list[str]] = {}
    for name in names:
        words = set(re.findall("[a-z]+", name.lower()))
        split = next((split for word in sorted(words) if (split := split_called(word))), "")
        if words & MASKS:
            masks.setdefault(split, []).append(name)
        elif words & IMAGES:
            images.setdefault(split, []).append(name)
    both = images.keys() & masks.keys()
    if any(len(images[split]) > 1 or len(masks[split]) > 1 for split in both):
        return {}
    return {split: (images[split][0], masks[split][0]) for split in sorted(both)}


def read(path: Path, *, classes: Classes = None, seed: int = 0) -> Dataset:
    """Return the images of all pairs, in the splits of their names or else 70/10/20 by `seed`.

    Images are named by split and number. Raises InvalidData, naming all offenders.
    """
    place = find_one(path, _fits, NEEDS)
    found = Findings(place)
    names = _names(place)
    pairs = _pairs(names)
    images: dict[str, Array] = {}
    masks: dict[str, Array] = {}
    splits = {}
    for split, pair in pairs.items():
        try:
            pixels = _array(place, pair[0], arrays.of_known_type)
            labels = _array(place, pair[1], arrays.whole)
            held = _divided(split, pair, pixels, labels)
        except InvalidData as error:
            found.problems.append(str(error))
            continue
        splits[split] = list(held)
        images |= {name: image for name, (image, _) in held.items()}
        masks |= {name: mask for name, (_, mask) in held.items()}
    unused = [name for name in names if not any(name in pair for pair in pairs.values())]
    if unused:
        found.notes.append(f"{len(unused)} array(s) not used: {listing(unused)}")
    found.refuse()
    if "" in splits:
        divided = seeded(splits[""], seed, found, where=pairs[""][0])
        split_by = f"seeded 70/10/20, seed {seed}"
    else:
        divided, split_by = complete(splits, seed, found)
    labelled = label(masks, declare(classes, {}, found), found, "masks")
    title = place.stem if place.is_file() else os.path.basename(os.path.realpath(place))
    return pictures(title, images, labelled, divided, split_by, found)


def _array(place: Path, name: str, convert: Callable[[Array], Array]) -> Array:
    file = place if place.is_file() else place / f"{name}.npy"
    try:
        return convert(arrays.read(file, name if place.is_file() else ""))
    except InvalidData as error:
        raise InvalidData(f"{one_line(file.name)}: {one_line(name)} {error}") from None
    except Exception as error:  # a damaged archive can make zipfile, zlib and numpy raise anything
        raise InvalidData(
            f"{one_line(file.name)}: {one_line(name)} cannot be read ({one_line(str(error))}); "
            "save it anew by numpy.save"
        ) from error


def _divided(
    split: str, names: tuple[str, str], pixels: Array, labels: Array
) -> dict[str, tuple[Array, Array]]:
    """Return image `(H W C)` and mask `(H W)` of each number. Raises InvalidData."""
    image_name, mask_name = map(one_line, names)
    if labels.ndim == 4 and 1 in (labels.shape[1], labels.shape[-1]):
        labels = labels[..., 0] if labels.shape[-1] == 1 else labels[:, 0]
    if labels.ndim != 3:
        raise InvalidData(
            f"{mask_name}: has shape {labels.shape}; save class ids, N H W (of one-hot masks: "
            "masks.argmax(-1)); volumes belong in images/ and masks/ as NIfTI"
        )
    size = labels.shape[1:]
    if pixels.ndim == 3 and pixels.shape == labels.shape:
        pixels = pixels[..., None]
    elif pixels.ndim == 4 and pixels.shape[1:3] != size and pixels.shape[2:] == size:
        pixels = np.moveaxis(pixels, 1, -1)
    if pixels.ndim != 4 or pixels.shape[:3] != labels.shape:
        raise InvalidData(
            f"{image_name} {pixels.shape} and {mask_name} {labels.shape} do not belong together; "
            "save N H W C and N H W"
        )
    start = f"{split}/" if split else ""
    return {f"{start}{n:05}": (pixels[n], labels[n]) for n in range(len(labels))}
