"""The folder reader: what it takes, what it makes of it, and how it refuses what it cannot use."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image
from support.paths import DATA_SETS, FILES, needs_data_set

from unet_bench import limits
from unet_bench.data.dataset import IGNORE, Array, Sample
from unet_bench.data.folder import read_folder
from unet_bench.data.layout import MASK_SUFFIXES
from unet_bench.errors import InvalidData

SIZE = (6, 10)
STEMS = ("a", "b", "c")


def put(file: Path, pixels: Array | Image.Image) -> None:
    file.parent.mkdir(parents=True, exist_ok=True)
    (pixels if isinstance(pixels, Image.Image) else Image.fromarray(pixels)).save(file)


def grey(value: int = 90) -> Array:
    return np.full(SIZE, value, np.uint8)


def rgb(*colour: int) -> Array:
    return np.tile(np.array(colour, np.uint8), (*SIZE, 1))


def ids(*values: int) -> Array:
    """A mask of these values, each in turn."""
    return np.resize(np.array(values, np.uint8), SIZE)


def palette(indices: Array, mode: str = "P") -> Image.Image:
    picture = Image.fromarray(indices)
    picture.putpalette([7, 8, 9, 200, 30, 40, 50, 60, 250] + [0] * 759)
    return picture.convert(mode) if mode != "P" else picture


def listed(root: Path, **splits: str) -> None:
    (root / "splits").mkdir(exist_ok=True)
    for split, stems in splits.items():
        (root / "splits" / f"{split}.txt").write_text(
            "\n".join(stems.split()) + "\n", encoding="utf-8"
        )


def stated(root: Path, **about: Any) -> None:
    (root / "dataset.json").write_text(json.dumps(about))


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """The smallest folder in order: three grey images, masks of 0 and 1, one image a split."""
    root = tmp_path / "set"
    for stem in STEMS:
        put(root / "images" / f"{stem}.png", grey())
        put(root / "masks" / f"{stem}.png", ids(0, 1))
    listed(root, train="a", val="b", test="c")
    return root


def image_a(root: Path, pixels: Array | Image.Image, ending: str = "png") -> Sample:
    """What the reader makes of `pixels` as the image `a`."""
    (root / "images" / "a.png").unlink()
    put(root / "images" / f"a.{ending}", pixels)
    return read_folder(root).train[0]


def mask_a(root: Path, pixels: Array | Image.Image, **options: Any) -> Sample:
    """What the reader makes of `pixels` as the mask of `a`."""
    put(root / "masks" / "a.png", pixels)
    return read_folder(root, **options).train[0]


# --- splits ---


def test_split_files_decide_the_splits_and_their_order(root: Path) -> None:
    put(root / "images" / "d.png", grey(4))
    put(root / "masks" / "d.png", ids(0, 1))
    listed(root, train="d a")
    data = read_folder(root)
    assert {split: [held.name for held in samples] for split, samples in data.splits.items()} == {
        "train": ["d", "a"],
        "val": ["b"],
        "test": ["c"],
    }
    assert data.split_by == "files"
    assert (data.train[0].image == 4).all()


def test_split_files_may_come_from_windows(root: Path) -> None:
    (root / "splits" / "train.txt").write_bytes(b"\xef\xbb\xbf a \r\n\r\n")
    assert read_folder(root).train[0].name == "a"


def test_images_in_no_split_are_left_alone(root: Path) -> None:
    (root / "images" / "broken.png").write_bytes(b"never opened")
    assert len(read_folder(root).samples) == 3


def many(root: Path, count: int) -> None:
    for number in range(count):
        put(root / "images" / f"n{number:02}.png", grey())
        put(root / "masks" / f"n{number:02}.png", ids(0, 1))


def names(root: Path, seed: int) -> list[list[str]]:
    return [
        [held.name for held in samples] for samples in read_folder(root, seed=seed).splits.values()
    ]


def test_without_split_files_the_seed_splits_70_10_20(tmp_path: Path) -> None:
    many(tmp_path, 20)
    assert [len(held) for held in names(tmp_path, 0)] == [14, 2, 4]
    assert len({name for held in names(tmp_path, 0) for name in held}) == 20
    assert names(tmp_path, 0) == names(tmp_path, 0) != names(tmp_path, 1)
    assert all(held == sorted(held) for held in names(tmp_path, 0))
    assert read_folder(tmp_path, seed=5).split_by == "seeded 70/10/20, seed 5"


def test_three_images_are_enough_to_split(tmp_path: Path) -> None:
    many(tmp_path, 3)
    assert [len(held) for held in names(tmp_path, 0)] == [1, 1, 1]


def test_other_files_in_splits_do_not_count(root: Path) -> None:
    for split in ("train", "val", "test"):
        (root / "splits" / f"{split}.txt").rename(root / "splits" / f"fold0_{split}.txt")
    assert read_folder(root).split_by.startswith("seeded")


# --- images ---


@pytest.mark.parametrize("ending", ["png", "tif", "TIFF", "bmp", "gif"])
def test_lossless_formats_are_read_to_the_pixel(root: Path, ending: str) -> None:
    picture = np.arange(60, dtype=np.uint8).reshape(*SIZE)
    assert np.array_equal(image_a(root, picture, ending).image[..., 0], picture)


@pytest.mark.parametrize("ending", ["jpg", "JPEG"])
def test_jpeg_may_stand_beside_png(root: Path, ending: str) -> None:
    assert image_a(root, grey(90), ending).image.shape == (*SIZE, 1)


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_16_bits_become_0_to_1_and_so_do_their_neighbours(root: Path, ending: str) -> None:
    deep = np.resize(np.array([13107, 65535], np.uint16), SIZE)
    sample = image_a(root, deep, ending)
    assert sample.image.dtype == np.float32
    assert sample.image[..., 0] == pytest.approx(np.resize([0.2, 1], SIZE))
    assert read_folder(root).test[0].image == pytest.approx(np.full((*SIZE, 1), 90 / 255))


def test_16_bits_of_the_other_byte_order(root: Path) -> None:
    words = np.resize(np.array([13107, 65535], ">u2"), SIZE)
    picture = Image.frombytes("I;16B", SIZE[::-1], words.tobytes())
    image = image_a(root, picture, "tif").image[..., 0]
    assert image == pytest.approx(np.resize([0.2, 1], SIZE))


def test_alpha_that_hides_nothing_is_dropped(root: Path) -> None:
    assert image_a(root, rgb(10, 20, 30, 255)).image[0, 0].tolist() == [10, 20, 30]


@pytest.mark.parametrize("alpha", [0, 254])
def test_images_that_viewers_show_in_different_ways_are_refused(root: Path, alpha: int) -> None:
    put(root / "images" / "a.png", rgb(10, 20, 30, alpha))
    assert "images/a.png: has transparent pixels" in refused(root)


def test_grey_with_alpha_stays_grey(root: Path) -> None:
    assert image_a(root, Image.fromarray(grey(33)).convert("LA")).image[0, 0].tolist() == [33]


def test_palette_images_give_their_colours(root: Path) -> None:
    assert image_a(root, palette(ids(1))).image[0, 0].tolist() == [200, 30, 40]


@pytest.mark.filterwarnings("error")
def test_palette_images_may_have_a_transparent_entry_that_is_not_used(root: Path) -> None:
    picture = palette(ids(1, 2))
    picture.info["transparency"] = b"\x00\xff\xff"
    assert image_a(root, picture).image[0, :2].tolist() == [[200, 30, 40], [50, 60, 250]]
    picture.info["transparency"] = b"\xff\xff\x80"
    put(root / "images" / "a.png", picture)
    assert "images/a.png: has transparent pixels" in refused(root)


def test_grey_and_rgb_in_one_set_become_rgb(root: Path) -> None:
    assert image_a(root, rgb(1, 2, 3)).image.shape == (*SIZE, 3)
    data = read_folder(root)
    assert data.channels == 3
    assert data.test[0].image[0, 0].tolist() == [90, 90, 90]


def test_sizes_may_differ_and_be_no_multiple_of_16(root: Path) -> None:
    put(root / "images" / "b.png", np.zeros((37, 53), np.uint8))
    put(root / "masks" / "b.png", np.zeros((37, 53), np.uint8))
    assert read_folder(root).val[0].image.shape == (37, 53, 1)


def test_arrays_can_be_written(root: Path) -> None:
    sample = read_folder(root).train[0]
    assert sample.image.flags.writeable
    assert sample.mask.flags.writeable


# --- masks ---


@pytest.mark.parametrize("suffix", MASK_SUFFIXES)
def test_a_mask_may_have_a_suffix(root: Path, suffix: str) -> None:
    (root / "masks" / "a.png").rename(root / "masks" / f"a{suffix}.png")
    assert np.array_equal(read_folder(root).train[0].mask, ids(0, 1))


def test_an_image_named_like_a_mask_has_its_own(root: Path) -> None:
    put(root / "images" / "a_mask.png", grey())
    put(root / "masks" / "a_mask.png", ids(1))
    listed(root, train="a a_mask")
    assert [held.mask.min() for held in read_folder(root).train] == [0, 1]


def test_stray_files_are_no_images(root: Path) -> None:
    for folder in (root / "images", root / "masks"):
        for name in ("._a.png", ".DS_Store", "Thumbs.db", "notes.txt"):
            (folder / name).write_bytes(b"no picture")
        (folder / "old.png").mkdir()
    for file in (root / "splits").iterdir():
        file.unlink()
    assert len(read_folder(root).samples) == 3


def test_palette_masks_give_indices(root: Path) -> None:
    assert mask_a(root, palette(ids(0, 1, 2))).mask[0, :3].tolist() == [0, 1, 2]


def test_rgb_masks_of_equal_channels_are_grey(root: Path) -> None:
    assert mask_a(root, np.repeat(ids(0, 1)[..., None], 3, -1)).mask[0, :2].tolist() == [0, 1]


def test_rgba_masks_of_equal_channels_are_grey(root: Path) -> None:
    pixels = np.dstack([ids(0, 1)] * 3 + [grey(255)])
    assert mask_a(root, pixels).mask[0, :2].tolist() == [0, 1]


def test_16_bit_masks_of_small_ids_are_fine(root: Path) -> None:
    mask = mask_a(root, ids(0, 1).astype(np.uint16)).mask
    assert mask.dtype == np.uint8
    assert mask[0, :2].tolist() == [0, 1]


def black_and_white(root: Path, bits: int = 8) -> None:
    for stem in STEMS:
        picture = Image.fromarray(ids(0, 255))
        put(root / "masks" / f"{stem}.png", picture if bits == 8 else picture.convert("1"))


@pytest.mark.parametrize("bits", [1, 8])
@pytest.mark.parametrize("classes", [None, 2, ("ground", "thing")])
def test_black_and_white_masks_are_0_and_1(root: Path, bits: int, classes: Any) -> None:
    black_and_white(root, bits)
    data = read_folder(root, classes=classes)
    assert len(data.classes) == 2
    assert data.train[0].mask[0, :2].tolist() == [0, 1]


def test_black_and_white_is_asked_of_the_whole_set(root: Path) -> None:
    black_and_white(root)
    sample = mask_a(root, ids(0, 1))
    assert sample.mask[0, :2].tolist() == [0, 1]
    data = read_folder(root)
    assert data.val[0].mask[0, :2].tolist() == [0, 1]
    assert "255 is taken for 1 in these" in data.doubts[0]


def test_255_is_ignore_where_three_classes_are_declared(root: Path) -> None:
    black_and_white(root)
    assert read_folder(root, classes=3).train[0].mask[0, :2].tolist() == [0, IGNORE]


def test_255_is_ignore_beside_class_ids(root: Path) -> None:
    assert mask_a(root, ids(0, 1, 255)).mask[0, :3].tolist() == [0, 1, IGNORE]
    assert read_folder(root).classes == ("background", "class 1")


@pytest.mark.parametrize("index", [128, 7])
def test_ignore_index_is_brought_to_255(root: Path, index: int) -> None:
    stated(root, ignore_index=index)
    assert mask_a(root, ids(0, 1, index)).mask[0, :3].tolist() == [0, 1, IGNORE]


def test_ignore_index_beside_black_and_white(root: Path) -> None:
    black_and_white(root)
    stated(root, ignore_index=128)
    assert mask_a(root, ids(0, 255, 128)).mask[0, :3].tolist() == [0, 1, IGNORE]


def test_an_ignore_index_of_255_does_not_empty_black_and_white_masks(root: Path) -> None:
    black_and_white(root)
    stated(root, ignore_index=255)
    assert read_folder(root).train[0].mask[0, :2].tolist() == [0, 1]


# --- classes and name ---


def test_classes_come_from_the_caller_then_the_file_then_the_masks(root: Path) -> None:
    assert read_folder(root).classes == ("background", "class 1")
    stated(root, name="Nice", classes=["x", "y", "z"], size=[1, 2], ignore_index=None)
    assert read_folder(root).classes == ("x", "y", "z")
    assert read_folder(root).name == "Nice"
    assert read_folder(root, classes=4).classes == ("background", "class 1", "class 2", "class 3")
    assert read_folder(root, classes=["p", "q"]).classes == ("p", "q")


def test_the_name_is_the_folders_where_none_is_stated(root: Path) -> None:
    assert read_folder(str(root)).name == "set"


def all_masks(root: Path, *values: int) -> None:
    for stem in STEMS:
        put(root / "masks" / f"{stem}.png", ids(*values))


def test_a_class_may_be_absent_from_the_masks(root: Path) -> None:
    all_masks(root, 0, 3)
    assert len(read_folder(root).classes) == 4


# --- bad input ---


def refused(root: Path, **options: Any) -> str:
    with pytest.raises(InvalidData) as error:
        read_folder(root, **options)
    assert str(error.value).startswith(f"the data in {root} cannot be used")
    return str(error.value)


def test_missing_folders_are_named(tmp_path: Path) -> None:
    message = refused(tmp_path / "nowhere")
    assert f"{tmp_path / 'nowhere' / 'images'}: no such folder" in message
    assert f"{tmp_path / 'nowhere' / 'masks'}: no such folder" in message


def break_file(path: str, pixels: Array | Image.Image | bytes) -> Callable[[Path], None]:
    def change(root: Path) -> None:
        if isinstance(pixels, bytes):
            (root / path).parent.mkdir(exist_ok=True)
            (root / path).write_bytes(pixels)
        else:
            put(root / path, pixels)

    return change


def remove(path: str) -> Callable[[Path], None]:
    return lambda root: (root / path).unlink()


def truncate(root: Path) -> None:
    file = root / "images" / "a.png"
    put(file, np.random.default_rng(0).integers(0, 255, (64, 64)).astype(np.uint8))
    file.write_bytes(file.read_bytes()[:2000])


def pages(root: Path) -> None:
    (root / "images" / "a.png").unlink()
    first, second = Image.fromarray(grey()), Image.fromarray(grey())
    first.save(root / "images" / "a.tif", save_all=True, append_images=[second])


def no_image(root: Path) -> None:
    for stem in STEMS:
        (root / "images" / f"{stem}.png").unlink()


def rename_masks(root: Path) -> None:
    for stem in STEMS:
        (root / "masks" / f"{stem}.png").rename(root / "masks" / f"{stem}_truth.png")


BAD: dict[str, tuple[Callable[[Path], None], str]] = {
    "no image": (no_image, "images/: holds no image; put PNG"),
    "image without mask": (
        remove("masks/b.png"),
        "masks/: no mask for the image b; add b.png or b_mask.png",
    ),
    "no mask matches": (
        rename_masks,
        "masks/: holds a_truth.png, b_truth.png, c_truth.png; name masks as",
    ),
    "mask of another size": (
        break_file("masks/b.png", np.zeros((10, 6), np.uint8)),
        "b: mask of 10x6 for an image of",
    ),
    "corrupt image": (
        break_file("images/b.png", b"\x89PNG\r\n\x1a\nnonsense"),
        "images/b.png: cannot be read",
    ),
    "empty image": (break_file("images/b.png", b""), "images/b.png: cannot be read"),
    "truncated image": (truncate, "images/a.png: cannot be read"),
    "not an image": (break_file("images/b.png", b"%PDF-1.7"), "images/b.png: cannot be read"),
    "corrupt mask": (break_file("masks/b.png", b"no"), "masks/b.png: cannot be read"),
    "colour mask": (
        break_file("masks/b.png", rgb(0, 0, 1)),
        "masks/b.png: holds colours; say in dataset.json",
    ),
    "multi-page TIFF": (pages, "images/a.tif: several pages; save each page"),
    "twin image": (
        break_file("images/b.bmp", grey()),
        "images/: b.bmp, b.png have one stem; keep one",
    ),
    "twin mask": (
        break_file("masks/b_seg.png", ids(0)),
        "masks/: b.png, b_seg.png fit the image b; keep one",
    ),
    "lone value": (
        break_file("masks/b.png", ids(0, 40, 200)),
        "masks/: values 0, 1, 40, 200 are not class ids",
    ),
    "unknown stem": (
        break_file("splits/val.txt", b"b\nzebra\n"),
        "splits/val.txt: no image has the stem 'zebra'",
    ),
    "stem twice": (
        break_file("splits/val.txt", b"b\na\n"),
        "splits/: a is named 2 times; keep it in one split",
    ),
    "empty train": (
        break_file("splits/train.txt", b"\n"),
        "splits/train.txt: names no image; list one stem a line",
    ),
    "empty test": (break_file("splits/test.txt", b""), "splits/test.txt: names no image"),
    "no train file": (
        remove("splits/train.txt"),
        "splits/train.txt: no such file beside the others; add it",
    ),
    "binary split": (
        break_file("splits/val.txt", b"\xff\xfe\x00"),
        "splits/val.txt: cannot be read",
    ),
    "not JSON": (break_file("dataset.json", b"{name}"), "dataset.json: not JSON"),
    "JSON list": (break_file("dataset.json", b"[]"), "dataset.json: must be an object"),
    "one class": (
        break_file("dataset.json", b'{"classes": ["a"]}'),
        "classes ['a']: give 2 to 255 different names",
    ),
    "twin classes": (
        break_file("dataset.json", b'{"classes": ["a", "a"]}'),
        "classes ['a', 'a']: give 2 to 255",
    ),
    "classes by id": (
        break_file("dataset.json", b'{"classes": {"a": 0}}'),
        "classes {'a': 0}: give 2 to 255",
    ),
    "bad ignore": (
        break_file("dataset.json", b'{"ignore_index": "no"}'),
        "ignore 'no' must be one whole number",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_by_name(root: Path, case: str) -> None:
    change, message = BAD[case]
    change(root)
    assert message in refused(root)


def test_where_no_mask_matches_nothing_is_said_of_values(root: Path) -> None:
    rename_masks(root)
    assert "class ids" not in refused(root)


@pytest.mark.parametrize("values", [(0, 1, 2), (0, 2, 255), (0, 1, 2, 3)])
def test_values_outside_the_declared_classes_are_named(root: Path, values: tuple[int, ...]) -> None:
    put(root / "masks" / "b.png", ids(*values))
    outside = ", ".join(str(value) for value in values if 1 < value < 255)
    assert f"b: mask values {outside} outside 0..1" in refused(root, classes=2)


def test_one_based_trimaps_are_refused_both_ways(root: Path) -> None:
    all_masks(root, 1, 2, 3)
    message = refused(root)
    assert "masks/: values 1, 2, 3 are not class ids 0, 1, 2, …; say in dataset.json" in message
    assert '"labels": {"background": 1, "class 1": 2, "class 2": 3}' in message
    assert "a: mask values 3 outside 0..2" in refused(root, classes=3)


def test_16_bit_ids_beyond_255_are_named(root: Path) -> None:
    put(root / "masks" / "b.png", np.full(SIZE, 1000, np.uint16))
    assert "b: mask values 1000 outside 0..1" in refused(root, classes=2)


def test_validation_images_may_be_left_out(root: Path) -> None:
    (root / "splits" / "val.txt").unlink()
    assert not read_folder(root).val


def test_masks_of_background_alone_need_classes(root: Path) -> None:
    all_masks(root, 0)
    assert "masks/: hold only 0, the background; declare" in refused(root)
    assert read_folder(root, classes=2).channels == 1


def test_whole_numbers_of_32_bits_are_16_bits_if_they_fit(root: Path) -> None:
    image = image_a(root, Image.fromarray(np.resize([0, 4095], SIZE).astype(np.int32)), "tif").image
    assert image[0, :2, 0].tolist() == [0, 1]


def test_fractions_beyond_1_do_not_stand_beside_whole_numbers(root: Path) -> None:
    (root / "images" / "b.png").unlink()
    put(root / "images" / "b.tif", Image.fromarray(grey()).convert("F"))
    assert "some images hold numbers from 90 to 90, others whole numbers of 8 bits" in refused(root)


def test_fractional_masks_are_refused(root: Path) -> None:
    (root / "masks" / "b.png").unlink()
    put(root / "masks" / "b.tif", Image.fromarray(np.full(SIZE, 0.5, np.float32)))
    assert "masks/b.tif: holds fractions" in refused(root)


def test_jpeg_masks_are_refused(root: Path) -> None:
    (root / "masks" / "b.png").unlink()
    put(root / "masks" / "b.jpg", ids(0, 255))
    assert "masks/b.jpg: lossy compression (JPEG and the like) blurs class ids" in refused(root)


@pytest.mark.parametrize("limit", [20, 50])
def test_decompression_bombs_are_refused_by_name(root: Path, limit: int) -> None:
    # 60 pixels: beyond twice 20 Pillow raises an error, beyond 50 a warning.
    with limits.allow_pixels(limit):
        message = refused(root)
    assert f"images/a.png: has 60 pixels, more than {limit}, and a small file can" in message


@pytest.mark.parametrize("count", [1, 2])
def test_too_few_images_to_split_are_refused(tmp_path: Path, count: int) -> None:
    many(tmp_path, count)
    assert f"images/: {count} image(s); three splits need at least three" in refused(tmp_path)


@pytest.mark.parametrize("classes", [1, 256, True, "ab", ["a", 3], []])
def test_classes_that_are_none_are_refused(root: Path, classes: Any) -> None:
    assert "give 2 to 255 different names" in refused(root, classes=classes)


def test_all_offenders_are_named_at_once(root: Path) -> None:
    for case in ("unknown stem", "colour mask", "truncated image", "bad ignore"):
        BAD[case][0](root)
    put(root / "masks" / "c.png", np.zeros((3, 3), np.uint8))
    message = refused(root)
    assert "5 problem(s)" in message
    for part in (
        "'zebra'",
        "masks/b.png: holds colours",
        "images/a.png: cannot",
        "ignore 'no'",
        "c: mask of 3x3",
    ):
        assert part in message


def test_image_and_mask_of_one_stem_are_both_named(root: Path) -> None:
    (root / "images" / "a.png").write_bytes(b"")
    (root / "masks" / "a.png").write_bytes(b"")
    assert "2 problem(s)" in refused(root)


def test_ten_offenders_are_shown_and_the_rest_counted(tmp_path: Path) -> None:
    many(tmp_path, 14)
    for number in range(13):
        (tmp_path / "masks" / f"n{number:02}.png").unlink()
    message = refused(tmp_path)
    assert message.count("no mask for") == 10
    assert "and 3 more" in message


def test_split_files_cannot_reach_outside_the_folder(root: Path) -> None:
    put(root.parent / "secret.png", grey())
    put(root / "masks" / "secret.png", ids(0, 1))
    for stem in ("../../secret", str(root.parent / "secret"), "../images/a"):
        (root / "splits" / "train.txt").write_text(f"{stem}\n")
        assert f"no image has the stem {stem!r}" in refused(root)


# --- real data ---


@pytest.mark.parametrize(
    ("path", "counts", "channels"),
    [
        (FILES / "pairs", [4, 1, 1], 3),
        pytest.param(DATA_SETS / "isbi2012_em", [20, 5, 5], 1, marks=needs_data_set("isbi2012_em")),
        pytest.param(DATA_SETS / "dsb2018", [465, 67, 132], 3, marks=needs_data_set("dsb2018")),
    ],
    ids=["pairs", "isbi2012_em", "dsb2018"],
)
def test_real_folders(path: Path, counts: list[int], channels: int) -> None:
    data = read_folder(path)
    assert [len(samples) for samples in data.splits.values()] == counts
    assert (len(data.classes), data.channels) == (2, channels)
    for samples in data.splits.values():
        assert (
            {0, 1}
            <= {int(value) for held in samples for value in np.unique(held.mask)}
            <= {0, 1, IGNORE}
        )


@needs_data_set("fixtures/isbi2012")
def test_a_real_multi_page_tiff_is_refused(tmp_path: Path) -> None:
    for folder in ("images", "masks"):
        (tmp_path / folder).mkdir()
        for number in range(3):
            (tmp_path / folder / f"{number}.tif").symlink_to(
                DATA_SETS / "fixtures" / "isbi2012" / "train-volume.tif"
            )
    assert "images/0.tif: several pages" in refused(tmp_path)


@needs_data_set("fixtures/oxford-iiit-pet")
def test_real_one_based_trimaps_are_refused(tmp_path: Path) -> None:
    pets = DATA_SETS / "fixtures" / "oxford-iiit-pet"
    (tmp_path / "images").symlink_to(pets / "images")
    (tmp_path / "masks").symlink_to(pets / "annotations" / "trimaps")
    assert "masks/: values 1, 2, 3 are not class ids" in refused(tmp_path)


@needs_data_set("fixtures/VOCdevkit")
def test_real_palette_masks_with_void(tmp_path: Path) -> None:
    voc = DATA_SETS / "fixtures" / "VOCdevkit" / "VOC2012"
    (tmp_path / "images").symlink_to(voc / "JPEGImages")
    (tmp_path / "masks").symlink_to(voc / "SegmentationClass")
    assert "are not class ids" in refused(
        tmp_path
    )  # these have no pixel of class 0, so a scan cannot know
    data = read_folder(tmp_path, classes=12)
    assert any((held.mask == IGNORE).any() for held in data.samples)
