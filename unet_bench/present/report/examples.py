"""Test images beside what networks make of them, as pictures that a page can hold.

samples of a run ─▶ the best, the baseline, the worst ─▶ image, truth, prediction, errors
"""

from __future__ import annotations

import base64
import io
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

from unet_bench.present.groups import Group
from unet_bench.present.report.networks import measured_cell
from unet_bench.store.run_folder import RunFolder, cell_stem

Array = NDArray[np.uint8]
Row = Mapping[str, Any]

IGNORED: Final = 255  # the class id of pixels that are not scored
# Okabe and Ito 2008, class 0 dark; further classes are the same, half way to white.
COLOURS: Final = (
    *(
        (32, 38, 45),
        (230, 159, 0),
        (86, 180, 233),
        (0, 158, 115),
        (0, 114, 178),
        (240, 228, 66),
        (213, 94, 0),
    ),
    (204, 121, 167),
)
NOT_SCORED: Final = (190, 190, 190)
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
class Example:
    """A test image, its truth, and each network's prediction and errors.

    Networks are in the order of `Examples.names`.
    """

    image: Picture
    truth: Picture
    predictions: tuple[tuple[Picture, Picture], ...]


@dataclass(frozen=True)
class Examples:
    """A group's examples: networks, why each is shown, and the colours of classes that occur."""

    group: Group
    names: tuple[tuple[str, str], ...]  # variant, why
    rows: tuple[Example, ...]
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
    samples = RunFolder(folder).samples
    found = {name: _cells_of(name, cells, RunFolder(folder)) for name in wanted}
    trial = next((key for name in wanted for key in found[name]), None)
    if trial is None:
        return None
    files = {name: found[name][trial] for name in wanted if trial in found[name]}
    try:
        inputs = _arrays(samples / _inputs(cells, trial, RunFolder(folder)))
        predicted = {name: _arrays(file) for name, file in files.items()}
        count = sum(name.startswith("truth") for name in inputs)
        rows = tuple(_example(number, inputs, predicted) for number in range(count))
    except (OSError, ValueError, KeyError, TypeError, IndexError) as error:
        said = f"the examples in {samples} cannot be read ({type(error).__name__}: {error})"
        return Examples(group, (), (), (), said)
    masks = [
        array
        for arrays in (inputs, *predicted.values())
        for name, array in arrays.items()
        if "image" not in name
    ]
    present = sorted({int(number) for mask in masks for number in np.unique(mask)})
    legend = [
        (_hex(_colour(c)), "not scored" if c == IGNORED else classes.get(c, f"class {c}"))
        for c in present
    ]
    return Examples(group, tuple((name, _why(name, group)) for name in files), rows, tuple(legend))


def error_legend() -> list[tuple[str, str]]:
    """Return the colours of wrong pixels, and what each means."""
    return [(_hex(colour), words) for words, colour in ERRORS.items()]


# ---- from a run's folder to arrays


def _cells_of(name: str, cells: Sequence[Row], folder: RunFolder) -> dict[tuple[Any, Any], Path]:
    """Return the files of a variant's predictions by (fold, seed)."""
    files = {
        (cell.get("fold"), cell.get("seed")): _samples(cell, folder).with_suffix(".npz")
        for cell in cells
        if cell["variant"] == name and cell["status"] == "ok"
    }
    return {key: file for key, file in files.items() if file.is_file()}


def _samples(cell: Row, folder: RunFolder) -> Path:
    return folder.samples_of(cell_stem("accuracy", measured_cell(cell)))


def _inputs(cells: Sequence[Row], trial: tuple[Any, Any], folder: RunFolder) -> str:
    """Return the name of the file of images and truth, from any training on the same fold."""
    for cell in cells:
        file = _samples(cell, folder)
        if cell.get("fold") == trial[0] and file.is_file():
            name = json.loads(file.read_text(encoding="utf-8")).get("examples")
            if name and Path(name).name == name:
                return str(name)
    raise FileNotFoundError("no training names the file of its images")


def _arrays(file: Path) -> dict[str, Array]:
    with np.load(file, allow_pickle=False) as loaded:
        return {name: np.asarray(loaded[name], dtype=np.uint8) for name in loaded.files}


# ---- from arrays to pictures


def _example(
    number: int, inputs: Mapping[str, Array], predicted: Mapping[str, Mapping[str, Array]]
) -> Example:
    image, truth = inputs[f"image{number}"], inputs[f"truth{number}"]
    return Example(
        Picture(_photo(image), f"test image {number + 1}"),
        Picture(_mask(truth), f"truth of test image {number + 1}"),
        tuple(
            _judged(name, number, image, truth, of[f"predicted{number}"])
            for name, of in predicted.items()
        ),
    )


def _judged(
    name: str, number: int, image: Array, truth: Array, predicted: Array
) -> tuple[Picture, Picture]:
    scored = truth != IGNORED
    right = float((predicted == truth)[scored].mean()) if scored.any() else 0.0
    words = f"{name} on test image {number + 1}: {100 * right:.1f} % of pixels right"
    return (
        Picture(
            _mask(np.where(scored, predicted, IGNORED).astype(np.uint8)), f"prediction of {words}"
        ),
        Picture(_errors(image, truth, predicted), f"errors of {words}"),
    )


def _errors(image: Array, truth: Array, predicted: Array) -> str:
    """Return the image, darkened, with wrong pixels in the colours of ERRORS."""
    grey = image.mean(axis=2) if image.ndim == 3 else image
    canvas = np.repeat((grey * 0.45).astype(np.uint8)[..., None], 3, axis=2)
    wrong = (predicted != truth) & (truth != IGNORED)
    kinds = (
        wrong & (predicted == 0),
        wrong & (truth == 0),
        wrong & (predicted != 0) & (truth != 0),
    )
    for where, colour in zip(kinds, ERRORS.values(), strict=True):
        canvas[where] = colour
    return _uri(canvas, "PNG")


def _mask(classes: Array) -> str:
    palette = np.array([_colour(c) for c in range(256)], dtype=np.uint8)
    return _uri(palette[classes], "PNG")


def _photo(image: Array) -> str:
    return _uri(image, "JPEG", quality=_JPEG)


def _uri(pixels: Array, format: str, **options: Any) -> str:
    from PIL import Image

    picture, file = Image.fromarray(pixels), io.BytesIO()
    if format == "PNG":  # few colours, which a palette holds in a third of the bytes
        picture = picture.quantize(256, method=Image.Quantize.FASTOCTREE, dither=Image.Dither.NONE)
        options = {"optimize": True, **options}
    picture.save(file, format, **options)
    return f"data:image/{format.lower()};base64,{base64.b64encode(file.getvalue()).decode()}"


def _colour(number: int) -> tuple[int, ...]:
    if number == IGNORED:
        return NOT_SCORED
    if number < len(COLOURS):
        return COLOURS[number]
    round_, place = divmod(number - len(COLOURS), len(COLOURS) - 1)
    base = COLOURS[1 + place]
    return base if round_ % 2 else tuple((c + 255) // 2 for c in base)


def _hex(colour: tuple[int, ...]) -> str:
    return "#" + "".join(f"{c:02x}" for c in colour)


def _why(name: str, group: Group) -> str:
    rows = group.scored()
    dice = [row["dice"] for row in rows]
    words = []
    for row in rows:
        if row["variant"] == name:
            words += ["best"] if row["dice"] == max(dice) else []
            words += ["worst"] if row["dice"] == min(dice) else []
            words += ["baseline"] if row["variant"] == row["baseline"] else []
    return ", ".join(words)
