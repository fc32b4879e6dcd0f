"""Reads a folder of images and masks, the way most people keep them.

    NAME/images/*.png      pictures or arrays, of any depth and number of bands; or volumes
    NAME/masks/*.png       class ids, named as the image or with `_mask` and the like behind;
                           255 = ignore
    NAME/splits/train.txt  optional, with val.txt and test.txt: one image a line
    NAME/dataset.json      optional: `name`, `classes` or `labels`, `ignore`, `modality`, `white`

Other layouts that people have are in `layout`. Everything is read and checked first; what is wrong
is reported at once, all of it, by file.
"""

from __future__ import annotations

import csv
import os
import re
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from contextlib import suppress
from dataclasses import replace
from itertools import chain
from pathlib import Path
from typing import Any, Final

import numpy as np

from unet_bench.data import tiff
from unet_bench.data.dataset import IGNORE, Array, Dataset
from unet_bench.data.dataset_json import doubt_misspelt, modalities, read_json, title, white
from unet_bench.data.decode import (
    children,
    decode,
    ending_of,
    read_image_pages,
    read_mask,
    read_mask_pages,
    read_upright,
)
from unet_bench.data.findings import Findings, listing
from unet_bench.data.labels import BACKGROUND, Classes, Declared, blurred, counted, declare, label
from unet_bench.data.layout import (
    CLASS_TABLES,
    LISTINGS,
    Case,
    Layout,
    Place,
    find_places,
    read_layout,
    require_masks,
    split_called,
)
from unet_bench.data.mask import Mask, is_grey
from unet_bench.data.nifti import is_nifti, read_labels, read_volume
from unet_bench.data.pillow import LOSSLESS, LOSSY
from unet_bench.data.reading import pictures, volumes
from unet_bench.data.splits import SPLITS, Splits, complete, listed, names_image, seeded
from unet_bench.data.volume import Volume
from unet_bench.errors import InvalidData
from unet_bench.limits import read_text

UNREAD: Final = (".csv", ".tsv", ".json", ".lst", ".list")
"""Endings of files that may name splits, and are not read."""
KEYS: Final = ("name", "classes", "labels", "ignore", "ignore_index", "modality", "white")
"""What a dataset.json may say here."""
BY_FOLDER: Final = "folders"
"""How the description of a split begins that keeps folders whole."""
VOC_LISTS: Final = ("Segmentation", "Main")
"""Folders in ImageSets/ with lists of the images of each split."""


def recognises(path: Path) -> bool:
    """Return whether `path` is laid out in one of the ways that `layout` lists.

    Pascal VOC itself, a year in a VOCdevkit, has a reader of its own.
    """
    is_voc = path.name.startswith("VOC2") and path.resolve().parent.name == "VOCdevkit"
    return not is_voc and bool(find_places(path))


def read_folder(path: Path | str, *, classes: Classes = None, seed: int = 0) -> Dataset:
    """Return the data set in the folder `path`, see above.

    Classes come from `classes` (names, how many, or `binary`), else from dataset.json, else from
    the masks, see `labels`. Folders of splits or split files divide the images, else `seed` does,
    70/10/20; images in no split are left alone. Volumes become float32 in 0..1, see
    `reading.volumes`; dataset.json may give their `modality` as the Decathlon writes it. Raises
    InvalidData, naming all offenders and the remedies.
    """
    root = Path(path)
    found = Findings(root)
    places = find_places(root)
    if not places:
        _require_folders(root, found)
        places = [Place(root / "images", root / "masks")]
    stated = read_json(root / "dataset.json", found)
    doubt_misspelt(stated, KEYS, found)
    layout = read_layout(root, places, found)
    unread = sorted({"labels", "classes"} & stated.keys()) if layout.classes else []
    if unread and classes is None:
        found.doubts.append(
            f"dataset.json: {' and '.join(unread)} not read: masks lie in folders that are called "
            "as their classes; leave it out, or give --classes"
        )
    if classes is None:
        classes = layout.classes or None
    splits, split_by = _splits(root, layout, seed, found)

    named = [name for split in SPLITS for name in splits[split]]
    cases = {name: layout.cases[name] for name in named}
    unlisted = [name for name in layout.cases if name not in cases]
    if unlisted:
        found.notes.append(f"{len(unlisted)} image(s) are in no split: {listing(unlisted)}")
    require_masks(cases.values(), layout, found)
    cases = {name: case for name, case in cases.items() if case.masks}
    _note_several(cases, found)
    deep = _deep(cases, found)
    name = title(stated, os.path.basename(os.path.realpath(root)))
    files = {name: case.image for name, case in cases.items()}
    if deep:
        volumes_read = decode(read_deep_image, files, found)
        marked = decode(read_deep_labels, cases, found)
        masks = {name: volume.as_mask() for name, volume in marked.items()}
        declared = _declared(places, classes, stated, masks.values(), found)
        labels = label(masks, declared, found, "masks/")
        named_modalities = modalities(stated.get("modality"))
        data = volumes(
            name, volumes_read, labels, splits, split_by, found, named_modalities, marked
        )
        return _grouped(data, layout) if split_by.startswith(BY_FOLDER) else data
    upright = decode(read_upright, files, found)
    masks = decode(_read_masks, cases, found)
    _note_turned([name for name, (_, is_turned) in upright.items() if is_turned], masks, found)
    _doubt_covered(masks, found)
    declared = _declared(places, classes, stated, masks.values(), found)
    labels = label(masks, declared, found, "masks/")
    images = {name: image for name, (image, _) in upright.items()}
    data = pictures(name, images, labels, splits, split_by, found, white(stated, found))
    return _grouped(data, layout) if split_by.startswith(BY_FOLDER) else data


def _grouped(data: Dataset, layout: Layout) -> Dataset:
    """Return a data set whose images say what they belong to, so that folds keep it together."""
    train, val, test = (
        tuple(replace(sample, group=layout.cases[sample.name].group) for sample in held)
        for held in data.splits.values()
    )
    return replace(data, train=train, val=val, test=test)


def _doubt_covered(masks: Mapping[str, Mask], found: Findings) -> None:
    """Doubt masks of one image that lie over each other, with different values."""
    covered = {name: mask.covered for name, mask in masks.items() if mask.covered}
    if covered:
        drawn = sum(int(np.count_nonzero(mask.values)) for mask in masks.values())
        found.doubts.append(
            f"masks/: {sum(covered.values()) / drawn:.1%} of the pixels of objects are of several "
            f"masks with different values (in {listing(sorted(covered))}): of these the last "
            "counts, by name; a pixel has one class"
        )


def _require_folders(root: Path, found: Findings) -> None:
    remedy = "no such folder; put the images in images/, the masks in masks/"
    missing = [root / name for name in ("images", "masks") if not (root / name).is_dir()]
    found.problems.extend(f"{folder}: {remedy}" for folder in missing)
    found.refuse()


def _declared(
    places: Sequence[Place],
    classes: Classes,
    stated: dict[str, Any],
    masks: Collection[Mask],
    found: Findings,
) -> Declared:
    """Return what is said of masks: by the caller or folders, dataset.json, or a class table."""
    if not {"labels", "classes"} & stated.keys():
        stated = stated | _class_table(places, masks, found)
    return declare(classes, stated, found)


def _class_table(
    places: Sequence[Place], masks: Collection[Mask], found: Findings
) -> dict[str, Any]:
    """Return what a table of classes beside the images says of masks; nothing without one.

    A table of colours gives masks without colours the numbers of its lines, if these are not grey
    themselves.
    """
    folders = dict.fromkeys((found.root, *(place.images for place in places)))
    files = [folder / name for folder in folders for name in CLASS_TABLES]
    tables: dict[str, dict[str, Any]] = {}
    for file in filter(os.path.isfile, files):
        where = file.relative_to(found.root).as_posix()
        try:
            tables[where] = _table(file)
        except (OSError, ValueError, LookupError, csv.Error) as error:
            found.problems.append(
                f"{where}: cannot be read ({type(error).__name__}: {error}); it needs the columns "
                "name, r, g and b, or be taken away"
            )
    told = [(where, table) for where, table in tables.items() if table]
    if not told:
        return {}
    where, table = told[0]
    for other, differing in told[1:]:
        if differing != table:
            found.problems.append(f"{where} and {other} differ; keep one, or make them equal")
    labels = table.get("labels", {})
    colours = [int(colour[1:], 16) for colour in labels.values() if isinstance(colour, str)]
    if not colours:
        found.notes.append(f"{where} says what the masks' values mean")
        return table
    has_colours = any(mask.is_colour or mask.colours is not None for mask in masks)
    if has_colours or all(map(is_grey, colours)):
        found.notes.append(f"{where} says what the masks' colours mean")
        return table
    found.notes.append(
        f"the masks hold no colours: their values are taken for the lines of {where}, from 0"
    )
    return {"classes": list(labels)}


def _table(file: Path) -> dict[str, Any]:
    """Return what a table of classes states, as dataset.json would. Raises anything.

    It is a CSV with the columns name, r, g, b, or `pixel value` and class (Roboflow's); or lines of
    R, G, B and a name (CamVid's), of name:R,G,B: (CVAT's), or of names that begin with the
    background (LabelMe's); other names say nothing.
    """
    text = read_text(file)
    told: list[tuple[str, tuple[str, ...]]]
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    if file.suffix == ".csv":
        cells = [[cell.strip() for cell in row] for row in csv.reader(lines)]
        header = [name.lower() for name in cells[0]]
        rows = [dict(zip(header, row, strict=True)) for row in cells[1:]]
        if "pixel value" in header:
            return {"labels": {row["class"]: int(row["pixel value"]) for row in rows}}
        told = [(row["name"], (row["r"], row["g"], row["b"])) for row in rows]
    elif file.name == "class_names.txt":
        names = [name for name in lines if name != "__ignore__"]
        has_background = bool(names) and names[0].strip("_").lower() == BACKGROUND
        return {"classes": [BACKGROUND, *names[1:]]} if has_background else {}
    elif file.name == "labelmap.txt":
        parts = [line.split(":") for line in lines if not line.startswith("#")]
        told = [(part[0], tuple(part[1].split(","))) for part in parts]
    else:
        parts = [re.split(r"\s+", line, maxsplit=3) for line in lines]
        told = [(part[3], (part[0], part[1], part[2])) for part in parts]
    labels = {}
    for name, colour in told:
        red, green, blue = map(int, colour)
        labels[name.strip()] = f"#{red:02x}{green:02x}{blue:02x}"
    if not labels:
        raise ValueError("names no class")
    return {"labels": labels}


def _splits(root: Path, layout: Layout, seed: int, found: Findings) -> tuple[Splits, str]:
    """Return names by split, none of them unknown, and how they were split."""
    names = sorted(layout.cases)
    by_folder: Splits = {}
    for name, case in layout.cases.items():
        by_folder.setdefault(case.split, []).append(name)
    if by_folder.keys() - {"", "train"}:
        return complete(by_folder, seed, found)
    groups = {name: case.group for name, case in layout.cases.items()}
    return stated_splits(root, names, seed, found, groups)


def stated_splits(
    root: Path,
    names: Sequence[str],
    seed: int,
    found: Findings,
    groups: Mapping[str, str] | None = None,
) -> tuple[Splits, str]:
    """Return names by split, as split files in `root` say or else by `seed`, and how.

    The seed keeps names of one of the `groups` together.
    """
    listings = _split_files(root, found)
    if not names and not found.problems:
        known = ", ".join((*LOSSLESS, *LOSSY))
        found.problems.append(f"images/: holds no image; put {known} files there")
    if not names:
        return {split: [] for split in SPLITS}, ""
    if not listings:
        _doubt_unused(root, names, found)
        if not groups or not all(groups.values()):
            _note_folders(names, found)
            return seeded(names, seed, found, where="images/"), f"seeded 70/10/20, seed {seed}"
        whole = seeded(sorted({*groups.values()}), seed, found, where="images/", kind="folder")
        found.notes.append(
            f"all images of a folder stay in one split, since {len({*groups.values()})} folders "
            "may be of as many patients; files in splits/ divide otherwise"
        )
        return {
            split: [name for name in names if groups[name] in held] for split, held in whole.items()
        }, f"{BY_FOLDER} seeded 70/10/20, seed {seed}"
    splits = {split: listed(file, names, found) for split, file in listings.items()}
    for name, count in Counter(chain(*splits.values())).items():
        if count > 1:
            found.problems.append(f"splits/: {name} is named {count} times; keep it in one split")
    for split in ("train", "test"):
        if split not in listings and (split == "train" or "val" not in listings):
            where = next(iter(listings.values())).parent.name
            found.problems.append(
                f"{where}/{split}.txt: no such file beside the others; add it, or remove them to "
                "split by seed"
            )
    return complete(splits, seed, found)


def _note_folders(names: Sequence[str], found: Findings) -> None:
    """Note that images of several folders are divided, which may be of a patient each."""
    folders = sorted({name.rpartition("/")[0] for name in names})
    if len(folders) > 1:
        found.notes.append(
            f"images of {len(folders)} folders ({listing(folders)}) are divided one by one; if a "
            "folder is of one patient, list the images of each split in splits/"
        )


def _split_files(root: Path, found: Findings) -> dict[str, Path]:
    """Return the file of each split, in splits/ or beside the images; note those not known."""
    folders = [child for child in children(root) if child.name.lower() in LISTINGS]
    inner = [folder / name for folder in folders for name in VOC_LISTS if (folder / name).is_dir()]
    for folder in (*inner, *folders, root):
        every = children(folder)
        others = [
            file.name
            for file in every
            if _is_other_listing(file) and (folder != root or split_called(file.stem))
        ]
        if others:
            found.notes.append(
                f"{folder.name}/: {listing(others)} not used as splits, which are .txt files with "
                "one image a line"
            )
        files = [file for file in every if file.suffix.lower() == ".txt"]
        called = {file: split_called(file.stem) for file in files}
        if "train" not in called.values():
            called |= {file: "train" for file in files if file.stem.lower() == "trainval"}
        listings: dict[str, Path] = {}
        for file, split in called.items():
            if split in listings:
                found.problems.append(
                    f"{folder.name}/: {listings[split].name} and {file.name} are one split; "
                    "keep one"
                )
            if split:
                listings[split] = file
        unknown = [f.name for f, split in called.items() if not split and "fold" not in f.name]
        if unknown and folder != root:
            found.notes.append(
                f"{folder.name}/: {listing(unknown)} not used as splits, which are called train, "
                "val and test (folds: --folds PREFIX)"
            )
        if listings:
            return listings
    return {}


def _is_other_listing(file: Path) -> bool:
    """Return whether a file may list a split, but for its ending; one without is called as one."""
    bare = not file.suffix and split_called(file.name) and os.path.isfile(file)
    return bool(bare) or file.suffix.lower() in UNREAD


def _doubt_unused(root: Path, names: Sequence[str], found: Findings) -> None:
    """Doubt text files beside the images that list some, and are not called as splits."""
    listings = []
    for file in children(root):
        if file.suffix.lower() == ".txt" and os.path.isfile(file) and "fold" not in file.name:
            with suppress(OSError, ValueError):
                first = next(filter(None, map(str.strip, read_text(file).splitlines())), "")
                if names_image(first, names):
                    listings.append(file.name)
    if listings:
        found.doubts.append(
            f"{listing(listings)}: lists images, and is not used as a split: these are called "
            "train.txt, val.txt and test.txt (folds: --folds PREFIX)"
        )


def _note_turned(turned: list[str], masks: Mapping[str, Mask], found: Findings) -> None:
    """Note which images a tag turned, if none turned their masks."""
    alone = [name for name in turned if name in masks and not masks[name].is_turned]
    if alone:
        found.notes.append(
            f"{len(alone)} image(s) carry an orientation tag (EXIF) and their masks none: they "
            f"are turned as viewers show them, the masks are not: {listing(alone)}"
        )


def _note_several(cases: Mapping[str, Case], found: Findings) -> None:
    """Note which images have several masks that are of no class each."""
    several = [
        name for name, case in cases.items() if [number for _, number in case.masks].count(0) > 1
    ]
    if several:
        found.notes.append(
            f"{len(several)} image(s) have several masks, which are laid over each other, the "
            f"later above: {listing(several)}"
        )


def _deep(cases: Mapping[str, Case], found: Findings) -> bool:
    """Return whether the cases are volumes; a problem where some are and others are not."""
    flat: list[str] = []
    deep: list[str] = []
    for case in cases.values():
        mask = case.masks[0][0]
        is_volume = is_nifti(case.image) or (_is_stack(case.image) and _is_stack(mask))
        (deep if is_volume else flat).append(case.image.name)
        if is_volume and is_nifti(case.image) != is_nifti(mask):
            found.problems.append(
                f"{mask.parent.name}/{mask.name}: for {case.image.name}; NIfTI and TIFF count rows "
                "and columns in another order: save both alike"
            )
    by_nifti = sorted(name for name in deep if is_nifti(Path(name)))
    by_tiff = sorted(name for name in deep if not is_nifti(Path(name)))
    if by_nifti and by_tiff:
        found.problems.append(
            f"images/: {by_nifti[0]} and {by_tiff[0]} are volumes as NIfTI and as TIFF, which "
            "count rows and columns in another order; save all alike"
        )
        found.refuse()
    if flat and deep:
        found.problems.append(
            f"images/: {flat[0]} is a picture and {deep[0]} a volume; keep one kind"
        )
        found.refuse()
    if by_tiff:
        found.notes.append(
            f"{len(by_tiff)} file(s) are read as volumes, a page a slice: {listing(by_tiff)}"
        )
    return bool(deep)


def _is_stack(file: Path) -> bool:
    """Return whether a file is a TIFF of several slices."""
    return bool(ending_of(file.name, tiff.ENDINGS)) and tiff.slices(file) > 1


def read_deep_image(path: Path) -> Volume:
    """Return a volume `(X Y Z C)`, float32, of NIfTI or of TIFF with a page a slice."""
    if is_nifti(path):
        return read_volume(path)
    pages = read_image_pages(path)
    if len({page.shape for page in pages}) > 1:
        raise InvalidData(f"{path.parent.name}/{path.name}: pages of several sizes; make them one")
    where = f"{path.parent.name}/{path.name}"
    return Volume(np.stack(pages, axis=2).astype(np.float32), where)


def read_deep_labels(case: Case) -> Volume:
    """Return the labels of a volume, `(X Y Z)`."""
    files = [file for file, _ in case.masks]
    if len(files) > 1:
        raise InvalidData(
            f"masks/{files[0].name}: a volume has one file of labels; {case.name} has {len(files)}"
        )
    where = f"{files[0].parent.name}/{files[0].name}"
    if is_nifti(files[0]):
        return read_labels(files[0])
    pages = [page.values for page in read_mask_pages(files[0])]
    if len({page.shape for page in pages}) > 1:
        raise InvalidData(f"{where}: pages of several sizes; make them one")
    return Volume(np.stack(pages, axis=2), where)


def _read_masks(case: Case) -> Mask:
    """Return the mask of a case; several are laid over each other, as they come."""
    first, *rest = (_of_class(file, number) for file, number in case.masks)
    if not rest:
        return first
    values: Array = first.values.copy()
    covered = 0
    highest = {int(mask.values.max()) for mask in (first, *rest)}
    if highest - {0} == {1, 255}:
        raise InvalidData(
            f"{first.where}: masks of one image hold 0 and 1, and 0 and 255; save all alike"
        )
    for mask in rest:
        if mask.values.shape != values.shape:
            raise InvalidData(
                f"{mask.where}: of another size than {first.where}; all of an image are equal"
            )
        if mask.is_colour != first.is_colour or (mask.colours is None) != (first.colours is None):
            raise InvalidData(f"{mask.where}: of another kind than {first.where}; save all alike")
        known = first.palette()
        if any(known.get(index, colour) != colour for index, colour in mask.palette().items()):
            raise InvalidData(
                f"{mask.where}: another palette than that of {first.where}; give all of an image "
                "one palette, or save class ids"
            )
        drawn = mask.values != 0
        covered += int((drawn & (values != 0) & (values != mask.values)).sum())
        values[drawn] = mask.values[drawn]
    is_lossy = first.is_lossy or any(mask.is_lossy for mask in rest)
    is_turned = first.is_turned or any(mask.is_turned for mask in rest)
    return Mask(values, first.where, first.colours, first.is_colour, is_lossy, is_turned, covered)


def _of_class(file: Path, number: int) -> Mask:
    """Return the mask of one file: as it is, or what is not 0 as the class of its folder.

    Of 0, 1 and 255 the last is ignored, as elsewhere.
    """
    mask = read_mask(file)
    if not number:
        return mask
    if mask.is_lossy:
        raise InvalidData(f"{mask.where}: lossy compression (JPEG) blurs class ids; save it as PNG")
    counts = counted(mask.values)
    if blurred([mask.values], [counts]):
        raise InvalidData(
            f"{mask.where}: {len(counts)} grey levels, whose edges were blurred by resizing; save "
            "0, and one value for the class (resize by nearest neighbour)"
        )
    drawn = mask.as_colours().values != 0
    values = drawn.astype(np.uint8) * np.uint8(number)
    if counts.keys() == {0, 1, IGNORE}:
        values[mask.values == IGNORE] = IGNORE
    return Mask(values, mask.where, is_turned=mask.is_turned)
