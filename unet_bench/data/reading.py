"""The contract of a reader, and what all readers do.

A reader of a format is two functions. `recognises(path) -> bool` says by names alone whether data
of the format lie there. `read(path, *, classes=None, seed=0) -> Dataset` reads and checks all of
them; `classes` is what the user says of them (`labels.declare` reads it), and `seed` divides what
comes without splits. Where something is wrong, `read` goes on, adds each problem to its `Findings`
as a line that names the file and the remedy, and raises one InvalidData over all of them.

A reader finds its files (`find_one`, `decode.files`), decodes them (`decode.decode` with
`read_image`, `read_mask`, `nifti.read_volume` or `nifti.read_labels`), says what the labels mean
(`labels.label`, or `labels.by_format` where the format says it), which case is for what (`splits`),
and ends with `pictures` or `volumes`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Final

import numpy as np

from unet_bench.data.dataset import Array, Dataset, Sample, fault
from unet_bench.data.decode import folded
from unet_bench.data.findings import Findings, listing
from unet_bench.data.labels import Labelled
from unet_bench.data.scale import all_scaled
from unet_bench.data.splits import SPLITS, Splits
from unet_bench.data.volume import (
    Volume,
    as_volume,
    brought,
    depth_first,
    stacked,
    tell,
    tell_of_two_places,
)
from unet_bench.errors import InvalidData
from unet_bench.limits import one_line

PERCENTILES: Final = (0.5, 99.5)
"""What become a volume's 0 and 1: a few voxels far beyond the others must not set the range."""
HOUNSFIELD: Final = (-1024.0, 3071.0)
"""What CT's 0 and 1 are: the 12 bits that scanners store."""

TITLE: Final = 100
"""The most characters of a data set's name: it is a row's label in every table."""


def find_all(path: Path, fits: Callable[[Path], bool]) -> list[Path]:
    """Return where data of a format lie: `path` itself, or else what fits in that folder.

    Looks at names only; what cannot be looked into does not fit.
    """

    def seen(place: Path) -> bool:
        try:
            return fits(place)
        except (OSError, InvalidData):
            return False

    if seen(path):
        return [path]
    try:
        inside = sorted(path.iterdir()) if path.is_dir() else []
    except OSError:
        return []
    return [child for child in inside if not child.name.startswith(".") and seen(child)]


def find_one(path: Path, fits: Callable[[Path], bool], needs: str) -> Path:
    """Return the one place that `find_all` finds.

    Raises InvalidData, with what the format `needs`, for none or more.
    """
    places = find_all(path, fits)
    where = one_line(str(path))
    if not places:
        raise InvalidData(f"{where}: holds no such data; needed: {needs}")
    if len(places) > 1:
        names = one_line(", ".join(place.name for place in places))
        raise InvalidData(f"{where}: holds {names}; name one of them")
    return places[0]


def pictures(
    name: str,
    images: Mapping[str, Array],
    labels: Labelled,
    splits: Splits,
    split_by: str,
    found: Findings,
    white: float | None = None,
) -> Dataset:
    """Return a data set of images `(H W C)` and masks `(H W)` by name.

    Grey and RGB together become RGB; what is not 8 bits becomes float32, where `white` is 1 if
    somebody said so, see `scale`. Raises InvalidData over all problems found.
    """
    scale, images = all_scaled(alike(images), found, white)
    masks = labels.masks
    samples = {key: Sample(key, images[key], masks[key]) for key in images if key in masks}
    channels = _channels(images)
    _refuse_faults(samples, channels, labels, found)
    data = _dataset(name, samples, labels, splits, split_by, found)
    return replace(data, scale=scale)


def _channels(images: Mapping[str, Array]) -> int:
    return max((image.shape[-1] for image in images.values()), default=1)


def _refuse_faults(
    samples: Mapping[str, Sample], channels: int, labels: Labelled, found: Findings, dims: int = 2
) -> None:
    """Raise InvalidData over all problems found, and what is wrong with single samples."""
    if not samples and not found.problems:
        found.problems.append("holds no image with a mask; add some")
    by_bands: dict[int, list[str]] = {}
    for name, sample in samples.items():
        by_bands.setdefault(sample.image.shape[-1], []).append(name)
    if len(by_bands) > 1:
        kinds = "; ".join(f"{bands} in {listing(by_bands[bands])}" for bands in sorted(by_bands))
        found.problems.append(
            f"images: have several numbers of bands: {kinds}; which is which nobody knows: save "
            "all with the same ones"
        )
    if labels.classes:
        for sample in samples.values():
            bands = sample.image.shape[-1] if len(by_bands) > 1 else channels
            if problem := fault(sample, bands, len(labels.classes), dims):
                found.problems.append(problem)
    found.refuse()


def _dataset(
    name: str,
    samples: Mapping[str, Sample],
    labels: Labelled,
    splits: Splits,
    split_by: str,
    found: Findings,
) -> Dataset:
    """Return the data set of samples by name, with what came up while they were read."""
    _doubt_alike(labels.classes, found)
    train, val, test = (tuple(samples[key] for key in splits[split]) for split in SPLITS)
    first = next(iter(samples.values()))
    return Dataset(
        one_line(name, TITLE),
        labels.classes,
        first.image.shape[-1],
        train,
        val,
        test,
        dims=first.mask.ndim,
        split_by=split_by,
        labels=labels.rows,
        doubts=tuple(found.doubts),
        notes=tuple(found.notes),
    )


def _doubt_alike(classes: Sequence[str], found: Findings) -> None:
    """Doubt classes that differ in case, spaces and the like alone: who draws may write so."""
    spellings: dict[str, list[str]] = {}
    for name in classes:
        plain = re.sub(r"[\s_]+|(?<=\w)-(?=\w)", "", folded(name)).casefold()
        spellings.setdefault(plain, []).append(name)
    if several := [names for names in spellings.values() if len(names) > 1]:
        found.doubts.append(
            f"classes: {'; '.join(' and '.join(map(repr, names)) for names in several[:3])}: are "
            "these one? Each is learnt as a class of its own; give one name to what is one class"
        )


def alike(images: Mapping[str, Array]) -> dict[str, Array]:
    """Return pictures of one kind: grey repeated where others are RGB."""
    channels = max((image.shape[-1] for image in images.values()), default=1)
    return {
        name: np.repeat(image, 3, axis=-1) if image.shape[-1] == 1 and channels == 3 else image
        for name, image in images.items()
    }


def volumes(
    name: str,
    images: Mapping[str, Volume | Array | Sequence[Volume]],
    labels: Labelled,
    splits: Splits,
    split_by: str,
    found: Findings,
    modalities: Sequence[str] = (),
    marked: Mapping[str, Volume] | None = None,
) -> Dataset:
    """Return a data set of volumes `(X Y Z C)` with labels `(X Y Z)`, by case; Z becomes the depth.

    Several volumes of a case are its channels. `marked` says where the labels lie, which are
    brought to the grids of their images, see `volume.brought`; arrays and labels without it lie
    voxel by voxel as the images do. Images become float32 in 0..1, see `normalised`. Raises
    InvalidData over all problems found.
    """
    placed = _placed(images, found)
    tell_of_two_places((*placed.values(), *(marked or {}).values()), found)
    masks = _on_grids(labels.masks, marked or {}, placed, found)
    channels = _channels({case: image.values for case, image in placed.items()})
    cases = {
        case: Sample(
            case,
            image.values,
            masks[case],
            spacing=image.spacing_by_depth,
            orientation=image.orientation,
        )
        for case, image in placed.items()
        if case in masks
    }
    _refuse_faults(cases, channels, labels, found, dims=3)
    scaled = normalised({case: image.values for case, image in placed.items()}, modalities)
    whole = {
        case: replace(held, image=depth_first(scaled[case]), mask=depth_first(masks[case]))
        for case, held in cases.items()
    }
    data = _dataset(name, whole, labels, splits, split_by, found)
    return replace(data, modalities=tuple(modalities))


def _placed(
    images: Mapping[str, Volume | Array | Sequence[Volume]], found: Findings
) -> dict[str, Volume]:
    """Return one volume a case, the channels of a case on one grid."""
    placed: dict[str, Volume] = {}
    ways = []
    for case, image in images.items():
        if isinstance(image, Volume | np.ndarray):
            placed[case] = as_volume(image)
        else:
            placed[case], came = stacked(image, found)
            ways += came
    tell(ways, "channel files", "linearly", found)
    return placed


def _on_grids(
    masks: Mapping[str, Array],
    marked: Mapping[str, Volume],
    images: Mapping[str, Volume],
    found: Findings,
) -> dict[str, Array]:
    """Return class ids by case on the grids of their images; what cannot be is a problem."""
    on_grids = {}
    ways = []
    for case, values in masks.items():
        if case not in marked or case not in images:
            on_grids[case] = values
            continue
        try:
            on_grids[case], how, detail = brought(
                replace(marked[case], values=values), images[case], are_labels=True
            )
        except InvalidData as error:
            found.problems.append(str(error))
            continue
        ways.append((how, detail))
    tell(ways, "labels", "nearest neighbour", found)
    return on_grids


def normalised(images: Mapping[str, Array], modalities: Sequence[str] = ()) -> dict[str, Array]:
    """Return volumes `(X Y Z C)` by case, channel by channel in 0..1 and clipped there, float32.

    The grey values of CT mean the same in every scan, so one linear map serves all, from -1024 to
    3071 Hounsfield units: a fixed one, which no split has a part in. Those of MR, or of a channel
    whose modality is not known, do not: each volume has its own, from its 0.5 and 99.5 percentiles.
    """
    is_ct = ["CT" in modality.upper().split() for modality in modalities]
    scaled = {}
    for case, image in images.items():
        bands = []
        for channel in range(image.shape[-1]):
            band = image[..., channel]
            fixed = channel < len(is_ct) and is_ct[channel]
            bands.append(_to_unit(band, HOUNSFIELD if fixed else _range(band)))
        scaled[case] = np.stack(bands, -1)
    return scaled


def _range(values: Array) -> tuple[float, float]:
    low, high = np.percentile(values, PERCENTILES)
    return float(low), float(high)


def _to_unit(band: Array, bounds: tuple[float, float]) -> Array:
    low, high = bounds
    # A volume of one value only has no range; it becomes 0. In double, since a range may exceed
    # float32.
    unit = (band.astype(np.float64) - low) / (high - low if high > low else 1)
    return np.clip(unit, 0, 1).astype(np.float32)
