"""From arrays by name to a checked data set: of pictures, or of volumes.

A reader of a format finds the files and says what they mean; here is what all of them do
afterwards.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from unet_bench.data.dataset import Array, Dataset, Sample, fault
from unet_bench.data.decode import alike
from unet_bench.data.splits import SPLITS, Splits
from unet_bench.errors import InvalidData, offenders
from unet_bench.limits import one_line

PERCENTILES: Final = (0.5, 99.5)
"""What a volume's 0 and 1 become: a few voxels far beyond the others would otherwise press all into
one grey.
"""
HOUNSFIELD: Final = (-1024.0, 3071.0)
"""What CT's 0 and 1 are: the 12 bits that scanners store."""

TITLE: Final = 100
"""Characters of a data set's name, which a folder or a file gave it: it is a row's label in every
table.
"""


def refuse(root: Path, problems: list[str]) -> None:
    """Raises InvalidData over all problems, if there is one."""
    if problems:
        where, lines = one_line(str(root)), [one_line(problem) for problem in problems]
        raise InvalidData(
            f"the data in {where} cannot be used, {len(problems)} problem(s):\n{offenders(lines)}"
        )


def found(path: Path, fits: Callable[[Path], bool]) -> list[Path]:
    """Where data of a format lie: `path` itself, or else those folders and files in it that fit;
    names only.
    """

    def seen(place: Path) -> bool:
        try:
            return fits(place)
        except (OSError, InvalidData):  # what cannot be looked into is not recognised
            return False

    if seen(path):
        return [path]
    try:
        inside = sorted(path.iterdir()) if path.is_dir() else []
    except OSError:
        return []
    return [child for child in inside if not child.name.startswith(".") and seen(child)]


def only(path: Path, fits: Callable[[Path], bool], needs: str) -> Path:
    """The one place where `found` finds data. Raises InvalidData, with what the format `needs`, for
    none or more.
    """
    places = found(path, fits)
    if not places:
        raise InvalidData(f"{one_line(str(path))}: holds no such data; needed: {needs}")
    if len(places) > 1:
        names = one_line(", ".join(place.name for place in places))
        raise InvalidData(f"{one_line(str(path))}: holds {names}; name one of them")
    return places[0]


def pictures(
    root: Path,
    name: str,
    classes: tuple[str, ...],
    images: Mapping[str, Array],
    masks: Mapping[str, Array],
    splits: Splits,
    split_by: str,
    problems: list[str],
) -> Dataset:
    """A data set of images `(H W C)` and masks `(H W)` by name. Raises InvalidData over `problems`
    and new ones.

    Grey and RGB together become RGB, 8 and 16 bits together 0..1.
    """
    images = alike(images)
    samples = {key: Sample(key, images[key], masks[key]) for key in images if key in masks}
    channels = max((image.shape[-1] for image in images.values()), default=1)
    faults = (fault(sample, channels, len(classes)) for sample in samples.values())
    refuse(root, problems + [problem for problem in faults if problem])
    train, val, test = (tuple(samples[key] for key in splits[split]) for split in SPLITS)
    return Dataset(one_line(name, TITLE), classes, channels, train, val, test, split_by=split_by)


def volumes(
    root: Path,
    name: str,
    classes: tuple[str, ...],
    images: Mapping[str, Array],
    masks: Mapping[str, Array],
    splits: Splits,
    split_by: str,
    problems: list[str],
    modalities: Sequence[str] = (),
) -> Dataset:
    """A data set of volumes from `(X Y Z C)` with labels `(X Y Z)`, by case; the last axis becomes
    the depth.

    Images become float32 in 0..1, see `normalised`. Raises InvalidData over `problems` and new
    ones.
    """
    channels = max((image.shape[-1] for image in images.values()), default=1)
    cases = [Sample(case, images[case], masks[case]) for case in images if case in masks]
    faults = (fault(case, channels, len(classes), dims=3) for case in cases)
    refuse(root, problems + [problem for problem in faults if problem])
    scaled = normalised(images, modalities)
    train, val, test = (
        tuple(
            Sample(case, depth_first(scaled[case]), depth_first(masks[case]))
            for case in splits[split]
        )
        for split in SPLITS
    )
    return Dataset(
        one_line(name, TITLE), classes, channels, train, val, test, 3, split_by, tuple(modalities)
    )


def depth_first(volume: Array) -> Array:
    """`(X Y Z …)` as files have it to `(Z X Y …)`: its slices lie along the first axis."""
    return np.ascontiguousarray(np.moveaxis(volume, 2, 0))


def normalised(images: Mapping[str, Array], modalities: Sequence[str] = ()) -> dict[str, Array]:
    """Volumes `(X Y Z C)` by case, channel by channel in 0..1 and clipped there, float32.

    The grey values of CT mean the same in every scan, so one linear map serves all, from -1024 to
    3071 Hounsfield units: a fixed one, which no split has a part in. Those of MR, or of a channel
    whose modality is not known, do not: each volume has its own, from its 0.5 and 99.5 percentiles.
    """
    channels = next(iter(images.values())).shape[-1]
    known = [*modalities, *[""] * channels][:channels]
    shared = {
        channel: HOUNSFIELD
        for channel, modality in enumerate(known)
        if "CT" in modality.upper().split()
    }
    return {
        case: np.stack(
            [
                _to_unit(image[..., band], shared.get(band) or _range(image[..., band]))
                for band in range(channels)
            ],
            -1,
        )
        for case, image in images.items()
    }


def _range(values: Array) -> tuple[float, float]:
    low, high = np.percentile(values, PERCENTILES)
    return float(low), float(high)


def _to_unit(band: Array, bounds: tuple[float, float]) -> Array:
    low, high = bounds
    # A volume of one value only has no range; it becomes 0. In double, since a range may exceed
    # float32.
    unit = (band.astype(np.float64) - low) / (high - low if high > low else 1)
    return np.clip(unit, 0, 1).astype(np.float32)
