"""Values from picture files, whatever their bits, bands, modes and palettes; files that cannot be
used are named, all at once.

Every reader of a format comes by its pixels here, so that RGBA, 16 bits or a palette mean the same
in all of them, in training, in `data check` and in `predict`. Nothing is scaled here: see `scale`.
"""

from __future__ import annotations

import contextlib
import contextvars
import itertools
import os
import unicodedata
import warnings
from collections.abc import Callable, Collection, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Final, TypeVar

import numpy as np
from PIL import Image, ImageOps

from unet_bench import limits
from unet_bench.data import arrays, nifti, tiff
from unet_bench.data.dataset import Array
from unet_bench.data.findings import Findings
from unet_bench.data.mask import Mask, packed
from unet_bench.errors import InvalidData
from unet_bench.limits import one_line

FORMATS: Final = ("PNG", "JPEG", "TIFF", "BMP", "GIF", "WEBP", "PPM", "TGA")
PICTURES: Final = (
    *(".png", ".jpg", ".jpeg", ".ome.tif", ".ome.tiff", ".tif", ".tiff", ".bmp", ".gif", ".webp"),
    *(".ppm", ".pgm", ".pbm", ".pnm", ".tga"),
)
ENDINGS: Final = (*PICTURES, *arrays.ENDINGS)
READ: Final = (*ENDINGS, *nifti.ENDINGS)
"""All endings that a folder's images and masks may have."""
EXIF_ORIENTATION: Final = 274
THREADS: Final = 4
TOO_MANY: Final = (
    "more than {:,} pixels a page; cut it into smaller ones, or allow more by --max-megapixels"
)
TRANSPARENT: Final = (
    "has transparent pixels, which viewers show in different ways; flatten it, "
    "so that it looks right without transparency"
)
PNG_START: Final = b"\x89PNG\r\n\x1a\n"

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
    """Return what `read` makes of each source, by name; its InvalidData become problems."""
    results = {}
    with _pixels_allowed(), ThreadPoolExecutor(THREADS) as pool:
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
    return _only(read_image_pages(path), path)


def read_mask(path: Path) -> Mask:
    """Return what stands in a mask's file, `(H W)`. Raises InvalidData, naming the file."""
    return _only(read_mask_pages(path), path)


def read_image_pages(path: Path) -> list[Array]:
    """Return every page of a file, each as `read_image` reads the only one."""
    return _pages(_image, tiff.image, path)


def read_mask_pages(path: Path) -> list[Mask]:
    """Return every page of a file, each as `read_mask` reads the only one."""
    return _pages(_mask, tiff.mask, path)


def _only(pages: list[Read], path: Path) -> Read:
    if len(pages) > 1:
        raise InvalidData(
            f"{_where(path)}: several pages; save each page as a file of its own, "
            "or bands as bands of one page"
        )
    return pages[0]


def orientation(path: Path) -> int:
    """Return the orientation tag of a picture, 1 to 8; 1 where there is none that means one."""
    try:
        with warnings.catch_warnings(), Image.open(path, formats=FORMATS) as file:
            warnings.simplefilter("ignore")  # of damaged tags
            tag = int(file.getexif().get(EXIF_ORIENTATION, 1))
    except Exception:  # what is wrong with the file is told where it is read
        return 1
    return tag if 1 <= tag <= 8 else 1


def _where(path: Path) -> str:
    return f"{path.parent.name}/{path.name}"


def _pages(
    by_pillow: Callable[[Image.Image, Path], Read],
    by_tifffile: Callable[[tiff.Page, str], Read],
    path: Path,
) -> list[Read]:
    where = _where(path)
    try:
        limits.require_file(path)
        if ending_of(path.name, arrays.ENDINGS):
            return [by_tifffile(tiff.Page(arrays.bands_last(arrays.read(path))), where)]
        if tiff.is_tiff(path) and (pages := tiff.read(path, _require_size)):
            return [by_tifffile(page, where) for page in pages]
        return _pillow_pages(by_pillow, path)
    except InvalidData as error:
        raise InvalidData(f"{where}: {error}") from None
    except (Image.DecompressionBombError, Image.DecompressionBombWarning):
        raise InvalidData(f"{where}: {TOO_MANY.format(limits.most_pixels())}") from None
    except Exception as error:  # a damaged file can make Pillow raise anything
        raise InvalidData(
            f"{where}: cannot be read ({error}); save it anew or remove it"
        ) from error


def _pillow_pages(convert: Callable[[Image.Image, Path], Read], path: Path) -> list[Read]:
    with Image.open(path, formats=FORMATS) as file:
        pages: list[Read] = []
        held = 0
        for number in itertools.count():
            if not _turned(file, number):
                break
            if number and _tiff_tag(file, tiff.SUBFILE_TYPE, 0) & tiff.REDUCED_OR_MASK:
                continue
            # Bytes, as Pillow has RGBA and 32 bits on the way. Pillow sees to the first page alone.
            held += 4 * file.width * file.height
            _require_size(file.width * file.height, number, held)
            # Pillow turns TIFF as its tag says when it loads, and changes the size only then.
            file.load()
            ImageOps.exif_transpose(file, in_place=True)
            pages.append(convert(file, path))
        return pages


def _require_size(pixels: int, page: int, held: int) -> None:
    """Raise InvalidData for a page of so many pixels, by which so many bytes are held."""
    if page >= limits.MOST_PAGES:
        raise InvalidData(f"more than {limits.MOST_PAGES} pages; cut it into smaller ones")
    if pixels > limits.most_pixels():
        raise InvalidData(TOO_MANY.format(limits.most_pixels()))
    if problem := limits.too_large(held):
        raise InvalidData(problem)


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


def _image(file: Image.Image, path: Path) -> Array:
    """Return `(H W 1)` or `(H W 3)` of a picture that Pillow opened."""
    if _drops_bits(file, path):
        return _deep_png(path)
    if file.mode.startswith("I") or file.mode == "F":
        return arrays.of_known_type(_signed(file))[..., None]
    _require_opaque(file)
    if file.mode == "L":
        return arrays.of_known_type(_signed(file))[..., None]
    if file.mode in ("1", "LA", "La"):
        return np.array(file.convert("L"))[..., None]
    if file.mode in ("LAB", "HSV"):
        raise InvalidData(f"stores {file.mode} colours; save it as RGB")
    if file.mode in ("P", "PA"):  # whose own transparency Pillow does not like to drop at once
        return np.array(file.convert("RGBA").convert("RGB"))
    return np.array(file.convert("RGB"))


def _mask(file: Image.Image, path: Path) -> Mask:
    """Return what stands in a mask that Pillow opened, `(H W)`."""
    where, is_lossy = _where(path), _is_lossy(file, path)
    if file.mode == "F":
        return Mask(arrays.whole(np.array(file)), where, is_lossy=is_lossy)
    if file.mode == "P":
        return Mask(np.array(file), where, _palette(file), is_lossy=is_lossy)
    if file.mode == "L" or file.mode.startswith("I"):
        return Mask(_unspread(file, path), where, is_lossy=is_lossy)
    _require_opaque(file)
    rgb = _deep_png(path) if _drops_bits(file, path) else np.array(file.convert("RGB"))
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


def _palette(file: Image.Image) -> Array:
    """Return the colour of each of 256 palette indices."""
    held = file.getpalette("RGB") or []
    return packed(np.array(held + [0] * (768 - len(held)), np.uint8).reshape(256, 3))


def _png_kind(path: Path) -> tuple[int, int]:
    """Return the bit depth and colour type in a PNG's header (PNG 1.2, section 4.1.1), or 0, 0."""
    with path.open("rb") as content:
        start = content.read(26)
    return (start[24], start[25]) if start.startswith(PNG_START) and len(start) == 26 else (0, 0)


def _drops_bits(file: Image.Image, path: Path) -> bool:
    """Return whether Pillow would drop the low byte of a picture: it has 16 bits of grey alone."""
    if file.format == "PPM" and file.mode == "RGB":
        with path.open("rb") as content:
            if content.read(2) in (b"P3", b"P6") and _ppm_maximum(path) > 255:
                raise InvalidData("holds 16-bit colours as PPM; save it as PNG or TIFF")
    depth, kind = _png_kind(path)
    return depth == 16 and kind != 0


def _ppm_maximum(path: Path) -> int:
    """Return the largest value that the header of a PGM or PPM states; 0 if it is not found."""
    with path.open("rb") as content:
        lines = (line.split(b"#")[0] for line in content.read(4096).splitlines())
    words = b" ".join(lines).split(maxsplit=4)
    return int(words[3]) if len(words) > 3 and words[3].isdigit() else 0


def _deep_png(path: Path) -> Array:
    """Return a PNG of 16 bits with several channels, `(H W C)` uint16, alpha checked and dropped.

    Pillow reads such with 8 bits.
    """
    import torch
    from torchvision.io import ImageReadMode, decode_png

    content = torch.frombuffer(bytearray(path.read_bytes()), dtype=torch.uint8)
    decoded = decode_png(content, mode=ImageReadMode.UNCHANGED, apply_exif_orientation=True)
    pixels = np.ascontiguousarray(np.moveaxis(decoded.numpy(), 0, -1))
    if pixels.shape[-1] in (2, 4):
        if pixels[..., -1].min() != np.iinfo(pixels.dtype).max:
            raise InvalidData(TRANSPARENT)
        pixels = pixels[..., :-1]
    return pixels


def _tiff_tag(file: Image.Image, tag: int, otherwise: int) -> int:
    """Return a number from a page of a TIFF; `otherwise` where it is absent, or this is no TIFF."""
    value = getattr(file, "tag_v2", {}).get(tag, otherwise)
    return int(value[0] if isinstance(value, tuple) else value)


def _signed(file: Image.Image) -> Array:
    """Return the numbers `(H W)` of a picture of one band, with the sign that the file states.

    Pillow takes 8 bits in a TIFF for unsigned and 32 bits for signed numbers, and a PGM's 16 bits
    for signed ones of 32.
    """
    values = np.array(file)
    is_signed = _tiff_tag(file, tiff.SAMPLE_FORMAT, 1) == tiff.SIGNED
    if file.format == "PPM" and file.mode == "I":
        return values.astype(np.uint16)
    if file.format == "TIFF" and (file.mode, is_signed) in (("L", True), ("I", False)):
        return values.view(np.int8 if is_signed else np.uint32)
    return values


def _unspread(file: Image.Image, path: Path) -> Array:
    """Return class ids as the file has them.

    Pillow spreads values of 2 or 4 bits, and those of a PGM with another maximum, over all of 8 or
    16 bits, which is right for an image, and not for ids.
    """
    values = _signed(file)
    depth, kind = _png_kind(path)
    bits = depth if kind == 0 else 8
    if file.format == "TIFF":
        bits = _tiff_tag(file, tiff.BITS, 8)
    highest = 2**bits - 1 if bits in (2, 4) else 0
    if file.format == "PPM":
        highest = _ppm_maximum(path)
    spread_to = np.iinfo(values.dtype).max
    if not highest or highest == spread_to:
        return values
    return np.round(values * (highest / spread_to)).astype(values.dtype)


def _is_lossy(file: Image.Image, path: Path) -> bool:
    if file.format == "WEBP":
        with path.open("rb") as content:
            return b"VP8L" not in content.read(2**16)
    return file.format in ("JPEG", "MPO") or file.info.get("compression") in ("jpeg", "tiff_jpeg")
