"""Reads DICOM by pydicom: series as volumes, or single pictures, and their masks.

    ROOT/images/CASE/*.dcm     a folder a case with one series, a file a slice, whatever their names
    ROOT/masks/CASE.nii.gz     its labels; or masks/CASE/*.dcm, a series of label images
    ROOT/images/a.dcm          or single pictures, grey or RGB
    ROOT/masks/a.png           their masks, in any format of pictures, or as DICOM
    ROOT/splits, dataset.json  optional, as for a folder of images and masks

Slices are sorted by position, stored values rescaled to what they mean (Hounsfield units in CT),
MONOCHROME1 inverted. Labels come to the grid of their image by what both say of where they lie.

NEMA PS3.3 (DICOM), sections C.7.6.2 (image plane) and C.7.6.3 (image pixel).
"""

from __future__ import annotations

import math
import os
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np

from unet_bench import limits
from unet_bench.data import arrays, nifti
from unet_bench.data.dataset import Array, Dataset
from unet_bench.data.dataset_json import read_json, title, white
from unet_bench.data.decode import READ, children, decode, ending_of, folded, read_mask
from unet_bench.data.findings import Findings, listing
from unet_bench.data.folder import stated_splits
from unet_bench.data.labels import Classes, declare, label
from unet_bench.data.layout import match
from unet_bench.data.mask import Mask
from unet_bench.data.reading import find_all, find_one, pictures, volumes
from unet_bench.data.volume import Volume
from unet_bench.errors import InvalidData
from unet_bench.limits import one_line, shown

NEEDS: Final = "images/CASE/*.dcm and masks/CASE.nii.gz, or images/a.dcm and masks/a.png"
ENDINGS: Final = (".dcm", ".dicom", ".ima")
UNEVEN: Final = 0.1
"""By how much of a gap between slices others may differ: more is a slice that is missing."""
SAME_MM: Final = 1e-3
"""Millimetres between slices that lie in one place."""
SAME_DIRECTION: Final = 1e-3
UNPACK: Final = (
    "unpack it, by `gdcmconv --raw IN OUT` or `dcmdjpeg IN OUT`, or save the series as NIfTI"
)


@dataclass(frozen=True, eq=False)
class Scan:
    """A series, and what it was made by, such as CT."""

    volume: Volume
    modality: str


def recognises(path: Path) -> bool:
    """Return whether `path` is or holds a folder with DICOM files in images/, and with masks/."""
    return bool(find_all(path, _fits))


def _fits(path: Path) -> bool:
    if not all((path / name).is_dir() for name in ("images", "masks")):
        return False
    for child in children(path / "images"):
        held = _slices(child) if child.is_dir() else [child]
        if any(ending_of(file.name, ENDINGS) for file in held):
            return True
        if held and ending_of(held[0].name, READ):
            return False
    return False


def _slices(folder: Path) -> list[Path]:
    """Return the files of a series: also without an ending, or with a number for one.

    They may lie in folders of study and series, one in another.
    """
    held = [child for child in children(folder) if not child.name.startswith(".")]
    while len(held) == 1 and held[0].is_dir():
        held = [child for child in children(held[0]) if not child.name.startswith(".")]
    return [
        file
        for file in held
        if os.path.isfile(file)
        and (ending_of(file.name, ENDINGS) or not file.suffix or file.suffix[1:].isdecimal())
        and file.name.upper() != "DICOMDIR"
    ]


def read(path: Path, *, classes: Classes = None, seed: int = 0) -> Dataset:
    """Return the cases, by splits/ or else split 70/10/20 by `seed`.

    Classes are given as for a folder of images and masks. Raises InvalidData, naming all offenders:
    series with a slice missing, compressed files, and the rest; and where pydicom is missing.
    """
    root = find_one(path, _fits, NEEDS)
    found = Findings(root)
    stated = read_json(root / "dataset.json", found)
    declared = declare(classes, stated, found)
    images, masks = _pairs(root, found)
    splits, split_by = stated_splits(root, sorted(images), seed, found)
    named = set(chain(*splits.values()))
    if unlisted := sorted(images.keys() - named):
        found.notes.append(f"{len(unlisted)} image(s) are in no split: {listing(unlisted)}")
    images = {name: image for name, image in images.items() if name in named}
    masks = {name: masks[name] for name in images}
    deep = {name: image.is_dir() for name, image in images.items()}
    if len(set(deep.values())) > 1:
        found.problems.append("images/: holds folders of series and single files; keep one kind")
    found.refuse()
    name = title(stated, os.path.basename(os.path.realpath(root)))
    if not any(deep.values()):
        pixels = decode(_picture, images, found)
        labels = label(decode(_picture_mask, masks, found), declared, found, "masks/")
        return pictures(name, pixels, labels, splits, split_by, found, white(stated, found))
    scans, marked = decode(_scan, images, found), decode(_labels, masks, found)
    values = {case: volume.as_mask() for case, volume in marked.items()}
    labels = label(values, declared, found, "masks/")
    held = {case: scan.volume for case, scan in scans.items()}
    modalities = sorted({scan.modality for scan in scans.values()})
    if len(modalities) > 1:
        found.doubts.append(f"images/: of several modalities: {listing(modalities)}")
    known = tuple(modalities) if len(modalities) == 1 else ()
    return volumes(name, held, labels, splits, split_by, found, known, marked)


def _pairs(root: Path, found: Findings) -> tuple[dict[str, Path], dict[str, Path]]:
    """Return image and mask of each case, a file or a folder each; what lacks one is a problem."""
    images = _by_stem(root / "images", ENDINGS, found)
    masks = _by_stem(root / "masks", (*ENDINGS, *READ), found)
    pairs = {}
    for case, (exact, numbered) in match(images, masks).items():
        held = [*exact, *numbered]
        if len(held) == len(images[case]) == 1:
            pairs[case] = (images[case][0], held[0])
        else:
            found.problems.append(
                f"masks/: {len(held)} mask(s) for {len(images[case])} image(s) {case}; one for "
                f"one, such as masks/{case}.nii.gz"
            )
    used = {mask for _, mask in pairs.values()}
    unused = [file.name for held in masks.values() for file in held if file not in used]
    if used and unused:
        found.notes.append(f"masks/: {len(unused)} mask(s) belong to no image: {listing(unused)}")
    return (
        {case: image for case, (image, _) in pairs.items()},
        {case: mask for case, (_, mask) in pairs.items()},
    )


def _by_stem(folder: Path, endings: Sequence[str], found: Findings) -> dict[str, list[Path]]:
    """Return folders, and files of these endings, by stem; note the others."""
    held: dict[str, list[Path]] = {}
    others = []
    for child in children(folder):
        ending = ending_of(child.name, endings)
        if child.name.startswith("."):
            continue
        if child.is_dir():
            held.setdefault(folded(child.name), []).append(child)
        elif ending and os.path.isfile(child):
            held.setdefault(folded(child.name[: -len(ending)]), []).append(child)
        else:
            others.append(child.name)
    if others:
        found.notes.append(
            f"{folder.name}/: {len(others)} file(s) of unknown endings not read: {listing(others)}"
        )
    return held


def _scan(folder: Path) -> Scan:
    """Return the volume `(X Y Z 1)` of a series, float32. Raises InvalidData."""
    slices = _series(folder, is_mask=False)
    where = f"{folder.parent.name}/{folder.name}/"
    values = np.stack([one.values for one in slices], axis=-1)
    if values.ndim != 3:
        raise InvalidData(f"{where}: slices of colours; save them as pictures, or as grey")
    turned = np.swapaxes(values, 0, 1).astype(np.float32)[..., None]
    if not np.isfinite(turned).all():
        raise InvalidData(f"{where}: holds values that are NaN or infinite; replace them")
    affine, spacing = _placed(slices, where)
    return Scan(Volume(turned, where, affine, spacing), slices[0].modality)


def _labels(path: Path) -> Volume:
    """Return the labels of a volume, `(X Y Z)`. Raises InvalidData."""
    if nifti.is_nifti(path):
        return nifti.read_labels(path)
    if not path.is_dir():
        raise InvalidData(
            f"masks/{path.name}: labels of a series are NIfTI, or a folder of label images"
        )
    slices = _series(path, is_mask=True)
    where = f"masks/{path.name}/"
    values = np.stack([one.values for one in slices], axis=-1)
    if values.ndim != 3:
        raise InvalidData(f"{where}: label images of colours; save class ids")
    try:
        ids = arrays.whole(np.swapaxes(values, 0, 1))
    except InvalidData as error:
        raise InvalidData(f"{where}: {error}") from None
    return Volume(ids, where, *_placed(slices, where))


def _picture(file: Path) -> Array:
    values = _read(file, is_mask=False).values
    try:
        typed = arrays.of_known_type(values)
    except InvalidData as error:
        raise InvalidData(f"images/{file.name}: {error}") from None
    return typed if typed.ndim == 3 else typed[..., None]


def _picture_mask(file: Path) -> Mask:
    if not ending_of(file.name, ENDINGS):
        return read_mask(file)
    where = f"masks/{file.name}"
    values = _read(file, is_mask=True).values
    if values.ndim != 2:
        raise InvalidData(f"{where}: holds colours; save class ids, or the mask as PNG")
    try:
        return Mask(arrays.whole(values), where)
    except InvalidData as error:
        raise InvalidData(f"{where}: {error}") from None


@dataclass(frozen=True, eq=False)
class Slice:
    """One file: its values `(H W)` or `(H W 3)`, and what it says of its place."""

    where: str
    values: Array
    modality: str
    series: str
    number: int | None
    position: Array | None
    """Of the first pixel's centre, mm to the left, back and up (LPS+)."""
    directions: Array | None
    """`(2 3)`: where columns and rows grow to."""
    pixel: Array | None
    """mm from column to column, and from row to row."""
    thickness: float | None

    @property
    def along(self) -> float | None:
        """How far along the normal of the slices this one lies, mm; None where not known."""
        if self.position is None or self.directions is None:
            return None
        return float(np.cross(*self.directions) @ self.position)


def _series(folder: Path, *, is_mask: bool) -> list[Slice]:
    """Return the slices of the one series in a folder, in their order. Raises InvalidData."""
    where = f"{folder.parent.name}/{folder.name}/"
    files = _slices(folder)
    if not files or len(files) > limits.MOST_PAGES:
        raise InvalidData(
            f"{where}: holds {len(files)} DICOM files; put there one series, a file a slice, at "
            f"most {limits.MOST_PAGES}"
        )
    slices = []
    held = 0
    for file in files:
        slices.append(_read(file, is_mask=is_mask))
        held += 4 * slices[-1].values.size
        if problem := limits.too_large(held):
            raise InvalidData(f"{where}: {problem}")
    series = {one.series for one in slices}
    shapes = {one.values.shape for one in slices}
    if len(series) > 1 or len(shapes) > 1:
        what = f"{len(series)} series" if len(series) > 1 else f"slices of {len(shapes)} sizes"
        raise InvalidData(f"{where}: holds {what}; keep one series a case")
    positions = [one.along for one in slices]
    numbers = [one.number for one in slices]
    order = positions if None not in positions else numbers
    if None in order or (order is numbers and len(set(numbers)) < len(numbers)):
        raise InvalidData(
            f"{where}: its files state neither positions nor numbers of their own, and so no "
            "order; save the series as NIfTI"
        )
    ranked = sorted(range(len(slices)), key=lambda index: order[index] or 0)
    return [slices[index] for index in ranked]


def _placed(slices: Sequence[Slice], where: str) -> tuple[Array | None, tuple[float, ...]]:
    """Return the affine (RAS+) and the spacing of a series; None and nothing where not stated.

    Raises InvalidData for slices that are no regular stack.
    """
    first, last = slices[0], slices[-1]
    places = [one.along for one in slices]
    if first.position is None or last.position is None or None in places:
        return None, ()
    assert first.directions is not None
    for one in slices:
        assert one.directions is not None
        if np.abs(one.directions - first.directions).max() > SAME_DIRECTION:
            raise InvalidData(f"{where}: slices of several directions; keep one stack a case")
    gaps = np.diff(np.array(places, float))
    if len(gaps) and gaps.min() < SAME_MM:
        raise InvalidData(f"{where}: several slices in one place; keep one phase or echo a case")
    if len(gaps) and np.abs(gaps - np.median(gaps)).max() > UNEVEN * np.median(gaps):
        raise InvalidData(
            f"{where}: slices lie {gaps.min():.3g} to {gaps.max():.3g} mm apart; add what is "
            "missing, or save the series as NIfTI with even spacing"
        )
    if first.pixel is None:
        return None, ()
    normal = np.cross(*first.directions)
    step = normal * (first.thickness or 0.0)
    if len(slices) > 1:
        step = (last.position - first.position) / (len(slices) - 1)
    affine = np.eye(4)
    affine[:3, :2] = (first.directions * first.pixel[:, None]).T
    affine[:3, 2], affine[:3, 3] = step, first.position
    affine[:2] *= -1  # DICOM's x and y grow to the left and to the back
    spacing = np.linalg.norm(affine[:3, :3], axis=0)
    if not spacing.min() > 0:
        return None, ()
    return affine, tuple(spacing.tolist())


def _read(file: Path, *, is_mask: bool) -> Slice:
    """Return what one file holds. Raises InvalidData."""
    where = f"{file.parent.name}/{file.name}"
    try:
        import pydicom  # noqa: F401
    except ImportError as error:
        raise InvalidData(
            "DICOM needs pydicom: pip install 'unet-bench[dicom]'; or save series as NIfTI"
        ) from error
    try:
        limits.require_file(file)
        return _slice(file, where, is_mask)
    except InvalidData as error:
        raise InvalidData(f"{where}: {error}") from None
    except Exception as error:  # a damaged file can make pydicom raise anything
        raise InvalidData(
            f"{where}: cannot be read ({one_line(str(error))}); save it anew or remove it"
        ) from error


def _slice(file: Path, where: str, is_mask: bool) -> Slice:
    """Return what one file holds. Raises anything."""
    from pydicom import dcmread
    from pydicom.filereader import read_file_meta_info

    syntax = read_file_meta_info(file).get("TransferSyntaxUID")
    # Deflated files would be unpacked, to whatever size, by opening them.
    if syntax is not None and (syntax.is_compressed or syntax.is_deflated):
        raise InvalidData(f"is compressed ({one_line(str(syntax.name))}); {UNPACK}")
    held: Any = dcmread(file)
    if "PixelData" not in held:
        raise InvalidData("holds no picture; remove it, or save its contours as NIfTI")
    pixels = int(held.Rows) * int(held.Columns)
    if int(held.get("NumberOfFrames") or 1) > 1:
        raise InvalidData(
            f"holds {shown(int(held.NumberOfFrames))} frames; save the case as NIfTI, by dcm2niix "
            "or, of DICOM-SEG, dcmqi's segimage2itkimage"
        )
    if pixels > limits.most_pixels():
        raise InvalidData(f"more than {limits.most_pixels():,} pixels; cut it into smaller ones")
    directions = _numbers(held.get("ImageOrientationPatient"), 6)
    pixel = _numbers(held.get("PixelSpacing"), 2)
    number, thickness = held.get("InstanceNumber"), held.get("SliceThickness")
    return Slice(
        where,
        _values(held, is_mask),
        one_line(str(held.get("Modality") or "")),
        str(held.get("SeriesInstanceUID") or ""),
        None if number is None else int(number),
        _numbers(held.get("ImagePositionPatient"), 3),
        None if directions is None else directions.reshape(2, 3),
        None if pixel is None else pixel[::-1],
        None if thickness is None else float(thickness),
    )


def _numbers(stated: Any, count: int) -> Array | None:
    """Return so many finite numbers, or None where nothing is stated. Raises InvalidData."""
    if stated is None:
        return None
    numbers = np.array(stated, np.float64)
    if numbers.shape != (count,) or not np.isfinite(numbers).all():
        raise InvalidData(f"states the place {shown(list(stated))}; mend it, or save it as NIfTI")
    return numbers


def _values(held: Any, is_mask: bool) -> Array:
    """Return the values of a picture: what they mean, or class ids. Raises anything."""
    kind = str(held.PhotometricInterpretation)
    if kind in ("RGB", "YBR_FULL", "YBR_FULL_422"):
        colours: Array = held.pixel_array  # which pydicom turns to RGB
        if colours.dtype != np.uint8:
            raise InvalidData("stores colours of more than 8 bits; save them with 8")
        return colours
    if kind not in ("MONOCHROME1", "MONOCHROME2"):
        raise InvalidData(f"stores colours as {shown(kind)}; save them as RGB, or grey")
    values: Array = held.pixel_array
    if kind == "MONOCHROME1" and not is_mask:
        bits = int(held.BitsStored)
        low = -(2 ** (bits - 1)) if held.PixelRepresentation else 0
        values = (2 * low + 2**bits - 1) - values.astype(np.int64)
    if "ModalityLUTSequence" in held:
        from pydicom.pixels.processing import apply_modality_lut

        return np.asarray(apply_modality_lut(values, held))
    slope, intercept = float(held.get("RescaleSlope", 1)), float(held.get("RescaleIntercept", 0))
    if not (math.isfinite(slope) and math.isfinite(intercept) and slope):
        raise InvalidData(f"rescales by {slope:g} and {intercept:g}; mend or remove these")
    if (slope, intercept) == (1, 0):
        return values
    return (values * slope + intercept).astype(np.float32)
