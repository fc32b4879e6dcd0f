"""Test images beside what networks make of them, as pictures that a page can hold.

samples of a run ─▶ the best, the baseline, the worst ─▶ image, truth, prediction, errors
"""

from __future__ import annotations

import base64
import io
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from unet_bench.limits import entry, read_json
from unet_bench.present.class_pictures import COLOURS, IGNORED, hexed
from unet_bench.present.groups import Group, is_baseline
from unet_bench.present.report.networks import measured_cell
from unet_bench.store.figures import Row
from unet_bench.store.run_folder import RunFolder, cell_stem

Array = NDArray[np.uint8]

ERRORS: Final[Mapping[str, tuple[int, int, int]]] = {
    "missed: background where there is a class": (240, 228, 66),
    "invented: a class where there is background": (213, 94, 0),
    "one class for another": (204, 121, 167),
}
_JPEG: Final = 88  # quality


@dataclass(frozen=True)
class Picture:
    """A picture as a data URI, and what it shows in words."""

    source: str
    words: str


@dataclass(frozen=True)
class Examples:
    """A group's examples: networks, why each is shown, and the colours of classes that occur.

    A row holds a test image, its truth, and each network's prediction and errors.
    """

    group: Group
    names: tuple[tuple[str, str], ...]  # variant, why
    rows: tuple[tuple[Picture, ...], ...]
    legend: tuple[tuple[str, str], ...]  # colour, class
    note: str = ""


def examples(
    group: Group,
    cells: Sequence[Row],
    folder: Path | None,
    classes: Mapping[int, str],
    wanted: Sequence[str],
) -> Examples | None:
    """Return the examples of these variants; None where the run kept none.

    `cells` are the group's accuracy cells. All pictures are of one fold and seed, the first that
    the first variant has. `note` says so if a file is damaged.
    """
    if folder is None:
        return None
    run = RunFolder(folder)
    files = {name: _predictions_of(name, cells, run) for name in wanted}
    trial = next((trial for by_trial in files.values() for trial in by_trial), None)
    if trial is None:
        return None
    try:
        inputs = _arrays(run.samples / _inputs(cells, trial, run))
        predicted = {
            name: _arrays(by_trial[trial]) for name, by_trial in files.items() if trial in by_trial
        }
        count = sum(name.startswith("truth") for name in inputs)
        rows = tuple(tuple(_row(number, inputs, predicted)) for number in range(count))
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        note = f"the examples in {run.samples} cannot be read ({type(error).__name__}: {error})"
        return Examples(group, (), (), (), note)
    known = (inputs, *predicted.values())
    masks = [arrays[name].ravel() for arrays in known for name in arrays if "image" not in name]
    legend = []
    for number in np.unique(np.concatenate(masks)).tolist():
        name = "not scored" if number == IGNORED else classes.get(number, f"class {number}")
        legend.append((hexed(COLOURS[number]), name))
    names = tuple((name, _why(name, group)) for name in predicted)
    return Examples(group, names, rows, tuple(legend))


def error_legend() -> list[tuple[str, str]]:
    """Return the colours of wrong pixels, and what each means."""
    return [(hexed(colour), words) for words, colour in ERRORS.items()]


# ---- from a run's folder to arrays


def _predictions_of(name: str, cells: Sequence[Row], run: RunFolder) -> dict[Any, Path]:
    """Return the files of a variant's predictions by (fold, seed)."""
    files = {
        (cell["fold"], cell["seed"]): _samples(cell, run).with_suffix(".npz")
        for cell in cells
        if cell["variant"] == name and cell["status"] == "ok"
    }
    return {trial: file for trial, file in files.items() if file.is_file()}


def _samples(cell: Row, run: RunFolder) -> Path:
    return run.samples_of(cell_stem("accuracy", measured_cell(cell)))


def _inputs(cells: Sequence[Row], trial: tuple[Any, Any], run: RunFolder) -> str:
    """Return the name of the file of images and truth, from any training on the same fold."""
    for cell in cells:
        file = _samples(cell, run)
        if cell["fold"] == trial[0] and file.is_file():
            name = entry(read_json(file), "examples", str, "")
            if name and Path(name).name == name:
                return name
    raise FileNotFoundError("no training names the file of its images")


def _arrays(file: Path) -> dict[str, Array]:
    with np.load(file, allow_pickle=False) as loaded:
        return {name: np.asarray(loaded[name], dtype=np.uint8) for name in loaded.files}


# ---- from arrays to pictures


def _row(
    number: int, inputs: Mapping[str, Array], predicted: Mapping[str, Mapping[str, Array]]
) -> Iterator[Picture]:
    image, truth = inputs[f"image{number}"], inputs[f"truth{number}"]
    which = f"test image {number + 1}"
    yield Picture(_uri(image, is_photo=True), which)
    yield Picture(_uri(COLOURS[truth]), f"truth of {which}")
    scored = truth != IGNORED
    for name, arrays in predicted.items():
        classes = arrays[f"predicted{number}"]
        right = float((classes == truth)[scored].mean()) if scored.any() else 0.0
        words = f"{name} on {which}: {100 * right:.1f} % of pixels right"
        shown = COLOURS[np.where(scored, classes, IGNORED)]
        yield Picture(_uri(shown), f"prediction of {words}")
        yield Picture(_uri(_errors(image, truth, classes)), f"errors of {words}")


def _errors(image: Array, truth: Array, predicted: Array) -> Array:
    """Return the image, darkened, with wrong pixels in the colours of ERRORS."""
    grey = image.mean(axis=2) if image.ndim == 3 else image
    canvas = np.repeat((grey * 0.45).astype(np.uint8)[..., None], 3, axis=2)
    wrong = (predicted != truth) & (truth != IGNORED)
    is_missed, is_invented = wrong & (predicted == 0), wrong & (truth == 0)
    kinds = (is_missed, is_invented, wrong & ~is_missed & ~is_invented)
    for where, colour in zip(kinds, ERRORS.values(), strict=True):
        canvas[where] = colour
    return canvas


def _uri(pixels: Array, *, is_photo: bool = False) -> str:
    """Return a picture as a data URI; one of few colours has a palette, in a third of the bytes."""
    from PIL import Image

    picture, file = Image.fromarray(pixels), io.BytesIO()
    if is_photo:
        picture.save(file, "JPEG", quality=_JPEG)
    else:
        few = picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        few.save(file, "PNG", optimize=True)
    kind = "jpeg" if is_photo else "png"
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def _why(name: str, group: Group) -> str:
    rows = group.scored()
    dice = [row["dice"] for row in rows]
    row = next(row for row in rows if row["variant"] == name)
    reasons = {
        "best": row["dice"] == max(dice),
        "worst": row["dice"] == min(dice),
        "baseline": is_baseline(row),
    }
    return ", ".join(reason for reason, holds in reasons.items() if holds)
