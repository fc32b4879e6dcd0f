"""Volumes from NIfTI files by way of nibabel, oriented as they are stored, and where they lie."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final, TypeVar

import numpy as np

from unet_bench import limits
from unet_bench.data.dataset import Array
from unet_bench.data.volume import Volume
from unet_bench.errors import InvalidData

ENDINGS: Final = (".nii.gz", ".nii")
DEFLATE: Final = 1032  # bytes that one packed byte can become at most
UNITS: Final = {"meter": 1000.0, "mm": 1.0, "micron": 0.001}
"""mm of the units that a header may state; none is mm."""
LEAST_MM: Final = 1e-6
MOST_MM: Final = 1e7
LEAST_VOLUME: Final = 1e-3
"""Of a voxel with edges of 1: flatter ones lie in a plane."""


def is_nifti(file: Path) -> bool:
    """Return whether a file's name says NIfTI."""
    return file.name.lower().endswith(ENDINGS)


def stem_of(file: Path) -> str:
    """Return a file's name without its ending; `.nii.gz` is one."""
    for ending in ENDINGS:
        if file.name.lower().endswith(ending):
            return file.name[: -len(ending)]
    return file.stem


def read_volume(path: Path) -> Volume:
    """Return `(X Y Z C)` float32, scaled as the header says; one plane is Z = 1, one channel C = 1.

    Raises InvalidData, naming the file: when it cannot be read, is of another shape, or holds NaN
    or infinite voxels.
    """
    values, header = _read(path)
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
    return _placed(values, header, path)


def read_labels(path: Path) -> Volume:
    """Return `(X Y Z)` whole numbers, which may be stored as fractions.

    Raises InvalidData, naming the file.
    """
    values, header = _read(path)
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
    return _placed(values, header, path)


def affine_of(path: Path) -> Array:
    """Return where the voxels of a volume lie, `(4 4)`, in the units of its header.

    Raises InvalidData for an affine that means nothing.
    """
    try:
        return np.asarray(_header(path).get_best_affine(), np.float64)
    except (
        Exception
    ) as error:  # codes and quaternions that mean nothing make nibabel raise anything
        raise _refused(path, f"states no place that can be kept ({error}); save it anew") from error


def write_like(path: Path, values: Array, like: Path) -> None:
    """Write a volume `(X Y Z)` or `(X Y Z C)` that lies where `like` does. Raises OSError."""
    import nibabel

    header = _header(like)
    header.set_data_dtype(values.dtype)
    # The grey values between which viewers show the image are not those of its labels.
    header["cal_min"] = header["cal_max"] = 0
    make: Any = nibabel.Nifti1Image
    nibabel.save(make(values, header.get_best_affine(), header), path)


def _placed(values: Array, header: Any, path: Path) -> Volume:
    """Return voxels with what their header says of where they lie; nonsense counts as nothing."""
    where = f"{path.parent.name}/{path.name}"
    unit = _stated(lambda: UNITS.get(header.get_xyzt_units()[0]))
    affine = _stated(lambda: _in_mm(header.get_best_affine(), unit))
    if affine is None:
        return Volume(values, where)
    by_sform, by_qform = int(header["sform_code"]) > 0, int(header["qform_code"]) > 0
    linear = affine[:3, :3]
    # A header that nobody filled in has voxels of 1, in no unit, from 0 on.
    is_default = unit is None and np.array_equal(np.abs(linear), np.eye(3))
    has_spacing = not is_default or ((by_sform or by_qform) and affine[:3, 3].any())
    spacing = tuple(np.linalg.norm(linear, axis=0).tolist()) if has_spacing else ()
    if not (by_sform or by_qform):
        return Volume(values, where, None, spacing)
    both = by_sform and by_qform
    other = _stated(lambda: _in_mm(header.get_qform(), unit)) if both else None
    return Volume(values, where, affine, spacing, other)


T = TypeVar("T")


def _stated(read: Callable[[], T]) -> T | None:
    """Return what a header states; codes and quaternions without meaning make nibabel raise."""
    try:
        return read()
    except Exception:  # anything
        return None


def _in_mm(affine: Array, unit: float | None) -> Array | None:
    """Return an affine in mm; None for one that is not finite, or flat."""
    affine = affine.astype(np.float64)
    affine[:3] *= unit or 1.0
    zooms = np.linalg.norm(affine[:3, :3], axis=0)
    known = np.isfinite(affine).all() and (zooms > LEAST_MM).all()
    if not known or np.abs(affine).max() > MOST_MM:
        return None
    return affine if abs(np.linalg.det(affine[:3, :3] / zooms)) >= LEAST_VOLUME else None


def _read(path: Path) -> tuple[Array, Any]:
    try:
        import nibabel  # noqa: F401
    except ImportError as error:
        raise InvalidData(
            f"{path.parent.name}/{path.name}: needs nibabel: pip install nibabel"
        ) from error
    try:
        values, header = _voxels(path)
    except InvalidData:
        raise
    except Exception as error:  # a damaged file can make nibabel raise anything
        raise _refused(path, f"cannot be read ({error}); save it anew or remove it") from error
    if values.dtype.kind not in "biuf" or values.size == 0:
        raise _refused(path, f"holds {values.size} voxels of type {values.dtype}; save numbers")
    return values, header


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


def _voxels(path: Path) -> tuple[Array, Any]:
    """Return what the header speaks of, and it, if it is no more than a file may hold.

    Raises anything.
    """
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
    proxy: Any = ArrayProxy
    return np.asarray(proxy(str(path), header, mmap=False)), header


def _refused(path: Path, why: str) -> InvalidData:
    return InvalidData(f"{path.parent.name}/{path.name}: {why}")
