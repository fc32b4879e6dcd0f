"""Reads a folder of images and masks, the way most people keep them.

    NAME/images/*.png      PNG, JPEG, TIFF, BMP or GIF; 8 or 16 bits; grey, RGB, RGBA, palette
    NAME/masks/*.png       class ids, named as the image or with `_mask` and the like behind; 255 = ignore
    NAME/splits/train.txt  optional, with val.txt and test.txt: one stem a line
    NAME/dataset.json      optional: `name`, `classes`, `ignore_index`

Everything is read and checked first; what is wrong is reported at once, all of it, by file.
"""

from __future__ import annotations

import json
import warnings
from collections import Counter
from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from PIL import Image

from unet_bench.data.dataset import IGNORE, Array, Dataset, Sample, fault
from unet_bench.errors import InvalidData, offenders

FORMATS: Final = ("PNG", "JPEG", "TIFF", "BMP", "GIF")
ENDINGS: Final = {".png", ".jpg", ".jpeg", ".tif", ".tiff", ".bmp", ".gif"}
MASK_SUFFIXES: Final = ("", "_mask", "_masks", "_seg", "_segmentation", "_label", "_labels", "_gt", "-mask")
SPLITS: Final = ("train", "val", "test")
THREADS: Final = 4

Splits = dict[str, list[str]]


def read_folder(path: Path | str, *, classes: int | Sequence[str] | None = None, seed: int = 0) -> Dataset:
    """The data set in the folder `path`, see above.

    Classes come from `classes` (names, or how many), else from dataset.json, else from the masks. Masks which hold
    nothing but 0 and 255 are 0 and 1, if there are two classes. Without split files the images are split 70/10/20 by
    `seed`; with them, images in no split are left alone. Grey and RGB in one set become RGB, 16 bits become 0..1.
    Raises InvalidData, naming all offenders and the remedies.
    """
    root = Path(path)
    problems: list[str] = []
    _require_folders(root)
    about = _about(root, classes, problems)
    image_files, mask_files = _files(root / "images"), _files(root / "masks")
    splits, split_by = _splits(root, sorted(image_files), seed, problems)
    stems = [stem for split in SPLITS for stem in splits[split]]

    images = _uniform(_decode(_image, _chosen(image_files, stems, problems), problems))
    masks = _decode(_mask, _matched(mask_files, image_files, stems, problems), problems)
    names, masks = _labelled(masks, about, problems)
    samples = {stem: Sample(stem, images[stem], masks[stem]) for stem in stems if stem in images and stem in masks}
    channels = max((image.shape[-1] for image in images.values()), default=1)
    found = (fault(sample, channels, len(names)) for sample in samples.values())
    _refuse(root, problems + [problem for problem in found if problem])
    train, val, test = (tuple(samples[stem] for stem in splits[split]) for split in SPLITS)
    return Dataset(about.name, names, channels, train, val, test, split_by=split_by)


def _refuse(root: Path, problems: list[str]) -> None:
    if problems:
        raise InvalidData(f"the data in {root} cannot be used, {len(problems)} problem(s):\n{offenders(problems)}")


def _require_folders(root: Path) -> None:
    missing = [str(folder) for folder in (root / "images", root / "masks") if not folder.is_dir()]
    _refuse(root, [f"{folder}: no such folder; put the images in images/, the masks in masks/" for folder in missing])


@dataclass(frozen=True)
class _About:
    """What dataset.json and the caller state."""

    name: str
    classes: tuple[str, ...] | None
    ignore: int | None


def _about(root: Path, classes: int | Sequence[str] | None, problems: list[str]) -> _About:
    stated = _json(root / "dataset.json", problems)
    ignore = stated.get("ignore_index")
    if ignore is not None and type(ignore) is not int:
        problems.append(f"dataset.json: ignore_index {ignore!r} must be one whole number or null")
    names = _names(stated.get("classes") if classes is None else classes, problems)
    # 255 is `IGNORE` already; and where 255 turns out to mean 1, an ignore_index of 255 was a default nobody meant.
    return _About(str(stated.get("name") or root.resolve().name), names, None if ignore == IGNORE else ignore)


def _json(file: Path, problems: list[str]) -> dict[str, Any]:
    if not file.exists():
        return {}
    try:
        stated = json.loads(file.read_bytes())
    except ValueError as error:
        problems.append(f"{file.name}: not JSON ({error}); mend or remove it")
        return {}
    if not isinstance(stated, dict):
        problems.append(f"{file.name}: must be an object with keys such as name and classes; mend or remove it")
        return {}
    return stated


def _names(classes: object, problems: list[str]) -> tuple[str, ...] | None:
    """Class names from names, a count or nothing."""
    if classes is None:
        return None
    if type(classes) is int and 2 <= classes <= IGNORE:
        return ("background", *(f"class {number}" for number in range(1, classes)))
    names = tuple(classes) if isinstance(classes, list | tuple) else ()
    if all(isinstance(name, str) for name in names) and 2 <= len(set(names)) == len(names) <= IGNORE:
        return names
    problems.append(f"classes {classes!r}: give 2 to {IGNORE} different names, the background first, or how many")
    return None


def _files(folder: Path) -> dict[str, list[Path]]:
    """The image files of a folder by stem; `._x.png`, `.DS_Store` and the like are not images."""
    files: dict[str, list[Path]] = {}
    for file in sorted(folder.iterdir()):
        if file.suffix.lower() in ENDINGS and not file.name.startswith(".") and file.is_file():
            files.setdefault(file.stem, []).append(file)
    return files


def _splits(root: Path, stems: list[str], seed: int, problems: list[str]) -> tuple[Splits, str]:
    """Stems by split, none of them unknown, and how they were split."""
    files = [root / "splits" / f"{split}.txt" for split in SPLITS]
    if not stems:
        problems.append(f"images/: holds no image; put {', '.join(FORMATS)} files there")
        return {split: [] for split in SPLITS}, ""
    if not any(file.exists() for file in files):
        return _seeded(stems, seed, problems), f"seeded 70/10/20, seed {seed}"
    splits = {file.stem: _listed(file, problems) for file in files}
    counts = Counter(stem for listed in splits.values() for stem in listed)
    problems += [f"splits/: {stem} is named {n} times; keep it in one split" for stem, n in counts.items() if n > 1]
    known = set(stems)
    for split, listed in splits.items():
        problems += [f"splits/{split}.txt: no image has the stem {stem!r}" for stem in listed if stem not in known]
    return {split: [stem for stem in listed if stem in known] for split, listed in splits.items()}, "files"


def _listed(file: Path, problems: list[str]) -> list[str]:
    where = f"splits/{file.name}"
    try:
        lines = file.read_text("utf-8-sig").splitlines() if file.exists() else []
    except (OSError, ValueError) as error:
        problems.append(f"{where}: cannot be read ({error}); save it as UTF-8 text")
        return []
    stems = [line.strip() for line in lines if line.strip()]
    if not stems:
        problems.append(f"{where}: names no image; list one stem a line, or remove all split files to split by seed")
    return stems


def _seeded(stems: list[str], seed: int, problems: list[str]) -> Splits:
    total = len(stems)
    if total < 3:
        problems.append(f"images/: {total} image(s); three splits need at least three, add some")
    order = [stems[index] for index in np.random.Generator(np.random.PCG64(seed)).permutation(total)]
    tests, vals = max(1, round(0.2 * total)), max(1, round(0.1 * total))
    return {
        "train": sorted(order[tests + vals :]),
        "val": sorted(order[tests : tests + vals]),
        "test": sorted(order[:tests]),
    }


def _chosen(files: dict[str, list[Path]], stems: Iterable[str], problems: list[str]) -> dict[str, Path]:
    """The image file of each stem."""
    chosen = {}
    for stem in dict.fromkeys(stems):
        chosen[stem], *others = files[stem]
        if others:
            problems.append(f"images/: {_listing(files[stem])} have one stem; keep one of them")
    return chosen


def _matched(
    masks: dict[str, list[Path]], images: dict[str, list[Path]], stems: Iterable[str], problems: list[str]
) -> dict[str, Path]:
    """The mask file of each stem; `a_mask` is the mask of `a`, unless there is an image `a_mask`."""
    matched, missing = {}, []
    for stem in dict.fromkeys(stems):
        fitting = [stem + suffix for suffix in MASK_SUFFIXES if not suffix or stem + suffix not in images]
        files = [file for name in fitting for file in masks.get(name, [])]
        if len(files) == 1:
            matched[stem] = files[0]
        elif files:
            problems.append(f"masks/: {_listing(files)} fit the image {stem}; keep one of them")
        else:
            missing.append(f"masks/: no mask for the image {stem}; add {stem}.png or {stem}_mask.png")
    if missing and not matched:
        given = _listing([file for files in masks.values() for file in files][:3]) or "no image file"
        problems.append(f"masks/: holds {given}; name masks as their images, or with _mask, _seg, _gt … behind")
    problems += missing
    return matched


def _listing(files: list[Path]) -> str:
    return ", ".join(file.name for file in files)


def _decode(convert: Callable[[Image.Image], Array], files: dict[str, Path], problems: list[str]) -> dict[str, Array]:
    """The arrays of the files that can be read, by stem."""
    arrays = {}
    with warnings.catch_warnings(), ThreadPoolExecutor(THREADS) as pool:
        # Pillow refuses decompression bombs from twice its limit on, and only warns below that.
        warnings.simplefilter("error", Image.DecompressionBombWarning)
        futures = {stem: pool.submit(_read, convert, file) for stem, file in files.items()}
        for stem, future in futures.items():
            try:
                arrays[stem] = future.result()
            except InvalidData as error:
                problems.append(str(error))
    return arrays


def _read(convert: Callable[[Image.Image], Array], path: Path) -> Array:
    where = f"{path.parent.name}/{path.name}"
    try:
        with Image.open(path, formats=FORMATS) as file:
            # A phone's JPEG may carry a second picture (MPO) besides the one everybody sees.
            pages = 1 if file.format == "MPO" else getattr(file, "n_frames", 1)
            if pages > 1:
                raise InvalidData(f"{pages} pages; save each page as a file of its own")
            return convert(file)
    except InvalidData as error:
        raise InvalidData(f"{where}: {error}") from None
    except Exception as error:  # a damaged file can make Pillow raise anything
        raise InvalidData(f"{where}: cannot be read ({error}); save it anew or remove it") from error


def _image(file: Image.Image) -> Array:
    """`(H W 1)` or `(H W 3)`; uint8, or float32 in 0..1 from 16 bits."""
    if file.mode.startswith("I;16"):
        return (np.array(file, np.float32) / np.float32(65535))[..., None]
    if file.mode in ("I", "F"):
        raise InvalidData("holds 32 bits a pixel; save it with 8 or 16")
    if file.mode in ("1", "L", "LA", "La"):
        return np.array(file.convert("L"))[..., None]
    # By way of RGBA: a palette may hold its own transparency, which Pillow does not like to drop at once.
    return np.array((file.convert("RGBA") if file.mode in ("P", "PA") else file).convert("RGB"))


def _mask(file: Image.Image) -> Array:
    """`(H W)` whole numbers as they stand in the file; palette indices, not colours."""
    if file.format in ("JPEG", "MPO"):
        raise InvalidData("JPEG blurs class ids; save masks as PNG, blurred ones once rounded to whole ids")
    if file.mode == "F":
        raise InvalidData("holds fractions; save class ids 0, 1, 2, … as 8-bit PNG")
    if file.mode in ("L", "P") or file.mode.startswith("I"):
        return np.array(file)
    rgb = np.array(file.convert("RGB"))
    if (rgb != rgb[..., :1]).any():
        raise InvalidData("holds colours; replace each colour by its class id 0, 1, 2, … and save as 8-bit PNG")
    return rgb[..., 0].copy()


def _uniform(images: dict[str, Array]) -> dict[str, Array]:
    """All images of one kind: grey repeated where others are RGB, brought to 0..1 where others are."""
    channels = max((image.shape[-1] for image in images.values()), default=1)
    scaled = any(image.dtype == np.float32 for image in images.values())
    for stem, image in images.items():
        if image.shape[-1] < channels:
            images[stem] = image = np.repeat(image, channels, axis=-1)
        if scaled and image.dtype == np.uint8:
            images[stem] = image.astype(np.float32) / np.float32(255)
    return images


def _labelled(masks: dict[str, Array], about: _About, problems: list[str]) -> tuple[tuple[str, ...], dict[str, Array]]:
    """The class names, and masks of class ids: 255 is 1 where nothing else occurs, and `about.ignore` is `IGNORE`."""
    values = {int(value) for mask in masks.values() for value in np.unique(mask)}
    two_classes = about.classes is None or len(about.classes) == 2
    binary = two_classes and IGNORE in values and values <= {0, IGNORE, about.ignore}
    names = about.classes or _scanned({0, 1} if binary else values - {IGNORE, about.ignore}, problems)
    return names, {stem: _ids(mask, binary, about.ignore) for stem, mask in masks.items()}


def _scanned(values: set[int], problems: list[str]) -> tuple[str, ...]:
    """Class names for the values that occur, where nobody declared any."""
    count = max(values, default=1) + 1
    # One-based ids, grey levels and stray values would make classes which nobody has; a class or two may be absent.
    if values and (count < 2 or 0 not in values or 2 * len(values) < count):
        shown = ", ".join(map(str, sorted(values)[:10]))
        problems.append(f"masks/: values {shown} are not class ids 0, 1, 2, …; renumber them or declare the classes")
    return _names(max(2, min(count, IGNORE)), problems) or ()


def _ids(mask: Array, binary: bool, ignore: int | None) -> Array:
    ids = np.where(mask == IGNORE, 1, mask) if binary else mask
    if ignore is not None:
        ids = np.where(mask == ignore, IGNORE, ids)
    fits = ids.min() >= 0 and ids.max() <= IGNORE
    return ids.astype(np.uint8, copy=False) if fits else ids
