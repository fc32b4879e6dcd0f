"""Reads LabelMe's JSON: one file an image, with the shapes that were drawn on it.

    ROOT/a.jpg  ROOT/a.json        side by side, or in images/ and annotations/ (labels/, json/)
    ROOT/train/a.jpg  a.json       a folder a split, if there is one (train, val, test)
    ROOT/labels.txt                optional: the labels, one a line, in the order of the classes

The image is the file that `imagePath` names, else the one called as the JSON file, else what the
JSON file holds (`imageData`). Polygons, rectangles, circles and masks are drawn in their order, the
later over the earlier ones, as LabelMe exports them; lines and points have no area. Pixels of
`__ignore__` are ignored.

Russell et al., "LabelMe", IJCV 77 (2008); Wada, https://github.com/wkentaro/labelme.
"""

from __future__ import annotations

import base64
import binascii
import os
import tempfile
from collections import Counter
from collections.abc import Collection, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from unet_bench import limits
from unet_bench.data.dataset import IGNORE, Array, Dataset
from unet_bench.data.decode import ENDINGS, children, decode, files, read_image, read_mask
from unet_bench.data.findings import Findings, listing
from unet_bench.data.folder import stated_splits
from unet_bench.data.labels import Classes, by_format
from unet_bench.data.layout import IMAGES, find_places, split_called
from unet_bench.data.reading import find_all, find_one, pictures
from unet_bench.data.splits import SPLITS, Splits, complete
from unet_bench.errors import InvalidData
from unet_bench.limits import one_line, shown
from unet_bench_formats.drawing import (
    NOTHING,
    Canvas,
    Patch,
    disc,
    note_drawing,
    numbered,
    points,
    polygon,
)

NEEDS: Final = "a.json beside a.jpg, or in annotations/ with the pictures in images/"
JSON_FOLDERS: Final = ("annotations", "labels", "json", "jsons", *IMAGES)
IGNORED: Final = "__ignore__"
WITHOUT_AREA: Final = ("line", "linestrip", "point", "points")
OUTLINES: Final = ("polygon", "oriented_rectangle", "rotation")
RULE: Final = "the later one lies over the earlier one"


@dataclass(frozen=True)
class Annotated:
    """A JSON file, and what it says."""

    root: Path
    file: Path
    split: str
    stated: Mapping[str, Any]

    @property
    def where(self) -> str:
        """How the file is called in messages."""
        return one_line(os.path.relpath(self.file, self.root))

    @property
    def shapes(self) -> list[Mapping[str, Any]]:
        """The shapes that were drawn, checked to be such when the file was read."""
        return self.stated["shapes"]  # type: ignore[no-any-return]


def recognises(path: Path) -> bool:
    """Return whether `path` is or holds a folder with a JSON file called as a picture there.

    Where masks lie beside the images, too, these are what is meant.
    """
    return bool(find_all(path, _fits)) and not find_places(path)


def _fits(path: Path) -> bool:
    if not os.path.isdir(path):
        return False
    pictures: set[str] = set()
    jsons: set[str] = set()
    for folder, _ in _folders(path):
        pictures |= files(folder, ENDINGS).keys()
        jsons |= files(folder, (".json",)).keys()
    return not pictures.isdisjoint(jsons)


def _folders(root: Path) -> list[tuple[Path, str]]:
    """Return the folders in which JSON files and pictures may lie, each with its split or ""."""
    found = []
    splits = [child for child in children(root) if split_called(child.name) and child.is_dir()]
    for place in (root, *splits):
        split = split_called(place.name) if place != root else ""
        found.append((place, split))
        named = [child for child in children(place) if child.name.lower() in JSON_FOLDERS]
        for folder in (child for child in named if child.is_dir()):
            found.append((folder, split))
            inner = [child for child in children(folder) if split_called(child.name)]
            found += [(child, split_called(child.name)) for child in inner if child.is_dir()]
    return found


def read(path: Path, *, classes: Classes = None, seed: int = 0) -> Dataset:
    """Return the images with their shapes drawn, split by folders, split files or `seed`.

    The labels in sorted order, or in that of labels.txt, are the classes. Raises InvalidData,
    naming all offenders.
    """
    place = find_one(path, _fits, NEEDS)
    root = Path(os.path.abspath(place))
    found = Findings(root)
    annotated = _annotated(root, found)
    named = {shape["label"] for one in annotated.values() for shape in one.shapes} - {IGNORED}
    labels = _in_stated_order(root, named, found)
    names, ids = numbered(labels, classes, found)
    found.refuse()
    splits, split_by = _splits(root, annotated, seed, found)
    images = decode(_image, annotated, found)
    drawn = decode(
        partial(_drawn, ids=ids | {IGNORED: IGNORE}),
        {name: (annotated[name], image.shape[:2]) for name, image in images.items()},
        found,
    )
    shapes = [shape for one in annotated.values() for shape in one.shapes]
    lines = sum(shape["shape_type"] in WITHOUT_AREA for shape in shapes)
    if lines:
        found.notes.append(f"{lines} line(s) and point(s) have no area, and are not drawn")
    note_drawing(drawn.values(), RULE, found)
    masks = by_format({name: canvas.mask for name, canvas in drawn.items()}, names)
    title = os.path.basename(os.path.realpath(root))
    return pictures(title, images, masks, splits, split_by, found)


def _annotated(root: Path, found: Findings) -> dict[str, Annotated]:
    """Return what each JSON file says, by its path without ending."""
    annotated = {}
    others = []
    for folder, split in _folders(root):
        for named in files(folder, (".json",)).values():
            for file in named:
                stated = _stated(root, file, found)
                name = os.path.relpath(file, root)[: -len(".json")].replace(os.sep, "/")
                if stated:
                    annotated[name] = Annotated(root, file, split, stated)
                else:
                    others.append(file.name)
    if others:
        found.notes.append(f"{len(others)} JSON file(s) without `shapes` are not LabelMe's")
    _note_others(root, annotated.values(), found)
    return annotated


def _note_others(root: Path, annotated: Collection[Annotated], found: Findings) -> None:
    """Note pictures that no JSON file is of, and doubt one that several are of."""
    named = Counter(os.path.realpath(file) for one in annotated if (file := _picture_of(one)))
    several = sorted(os.path.basename(file) for file, count in named.items() if count > 1)
    if several:
        found.doubts.append(
            f"imagePath: several JSON files name {listing(several)}; is it the picture of each?"
        )
    pictures = {
        os.path.realpath(file)
        for folder, _ in _folders(root)
        for group in files(folder, ENDINGS).values()
        for file in group
    }
    left = sorted(os.path.basename(file) for file in pictures - named.keys())
    if left:
        found.notes.append(f"{len(left)} picture(s) without a JSON file not read: {listing(left)}")


def _stated(root: Path, file: Path, found: Findings) -> dict[str, Any]:
    """Return what a JSON file says, its shapes checked; nothing where it has no shapes."""
    where = one_line(os.path.relpath(file, root))
    try:
        stated = limits.read_json(file)
        if not isinstance(stated, dict) or "shapes" not in stated:
            return {}
        stated["shapes"] = [_shape(shape) for shape in limits.entry(stated, "shapes", list)]
    except (OSError, ValueError) as error:
        found.problems.append(f"{where}: cannot be used ({error}); mend or remove it")
        return {}
    return stated


def _shape(given_shape: object) -> dict[str, Any]:
    """Return one shape with its label and its type. Raises ValueError."""
    label = limits.entry(given_shape, "label", str)
    assert isinstance(given_shape, dict)
    kind = given_shape.get("shape_type") or "polygon"
    known = (*OUTLINES, *WITHOUT_AREA, "rectangle", "circle", "mask")
    if kind not in known:
        raise ValueError(f"shape_type {shown(kind)} is none of {', '.join(known)}")
    return {**given_shape, "label": label, "shape_type": kind}


def _in_stated_order(root: Path, named: set[str], found: Findings) -> list[str]:
    """Return labels in the order of labels.txt, else sorted; a problem for one that it lacks."""
    file = root / "labels.txt"
    if not os.path.isfile(file):
        return sorted(named)
    try:
        lines = [line.strip() for line in limits.read_text(file).splitlines()]
    except (OSError, ValueError) as error:
        found.problems.append(f"labels.txt: cannot be read ({error}); save it as UTF-8 text")
        return sorted(named)
    listed = [line for line in dict.fromkeys(lines) if line and line != IGNORED]
    if missing := sorted(named - set(listed)):
        found.problems.append(f"labels.txt: does not list the label {shown(missing[0])}; add it")
    return listed


def _splits(
    root: Path, annotated: Mapping[str, Annotated], seed: int, found: Findings
) -> tuple[Splits, str]:
    if not all(one.split for one in annotated.values()):
        return stated_splits(root, sorted(annotated), seed, found)
    held: Splits = {split: [] for split in SPLITS}
    for name, one in annotated.items():
        held[one.split].append(name)
    return complete(held, seed, found)


def _image(one: Annotated) -> Array:
    """Return the image of a JSON file. Raises InvalidData."""
    if file := _picture_of(one):
        return read_image(file)
    if data := one.stated.get("imageData"):
        return _embedded(one, data)
    is_inside = _named(one).is_relative_to(one.root)
    why = "no such file; add it" if is_inside else "leads out of the folder; name a file in it"
    raise InvalidData(f"{one.where}: imagePath {shown(one.stated.get('imagePath'))}: {why}")


def _picture_of(one: Annotated) -> Path | None:
    """Return the picture that a JSON file names, or that is called as it is; None without."""
    file = _named(one)
    is_there = file.is_relative_to(one.root) and os.path.isfile(file)
    return file if is_there else _called_alike(one)


def _named(one: Annotated) -> Path:
    """Return where the picture is that a JSON file names, wherever that leads."""
    named = one.stated.get("imagePath")
    relative = named.replace("\\", "/") if isinstance(named, str) and "\0" not in named else ""
    return Path(os.path.normpath(one.file.parent / relative))


def _called_alike(one: Annotated) -> Path | None:
    """Return the picture that has the name of a JSON file, beside it or in images/."""
    folder = one.file.parent
    places = [folder]
    for above in (folder.parent, folder.parent.parent):
        if above.is_relative_to(one.root):
            places += [above]
            places += [above / name / folder.name for name in IMAGES]
            places += [above / name for name in IMAGES]
    for place in dict.fromkeys(places):
        for ending in ENDINGS:
            file = place / f"{one.file.stem}{ending}"
            if os.path.isfile(file):
                return file
    return None


def _embedded(one: Annotated, data: object) -> Array:
    content = _decoded(data, f"{one.where}: imageData")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "imageData" / f"{one.file.stem}.png"
        file.parent.mkdir()
        file.write_bytes(content)
        return read_image(file)


def _decoded(data: object, where: str) -> bytes:
    try:
        return base64.b64decode(data if isinstance(data, str) else "!", validate=True)
    except (binascii.Error, ValueError) as error:
        raise InvalidData(f"{where} is no base64 ({error}); save it anew") from None


def _drawn(source: tuple[Annotated, tuple[int, int]], ids: Mapping[str, int]) -> Canvas:
    """Return the canvas with all shapes of an image of that shape. Raises InvalidData."""
    one, shape = source
    stated = (one.stated.get("imageHeight"), one.stated.get("imageWidth"))
    if stated != (None, None) and stated != shape:
        raise InvalidData(
            f"{one.where}: drawn on a picture {shown(stated[1])} wide and {shown(stated[0])} high, "
            f"but the picture is {shape[1]} by {shape[0]} as viewers show it; shapes would not fit"
        )
    canvas = Canvas(shape)
    for entry in one.shapes:
        if entry["shape_type"] in WITHOUT_AREA:
            continue
        try:
            # All of one size: the later one lies on top.
            canvas.draw(_patch(entry, shape), ids[entry["label"]], size=1)
        except InvalidData as error:
            raise InvalidData(f"{one.where}: {error}") from None
    return canvas


def _patch(entry: Mapping[str, Any], shape: tuple[int, int]) -> Patch:
    """Return the pixels of a shape. Raises InvalidData."""
    kind, corners = entry["shape_type"], points(entry.get("points"))
    if kind in OUTLINES or (kind == "rectangle" and len(corners) == 4):
        return polygon(corners, shape) if len(corners) else NOTHING
    if len(corners) != 2:
        raise InvalidData(f"a {kind} of {len(corners)} points; it has 2")
    if kind == "circle":
        return disc(corners[0], corners[1], shape)
    (x, y), (x_to, y_to) = corners
    if kind == "rectangle":
        return polygon(np.array([[x, y], [x_to, y], [x_to, y_to], [x, y_to]]), shape)
    return _mask(entry.get("mask"), round(float(y)), round(float(x)), shape)


def _mask(data: object, top: int, left: int, shape: tuple[int, int]) -> Patch:
    """Return the pixels of a mask that a shape holds as PNG, its corner at a pixel."""
    content = _decoded(data, "a mask")
    with tempfile.TemporaryDirectory() as folder:
        file = Path(folder) / "shape" / "mask.png"
        file.parent.mkdir()
        file.write_bytes(content)
        inside = read_mask(file).values != 0
    height, width = inside.shape
    if top < 0 or left < 0 or top + height > shape[0] or left + width > shape[1]:
        raise InvalidData(f"a mask of {width}x{height} at {left}, {top} leads out of the picture")
    return Patch(inside, top, left)
