"""COCO's and LabelMe's shapes, and numpy's stacks: the right pixels, a note, or a refusal."""

from __future__ import annotations

import base64
import io
import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from skimage.draw import polygon as reference_polygon
from support.formats import (
    CAR,
    CATEGORIES,
    CELL,
    RGB,
    SIZE,
    SQUARE,
    coco,
    folder,
    ids,
    labelme,
    npy,
    put,
    shape,
    write,
)

from unet_bench.data.dataset import IGNORE, Array, Dataset
from unet_bench.data.findings import Findings
from unet_bench.data.sources import open_dataset
from unet_bench.errors import InvalidData
from unet_bench.registry.registry import Registry
from unet_bench_formats import drawing
from unet_bench_formats.coco import _counts
from unet_bench_formats.coco import read as read_coco
from unet_bench_formats.labelme import read as read_labelme
from unet_bench_formats.npy import read as read_npy


def square(class_id: int = 1) -> Array:
    """Return the mask of `SQUARE`."""
    mask = np.zeros(SIZE, np.uint8)
    mask[1:4, 2:6] = class_id
    return mask


def named(data: Dataset, name: str) -> Array:
    return next(sample.mask for sample in data.samples if sample.name == name)


def first(path: Path, **options: Any) -> Array:
    """Return the mask of the first picture of COCO's tree."""
    return named(read_coco(path, **options), f"train2017/{0:012}")


def refused(read: Callable[[Path], Dataset], path: Path) -> str:
    with pytest.raises(InvalidData) as error:
        read(path)
    return str(error.value)


# --- drawing ---

INSIDE = st.tuples(st.floats(-5, 25), st.floats(-5, 25))


@given(st.lists(INSIDE, min_size=3, max_size=12))
def test_the_centres_inside_an_outline_are_drawn(outline: list[tuple[float, float]]) -> None:
    """Compare with scikit-image, whose rule for centres on the very outline is another."""
    corners = np.array(outline)
    canvas = drawing.Canvas((20, 16))
    canvas.draw(drawing.polygon(corners, (20, 16)), 1)
    expected = np.zeros((20, 16), np.uint8)
    expected[reference_polygon(corners[:, 1] - 0.5, corners[:, 0] - 0.5, (20, 16))] = 1
    y, x = np.mgrid[:20, :16] + 0.5
    gap = np.full((20, 16), np.inf)
    for start, end in zip(corners, np.roll(corners, -1, axis=0), strict=True):
        along, length = end - start, max(1e-12, float(((end - start) ** 2).sum()))
        at = np.clip(((x - start[0]) * along[0] + (y - start[1]) * along[1]) / length, 0, 1)
        gap = np.minimum(gap, np.hypot(x - start[0] - at * along[0], y - start[1] - at * along[1]))
    clear = gap > 1e-6
    assert np.array_equal(canvas.mask[clear], expected[clear])


def test_a_disc_reaches_as_far_as_its_rim() -> None:
    patch = drawing.disc(np.array([5.0, 5.0]), np.array([5.0, 8.0]), (10, 10))
    assert patch.inside.sum() == 32  # of 9π = 28.3, by centres
    assert (patch.top, patch.left, patch.inside.shape) == (2, 2, (6, 6))
    beyond = drawing.disc(np.array([-50.0, 5.0]), np.array([-49.0, 5.0]), (10, 10))
    assert not beyond.inside.any()


@pytest.mark.parametrize(
    ("classes", "names", "expected"),
    [
        (None, ("background", "car", "dog"), {"car": 1, "dog": 2}),
        ("binary", ("background", "object"), {"car": 1, "dog": 1}),
        (("bg", "dog", "car"), ("bg", "dog", "car"), {"car": 2, "dog": 1}),
        (("bg", "dog"), ("bg", "dog"), {"car": 0, "dog": 1}),
        (("bg", "auto", "Hund"), ("bg", "auto", "Hund"), {"car": 1, "dog": 2}),
        (("bg", "auto"), (), {"car": 0, "dog": 0}),
    ],
)
def test_labels_become_classes(
    tmp_path: Path, classes: Any, names: tuple[str, ...], expected: dict[str, int]
) -> None:
    found = Findings(tmp_path)
    got, ids_of = drawing.numbered(["background", "car", "dog"], classes, found)
    assert (got, ids_of) == (names, {"background": 0} | expected)
    assert bool(found.problems) == (not names)


# --- COCO ---


def test_outlines_become_masks(tmp_path: Path) -> None:
    data = read_coco(coco(tmp_path))
    assert data.classes == ("background", "car", "dog")
    assert np.array_equal(named(data, f"train2017/{0:012}"), square())
    assert not named(data, f"train2017/{1:012}").any()
    assert data.split_by == "seeded 70/10/20, seed 0"


def runs(mask: Array) -> list[int]:
    """Return the lengths of runs down the columns, the first of zeros."""
    values = np.concatenate([[0], mask.T.ravel()])
    starts = np.flatnonzero(np.diff(values)) + 1
    return np.diff(np.concatenate([[0], starts - 1, [mask.size]])).astype(int).tolist()


MASKS = st.lists(st.integers(0, 1), min_size=60, max_size=60).map(
    lambda values: np.array(values, np.uint8).reshape(SIZE)
)


@given(MASKS)
def test_packed_runs_are_unpacked_as_pycocotools_does(mask: Array) -> None:
    masks = pytest.importorskip("pycocotools.mask")
    packed = masks.encode(np.asfortranarray(mask))["counts"].decode()
    assert _counts(packed) == runs(mask)
    wide = [10**9, 3, 10**9 - 5, 70, 1, 2]
    held = masks.frPyObjects({"counts": wide, "size": [50000, 50000]}, 50000, 50000)["counts"]
    assert _counts(held.decode()) == wide


@pytest.mark.parametrize("counts", [runs(square()), "=3333P100N"])
def test_runs_become_masks(tmp_path: Path, counts: object) -> None:
    packed = {"counts": counts, "size": [6, 10]}
    if isinstance(counts, str):
        masks = pytest.importorskip("pycocotools.mask")
        packed["counts"] = masks.encode(np.asfortranarray(square()))["counts"].decode()
    path = coco(tmp_path, CAR | {"segmentation": packed})
    assert np.array_equal(first(path), square())


def test_crowds_and_boxes_without_outline_are_ignored_where_nothing_else_is(
    tmp_path: Path,
) -> None:
    crowd = {"counts": runs(np.ones(SIZE, np.uint8)), "size": [6, 10]}
    path = coco(tmp_path, CAR, CAR | {"segmentation": crowd, "iscrowd": 1})
    assert np.array_equal(first(path), np.where(square(), 1, IGNORE))
    shutil.rmtree(path)
    path = coco(tmp_path, CAR | {"segmentation": [], "bbox": [2, 1, 4, 3]})
    assert np.array_equal(first(path), square(IGNORE))


@pytest.mark.parametrize("order", [1, -1])
def test_the_smaller_object_lies_on_top(tmp_path: Path, order: int) -> None:
    dog = CAR | {"category_id": 18, "segmentation": [[0, 0, 10, 0, 10, 6, 0, 6]]}
    path = coco(tmp_path, *[CAR, dog][::order])
    data = read_coco(path)
    assert np.array_equal(first(path), np.where(square(), 1, 2))
    assert any("overlap in 1 image(s): the smaller one" in note for note in data.notes)


def test_headings_of_roboflow_are_no_classes(tmp_path: Path) -> None:
    """Test its export: a folder a split, and a first category that only groups the others."""
    groups = [{"id": 0, "name": "cells", "supercategory": "none"}]
    groups += [{"id": 1, "name": "cell", "supercategory": "cells"}]
    for number, split in enumerate(("train", "valid", "test")):
        name = f"a{number}_jpg.rf.0a1b.jpg"
        put(tmp_path / "export" / split / name, RGB)
        entry = {"image_id": 7, "category_id": 1, "segmentation": [SQUARE]}
        stated = {"categories": groups, "annotations": [entry]}
        stated["images"] = [{"id": 7, "file_name": name, "height": 6, "width": 10}]
        write(tmp_path / "export" / split / "_annotations.coco.json", json.dumps(stated))
    data = read_coco(tmp_path / "export")
    assert data.classes == ("background", "cell")
    assert [sample.name for sample in data.val] == ["valid/a1_jpg.rf.0a1b"]
    assert all(np.array_equal(sample.mask, square()) for sample in data.samples)
    assert "'cells' has no object" in data.notes[0]


def test_a_file_a_split(tmp_path: Path) -> None:
    path = coco(tmp_path)
    val = path / "annotations" / "instances_val2017.json"
    shutil.copy(path / "annotations" / "instances_train2017.json", val)
    shutil.copytree(path / "train2017", path / "val2017")
    write(path / "annotations" / "captions_val2017.json", "{}")
    data = read_coco(path)
    assert {sample.name.split("/")[0] for sample in data.test} == {"val2017"}
    assert {sample.name.split("/")[0] for sample in data.train} == {"train2017"}
    val.rename(path / "annotations" / "instances_train2014.json")
    assert "which is for what?" in refused(read_coco, path)


def test_one_file_may_be_named(registry: Registry, tmp_path: Path) -> None:
    path = coco(tmp_path)
    file = path / "annotations" / "instances_train2017.json"
    by_file = open_dataset(registry, str(file))
    assert by_file.hash == open_dataset(registry, str(path)).hash
    beside = shutil.move(file, path / "mine.json")
    shutil.move(path / "train2017", path / "images")
    assert len(open_dataset(registry, f"coco:{beside}").samples) == 4


def test_where_masks_lie_beside_the_images_these_are_meant(
    registry: Registry, tmp_path: Path
) -> None:
    path = folder(tmp_path)
    write(path / "annotations.json", "{}")
    for stem in "abc":
        write(path / "images" / f"{stem}.json", "{}")
    assert [entry.name for entry in registry.entries("reader") if entry.fits(path)] == ["folder"]


def image(**changed: Any) -> dict[str, Any]:
    about = {"id": 9, "file_name": f"{0:012}.jpg", "height": 6, "width": 10}
    return {"images": [about | changed]}


@pytest.mark.parametrize(
    ("annotation", "stated", "expected"),
    [
        (CAR, image(height=10, width=6), "stated to be 6 wide and 10 high, but the picture is 10"),
        (CAR, image(file_name="../../secret.png"), "leads out of the folder"),
        (CAR, image(file_name="none.png"), "'none.png': no such file; add it"),
        (CAR, image(file_name=7), "needs a file_name"),
        (CAR, image(id=[1]), "needs a file_name, and an id of its own"),
        (CAR, {"images": image()["images"] * 2}, "an id of its own"),
        (CAR | {"category_id": 5}, {}, "category 5 is not in `categories`"),
        (CAR | {"segmentation": [[1, 2, 3]]}, {}, "is no list of x and y"),
        (CAR | {"segmentation": [["a", 2]]}, {}, "is no list of x and y"),
        (CAR | {"segmentation": [[1e9, 2, 3, 4, 5, 6]]}, {}, "leads nowhere"),
        (CAR | {"segmentation": [[float("nan")] * 6]}, {}, "leads nowhere"),
        (CAR | {"segmentation": [[10**400] * 6]}, {}, "is no list of x and y"),
        (CAR | {"segmentation": 7}, {}, "neither outline nor mask"),
        (CAR | {"segmentation": None}, {}, "neither a segmentation nor a box"),
        (CAR | {"segmentation": {"counts": [60], "size": [10**9] * 2}}, {}, "a mask of size"),
        (CAR | {"segmentation": {"counts": [59], "size": [6, 10]}}, {}, "do not fill"),
        (CAR | {"segmentation": {"counts": [61, -1], "size": [6, 10]}}, {}, "do not fill"),
        (CAR | {"segmentation": {"counts": "0", "size": [6, 10]}}, {}, "do not fill"),
        (CAR | {"segmentation": {"counts": "oooooooo", "size": [6, 10]}}, {}, "do not fill"),
        (CAR, {"categories": []}, "no label names a class"),
        (CAR, {"categories": [{"id": 3}]}, "needs an id and a name"),
        (CAR, {"images": {}}, "`images` must be a list of objects"),
    ],
    ids=str,
)
def test_what_coco_cannot_mean_is_refused(
    tmp_path: Path, annotation: dict[str, Any], stated: dict[str, Any], expected: str
) -> None:
    if stated.get("images") and isinstance(stated["images"], list):
        annotation = annotation | {"image_id": 9}
    assert expected in refused(read_coco, coco(tmp_path, annotation, **stated))


def test_what_is_not_used_is_noted(tmp_path: Path) -> None:
    path = coco(tmp_path, CAR, CAR | {"image_id": 77}, CAR | {"segmentation": [[1, 1, 2, 2]]})
    put(path / "train2017" / "other.png", RGB)
    notes = "; ".join(read_coco(path).notes)
    assert "1 annotation(s) belong to no image" in "; ".join(read_coco(path).doubts)
    assert "1 picture(s) are in no JSON file: other.png" in notes
    assert "1 shape(s) cover no pixel's centre" in notes


def test_shapes_cannot_take_for_ever(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(drawing, "MOST_LAYERS", 2)
    whole = CAR | {"segmentation": [[0, 0, 10, 0, 10, 6, 0, 6]]}
    message = refused(read_coco, coco(tmp_path, whole, whole, whole))
    assert "its shapes cover it more than 2 times" in message
    monkeypatch.setattr(drawing, "MOST_CROSSINGS", 5)
    shutil.rmtree(tmp_path / "coco")
    assert "is too long; simplify it" in refused(read_coco, coco(tmp_path))


def test_a_heading_needs_no_object_but_a_category_without_any_stays(tmp_path: Path) -> None:
    path = coco(tmp_path, CAR, categories=[*CATEGORIES, {"id": 1, "name": "animal"}])
    data = read_coco(path)
    assert data.classes == ("background", "car", "dog")


# --- LabelMe ---


def png(pixels: Array) -> str:
    made = io.BytesIO()
    Image.fromarray(pixels).save(made, "PNG")
    return base64.b64encode(made.getvalue()).decode()


HOLE = {"mask": png(np.array([[True, False], [True, True]]))}


@pytest.mark.parametrize(
    ("drawn", "expected"),
    [
        (CELL, square()),
        (shape("cell", (2, 4), (6, 1), kind="rectangle"), square()),
        (shape("cell", (2, 1), (6, 1), (6, 4), (2, 4), kind="rectangle"), square()),
        (shape("cell", (2, 1), (6, 1), (6, 4), (2, 4), kind="oriented_rectangle"), square()),
        (shape("cell", (2, 1), (3, 2), kind="mask") | HOLE, [(1, 2), (2, 2), (2, 3)]),
        (shape("cell", (4, 3), (4, 4), kind="circle"), [(2, 3), (2, 4), (3, 3), (3, 4)]),
        (shape("cell", (4, 3), (4, 4), kind="line"), []),
    ],
    ids=lambda value: value.get("shape_type", "") if isinstance(value, dict) else "",
)
def test_shapes_become_masks(
    tmp_path: Path, drawn: dict[str, Any], expected: Array | list[tuple[int, int]]
) -> None:
    data = read_labelme(labelme(tmp_path, drawn))
    if isinstance(expected, list):
        pixels, expected = expected, np.zeros(SIZE, np.uint8)
        for row, column in pixels:
            expected[row, column] = 1
    assert np.array_equal(named(data, "a"), expected)
    assert data.classes == ("background", "cell")
    has_line = drawn["shape_type"] == "line"
    assert has_line == any("1 line(s) and point(s) have no area" in note for note in data.notes)


def test_pictures_without_shapes_are_noted_and_a_shared_one_is_doubted(tmp_path: Path) -> None:
    path = labelme(tmp_path)
    assert not read_labelme(path).notes
    put(path / "e.png", RGB)
    assert "1 picture(s) without a JSON file not read: e.png" in "; ".join(read_labelme(path).notes)
    stated = json.loads((path / "b.json").read_text())
    (path / "b.json").write_text(json.dumps(stated | {"imagePath": "a.png"}))
    data = read_labelme(path)
    assert "several JSON files name a.png" in "; ".join(data.doubts)
    assert "2 picture(s) without a JSON file" in "; ".join(data.notes)


def test_the_later_shape_lies_on_top_and_ignored_is_ignored(tmp_path: Path) -> None:
    whole = ((0, 0), (10, 0), (10, 6), (0, 6))
    path = labelme(tmp_path, CELL, shape("Tissue", *whole), shape("__ignore__", (0, 0), (1, 0)))
    data = read_labelme(path)
    assert data.classes == ("background", "Tissue", "cell")
    assert (named(data, "a") == 1).all()
    shutil.rmtree(path)
    path = labelme(tmp_path, shape("__ignore__", *whole), CELL)
    assert np.array_equal(named(read_labelme(path), "a"), np.where(square(), 1, IGNORE))


@pytest.mark.parametrize(
    ("other", "is_doubted"), [("Cell", True), ("cell_ ", True), ("cell+", False), ("cells", False)]
)
def test_labels_that_differ_in_case_or_spaces_alone_are_doubted(
    tmp_path: Path, other: str, is_doubted: bool
) -> None:
    data = read_labelme(labelme(tmp_path, CELL, shape(other, (0, 0), (1, 0), (1, 1), (0, 1))))
    assert len(data.classes) == 3
    assert any(repr(other) in doubt and "'cell'" in doubt for doubt in data.doubts) == is_doubted


def test_categories_that_differ_in_case_alone_are_doubted(tmp_path: Path) -> None:
    path = coco(tmp_path, CAR, categories=[*CATEGORIES, {"id": 30, "name": "Car"}])
    assert any("'car' and 'Car'" in doubt for doubt in read_coco(path).doubts)


def test_labels_txt_states_the_order(tmp_path: Path) -> None:
    path = labelme(tmp_path, CELL, shape("Tissue", (0, 0), (1, 0), (1, 1), (0, 1)))
    write(path / "labels.txt", "__ignore__\n_background_\ncell\nTissue\n")
    assert read_labelme(path).classes == ("background", "cell", "Tissue")
    write(path / "labels.txt", "cell\n")
    assert "labels.txt: does not list the label 'Tissue'" in refused(read_labelme, path)


@pytest.mark.parametrize("where", ["beside", "elsewhere", "embedded", "images", "windows"])
def test_the_picture_is_found(tmp_path: Path, where: str) -> None:
    path = labelme(tmp_path)
    stated = json.loads((path / "a.json").read_text())
    changed = np.flipud(RGB)
    put(path / "a.png", changed)
    if where == "elsewhere":
        stated["imagePath"] = r"C:\Users\me\a.png"
    if where == "embedded":
        stated |= {"imagePath": "gone.png", "imageData": png(changed)}
        (path / "a.png").unlink()
    if where in ("images", "windows"):
        stated["imagePath"] = "a.png" if where == "images" else "..\\images\\a.png"
        for file in [*path.glob("*.png"), *path.glob("*.json")]:
            place = path / ("images" if file.suffix == ".png" else "annotations")
            place.mkdir(exist_ok=True)
            shutil.move(file, place / file.name)
    folder_of = path / "annotations" if where in ("images", "windows") else path
    write(folder_of / "a.json", json.dumps(stated))
    data = read_labelme(path)
    sample = next(sample for sample in data.samples if sample.name.endswith("a"))
    assert np.array_equal(sample.image, changed)
    assert np.array_equal(sample.mask, square())


def test_folders_are_splits(tmp_path: Path) -> None:
    path = labelme(tmp_path)
    for stem, split in zip("abcd", ("train", "train", "val", "test"), strict=True):
        (path / split).mkdir(exist_ok=True)
        for ending in ("png", "json"):
            shutil.move(path / f"{stem}.{ending}", path / split / f"{stem}.{ending}")
    data = read_labelme(path)
    assert [[sample.name for sample in held] for held in data.splits.values()] == [
        ["train/a", "train/b"],
        ["val/c"],
        ["test/d"],
    ]


@pytest.mark.parametrize(
    ("drawn", "stated", "expected"),
    [
        (CELL, {"imageHeight": 10, "imageWidth": 6}, "drawn on a picture 6 wide and 10 high"),
        (CELL, {"shapes": 7}, "shapes is 7: it must be a list"),
        (CELL, {"shapes": [7]}, "7 is no JSON object"),
        ({**CELL, "label": 7}, {}, "label is 7: it must be text"),
        ({**CELL, "shape_type": "star"}, {}, "shape_type 'star' is none of polygon"),
        ({**CELL, "points": [[1, 2, 3]]}, {}, "is no list of x and y"),
        (shape("cell", (1, 2), kind="circle"), {}, "a circle of 1 points; it has 2"),
        (shape("cell", (9, 5), (9, 5), kind="mask") | HOLE, {}, "leads out of the picture"),
        (shape("cell", (1, 1), (2, 2), kind="mask"), {}, "a mask is no base64"),
    ],
    ids=str,
)
def test_what_labelme_cannot_mean_is_refused(
    tmp_path: Path, drawn: dict[str, Any], stated: dict[str, Any], expected: str
) -> None:
    assert expected in refused(read_labelme, labelme(tmp_path, drawn, **stated))


@pytest.mark.parametrize(
    ("image_path", "expected"),
    [("../secret.png", "leads out of the folder"), ("b/none.png", "no such file; add it")],
)
def test_a_picture_outside_is_not_opened(tmp_path: Path, image_path: str, expected: str) -> None:
    path = labelme(tmp_path, imagePath=image_path)
    put(path.parent / "secret.png", RGB)
    (path / "a.png").unlink()
    assert expected in refused(read_labelme, path)


# --- numpy ---


def test_stacks_in_splits(tmp_path: Path) -> None:
    stack = np.stack([RGB] * 3)
    path = npy(tmp_path, X_train=stack, y_train=np.stack([ids(0, 1)] * 3))
    for name in ("images", "masks"):
        (path / f"{name}.npy").unlink()
    data = read_npy(path)
    assert "only a train split is labelled" in data.notes[0]
    np.save(path / "X_test.npy", stack)
    np.save(path / "y_test.npy", np.stack([ids(0, 1)] * 3)[..., None] > 0)
    np.save(path / "other.npy", stack)
    data = read_npy(path)
    assert [sample.name for sample in data.test] == ["test/00000", "test/00001", "test/00002"]
    assert "1 array(s) not used: other" in data.notes[0]


def test_stacks_in_one_archive_and_channels_first(registry: Registry, tmp_path: Path) -> None:
    stack, masks = np.stack([RGB] * 4), np.stack([ids(0, 1)] * 4)
    file = tmp_path / "a.npz"
    np.savez(file, x=np.moveaxis(stack, -1, 1), y=masks)
    data = open_dataset(registry, str(file))
    assert np.array_equal(data.train[0].image, RGB)
    assert np.array_equal(data.train[0].mask, ids(0, 1))


STACK = np.stack([RGB] * 4)


@pytest.mark.parametrize(
    ("arrays", "expected"),
    [
        ({"masks": np.eye(4)[np.stack([ids(0, 1)] * 4)]}, "of one-hot masks: masks.argmax(-1)"),
        ({"masks": np.zeros((3, 6, 10), int)}, "do not belong together"),
        ({"masks": np.full((4, 6, 10), 0.5)}, "masks holds fractions, or NaN"),
        ({"images": STACK * np.nan}, "images holds values that are NaN"),
        ({"images": STACK[:, :5]}, "do not belong together"),
        ({"images": np.array([{}] * 4)}, "images cannot be read"),
        ({"masks": np.zeros((6, 10), int)}, "has shape (6, 10); save class ids, N H W"),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
)
def test_bad_stacks_are_refused(tmp_path: Path, arrays: dict[str, Array], expected: str) -> None:
    assert expected in refused(read_npy, npy(tmp_path, **arrays))


def test_annotations_of_no_image_at_all_are_a_problem(tmp_path: Path) -> None:
    path = coco(tmp_path, CAR | {"image_id": "1"})
    with pytest.raises(InvalidData, match="write both as numbers, or both as text"):
        read_coco(path)
