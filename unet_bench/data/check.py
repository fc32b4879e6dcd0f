"""What is in a data set, and what is in two of its splits: sizes, classes, shares, leaks."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass
from typing import Any, Final

import numpy as np
from PIL import Image

from unet_bench.data.dataset import IGNORE, Array, Dataset, LabelRow, Scale, sliced
from unet_bench.data.findings import listing
from unet_bench.data.volume import in_mm
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
    spacings: dict[str, int]
    orientations: dict[str, int]
    ignored: float
    classes: tuple[ClassShare, ...]
    values: tuple[LabelRow, ...]
    scale: Scale
    doubts: tuple[str, ...]
    notes: tuple[str, ...]
    leaks: tuple[Leak, ...]
    warnings: tuple[str, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return plain data."""
        return asdict(self)

    def text(self) -> str:
        """Return it for people, a line a finding."""
        sizes = ", ".join(f"{size} ({count})" for size, count in list(self.sizes.items())[:5])
        more = f" and {len(self.sizes) - 5} more" if len(self.sizes) > 5 else ""
        of = "volumes" if self.orientations or self.spacings or not self.scale else "folders"
        volumes = f", {self.groups} {of}" if self.groups else ""
        lines = [
            f"{self.name}: {sum(self.counts.values())} images of {self.channels} channel(s), "
            f"{self.image_type}",
            f"splits: {_counted(self.counts)} ({self.split_by}){volumes}",
            f"sizes: {sizes}{more}",
            *self._geometry_lines(),
            f"ignored: {self.ignored:.2%} of the pixels",
        ]
        lines += [f"doubt: {doubt}" for doubt in self.doubts]
        lines += self._value_lines()
        for index, share in list(enumerate(self.classes))[:SHOWN]:
            lines.append(
                f"class {index} {share.name}: {share.pixels:.2%} of the pixels; "
                f"in images: {_counted(share.images)}"
            )
        if len(self.classes) > SHOWN:
            lines.append(f"… and {len(self.classes) - SHOWN} classes more (--json lists all)")
        remarks = (*self.notes, *self.warnings)
        lines += [f"note: {remark}" for remark in remarks[:SHOWN]]
        if len(remarks) > SHOWN:
            lines.append(f"… and {len(remarks) - SHOWN} notes more (--json lists all)")
        for leak in self.leaks[:SHOWN]:
            alike = "is" if leak.identical else "is nearly"
            other = f"{leak.other_name} ({leak.other_split})"
            lines.append(f"leak: {leak.name} ({leak.split}) {alike} {other}")
        if len(self.leaks) > SHOWN:
            lines.append(f"… and {len(self.leaks) - SHOWN} leaks more (--json lists all)")
        if self.leaks:
            lines.append(f"{len(self.leaks)} pair(s) of images in different splits")
        else:
            lines.append("no image is in two splits")
        return "\n".join(one_line(line, most=2000) for line in lines)

    def _geometry_lines(self) -> list[str]:
        """Return how large and which way round the pixels are, where that is known."""
        lines = []
        for name, counts in (("spacing", self.spacings), ("orientation", self.orientations)):
            some = [f"{value} ({count})" for value, count in list(counts.items())[:5]]
            more = f" and {len(counts) - 5} more" if len(counts) > 5 else ""
            lines += [f"{name}: {', '.join(some)}{more}"] if some else []
        return lines

    def _value_lines(self) -> list[str]:
        """Return the table value → class → share of the pixels → files."""
        if not self.values:
            return []
        width = max(len(row.value) for row in self.values[:SHOWN])
        lines = ["values in the masks:"]
        for row in self.values[:SHOWN]:
            lines.append(
                f"  {row.value:>{width}} → {row.meaning}: {row.share:.2%} of the pixels, "
                f"in {row.files} file(s)"
            )
        if len(self.values) > SHOWN:
            lines.append(f"  … and {len(self.values) - SHOWN} values more (--json lists all)")
        return lines


def _counted(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{split} {count}" for split, count in counts.items())


def check(dataset: Dataset) -> Report:
    """Return what is found in every image and mask; of volumes, in their slices."""
    if dataset.dims == 3:
        dataset = sliced(dataset)
    sizes = Counter("×".join(map(str, sample.mask.shape)) for sample in dataset.samples)
    pixels = np.zeros(256, np.int64)  # by class id
    images = {}  # in which each occurs, by split
    for split, held in dataset.splits.items():
        if held:
            counts = np.array([np.bincount(s.mask.ravel(), minlength=256) for s in held])
            pixels += counts.sum(0)
            images[split] = (counts > 0).sum(0).tolist()
    shares = (pixels / max(1, int(pixels[:IGNORE].sum()))).tolist()
    classes = []
    for number, name in enumerate(dataset.classes):
        occurs = {split: found[number] for split, found in images.items()}
        classes.append(ClassShare(name, shares[number], occurs))
    spacings = Counter(in_mm(sample.spacing) for sample in dataset.samples if sample.spacing)
    orientations = Counter(sample.orientation for sample in dataset.samples if sample.orientation)
    return Report(
        name=dataset.name,
        hash=dataset.hash,
        split_by=dataset.split_by,
        counts={split: len(held) for split, held in dataset.splits.items()},
        groups=len({sample.group for sample in dataset.samples if sample.group}),
        channels=dataset.channels,
        image_type=dataset.samples[0].image.dtype.name,
        sizes=dict(sizes.most_common()),
        spacings=dict(spacings.most_common()),
        orientations=dict(orientations.most_common()),
        ignored=float(pixels[IGNORE] / max(1, pixels.sum())),
        classes=tuple(classes),
        values=dataset.labels,
        scale=dataset.scale,
        doubts=dataset.doubts,
        notes=dataset.notes,
        leaks=tuple(leaks(dataset)),
        warnings=tuple(_warnings(classes)),
    )


def leaks(dataset: Dataset) -> Iterable[Leak]:
    """Yield pairs of images in different splits that are equal or nearly so.

    Nearly equal images have thumbnails that correlate by `ALIKE` or more.
    """
    samples = [(split, sample) for split, held in dataset.splits.items() for sample in held]
    thumbs = np.stack([_thumb(sample.image) for _, sample in samples])
    for first, (split, sample) in enumerate(samples):
        rest = slice(first + 1, None)
        for second in np.flatnonzero(thumbs[rest] @ thumbs[first] >= ALIKE):
            other_split, other = samples[rest][second]
            if split != other_split:
                identical = np.array_equal(sample.image, other.image)
                yield Leak(split, sample.name, other_split, other.name, identical)


def _warnings(classes: Iterable[ClassShare]) -> Iterable[str]:
    """Yield which classes are in no image of a split."""
    absent: dict[str, list[str]] = {}
    for share in classes:
        for split, count in share.images.items():
            if not count:
                absent.setdefault(split, []).append(share.name)
    for split, names in absent.items():
        if len(names) == 1:
            yield f"class {names[0]} does not occur in {split}"
        else:
            yield f"{len(names)} classes do not occur in {split}: {listing(names, 10)}"


def _thumb(image: Array) -> Array:
    """Return the grey image at 16x16, of mean 0 and length 1; a flat one as zeros, like nothing."""
    grey = Image.fromarray(image.mean(-1).astype(np.float32))
    small = grey.resize((THUMB, THUMB), Image.Resampling.BOX)
    values = np.asarray(small, np.float64).ravel()
    values = values - values.mean()
    length = float(np.linalg.norm(values))
    is_flat = length <= 1e-6 * max(1.0, float(np.abs(image).max()))
    return np.zeros_like(values) if is_flat else values / length
