"""Class ids drawn from the shapes that annotation tools save: outlines, discs and whole masks.

Positions are in pixels from the upper left corner of the picture, x to the right and y down, so the
centre of the first pixel is at (0.5, 0.5). A pixel belongs to a shape if its centre lies inside.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from typing import Final

import numpy as np

from unet_bench.data.dataset import Array
from unet_bench.data.findings import Findings, listing
from unet_bench.data.labels import BACKGROUND, BINARY, Classes, class_names
from unet_bench.errors import InvalidData
from unet_bench.limits import shown

FARTHEST: Final = 1e7
"""Pixels from the corner: further away is no picture."""
MOST_CROSSINGS: Final = 2**23
"""How often one outline may cross the middle of a row: more needs gigabytes."""
MOST_LAYERS: Final = 1000
"""How often over the shapes of a picture may cover it, by the boxes around them."""
BACKGROUNDS: Final = ("background", "_background_", "__background__")


@dataclass(frozen=True, eq=False)
class Patch:
    """Pixels of a shape: which are `inside` of a box `(H W)`, and where in the picture it lies."""

    inside: Array
    top: int = 0
    left: int = 0

    def of(self, picture: Array) -> Array:
        """Return the part of a picture `(H W)` under the box, as a view."""
        height, width = self.inside.shape
        return picture[self.top : self.top + height, self.left : self.left + width]


NOTHING: Final = Patch(np.zeros((0, 0), bool))


def points(given: object) -> Array:
    """Return positions `(N 2)` from a list of pairs, or of x and y in turn. Raises InvalidData."""
    try:
        numbers = np.asarray(given, np.float64).reshape(-1, 2)
    except (TypeError, ValueError, OverflowError, RecursionError):
        raise InvalidData(f"an outline {shown(given)} is no list of x and y; mend it") from None
    if not (np.abs(numbers) <= FARTHEST).all():
        raise InvalidData(f"an outline {shown(given)} leads nowhere; mend or remove it")
    return numbers


def polygon(outline: Array, shape: tuple[int, int]) -> Patch:
    """Return the pixels inside of a closed outline `(N 2)`, by the even-odd rule.

    Each edge toggles all pixels of a row to the right of where it crosses the middle of that row.
    Raises InvalidData for too many crossings.
    """
    height, width = shape
    x, y = (outline - 0.5).T
    x_to, y_to = np.roll(x, -1), np.roll(y, -1)
    first = np.clip(np.ceil(np.minimum(y, y_to)), 0, height).astype(np.int64)
    last = np.clip(np.ceil(np.maximum(y, y_to)), 0, height).astype(np.int64)
    rows_crossed = last - first
    crossings = int(rows_crossed.sum())
    if crossings > MOST_CROSSINGS:
        raise InvalidData(f"an outline of {len(outline)} points is too long; simplify it")
    if not crossings:
        return NOTHING
    edge = np.repeat(np.arange(len(outline)), rows_crossed)
    starts = np.cumsum(rows_crossed) - rows_crossed
    row = np.arange(crossings) - (starts - first)[edge]
    crossed_at = x[edge] + (row - y[edge]) * (x_to - x)[edge] / (y_to - y)[edge]
    column = np.clip(np.ceil(crossed_at), 0, width).astype(np.int64)
    top, left = int(row.min()), int(column.min())
    box = (int(row.max()) - top + 1, int(column.max()) - left + 1)
    toggles = np.zeros(box, np.uint8)
    np.bitwise_xor.at(toggles.ravel(), (row - top) * box[1] + column - left, np.uint8(1))
    inside = np.bitwise_xor.accumulate(toggles, axis=1)[:, :-1]
    return Patch(inside.view(bool), top, left)


def disc(centre: Array, rim: Array, shape: tuple[int, int]) -> Patch:
    """Return the pixels of a disc, given its centre and a position on its rim."""
    x, y = centre
    radius = math.dist(centre, rim)
    edges = np.array([y - radius, x - radius, y + radius, x + radius])
    top, left, bottom, right = np.clip(np.round(edges), 0, [*shape, *shape]).astype(int).tolist()
    rows, columns = np.arange(top, bottom)[:, None] + 0.5, np.arange(left, right) + 0.5
    return Patch((rows - y) ** 2 + (columns - x) ** 2 <= radius**2, top, left)


def union(patches: Sequence[Patch]) -> Patch:
    """Return the pixels that are in any of several shapes."""
    held = [patch for patch in patches if patch.inside.size]
    if len(held) < 2:
        return held[0] if held else NOTHING
    top, left = min(patch.top for patch in held), min(patch.left for patch in held)
    bottom = max(patch.top + patch.inside.shape[0] for patch in held)
    right = max(patch.left + patch.inside.shape[1] for patch in held)
    inside = np.zeros((bottom - top, right - left), bool)
    for patch in held:
        under = Patch(patch.inside, patch.top - top, patch.left - left).of(inside)
        under |= patch.inside
    return Patch(inside, top, left)


@dataclass(eq=False)
class Canvas:
    """The mask of a picture `(H W)`, uint8, while shapes are drawn on it."""

    shape: tuple[int, int]
    empty: int = 0
    """How many shapes covered no pixel."""
    overlaps: bool = False
    """Whether shapes of several classes covered the same pixel."""
    mask: Array = field(init=False)
    _sizes: Array = field(init=False)
    _covered: int = field(default=0, init=False)

    def __post_init__(self) -> None:
        self.mask = np.zeros(self.shape, np.uint8)
        self._sizes = np.full(self.shape, np.inf, np.float32)

    def draw(self, patch: Patch, class_id: int, *, size: float | None = None) -> None:
        """Draw a shape over all larger ones; `size`, in pixels, says otherwise how large it is.

        Raises InvalidData where shapes cover the picture absurdly often.
        """
        self._covered += patch.inside.size
        if self._covered > MOST_LAYERS * max(1, math.prod(self.shape)):
            raise InvalidData(f"its shapes cover it more than {MOST_LAYERS} times; remove some")
        pixels = int(patch.inside.sum())
        self.empty += not pixels
        sizes, mask = patch.of(self._sizes), patch.of(self.mask)
        size = pixels if size is None else size
        taken = patch.inside & np.isfinite(sizes)
        self.overlaps |= bool((mask[taken] != class_id).any())
        seen = patch.inside & (sizes >= size)
        mask[seen] = class_id
        sizes[seen] = size


def note_drawing(canvases: Iterable[Canvas], rule: str, found: Findings) -> None:
    """Note how many shapes were not to be seen, and what `rule` decided where some overlap."""
    empty = overlapping = 0
    for canvas in canvases:
        empty += canvas.empty
        overlapping += canvas.overlaps
    if empty:
        found.notes.append(f"{empty} shape(s) cover no pixel's centre, and are not drawn")
    if overlapping:
        found.notes.append(f"shapes of several classes overlap in {overlapping} image(s): {rule}")


def numbered(
    labels: Sequence[str], classes: Classes, found: Findings
) -> tuple[tuple[str, ...], dict[str, int]]:
    """Return class names, and the class id of each label that shapes may have.

    Without `classes` the labels are the classes, in their order, behind the background. Where the
    caller names some of the labels, these are the classes, and all others are background; other
    names are taken for the labels in their order. Adds a problem for too few.
    """
    drawn = [label for label in labels if label.lower() not in BACKGROUNDS]
    ids = dict.fromkeys(labels, 0)
    if not drawn:
        found.problems.append("no label names a class; the background alone cannot be learnt")
        return (), ids
    if classes == "binary":
        return BINARY, ids | dict.fromkeys(drawn, 1)
    names = class_names((BACKGROUND, *drawn) if classes is None else classes, found)
    if names is None:
        return (), ids
    if set(names[1:]) <= set(drawn):
        left_out = [label for label in drawn if label not in names]
        if left_out:
            found.notes.append(f"not in --classes, and so background: {listing(left_out, 10)}")
        return names, ids | {label: number for number, label in enumerate(names) if number}
    if len(drawn) >= len(names):
        found.problems.append(
            f"{len(names)} classes for the labels {listing(drawn, 10)}: name {len(drawn) + 1}, the "
            "background first; or those of the labels that count"
        )
        return (), ids
    return names, ids | {label: number for number, label in enumerate(drawn, start=1)}
