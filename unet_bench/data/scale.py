"""From the values in image files to the numbers that networks see, by one scale for a data set.

A scale says, for each number type of the files, which values become 0 and 1. It is stated once,
over all images, and kept with trained weights: an image that comes later is scaled alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from unet_bench.data.dataset import Array, Scale
from unet_bench.data.findings import Findings

DEPTHS: Final = (8, 10, 12, 14, 16)
"""Bits that cameras and scanners give; files store 10, 12 and 14 of them in 16."""
TYPES: Final[tuple[str, ...]] = ("uint8", "uint16", "float32")


def is_bytes(scale: Scale) -> bool:
    """Return whether images stay as they are, uint8: all files hold 8 bits."""
    return set(scale) <= {"uint8"}


def find_scale(images: Iterable[Array], found: Findings) -> Scale:
    """Return the scale of a data set of images `(H W C)`, each of one of `TYPES`.

    8 bits reach from 0 to 255. Of 16 bits only those count that the largest value of all images
    needs. Fractions in 0..1 stay; others reach from the smallest to the largest value, and may not
    stand beside whole numbers, since nobody can know what these would be on that scale.
    """
    ranges: dict[str, tuple[float, float]] = {}
    for image in images:
        low, high = ranges.get(image.dtype.name, (np.inf, -np.inf))
        ranges[image.dtype.name] = min(low, float(image.min())), max(high, float(image.max()))
    scale: Scale = {name: _bounds(name, *ranges[name]) for name in TYPES if name in ranges}
    if not is_bytes(scale):
        found.notes.extend(_told(name, *scale[name]) for name in scale)
    if len(scale) > 1 and scale.get("float32", (0.0, 1.0)) != (0.0, 1.0):
        low, high = scale["float32"]
        found.problems.append(
            f"some images hold fractions from {low:g} to {high:g}, others whole numbers; "
            "save all in one type, or the fractions in 0..1"
        )
    return scale


def _bounds(name: str, low: float, high: float) -> tuple[float, float]:
    if name == "uint8":
        return 0.0, 255.0
    if name == "uint16":
        return 0.0, float(next(2**bits - 1 for bits in DEPTHS if high < 2**bits))
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def _told(name: str, low: float, high: float) -> str:
    if name == "uint16":
        bits = int(high).bit_length()
        stored = "" if bits == 16 else f" ({bits} of their 16 bits are used)"
        return f"16-bit images: 0 to {high:g} became 0 to 1{stored}"
    kind = "8-bit images" if name == "uint8" else "images of fractions"
    return f"{kind}: {low:g} to {high:g} became 0 to 1"


def to_unit(image: Array, bounds: tuple[float, float]) -> Array:
    """Return an image as float32, in which the two bounds are 0 and 1."""
    low, high = bounds
    if low == 0:
        return image.astype(np.float32) / np.float32(high or 1)
    # In double, since a range may exceed float32.
    unit = (image.astype(np.float64) - low) / (high - low if high > low else 1)
    return unit.astype(np.float32)


def all_scaled(images: Mapping[str, Array], found: Findings) -> tuple[Scale, dict[str, Array]]:
    """Return the scale of a data set, and its images in that scale."""
    scale = find_scale(images.values(), found)
    if is_bytes(scale):
        return scale, dict(images)
    return scale, {name: to_unit(image, scale[image.dtype.name]) for name, image in images.items()}
