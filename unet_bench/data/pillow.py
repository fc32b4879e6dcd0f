"""Pictures by way of Pillow, of every format in which people keep images.

Pillow opens more than forty formats. Read are those that hold one picture a file, in pixels, as
they were stored: a format that is neither here nor among those that a test names, with the reason
why it is not read, fails that test. Others can run programs (EPS), hold layers (PSD) or the same
picture at several sizes (ICO), or are textures of games.
"""

from __future__ import annotations

import functools
import itertools
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image, ImageOps, UnidentifiedImageError

from unet_bench.data import arrays, tiff
from unet_bench.data.dataset import Array
from unet_bench.data.mask import Mask, packed
from unet_bench.errors import InvalidData

LOSSLESS: Final = ("PNG", "TIFF", "BMP", "GIF", "PPM", "TGA", "PCX", "QOI", "SGI", "SUN", "DIB")
LOSSY: Final = ("JPEG", "JPEG2000", "WEBP", "AVIF")
"""Formats that may change what is stored: no masks, but WebP where the file says that it did not.
"""
ENDINGS: Final = (
    *(".png", ".apng", ".jpg", ".jpeg", ".jpe", ".jfif", ".ome.tif", ".ome.tiff", ".tif", ".tiff"),
    *(".jp2", ".j2k", ".j2c", ".jpc", ".jpf", ".jpx", ".webp", ".avif", ".avifs", ".gif"),
    *(".bmp", ".dib", ".ppm", ".pgm", ".pbm", ".pnm", ".pfm", ".tga", ".icb", ".vda", ".vst"),
    *(".pcx", ".qoi", ".sgi", ".rgb", ".rgba", ".bw", ".ras"),
)
EXIF_ORIENTATION: Final = 274
DEEP: Final = (";16B", ";16L", "SGI16")
"""Within a codec's arguments: numbers of 16 bits, of which Pillow keeps the upper 8 in colours."""
KEPT: Final = ("I", "F")
"""What modes begin with that keep all bits."""
STREAM: Final = b"\xff\x4f\xff\x51"
"""How a JPEG 2000 codestream begins: the markers SOC and SIZ (ISO/IEC 15444-1, A.5.1)."""
LOOKED_INTO: Final = 2**20
"""Bytes at the beginning of a file in which something is searched that formats put there."""
STRIP: Final = 2**24
"""Bytes that are copied from Pillow at once: it makes two copies on the way."""
SAVED_DEEP: Final = "save it as PNG or TIFF, uncompressed or by deflate"
TRANSPARENT: Final = (
    "has transparent pixels, which viewers show in different ways; flatten it, "
    "so that it looks right without transparency"
)


@dataclass(frozen=True, eq=False)
class Page:
    """A page of a picture that Pillow opened and turned as viewers show it."""

    picture: Image.Image
    raw: tuple[Any, ...]
    """The codec, and how it unpacks numbers."""
    is_turned: bool
    path: Path
    deep: Array | None = None
    """All bits `(H W C)` of 16-bit colours, which `picture` has without the lower half."""


def pages(path: Path, require: tiff.Require) -> Iterator[Page]:
    """Yield the pages of a file; each is to be used before the next is asked for.

    Raises anything.
    """
    try:
        opened = Image.open(path, formats=_known())
    except UnidentifiedImageError as error:
        raise InvalidData(_why_not(path)) from error
    with opened as file:
        held = 0
        for number in itertools.count():
            if not _turned_to(file, number):
                break
            if number and _tiff_tag(file, tiff.SUBFILE_TYPE, 0) & tiff.REDUCED_OR_MASK:
                continue
            # Bytes, as Pillow has RGBA and 32 bits on the way. Pillow sees to the first page alone.
            held += 4 * file.width * file.height
            require(file.width * file.height, number, held)
            raw = _raw(file)
            _require_all_bits(file, raw, path)
            # Pillow turns TIFF as its tag says when it loads, and changes the size only then.
            file.load()
            is_turned = file.getexif().get(EXIF_ORIENTATION, 1) in range(2, 9)
            deep = _deep_png(path, raw) if _drops_bits(file, raw) else None
            if is_turned:
                ImageOps.exif_transpose(file, in_place=True)
            yield Page(file, raw, is_turned, path, deep)


@functools.cache
def _known() -> list[str]:
    """Return the formats that this Pillow was built with; Pillow does not know a stranger."""
    Image.init()
    return [name for name in (*LOSSLESS, *LOSSY) if name in Image.OPEN]


def _why_not(path: Path) -> str:
    """Return why Pillow does not know what a file is, and what to do about it."""
    with path.open("rb") as content:
        start = content.read(LOOKED_INTO)
    if start[128:132] == b"DICM":
        return (
            "is DICOM, which is read for training alone, from a folder as the reader dicom wants "
            "it; convert it: a series to NIfTI (dcm2niix), a picture to PNG"
        )
    bits = _jpeg_bits(start)
    if bits > 8:
        return f"is a JPEG of {bits} bits a band, which Pillow cannot read; {SAVED_DEEP}"
    formats = ", ".join((*LOSSLESS, *LOSSY))
    return f"cannot be read (it is damaged, or none of {formats}); save it anew or remove it"


def _jpeg_bits(start: bytes) -> int:
    """Return the bits a band that a JPEG's frame states (ITU T.81, B.2.2); 0 for no JPEG."""
    if not start.startswith(b"\xff\xd8"):
        return 0
    at = 2
    while at + 4 < len(start) and start[at] == 0xFF:
        marker = start[at + 1]
        if 0xC0 <= marker <= 0xCF and marker not in (0xC4, 0xC8, 0xCC):
            return start[at + 4]
        at += 2 + int.from_bytes(start[at + 2 : at + 4], "big")
    return 0


def _turned_to(file: Image.Image, number: int) -> bool:
    """Return whether a file has a page of that number, and turn to it."""
    # A phone's JPEG may carry a second picture besides the one everybody sees.
    if number and file.format == "MPO":
        return False
    try:
        file.seek(number)
    except EOFError:
        return False
    return True


def _raw(file: Image.Image) -> tuple[Any, ...]:
    """Return the codec of a page that is not yet loaded, and how it unpacks numbers."""
    tiles: Any = getattr(file, "tile", None)
    if not tiles:
        return ()
    codec, _, _, arguments = tiles[0]
    return (codec, *(arguments if isinstance(arguments, tuple) else (arguments,)))


def _drops_bits(file: Image.Image, raw: tuple[Any, ...]) -> bool:
    """Return whether Pillow drops the lower byte of each number of a picture."""
    is_deep = any(deep in str(one) for one in raw for deep in DEEP)
    return is_deep and not file.mode.startswith(KEPT)


def _require_all_bits(file: Image.Image, raw: tuple[Any, ...], path: Path) -> None:
    """Raise InvalidData for a picture of whose bits Pillow would drop some, but for PNG."""
    bits = {8}
    if file.format == "PPM" and file.mode == "RGB" and isinstance(raw[-1], int):
        bits = {raw[-1].bit_length()}
    elif file.format == "JPEG2000":
        samples = _samples(path)
        bits = {bits for bits, _ in samples}
        if any(is_signed for _, is_signed in samples):
            raise InvalidData(f"holds signed numbers as JPEG 2000; {SAVED_DEEP}")
    elif file.format == "AVIF":
        bits = _avif_bits(path)
    elif file.format != "PNG" and _drops_bits(file, raw):
        bits = {16}
    most = 16 if file.mode.startswith(KEPT) else 8
    if max(bits, default=8) > most:
        raise InvalidData(
            f"holds {max(bits)} bits a band as {file.format}, of which Pillow reads {most}; "
            f"{SAVED_DEEP}"
        )


def _samples(path: Path) -> list[tuple[int, bool]]:
    """Return the bits of each band of a JPEG 2000, and whether it is signed (A.5.1)."""
    with path.open("rb") as content:
        start = content.read(LOOKED_INTO)
    at = start.find(STREAM) + len(STREAM)
    (bands,) = struct.unpack_from(">H", start, at + 36)
    stated = start[at + 38 : at + 38 + 3 * bands : 3]
    return [((one & 0x7F) + 1, bool(one & 0x80)) for one in stated]


def _avif_bits(path: Path) -> set[int]:
    """Return the bits of each band that an AVIF states (`pixi`, ISO/IEC 23008-12, 6.5.6)."""
    with path.open("rb") as content:
        start = content.read(LOOKED_INTO)
    at = start.find(b"pixi") + 8
    return set(start[at + 1 : at + 1 + start[at]]) if at > 7 and at < len(start) else set()


def image(page: Page, where: str) -> Array:
    """Return `(H W 1)` or `(H W 3)` of a page."""
    file = page.picture
    if page.deep is not None:
        return _opaque(page.deep, file)
    if file.mode.startswith(KEPT):
        return _opaque(arrays.of_known_type(_signed(page))[..., None], file)
    _require_opaque(file)
    if file.mode == "L":
        return arrays.of_known_type(_signed(page))[..., None]
    if file.mode in ("1", "LA", "La"):
        return _pixels(file, "L")[..., None]
    if file.mode in ("LAB", "HSV"):
        raise InvalidData(f"stores {file.mode} colours; save it as RGB")
    if file.mode in ("P", "PA"):  # whose own transparency Pillow does not like to drop at once
        return _pixels(file.convert("RGBA"), "RGB")
    return _pixels(file, "RGB")


def _pixels(file: Image.Image, mode: str = "") -> Array:
    """Return a picture in a mode, strip by strip: there is no second copy of a large one."""
    width, height = file.size
    rows = max(1, STRIP // max(1, 4 * width))
    if rows >= height:
        return np.array(file.convert(mode) if mode and mode != file.mode else file)
    whole: Array | None = None
    for top in range(0, height, rows):
        strip = file.crop((0, top, width, min(height, top + rows)))
        part = np.asarray(strip.convert(mode) if mode and mode != file.mode else strip)
        if whole is None:
            whole = np.empty((height, *part.shape[1:]), part.dtype)
        whole[top : top + rows] = part
    assert whole is not None
    return whole


def mask(page: Page, where: str) -> Mask:
    """Return what stands in the page of a mask, `(H W)`."""
    file, is_lossy = page.picture, _is_lossy(page)
    if file.mode == "F":
        return Mask(arrays.whole(_pixels(file)), where, is_lossy=is_lossy)
    if file.mode == "P":
        return Mask(_pixels(file), where, _palette(file), is_lossy=is_lossy)
    if page.deep is None and (file.mode == "L" or file.mode.startswith(KEPT)):
        return Mask(_unspread(page), where, is_lossy=is_lossy)
    if page.deep is None:
        _require_opaque(file)
    rgb = _pixels(file, "RGB") if page.deep is None else _opaque(page.deep, file)
    if (rgb == rgb[..., :1]).all():
        return Mask(rgb[..., 0].copy(), where, is_lossy=is_lossy)
    if rgb.dtype != np.uint8:
        raise InvalidData("holds colours of 16 bits; save them with 8, or class ids")
    return Mask(packed(rgb), where, is_colour=True, is_lossy=is_lossy)


def _require_opaque(file: Image.Image) -> None:
    if file.has_transparency_data:
        lowest, _ = file.convert("RGBA").getchannel("A").getextrema()
        if lowest != 255:
            raise InvalidData(TRANSPARENT)


def _opaque(pixels: Array, file: Image.Image) -> Array:
    """Return numbers of 16 bits without their alpha, which hides nothing. Raises InvalidData."""
    hidden = file.info.get("transparency")
    if hidden is not None and (pixels == hidden).all(-1).any():
        raise InvalidData(TRANSPARENT)
    if pixels.shape[-1] in (2, 4):
        if pixels[..., -1].min() != np.iinfo(pixels.dtype).max:
            raise InvalidData(TRANSPARENT)
        pixels = pixels[..., :-1]
    return pixels


def _palette(file: Image.Image) -> Array:
    """Return the colour of each of 256 palette indices."""
    held = file.getpalette("RGB") or []
    return packed(np.array(held + [0] * (768 - len(held)), np.uint8).reshape(256, 3))


def _deep_png(path: Path, raw: tuple[Any, ...]) -> Array:
    """Return a PNG of 16 bits with several channels, `(H W C)` uint16, turned as viewers show it.

    Pillow keeps one byte of each number: the upper one, or, asked for the other order of bytes, the
    lower one. Of grey with alpha it takes the four bytes of a pixel for its four channels.
    """
    channels = raw[1].split(";")[0]
    if channels == "LA":
        four = _unpacked(path, "RGBA")
        upper, lower = four[..., 0::2], four[..., 1::2]
    else:
        upper, lower = (_unpacked(path, channels + order) for order in (";16B", ";16L"))
    deep: Array = upper.astype(np.uint16)
    deep <<= 8
    deep |= lower
    return deep


def _unpacked(path: Path, raw: str) -> Array:
    """Return a PNG whose bytes are unpacked in another way than Pillow chose."""
    with Image.open(path, formats=["PNG"]) as file:
        tiles: Any = file.tile
        tiles[0] = (*tiles[0][:3], raw)
        file.load()
        ImageOps.exif_transpose(file, in_place=True)
        return _pixels(file)


def _tiff_tag(file: Image.Image, tag: int, otherwise: int) -> int:
    """Return a number from a page of a TIFF; `otherwise` where it is absent, or this is no TIFF."""
    value = getattr(file, "tag_v2", {}).get(tag, otherwise)
    return int(value[0] if isinstance(value, tuple) else value)


def _signed(page: Page) -> Array:
    """Return the numbers `(H W)` of a picture of one band, as the file states them.

    Pillow takes 8 bits in a TIFF for unsigned and 32 bits for signed numbers, and a PGM's 16 bits
    for signed ones of 32; those of 9 to 15 bits in a JPEG 2000 it spreads over 16.
    """
    file = page.picture
    values = _pixels(file)
    is_signed = _tiff_tag(file, tiff.SAMPLE_FORMAT, 1) == tiff.SIGNED
    if file.format == "PPM" and file.mode == "I":
        return values.astype(np.uint16)
    if file.format == "TIFF" and (file.mode, is_signed) in (("L", True), ("I", False)):
        return values.view(np.int8 if is_signed else np.uint32)
    if file.format == "JPEG2000" and file.mode == "I;16":
        ((bits, _),) = _samples(page.path)
        return values >> (16 - bits)
    return values


def _unspread(page: Page) -> Array:
    """Return class ids as the file has them.

    Pillow spreads values of 2 or 4 bits, and those of a PGM with another maximum, over all of 8 or
    16 bits, which is right for an image, and not for ids.
    """
    file, values = page.picture, _signed(page)
    highest = 0
    if file.format == "TIFF":
        bits = _tiff_tag(file, tiff.BITS, 8)
        highest = 2**bits - 1 if bits in (2, 4) else 0
    elif file.format == "PNG" and str(page.raw[-1]) in ("L;2", "L;4"):
        highest = 2 ** int(page.raw[-1][-1]) - 1
    elif file.format == "PPM" and isinstance(page.raw[-1], int):
        highest = page.raw[-1]
    spread_to = np.iinfo(values.dtype).max
    if not highest or highest == spread_to:
        return values
    return np.round(values * (highest / spread_to)).astype(values.dtype)


def _is_lossy(page: Page) -> bool:
    """Return whether a page's format may have changed what was stored in it."""
    file = page.picture
    if file.format == "WEBP":
        with page.path.open("rb") as content:
            return b"VP8L" not in content.read(LOOKED_INTO)
    if file.format == "TIFF":
        return _tiff_tag(file, tiff.COMPRESSION, 1) not in tiff.LOSSLESS
    return file.format not in LOSSLESS
