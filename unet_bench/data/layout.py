"""Which masks belong to which image, by the names of files and folders alone.

    images/ masks/                 side by side; imgs, labels, gt and the like are known, too
    train/images/ train/masks/     a folder a split, with both in it
    images/train/ masks/train/     the same, the other way round
    train/ train_labels/           a folder a split, and one of its masks beside it
    a.png a_mask.png               both in one folder, or in folders of one folder (BUSI)
    masks/CLASS/                   masks in a folder a class, one file an image in each
    masks/a_mask_1.png             several masks of an image, `_0`, `_1`, … at the end
    train/PLACE/images/            the same in a folder a place or a scanner (LoveDA)
    X_Training_Input/              ISIC's: `Input` or `Data`, and `GroundTruth` for the masks
    PATIENT/images/ PATIENT/masks/ a folder a patient; or images/PATIENT/ masks/PATIENT/
    a/a_scan/ a/a_lesion/          a folder an image, with its mask in a folder beside it (PH2)
    JPEGImages/ SegmentationClass/ as VOC, which CVAT and LabelMe export

Names match across Unicode's forms, and across upper and lower case where that leaves one. What
stands for the image in a name may be replaced in the mask's: `a_sat` and `a_mask`, `image_1` and
`mask_1`.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Collection, Iterable, Mapping
from dataclasses import dataclass
from difflib import SequenceMatcher
from pathlib import Path
from typing import Final

from unet_bench.data.decode import READ, children, ending_of, folded
from unet_bench.data.findings import Findings, listing
from unet_bench.errors import InvalidData
from unet_bench.limits import one_line

MANY_FOLDERS: Final = 10
"""As many folders are of patients or scans; fewer may be of kinds, such as benign and malignant."""
LISTINGS: Final = ("splits", "split", "imagesets")
"""Folders of files that list the images of each split."""
CLASS_TABLES: Final = (
    *("class_dict.csv", "_classes.csv", "label_colors.txt", "labelmap.txt", "class_names.txt"),
)
"""Files beside the masks that say which colour or value is which class: CamVid's, Roboflow's,
CVAT's and LabelMe's.
"""
IMAGES: Final = (
    *("images", "imgs", "image", "img", "imagespng", "cxrpng", "stareimages"),
    *("original", "originals", "jpegimages", "imgdir"),
)
"""What folders of images are called, without spaces, hyphens and underscores."""
OBSERVERS: Final = ("1stmanual", "manual1", "manualmask", "labelsah")
"""Masks that an observer drew: where they are, `mask` is the field of view (DRIVE, HRF)."""
MASKS: Final = (
    *OBSERVERS,
    *("masks", "mask", "labels", "label", "gt", "groundtruth", "segmentations", "segmentation"),
    *("annotations", "maskspng", "manual", "segmentationclasspng", "segmentationclass"),
    "anndir",
)
SPLIT_NAMES: Final = {
    "train": ("train", "training"),
    "val": ("val", "valid", "validation", "dev"),
    "test": ("test", "testing"),
}
MASK_WORDS: Final = (
    *("mask", "masks", "seg", "segmentation", "label", "labels", "gt", "labelled", "labeled"),
    *("cp_masks", "annotation", "anno"),
)
MASK_SUFFIXES: Final = (
    "",
    *(before + word for word in MASK_WORDS for before in "_-"),
    *("_L", "_manual1", "_1stHO", ".ah", "_lesion", "_manual", "_gtFine_labelIds", "_labelIds"),
)
IMAGE_SUFFIXES: Final = (
    *("_image", "_img", "_sat", "_leftImg8bit", "_leftimg8bit", "_training", "_test", "_rgb"),
)
"""What stands behind the name of an image, and not in its mask's: DeepGlobe's, DRIVE's, …"""
IMAGE_PREFIXES: Final = ("image", "img", "im", "volume", "frame")
MASK_PREFIXES: Final = ("mask", "label", "gt", "seg", "segmentation")
OTHER_SUFFIXES: Final = (
    *("_2ndHO", "_superpixels", "_gtFine_color", "_gtFine_instanceIds", "_overlay", "_viz"),
)
"""What stands behind names of what is neither image nor mask: a second observer's masks, …"""
BESIDE_SUFFIXES: Final = ("labels", "label", "masks", "mask", "gt", "annot")
"""What stands behind the name of a folder of images in that of the folder of their masks."""
NUMBERED: Final = re.compile(r"(.+?)[_-]\d{1,4}")
SUFFIXES: Final = tuple(dict.fromkeys((*MASK_SUFFIXES, *map(str.lower, MASK_SUFFIXES))))
BEFORE: Final = re.compile(f"^({'|'.join((*IMAGE_PREFIXES, *MASK_PREFIXES))})(?=[_-]?[0-9])")
"""What may stand before the number of an image or mask."""


@dataclass(frozen=True)
class Case:
    """An image, the masks drawn on it, each with its class's number or 0, and its split or ""."""

    name: str
    image: Path
    masks: tuple[tuple[Path, int], ...]
    split: str = ""
    group: str = ""
    """What stays in one split with it: its folder, see `Place`."""


@dataclass(frozen=True)
class Place:
    """A folder of images and that of their masks, which may be the same."""

    images: Path
    masks: Path
    split: str = ""
    prefix: str = ""
    """What stands before a name, so that images of one name in several places differ."""
    is_whole: bool = False
    """Whether its images stay in one split, since it may be of one patient."""

    @property
    def group(self) -> str:
        """What its images are called together that stay in one split; empty if they need not."""
        return self.prefix.rstrip("/") if self.is_whole else ""


@dataclass(frozen=True)
class Layout:
    """How a folder is laid out: its cases, and the names of classes that folders give."""

    cases: dict[str, Case]
    classes: tuple[str, ...]
    masks_where: str
    """How the folder of masks is called in messages."""
    given: list[str]
    """The names of all mask files."""


def find_places(root: Path) -> list[Place]:
    """Return where images and masks lie in a folder, by the first layout that fits; or nothing."""
    ways = (
        *(_side_by_side, _split_folders, _folders_of_splits),
        *(_beside_each_other, _in_one_folder, _folders_of_cases, _folders_of_patients),
    )
    return next((places for way in ways if (places := way(root))), [])


TREES: Final = {
    "images/ masks/": ("images", "masks"),
    "train/images/ train/masks/ (and val, test)": ("train/images", "train/masks"),
    "images/train/ masks/train/ (and val, test)": ("images/train", "masks/train"),
    "train/ train_masks/ (and val, test)": ("train", "train_masks"),
    "a.png and a_mask.png in one folder": ("",),
}
"""Layouts for a message, and the folders that each needs."""


OUTLINES: Final = {
    ".xml": "XML is not read; if it holds outlines (Aperio's, as MoNuSeg has them)",
    ".geojson": "GeoJSON is not read; if it holds outlines (QuPath's)",
    ".txt": "text is not read; if it holds outlines (YOLO's)",
    ".csv": "CSV is not read; if it holds run-length masks (Kaggle's EncodedPixels)",
}
"""Files that may hold masks, by their ending, and what is said of them."""
DRAW: Final = "draw those of each image into a mask: images/NAME.tif and masks/NAME.png"
MAY_TELL: Final = ("train", "mask", "label", "rle", "annotation", "segment", "solution")
"""Within names of files beside the images that may hold masks."""


def nearest(path: Path, most: int = 3) -> list[str]:
    """Return the layouts nearest to what lies in a folder, and what to rename for each.

    Folders in it that have such a layout come first.
    """
    inside = [*_folders(path), *(b for a in _folders(path) for b in _folders(a))]
    told = [(2.0, f"{folder}: give this folder") for folder in inside if find_places(folder)]
    present = [folder.relative_to(path).as_posix() for folder in inside]
    for tree, needed in TREES.items():
        nearest_of = _assigned(present, needed)
        score = sum(likeness for _, likeness in nearest_of.values())
        renames = [
            f"rename {near}/ to {folder}/" if likeness > 0.5 else f"make {folder}/"
            for folder, (near, likeness) in nearest_of.items()
            if likeness < 1
        ]
        renames = renames or ["give masks the names of their images, or with _mask behind"]
        told.append((score / len(needed), f"{tree}: {', '.join(renames)}"))
    told += [(3.0, line) for line in _outlines(path, inside)]
    told.sort(key=lambda pair: -pair[0])
    return [one_line(line) for _, line in told[:most]]


def _assigned(present: Iterable[str], needed: Iterable[str]) -> dict[str, tuple[str, float]]:
    """Return the nearest folder of those present for each needed one, and how near it is.

    A folder is given to one alone, the nearest pair first.
    """
    wanted = [folder for folder in needed if folder]
    found = dict.fromkeys(wanted, ("", 0.0))
    pairs = [(_likeness(name, folder), name, folder) for name in present for folder in wanted]
    taken: set[str] = set()
    for likeness, name, folder in sorted(pairs, reverse=True):
        if name not in taken and not found[folder][0]:
            found[folder] = name, likeness
            taken.add(name)
    return found


def _outlines(path: Path, inside: Iterable[Path]) -> list[str]:
    """Return which files may hold outlines or run-length masks, and what to do with them."""
    called = [folder for folder in inside if _plain(folder.name) in MASKS]
    files = [file for folder in called for file in _children(folder)]
    files += [f for f in _children(path) if any(word in f.stem.lower() for word in MAY_TELL)]
    first: dict[str, Path] = {}
    for file in files:
        ending = file.suffix.lower()
        if ending in OUTLINES and not (ending == ".txt" and file.parent == path):
            first.setdefault(ending, file)
    return [
        f"{file.relative_to(path)}: {OUTLINES[ending]}, {DRAW}" for ending, file in first.items()
    ]


def _likeness(name: str, wanted: str) -> float:
    """Return how alike two paths are, from 0 to 1."""
    return SequenceMatcher(None, name.lower(), wanted).ratio()


def _side_by_side(root: Path) -> list[Place]:
    for images in _all_called(root, IMAGES):
        for masks in _all_called(root, MASKS):
            is_plain = (images.name.lower(), masks.name.lower()) == ("images", "masks")
            in_splits = [child for child in _folders(images) if split_called(child.name)]
            if in_splits and not _has_files(images):
                continue
            # Folders, or files of other endings, are a format of another reader.
            is_plain &= _has_files(images) or not _children(images)
            if is_plain or _match(images, masks):
                return [Place(images, masks)]
    return []


def _split_folders(root: Path) -> list[Place]:
    """Return the places of a folder a split, with images and masks in it or in folders of it.

    Where masks of an observer lie in one of them, nothing else counts as masks in the others.
    """
    held = []
    for child in _folders(root):
        if split := split_called(child.name):
            held.append((child, split, f"{split}/"))
            held += [(inner, split, f"{split}/{inner.name}/") for inner in _folders(child)]
    observed = [name for name in OBSERVERS if any(_all_called(one, (name,)) for one, *_ in held)]
    places = []
    for folder, split, prefix in held:
        images, masks = _all_called(folder, IMAGES), _all_called(folder, observed or MASKS)
        if images and masks:
            places.append(Place(images[0], masks[0], split, prefix))
    return places


def _folders_of_splits(root: Path) -> list[Place]:
    for images in _all_called(root, IMAGES):
        for masks in _all_called(root, MASKS):
            places = []
            for child in _folders(images):
                split = split_called(child.name)
                twins = _all_called(masks, SPLIT_NAMES.get(split, ()))
                if split and twins:
                    places.append(Place(child, twins[0], split, f"{split}/"))
            if places:
                return places
    return []


def _beside_each_other(root: Path) -> list[Place]:
    by_name = {_plain(folder.name): folder for folder in _folders(root)}
    places = []
    for name, folder in by_name.items():
        split = split_called(folder.name)
        twins = [by_name[twin] for suffix in BESIDE_SUFFIXES if (twin := name + suffix) in by_name]
        if not split and name.endswith(("input", "data")):
            split = _split_within(folder.name)
            truths = [other for other in by_name.values() if _split_within(other.name) == split]
            twins = [other for other in truths if _plain(other.name).endswith("groundtruth")]
        twins = [twin for twin in twins if split and _match(folder, twin)]
        places += [Place(folder, twin, split, f"{split}/") for twin in twins[:1]]
    return places


def _split_within(name: str) -> str:
    """Return which split a word of a name is called as; empty for none."""
    splits = map(split_called, re.findall("[a-z]+", name.lower()))
    return next(filter(None, splits), "")


def _in_one_folder(root: Path) -> list[Place]:
    if _match(root, root):
        return [Place(root, root)]
    folders = [folder for folder in _folders(root) if _match(folder, folder)]
    splits = [split_called(folder.name) for folder in folders]
    if not all(splits):
        return _places_of({folder.name: (folder, folder) for folder in folders})
    return [
        Place(folder, folder, split, f"{folder.name}/")
        for folder, split in zip(folders, splits, strict=True)
    ]


def _folders_of_patients(root: Path) -> list[Place]:
    """Return the places of a folder a patient, with images and masks in it, or in these two.

    Few folders with both in each may be as many data sets.
    """
    pairs: dict[str, tuple[Path, Path]] = {}
    for folder in _folders(root):
        images, masks = _all_called(folder, IMAGES), _all_called(folder, MASKS)
        # An image that is called as its folder is one with a mask an object: another reader's.
        is_set = (folder / "dataset.json").exists()
        if images and masks and not is_set and folder.name not in _stems(images[0]):
            pairs[folder.name] = images[0], masks[0]
    if len(pairs) < MANY_FOLDERS:
        pairs.clear()
    for images_of_all in _all_called(root, IMAGES):
        for masks_of_all in _all_called(root, MASKS):
            masks_by_name = {folded(folder.name): folder for folder in _folders(masks_of_all)}
            for folder in _folders(images_of_all):
                if twin := masks_by_name.get(folded(folder.name)):
                    pairs.setdefault(folder.name, (folder, twin))
    return _places_of({name: pair for name, pair in pairs.items() if _match(*pair)})


def _places_of(pairs: Mapping[str, tuple[Path, Path]]) -> list[Place]:
    """Return the places of folders that are no splits."""
    is_whole = len(pairs) >= MANY_FOLDERS
    return [
        Place(images, masks, prefix=f"{name}/", is_whole=is_whole)
        for name, (images, masks) in pairs.items()
    ]


def _folders_of_cases(root: Path) -> list[Place]:
    """Return the places of a folder an image, in which one folder holds it and one its mask."""
    places = []
    for case in _folders(root):
        called = [folder for folder in _folders(case) if folder.name.startswith(case.name)]
        inner = {folder: _stems(folder) for folder in called}
        images = [folder for folder, stems in inner.items() if case.name in stems]
        named = {case.name + suffix for suffix in SUFFIXES if suffix}
        masks = [folder for folder, stems in inner.items() if named.intersection(stems)]
        if images and masks:
            places.append(Place(images[0], masks[0]))
    return places


def _match(images: Path, masks: Path) -> bool:
    """Return whether an image of one folder has a mask in another, or with a suffix in its own.

    Masks may lie in folders of classes, if nothing else lies beside these.
    """
    stems = _lower_stems(images)
    if images == masks:
        return any(image_of(stem, stems) for stem in stems)
    there = _lower_stems(masks)
    if all(os.path.isdir(child) for child in _children(masks)):
        there = {stem for folder in _folders(masks) for stem in _lower_stems(folder)}
    for form in (str.lower, core):
        formed = {form(stem) for stem in there}
        if any(form(stem) + suffix in formed for stem in stems for suffix in SUFFIXES):
            return True
    return False


def _lower_stems(folder: Path) -> set[str]:
    return {folded(stem).lower() for stem in _stems(folder)}


def core(stem: str) -> str:
    """Return what a name says beyond `image`, `mask` and the like, in lower case."""
    lower = stem.lower()
    ending = next((suffix for suffix in IMAGE_SUFFIXES if lower.endswith(suffix.lower())), "")
    return BEFORE.sub("", lower[: len(lower) - len(ending)]).lstrip("_-")


def _stems(folder: Path) -> list[str]:
    names = [file.name for file in _children(folder) if not file.name.startswith(".")]
    return [name[: -len(ending)] for name in names if (ending := ending_of(name, READ))]


def _has_files(folder: Path) -> bool:
    return bool(_stems(folder))


def _all_called(folder: Path, names: Iterable[str]) -> list[Path]:
    """Return the folders in a folder that have one of the names, see `_plain`, in their order."""
    by_name = {_plain(child.name): child for child in _folders(folder)}
    return [by_name[name] for name in names if name in by_name]


def _plain(name: str) -> str:
    """Return a folder's name in lower case, without spaces, hyphens and underscores."""
    return re.sub(r"[\s_-]", "", name.lower())


def _folders(folder: Path) -> list[Path]:
    """Return the folders in a folder, sorted; without a look at each of its files."""
    try:
        with os.scandir(folder) as entries:
            return sorted(Path(e.path) for e in entries if e.name[:1] != "." and e.is_dir())
    except OSError:
        return []


def _children(folder: Path) -> list[Path]:
    try:
        return children(folder) if os.path.isdir(folder) else []
    except InvalidData:
        return []


def split_called(name: str) -> str:
    """Return which split a name is one of, in any case of letters; empty for none."""
    lower = name.lower()
    return next((split for split, names in SPLIT_NAMES.items() if lower in names), "")


def read_layout(root: Path, places: list[Place], found: Findings) -> Layout:
    """Return the cases of a folder. What is left out becomes notes, what is amiss problems."""
    _note_folders(root, places, found)
    read = []
    for place in places:
        images = _listed(root, place.images, found)
        read.append((place, images, _mask_sources(root, place, images, found)))
    folders = {name for _, _, sources in read for _, name in sources if name}
    where = relative(root, places[0].masks)
    order, classes = _classes(folders, where, found)
    cases: dict[str, Case] = {}
    given: list[str] = []
    for place, images, sources in read:
        numbered = [(files, order.index(name) + 1 if name else 0) for files, name in sources]
        for case in _cases(root, place, images, numbered, found):
            cases[case.name] = case
        held = (files.values() for files, _ in sources)
        given += [file.name for groups in held for group in groups for file in group]
    return Layout(cases, classes, where, given)


def _note_folders(root: Path, places: list[Place], found: Findings) -> None:
    """Note the folders beside those of images and masks, in which nothing is looked for."""
    used = {folder for place in places for folder in (place.images, place.masks)}
    above = {parent for folder in used for parent in folder.parents if parent.is_relative_to(root)}
    unused = []
    for parent in sorted(above - used):
        beside = [child for child in _folders(parent) if child not in used | above]
        unused += [relative(root, child) for child in beside if child.name.lower() not in LISTINGS]
    if unused:
        found.notes.append(f"{len(unused)} folder(s) not read: {listing(unused, 10)}")


Files = Mapping[str, list[Path]]
"""Files by stem."""


def _listed(root: Path, folder: Path, found: Findings, are_folders_used: bool = False) -> Files:
    """Return the image files of a folder by stem, and note all that is no image file."""
    files: dict[str, list[Path]] = {}
    hidden, others, folders, dangling = [], [], [], []
    for child in children(folder):
        ending = ending_of(child.name, READ)
        if child.name.startswith("."):
            hidden.append(child.name)
        elif os.path.isdir(child):
            folders.append(f"{child.name}/")
        elif child.name in CLASS_TABLES:
            continue
        elif ending and os.path.isfile(child):
            files.setdefault(folded(child.name[: -len(ending)]), []).append(child)
        elif not os.path.exists(child):
            dangling.append(child.name)
        else:
            others.append(child.name)
    where = relative(root, folder)
    if hidden:
        found.notes.append(f"{where}: {len(hidden)} hidden file(s) not read")
    if others:
        found.notes.append(
            f"{where}: {len(others)} file(s) of unknown endings not read: {listing(others)}"
        )
    if dangling:
        found.notes.append(
            f"{where}: {len(dangling)} link(s) lead nowhere; fetch their files: {listing(dangling)}"
        )
    if folders and not are_folders_used:
        found.notes.append(f"{where}: {len(folders)} folder(s) not read: {listing(folders)}")
    return files


def relative(root: Path, folder: Path) -> str:
    """Return how a folder is called in messages: `masks/`, or `train/masks/`."""
    try:
        inside = folder.relative_to(root).as_posix()
    except ValueError:
        inside = folder.name
    return f"{folder.name if inside == '.' else inside}/"


Sources = list[tuple[Files, str]]
"""Files of masks, with the name of the folder that is their class, or "" where none is."""


def _mask_sources(root: Path, place: Place, images: Files, found: Findings) -> Sources:
    """Return the files of masks of one place.

    Folders in that of the masks are classes; or images, if they are called so and hold no masks of
    others: their files count as numbered masks then.
    """
    folders = _folders(place.masks) if place.masks != place.images else []
    if not folders or _has_files(place.masks):
        return [(_listed(root, place.masks, found), "")]
    _listed(root, place.masks, found, are_folders_used=True)
    sources = [(_listed(root, folder, found), folded(folder.name)) for folder in folders]
    if not any(name in images for _, name in sources):
        return sources
    if any(files.keys() & images.keys() - {name} for files, name in sources):
        return sources
    numbered: dict[str, list[Path]] = {}
    for files, name in sources:
        flat = [file for held in files.values() for file in held]
        numbered |= {f"{name}_{number}": [file] for number, file in enumerate(flat)}
    return [(numbered, "")]


def _classes(folders: set[str], where: str, found: Findings) -> tuple[list[str], tuple[str, ...]]:
    """Return folders of classes in their order, and the names of all classes; or nothing."""
    if not folders:
        return [], ()
    if all(name.isdecimal() for name in folders):
        order = sorted(folders, key=int)
        names = [f"class {name}" for name in order] if len(order) > 1 else ["object"]
    else:
        order = names = sorted(folders)
    found.notes.append(f"{where}: a folder a class: {listing(order, 10)}")
    return order, ("background", *names)


def _cases(
    root: Path,
    place: Place,
    images: Files,
    sources: list[tuple[Files, int]],
    found: Findings,
) -> list[Case]:
    """Return the cases of one place: each image, with its masks. What is amiss becomes problems."""
    where, masks_where = relative(root, place.images), relative(root, place.masks)
    others = _others(images, sources, are_masks_beside=place.images == place.masks)
    if others:
        endings = ", ".join(OTHER_SUFFIXES)
        found.notes.append(
            f"{where}: {len(others)} file(s) not used, which are no images by their names "
            f"({endings}) and have no masks: {listing(sorted(others))}"
        )
    images = {stem: held for stem, held in images.items() if stem not in others}
    if place.images == place.masks:
        every = dict(images)
        images = {stem: held for stem, held in every.items() if not image_of(stem, every)}
        sources = [({stem: held for stem, held in every.items() if stem not in images}, 0)]
    masks: dict[str, list[tuple[Path, int]]] = {stem: [] for stem in images}
    for files, number in sources:
        for stem, (exact, numbered) in match(images.keys(), files).items():
            masks[stem] += [(file, number) for file in (*exact, *numbered)]
            if len(exact) > 1:
                found.problems.append(
                    f"{masks_where}: {_names(exact)} fit the image {stem}; keep one of them"
                )
    for held in images.values():
        if len(held) > 1:
            found.problems.append(f"{where}: {_names(held)} have one stem; keep one of them")
    given = [file for files, _ in sources for held in files.values() for file in held]
    used = {file for held in masks.values() for file, _ in held}
    unused = [file.name for file in given if file not in used]
    if used and unused:
        found.notes.append(
            f"{masks_where}: {len(unused)} mask(s) belong to no image: {listing(unused)}"
        )
    return [
        Case(place.prefix + stem, images[stem][0], tuple(held), place.split, place.group)
        for stem, held in masks.items()
    ]


def _others(images: Files, sources: list[tuple[Files, int]], are_masks_beside: bool) -> set[str]:
    """Return what is neither image nor mask by its name, and has no mask of its own."""
    named = {stem for stem in images if _without(stem, OTHER_SUFFIXES, images)}
    if are_masks_beside:
        return named - {image_of(stem, images) for stem in images}
    matched = [match(images.keys(), files) for files, _ in sources] if named else []
    return {stem for stem in named if not any(any(held[stem]) for held in matched)}


def require_masks(cases: Iterable[Case], layout: Layout, found: Findings) -> None:
    """Add a problem for each case without a mask; and one over all, where no mask fits any."""
    missing = [case.name for case in cases if not case.masks]
    where = layout.masks_where
    if missing and not any(case.masks for case in layout.cases.values()):
        given = listing(layout.given) or "no image file"
        found.problems.append(
            f"{where}: holds {given}; name masks as their images, or with _mask, _seg, _gt … behind"
        )
    for name in missing:
        found.problems.append(
            f"{where}: no mask for the image {name}; add {name}.png or {name}_mask.png"
        )


def _names(files: Iterable[Path]) -> str:
    return ", ".join(file.name for file in files)


def image_of(stem: str, stems: Collection[str]) -> str:
    """Return the image that a file in the same folder is the mask of, by its name; or nothing."""
    numbered = NUMBERED.fullmatch(stem)
    for name in (stem, numbered[1] if numbered else stem):
        if image := _without(name, SUFFIXES, stems):
            return image
    before = BEFORE.match(stem)
    if before and before[1] in MASK_PREFIXES:
        named = (prefix + stem[before.end() :] for prefix in IMAGE_PREFIXES)
        return next((name for name in named if name in stems), "")
    return ""


def _without(stem: str, suffixes: Iterable[str], stems: Collection[str]) -> str:
    """Return the image whose name has one of the suffixes behind it in `stem`; or nothing."""
    for suffix in suffixes:
        if suffix and stem.lower().endswith(suffix.lower()):
            start = stem[: -len(suffix)]
            for name in (start, *(start + end for end in IMAGE_SUFFIXES)):
                if name in stems:
                    return name
    return ""


Matched = dict[str, tuple[list[Path], list[Path]]]
"""Masks by image: those called as it, and those that are numbered."""


def match(images: Iterable[str], masks: Files) -> Matched:
    """Return the masks of each image stem: by the very name, in any case, or else by its core."""
    stems = list(images)
    matched = _by_name(stems, masks)
    for form in (str.lower, core):
        used = {file for exact, numbered in matched.values() for file in (*exact, *numbered)}
        alone = _unique((stem for stem in stems if not any(matched[stem])), form)
        left = {stem: held for stem, held in masks.items() if not used.intersection(held)}
        formed = {short: left[stem] for short, stem in _unique(left, form).items()}
        for short, held in _by_name(list(alone), formed, known=map(form, stems)).items():
            matched[alone[short]] = held
    return matched


def _unique(stems: Iterable[str], form: Callable[[str], str]) -> dict[str, str]:
    """Return stems by their form, those alone that share it with no other."""
    by_form: dict[str, list[str]] = {}
    for stem in stems:
        by_form.setdefault(form(stem), []).append(stem)
    return {short: held[0] for short, held in by_form.items() if len(held) == 1}


def _by_name(stems: list[str], masks: Files, known: Iterable[str] = ()) -> Matched:
    """Return masks by image: `a_mask` is `a`'s, unless there is an image `a_mask`."""
    images = {*stems, *known}
    numbered: dict[str, list[Path]] = {}
    for stem, files in masks.items():
        if (ending := NUMBERED.fullmatch(stem)) and stem not in images:
            numbered.setdefault(ending[1], []).extend(files)
    matched: Matched = {}
    for stem in stems:
        names = [stem + suffix for suffix in SUFFIXES]
        names = [name for name in names if name == stem or name not in images]
        exact = [file for name in names for file in masks.get(name, [])]
        # `a_1` beside `a` may be anything; beside no `a` it can only be a part of it.
        parts = names[1:] if exact else names
        matched[stem] = exact, [file for name in parts for file in numbered.get(name, [])]
    return matched
