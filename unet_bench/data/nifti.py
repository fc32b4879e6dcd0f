"""Volumes from NIfTI files by way of nibabel, oriented as they are stored."""

from __future__ import annotations

import math
from pathlib import Path
from typing import Any, Final

import numpy as np

from unet_bench import limits
from unet_bench.data.dataset import Array
from unet_bench.errors import InvalidData

ENDINGS: Final = (".nii.gz", ".nii")
DEFLATE: Final = 1032  # bytes that one packed byte can become at most


def is_nifti(file: Path) -> bool:
    """Return whether a file's name says NIfTI."""
    return file.name.lower().endswith(ENDINGS)


def stem_of(file: Path) -> str:
    """Return a file's name without its ending; `.nii.gz` is one."""
    for ending in ENDINGS:
        if file.name.lower().endswith(ending):
            return file.name[: -len(ending)]
    return file.stem


def read_volume(path: Path) -> Array:
    """Return `(X Y Z C)` float32, scaled as the header says; one plane is Z = 1, one channel C = 1.

    Raises InvalidData, naming the file: when it cannot be read, is of another shape, or holds NaN
    or infinite voxels.
    """
    values = _read(path)
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim == 3:
        values = values[..., None]
    if values.ndim != 4:
        raise _refused(
            path, f"has shape {values.shape}; save X, Y, Z and, of several channels, those last"
        )
    with np.errstate(over="ignore"):
        values = values.astype(np.float32, copy=False)
    if not np.isfinite(values).all():
        raise _refused(path, "holds voxels that are NaN or infinite; replace them")
    return values


def read_labels(path: Path) -> Array:
    """Return `(X Y Z)` whole numbers, which may be stored as fractions.

    Raises InvalidData, naming the file.
    """
    values = _read(path)
    while values.ndim > 3 and values.shape[-1] == 1:
        values = values[..., 0]
    if values.ndim == 2:
        values = values[..., None]
    if values.ndim != 3:
        raise _refused(path, f"has shape {values.shape}; save one label a voxel: X, Y, Z")
    if values.dtype.kind == "f":
        whole = np.isfinite(values) & (values == np.round(values)) & (np.abs(values) < 2**31)
        if not whole.all():
            raise _refused(path, "holds fractions, or NaN; save whole class ids 0, 1, 2, …")
        values = values.astype(np.int64)
    return values


def affine_of(path: Path) -> Array:
    """Return where the voxels of a volume lie in the scanner, `(4 4)`. Raises anything."""
    return np.asarray(_header(path).get_best_affine(), np.float64)


def write_like(path: Path, values: Array, like: Path) -> None:
    """Write a volume `(X Y Z)` or `(X Y Z C)` that lies where `like` does. Raises OSError."""
    import nibabel

    header = _header(like)
    header.set_data_dtype(values.dtype)
    # The grey values between which viewers show the image are not those of its labels.
    header["cal_min"] = header["cal_max"] = 0
    make: Any = nibabel.Nifti1Image
    nibabel.save(make(values, header.get_best_affine(), header), path)


def _read(path: Path) -> Array:
    try:
        import nibabel  # noqa: F401
    except ImportError as error:
        raise InvalidData(
            f"{path.parent.name}/{path.name}: needs nibabel: pip install nibabel"
        ) from error
    try:
        values = _voxels(path)
    except InvalidData:
        raise
    except Exception as error:  # a damaged file can make nibabel raise anything
        raise _refused(path, f"cannot be read ({error}); save it anew or remove it") from error
    if values.dtype.kind not in "biuf" or values.size == 0:
        raise _refused(path, f"holds {values.size} voxels of type {values.dtype}; save numbers")
    return values


def _header(path: Path) -> Any:
    """Return the header alone. Raises anything.

    `nibabel.load` reads its extensions too, which may unpack to any size.
    """
    from nibabel.nifti1 import Nifti1Header
    from nibabel.nifti2 import Nifti2Header
    from nibabel.openers import ImageOpener

    limits.require_file(path)
    with ImageOpener(str(path)) as file:
        start = file.read(Nifti2Header.sizeof_hdr)
    second: Any = Nifti2Header
    kind: Any = second if second.may_contain_header(start) else Nifti1Header
    return kind(start[: kind.sizeof_hdr])


def _voxels(path: Path) -> Array:
    """Return what the header speaks of, if it is no more than a file may hold. Raises anything."""
    from nibabel.arrayproxy import ArrayProxy

    header = _header(path)
    shape, offset = header.get_data_shape(), header.get_data_offset()
    item = header.get_data_dtype().itemsize
    count = math.prod(shape)
    if min(shape, default=0) < 1:
        raise _refused(path, f"has shape {shape}; save at least one voxel")
    if problem := limits.too_large(offset + count * max(item, np.dtype(np.float32).itemsize)):
        raise _refused(path, problem)
    most = path.stat().st_size * (DEFLATE if path.suffix.lower() == ".gz" else 1)
    if offset + count * item > most:
        raise _refused(
            path, f"is too short for the {count} voxels that it claims; save it anew or remove it"
        )
    return np.asarray(ArrayProxy(str(path), header, mmap=False))  # type: ignore[no-untyped-call]


def _refused(path: Path, why: str) -> InvalidData:
    return InvalidData(f"{path.parent.name}/{path.name}: {why}")
