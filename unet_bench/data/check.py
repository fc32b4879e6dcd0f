"""What is in a data set, and what is in two of its splits: sizes, classes, shares, leaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from PIL import Image

from unet_bench.data.dataset import IGNORE, Array, Dataset, Sample
from unet_bench.limits import one_line

THUMB: Final = 16  # px, the side at which images are compared
ALIKE: Final = 0.995  # correlation of such thumbnails from which on two images are nearly one
SHOWN: Final = 20


@dataclass(frozen=True)
class Leak:
    """Two images in different splits that are the same, or nearly."""

    split: str
    name: str
    other_split: str
    other_name: str
    identical: bool


@dataclass(frozen=True)
class ClassShare:
    """How much of the masks a class is, and in how many images of each split it occurs."""

    name: str
    pixels: float
    images: dict[str, int]


@dataclass(frozen=True)
class Report:
    """What `unet-bench data check` prints."""

    name: str
    hash: str
    split_by: str
    counts: dict[str, int]
    groups: int
    channels: int
    image_type: str
    sizes: dict[str, int]
    ignored: float
    classes: tuple[ClassShare, ...]
    leaks: tuple[Leak, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Plain data."""
        return asdict(self)

    def text(self) -> str:
        """For people."""
        sizes = ", ".join(f"{size} ({count})" for size, count in list(self.sizes.items())[:5])
        more = f" and {len(self.sizes) - 5} more" if len(self.sizes) > 5 else ""
        counts = ", ".join(f"{split} {count}" for split, count in self.counts.items())
        lines = [
            f"{self.name}: {sum(self.counts.values())} images of {self.channels} channel(s), {self.image_type}",
            f"splits: {counts} ({self.split_by})" + f", {self.groups} volumes" * bool(self.groups),
            f"sizes: {sizes}{more}",
            f"ignored: {self.ignored:.2%} of the pixels",
        ]
        for index, share in enumerate(self.classes):
            found = ", ".join(f"{split} {count}" for split, count in share.images.items())
            lines.append(
                f"class {index} {share.name}: {share.pixels:.2%} of the pixels; in images: {found}"
            )
        lines += [f"note: {warning}" for warning in self.warnings]
        lines += [
            f"leak: {leak.name} ({leak.split}) {'is' if leak.identical else 'is nearly'} "
            f"{leak.other_name} ({leak.other_split})"
            for leak in self.leaks[:SHOWN]
        ]
        if len(self.leaks) > SHOWN:
            lines.append(f"… and {len(self.leaks) - SHOWN} leaks more (--json lists all)")
        lines.append(
            f"{len(self.leaks)} pair(s) of images in different splits"
            if self.leaks
            else "no image is in two splits"
        )
        return "\n".join(one_line(line, most=2000) for line in lines)


def check(dataset: Dataset) -> Report:
    """Look through every image and mask."""
    sizes = Counter("×".join(map(str, sample.mask.shape)) for sample in dataset.samples)
    pixels = np.sum([_histogram(sample) for sample in dataset.samples], axis=0)
    scored = max(1, int(pixels[:IGNORE].sum()))
    occurs = {
        split: np.sum([_histogram(s) > 0 for s in held], axis=0)
        for split, held in dataset.splits.items()
        if held
    }
    classes = tuple(
        ClassShare(
            name,
            float(pixels[i] / scored),
            {split: int(found[i]) for split, found in occurs.items()},
        )
        for i, name in enumerate(dataset.classes)
    )
    return Report(
        name=dataset.name,
        hash=dataset.hash,
        split_by=dataset.split_by,
        counts={split: len(held) for split, held in dataset.splits.items()},
        groups=len({sample.group for sample in dataset.samples if sample.group}),
        channels=dataset.channels,
        image_type=dataset.samples[0].image.dtype.name,
        sizes=dict(sizes.most_common()),
        ignored=float(pixels[IGNORE] / max(1, pixels.sum())),
        classes=classes,
        leaks=tuple(leaks(dataset)),
        warnings=tuple(_warnings(classes)),
    )


def leaks(dataset: Dataset) -> Iterable[Leak]:
    """Pairs of images in different splits that are equal, or whose thumbnails correlate by `ALIKE`
    or more.
    """
    samples = [(split, sample) for split, held in dataset.splits.items() for sample in held]
    thumbs = np.stack([_thumb(sample.image) for _, sample in samples])
    for first, (split, sample) in enumerate(samples):
        for second in (
            first + 1 + np.flatnonzero(thumbs[first + 1 :] @ thumbs[first] >= ALIKE)
        ).tolist():
            other_split, other = samples[second]
            if split != other_split:
                yield Leak(
                    split,
                    sample.name,
                    other_split,
                    other.name,
                    np.array_equal(sample.image, other.image),
                )


def _warnings(classes: tuple[ClassShare, ...]) -> Iterable[str]:
    for share in classes:
        for split, count in share.images.items():
            if not count:
                yield f"class {share.name} does not occur in {split}"


def _histogram(sample: Sample) -> Array:
    return np.bincount(sample.mask.ravel(), minlength=256)


def _thumb(image: Array) -> Array:
    """The grey image at 16x16, of mean 0 and length 1; a flat one is all zero, and like nothing."""
    grey = Image.fromarray(image.mean(-1).astype(np.float32)).resize(
        (THUMB, THUMB), Image.Resampling.BOX
    )
    values = np.asarray(grey, np.float64).ravel()
    values = values - values.mean()
    length = float(np.linalg.norm(values))
    return (
        values / length
        if length > 1e-6 * max(1.0, float(np.abs(image).max()))
        else np.zeros_like(values)
    )
