"""Pixels as viewers show them, of every depth, band count, mode and orientation."""

from __future__ import annotations

import itertools
import json
import shutil
import struct
import zlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile
from PIL import Image, ImageOps

from unet_bench import limits
from unet_bench.data import pillow
from unet_bench.data.dataset import Array, Dataset
from unet_bench.data.decode import decode, read_image, read_mask, read_upright
from unet_bench.data.findings import Findings
from unet_bench.data.folder import read_deep_image, read_folder
from unet_bench.data.mask import Mask
from unet_bench.data.tiff import oriented
from unet_bench.errors import InvalidData

SIZE = (6, 10)
RANDOM = np.random.default_rng(0)
DEEP = RANDOM.integers(0, 65536, (*SIZE, 3)).astype(np.uint16)


def png(pixels: Array, kind: int, depth: int) -> bytes:
    """Return a PNG of 16 bits with colour type `kind`, which Pillow cannot write."""
    height, width = pixels.shape[:2]
    rows = b"".join(b"\0" + row.astype(">u2").tobytes() for row in pixels)
    header = struct.pack(">IIBBBBB", width, height, depth, kind, 0, 0, 0)
    chunks = ((b"IHDR", header), (b"IDAT", zlib.compress(rows)), (b"IEND", b""))
    body = b"".join(
        struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))
        for name, data in chunks
    )
    return b"\x89PNG\r\n\x1a\n" + body


def opaque(pixels: Array) -> Array:
    return np.dstack([pixels, np.full(SIZE, 65535, np.uint16)])


# --- bits and bands ---


@pytest.mark.parametrize(
    ("kind", "pixels"), [(2, DEEP), (6, opaque(DEEP)), (4, opaque(DEEP[..., :1]))]
)
def test_png_of_16_bits_keeps_both_bytes(tmp_path: Path, kind: int, pixels: Array) -> None:
    (tmp_path / "a.png").write_bytes(png(pixels, kind, 16))
    image = read_image(tmp_path / "a.png")
    expected = pixels if kind == 2 else pixels[..., :-1]
    assert image.dtype == np.uint16
    assert np.array_equal(image, expected)


def test_transparent_png_of_16_bits_is_refused(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(np.dstack([DEEP, DEEP[..., :1]]), 6, 16))
    with pytest.raises(InvalidData, match="transparent"):
        read_image(tmp_path / "a.png")


@pytest.mark.parametrize("bands", [1, 2, 3, 4, 6, 13])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("planar", ["contig", "separate"])
@pytest.mark.parametrize("compression", [None, pytest.param("zlib", marks=pytest.mark.full)])
def test_tiff_of_any_bands_and_depth(
    tmp_path: Path, bands: int, dtype: type, planar: str, compression: str | None
) -> None:
    pixels = (RANDOM.random((*SIZE, bands)) * 200).astype(dtype)
    stored = pixels if planar == "contig" else np.moveaxis(pixels, -1, 0)
    tifffile.imwrite(
        tmp_path / "a.tif",
        stored[..., 0]
        if bands == 1 and planar == "contig"
        else stored[0]
        if bands == 1
        else stored,
        photometric="rgb" if bands == 3 else "minisblack",
        planarconfig=planar if bands > 1 else None,
        compression=compression,
    )
    image = read_image(tmp_path / "a.tif")
    assert image.dtype == dtype
    assert np.array_equal(image, pixels)


@pytest.mark.parametrize(("extra", "bands"), [("unspecified", 4), ("unassalpha", 3)])
def test_the_fourth_band_is_alpha_only_where_the_file_says_so(
    tmp_path: Path, extra: str, bands: int
) -> None:
    pixels = np.full((*SIZE, 4), 255, np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", pixels, photometric="rgb", extrasamples=[extra])
    assert read_image(tmp_path / "a.tif").shape[-1] == bands


@pytest.mark.parametrize(
    "dtype", [np.bool_, np.uint8, np.uint16, np.int16, np.int64, np.float16, np.float64]
)
@pytest.mark.parametrize("ending", [".npy", ".npz"])
def test_arrays_of_any_type(tmp_path: Path, dtype: type, ending: str) -> None:
    pixels = (RANDOM.random((*SIZE, 4)) > 0.5).astype(dtype)
    file = tmp_path / f"a{ending}"
    np.save(file, pixels) if ending == ".npy" else np.savez(file, pixels)
    image = read_image(file)
    assert image.dtype.name in ("uint8", "uint16", "float32")
    assert np.array_equal(image, pixels * (255 if dtype is np.bool_ else 1))


def test_bands_may_come_first_in_an_array(tmp_path: Path) -> None:
    pixels = RANDOM.integers(0, 255, (80, 90, 5)).astype(np.uint8)
    np.save(tmp_path / "a.npy", np.moveaxis(pixels, -1, 0))
    assert np.array_equal(read_image(tmp_path / "a.npy"), pixels)


def test_pickles_are_not_opened(tmp_path: Path) -> None:
    np.save(tmp_path / "a.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InvalidData, match=r"a\.npy"):
        read_image(tmp_path / "a.npy")


@pytest.mark.parametrize("ending", sorted(pillow.ENDINGS))
def test_every_ending_is_read_as_what_it_says(tmp_path: Path, ending: str) -> None:
    file = tmp_path / f"a{ending}"
    pixels = RANDOM.integers(0, 255, (*SIZE, 3)).astype(np.uint8)
    Image.init()
    kind = Image.EXTENSION[Path(file).suffix]
    if kind == "SUN":  # which Pillow does not write
        size = (*SIZE[::-1], 24, pixels.size)
        file.write_bytes(struct.pack(">8I", 0x59A66A95, *size, 3, 0, 0) + pixels.tobytes())
    else:
        options: dict[str, object] = {"lossless": True} if kind == "WEBP" else {}
        Image.fromarray(pixels).save(file, format=kind, **options)
    written = np.array(Image.open(file).convert("RGB"))
    if kind not in ("JPEG", "AVIF"):
        assert np.array_equal(written, pixels)
    assert np.array_equal(read_image(file), written)
    assert read_mask(file).is_lossy == (kind in ("JPEG", "JPEG2000", "AVIF"))


def test_pfm_keeps_fractions(tmp_path: Path) -> None:
    values = RANDOM.random(SIZE).astype(np.float32)
    Image.fromarray(values).save(tmp_path / "a.pfm")
    assert np.array_equal(read_image(tmp_path / "a.pfm")[..., 0], values)


NOT_READ = {
    "runs another program, or draws by the system": {"EPS", "WMF"},
    "holds layers, frames or several sizes": {"PSD", "DCX", "FLI", "ICO", "ICNS", "CUR"},
    "holds a small view, or no pixels that Pillow reads": {"XVTHUMB", "BUFR", "GRIB", "HDF5"},
    "is a film": {"MPEG"},
    "is a texture of games": {"BLP", "DDS", "FTEX"},
    "is of astronomy or particles, stored upside down": {"FITS", "SPIDER"},
    "has died out": {"GBR", "IM", "IMT", "IPTC", "MCIDAS", "MSP", "PCD", "PIXAR", "XBM", "XPM"},
}


def test_every_format_of_pillow_is_read_or_is_not_for_a_reason() -> None:
    Image.init()
    read = {*pillow.LOSSLESS, *pillow.LOSSY}
    assert Image.OPEN.keys() - read - set().union(*NOT_READ.values()) == set()
    endings = {end for end, kind in Image.registered_extensions().items() if kind in read}
    assert endings <= set(pillow.ENDINGS)


def test_grey_jpeg_2000_keeps_16_bits(tmp_path: Path) -> None:
    Image.fromarray(DEEP[..., 0]).save(tmp_path / "a.jp2")
    assert np.array_equal(read_image(tmp_path / "a.jp2")[..., 0], DEEP[..., 0])


@pytest.mark.parametrize("bits", [9, 12])
def test_jpeg_2000_of_fewer_bits_keeps_its_values(tmp_path: Path, bits: int) -> None:
    values = DEEP[..., 0] % 2**bits
    # Numbers are stored as their distance from half of the largest one.
    stored = values + np.uint16(2**15 - 2 ** (bits - 1))
    Image.fromarray(stored).save(tmp_path / "a.jp2")
    stated_as(bits - 1, tmp_path / "a.jp2")
    assert np.array_equal(read_image(tmp_path / "a.jp2")[..., 0], values)


def stated_as(sample: int, file: Path) -> None:
    """Let a JPEG 2000 state other samples than it was written with."""
    content = bytearray(file.read_bytes())
    start = content.find(pillow.STREAM) + 4
    bands = content[start + 37]
    for band in range(bands):
        content[start + 38 + 3 * band] = sample
    file.write_bytes(bytes(content))


@pytest.mark.parametrize(
    ("bands", "sample", "why"), [(3, 11, "12 bits a band as JPEG2000"), (1, 0x8F, "signed")]
)
def test_jpeg_2000_of_which_pillow_drops_bits_is_refused(
    tmp_path: Path, bands: int, sample: int, why: str
) -> None:
    pixels = DEEP[..., 0] if bands == 1 else (DEEP >> 8).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.jp2")
    stated_as(sample, tmp_path / "a.jp2")
    with pytest.raises(InvalidData, match=f"{why}.*save it as PNG or TIFF"):
        read_image(tmp_path / "a.jp2")


def test_sgi_of_16_bits_is_refused(tmp_path: Path) -> None:
    Image.new("RGB", SIZE).save(tmp_path / "a.sgi", bpc=2)
    with pytest.raises(InvalidData, match="16 bits a band as SGI, of which Pillow reads 8"):
        read_image(tmp_path / "a.sgi")


def test_jpeg_of_12_bits_is_refused_with_the_remedy(tmp_path: Path) -> None:
    Image.new("L", SIZE).save(tmp_path / "a.jpg")
    content = bytearray((tmp_path / "a.jpg").read_bytes())
    content[content.index(b"\xff\xc0") + 4] = 12
    (tmp_path / "a.jpg").write_bytes(bytes(content))
    with pytest.raises(InvalidData, match=r"a\.jpg: is a JPEG of 12 bits.*save it as PNG or TIFF"):
        read_image(tmp_path / "a.jpg")


def test_what_is_no_picture_is_told_which_are_read(tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(b"no picture")
    with pytest.raises(InvalidData, match=r"a\.png: cannot be read .it is damaged, or none of PNG"):
        read_image(tmp_path / "a.png")


def write_packed(file: Path, values: Array, byte_order: str, compression: int) -> None:
    """Write numbers of 12 bits as microscopes do: two of them in three bytes."""
    first, second = values[:, 0::2], values[:, 1::2]
    parts = (first >> 4, (first & 15) << 4 | second >> 8, second & 255)
    packed = np.stack(parts, -1).astype(np.uint8).tobytes()
    packed = zlib.compress(packed) if compression == 8 else packed
    height, width = SIZE
    entries = [
        (256, width),
        (257, height),
        (258, 12),
        (259, compression),
        (262, 1),
        (273, 200),
        (277, 1),
    ]
    entries += [(278, height), (279, len(packed))]
    tags = b"".join(struct.pack(byte_order + "HHII", tag, 4, 1, value) for tag, value in entries)
    start = b"II*\0" if byte_order == "<" else b"MM\0*"
    head = start + struct.pack(byte_order + "IH", 8, len(entries)) + tags
    file.write_bytes(head.ljust(200, b"\0") + packed)


@pytest.mark.parametrize("compression", [1, 8])
def test_tiff_of_12_bits_keeps_its_values(tmp_path: Path, compression: int) -> None:
    values = (DEEP[..., 0] % 4096).astype(np.uint16)
    write_packed(tmp_path / "a.tif", values, "<", compression)
    image = read_image(tmp_path / "a.tif")
    assert image.dtype == np.uint16
    assert np.array_equal(image[..., 0], values)


def test_tiff_of_12_bits_that_nothing_reads_names_the_remedy(tmp_path: Path) -> None:
    write_packed(tmp_path / "a.tif", DEEP[..., 0] % 4096, ">", 1)
    with pytest.raises(InvalidData, match="12 bits, uncompressed: pip install imagecodecs, or"):
        read_image(tmp_path / "a.tif")


def test_cmyk_is_shown_as_viewers_do(tmp_path: Path) -> None:
    picture = Image.new("CMYK", SIZE[::-1], (0, 255, 255, 0))
    picture.save(tmp_path / "a.tif")
    assert read_image(tmp_path / "a.tif")[0, 0].tolist() == [255, 0, 0]


@pytest.mark.parametrize("dtype", [np.int8, np.int16, np.int32, np.uint32, np.float64])
@pytest.mark.parametrize("reader", [read_image, read_mask])
def test_tiff_numbers_keep_their_sign(
    tmp_path: Path, dtype: type, reader: Callable[[Path], Array | Mask]
) -> None:
    ends = (0, 2e9) if dtype == np.float64 else (np.iinfo(dtype).min, np.iinfo(dtype).max)
    pixels = np.resize(np.array(ends).astype(dtype), SIZE)
    tifffile.imwrite(tmp_path / "a.tif", pixels)
    read = reader(tmp_path / "a.tif")
    values = read.values if isinstance(read, Mask) else read[..., 0]
    assert values == pytest.approx(pixels.astype(np.float64))


def test_thumbnails_and_smaller_versions_are_no_pages(tmp_path: Path) -> None:
    pixels = RANDOM.integers(0, 255, (64, 64, 3)).astype(np.uint8)
    with tifffile.TiffWriter(tmp_path / "a.tif") as file:
        file.write(pixels, photometric="rgb")
        file.write(pixels[::2, ::2], photometric="rgb", subfiletype=1)
    assert np.array_equal(read_image(tmp_path / "a.tif"), pixels)


def test_a_stack_that_lists_its_first_slice_alone_is_refused(tmp_path: Path) -> None:
    stack = np.zeros((3, *SIZE), np.uint16)
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, truncate=True)
    with pytest.raises(InvalidData, match="lists its first slice alone"):
        read_image(tmp_path / "a.tif")


@pytest.mark.parametrize(("axes", "shape"), [("ZCYX", (4, 2, 8, 9)), ("TZYX", (2, 4, 8, 9))])
def test_pages_along_two_axes_are_refused(
    tmp_path: Path, axes: str, shape: tuple[int, ...]
) -> None:
    stack = np.arange(np.prod(shape)).reshape(shape).astype(np.uint8)
    tifffile.imwrite(tmp_path / "a.tif", stack, imagej=True, metadata={"axes": axes})
    with pytest.raises(InvalidData, match=f"has axes {axes}"):
        read_image(tmp_path / "a.tif")
    with pytest.raises(InvalidData, match=f"has axes {axes}"):
        read_deep_image(tmp_path / "a.tif")
    tifffile.imwrite(tmp_path / "b.tif", stack[:, 0], imagej=True, metadata={"axes": "ZYX"})
    assert read_deep_image(tmp_path / "b.tif").values.shape[2] == len(stack)


def test_a_refusal_of_nan_names_the_file(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.full(SIZE, np.nan, np.float32))
    with pytest.raises(InvalidData, match=r"a\.tif: holds values that are NaN"):
        read_image(tmp_path / "a.tif")


# --- orientation ---


@pytest.mark.parametrize("tag", range(1, 9))
@pytest.mark.parametrize(
    ("ending", "bands"), [*itertools.product(("jpg", "png", "webp", "tif"), (1, 3)), ("tif", 5)]
)
def test_orientation_is_applied(tmp_path: Path, tag: int, ending: str, bands: int) -> None:
    pixels = np.zeros((8, 16, bands), np.uint8)
    pixels[:4, :8] = 200  # the upper left quarter
    file = tmp_path / f"a.{ending}"
    exif = Image.Exif()
    exif[274] = tag
    if ending == "tif":
        held = pixels[..., 0] if bands == 1 else pixels
        kind = "rgb" if bands == 3 else "minisblack"
        tifffile.imwrite(
            file,
            held,
            photometric=kind,
            planarconfig="contig" if bands > 1 else None,
            extratags=[(274, "H", 1, tag, True)],
        )
    else:
        Image.fromarray(pixels[..., 0] if bands == 1 else pixels).save(file, exif=exif, quality=100)
    shown = Image.fromarray(pixels[..., 0])
    shown.info["exif"] = exif.tobytes()
    expected = np.array(ImageOps.exif_transpose(shown))
    assert np.array_equal(oriented(pixels[..., 0], tag), expected)
    assert np.array_equal(read_image(file)[..., 0] > 100, expected > 100)


def scene(folder: Path, image: Callable[[Array, Path], None], ending: str) -> Dataset:
    """Return a data set of bright squares, whose images `image` writes."""
    (folder / "images").mkdir(parents=True)
    (folder / "masks").mkdir()
    for number in range(6):
        mask = np.zeros((32, 32), np.uint8)
        mask[4 : 10 + number, 3:20] = 1
        levels = np.where(mask, 200, 60).astype(np.uint8)
        image(levels, folder / "images" / f"p{number}.{ending}")
        Image.fromarray(mask).save(folder / "masks" / f"p{number}.png")
    return read_folder(folder)


def separates(data: Dataset) -> bool:
    """Return whether every object is brighter than every background: nothing was moved or lost."""
    darkest = min(sample.image[sample.mask == 1].min() for sample in data.samples)
    brightest = max(sample.image[sample.mask == 0].max() for sample in data.samples)
    return bool(darkest > brightest)


def turned(levels: Array, file: Path) -> None:
    """Save a picture as a camera does that is held upright: turned, with a tag."""
    exif = Image.Exif()
    exif[274] = 6
    Image.fromarray(np.rot90(levels)).save(file, exif=exif, quality=100)


def test_images_with_a_tag_and_masks_without_fit(tmp_path: Path) -> None:
    data = scene(tmp_path / "set", turned, "png")
    assert separates(data)
    assert any("orientation tag" in note for note in data.notes)


def test_each_picture_is_opened_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    scene(tmp_path / "set", turned, "png")
    opened: list[str] = []
    by_pillow = Image.open

    def counted(path: Path, **options: Any) -> Image.Image:
        opened.append(f"{path.parent.name}/{path.name}")
        return by_pillow(path, **options)

    monkeypatch.setattr(Image, "open", counted)
    read_folder(tmp_path / "set")
    assert len(opened) == len(set(opened)) == 12


@pytest.mark.parametrize("tag", [0, 9])
def test_a_tag_that_means_nothing_is_not_noted(tmp_path: Path, tag: int) -> None:
    exif = Image.Exif()
    exif[274] = tag
    Image.new("L", SIZE).save(tmp_path / "a.jpg", exif=exif)
    _, is_turned = read_upright(tmp_path / "a.jpg")
    assert not is_turned


# --- scale ---


def with_top(top: int, dtype: type) -> Callable[[Array, Path], None]:
    return lambda levels, file: tifffile.imwrite(file, (levels / 200 * top).astype(dtype))


@pytest.mark.parametrize(
    ("top", "dtype", "scale"),
    [
        (255, np.uint8, {"uint8": (0, 255)}),
        (200, np.uint16, {"uint16": (0, 255)}),
        (4000, np.uint16, {"uint16": (0, 4095)}),
        (65535, np.uint16, {"uint16": (0, 65535)}),
        (1, np.float32, {"float32": (0, 1)}),
        (500, np.float32, {"float32": (150, 500)}),
    ],
)
def test_the_scale_is_stated_once(
    tmp_path: Path, top: int, dtype: type, scale: dict[str, tuple[float, float]]
) -> None:
    data = scene(tmp_path / "set", with_top(top, dtype), "tif")
    assert data.scale == {name: pytest.approx(ends) for name, ends in scale.items()}
    assert separates(data)
    assert Dataset.load(saved(data, tmp_path / "a.npz")).scale == data.scale


def saved(data: Dataset, file: Path) -> Path:
    data.save(file)
    return file


def of_two_depths(factor: int) -> Callable[[Array, Path], None]:
    """Save pictures of 8 bits, every second one in 16 bits and so many times as large."""
    number = itertools.count()

    def image(levels: Array, file: Path) -> None:
        deep = next(number) % 2
        tifffile.imwrite(file, levels.astype(np.uint16) * factor if deep else levels)

    return image


def test_images_of_several_depths_have_one_brightness_where_white_is_sure(tmp_path: Path) -> None:
    sure = scene(tmp_path / "set", of_two_depths(257), "tif")
    assert sure.scale == {"uint8": (0, 255), "uint16": (0, 65535)}
    assert separates(sure)
    assert np.ptp([sample.image.max() for sample in sure.samples]) < 0.01


def test_images_of_several_depths_need_a_white_where_it_is_not_sure(tmp_path: Path) -> None:
    with pytest.raises(InvalidData, match=r'up to 3200, others 8 bits.* such as "white": 4095'):
        scene(tmp_path / "set", of_two_depths(16), "tif")
    said_so(tmp_path / "set", 4080)
    stated = read_folder(tmp_path / "set")
    assert stated.scale == {"uint8": (0, 255), "uint16": (0, 4080)}
    assert np.ptp([sample.image.max() for sample in stated.samples]) < 1e-6


def said_so(root: Path, white: object) -> None:
    (root / "dataset.json").write_text(json.dumps({"white": white}))


@pytest.mark.parametrize(("white", "why"), [(4095, "white 4095, and images hold"), ("x", "above")])
def test_a_white_that_cannot_be_is_refused(tmp_path: Path, white: object, why: str) -> None:
    scene(tmp_path / "set", with_top(65535, np.uint16), "tif")
    said_so(tmp_path / "set", white)
    with pytest.raises(InvalidData, match=why):
        read_folder(tmp_path / "set")


@pytest.mark.parametrize(("end", "is_refused"), [(255, True), (4095, True), (4000, False)])
def test_images_that_end_at_the_white_of_fewer_bits_than_others_are_refused(
    tmp_path: Path, end: int, is_refused: bool
) -> None:
    def image(levels: Array, file: Path) -> None:
        wide = levels.astype(np.uint16) * 300
        tifffile.imwrite(file, np.minimum(wide, end) if file.stem == "p2" else wide)

    if not is_refused:
        assert scene(tmp_path / "set", image, "tif").scale == {"uint16": (0, 65535)}
        return
    with pytest.raises(InvalidData, match=rf"1 end at {end}, the white of .*\(p2\), and others"):
        scene(tmp_path / "set", image, "tif")
    said_so(tmp_path / "set", 65535)
    assert read_folder(tmp_path / "set").scale == {"uint16": (0, 65535)}


def test_fractions_stay_where_a_white_is_stated(tmp_path: Path) -> None:
    number = itertools.count()

    def image(levels: Array, file: Path) -> None:
        deep, unit = levels.astype(np.uint16) * 20, (levels / 255).astype(np.float32)
        tifffile.imwrite(file, deep if next(number) % 2 else unit)

    with pytest.raises(InvalidData, match="up to 4000, others fractions"):
        scene(tmp_path / "set", image, "tif")
    said_so(tmp_path / "set", 5100)
    stated = read_folder(tmp_path / "set")
    assert stated.scale == {"uint16": (0, 5100), "float32": (0, 1)}
    assert np.ptp([sample.image.max() for sample in stated.samples]) < 1e-6


def of_int16(levels: Array, file: Path) -> None:
    """Save a picture as signed numbers; some happen to hold none below 0."""
    low = 0 if file.stem in ("p0", "p3") else -1000
    tifffile.imwrite(file, np.where(levels > 100, 1400, low).astype(np.int16))


def test_signed_numbers_have_one_scale_whether_or_not_any_is_below_0(tmp_path: Path) -> None:
    data = scene(tmp_path / "set", of_int16, "tif")
    assert data.scale == {"uint16": (-1000, 1400), "float32": (-1000, 1400)}
    assert {float(sample.image.max()) for sample in data.samples} == {1.0}


@pytest.mark.parametrize(
    ("mark", "dtype", "doubts"), [(-9999, np.float32, 1), (65535, np.uint16, 1), (50, np.uint16, 0)]
)
def test_a_mark_for_missing_pixels_that_spoils_the_scale_is_doubted(
    tmp_path: Path, mark: int, dtype: type, doubts: int
) -> None:
    def image(levels: Array, file: Path) -> None:
        values = levels.astype(dtype)
        values[0, 0] = mark
        tifffile.imwrite(file, values)

    data = scene(tmp_path / "set", image, "tif")
    assert sum("missing or defect pixels" in doubt for doubt in data.doubts) == doubts


@pytest.mark.parametrize(("factor", "doubts"), [(1, 1), (4, 0), (16, 0)])
def test_images_of_fewer_bits_than_the_others_are_doubted(
    tmp_path: Path, factor: int, doubts: int
) -> None:
    def image(levels: Array, file: Path) -> None:
        wide = levels.astype(np.uint16) * (factor if file.stem == "p2" else 16)
        tifffile.imwrite(file, wide)

    data = scene(tmp_path / "set", image, "tif")
    assert sum("fewer bits than the others" in doubt for doubt in data.doubts) == doubts


# --- limits ---


def test_large_pictures_are_read_if_the_user_allows_it(tmp_path: Path) -> None:
    Image.new("L", (200, 200)).save(tmp_path / "a.png")
    for most, problems in ((10_000, 1), (40_000, 0)):
        found = Findings(tmp_path)
        with limits.allow_pixels(most):
            decode(read_image, {"a": tmp_path / "a.png"}, found)
        assert len(found.problems) == problems
    pixels = np.zeros((200, 200, 5), np.uint8)
    tifffile.imwrite(tmp_path / "b.tif", pixels, planarconfig="contig")
    with limits.allow_pixels(10_000), pytest.raises(InvalidData, match="--max-megapixels"):
        read_image(tmp_path / "b.tif")


def mapped(array: Array) -> bool:
    """Return whether an array's numbers lie in a file that is mapped into memory."""
    held: object = array
    while isinstance(held, np.ndarray) and not isinstance(held, np.memmap):
        held = held.base
    return isinstance(held, np.memmap)


@pytest.fixture
def small_limits(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(limits, "MOST_PIXELS", 1000)
    monkeypatch.setattr(limits, "MAPPED", 1000)


@pytest.mark.usefixtures("small_limits")
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16, np.float32])
@pytest.mark.parametrize("bands", [1, 3, 5])
@pytest.mark.parametrize("kind", ["npy", "uncompressed", "zlib", "tiles"])
def test_large_arrays_and_tiffs_stay_in_a_file(
    tmp_path: Path, kind: str, bands: int, dtype: type
) -> None:
    pixels = (RANDOM.random((64, 48, bands)) * 200).astype(dtype)
    file = tmp_path / ("a.npy" if kind == "npy" else "a.tif")
    if kind == "npy":
        np.save(file, pixels)
    else:
        tifffile.imwrite(
            file,
            pixels[..., 0] if bands == 1 else pixels,
            photometric="rgb" if bands == 3 else "minisblack",
            planarconfig="contig" if bands > 1 else None,
            compression=None if kind == "uncompressed" else "zlib",
            tile=(16, 16) if kind == "tiles" else None,
        )
    with limits.allow_pixels(10_000):
        image = read_image(file)
    assert mapped(image)
    assert np.array_equal(image, pixels)


@pytest.mark.usefixtures("small_limits")
def test_a_large_picture_that_must_be_unpacked_needs_room_for_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((64, 64), np.uint8), compression="zlib")
    usage = shutil.disk_usage(tmp_path)._replace(free=1000)
    monkeypatch.setattr(shutil, "disk_usage", lambda _: usage)
    with (
        limits.allow_pixels(10_000),
        pytest.raises(InvalidData, match=r"unpacks to 0.0 GiB.*set TMPDIR"),
    ):
        read_image(tmp_path / "a.tif")


def test_the_refusal_of_a_large_picture_names_what_to_allow(tmp_path: Path) -> None:
    tifffile.imwrite(tmp_path / "a.tif", np.zeros((2000, 1100, 3), np.uint8), compression="zlib")
    Image.new("L", (1100, 2000)).save(tmp_path / "b.png")
    for name in ("a.tif", "b.png"):
        found = Findings(tmp_path)
        with limits.allow_pixels(2_000_000):
            decode(read_image, {name: tmp_path / name}, found)
        expected = "has 2,200,000 pixels, more than 2,000,000"
        assert expected in found.problems[0]
        assert found.problems[0].endswith("allow more by --max-megapixels 3")


def test_a_picture_that_is_copied_in_strips_is_whole(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(pillow, "STRIP", 1000)
    pixels = RANDOM.integers(0, 255, (70, 30, 3)).astype(np.uint8)
    Image.fromarray(pixels).save(tmp_path / "a.png")
    assert np.array_equal(read_image(tmp_path / "a.png"), pixels)
    ids = Image.fromarray(pixels[..., 0] % 4).convert("P")
    ids.save(tmp_path / "b.png")
    assert np.array_equal(read_mask(tmp_path / "b.png").values, np.array(ids))


# --- masks ---


@pytest.mark.parametrize("bits", [2, 4])
def test_class_ids_of_few_bits_stay_ids(tmp_path: Path, bits: int) -> None:
    Image.fromarray(np.array([[0, 1, 2, 3]], np.uint8)).save(tmp_path / "a.png", bits=bits)
    assert read_mask(tmp_path / "a.png").values.tolist() == [[0, 1, 2, 3]]


@pytest.mark.parametrize(("maximum", "kind"), [(2, "u1"), (100, "u1"), (255, "u1"), (999, ">u2")])
def test_class_ids_of_a_pgm_stay_ids_whatever_its_maximum(
    tmp_path: Path, maximum: int, kind: str
) -> None:
    ids = np.array([[0, 1, 2]])
    header = f"P5 # by hand\n3 1\n{maximum}\n".encode()
    (tmp_path / "a.pgm").write_bytes(header + ids.astype(kind).tobytes())
    assert np.array_equal(read_mask(tmp_path / "a.pgm").values, ids)


def test_class_ids_of_4_bits_in_a_tiff_stay_ids(tmp_path: Path) -> None:
    entries = [(256, 2), (257, 1), (258, 4), (259, 1), (262, 1), (273, 110), (277, 1), (279, 1)]
    tags = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in entries)
    start = b"II*\0" + struct.pack("<IH", 8, len(entries)) + tags
    (tmp_path / "a.tif").write_bytes(start.ljust(110, b"\0") + bytes([0x12]))
    assert read_mask(tmp_path / "a.tif").values.tolist() == [[1, 2]]


def test_jpeg_inside_a_tiff_is_lossy(tmp_path: Path) -> None:
    Image.new("L", (16, 16)).save(tmp_path / "a.tif", compression="jpeg")
    assert read_mask(tmp_path / "a.tif").is_lossy


@pytest.mark.parametrize(("lossless", "lossy"), [(True, False), (False, True)])
def test_webp_masks_are_exact_only_if_lossless(tmp_path: Path, lossless: bool, lossy: bool) -> None:
    Image.fromarray(np.zeros(SIZE, np.uint8)).save(tmp_path / "a.webp", lossless=lossless)
    assert read_mask(tmp_path / "a.webp").is_lossy == lossy


def test_masks_of_whole_fractions_and_arrays(tmp_path: Path) -> None:
    ids = np.resize([0.0, 1.0, 2.0], SIZE)
    np.save(tmp_path / "a.npy", ids)
    tifffile.imwrite(tmp_path / "b.tif", ids.astype(np.float32))
    for name in ("a.npy", "b.tif"):
        assert np.array_equal(read_mask(tmp_path / name).values, ids)
