"""Values from picture files, whatever their bits, bands, modes and palettes; files that cannot be
used are named, all at once.

Every reader of a format comes by its pixels here, so that RGBA, 16 bits or a palette mean the same
in all of them, in training, in `data check` and in `predict`. Nothing is scaled here: see `scale`.
"""

from __future__ import annotations

import contextlib
import contextvars
import math
import os
import re
import unicodedata
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Final, TypeVar

from PIL import Image

from unet_bench import limits
from unet_bench.data import arrays, nifti, pillow, tiff
from unet_bench.data.dataset import Array
from unet_bench.data.findings import Findings
from unet_bench.data.mask import Mask
from unet_bench.errors import InvalidData
from unet_bench.limits import one_line

ENDINGS: Final = (*pillow.ENDINGS, *arrays.ENDINGS)
READ: Final = (*ENDINGS, *nifti.ENDINGS)
"""All endings that a folder's images and masks may have."""
THREADS: Final = 4
Source = TypeVar("Source")
Read = TypeVar("Read")


def files(folder: Path, endings: Collection[str] = ENDINGS) -> dict[str, list[Path]]:
    """Return the files of a folder with one of these endings, by stem.

    `._x.png`, `.DS_Store` and the like do not count. Raises InvalidData.
    """
    found: dict[str, list[Path]] = {}
    for file in children(folder):
        ending = ending_of(file.name, endings)
        if ending and not file.name.startswith(".") and os.path.isfile(file):
            found.setdefault(file.name[: -len(ending)], []).append(file)
    return found


def children(folder: Path) -> list[Path]:
    """Return what lies in a folder, sorted. Raises InvalidData."""
    try:
        return sorted(folder.iterdir())
    except OSError as error:
        raise InvalidData(
            f"{one_line(str(folder))}: cannot be looked into ({error}); make it readable"
        ) from error


def ending_of(name: str, endings: Collection[str]) -> str:
    """Return which of the endings a file's name has, in any case of letters; empty for none."""
    return next((ending for ending in endings if name.lower().endswith(ending)), "")


def folded(name: str) -> str:
    """Return a name in Unicode's composed form: file systems differ in what they store."""
    return unicodedata.normalize("NFC", name)


def decode(
    read: Callable[[Source], Read], sources: Mapping[str, Source], found: Findings
) -> dict[str, Read]:
    """Return what `read` makes of each source, by name; its InvalidData become problems.

    Where large pictures are allowed, one is read after the other: each may take much memory.
    """
    results = {}
    threads = 1 if limits.most_pixels() > limits.MOST_PIXELS else THREADS
    with _pixels_allowed(), ThreadPoolExecutor(threads) as pool:
        futures = {
            name: pool.submit(contextvars.copy_context().run, read, source)
            for name, source in sources.items()
        }
        for name, future in futures.items():
            try:
                results[name] = future.result()
            except InvalidData as error:
                found.problems.append(str(error))
    return results


@contextlib.contextmanager
def _pixels_allowed() -> Iterator[None]:
    """Let Pillow open pictures as large as the user allows, and refuse all that are larger.

    Pillow refuses decompression bombs from twice its limit on, and only warns below that.
    """
    usual, allowed = Image.MAX_IMAGE_PIXELS, limits.most_pixels()
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", UserWarning)  # of damaged tags; damaged pixels are errors
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        Image.MAX_IMAGE_PIXELS = allowed
        try:
            yield
        finally:
            Image.MAX_IMAGE_PIXELS = usual


def read_image(path: Path) -> Array:
    """Return `(H W C)` as the file has it and viewers show it: uint8, uint16 or float32.

    Raises InvalidData, naming the file.
    """
    return read_upright(path)[0]


def read_upright(path: Path) -> tuple[Array, bool]:
    """Return what `read_image` does, and whether the file's orientation tag turned it."""
    return _only(_pages(pillow.image, tiff.image, path), path)


def read_mask(path: Path) -> Mask:
    """Return what stands in a mask's file, `(H W)`. Raises InvalidData, naming the file."""
    mask, is_turned = _only(_pages(pillow.mask, tiff.mask, path), path)
    return replace(mask, is_turned=is_turned)


def read_image_pages(path: Path) -> list[Array]:
    """Return every page of a file, each as `read_image` reads the only one."""
    return [image for image, _ in _pages(pillow.image, tiff.image, path)]


def read_mask_pages(path: Path) -> list[Mask]:
    """Return every page of a file, each as `read_mask` reads the only one."""
    return [mask for mask, _ in _pages(pillow.mask, tiff.mask, path)]


def _only(pages: list[Read], path: Path) -> Read:
    if len(pages) > 1:
        raise InvalidData(
            f"{_where(path)}: several pages; save each page as a file of its own, "
            "or bands as bands of one page"
        )
    return pages[0]


def _where(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _pages(
    by_pillow: Callable[[pillow.Page, str], Read],
    by_tifffile: Callable[[tiff.Page, str], Read],
    path: Path,
) -> list[tuple[Read, bool]]:
    """Return each page of a file, and whether its orientation tag turned it."""
    where = _where(path)
    try:
        limits.require_file(path)
        if ending_of(path.name, arrays.ENDINGS):
            page = tiff.Page(arrays.bands_last(arrays.read(path)))
            return [(by_tifffile(page, where), False)]
        if tiff.is_tiff(path) and (pages := tiff.read(path, _require_size)):
            return [(by_tifffile(page, where), page.is_turned) for page in pages]
        return [
            (by_pillow(page, where), page.is_turned) for page in pillow.pages(path, _require_size)
        ]
    except InvalidData as error:
        raise InvalidData(f"{where}: {error}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
        pixels = int(re.findall("[0-9]+", str(error))[0])
        raise InvalidData(f"{where}: {_too_many(pixels)}") from None
    except Exception as error:  # a damaged file can make Pillow raise anything
        raise InvalidData(
            f"{where}: cannot be read ({error}); save it anew or remove it"
        ) from error


def _too_many(pixels: int) -> str:
    """Return what is wrong with a page of so many pixels, and what to do about it."""
    return (
        f"has {pixels:,} pixels, more than {limits.most_pixels():,}, and a small file can unpack "
        "to any size; cut it into smaller ones, or, if you trust it, allow more by "
        f"--max-megapixels {math.ceil(pixels / 1e6)}"
    )


def _require_size(pixels: int, page: int, held: int) -> None:
    """Raise InvalidData for a page of so many pixels, by which so many bytes are held."""
    if page >= limits.MOST_PAGES:
        raise InvalidData(f"more than {limits.MOST_PAGES} pages; cut it into smaller ones")
    if pixels > limits.most_pixels():
        raise InvalidData(_too_many(pixels))
    if problem := limits.too_large(held):
        raise InvalidData(problem)
