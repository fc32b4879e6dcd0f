"""Masks for a user's own images, by a network that a run trained."""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Sequence
from functools import partial
from pathlib import Path

import numpy as np
from PIL import Image

from unet_bench.data.dataset import Array
from unet_bench.data.decode import decode, read_image
from unet_bench.data.nifti import is_nifti, read_volume, stem_of, write_labels
from unet_bench.data.reading import depth_first, normalised
from unet_bench.errors import InvalidData, StoreError, offenders
from unet_bench.host.files import atomic_write
from unet_bench.host.survey import choose_device
from unet_bench.limits import one_line
from unet_bench.spec.option import options
from unet_bench.spec.suite import Suite
from unet_bench.train.trained import Network, load_network


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
    trust: bool = False,
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
    problems: list[str] = [
        f"{image}: no such file" for image in images if not os.path.isfile(image)
    ]
    files = {str(image): image for image in images if os.path.isfile(image)}
    read = decode(partial(read_for, network), files, problems)
    prepared = {
        Path(name): as_trained(network, image, name, problems) for name, image in read.items()
    }
    if problems:
        raise InvalidData(
            f"no masks were made:\n{offenders([one_line(problem) for problem in problems])}"
        )
    whole = evaluation == "whole"
    for file, image in prepared.items():
        written = mask_file(out, file)
        mask = network.predict_fitted(
            image, whole=whole, overlap=0.0 if whole else overlap, flips=flips
        )
        try:
            out.mkdir(parents=True, exist_ok=True)
            with atomic_write(written) as draft:
                if is_nifti(file):
                    write_labels(draft, np.moveaxis(mask, 0, 2), like=file)
                else:
                    Image.fromarray(mask).save(draft)
        except OSError as error:
            why = one_line(f"{written}: {error}")
            raise StoreError(f"cannot write {why}; give another folder by --out") from error
        yield written


def mask_file(out: Path, image: Path) -> Path:
    """Return where the mask of an image or volume goes."""
    return out / f"{stem_of(image)}{'.nii.gz' if is_nifti(image) else '.png'}"


def read_for(network: Network, file: Path) -> Array:
    """Return an image `(H W C)`, or a volume `(D H W C)` in 0..1 as training volumes were.

    Raises InvalidData.
    """
    volumes = network.task.dims == 3
    if is_nifti(file) != volumes:
        wanted = "volumes; give NIfTI" if volumes else "images; give pictures"
        raise InvalidData(f"{file}: the network was trained on {wanted}")
    if not volumes:
        return read_image(file)
    return depth_first(normalised({"": read_volume(file)}, network.modalities)[""])


def as_trained(network: Network, image: Array, name: str, problems: list[str]) -> Array:
    """Return the image in the channels and the number format of the training images.

    What cannot be brought to them is added to `problems`.
    """
    channels = network.task.in_channels
    if image.shape[-1] == 1 < channels:
        image = np.repeat(image, channels, axis=-1)
    if image.shape[-1] != channels:
        problems.append(
            f"{name}: {image.shape[-1]} channels, and the network was trained on {channels}; "
            "convert it"
        )
    if image.dtype.name == network.image_type:
        return image
    if network.image_type == "uint8":
        return (255 * image).round().astype(np.uint8)
    return image.astype(np.float32) / np.float32(255)
