"""Masks for a user's own images, by a network that a run trained."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Final

import numpy as np
from PIL import Image

from unet_bench.data.dataset import Array
from unet_bench.data.decode import decode, read_image
from unet_bench.data.findings import Findings
from unet_bench.data.nifti import is_nifti, read_volume, stem_of, write_labels
from unet_bench.data.reading import normalised
from unet_bench.data.scale import DEPTHS, is_bytes, to_unit
from unet_bench.data.volume import depth_last
from unet_bench.errors import InvalidData, StoreError, offenders
from unet_bench.host.files import atomic_write
from unet_bench.host.survey import choose_device
from unet_bench.limits import one_line
from unet_bench.spec.option import options
from unet_bench.spec.suite import Suite
from unet_bench.train.trained import Network, load_network

BITS: Final = {"uint8": "8 bits", "uint16": "16 bits", "float32": "fractions"}


def predict_files(
    run: Path,
    variant: str,
    images: Sequence[Path],
    out: Path,
    *,
    data: str | None = None,
    seed: int | None = None,
    fold: str | None = None,
    device: str = "auto",
    evaluation: str = "tiled",
    overlap: float = 0.5,
    flips: bool = False,
    white: float | None = None,
    trust: bool = False,
    warn: Callable[[str], None] = print,
) -> Iterator[Path]:
    """Write the class ids of each image, and yield the paths.

    All images are read and checked first. Pictures become `out/STEM.png`; NIfTI volumes
    `out/STEM.nii.gz`, which lie where their images do in the scanner. Raises InvalidData naming
    every image that cannot be used, InvalidSuite, StoreError, UnknownName.
    """
    for name, value in (("evaluation", evaluation), ("overlap", overlap)):
        options(Suite)[name].require(value, "unet-bench predict --help")
    stems = [stem_of(image) for image in images]
    if twice := sorted(name for name, count in Counter(stems).items() if count > 1):
        called = one_line(", ".join(twice))
        raise InvalidData(
            f"several images are called {called}, and each mask is called as its image"
        )
    given = {os.path.realpath(image) for image in images}
    if replaced := [
        made for image in images if os.path.realpath(made := mask_file(out, image)) in given
    ]:
        such = one_line(str(replaced[0]))
        raise InvalidData(
            f"masks would replace images, such as {such}: give another folder by --out"
        )
    network = load_network(
        run,
        variant,
        data=data,
        seed=seed,
        fold=fold,
        device=choose_device(device),
        trust=trust,
    )
    found = Findings(out)
    found.problems.extend(f"{image}: no such file" for image in images if not os.path.isfile(image))
    files = {str(image): image for image in images if os.path.isfile(image)}
    read = decode(partial(read_for, network, found), files, found)
    prepared = {
        Path(name): (as_trained(network, image, name, found, white), restored)
        for name, (image, restored) in read.items()
    }
    if found.problems:
        lines = offenders([one_line(problem) for problem in found.problems])
        raise InvalidData(f"no masks were made:\n{lines}")
    for doubt in found.doubts:
        warn(one_line(doubt))
    whole = evaluation == "whole"
    for file, (image, restored) in prepared.items():
        written = mask_file(out, file)
        mask = network.predict_fitted(
            image, whole=whole, overlap=0.0 if whole else overlap, flips=flips
        )
        mask = restored(mask)
        try:
            out.mkdir(parents=True, exist_ok=True)
            with atomic_write(written) as draft:
                if is_nifti(file):
                    write_labels(draft, depth_last(mask), like=file)
                else:
                    Image.fromarray(mask).save(draft)
        except OSError as error:
            why = one_line(f"{written}: {error}")
            raise StoreError(f"cannot write {why}; give another folder by --out") from error
        yield written


def mask_file(out: Path, image: Path) -> Path:
    """Return where the mask of an image or volume goes."""
    return out / f"{stem_of(image)}{'.nii.gz' if is_nifti(image) else '.png'}"


def read_for(
    network: Network, found: Findings, file: Path
) -> tuple[Array, Callable[[Array], Array]]:
    """Return an image, and what brings a mask of it to the file's own grid.

    It is a picture `(H W C)`, or a volume `(D H W C)` in 0..1 and as training volumes lay. Raises
    InvalidData.
    """
    deep = network.task.dims == 3
    if is_nifti(file) != deep:
        wanted = "volumes; give NIfTI" if deep else "images; give pictures"
        raise InvalidData(f"{file}: the network was trained on {wanted}")
    if not deep:
        return read_image(file), lambda mask: mask
    volume = read_volume(file)
    scaled = normalised({"": volume.values}, network.modalities)[""]
    sample = network.volumes.applied(replace(volume, values=scaled), found)
    return sample.image, lambda mask: network.volumes.undone(mask, volume)


def as_trained(
    network: Network, image: Array, name: str, found: Findings, white: float | None = None
) -> Array:
    """Return the image in the channels and on the scale of the training images.

    What cannot be brought to them becomes a problem, what lies outside of them a doubt. `white` is
    the value that becomes 1 in an image of a number type that no training image had.
    """
    channels = network.task.in_channels
    if image.shape[-1] == 1 and channels == 3:
        image = np.repeat(image, channels, axis=-1)
    if image.shape[-1] != channels:
        found.problems.append(
            f"{name}: {image.shape[-1]} channels, and the network was trained on {channels}; "
            "convert it"
        )
    if network.task.dims == 3:
        return image
    kind = image.dtype.name
    bounds = network.scale.get(kind) or (None if white is None else (0.0, white))
    if bounds is None:
        known = " and ".join(BITS[trained] for trained in network.scale)
        found.problems.append(
            f"{name}: holds {BITS[kind]} up to {image.max():g}, and the network was trained on "
            f"{known}; convert it, or say which value is white, such as --white {_white(image):g}"
        )
        return image
    low, high = bounds
    if image.min() < low or image.max() > high:
        found.doubts.append(
            f"{name}: holds values from {image.min():g} to {image.max():g}, and the images that "
            f"the network was trained on from {low:g} to {high:g}: its mask may be wrong"
        )
    if not is_bytes(network.scale):
        return to_unit(image, bounds)
    if kind == "uint8":
        return image
    levels: Array = np.clip(255 * to_unit(image, bounds), 0, 255).round().astype(np.uint8)
    return levels


def _white(image: Array) -> float:
    """Return the value that may be white in an image: the largest of its bits, or of its own."""
    highest = float(image.max())
    if image.dtype.kind == "f":
        return max(highest, 1.0)
    return float(next(2**bits - 1 for bits in DEPTHS if highest < 2**bits))
