"""TIFF files with more than 8 bits of colour, many bands, or many pages, by way of tifffile.

Pillow reads TIFF of 8 bits right, with palettes, CMYK and every compression. Of 16-bit colour it
drops half the bits, of more than three bands one or all: those are read here.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Final

import numpy as np

from unet_bench import limits
from unet_bench.data import arrays
from unet_bench.data.dataset import Array
from unet_bench.data.mask import Mask, packed
from unet_bench.errors import InvalidData

ENDINGS: Final = (".tif", ".tiff")
STARTS: Final = (b"II*\0", b"MM\0*", b"II+\0", b"MM\0+")
ALPHA: Final = (1, 2)
"""ExtraSamples that are alpha (TIFF 6.0, section 18); 0 is unspecified, a band like the others."""
WHITE_IS_ZERO, BLACK_IS_ZERO, RGB, CMYK, YCBCR = 0, 1, 2, 5, 6
"""Photometric interpretations (TIFF 6.0, section 8)."""
SUBFILE_TYPE, BITS, COMPRESSION, SAMPLE_FORMAT = 254, 258, 259, 339
"""Tags of a page."""
JPEG: Final = 7
OURS: Final = (1, 8, 32773, 32946, 34925)
"""Compressions that Python unpacks: none, deflate, PackBits, LZMA."""
LOSSLESS: Final = (1, 2, 3, 4, 5, 8, 32771, 32773, 32946, 34925, 50000)
"""Compressions that keep what is stored: none, CCITT, LZW, deflate, PackBits, LZMA, Zstandard."""
UNSIGNED, SIGNED, FLOAT = 1, 2, 3
"""SampleFormats: whole numbers, signed ones, and fractions (TIFF 6.0, section 19)."""
AT_ONCE: Final = 2**24
"""Packed bytes of a large page that are read before they are unpacked."""
REDUCED_OR_MASK: Final = 1 | 4
"""Bits of NewSubfileType: a smaller version of another page, or its transparency."""
Require = Callable[[int, int, int], None]
"""Raises InvalidData for a page of so many pixels, of that number, when so many bytes are held."""


@dataclass(frozen=True, eq=False)
class Page:
    """One page, as viewers show it: values `(H W)` or `(H W C)`, and what was said of them."""

    values: Array
    has_alpha: bool = False
    """Whether the last band is alpha."""
    is_lossy: bool = False
    is_turned: bool = False
    """Whether its orientation tag turned it."""


def is_tiff(path: Path) -> bool:
    """Return whether a file begins as a TIFF does."""
    with path.open("rb") as file:
        return file.read(4) in STARTS


def slices(path: Path) -> int:
    """Return how many slices of a volume a TIFF file holds; 1 for a picture, also of many bands."""
    try:
        from tifffile import TiffFile

        with TiffFile(path) as file:
            pages = _pages(file)
            return 1 if _are_bands(file, pages) else len(pages)
    except Exception:  # what is wrong with the file is told where it is read
        return 1


def read(path: Path, require: Require) -> list[Page]:
    """Return the pages of a file that Pillow would misread; none of those that it reads right.

    Raises anything.
    """
    from tifffile import TiffFile

    with TiffFile(path) as file:
        pages = _pages(file)
        _require_one_axis_of_pages(file, pages)
        bands = _are_bands(file, pages)
        is_large = any(_pixels(page) > limits.MOST_PIXELS for page in pages)
        by_pillow = not bands and all(_reads_right(page) for page in pages)
        if by_pillow and not (is_large and all(_decodes(page) for page in pages)):
            return []
        held = 0
        for number, page in enumerate(pages):
            pixels = _pixels(page)
            held += pixels * page.samplesperpixel * max(1, page.bitspersample // 8)
            require(pixels, number, held)
        read_pages = [_page(page) for page in pages]
    if not bands:
        return read_pages
    values = [page.values for page in read_pages]
    if len({value.shape for value in values}) > 1 or values[0].ndim != 2:
        raise InvalidData("has bands of several sizes; save them with one")
    return [Page(np.stack(values, axis=-1))]


def write_slices(path: Path, labels: Array) -> None:
    """Write labels `(D H W)`, uint8, a page a slice. Raises OSError."""
    import tifffile

    tifffile.imwrite(
        path, labels, photometric="minisblack", compression="zlib", metadata={"axes": "ZYX"}
    )


def write_bands(path: Path, values: Array) -> None:
    """Write numbers `(H W C)` as bands, or `(D H W C)` with a page a slice. Raises OSError."""
    import tifffile

    tifffile.imwrite(
        path,
        np.ascontiguousarray(np.moveaxis(values, -1, -3)),
        photometric="minisblack",
        planarconfig="separate",
        extrasamples=["unspecified"] * (values.shape[-1] - 1),
        compression="zlib",
        metadata=None,
    )


def _pages(file: Any) -> list[Any]:
    """Return the full pages of a file: no thumbnails, smaller versions or transparency masks.

    Raises InvalidData for a stack of which the file lists no more than the first slice, as ImageJ
    does beyond 4 GiB.
    """
    first, *others = (page.aspage() for page in file.pages)
    if not others and (file.is_imagej or file.is_shaped) and file.series[0].size > first.size:
        raise InvalidData("is a stack that lists its first slice alone; save each as a page")
    return [first, *(page for page in others if not page.subfiletype & REDUCED_OR_MASK)]


def _require_one_axis_of_pages(file: Any, pages: list[Any]) -> None:
    """Raise InvalidData where pages are slices and bands at once, or times, as files can state."""
    axes = file.series[0].axes if len(file.series) == 1 else ""
    leading = axes.rstrip("S").removesuffix("YX")
    if len(pages) > 1 and len(leading) > 1 and set(leading) <= set("ZCT"):
        raise InvalidData(
            f"has axes {axes}, and its pages can be either slices or bands; save a file of "
            f"{'slices' if 'Z' in leading else 'bands'} for each of the other"
        )


def _are_bands(file: Any, pages: list[Any]) -> bool:
    """Return whether the pages are bands of one picture, as ImageJ and OME say of an axis C."""
    axes = file.series[0].axes if len(file.series) == 1 else ""
    return len(pages) > 1 and axes in ("CYX", "SYX")


def _reads_right(page: Any) -> bool:
    """Return whether Pillow keeps every bit and band of a page, and its rows in order.

    Pillow 13 reads a page that a tag turns by 90° with its width and height exchanged.
    """
    if _orientation(page) != 1:
        return False
    alphas = sum(extra in ALPHA for extra in page.extrasamples)
    bands, bits, kind = int(page.samplesperpixel) - alphas, page.bitspersample, page.photometric
    if bits <= 8:
        return bands in (1, 3) or bool(kind == CMYK)
    is_known = bits == 32 or (bits == 16 and page.sampleformat != FLOAT)
    # Two numbers in three bytes: Pillow knows them where other numbers have the low byte first.
    is_known |= bits == 12 and page.parent.byteorder == "<" and page.sampleformat == UNSIGNED
    return bands == 1 and bool(is_known and kind != WHITE_IS_ZERO)


def _pixels(page: Any) -> int:
    return int(page.imagewidth * page.imagelength)


def _decodes(page: Any) -> bool:
    """Return whether tifffile reads a page, that Pillow reads too, as Pillow does."""
    is_plain = page.photometric in (BLACK_IS_ZERO, RGB) and page.bitspersample in (8, 16, 32)
    is_jpeg = (page.compression, page.photometric) == (JPEG, YCBCR)
    has_codecs = find_spec("imagecodecs") is not None
    return (is_plain and (has_codecs or page.compression in OURS)) or (is_jpeg and has_codecs)


def _values(page: Any) -> Array:
    """Return the numbers of a page. Those of a large one stay in a file.

    Where they are stored in one piece it is the page's own, else a temporary one, into which they
    are unpacked tile by tile: it is nobody's but this process's, and gone with it.
    """
    is_mapped = page.is_memmappable and page.nbytes >= limits.MAPPED
    if not is_mapped and _pixels(page) <= limits.MOST_PIXELS:
        return page.asarray()  # type: ignore[no-any-return]
    free = shutil.disk_usage(tempfile.gettempdir()).free
    if not is_mapped and page.nbytes > free:
        raise InvalidData(
            f"unpacks to {page.nbytes / 2**30:,.1f} GiB, and {tempfile.gettempdir()} has "
            f"{free / 2**30:,.1f} GiB free; free space there, or set TMPDIR"
        )
    return page.asarray(out="memmap", buffersize=AT_ONCE)  # type: ignore[no-any-return]


def _page(page: Any) -> Page:
    try:
        values = _values(page)
    except (ValueError, NotImplementedError) as error:
        if "imagecodecs" not in str(error):
            raise
        raise InvalidData(
            f"holds {page.samplesperpixel} band(s) of {page.bitspersample} bits, "
            f"{_compressed(page)}: pip install imagecodecs, or save it with 8, 16 or 32 bits and "
            "deflate (ZIP)"
        ) from error
    if page.axes == "SYX":
        values = np.moveaxis(values, 0, -1)
    if page.axes not in ("YX", "YXS", "SYX"):
        raise InvalidData(f"has axes {page.axes}; save height, width and bands")
    values = oriented(values, _orientation(page))
    if page.photometric == WHITE_IS_ZERO:
        values = ~values if values.dtype.kind in "bu" else values
    elif page.photometric not in (BLACK_IS_ZERO, RGB) and page.compression != JPEG:
        raise InvalidData(
            f"is turned by a tag, and stores {page.photometric.name}; save it upright, as RGB"
        )
    extras = page.extrasamples
    return Page(
        values,
        has_alpha=bool(extras) and extras[-1] in ALPHA,
        is_lossy=int(page.compression) not in LOSSLESS,
        is_turned=_orientation(page) in range(2, 9),
    )


def _compressed(page: Any) -> str:
    return "uncompressed" if page.compression == 1 else f"compressed by {page.compression.name}"


def _orientation(page: Any) -> int:
    tag = page.tags.get(274)
    return int(tag.value) if tag is not None else 1


def oriented(values: Array, orientation: int) -> Array:
    """Return `(H W …)` as a viewer shows it (TIFF 6.0, section 8, Orientation)."""
    if orientation not in range(2, 9):
        return values
    if orientation in (5, 6, 7, 8):
        values = np.swapaxes(values, 0, 1)
    if orientation in (3, 4, 7, 8):
        values = values[::-1]
    if orientation in (2, 3, 6, 7):
        values = values[:, ::-1]
    return np.ascontiguousarray(values)


def image(page: Page, where: str) -> Array:
    """Return `(H W C)` of a page, of a known type; alpha is checked and dropped.

    Raises InvalidData.
    """
    values = page.values if page.values.ndim == 3 else page.values[..., None]
    return arrays.of_known_type(_opaque(values) if page.has_alpha else values)


def mask(page: Page, where: str) -> Mask:
    """Return the mask of a page. Raises InvalidData."""
    values = page.values
    if values.ndim == 3:
        values = _opaque(values) if page.has_alpha else values
        if not (values == values[..., :1]).all():
            if values.shape[-1] != 3 or values.dtype != np.uint8:
                raise InvalidData(
                    f"holds {values.shape[-1]} bands of {values.dtype}; "
                    "save class ids 0, 1, 2, … in one"
                )
            return Mask(packed(values), where, is_colour=True, is_lossy=page.is_lossy)
        values = values[..., 0]
    if values.ndim != 2:
        raise InvalidData(f"has shape {values.shape}; save one class id a pixel: height, width")
    return Mask(arrays.whole(values), where, is_lossy=page.is_lossy)


def _opaque(values: Array) -> Array:
    alpha = values[..., -1]
    largest = np.iinfo(alpha.dtype).max if alpha.dtype.kind in "iu" else 1
    if alpha.min() != largest:
        raise InvalidData("has transparent pixels; flatten it")
    return values[..., :-1]
