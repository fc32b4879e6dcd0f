"""Masks for a user's own images, by a network that a run trained.

files ─▶ all are read and checked ─▶ one after the other: read, predicted, written
"""

from __future__ import annotations

import math
import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property, partial
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from unet_bench.data import nifti, tiff
from unet_bench.data.dataset import Array, Scaled, resized
from unet_bench.data.decode import ENDINGS, children, decode, ending_of, read_image
from unet_bench.data.findings import Findings, listing
from unet_bench.data.folder import read_deep_image
from unet_bench.data.layout import image_of
from unet_bench.data.nifti import is_nifti, stem_of
from unet_bench.data.reading import normalised
from unet_bench.data.scale import DEPTHS, DIM, is_bytes, to_unit, white_of
from unet_bench.data.volume import depth_last
from unet_bench.errors import InvalidData, InvalidSuite, StoreError, offenders
from unet_bench.host.files import atomic_write
from unet_bench.limits import MOST_PIXELS, one_line, shown
from unet_bench.present.class_pictures import colours_of, hexed, overlay
from unet_bench.spec.option import options
from unet_bench.spec.suite import Suite
from unet_bench.train.trained import Network

BITS: Final = {"uint8": "8 bits", "uint16": "16 bits", "float32": "fractions"}
VOLUMES: Final = (*nifti.ENDINGS, *tiff.ENDINGS)
"""Endings of volumes."""
PROBABILITIES: Final = ("auto", "tiff", "nifti", "npz")
"""What probabilities are written as; `auto` is NIfTI for NIfTI, and TIFF for all else."""
SUFFIXES: Final = {"tiff": ".tif", "nifti": ".nii.gz", "npz": ".npz"}
WHOLE: Final = "masks of volumes need one trained on volumes, such as by --size 32x64x64"
FAR_SMALLER: Final = 2
"""Times that a side may be shorter than what was trained on."""


@dataclass(frozen=True)
class Outputs:
    """What is written, and where: masks into `out`, all else into folders in it."""

    out: Path
    overlay: bool = False
    probabilities: str | None = None
    """One of PROBABILITIES."""
    palette: bool = True
    """Whether masks that are PNG have colours."""


@dataclass(frozen=True)
class Written:
    """An image, and the files that were made of it."""

    image: Path
    mask: Path
    overlay: Path | None = None
    probabilities: Path | None = None

    @property
    def files(self) -> list[Path]:
        """All that were made."""
        return [file for file in (self.mask, self.overlay, self.probabilities) if file]

    def table(self) -> dict[str, str | None]:
        """Return the paths as text, by what they are."""
        paths = asdict(self).items()
        return {name: str(path) if path else None for name, path in paths}


@dataclass(frozen=True, eq=False)
class Prepared:
    """An image `(*S C)` in the channels, on the scale and on the grid of the training images.

    `restored` brings values `(*S K)` to the file's own grid; `doubts` say in what it differs.
    """

    image: Array | Scaled
    restored: Callable[[Array], Array]
    doubts: tuple[str, ...] = ()


@dataclass(frozen=True, eq=False)
class Predictions:
    """Images that were checked, and what is to be made of them."""

    network: Network
    files: tuple[Path, ...]
    outputs: Outputs
    warnings: tuple[str, ...]
    notes: tuple[str, ...]
    white: float | None
    whole: bool
    overlap: float
    flips: bool

    @cached_property
    def colours(self) -> Array:
        """The colour of each class id, `(256 3)`."""
        return colours_of(self.network.task.classes, self.network.colours)

    @property
    def classes(self) -> list[dict[str, int | str]]:
        """Id, name and colour of each class."""
        return [
            {"id": number, "name": name, "colour": hexed(self.colours[number])}
            for number, name in enumerate(self.network.task.classes)
        ]

    def table(self, done: Sequence[Written]) -> dict[str, object]:
        """Return what was done, for `--json`."""
        return {
            "variant": self.network.variant,
            "data": self.network.task.name,
            "seed": self.network.seed,
            "classes": self.classes,
            "images": [written.table() for written in done],
            "warnings": self.warnings,
            "notes": self.notes,
        }

    def write(self) -> Iterator[Written]:
        """Yield what was written of each image, as soon as it is.

        Each file is whole or not there. Raises StoreError where the disk refuses, and InvalidData
        for an image that has changed since it was checked.
        """
        for file in self.files:
            [image] = _read_all(self.network, [file], self.white).values()
            made = _written(self.outputs, file, self.network)
            class_ids, values = self._found(image, are_wanted=made.probabilities is not None)
            try:
                for written in made.files:
                    written.parent.mkdir(parents=True, exist_ok=True)
                self._save(made, image, class_ids, values)
            except OSError as error:
                why = one_line(f"{made.mask.parent}: {error}")
                raise StoreError(f"cannot write {why}; give another folder by --out") from error
            yield made

    def _found(self, image: Prepared, are_wanted: bool) -> tuple[Array, Array]:
        """Return class ids `(*S 1)` of an image, and probabilities `(*S K)`, if they are wanted.

        The network sees some rows after the other: all of a large image as fractions, and all
        probabilities, could be more than memory holds.
        """
        fitted = self.network.fitted(image.image)
        class_ids = np.empty((*fitted.shape[:-1], 1), np.uint8)
        kept = []
        done = 0
        for rows in self.network.probability_rows(
            fitted,
            whole=self.whole,
            overlap=0.0 if self.whole else self.overlap,
            flips=self.flips,
        ):
            class_ids[done : done + len(rows)] = rows.argmax(-1, keepdims=True)
            done += len(rows)
            kept += [rows] if are_wanted else []
        return class_ids, np.concatenate(kept) if kept else np.empty(0)

    def _save(self, made: Written, image: Prepared, class_ids: Array, values: Array) -> None:
        """Write what is wanted of an image, its class ids `(*S 1)` and probabilities `(*S K)`."""
        size = image.image.shape[:-1]
        class_ids = _of_size(class_ids, size)
        mask = image.restored(class_ids)[..., 0]
        with atomic_write(made.mask) as draft:
            if is_nifti(made.image):
                nifti.write_like(draft, depth_last(mask), like=made.image)
            elif self.network.task.dims == 3:
                tiff.write_slices(draft, mask)
            else:
                picture = Image.fromarray(mask)
                if self.outputs.palette:
                    picture.putpalette(self.colours.tobytes())
                picture.save(draft)
        if made.overlay:
            upright = is_nifti(made.image)
            shown_slice = _slice_of(image.image, class_ids[..., 0], upright=upright)
            with atomic_write(made.overlay) as draft:
                Image.fromarray(overlay(*shown_slice, self.colours)).save(draft)
        if made.probabilities:
            with atomic_write(made.probabilities) as draft:
                values = image.restored(_of_size(values, size))
                self._save_probabilities(draft, made.image, values)

    def _save_probabilities(self, draft: Path, image: Path, values: Array) -> None:
        stored = depth_last(values) if is_nifti(image) else values
        if draft.name.endswith(SUFFIXES["tiff"]):
            tiff.write_bands(draft, stored)
        elif draft.name.endswith(SUFFIXES["nifti"]):
            nifti.write_like(draft, stored, like=image)
        else:
            arrays: dict[str, Any] = {
                "probabilities": stored,
                "classes": np.array(self.network.task.classes),
            }
            if is_nifti(image):
                arrays["affine"] = nifti.affine_of(image)
            with draft.open("wb") as file:
                np.savez_compressed(file, **arrays)


def predict_files(
    network: Network,
    images: Sequence[Path],
    outputs: Outputs,
    *,
    evaluation: str = "tiled",
    overlap: float = 0.5,
    flips: bool = False,
    white: float | None = None,
) -> Predictions:
    """Return the masks that `write` will make of images, all of which are read and checked.

    A folder is all images in it. Pictures become PNG; NIfTI volumes NIfTI, which lies where they do
    in the scanner; other volumes TIFF. `white` is the value that becomes 1 in pictures of more
    bits than 8, or of a number type that no training image had. Raises InvalidData naming every
    image that cannot be used, InvalidSuite.
    """
    for name, value in (("evaluation", evaluation), ("overlap", overlap)):
        options(Suite)[name].require(value, "unet-bench predict --help")
    if outputs.probabilities not in (None, *PROBABILITIES):
        raise InvalidSuite(
            f"--probabilities {shown(outputs.probabilities)}: it takes {', '.join(PROBABILITIES)}"
        )
    if white is not None and not 0 < white < math.inf:
        raise InvalidSuite(f"--white {white:g}: it is a value above 0, such as 4095 of 12 bits")
    if white is not None and network.task.dims == 3:
        raise InvalidSuite(
            f"--white {white:g} is of pictures: each volume's range is brought to that of the "
            "training volumes; leave it out"
        )
    notes: list[str] = []
    files = _files(images, network, notes)
    _require_apart(files, [_written(outputs, file, network) for file in files])
    read = _read_all(network, files, white, only_doubts=True)
    return Predictions(
        network=network,
        files=tuple(files),
        outputs=outputs,
        warnings=tuple(one_line(doubt) for image in read.values() for doubt in image.doubts),
        notes=tuple(notes),
        white=white,
        whole=evaluation == "whole",
        overlap=overlap,
        flips=flips,
    )


# ---- from what the user names to files


def _files(images: Sequence[Path], network: Network, notes: list[str]) -> list[Path]:
    """Return the files that are named, and those in folders; note what in these is left out."""
    endings = VOLUMES if network.task.dims == 3 else ENDINGS
    found: list[Path] = []
    for given in images:
        if not given.is_dir():
            found.append(given)
            continue
        inside = children(given)
        fitting = [
            child
            for child in inside
            if ending_of(child.name, endings) and not child.name.startswith(".") and child.is_file()
        ]
        where = one_line(str(given))
        left = [child.name for child in inside if child not in fitting]
        if not fitting:
            holds = listing(left) or "nothing"
            raise InvalidData(
                f"{where}: holds {holds}, and no image ({', '.join(endings)}); name the folder in "
                "which they lie: folders in it are not looked into; convert DICOM, a series to "
                "NIfTI (dcm2niix), a picture to PNG"
            )
        if left:
            notes.append(f"{where}: {len(left)} left out, which are no images: {listing(left)}")
        stems = {stem_of(file) for file in fitting}
        masks = [file for file in fitting if image_of(stem_of(file), stems)]
        if masks:
            named = listing([file.name for file in masks])
            notes.append(
                f"{where}: {len(masks)} left out, which are masks of others by their names: {named}"
            )
        found += [file for file in fitting if file not in masks]
    return list(dict.fromkeys(found))


def _written(outputs: Outputs, image: Path, network: Network) -> Written:
    """Return where what is made of an image goes. Raises InvalidSuite."""
    stem = stem_of(image)
    is_volume = network.task.dims == 3
    ending = ".nii.gz" if is_nifti(image) else ".tif" if is_volume else ".png"
    wanted = outputs.probabilities
    if wanted == "auto":
        wanted = "nifti" if is_nifti(image) else "tiff"
    if wanted in ("tiff", "nifti") and (wanted == "nifti") != is_nifti(image):
        kept = "is of NIfTI volumes" if wanted == "nifti" else "keeps no place in the scanner"
        raise InvalidSuite(
            f"{one_line(str(image))}: --probabilities {wanted} {kept}; give auto or npz"
        )
    return Written(
        image,
        outputs.out / f"{stem}{ending}",
        outputs.out / "overlay" / f"{stem}.png" if outputs.overlay else None,
        outputs.out / "probabilities" / f"{stem}{SUFFIXES[wanted]}" if wanted else None,
    )


def _require_apart(files: Sequence[Path], made: Sequence[Written]) -> None:
    """Raise InvalidData where a file would be written twice, or over an image."""
    names = Counter(stem_of(file) for file in files)
    if twice := sorted(name for name, count in names.items() if count > 1):
        called = one_line(", ".join(twice))
        raise InvalidData(
            f"several images are called {called}, and each mask is called as its image"
        )
    given = {os.path.realpath(file) for file in files}
    for written in made:
        for file in written.files:
            if os.path.realpath(file) in given:
                raise InvalidData(
                    f"masks would replace images, such as {one_line(str(file))}: "
                    "give another folder by --out"
                )


# ---- from files to what the network takes


def _read_all(
    network: Network, files: Sequence[Path], white: float | None, *, only_doubts: bool = False
) -> dict[str, Prepared]:
    """Return each file as `prepared`. Raises InvalidData naming every one that cannot be used.

    Of many images the pixels would not fit into memory: `only_doubts` leaves them out.
    """

    def read(file: Path) -> Prepared:
        image = prepared(network, file, white)
        return Prepared(np.empty(0), _as_it_is, image.doubts) if only_doubts else image

    found = Findings(Path())
    done = decode(read, {str(file): file for file in files}, found)
    if found.problems:
        lines = offenders([one_line(problem) for problem in found.problems])
        raise InvalidData(f"no masks were made:\n{lines}")
    return done


def prepared(network: Network, file: Path, white: float | None = None) -> Prepared:
    """Return an image, or a volume with its slices first, as the network was trained on such.

    Raises InvalidData for what cannot be brought to that.
    """
    if not os.path.isfile(file):
        raise InvalidData(f"{file}: no such file")
    found = Findings(Path())
    image, restored = read_for(network, found, file)
    channels = network.task.in_channels
    if image.shape[-1] == 1 and channels == 3:
        image = np.broadcast_to(image, (*image.shape[:-1], channels))
    if image.shape[-1] != channels:
        raise InvalidData(
            f"{file}: {image.shape[-1]} channels, and the network was trained on {channels}; "
            "convert it"
        )
    scaled: Array | Scaled = image
    if network.task.dims == 2:
        scaled = as_trained(network, image, str(file), found.doubts, white)
    found.doubts.extend(f"{file}: {difference}" for difference in _differences(network, scaled))
    return Prepared(scaled, restored, tuple(found.doubts))


def read_for(
    network: Network, found: Findings, file: Path
) -> tuple[Array, Callable[[Array], Array]]:
    """Return an image, and what brings values `(*S K)` for it to the file's own grid.

    It is a picture `(H W C)`, or a volume `(D H W C)` in 0..1 and as training volumes lay. Raises
    InvalidData.
    """
    deep = network.task.dims == 3
    if not deep and not is_nifti(file):
        return read_image(file), _as_it_is
    if not deep or not ending_of(file.name, VOLUMES):
        wanted = "volumes; give NIfTI, or TIFF with a page a slice" if deep else "pictures"
        if not network.scale and not deep:
            wanted = f"slices of volumes; {WHOLE}"
        raise InvalidData(f"{file}: the network was trained on {wanted}")
    if is_nifti(file):
        nifti.affine_of(file)
    volume = read_deep_image(file)
    scaled = normalised({"": volume.values}, network.modalities)[""]
    sample = network.volumes.applied(replace(volume, values=scaled), found)
    return sample.image, lambda values: network.volumes.undone(values, volume)


def as_trained(
    network: Network, image: Array, name: str, doubts: list[str], white: float | None = None
) -> Array | Scaled:
    """Return the image `(H W C)` on the scale of the training images.

    Values outside of theirs are a doubt. `white` is the value that becomes 1; of an image of 8 bits
    it says nothing where training images had 8. Raises InvalidData for an image of a number type
    that no training image had, without it.
    """
    kind = image.dtype.name
    bounds = network.scale.get(kind)
    if white is not None and not (bounds and kind == "uint8"):
        bounds = 0.0, white
    if bounds is None:
        known = " and ".join(BITS[trained] for trained in network.scale)
        known = known or f"slices, each scaled by its volume ({WHOLE})"
        raise InvalidData(
            f"{name}: holds {BITS[kind]} up to {image.max():g}, and the network was trained on "
            f"{known}; convert it, or say which value is white, such as --white {_white(image):g}"
        )
    low, high = bounds
    if white is None and (why := _another_scale(image, bounds)):
        raise InvalidData(f"{name}: {why}")
    if image.min() < low or image.max() > high:
        doubts.append(
            f"{name}: holds values from {image.min():g} to {image.max():g}, and the images that "
            f"the network was trained on from {low:g} to {high:g}: its mask may be wrong"
        )
    elif white is None and kind != "uint8" and 0 < image.max() <= low + DIM * (high - low):
        doubts.append(
            f"{name}: holds values up to {image.max():g}, and the images that the network was "
            f"trained on from {low:g} to {high:g}: is it of fewer bits? Its mask may be wrong; "
            f"say which value is white, such as --white {_white(image):g}"
        )
    if not is_bytes(network.scale):
        return Scaled(image, partial(to_unit, bounds=bounds), np.dtype(np.float32))
    if kind == "uint8":
        return image
    return Scaled(image, partial(_to_levels, bounds=bounds), np.dtype(np.uint8))


def _another_scale(image: Array, bounds: tuple[float, float]) -> str:
    """Return why an image is on another scale than the training images; empty where it is not.

    Whole numbers show it where they need more bits, or end where those of fewer do. The ends of
    fractions are those that occurred: an image may go beyond, but not by as much again.
    """
    low, high = bounds
    lowest, highest = float(image.min()), float(image.max())
    if image.dtype == np.uint16 and low == 0:
        end = white_of(image)
        if highest <= high and not 0 < end < high:
            return ""
        shows = f"ends at {end}, the white of fewer bits" if 0 < end < high else "needs more bits"
        return (
            f"holds values up to {highest:g}, and white is {high:g} in the training images: it "
            f"{shows}; say which value is white in it: --white {_white(image):g}, or, if it is as "
            f"theirs, --white {high:g}"
        )
    wide = high - low
    if image.dtype == np.uint8 or (low - wide <= lowest and highest <= high + wide):
        return ""
    said = f", or say which value is white, such as --white {_white(image):g}" if low == 0 else ""
    return (
        f"holds values from {lowest:g} to {highest:g}, and the images that the network was trained "
        f"on from {low:g} to {high:g}: it is on another scale; bring it to theirs{said}"
    )


def _to_levels(image: Array, bounds: tuple[float, float]) -> Array:
    """Return an image with 8 bits, in which the two bounds are 0 and 255."""
    levels: Array = np.clip(255 * to_unit(image, bounds), 0, 255).round().astype(np.uint8)
    return levels


def _white(image: Array) -> float:
    """Return the value that may be white in an image: the largest of its bits, or of its own."""
    highest = float(image.max())
    if image.dtype.kind == "f":
        return max(highest, 1.0)
    return float(next(2**bits - 1 for bits in DEPTHS if highest < 2**bits))


def _differences(network: Network, image: Array | Scaled) -> Iterator[str]:
    """Yield in what an image `(*S C)` on the right scale is unlike the training images."""
    scored = network.task.scored
    if any(FAR_SMALLER * side < usual for side, usual in zip(image.shape, scored, strict=False)):
        sizes = ("x".join(map(str, size)) for size in (image.shape[:-1], scored))
        yield "is {}, and the network was trained on {}; its mask may be wrong".format(*sizes)
    if network.usual:
        unlike = " and ".join(network.usual.differences(network.fitted(image)))
        if unlike:
            yield f"{unlike}; its mask may be wrong"


# ---- from what the network returns to files


def _as_it_is(values: Array) -> Array:
    return values


def _of_size(values: Array, size: tuple[int, ...]) -> Array:
    """Return values `(*S C)` at the size of their image, each pixel that of the nearest one."""
    if values.shape[:-1] == size:
        return values
    return resized(values, size, Image.Resampling.NEAREST)


def _slice_of(image: Array | Scaled, mask: Array, *, upright: bool) -> tuple[Array, Array]:
    """Return what an overlay shows: the picture, or the slice of a volume with most of objects.

    Of a picture larger than `MOST_PIXELS` it is every second pixel, or third, … of each row and
    column. `upright` turns a slice `(X Y C)` as viewers show it, with Y upwards.
    """
    if mask.ndim == 2:
        step = math.ceil(math.sqrt(mask.size / MOST_PIXELS))
        return image[::step, ::step], mask[::step, ::step]
    objects = (mask != 0).sum((1, 2))
    index = int(objects.argmax()) if objects.any() else len(mask) // 2
    picture, labels = image[index], mask[index]
    return (np.rot90(picture), np.rot90(labels)) if upright else (picture, labels)
