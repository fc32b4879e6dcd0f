"""Images and masks that numpy saved: `.npy`, and `.npz` with one array."""

from __future__ import annotations

import math
import zipfile
from pathlib import Path
from typing import IO, Final

import numpy as np
from numpy.lib import format

from unet_bench import limits
from unet_bench.data.dataset import Array
from unet_bench.errors import InvalidData
from unet_bench.limits import shown

ENDINGS: Final = (".npy", ".npz")
MOST_BANDS: Final = 64
"""A shorter axis than this, first or last of three, is that of the bands."""


def read(path: Path, name: str = "") -> Array:
    """Return the array of a file: numbers, without pickles. Raises anything.

    Of an .npz file it is the one called `name`, or the only one.
    """
    limits.require_file(path)
    if path.suffix.lower() == ".npy":
        with path.open("rb") as file:
            size = path.stat().st_size
            require_header(file, size)
        is_large = size >= limits.MAPPED
        return _numbers(np.load(path, mmap_mode="r" if is_large else None, allow_pickle=False))
    with zipfile.ZipFile(path) as archive:
        names = [held for held in archive.namelist() if held.endswith(".npy")]
        names = [f"{name}.npy"] if name else names
        if len(names) != 1:
            held = ", ".join(name.removesuffix(".npy") for name in names)
            raise InvalidData(f"holds {len(names)} arrays ({shown(held)}); save one a file")
        with archive.open(names[0]) as file:
            require_header(file, archive.getinfo(names[0]).file_size)
    with np.load(path, allow_pickle=False) as held_arrays:
        return _numbers(held_arrays[names[0].removesuffix(".npy")])


def require_header(file: IO[bytes], size: int) -> None:
    """Raise InvalidData for an array that needs more memory than its file holds, or too much.

    It is found before memory is taken for the array.
    """
    header = {(1, 0): format.read_array_header_1_0, (2, 0): format.read_array_header_2_0}
    version = format.read_magic(file)
    if version not in header:
        raise InvalidData(f"is of numpy's format {version}; save it anew by numpy.save")
    shape, _, dtype = header[version](file)
    # No more than the file holds is unpacked, whatever its header claims.
    if problem := limits.too_large(size):
        raise InvalidData(problem)
    if math.prod(shape) * dtype.itemsize > size:
        raise InvalidData(f"is too short for the shape {shape} that it claims; save it anew")


def _numbers(array: Array) -> Array:
    if array.dtype.kind not in "biuf" or not array.size:
        raise InvalidData(f"holds {array.size} values of type {array.dtype}; save numbers")
    return array


def of_known_type(image: Array) -> Array:
    """Return an image's values as uint8, uint16 or float32, whatever numbers they are.

    No value changes, but that black and white become 0 and 255. Raises InvalidData for NaN.
    """
    if image.dtype == bool:
        return image.astype(np.uint8) * np.uint8(255)
    if image.dtype.kind in "iu":
        if image.dtype in (np.uint8, np.uint16):
            return image.astype(image.dtype.newbyteorder("="), copy=False)
        low, high = int(image.min()), int(image.max())
        if low >= 0 and high <= np.iinfo(np.uint16).max:
            return image.astype(np.uint16)
    with np.errstate(over="ignore"):
        floats = image.astype(np.float32, copy=False)
    if not np.isfinite(floats).all():
        raise InvalidData("holds values that are NaN, infinite or beyond 32 bits; replace them")
    return floats


def whole(values: Array) -> Array:
    """Return values as whole numbers. Raises InvalidData for fractions."""
    if values.dtype.kind != "f":
        return values.astype(np.uint8) if values.dtype == bool else values
    fits = np.isfinite(values) & (values == np.round(values)) & (np.abs(values) < 2**31)
    if not fits.all():
        raise InvalidData("holds fractions, or NaN; save whole class ids 0, 1, 2, …")
    return values.astype(np.int64)


def bands_last(image: Array) -> Array:
    """Return `(H W)` or `(H W C)` of such an array, or of one `(C H W)`. Raises InvalidData."""
    if image.ndim == 2:
        return image
    if image.ndim == 3:
        first, last = image.shape[0], image.shape[-1]
        if last <= MOST_BANDS and (first > MOST_BANDS or last <= first):
            return image
        if first <= MOST_BANDS:
            return np.moveaxis(image, 0, -1)
    raise InvalidData(
        f"has shape {image.shape}; save height, width and, of several bands, those last"
    )
