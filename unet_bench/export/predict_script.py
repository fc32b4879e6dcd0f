"""Masks from the network in this folder; model.json says under "needs" what to install for it.

python predict.py IMAGE... writes IMAGE.mask.png beside each, pixels being class ids. An image is a
picture, or an array in .npy: (H, W), (H, W, C), or of volumes (D, H, W), (D, H, W, C); of these the
mask is .npy. It is predicted in tiles that overlap by half, mirrored beyond its borders.
"""

from __future__ import annotations

import itertools
import json
import math
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import numpy as np
from PIL import Image, ImageOps

Array = np.ndarray[Any, Any]
Network = Callable[[Array], Array]  # values (N, C, *size) to probabilities (N, classes, *SIZE)
HERE = Path(__file__).parent
ABOUT: dict[str, Any] = json.loads((HERE / "model.json").read_text(encoding="utf-8"))
SIZE: list[int] = ABOUT["output"]["size"]  # scored pixels of a tile


def main(paths: list[str]) -> None:
    """Write a mask for each image."""
    network = load()
    for path in map(Path, paths):
        try:
            image = read(path)
        except (OSError, ValueError) as error:
            sys.exit(f"{path}: cannot be read: {error}")
        mask = predict(network, fitted(image))
        if path.suffix == ".npy":
            np.save(path.with_suffix(".mask.npy"), resized(mask, image.shape[:-1]))
            continue
        picture = Image.fromarray(resized(mask, image.shape[:-1]))
        colours = [bytes.fromhex(each["colour"].lstrip("#")) for each in ABOUT["classes"]]
        picture.putpalette(b"".join(colours))
        picture.save(path.with_suffix(".mask.png"))


def load() -> Network:
    """Return the network as what runs its file has it."""
    if ABOUT["file"] == "model.xml":
        import openvino

        # In 32 bits, as it was checked: by itself it takes 16 where a processor has them.
        how = {"INFERENCE_PRECISION_HINT": "f32"}
        compiled = openvino.Core().compile_model(HERE / ABOUT["file"], "CPU", how)
        return lambda values: compiled(values)[0]
    if ABOUT["file"] == "model.pt2":
        import torch

        module = torch.export.load(HERE / ABOUT["file"]).module()
        return lambda values: module(torch.from_numpy(values)).detach().numpy()
    import onnxruntime

    found = onnxruntime.get_available_providers()
    session = onnxruntime.InferenceSession(str(HERE / ABOUT["file"]), providers=found)
    return lambda values: session.run(None, {"image": values})[0]


def read(path: Path) -> Array:
    """Return an image (*S, C) on the scale of the training images."""
    if path.suffix == ".npy":
        values: Array = np.load(path, allow_pickle=False)
    else:
        picture = ImageOps.exif_transpose(Image.open(path))
        if picture.mode == "P":
            picture = picture.convert("RGB")
        values = np.asarray(picture)
    if values.ndim == len(SIZE):
        values = values[..., None]
    channels = ABOUT["input"]["channels"]
    if values.shape[-1] == 1 < channels == 3:
        values = np.repeat(values, 3, axis=-1)  # grey, for a network of colours
    if values.shape[-1] != channels or values.ndim != len(SIZE) + 1:
        sys.exit(
            f"{path}: {values.shape}, and the network takes {len(SIZE)}-D, {channels} channels"
        )
    if ABOUT["image_type"] == "uint8" and values.dtype == np.uint8:
        return values
    bounds = ABOUT["scale"].get(values.dtype.name)
    if bounds is None or ABOUT["image_type"] == "uint8":
        sys.exit(f"{path}: {values.dtype}, and the training images had {ABOUT['trained_on']}")
    low, high = bounds
    if values.min() < low or values.max() > high:
        told = f"{path}: values from {values.min():g} to {values.max():g}, and the network takes "
        told += f"{low:g} to {high:g}"
        # Each training volume was brought there by its own range; 16 bits beyond it are of more.
        if len(SIZE) == 3 or (values.dtype == np.uint16 and low == 0):
            sys.exit(f"{told}: bring it there")
        print(f"{told}: its mask may be wrong", file=sys.stderr)
    unit: Array = (values.astype(np.float64) - low) / ((high - low) or 1)
    return unit.astype(np.float32)


def fitted(image: Array) -> Array:
    """Return an image resized as the training images were, if they were."""
    if ABOUT["fit"] != "resize" or list(image.shape[:-1]) == SIZE:
        return image
    if len(SIZE) != 2:
        sys.exit(f"volumes of {image.shape[:-1]}: resize them to {SIZE}")
    bands = [
        Image.fromarray(image[..., band]).resize(SIZE[::-1], Image.Resampling.BILINEAR)
        for band in range(image.shape[-1])
    ]
    return np.stack([np.asarray(band) for band in bands], axis=-1)


def resized(mask: Array, size: tuple[int, ...]) -> Array:
    """Return a mask in the size of its image."""
    if mask.shape == size:
        return mask
    height, width = size
    picture = Image.fromarray(mask).resize((width, height), Image.Resampling.NEAREST)
    return np.asarray(picture)


def predict(network: Network, image: Array) -> Array:
    """Return class ids (*S), uint8: of each pixel the class that is likeliest in its tiles."""
    whole = image.shape[:-1]
    summed = np.zeros((len(ABOUT["classes"]), *whole), np.float32)
    weight = np.ones((), np.float32)
    for side in SIZE:
        near = np.arange(1.0, side + 1, dtype=np.float32)  # a tile's rim counts least
        weight = weight[..., None] * np.minimum(near, side + 1 - near)
    for corner in itertools.product(*map(starts, whole, SIZE)):
        tile = network(cut(image, corner)[None])
        inside = tuple(
            slice(0, min(side, length - start))
            for start, side, length in zip(corner, SIZE, whole, strict=True)
        )
        place = tuple(
            slice(start, start + part.stop) for start, part in zip(corner, inside, strict=True)
        )
        summed[(slice(None), *place)] += (tile[0] * weight)[(slice(None), *inside)]
    likeliest: Array = summed.argmax(0)
    return likeliest.astype(np.uint8)


def starts(length: int, side: int) -> Iterator[int]:
    """Yield where tiles begin along an axis: evenly, at least half of a side shared."""
    last = max(0, length - side)
    count = math.ceil(last / max(1, round(side / 2))) + 1
    return (round(last * i / max(1, count - 1)) for i in range(count))


def cut(image: Array, corner: tuple[int, ...]) -> Array:
    """Return the network's input (C, *size) for the tile at a corner, with its context."""
    before, sizes = ABOUT["input"]["context"], ABOUT["input"]["size"]
    for axis, (start, context, size) in enumerate(zip(corner, before, sizes, strict=True)):
        length = image.shape[axis]
        at = np.arange(start - context, start - context + size) % max(1, 2 * length - 2)
        image = image.take(np.where(at < length, at, 2 * length - 2 - at), axis)
    return np.ascontiguousarray(np.moveaxis(image, -1, 0), dtype=np.float32)


if __name__ == "__main__":
    main(sys.argv[1:] or sys.exit(__doc__))
