"""Reads COCO's JSON: outlines and masks of objects, merged to one mask an image.

    ROOT/annotations/instances_train2017.json   a file a split, or one for all; images in
    ROOT/train2017/*.jpg                        train2017/, images/train2017/, images/ or beside it
    ROOT/train/_annotations.coco.json           as Roboflow exports: a folder a split, images in it
    NAME.json                                   one file, its images beside it or in images/

Categories become classes in the order of their ids. Where objects overlap, the smaller one lies
over the larger one. Crowds (`iscrowd`), and boxes without an outline, are ignored.

Lin et al., "Microsoft COCO: Common Objects in Context", ECCV 2014.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Final

import numpy as np

from unet_bench import limits
from unet_bench.data.dataset import IGNORE, Array, Dataset
from unet_bench.data.dataset_json import inside
from unet_bench.data.decode import ENDINGS, children, decode, ending_of, files, read_image
from unet_bench.data.findings import Findings, listing
from unet_bench.data.labels import Classes, by_format
from unet_bench.data.layout import SPLIT_NAMES, find_places, split_called
from unet_bench.data.reading import find_all, find_one, pictures
from unet_bench.data.splits import SPLITS, Splits, complete, seeded
from unet_bench.errors import InvalidData
from unet_bench.limits import one_line, shown
from unet_bench_formats.drawing import (
    Canvas,
    Patch,
    note_drawing,
    numbered,
    points,
    polygon,
    union,
)

NEEDS: Final = (
    "annotations/instances_train.json (and val, test), train/_annotations.coco.json as Roboflow "
    "exports, or the path of one JSON file"
)
EXPORTED: Final = "_annotations.coco.json"
WORDS: Final = frozenset(
    ("instances", "coco", "annotations", "annotation", "labels", "result", "default", "segm")
).union(*SPLIT_NAMES.values())
"""What names of COCO's files are made of, besides a year."""
MOST_JSON: Final = 2**27
"""Bytes of one JSON file: 128 MiB, about 20,000 images."""
PACKED: Final = re.compile("(?:[P-o]{0,6}[0-O])*")
"""What a packed run-length mask is made of: numbers of up to seven characters."""
LARGEST: Final = 1e18
"""The size of what lies under all objects."""
RULE: Final = "the smaller one lies over the larger one"


@dataclass(frozen=True)
class Annotated:
    """An image of a JSON file: where it lies, its size `(H W)` there, and its annotations."""

    where: str
    file: Path
    split: str
    size: tuple[object, object]
    objects: list[dict[str, Any]]
    labels: Mapping[object, str]
    """Category names by the ids that this JSON file gives them."""


def recognises(path: Path) -> bool:
    """Return whether `path` is a JSON file, or is or holds a folder with COCO's.

    Where masks lie beside the images, too, these are what is meant.
    """
    if os.path.isfile(path):
        return path.suffix.lower() == ".json" and path.name != "dataset.json"
    return bool(find_all(path, _fits)) and not find_places(path)


def _fits(path: Path) -> bool:
    return os.path.isdir(path) and bool(_json_files(path))


def _json_files(root: Path) -> list[Path]:
    """Return the JSON files of a data set, by their names."""
    within = children(root)
    places = [root, *(child for child in within if split_called(child.name))]
    exported = [place / EXPORTED for place in places if os.path.isfile(place / EXPORTED)]
    if exported:
        return exported
    for folder in (root / "annotations", root):
        listed = children(folder) if os.path.isdir(folder) else []
        named = [file for file in listed if _is_called_so(file.name) and os.path.isfile(file)]
        instances = [file for file in named if file.name.lower().startswith("instances")]
        if named:
            return instances or named
    return []


def _is_called_so(name: str) -> bool:
    stem, ending = os.path.splitext(name.lower())
    parts = re.findall(r"[a-z]+|[^a-z_.-]+", stem)
    are_known = all(part in WORDS or re.fullmatch(r"20\d\d", part) for part in parts)
    return ending == ".json" and bool(parts) and are_known


def read(path: Path, *, classes: Classes = None, seed: int = 0) -> Dataset:
    """Return the images with their objects drawn, in the splits that the files' names say.

    One file alone is divided 70/10/20 by `seed`. Raises InvalidData, naming all offenders: images
    of another size than stated, outlines that are none, and the rest.
    """
    if os.path.isfile(path):
        sources = [path]
        root = path.parent.parent if path.parent.name == "annotations" else path.parent
    else:
        root = find_one(path, _fits, NEEDS)
        sources = _json_files(root)
    found = Findings(root)
    annotated: dict[str, Annotated] = {}
    labels: list[str] = []
    splits_by_file = _splits_of(sources, found)
    for file, split in splits_by_file.items():
        stated = _stated(file, found)
        names = _labels(stated, file, found)
        labels += [name for name in names.values() if name not in labels]
        for name, one in _images(root, file, split, stated, names, found):
            if name in annotated:
                found.problems.append(f"{file.name}: {shown(name)} is listed more than once")
            annotated[name] = one
    names_of_classes, ids = numbered(labels, classes, found)
    _note_unlisted(annotated.values(), found)
    found.refuse()
    splits, split_by = _splits(annotated, seed, found)
    images = decode(read_image, {name: one.file for name, one in annotated.items()}, found)
    drawn = decode(
        partial(_drawn, ids=ids),
        {name: (annotated[name], image.shape[:2]) for name, image in images.items()},
        found,
    )
    note_drawing(drawn.values(), RULE, found)
    labelled = by_format({name: canvas.mask for name, canvas in drawn.items()}, names_of_classes)
    title = os.path.basename(os.path.realpath(root))
    return pictures(title, images, labelled, splits, split_by, found)


def _splits_of(sources: list[Path], found: Findings) -> dict[Path, str]:
    """Return which split each JSON file is for; a problem where several files leave it open."""
    splits: dict[Path, str] = {}
    for file in sources:
        words = re.findall("[a-z]+", file.stem.lower())
        named = [file.parent.name] if file.name == EXPORTED else words
        splits[file] = next((split for word in named if (split := split_called(word))), "")
    held = list(splits.values())
    if len(sources) > 1 and ("" in held or len(set(held)) < len(held)):
        names = one_line(", ".join(file.name for file in sources))
        found.problems.append(
            f"{names}: which is for what? Call them instances_train.json, instances_val.json and "
            "instances_test.json, or give the path of one"
        )
    return splits


def _stated(file: Path, found: Findings) -> dict[str, list[dict[str, Any]]]:
    """Return the lists of images, annotations and categories in a JSON file, checked as such."""
    stated: object = {}
    try:
        stated = limits.read_json(file, MOST_JSON)
    except (OSError, ValueError) as error:
        found.problems.append(f"{file.name}: cannot be read as JSON ({error}); mend or divide it")
        return {}
    lists: dict[str, list[dict[str, Any]]] = {}
    for name in ("images", "annotations", "categories"):
        entries = stated.get(name) if isinstance(stated, dict) else None
        if not isinstance(entries, list) or not all(isinstance(entry, dict) for entry in entries):
            found.problems.append(f"{file.name}: is not COCO's: `{name}` must be a list of objects")
            return {}
        lists[name] = entries
    return lists


def _labels(
    stated: Mapping[str, list[dict[str, Any]]], file: Path, found: Findings
) -> dict[object, str]:
    """Return the names of categories by their ids, in the order of these.

    A category that others have as supercategory, and no object, is a heading: Roboflow adds one.
    """
    labels: dict[object, str] = {}
    used = {_key(one.get("category_id")) for one in stated.get("annotations", [])}
    entries = stated.get("categories", [])
    headings = {_text(entry.get("supercategory")) for entry in entries} - {""}
    for entry in sorted(entries, key=lambda entry: str(_key(entry.get("id"))).zfill(20)):
        number, name = _key(entry.get("id")), _text(entry.get("name"))
        if number is None or not name:
            found.problems.append(f"{file.name}: category {shown(entry)} needs an id and a name")
        elif number not in used and name in headings:
            found.notes.append(f"{file.name}: {shown(name)} has no object, and is left out")
        else:
            labels[number] = name
    return labels


def _key(value: object) -> int | str | None:
    """Return an id, which is a whole number or text; None for anything else."""
    return value if isinstance(value, int | str) else None


def _text(value: object) -> str:
    return value if isinstance(value, str) else ""


def _images(
    root: Path,
    source: Path,
    split: str,
    stated: Mapping[str, list[dict[str, Any]]],
    labels: Mapping[object, str],
    found: Findings,
) -> Iterator[tuple[str, Annotated]]:
    """Yield the images that a JSON file lists, by name: their path in `root` without its ending."""
    objects: dict[object, list[dict[str, Any]]] = {}
    for entry in stated.get("annotations", []):
        objects.setdefault(_key(entry.get("image_id")), []).append(entry)
    places = _places(root, source, split)
    numbers: set[object] = set()
    for entry in stated.get("images", []):
        number, named = _key(entry.get("id")), _text(entry.get("file_name"))
        if number is None or number in numbers or not named:
            found.problems.append(
                f"{source.name}: image {shown(entry)} needs a file_name, and an id of its own"
            )
            continue
        numbers.add(number)
        named = named.replace("\\", "/").removeprefix("./")
        if inside(root, named, found, source.name) is None:
            continue
        file = next((place / named for place in places if os.path.isfile(place / named)), None)
        if file is None:
            found.problems.append(f"{source.name}: {shown(named)}: no such file; add it")
            continue
        name = os.path.relpath(file, root)
        ending = ending_of(name, ENDINGS)
        size = (entry.get("height"), entry.get("width"))
        held = objects.get(number, [])
        where = one_line(f"{source.name}, {named}")
        yield name[: -len(ending) or None], Annotated(where, file, split, size, held, labels)
    strays = sum(len(held) for number, held in objects.items() if number not in numbers)
    if strays and strays == sum(map(len, objects.values())):
        found.problems.append(
            f"{source.name}: none of {strays} annotations belongs to an image: no image_id is the "
            "id of one; write both as numbers, or both as text"
        )
    elif strays:
        found.doubts.append(f"{source.name}: {strays} annotation(s) belong to no image")


def _places(root: Path, source: Path, split: str) -> list[Path]:
    """Return the folders in which a JSON file's images may lie, the most likely first."""
    stem = re.sub(r"^(instances|annotations|labels)[_-]", "", source.stem)
    called = [name for name in (stem, *SPLIT_NAMES.get(split, ())) if name]
    places = [source.parent] if source.parent.name != "annotations" else []
    for name in called:
        places += [root / name, root / "images" / name]
    places += [root / "images", root / "data", root]
    return [place for place in dict.fromkeys(places) if os.path.isdir(place)]


def _note_unlisted(annotated: Iterable[Annotated], found: Findings) -> None:
    """Note the pictures that lie beside those listed, and are not listed themselves."""
    listed = {one.file for one in annotated}
    unlisted = []
    for folder in sorted({file.parent for file in listed}):
        held = [file for named in files(folder).values() for file in named]
        unlisted += [file.name for file in held if file not in listed]
    if unlisted:
        found.notes.append(f"{len(unlisted)} picture(s) are in no JSON file: {listing(unlisted)}")


def _splits(annotated: Mapping[str, Annotated], seed: int, found: Findings) -> tuple[Splits, str]:
    held: Splits = {split: [] for split in SPLITS}
    if len({one.split for one in annotated.values()}) < 2:
        names = sorted(annotated)
        return seeded(names, seed, found, where="images"), f"seeded 70/10/20, seed {seed}"
    for name, one in annotated.items():
        held[one.split].append(name)
    return complete(held, seed, found)


def _drawn(source: tuple[Annotated, tuple[int, int]], ids: Mapping[str, int]) -> Canvas:
    """Return the canvas with all objects of an image of that shape. Raises InvalidData."""
    one, shape = source
    if one.size != (None, None) and one.size != shape:
        height, width = one.size
        raise InvalidData(
            f"{one.where}: stated to be {shown(width)} wide and {shown(height)} high, but the "
            f"picture is {shape[1]} by {shape[0]} as viewers show it; outlines would not fit it"
        )
    canvas = Canvas(shape)
    for entry in one.objects:
        label = one.labels.get(_key(entry.get("category_id")))
        if label is None:
            raise InvalidData(
                f"{one.where}: category {shown(entry.get('category_id'))} is not in `categories`"
            )
        try:
            _draw(canvas, entry, ids[label])
        except InvalidData as error:
            raise InvalidData(f"{one.where}: {error}") from None
    return canvas


def _draw(canvas: Canvas, entry: Mapping[str, Any], class_id: int) -> None:
    segmentation = entry.get("segmentation")
    if not segmentation:
        canvas.draw(_box(entry.get("bbox"), canvas.shape), IGNORE, size=LARGEST)
        return
    if isinstance(segmentation, dict):
        patch = Patch(_unpacked(segmentation, canvas.shape))
    elif isinstance(segmentation, list):
        outlines = segmentation if isinstance(segmentation[0], list) else [segmentation]
        patch = union([polygon(points(outline), canvas.shape) for outline in outlines])
    else:
        raise InvalidData(f"segmentation {shown(segmentation)} is neither outline nor mask")
    if entry.get("iscrowd"):
        canvas.draw(patch, IGNORE, size=LARGEST)
    else:
        canvas.draw(patch, class_id)


def _box(given: object, shape: tuple[int, int]) -> Patch:
    """Return the pixels of a box that is given by its corner, width and height."""
    corner, extent = points(given) if isinstance(given, list) and len(given) == 4 else (None, None)
    if corner is None or extent is None:
        raise InvalidData(f"an annotation has neither a segmentation nor a box: {shown(given)}")
    (left, top), (right, bottom) = corner, corner + extent
    outline = np.array([[left, top], [right, top], [right, bottom], [left, bottom]])
    return polygon(outline, shape)


def _unpacked(mask: Mapping[str, Any], shape: tuple[int, int]) -> Array:
    """Return a mask `(H W)` from lengths of runs, down the columns, that alternate from 0.

    Raises InvalidData for one of another size than the picture.
    """
    stated, size = mask.get("counts"), mask.get("size")
    if size != list(shape):
        raise InvalidData(f"a mask of size {shown(size)} in a picture of {list(shape)}; mend it")
    counts = _counts(stated) if isinstance(stated, str) else stated
    is_list = isinstance(counts, list) and all(type(c) is int and c >= 0 for c in counts)
    if not isinstance(counts, list) or not is_list or sum(counts) != shape[0] * shape[1]:
        raise InvalidData(f"lengths of runs {shown(stated)} do not fill a mask of {list(shape)}")
    values = np.arange(len(counts)) % 2 == 1
    return np.repeat(values, counts).reshape(shape[::-1]).T


def _counts(packed: str) -> list[int]:
    """Return lengths of runs that COCO packed as text; nothing for text that is damaged.

    Five bits a character, the lowest first; from the fourth number on the difference to the last
    but one (`rleToString` in cocoapi's maskApi.c). pycocotools reads such, too, but leaves the rest
    of a mask at random where lengths are missing.
    """
    counts: list[int] = []
    if not PACKED.fullmatch(packed):
        return counts
    value = shift = 0
    for character in packed.encode():
        bits = character - 48
        value |= (bits & 31) << shift
        shift += 5
        if bits & 32:
            continue
        if bits & 16:
            value -= 1 << shift
        if len(counts) > 2:
            value += counts[-2]
        counts.append(value)
        value = shift = 0
    return counts
