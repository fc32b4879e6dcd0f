"""The one shape in which data travel: named samples of an image and a mask, in three splits.

Whoever makes a `Dataset` (the folder reader, a generator, a plugin) has it checked on the spot, so
that no later step meets a stray class or a mask of another size.
"""

from __future__ import annotations

import hashlib
import itertools
import json
import math
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import astuple, dataclass, field, replace
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal

import numpy as np
from numpy.typing import NDArray
from PIL import Image

from unet_bench.errors import InvalidChoice, InvalidData, InvalidSize, offenders
from unet_bench.host.files import atomic_write
from unet_bench.limits import one_line, shown

FEWEST_SCORED: Final = 8  # images of a split
IGNORE: Final = 255
"""The mask value of a pixel which is neither trained on nor scored."""

Array = NDArray[Any]

Scale = dict[str, tuple[float, float]]
"""Which values of image files become 0 and 1, by number type; see `unet_bench.data.scale`."""


@dataclass(frozen=True)
class LabelRow:
    """What one value of mask files was taken for: a class, or `ignored`."""

    value: str
    meaning: str
    share: float
    """Of all pixels."""
    files: int
    """How many files hold it."""


@dataclass(frozen=True, eq=False)
class Sample:
    """One image `(*S C)` and its mask `(*S)`.

    The image is uint8 or finite float32 (about 0..1); the mask is uint8 class ids or `IGNORE`. `*S`
    is `H W`; of a volume `D H W`, whose slices are what lies along the first axis.
    """

    name: str
    image: Array
    mask: Array
    group: str = ""
    """What may not be divided between splits: the volume that this is a slice of. Empty: the sample
    stands alone.
    """
    spacing: tuple[float, ...] = ()
    """mm from pixel to pixel along `*S`; empty where not known."""
    orientation: str = ""
    """The sides of the body toward which height, width and depth of a volume grow, such as RAS:
    right, front (anterior), top (superior). A slice has that of its volume. Empty: not known.
    """

    def spacing_at(self, size: tuple[int, ...]) -> tuple[float, ...]:
        """Return the spacing that the same sample has at another size."""
        if not self.spacing:
            return ()
        sides = zip(self.spacing, self.mask.shape, size, strict=True)
        return tuple(spacing * given / side for spacing, given, side in sides)


@dataclass(frozen=True, eq=False)
class Dataset:
    """Samples in three splits, all of one type, channel count and number of dimensions.

    Class 0 is the background. `modalities` say of volumes what their channels are, as far as that
    is known: see `reading.normalised`. `val` may be empty, for recipes that test the last weights
    instead of the best.

    Raises InvalidData, naming all offenders, where samples and statements disagree.
    """

    name: str
    classes: tuple[str, ...]
    channels: int
    train: tuple[Sample, ...]
    val: tuple[Sample, ...]
    test: tuple[Sample, ...]
    dims: int = 2
    split_by: str = "files"
    modalities: tuple[str, ...] = ()
    scale: Scale = field(default_factory=dict)
    """How image files became these images; empty where they were no picture files."""
    orientation: str = "stored"
    """Whether volumes lie as they are stored, or are `canonical`: all RAS."""
    spacing: tuple[float, ...] = ()
    """What volumes were resampled to, mm (D H W); empty: each has its own."""
    labels: tuple[LabelRow, ...] = ()
    doubts: tuple[str, ...] = ()
    """Why the data may be misread."""
    notes: tuple[str, ...] = ()
    """What was done to the files, or left out."""

    def __post_init__(self) -> None:
        problems = _contradictions(self)
        if problems:
            lines = [one_line(problem) for problem in problems]
            raise InvalidData(f"data set {shown(self.name)} cannot be used:\n{offenders(lines)}")

    @property
    def splits(self) -> dict[str, tuple[Sample, ...]]:
        """The samples by split: `train`, `val`, `test`, in this order."""
        return {"train": self.train, "val": self.val, "test": self.test}

    @property
    def samples(self) -> tuple[Sample, ...]:
        """All samples, split after split."""
        return self.train + self.val + self.test

    @cached_property
    def hash(self) -> str:
        """12 hex digits over pixels, masks, classes and splits: equal for equal data, anywhere."""
        digest = hashlib.sha256(json.dumps([self.classes, self.dims]).encode())
        for split, samples in self.splits.items():
            for sample in samples:
                about = [split, sample.name, sample.image.shape, sample.image.dtype.name]
                digest.update(json.dumps(about).encode())
                for array in (sample.image, sample.mask):
                    digest.update(np.ascontiguousarray(array, array.dtype.newbyteorder("<")).data)
        return digest.hexdigest()[:12]

    def save(self, path: Path) -> None:
        """Write one .npz without pickles, whole or not at all, for `Dataset.load`."""
        names: dict[str, list[Any]] = {}
        arrays: dict[str, Any] = {}
        for split, samples in self.splits.items():
            names[split] = [
                [sample.name, sample.group, sample.spacing, sample.orientation]
                for sample in samples
            ]
            for index, sample in enumerate(samples):
                arrays[f"{split}/{index}/image"] = sample.image
                arrays[f"{split}/{index}/mask"] = sample.mask
        meta = {
            "name": self.name,
            "classes": self.classes,
            "channels": self.channels,
            "dims": self.dims,
            "split_by": self.split_by,
            "modalities": self.modalities,
            "scale": self.scale,
            "labels": [astuple(row) for row in self.labels],
            "orientation": self.orientation,
            "spacing": self.spacing,
            "samples": names,
        }
        arrays["meta"] = np.array(json.dumps(meta))
        with atomic_write(path) as draft, draft.open("wb") as file:
            np.savez(file, **arrays)

    @classmethod
    def load(cls, path: Path) -> Dataset:
        """Return what `save` wrote. Raises InvalidData for a file that is missing or damaged."""
        try:
            with np.load(path, allow_pickle=False) as arrays:
                meta = json.loads(str(arrays["meta"]))
                splits = {
                    split: _stored(arrays, split, names)
                    for split, names in meta.pop("samples").items()
                }
                meta["labels"] = tuple(LabelRow(*row) for row in meta.get("labels", ()))
                lists = ("classes", "modalities", "spacing")
                meta |= {name: tuple(meta[name]) for name in lists}
                meta["scale"] = {name: tuple(ends) for name, ends in meta["scale"].items()}
                return cls(**{**meta, **splits})
        except InvalidData:
            raise
        except Exception as error:  # a damaged archive makes zipfile, zlib and numpy raise anything
            raise InvalidData(
                f"{path}: not a data set written by `Dataset.save` ({error}); "
                "delete it and read the data anew"
            ) from error


def _stored(arrays: Mapping[str, Array], split: str, names: list[Any]) -> tuple[Sample, ...]:
    samples = []
    for index, (name, group, spacing, orientation) in enumerate(names):
        image, mask = (arrays[f"{split}/{index}/{what}"] for what in ("image", "mask"))
        samples.append(Sample(name, image, mask, group, tuple(spacing), orientation))
    return tuple(samples)


def _contradictions(dataset: Dataset) -> list[str]:
    classes, samples = dataset.classes, dataset.samples
    problems = []
    if not 2 <= len(classes) <= IGNORE or len(set(classes)) < len(classes):
        problems.append(
            f"classes {list(classes)}: give 2 to {IGNORE} different names, the background first"
        )
    empty = [split for split in ("train", "test") if not dataset.splits[split]]
    problems += [f"the {split} split is empty: give it a sample" for split in empty]
    for name, count in Counter(sample.name for sample in samples).items():
        if count > 1:
            problems.append(f"{name}: {count} samples of this name; keep one")
    holders: dict[str, set[str]] = {}
    for split, held in dataset.splits.items():
        for sample in held:
            holders.setdefault(sample.group, set()).add(split)
    for group, splits in holders.items():
        if group and len(splits) > 1:
            named = ", ".join(sorted(splits))
            problems.append(f"{group}: in the splits {named}; keep what belongs together in one")
    for split, held in dataset.splits.items():
        if held and all((sample.mask == IGNORE).all() for sample in held):
            problems.append(
                f"the {split} split has no labelled pixel: every mask is {IGNORE} = ignore"
            )
    dtypes = sorted({sample.image.dtype.name for sample in samples})
    if len(dtypes) > 1:
        problems.append(f"images of types {', '.join(dtypes)}: convert all to one")
    found = (fault(sample, dataset.channels, len(classes), dataset.dims) for sample in samples)
    return problems + [problem for problem in found if problem]


def fault(sample: Sample, channels: int, classes: int, dims: int = 2) -> str | None:
    """Return the first thing wrong with a sample, as one line; or None.

    The sample is of a data set with these channels and classes.
    """
    image, mask, name = sample.image, sample.mask, sample.name
    if image.ndim != dims + 1 or image.shape[-1] != channels or image.size == 0:
        return (
            f"{name}: image of shape {image.shape}; "
            f"it must be {dims} sizes, then {channels} channels"
        )
    if image.dtype not in (np.uint8, np.float32):
        return f"{name}: image of type {image.dtype}; convert it to uint8 or float32"
    if image.dtype == np.float32 and not np.isfinite(image).all():
        return f"{name}: image with values that are NaN or infinite; replace them"
    if mask.shape != image.shape[:-1]:
        turned = "one of them is turned; " if mask.shape[::-1] == image.shape[:-1] else ""
        return (
            f"{name}: mask of {_by(mask.shape)} for an image of {_by(image.shape[:-1])}; "
            f"{turned}they must be equal"
        )
    stray = (mask < 0) | (mask >= classes) & (mask != IGNORE)
    if stray.any():
        values = ", ".join(map(str, np.unique(mask[stray])[:10]))
        return (
            f"{name}: mask values {values} outside 0..{classes - 1} ({IGNORE} = ignore); "
            "mend it or declare classes"
        )
    if mask.dtype != np.uint8:
        return f"{name}: mask of type {mask.dtype}; convert it to uint8"
    return None


def _by(shape: tuple[int, ...]) -> str:
    return "x".join(map(str, shape))


def sliced(dataset: Dataset) -> Dataset:
    """Return a data set of volumes as one of their slices, `CASE/z000` …, which stay together.

    So do those of volumes that belong together.
    """

    def slices(volumes: tuple[Sample, ...]) -> tuple[Sample, ...]:
        found = []
        for volume in volumes:
            for z, (image, mask) in enumerate(zip(volume.image, volume.mask, strict=True)):
                name, group = f"{volume.name}/z{z:03}", volume.group or volume.name
                found.append(
                    Sample(name, image, mask, group, volume.spacing[1:], volume.orientation)
                )
        return tuple(found)

    train, val, test = map(slices, dataset.splits.values())
    return replace(dataset, train=train, val=val, test=test, dims=2)


def fit(dataset: Dataset, size: tuple[int, ...], how: Literal["resize", "crop"]) -> Dataset:
    """Return the data set at `size` (`*S`).

    `resize` makes every image exactly that size (antialiased linear; masks nearest). `crop` keeps
    the scale: larger images stay as they are (training crops them, evaluation tiles them), smaller
    ones grow to at least `size`, their image mirrored and their mask `IGNORE` there. Raises
    InvalidSize or InvalidChoice for another `size` or `how`.
    """
    methods = {"resize": _resize, "crop": _grow}
    if how not in methods:
        raise InvalidChoice(f"cannot fit images by {how!r}: use one of {', '.join(methods)}")
    if min(size) < 1 or dataset.dims != len(size):
        raise InvalidSize(
            f"cannot fit {dataset.dims}-D data to {_by(size)}: give {dataset.dims} positive sizes"
        )
    method = methods[how]
    train, val, test = (
        tuple(method(sample, size) for sample in held) for held in dataset.splits.values()
    )
    return replace(dataset, train=train, val=val, test=test)


def with_fewer_scored(dataset: Dataset, size: tuple[int, ...], most: int) -> Dataset:
    """Return the data set with at most so many validation and as many test images, and a note.

    An image counts as the tiles of `size` (`*S`) that it takes. However large they are,
    `FEWEST_SCORED` are kept, or `most` if that is less. The draw is the same for equal images, and
    has the classes in about their share of images.
    """
    val, test = (_drawn(samples, size, most) for samples in (dataset.val, dataset.test))
    if (len(val), len(test)) == (len(dataset.val), len(dataset.test)):
        return dataset
    note = (
        f"{len(test)} of {len(dataset.test)} test images and {len(val)} of {len(dataset.val)} "
        "validation images are scored; --eval-images 0 scores all"
    )
    return replace(dataset, val=val, test=test, notes=(*dataset.notes, note))


def with_validation_scored(dataset: Dataset, *, selects: bool) -> Dataset:
    """Return the data set with its validation images in the place of the test images.

    Where they are also what weights are chosen on (`selects`), half of them stay for that, groups
    being kept together. Raises InvalidData where there are too few.
    """
    by_group: dict[str, list[Sample]] = {}
    for sample in dataset.val:
        by_group.setdefault(sample.group or sample.name, []).append(sample)
    groups = [tuple(samples) for samples in by_group.values()]
    chosen, scored = (groups[::2], groups[1::2]) if selects else ([], groups)
    if not scored:
        wanted = "two groups of validation images" if selects else "validation images"
        raise InvalidData(
            f"data set {shown(dataset.name)}: scoring on validation images takes {wanted}, and "
            f"there are {len(groups)}: name some in splits/val.txt"
        )
    note = f"the {sum(map(len, scored))} images that are scored are of the validation split"
    return replace(
        dataset,
        val=tuple(itertools.chain(*chosen)),
        test=tuple(itertools.chain(*scored)),
        notes=(*dataset.notes, note),
    )


def _drawn(samples: tuple[Sample, ...], size: tuple[int, ...], most: int) -> tuple[Sample, ...]:
    tiles = [
        math.prod(-(-side // tile) for side, tile in zip(sample.mask.shape, size, strict=True))
        for sample in samples
    ]
    fewest = min(FEWEST_SCORED, most, len(samples))
    count = max(fewest, most * len(samples) // max(1, sum(tiles)))
    if count >= len(samples):
        return samples
    order = np.random.default_rng(0).permutation(len(samples)).tolist()
    # Neighbours in this order are of the same classes: every n-th image has its share of each.
    order.sort(key=lambda number: np.unique(samples[number].mask).tolist())
    places = np.linspace(0, len(order) - 1, count).round().astype(int)
    return tuple(samples[number] for number in sorted(order[place] for place in places))


def _resize(sample: Sample, size: tuple[int, ...]) -> Sample:
    if sample.mask.shape == size:
        return sample
    return at_size(sample, size)


def at_size(sample: Sample, size: tuple[int, ...]) -> Sample:
    """Return a sample resized to `size`: antialiased linear, its mask nearest."""
    mask = resized(sample.mask[..., None], size, Image.Resampling.NEAREST)[..., 0]
    image = resized(sample.image, size, Image.Resampling.BILINEAR)
    return replace(sample, image=image, mask=mask, spacing=sample.spacing_at(size))


@dataclass(frozen=True, eq=False)
class Scaled:
    """An image `(*S C)` whose values are brought to a scale only where they are looked at.

    It may be larger than memory: `stored` is then mapped from a file. It is sliced as an array is.
    """

    stored: Array
    scale: Callable[[Array], Array]
    """From values as stored to those of the scale, each by itself."""
    dtype: np.dtype[Any]

    @property
    def shape(self) -> tuple[int, ...]:
        """Of the image."""
        return self.stored.shape

    @property
    def ndim(self) -> int:
        """How many axes it has."""
        return self.stored.ndim

    def __getitem__(self, part: Any) -> Array:
        return self.scale(self.stored[part])


def resized(image: Array | Scaled, size: tuple[int, ...], method: Image.Resampling) -> Array:
    """Return the image `(*S C)` at another size."""
    if len(size) == 3:  # slice by slice, and then along the depth, with a slice as one row
        slices = np.stack([resized(one, size[1:], method) for one in image[:]])
        rows = slices.reshape(len(slices), -1, image.shape[-1])
        return resized(rows, (size[0], rows.shape[1]), method).reshape(*size, -1)
    height, width = size
    # One channel at a time: Pillow knows float images of one channel only, and no image of, say,
    # five.
    bands = (np.ascontiguousarray(image[..., band]) for band in range(image.shape[-1]))
    return np.stack(
        [np.array(Image.fromarray(band).resize((width, height), method)) for band in bands], axis=-1
    )


def _grow(sample: Sample, size: tuple[int, ...]) -> Sample:
    margin = []
    for wanted, given in zip(size, sample.mask.shape, strict=True):
        lack = max(0, wanted - given)
        margin.append((lack // 2, lack - lack // 2))
    if not np.any(margin):
        return sample
    image = np.pad(sample.image, [*margin, (0, 0)], mode="reflect")
    return replace(sample, image=image, mask=np.pad(sample.mask, margin, constant_values=IGNORE))
