"""Pixels from picture files, whatever their bits, modes and palettes; files that cannot be used are
named, all at once.

Every reader of a format comes by its pixels here, so that RGBA, 16 bits or a palette mean the same
in all of them.
"""

from __future__ import annotations

import os
import warnings
from collections.abc import Callable, Collection, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from PIL import Image

from unet_bench import limits
from unet_bench.data.dataset import Array
from unet_bench.errors import InvalidData
from unet_bench.limits import one_line

FORMATS: Final = ("PNG", "JPEG", "TIFF", "BMP", "GIF")
ENDINGS: Final = (".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif")
THREADS: Final = 4
TOO_MANY: Final = "more than {} pixels a page; cut it into smaller ones"

Source = TypeVar("Source")


def files(folder: Path, endings: Collection[str] = ENDINGS) -> dict[str, list[Path]]:
    """Return the files of a folder with one of these endings, by stem.

    `._x.png`, `.DS_Store` and the like do not count. Raises InvalidData.
    """
    found: dict[str, list[Path]] = {}
    try:
        inside = sorted(folder.iterdir())
    except OSError as error:
        raise InvalidData(
            f"{one_line(str(folder))}: cannot be looked into ({error}); make it readable"
        ) from error
    for file in inside:
        ending = next((ending for ending in endings if file.name.lower().endswith(ending)), None)
        if ending and not file.name.startswith(".") and os.path.isfile(file):
            found.setdefault(file.name[: -len(ending)], []).append(file)
    return found


def decode(
    read: Callable[[Source], Array], sources: Mapping[str, Source], problems: list[str]
) -> dict[str, Array]:
    """Return what `read` makes of each source, by name; its InvalidData go to `problems`."""
    arrays = {}
    with warnings.catch_warnings(), ThreadPoolExecutor(THREADS) as pool:
        # Pillow refuses decompression bombs from twice its limit on, and only warns below that.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        futures = {name: pool.submit(read, source) for name, source in sources.items()}
        for name, future in futures.items():
            try:
                arrays[name] = future.result()
            except InvalidData as error:
                problems.append(str(error))
    return arrays


def read_image(path: Path) -> Array:
    """Return `(H W 1)` or `(H W 3)`: uint8, or float32 in 0..1 from 16 bits.

    Raises InvalidData, naming the file.
    """
    return _pages(_image, path, only=True)[0]


def read_mask(path: Path) -> Array:
    """Return `(H W)` whole numbers as they stand in the file; palette indices, not colours.

    Raises InvalidData, naming the file.
    """
    return _pages(_mask, path, only=True)[0]


def read_image_pages(path: Path) -> list[Array]:
    """Return every page of a file, each as `read_image` reads the only one."""
    return _pages(_image, path)


def read_mask_pages(path: Path) -> list[Array]:
    """Return every page of a file, each as `read_mask` reads the only one."""
    return _pages(_mask, path)


def alike(images: Mapping[str, Array]) -> dict[str, Array]:
    """Return pictures of one kind: grey repeated where others are RGB, and of one depth."""
    channels = max((image.shape[-1] for image in images.values()), default=1)
    wide = []
    for image in of_one_depth(list(images.values())):
        is_grey = image.shape[-1] == 1 < channels
        wide.append(np.repeat(image, channels, axis=-1) if is_grey else image)
    return dict(zip(images, wide, strict=True))


def of_one_depth(images: list[Array]) -> list[Array]:
    """Return the pictures, those of 8 bits brought to 0..1 where others are float32."""
    if not any(image.dtype == np.float32 for image in images):
        return images
    return [
        image.astype(np.float32) / np.float32(255) if image.dtype == np.uint8 else image
        for image in images
    ]


def _pages(convert: Callable[[Image.Image], Array], path: Path, only: bool = False) -> list[Array]:
    where = f"{path.parent.name}/{path.name}"
    try:
        limits.require_file(path)
        with Image.open(path, formats=FORMATS) as file:
            pages: list[Array] = []
            held = 0
            while _turned(file, len(pages)):
                if only and pages:
                    raise InvalidData("several pages; save each page as a file of its own")
                # Bytes, as Pillow has RGBA and 32 bits on the way.
                held += 4 * file.width * file.height
                if problem := _too_large(file, len(pages), held):
                    raise InvalidData(problem)
                pages.append(convert(file))
            return pages
    except InvalidData as error:
        raise InvalidData(f"{where}: {error}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InvalidData(f"{where}: {TOO_MANY.format(Image.MAX_IMAGE_PIXELS)}") from None
    except Exception as error:  # a damaged file can make Pillow raise anything
        raise InvalidData(
            f"{where}: cannot be read ({error}); save it anew or remove it"
        ) from error


def _turned(file: Image.Image, number: int) -> bool:
    """Return whether a file has a page of that number, and turn it to that page."""
    # A phone's JPEG may carry a second picture besides the one everybody sees.
    if number and file.format == "MPO":
        return False
    try:
        file.seek(number)
    except EOFError:
        return False
    return True


def _too_large(file: Image.Image, page: int, held: int) -> str:
    """Return what is wrong with the size of a file of which so many bytes are held, or nothing."""
    if page >= limits.MOST_PAGES:
        return f"more than {limits.MOST_PAGES} pages; cut it into smaller ones"
    # Pillow sees to the first page alone.
    if Image.MAX_IMAGE_PIXELS and file.width * file.height > Image.MAX_IMAGE_PIXELS:
        return TOO_MANY.format(Image.MAX_IMAGE_PIXELS)
    return limits.too_large(held)


def _image(file: Image.Image) -> Array:
    """Return `(H W 1)` or `(H W 3)`: uint8, or float32 in 0..1 from 16 bits."""
    if file.mode.startswith("I;16"):
        return (np.array(file, np.float32) / np.float32(65535))[..., None]
    if file.mode in ("I", "F"):
        raise InvalidData("holds 32 bits a pixel; save it with 8 or 16")
    if file.mode in ("1", "L", "LA", "La"):
        return np.array(file.convert("L"))[..., None]
    if file.mode in ("P", "PA"):  # whose own transparency Pillow does not like to drop at once
        return np.array(file.convert("RGBA").convert("RGB"))
    return np.array(file.convert("RGB"))


def _mask(file: Image.Image) -> Array:
    """Return `(H W)` whole numbers as they stand in the file; palette indices, not colours."""
    if file.format in ("JPEG", "MPO"):
        raise InvalidData(
            "JPEG blurs class ids; save masks as PNG, blurred ones once rounded to whole ids"
        )
    if file.mode == "F":
        raise InvalidData("holds fractions; save class ids 0, 1, 2, … as 8-bit PNG")
    if file.mode in ("L", "P") or file.mode.startswith("I"):
        return np.array(file)
    rgb = np.array(file.convert("RGB"))
    if (rgb != rgb[..., :1]).any():
        raise InvalidData(
            "holds colours; replace each colour by its class id 0, 1, 2, … and save as 8-bit PNG"
        )
    return rgb[..., 0].copy()
