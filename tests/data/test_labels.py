"""What the values of masks are taken for, and what is refused or doubted."""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from PIL import Image, ImageFilter

from unet_bench.data.check import check
from unet_bench.data.dataset import IGNORE, Array, Dataset
from unet_bench.data.folder import read_folder
from unet_bench.errors import InvalidData

SIDE = 32
SHAPES = 6


def shape(number: int) -> Array:
    """Return a mask of 0 and 1: a square that differs from number to number."""
    mask = np.zeros((SIDE, SIDE), np.uint8)
    mask[4 : 12 + number, 3:20] = 1
    return mask


def folder(root: Path, masks: Sequence[Array | Image.Image], **stated: Any) -> Path:
    """Write a data set with these masks."""
    for name in ("images", "masks"):
        (root / name).mkdir(parents=True)
    for number, mask in enumerate(masks):
        picture = mask if isinstance(mask, Image.Image) else Image.fromarray(mask)
        picture.save(root / "masks" / f"p{number}.png")
        Image.fromarray(shape(number) * 140 + 60).save(root / "images" / f"p{number}.png")
    if stated:
        (root / "dataset.json").write_text(json.dumps(stated))
    return root


def is_right(data: Dataset) -> bool:
    """Return whether every mask of a data set is that which its image was drawn from."""
    return all(np.array_equal(s.mask, shape(int(s.name[1:]))) for s in data.samples)


def refusal(root: Path, **options: Any) -> str:
    with pytest.raises(InvalidData) as error:
        read_folder(root, **options)
    return str(error.value)


def grey(*values: int) -> list[Array]:
    """Return masks whose 0 and 1 have these values, in each file the next two."""
    pairs = list(zip(values[::2], values[1::2], strict=True))
    masks = []
    for number in range(SHAPES):
        low, high = pairs[number % len(pairs)]
        masks.append(np.where(shape(number), high, low).astype(np.uint8))
    return masks


def with_palette(
    number: int, *colours: tuple[int, int, int], indices: Sequence[int]
) -> Image.Image:
    picture = Image.fromarray(np.array(indices, np.uint8)[shape(number)])
    picture.putpalette([level for colour in colours for level in colour])
    return picture


BLACK, WHITE, RED = (0, 0, 0), (255, 255, 255), (255, 0, 0)


# --- two classes ---


@pytest.mark.parametrize(("values", "doubts"), [((0, 1), 0), ((0, 255), 0), ((0, 1, 0, 255), 1)])
def test_0_and_1_and_0_and_255_mean_the_same(
    tmp_path: Path, values: tuple[int, ...], doubts: int
) -> None:
    data = read_folder(folder(tmp_path / "set", grey(*values)))
    assert is_right(data)
    assert len(data.doubts) == doubts


def test_255_is_ignored_where_a_file_holds_it_beside_1(tmp_path: Path) -> None:
    masks = grey(0, 1)
    masks[0][0] = 255
    masks[1] = np.where(shape(1), 255, 0).astype(np.uint8)
    data = read_folder(folder(tmp_path / "set", masks))
    values = {int(v) for sample in data.samples for v in np.unique(sample.mask)}
    assert values == {0, 1, IGNORE}
    assert "is it the object there?" in data.doubts[0]


def test_soft_edges_are_refused_with_the_way_out(tmp_path: Path) -> None:
    soft = [Image.fromarray(mask).filter(ImageFilter.GaussianBlur(1)) for mask in grey(0, 255)]
    root = folder(tmp_path / "set", soft)
    message = refusal(root)
    assert "edges were blurred" in message
    entry = '{"labels": {"background": "0-127", "object": "128-255"}}'
    assert entry[1:-1] in message
    (root / "dataset.json").write_text(entry)
    for sample in read_folder(root).samples:
        # Corners are rounded.
        assert (sample.mask != shape(int(sample.name[1:]))).sum() <= 4


def thin_and_soft(number: int) -> Image.Image:
    """Return lines narrower than a pixel, drawn large and made small."""
    rows, columns = np.indices((8 * SIDE, 8 * SIDE))
    lines = ((rows // 2 + columns // 3 + number) % 30 < 3).astype(np.uint8) * 255
    return Image.fromarray(lines).resize((SIDE, SIDE), Image.Resampling.BICUBIC)


def photograph(number: int) -> Image.Image:
    return Image.fromarray(np.random.default_rng(number).integers(0, 255, (SIDE, SIDE), np.uint8))


@pytest.mark.parametrize("made", [thin_and_soft, photograph])
def test_grey_levels_without_any_inside_are_no_classes(
    tmp_path: Path, made: Callable[[int], Image.Image]
) -> None:
    assert "grey levels" in refusal(folder(tmp_path / "set", [made(n) for n in range(SHAPES)]))


def test_many_classes_are_not_taken_for_grey_levels(tmp_path: Path) -> None:
    random = np.random.default_rng(0)
    ids = random.choice([0, *range(92, 182)], (SHAPES, 8, 8)).astype(np.uint8)
    masks = [np.kron(blocks, np.ones((4, 4), np.uint8)) for blocks in ids]
    message = refusal(folder(tmp_path / "set", masks))
    assert "are not class ids" in message
    assert "grey levels" not in message


def test_soft_edges_of_a_class_folder_are_refused(tmp_path: Path) -> None:
    soft = [Image.fromarray(mask).filter(ImageFilter.GaussianBlur(2)) for mask in grey(0, 255)]
    root = folder(tmp_path / "set", soft)
    (root / "masks").rename(root / "cell")
    (root / "masks").mkdir()
    (root / "cell").rename(root / "masks" / "cell")
    assert "cell/p0.png" in refusal(root)


def test_what_is_mostly_object_is_doubted_in_a_class_folder_too(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", grey(255, 0))
    (root / "masks").rename(root / "cell")
    (root / "masks").mkdir()
    (root / "cell").rename(root / "masks" / "cell")
    assert "is that the background?" in read_folder(root).doubts[0]


@pytest.mark.parametrize("classes", [None, 3])
def test_an_object_of_255_that_is_ignored_is_doubted(tmp_path: Path, classes: int | None) -> None:
    masks = grey(0, 255)
    masks[0][4, 3] = 1  # a stray pixel
    doubts = read_folder(folder(tmp_path / "set", masks), classes=classes).doubts
    assert any("is 255 a class?" in doubt for doubt in doubts)


def test_a_value_below_0_is_answered_with_how_to_ignore_it(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", grey(0, 1))
    (root / "masks" / "p0.png").unlink()
    np.save(root / "masks" / "p0.npy", shape(0).astype(np.int16) - 1)
    assert '"ignore": -1' in refusal(root)


def test_masks_of_one_image_have_one_scheme(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", grey(0, 1))
    for number in range(SHAPES):
        (root / "masks" / f"p{number}.png").rename(root / "masks" / f"p{number}_0.png")
        Image.fromarray(255 - 255 * shape(number)).save(root / "masks" / f"p{number}_1.png")
    assert "save all alike" in refusal(root)


def test_255_beside_1_is_ignored_in_a_class_folder_too(tmp_path: Path) -> None:
    masks = grey(0, 1)
    for mask in masks:
        mask[0] = 255
    root = folder(tmp_path / "set", masks)
    (root / "masks").rename(root / "cell")
    (root / "masks").mkdir()
    (root / "cell").rename(root / "masks" / "cell")
    for sample in read_folder(root).samples:
        assert (sample.mask[0] == IGNORE).all()
        assert np.array_equal(sample.mask[1:], shape(int(sample.name[1:]))[1:])


def test_a_value_below_0_may_be_ignored_whether_a_mask_holds_it_or_not(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", grey(0, 1), ignore=-1)
    for number in range(SHAPES):
        mask = shape(number).astype(np.int16)
        mask[0] = -1 if number < 2 else 0
        np.save(root / "masks" / f"p{number}.npy", mask)
        (root / "masks" / f"p{number}.png").unlink()
    for sample in read_folder(root).samples:
        number = int(sample.name[1:])
        assert np.array_equal(sample.mask[1:], shape(number)[1:])
        assert (sample.mask[0] == (IGNORE if number < 2 else 0)).all()


def test_jpeg_masks_are_read_where_ranges_are_stated(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", grey(0, 255))
    for file in (root / "masks").iterdir():
        Image.open(file).save(file.with_suffix(".jpg"), quality=60)
        file.unlink()
    assert "blurs class ids" in refusal(root)
    (root / "dataset.json").write_text('{"labels": {"background": "0-127", "object": "128-255"}}')
    assert is_right(read_folder(root))


def test_what_is_mostly_object_is_doubted(tmp_path: Path) -> None:
    data = read_folder(folder(tmp_path / "set", grey(255, 0)))
    assert "is that the background?" in data.doubts[0]


# --- objects with numbers ---


def numbered() -> list[Array]:
    """Return masks in which each object has a number of its own."""
    masks = []
    for number in range(SHAPES):
        mask = np.zeros((SIDE, SIDE), np.uint16)
        for index in range(2 + 2 * number):
            row, column = divmod(index, 5)
            mask[row * 6 : row * 6 + 4, column * 6 : column * 6 + 4] = index + 1
        masks.append(mask)
    return masks


def test_more_numbers_than_classes_are_answered_with_the_way_out(tmp_path: Path) -> None:
    ids = np.arange(1, 1 + 18 * 18, dtype=np.uint16).reshape(18, 18)
    root = folder(tmp_path / "set", [np.kron(ids, np.ones((4, 4), np.uint16))] * SHAPES)
    masks = {file: np.pad(np.array(Image.open(file)), 1) for file in (root / "masks").iterdir()}
    for file, mask in masks.items():
        Image.fromarray(mask).save(file)
        Image.new("L", mask.shape, int(file.stem[1:])).save(root / "images" / file.name)
    assert "325 values" in (message := refusal(root))
    assert "--classes binary" in message
    assert read_folder(root, classes="binary").classes == ("background", "object")


@pytest.mark.parametrize("way", ["classes", "labels"])
def test_numbers_of_objects_are_doubted_and_binary_is_the_way_out(tmp_path: Path, way: str) -> None:
    root = folder(tmp_path / "set", numbered())
    doubts = read_folder(root).doubts
    assert "12 classes, as many as the fullest image has objects" in doubts[0]
    assert "--classes binary" in doubts[0]
    if way == "labels":
        (root / "dataset.json").write_text('{"labels": "binary"}')
    data = read_folder(root, classes="binary" if way == "classes" else None)
    assert data.classes == ("background", "object")
    for sample in data.samples:
        assert np.array_equal(sample.mask, numbered()[int(sample.name[1:])] > 0)


def test_the_table_of_many_values_is_cut(tmp_path: Path) -> None:
    report = check(read_folder(folder(tmp_path / "set", numbered()), classes=200))
    assert "classes more (--json lists all)" in report.text()
    assert len(report.text().splitlines()) < 80


# --- other values ---


def test_grey_levels_are_refused_with_an_entry_to_paste(tmp_path: Path) -> None:
    masks = grey(0, 127)
    masks[0][0, :4] = 255
    root = folder(tmp_path / "set", masks)
    message = refusal(root)
    entry = '"labels": {"background": 0, "class 1": 127, "class 2": 255}'
    assert entry in message
    (root / "dataset.json").write_text(f"{{{entry}}}")
    data = read_folder(root)
    assert data.classes == ("background", "class 1", "class 2")
    assert {row.value: row.meaning for row in data.labels} == {
        "0": "background", "127": "class 1", "255": "class 2",
    }  # fmt: skip


def test_labels_may_be_values_ranges_lists_and_ignored(tmp_path: Path) -> None:
    masks = grey(7, 40)
    masks[0][0] = 99
    labels = {"cell": ["30-50", 60], "background": 7}
    data = read_folder(folder(tmp_path / "set", masks, labels=labels, ignore=[99]))
    assert data.classes == ("background", "cell")
    first = next(sample for sample in data.samples if sample.name == "p0")
    assert (first.mask[0] == IGNORE).all()
    assert np.array_equal(first.mask[1:], shape(0)[1:])


@pytest.mark.parametrize(
    ("stated", "message"),
    [
        ({"labels": {"background": 0, "cell": "1-2"}}, "values 9 are in no label"),
        ({"labels": {"background": "0-5", "cell": "4-9"}}, "labels give 4 two meanings"),
        ({"labels": {"background": 0, "cell": "#ff"}}, "'#ff' must be one whole number"),
        ({"labels": ["background"]}, "must be an object from names to values"),
        ({"labels": {"background": 0}}, "give 2 to 255 different names"),
        ({"ignore": "#ff0000"}, "ignore is a colour"),
    ],
)
def test_labels_that_do_not_fit_are_refused(
    tmp_path: Path, stated: dict[str, Any], message: str
) -> None:
    assert message in refusal(folder(tmp_path / "set", grey(0, 9), **stated))


def test_gaps_are_doubted(tmp_path: Path) -> None:
    assert "values have gaps" in read_folder(folder(tmp_path / "set", grey(0, 2))).doubts[0]


# --- colours and palettes ---


def test_colours_are_refused_with_an_entry_to_paste(tmp_path: Path) -> None:
    colours = np.array([BLACK, RED], np.uint8)
    root = folder(tmp_path / "set", [colours[shape(number)] for number in range(SHAPES)])
    entry = '"labels": {"background": "#000000", "class 1": "#ff0000"}'
    assert entry in refusal(root)
    (root / "dataset.json").write_text(f"{{{entry}}}")
    data = read_folder(root)
    assert is_right(data)
    assert [row.value for row in data.labels] == ["#000000", "#ff0000"]


def test_a_class_table_says_what_colours_mean(tmp_path: Path) -> None:
    colours = np.array([BLACK, RED], np.uint8)
    root = folder(tmp_path / "set", [colours[shape(number)] for number in range(SHAPES)])
    (root / "class_dict.csv").write_text("name,r,g,b\nVoid,0,0,0\nCar,255,0,0\n")
    data = read_folder(root)
    assert is_right(data)
    assert data.classes == ("Void", "Car")
    (root / "class_dict.csv").unlink()
    (root / "label_colors.txt").write_text("0 0 0\tVoid\n255 0 0\tCar\n")
    assert read_folder(root).classes == ("Void", "Car")


def test_a_class_table_names_the_ids_of_masks_without_colours(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", grey(0, 1))
    (root / "class_dict.csv").write_text("name,r,g,b\nVoid,0,0,0\nCar,255,0,0\n")
    data = read_folder(root)
    assert is_right(data)
    assert data.classes == ("Void", "Car")
    (root / "class_dict.csv").write_text("name,r,g,b\nVoid,0,0,0\nCar,1,1,1\n")
    assert read_folder(root).classes == ("Void", "Car")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("labelmap.txt", "# label:color_rgb:parts:actions\nbackground:0,0,0::\nCar:255,0,0::\n"),
        ("class_dict.csv", "Name, R, G, B\nbackground, 0, 0, 0\nCar, 255, 0, 0\n"),
    ],
)
def test_class_tables_that_tools_export(tmp_path: Path, name: str, text: str) -> None:
    colours = np.array([BLACK, RED], np.uint8)
    root = folder(tmp_path / "set", [colours[shape(number)] for number in range(SHAPES)])
    (root / name).write_text(text)
    data = read_folder(root)
    assert is_right(data)
    assert data.classes == ("background", "Car")


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("_classes.csv", "Pixel Value, Class\n0, background\n1, Car\n"),
        ("class_names.txt", "__ignore__\n_background_\nCar\n"),
    ],
)
def test_tables_of_values_are_read_where_the_images_lie(
    tmp_path: Path, name: str, text: str
) -> None:
    root = folder(tmp_path / "set", grey(0, 1))
    (root / "images" / name).write_text(text)
    data = read_folder(root)
    assert is_right(data)
    assert data.classes == ("background", "Car")
    assert [name in note for note in data.notes] == [True], "it is read, and not left out"
    (root / name).write_text(text.replace("Car", "Bus"))
    assert f"{name} and images/{name} differ" in refusal(root)


@pytest.mark.parametrize("name", ["labelmap.txt", "label_colors.txt", "class_dict.csv"])
@pytest.mark.parametrize("text", ["", "x", "x\ny,z\n", "a:1\n", "1 2 3\n", '"'])
def test_a_class_table_that_says_nothing_is_a_problem(tmp_path: Path, name: str, text: str) -> None:
    root = folder(tmp_path / "set", grey(0, 1))
    (root / name).write_text(text)
    assert f"{name}: cannot be read" in refusal(root)


def test_names_without_a_background_say_nothing(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", grey(0, 1))
    (root / "class_names.txt").write_text("Car\nBus\n")
    assert read_folder(root).classes == ("background", "class 1")


def test_several_masks_of_an_image_share_a_palette(tmp_path: Path) -> None:
    masks = [with_palette(n, BLACK, RED, indices=(0, 1)) for n in range(SHAPES)]
    root = folder(tmp_path / "set", masks)
    for number in range(SHAPES):
        (root / "masks" / f"p{number}.png").rename(root / "masks" / f"p{number}_0.png")
        other = with_palette(number, BLACK, WHITE, indices=(0, 1))
        other.save(root / "masks" / f"p{number}_1.png")
    assert "masks/p0_1.png: another palette" in refusal(root)


def test_equal_palettes_give_indices(tmp_path: Path) -> None:
    masks = [with_palette(n, (7, 8, 9), RED, indices=(0, 1)) for n in range(SHAPES)]
    assert is_right(read_folder(folder(tmp_path / "set", masks)))


def test_grey_palettes_that_differ_give_grey_levels(tmp_path: Path) -> None:
    masks = [
        with_palette(n, WHITE, BLACK, indices=(1, 0))
        if n % 2
        else with_palette(n, BLACK, WHITE, indices=(0, 1))
        for n in range(SHAPES)
    ]
    assert is_right(read_folder(folder(tmp_path / "set", masks)))


def test_a_grey_palette_beside_grey_files_gives_grey_levels(tmp_path: Path) -> None:
    masks: list[Array | Image.Image] = [*grey(0, 255)]
    masks[2] = with_palette(2, BLACK, WHITE, indices=(0, 1))
    data = read_folder(folder(tmp_path / "set", masks))
    assert is_right(data)
    assert not data.doubts


def test_colour_palettes_that_differ_are_refused_or_mapped_by_colour(tmp_path: Path) -> None:
    masks = [
        with_palette(n, RED, BLACK, indices=(1, 0))
        if n % 2
        else with_palette(n, BLACK, RED, indices=(0, 1))
        for n in range(SHAPES)
    ]
    root = folder(tmp_path / "set", masks)
    message = refusal(root)
    assert "palettes disagree: index 0 is #000000 and #ff0000" in message
    (root / "dataset.json").write_text('{"labels": {"background": "#000000", "thing": "#ff0000"}}')
    assert is_right(read_folder(root))


# --- the report ---


def test_the_report_says_what_each_value_was_taken_for(tmp_path: Path) -> None:
    report = check(read_folder(folder(tmp_path / "set", grey(0, 1, 0, 255))))
    text = report.text()
    assert "  255 → class 1:" in text
    assert "in 3 file(s)" in text
    assert "doubt: masks/" in text
    assert sum(row.share for row in report.values) == pytest.approx(1)


def test_a_range_may_be_ignored_without_labels(tmp_path: Path) -> None:
    masks = grey(0, 1)
    masks[0][0] = 205
    data = read_folder(folder(tmp_path / "set", masks, ignore="200-210"))
    first = next(sample for sample in data.samples if sample.name == "p0")
    assert (first.mask[0] == IGNORE).all()


def test_a_range_of_greys_beside_colours_holds_no_colour(tmp_path: Path) -> None:
    colours = np.array([(90, 90, 90), (0, 200, 0)], np.uint8)
    masks = [colours[shape(number)] for number in range(SHAPES)]
    root = folder(tmp_path / "set", masks, labels={"background": "0-127", "cell": "#00c800"})
    assert is_right(read_folder(root))
    masks[0][0] = (1, 2, 3)
    Image.fromarray(masks[0]).save(root / "masks" / "p0.png")
    assert "values #010203 are in no label" in refusal(root)


# --- what files say twice, and not alike ---


def test_a_colour_that_is_two_indices_in_two_files_is_refused(tmp_path: Path) -> None:
    masks = [
        with_palette(n, BLACK, RED, BLACK, indices=(0, 1))
        if n % 2
        else with_palette(n, BLACK, BLACK, RED, indices=(0, 2))
        for n in range(SHAPES)
    ]
    root = folder(tmp_path / "set", masks)
    assert "palettes disagree: #ff0000 is index 1 and 2" in refusal(root)
    stated = {"labels": {"background": "#000000", "object": "#ff0000"}}
    (root / "dataset.json").write_text(json.dumps(stated))
    assert is_right(read_folder(root))


def test_a_palette_with_a_colour_twice_tells_indices_apart(tmp_path: Path) -> None:
    masks = [with_palette(n, BLACK, RED, RED, indices=(0, 1 + n % 2)) for n in range(SHAPES)]
    data = read_folder(folder(tmp_path / "set", masks))
    assert {int(sample.mask.max()) for sample in data.samples} == {1, 2}


@pytest.mark.parametrize("stated", [{"labels": "binary"}, {"classes": ["a", "b"]}, {}])
def test_255_is_ignored_where_that_is_said(tmp_path: Path, stated: dict[str, Any]) -> None:
    masks = grey(0, 1)
    for mask in masks:
        mask[0] = 255
    masks[1] = np.where(shape(1), 1, 255).astype(np.uint8)
    masks[2] = np.where(shape(2), 255, 0).astype(np.uint8)  # not the object, whatever it looks like
    data = read_folder(folder(tmp_path / "set", masks, ignore=255, **stated))
    for sample in data.samples:
        held = masks[int(sample.name[1:])]
        np.testing.assert_array_equal(sample.mask, held)


@pytest.mark.parametrize(
    ("key", "meant"),
    [("labls", "labels"), ("Labels", "labels"), ("ignore_label", "ignore"), ("clases", "classes")],
)
def test_a_misspelt_key_is_a_doubt(tmp_path: Path, key: str, meant: str) -> None:
    root = folder(tmp_path / "set", grey(0, 255), **{key: 0, "licence": "CC0", "source": "x"})
    [doubt] = [doubt for doubt in read_folder(root).doubts if "dataset.json" in doubt]
    assert key in doubt
    assert meant in doubt


def numbered_objects(*counts: int, first: int = 1) -> list[Array]:
    """Return masks of so many squares each, numbered from `first` on."""
    masks = []
    for count in counts:
        mask = np.zeros((SIDE, SIDE), np.uint8)
        for number in range(count):
            row, column = divmod(number, 8)
            mask[4 * row : 4 * row + 3, 4 * column : 4 * column + 3] = first + number
        masks.append(mask)
    return masks


@pytest.mark.parametrize(
    "masks",
    [
        numbered_objects(*[30] * SHAPES),  # as many in each image
        numbered_objects(1, 1, 1, 6, 1, 1),  # mostly one
        numbered_objects(20, 21, 20, 21, 20, 20),
        [  # numbers that run on from file to file
            *numbered_objects(5),
            *numbered_objects(5, first=6),
            *numbered_objects(5, first=11),
            *numbered_objects(5, first=16),
            *numbered_objects(5, first=21),
            *numbered_objects(5, first=26),
        ],
    ],
    ids=["equal counts", "mostly one", "about equal", "running on"],
)
def test_numbers_of_objects_are_doubted_as_classes(tmp_path: Path, masks: list[Array]) -> None:
    data = read_folder(folder(tmp_path / "set", masks))
    assert "numbers of objects" in "; ".join(data.doubts)
    assert "--classes binary" in "; ".join(data.doubts)
    assert not read_folder(tmp_path / "set", classes="binary").doubts


def test_few_classes_that_are_in_every_image_are_not_doubted(tmp_path: Path) -> None:
    data = read_folder(folder(tmp_path / "set", numbered_objects(*[5] * SHAPES)))
    assert len(data.classes) == 6
    assert not data.doubts


def in_class_folders(root: Path, **stated: Any) -> Path:
    """Write masks in a folder a class; in half of the files the two lie over each other."""
    folder(root, grey(0, 255), **stated)
    for file in (root / "masks").iterdir():
        for name in ("edge", "inner"):
            (root / "masks" / name).mkdir(exist_ok=True)
        number = int(file.stem[1:])
        drawn = shape(number)
        edge = np.zeros_like(drawn)
        edge[4 : 6 if number % 2 else 4, 3:20] = 1  # within the other
        edge[25:28] = 1
        for name, mask in (("edge", edge), ("inner", drawn)):
            Image.fromarray(255 * mask).save(root / "masks" / name / file.name)
        file.unlink()
    return root


def test_masks_of_classes_that_cover_one_another_are_doubted(tmp_path: Path) -> None:
    [doubt] = read_folder(in_class_folders(tmp_path / "set")).doubts
    assert "of several masks with different values (in p1, p3, p5)" in doubt


def test_a_dataset_json_that_folders_overrule_is_doubted(tmp_path: Path) -> None:
    root = in_class_folders(tmp_path / "set", labels="binary")
    assert "labels not read" in "; ".join(read_folder(root).doubts)


@pytest.mark.parametrize("name", ["train_ids.txt", "holdout.txt"])
def test_lists_of_images_that_are_no_splits_are_doubted(tmp_path: Path, name: str) -> None:
    root = folder(tmp_path / "set", grey(0, 255))
    (root / name).write_text("p1.png\np2.png\n")
    (root / "readme.txt").write_text("About p1 and others\n")
    [doubt] = read_folder(root).doubts
    assert name in doubt
    assert "readme" not in doubt


def test_split_files_without_an_ending_are_named(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", grey(0, 255))
    (root / "splits").mkdir()
    for name in ("train", "val", "test"):
        (root / "splits" / name).write_text("p1\n")
    assert "not used as splits" in "; ".join(read_folder(root).notes)


def test_a_pair_of_another_image_s_mask_is_refused(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", grey(0, 255))
    (root / "splits").mkdir()
    for name, line in (("train", "p0.png p1.png"), ("val", "p2.png p2.png"), ("test", "p3 1")):
        (root / "splits" / f"{name}.txt").write_text(line)
    message = refusal(root)
    assert "names the mask of p1 beside p0" in message
    assert "p2" not in message


def test_names_with_spaces_and_labels_behind_names_are_no_pairs(tmp_path: Path) -> None:
    root = folder(tmp_path / "set", grey(0, 255))
    for kind in ("images", "masks"):
        (root / kind / "p0.png").rename(root / kind / "p1 p2.png")
        (root / kind / "p3.png").rename(root / kind / "1.png")
    (root / "splits").mkdir()
    for name, line in (("train", "p1 p2"), ("val", "p4 1"), ("test", "p5.png 1")):
        (root / "splits" / f"{name}.txt").write_text(line)
    data = read_folder(root)
    assert [sample.name for sample in data.samples] == ["p1 p2", "p4", "p5"]


def test_a_value_a_file_that_fills_it_is_told(tmp_path: Path) -> None:
    full = [np.full((SIDE, SIDE), number, np.uint8) for number in range(25)]
    data = read_folder(folder(tmp_path / "set", full))
    assert "numbers of objects" in "; ".join(data.doubts)
