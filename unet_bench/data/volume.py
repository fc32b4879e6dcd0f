"""Volumes and where they lie: brought to one grid, one orientation or one spacing.

An affine leads from voxel indices X, Y, Z to millimetres: to the right, to the front and up (RAS+),
as NIfTI has it. Arrays of a `Sample` lie depth first, `D H W` = Z X Y.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from PIL import Image

from unet_bench import limits
from unet_bench.data.dataset import IGNORE, Array, Dataset, Sample, at_size, resized
from unet_bench.data.findings import Findings, listing
from unet_bench.data.mask import Mask
from unet_bench.errors import InvalidData

SAME: Final = 0.05
"""Voxels by which two grids may differ at their corners: headers are rounded."""
BESIDE: Final = 1.0
"""Voxels up to which a grid of equal shape is taken for the same, with a doubt: some programs count
from a voxel's corner, others from its centre."""
COVERED: Final = 0.99
"""The share of an image that labels must cover, and of labels that must lie in it, undoubted."""

WIDER: Final = 1.5
"""By how much voxels may be larger or smaller than all that a network was trained on."""

How = Literal["same", "turned", "resampled", "part", "beside", "unplaced"]
"""How voxels came to another volume's grid."""


@dataclass(frozen=True, eq=False)
class Volume:
    """Voxels `(X Y Z …)` of one file, or of several, and where they lie."""

    values: Array
    where: str = ""
    """The file's name in messages, such as labelsTr/a.nii.gz."""
    affine: Array | None = None
    """`(4 4)`, from voxel indices to mm; None where the file states none that can be used."""
    spacing: tuple[float, ...] = ()
    """mm from voxel to voxel along X, Y, Z; empty where the file does not say."""
    other: Array | None = None
    """A second affine that the file states, where it leads elsewhere: the quaternion's."""

    @property
    def is_placed(self) -> bool:
        """Whether the file says where it lies: programs write an identity where nobody said it.

        SimpleITK's identity has the signs of X and Y turned.
        """
        return self.affine is not None and not np.array_equal(np.abs(self.affine), np.eye(4))

    @property
    def orientation(self) -> str:
        """The sides of the body toward which X, Y and Z grow, such as RAS; empty: not known."""
        if self.affine is None:
            return ""
        from nibabel.orientations import aff2axcodes

        codes: Sequence[str] = aff2axcodes(self.affine)  # type: ignore[no-untyped-call]
        return "".join(codes)

    @property
    def spacing_by_depth(self) -> tuple[float, ...]:
        """The spacing along D H W."""
        return (*self.spacing[2:], *self.spacing[:2])

    def as_mask(self) -> Mask:
        """Return its values for `labels.label`."""
        return Mask(self.values, self.where)


def as_volume(given: Volume | Array, where: str = "") -> Volume:
    """Return an array as a volume that lies nobody knows where."""
    return given if isinstance(given, Volume) else Volume(given, where)


def brought(moving: Volume, fixed: Volume, *, are_labels: bool) -> tuple[Array, How, str]:
    """Return the voxels of `moving` on the grid of `fixed`, how they came there, and its details.

    Orientations are exchanged without loss. Another grid of the same space is resampled: labels by
    the nearest voxel, `IGNORE` where there is none, others linearly. Raises InvalidData where that
    is not well defined, with the rule and the remedy.
    """
    values, grid = moving.values, fixed.values.shape[:3]
    remedy = f"save it on the grid of {fixed.where or 'its image'}"
    if not (moving.is_placed and fixed.is_placed):
        if values.shape[:3] != grid:
            what = "mask" if are_labels else "channel"
            raise InvalidData(
                f"{moving.where}: {what} of {_by(values.shape[:3])} for an image of {_by(grid)}, "
                f"and no affine says where they lie; {remedy}"
            )
        return values, "same" if _equally_unplaced(moving, fixed) else "unplaced", moving.where
    assert moving.affine is not None
    assert fixed.affine is not None
    to_fixed = np.linalg.inv(fixed.affine) @ moving.affine
    values, to_fixed, is_turned = _turned(values, to_fixed)
    if values.shape[:3] != grid:
        turned = replace(moving, values=values)
        return _resampled(turned, fixed, to_fixed, are_labels, remedy)
    apart = _apart(to_fixed, grid)
    if apart > BESIDE:
        if _lacks_origin(moving, fixed):
            return moving.values, "unplaced", moving.where
        raise InvalidData(
            f"{moving.where}: has the shape of {fixed.where or 'its image'}, and lies up to "
            f"{apart:.3g} voxels beside it by their affines; at most {BESIDE:g} is taken for a "
            "slip. Where they belong together voxel by voxel, save it with the affine of the "
            f"image; else {remedy}"
        )
    if apart > SAME:
        return values, "beside", f"{moving.where} ({apart:.2g})"
    return values, "turned" if is_turned else "same", moving.where


def _equally_unplaced(moving: Volume, fixed: Volume) -> bool:
    """Return whether two files say the same, and nothing of where they lie."""
    if moving.is_placed or fixed.is_placed or not _all_close(moving.spacing, fixed.spacing):
        return False
    if moving.affine is None or fixed.affine is None:
        return moving.affine is fixed.affine
    return np.array_equal(moving.affine, fixed.affine)


def _lacks_origin(moving: Volume, fixed: Volume) -> bool:
    """Return whether one of two grids of one shape begins at 0, as where nobody said where."""
    origins = [bool(v.affine[:3, 3].any()) for v in (moving, fixed) if v.affine is not None]
    is_alike = moving.values.shape[:3] == fixed.values.shape[:3]
    return is_alike and origins[0] != origins[1] and _all_close(moving.spacing, fixed.spacing)


def _turned(values: Array, to_fixed: Array) -> tuple[Array, Array, bool]:
    """Return voxels with axes in the order and direction of another grid's, and their map to it."""
    from nibabel import orientations as by

    made: Any = by
    turn = made.io_orientation(to_fixed)
    is_turned = not np.array_equal(turn, [[0, 1], [1, 1], [2, 1]])
    back = made.inv_ornt_aff(turn, values.shape[:3])
    return made.apply_orientation(values, turn), to_fixed @ back, is_turned


def _apart(to_fixed: Array, grid: Sequence[int]) -> float:
    """Return by how many voxels of a grid its corners are moved along an axis, at most."""
    corners = np.array([(*corner, 1) for corner in product(*((0, side - 1) for side in grid))])
    return float(np.abs((corners @ (to_fixed - np.eye(4)).T)[:, :3]).max())


def _resampled(
    moving: Volume, fixed: Volume, to_fixed: Array, are_labels: bool, remedy: str
) -> tuple[Array, How, str]:
    values, grid = moving.values, fixed.values.shape[:3]
    from_fixed = np.linalg.inv(to_fixed)
    covered = _sampled(np.ones(values.shape[:3], np.uint8), from_fixed, grid, 0, 0).mean()
    image = fixed.where or "its image"
    if covered == 0 or (covered < COVERED and not are_labels):
        raise InvalidData(
            f"{moving.where}: covers {covered:.0%} of {image} by their affines; {remedy}"
        )
    detail = f"{moving.where} ({_by(values.shape[:3])} to {_by(grid)})"
    if not are_labels:
        bands = [_sampled(band, from_fixed, grid, 1) for band in np.moveaxis(values, -1, 0)]
        return np.stack(bands, -1), "resampled", detail
    outside = _share_outside(values, to_fixed, grid)
    if min(covered, 1 - outside) < COVERED:
        detail = f"{moving.where} ({covered:.0%} covered, {outside:.0%} of the objects outside)"
    how: How = "part" if min(covered, 1 - outside) < COVERED else "resampled"
    return _sampled(values, from_fixed, grid, 0, IGNORE), how, detail


def _sampled(
    values: Array, from_grid: Array, grid: Sequence[int], order: int, beyond: int | None = None
) -> Array:
    """Return `values` at the voxels of a grid; `beyond` them that, or else their border's."""
    from scipy.ndimage import affine_transform

    found: Array = affine_transform(
        values,
        from_grid[:3, :3],
        from_grid[:3, 3],
        output_shape=tuple(grid),
        order=order,
        mode="nearest" if beyond is None else "grid-constant",
        cval=0 if beyond is None else beyond,
    )
    return found


def _share_outside(labels: Array, to_fixed: Array, grid: Sequence[int]) -> float:
    """Return how much of the objects lies outside of a grid."""
    at = np.argwhere((labels != 0) & (labels != IGNORE))
    if not len(at):
        return 0.0
    lies = at @ to_fixed[:3, :3].T + to_fixed[:3, 3]
    within = (lies >= -0.5) & (lies <= np.array(grid) - 0.5)
    return float(1 - within.all(axis=1).mean())


TOLD: Final[dict[How, str]] = {
    "turned": "stored in another orientation than their images, and turned to it",
    "resampled": "stored on another grid than their images, and brought to it ({method})",
    "part": "brought to the grids of their images, which they do not cover, or reach beyond: "
    "what they do not cover is ignored; do they belong to these images?",
    "beside": "of the shape of their images, and beside them by up to so many voxels: taken voxel "
    "by voxel; save them with the affine of the image",
    "unplaced": "without a place (no affine, an identity, or an origin of 0), or their images are: "
    "taken voxel by voxel; are both stored in one orientation?",
}


def tell(ways: Sequence[tuple[How, str]], what: str, method: str, found: Findings) -> None:
    """Add to the findings how labels, or channels, came to their images' grids."""
    for how, text in TOLD.items():
        details = sorted(detail for way, detail in ways if way == how)
        if details:
            line = f"{len(details)} {what} are {text.format(method=method)}: {listing(details)}"
            (found.notes if how in ("turned", "resampled") else found.doubts).append(line)


def tell_of_two_places(volumes: Iterable[Volume], found: Findings) -> None:
    """Add a doubt of files whose two affines lead to different places."""
    torn = sorted(
        volume.where
        for volume in volumes
        if volume.other is not None
        and volume.affine is not None
        and _apart(np.linalg.inv(volume.affine) @ volume.other, volume.values.shape[:3]) > BESIDE
    )
    if torn:
        found.doubts.append(
            f"{len(torn)} files state two places, by sform and by qform, which lie more than "
            f"{BESIDE:g} voxel apart: the sform is taken; remove the wrong one: {listing(torn)}"
        )


def stacked(parts: Sequence[Volume], found: Findings) -> tuple[Volume, list[tuple[How, str]]]:
    """Return the channel files of a case as one volume `(X Y Z C)` on the grid of the first."""
    first, *rest = parts
    values, ways = [first.values], []
    for part in rest:
        try:
            voxels, how, detail = brought(part, first, are_labels=False)
        except InvalidData as error:
            found.problems.append(str(error))
            continue
        values.append(voxels)
        ways.append((how, detail))
    return replace(first, values=np.concatenate(values, axis=-1)), ways


def depth_first(volume: Array) -> Array:
    """Return `(X Y Z …)`, as files have it, as `(Z X Y …)`: slices lie along the first axis."""
    return np.ascontiguousarray(np.moveaxis(volume, 2, 0))


def depth_last(volume: Array) -> Array:
    """Return `(Z X Y …)` as files have it, `(X Y Z …)`."""
    return np.moveaxis(volume, 0, 2)


def canonical(sample: Sample) -> Sample:
    """Return a volume with height, width and depth toward right, front and top (RAS+)."""
    turn = _to_canonical(sample.orientation)
    spacing = sample.spacing
    if spacing:
        moved = dict(zip(turn[:, 0].astype(int).tolist(), _xyz(spacing), strict=True))
        spacing = (moved[2], moved[0], moved[1])
    image, mask = (_applied(array, turn) for array in (sample.image, sample.mask))
    return replace(sample, image=image, mask=mask, spacing=spacing, orientation="RAS")


def uncanonical(mask: Array, orientation: str) -> Array:
    """Return a mask `(D H W)` of a canonical volume in the orientation that a file had."""
    from nibabel import orientations as by

    made: Any = by
    return _applied(mask, made.ornt_transform(_to_canonical("RAS"), _to_canonical(orientation)))


def _to_canonical(orientation: str) -> Array:
    from nibabel.orientations import axcodes2ornt

    turn: Array = axcodes2ornt(tuple(orientation))  # type: ignore[no-untyped-call]
    return turn


def _applied(array: Array, turn: Array) -> Array:
    from nibabel.orientations import apply_orientation

    turned: Array = apply_orientation(depth_last(array), turn)  # type: ignore[no-untyped-call]
    return depth_first(turned)


def respaced(sample: Sample, spacing: tuple[float, ...]) -> Sample:
    """Return a volume with voxels of `spacing` (D H W) mm: linear, antialiased; masks nearest.

    Its sides are whole voxels, so that the spacing it has then may differ a little. Raises
    InvalidData where it would take too much memory.
    """
    size = size_at(sample.mask.shape, sample.spacing, spacing)
    if size == sample.mask.shape:
        return sample
    if problem := limits.too_large(math.prod(size) * sample.image.shape[-1] * 4):
        raise InvalidData(f"{sample.name}: {problem}, or give a wider --spacing")
    return at_size(sample, size)


def size_at(
    size: tuple[int, ...], given: tuple[float, ...], wanted: tuple[float, ...]
) -> tuple[int, ...]:
    """Return how many voxels of the wanted spacing a volume of `size` has."""
    sides = zip(size, given, wanted, strict=True)
    return tuple(max(1, round(side * have / want)) for side, have, want in sides)


def with_geometry(dataset: Dataset, orientation: str, spacing: tuple[float, ...]) -> Dataset:
    """Return a data set as `--orientation` and `--spacing` want it, mixed ones doubted.

    Raises InvalidData, naming all volumes that do not say what they would have to.
    """
    found = Findings(Path(dataset.name))
    if orientation == "canonical":
        _require(dataset, "orientation", "--orientation canonical", found)
        dataset = replace(_each(dataset, canonical, found), orientation=orientation)
    else:
        mixed = sorted({sample.orientation or "not stated" for sample in dataset.samples})
        if len(mixed) > 1:
            found.doubts.append(
                f"volumes are stored in {len(mixed)} orientations ({', '.join(mixed)}): left is "
                "right in some of them; --orientation canonical brings all to RAS+"
            )
    if spacing:
        _require(dataset, "spacing", "--spacing", found)
        respaced_to = _each(dataset, lambda sample: respaced(sample, spacing), found)
        dataset = replace(respaced_to, spacing=spacing)
    else:
        _note_uneven(dataset, found)
    doubts, notes = (*dataset.doubts, *found.doubts), (*dataset.notes, *found.notes)
    return replace(dataset, doubts=doubts, notes=notes)


@dataclass(frozen=True)
class Seen:
    """How the volumes lay that a network was trained on."""

    orientation: str = "stored"
    """As `Dataset.orientation`."""
    spacing: tuple[float, ...] = ()
    """As `Dataset.spacing`."""
    orientations: tuple[str, ...] = ()
    """Those that occurred; none where not known."""
    least: tuple[float, ...] = ()
    most: tuple[float, ...] = ()
    """The range of their spacings, mm (D H W); empty where not known."""

    @classmethod
    def of(cls, dataset: Dataset, is_resized: bool = False) -> Seen:
        """Return how the training volumes of a data set lie.

        Those that were resized to one size in voxels had other spacings before.
        """
        orientations = {sample.orientation for sample in dataset.train if sample.orientation}
        spacings = [sample.spacing for sample in dataset.train if sample.spacing]
        spacings = [] if is_resized else spacings
        least, most = (tuple(map(of, zip(*spacings, strict=True))) for of in (min, max))
        return cls(dataset.orientation, dataset.spacing, tuple(sorted(orientations)), least, most)

    def applied(self, volume: Volume, found: Findings) -> Sample:
        """Return a volume as those were, its mask empty; what lies outside of them is doubted.

        Raises InvalidData where the volume does not say what that takes.
        """
        blank = np.zeros(volume.values.shape[:3], np.uint8)
        sample = Sample(
            volume.where,
            depth_first(volume.values),
            depth_first(blank),
            spacing=volume.spacing_by_depth,
            orientation=volume.orientation,
        )
        for name, needed in (
            ("orientation", self.orientation == "canonical"),
            ("spacing", bool(self.spacing)),
        ):
            if needed and not getattr(sample, name):
                raise InvalidData(
                    f"{volume.where}: states no {name}, by which the network's training volumes "
                    "were brought to one; save it as NIfTI with its affine"
                )
        if self.orientation == "canonical":
            sample = canonical(sample)
        elif self.orientations and sample.orientation not in self.orientations:
            found.doubts.append(
                f"{volume.where}: lies {sample.orientation or 'nobody knows how'}, and the volumes "
                f"that the network was trained on {listing(list(self.orientations))}: its mask may "
                "be wrong"
            )
        if self.spacing:
            return respaced(sample, self.spacing)
        if sample.spacing and self.least:
            sides = zip(sample.spacing, self.least, self.most, strict=True)
            if any(not low / WIDER <= side <= high * WIDER for side, low, high in sides):
                found.doubts.append(
                    f"{volume.where}: has voxels of {in_mm(sample.spacing)}, and the volumes that "
                    f"the network was trained on from {in_mm(self.least)} to {in_mm(self.most)}: "
                    "its mask may be wrong"
                )
        return sample

    def undone(self, mask: Array, volume: Volume) -> Array:
        """Return a mask `(D H W)` of `applied` on the volume's own grid; so of `(D H W K)`."""
        size = np.array(volume.values.shape[:3])
        if self.orientation == "canonical":
            turn = _to_canonical(volume.orientation)[:, 0].astype(int)
            size[turn] = size.copy()
        height, width, depth = size.tolist()
        if mask.shape[:3] != (depth, height, width):
            bands = mask[..., None] if mask.ndim == 3 else mask
            bands = resized(bands, (depth, height, width), Image.Resampling.NEAREST)
            mask = bands.reshape(depth, height, width, *mask.shape[3:])
        return uncanonical(mask, volume.orientation) if self.orientation == "canonical" else mask


def _require(dataset: Dataset, name: str, option: str, found: Findings) -> None:
    silent = [sample.name for sample in dataset.samples if not getattr(sample, name)]
    if silent:
        found.problems.append(
            f"{option}: {len(silent)} volume(s) state no {name}: {listing(silent)}; save them as "
            f"NIfTI with their {name}, or leave {option} out"
        )
        found.refuse()


def _each(dataset: Dataset, change: Callable[[Sample], Sample], found: Findings) -> Dataset:
    changed = {}
    for sample in dataset.samples:
        try:
            changed[sample.name] = change(sample)
        except InvalidData as error:
            found.problems.append(str(error))
    found.refuse()
    train, val, test = (
        tuple(changed[sample.name] for sample in held) for held in dataset.splits.values()
    )
    return replace(dataset, train=train, val=val, test=test)


def _note_uneven(dataset: Dataset, found: Findings) -> None:
    """Note where objects of one size have different sizes in voxels."""
    known = np.array([sample.spacing for sample in dataset.samples if sample.spacing])
    if len(known) and (known.max(0) > 1.1 * known.min(0)).any():
        least, most, middle = known.min(0), known.max(0), np.median(known, axis=0)
        found.notes.append(
            f"voxels are from {in_mm(least)} to {in_mm(most)} large (D H W); "
            f"--spacing {'x'.join(f'{side:.3g}' for side in middle)} resamples all to one spacing"
        )


def in_mm(spacing: Sequence[float] | Array) -> str:
    """Return a spacing as people write it."""
    return "x".join(f"{side:.3g}" for side in spacing) + " mm"


def _xyz(depth_first_values: tuple[float, ...]) -> tuple[float, ...]:
    depth, height, width = depth_first_values
    return height, width, depth


def _by(shape: Sequence[int]) -> str:
    return "x".join(map(str, shape))


def _all_close(first: tuple[float, ...], second: tuple[float, ...]) -> bool:
    return not first or not second or bool(np.allclose(first, second, rtol=1e-3))
