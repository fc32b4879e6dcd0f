"""Drawn microscopy: touching cells with membranes, of any size, without a file.

Brightness alone decides nothing: organelles and debris are as dark as membranes, and cells are as grey as the ground
between them. What tells them apart is texture, and being enclosed.

Only sums, products, quotients and roots are used, which IEEE 754 fixes to the bit, so every platform draws the same
pixels. (`exp`, normal deviates and matrix products differ in the last digit from one machine to the next.)
"""

from __future__ import annotations

from itertools import product
from typing import Final, NamedTuple

import numpy as np

from unet_bench.data.dataset import Array, Dataset, Sample
from unet_bench.errors import InvalidSize

CLASSES: Final = ("background", "cell", "membrane")
COUNTS: Final = {"train": 48, "val": 8, "test": 16}

CELL: Final = 26.0
"""Mean distance between cells in pixels, whatever the image size: a larger image shows more cells."""
MEMBRANE: Final = 3.2
"""A pixel is membrane when the second nearest centre is at most this many pixels farther than the nearest."""
INHABITED: Final = 0.72
"""The share of places where a cell lives; the others are background."""


def load(*, size: tuple[int, int], seed: int = 0) -> Dataset:
    """48 training, 8 validation and 16 test images `(H W 1)`, uint8, at `size` (H W); equal for equal arguments."""
    if min(size) < 1:
        raise InvalidSize(f"no image of {size[0]}x{size[1]} pixels: give a positive height and width")
    samples = tuple(_sample(size, seed, number) for number in range(sum(COUNTS.values())))
    first, last = COUNTS["train"], -COUNTS["test"]
    by = f"generated, seed {seed}"
    return Dataset("cells", CLASSES, 1, samples[:first], samples[first:last], samples[last:], split_by=by)


def _sample(size: tuple[int, int], seed: int, number: int) -> Sample:
    rng = np.random.Generator(np.random.PCG64([seed, number]))
    rows, columns = np.meshgrid(np.arange(size[0]), np.arange(size[1]), indexing="ij")
    # Straight borders would betray the construction: bend the plane before it is divided.
    bent = [axis + 5 * _smooth(rng, size, 17) + 1.5 * _smooth(rng, size, 6) for axis in (rows, columns)]
    place = _nearest(rng, bent[0], bent[1], CELL, reach=2)
    lives = rng.random(place.total) < INHABITED
    membrane = (lives[place.first] | lives[place.second]) & (place.gap < MEMBRANE)
    mask = np.where(membrane, 2, lives[place.first]).astype(np.uint8)
    return Sample(f"cells-{number:02}", _photograph(rng, _stain(rng, mask, place))[..., None], mask)


def _stain(rng: np.random.Generator, mask: Array, place: _Places) -> Array:
    """The tissue's brightness, about 0..1."""
    size = mask.shape
    shade = 0.5 + 0.3 * (rng.random(place.total)[place.first] - 0.5)
    cytoplasm = shade + 0.2 * _smooth(rng, size, 3.5)
    ground = 0.52 + 0.10 * _smooth(rng, size, 24) + 0.05 * _smooth(rng, size, 2)
    tissue = np.choose(mask, [ground, cytoplasm, 0.24 + 0.14 * _smooth(rng, size, 5)])
    rows, columns = np.meshgrid(np.arange(size[0]), np.arange(size[1]), indexing="ij")
    speck = _nearest(rng, rows, columns, 9.0, reach=1)
    radius = (4.6 * rng.random(speck.total) - 1.4)[speck.first] * np.where(mask == 0, 0.7, 1)
    return np.where((speck.nearest < radius) & (mask < 2), 0.24, tissue)


def _photograph(rng: np.random.Generator, tissue: Array) -> Array:
    """`tissue` through a lens and on a sensor: blurred, unevenly lit, noisy; uint8."""
    light = 1 + 0.4 * _smooth(rng, tissue.shape, 1.5 * max(tissue.shape))
    grain: Array = (rng.random((4, *tissue.shape)) - 0.5).sum(axis=0)
    exposed = _blur(tissue) * light + 0.07 * grain
    return (255 * exposed.clip(0, 1) + 0.5).astype(np.uint8)


def _blur(image: Array) -> Array:
    """A binomial blur of 3x3, twice; the border repeats."""
    for _ in range(2):
        padded = np.pad(image, 1, mode="edge")
        across = (padded[:, :-2] + 2 * padded[:, 1:-1] + padded[:, 2:]) / 4
        image = (across[:-2] + 2 * across[1:-1] + across[2:]) / 4
    return image


def _smooth(rng: np.random.Generator, size: tuple[int, ...], scale: float) -> Array:
    """Noise in -1..1 whose bumps are about `scale` pixels wide: random values on a grid, blended in between."""
    (top, down), (left, right) = (_blend(length, scale) for length in size)
    grid = 2 * rng.random((int(top[-1]) + 2, int(left[-1]) + 2)) - 1
    bands = grid[top] * (1 - down[:, None]) + grid[top + 1] * down[:, None]
    return np.asarray(bands[:, left] * (1 - right) + bands[:, left + 1] * right)


def _blend(length: int, scale: float) -> tuple[Array, Array]:
    """For each pixel along one side: the grid line before it, and how much the line after it counts, 0..1."""
    position = np.arange(length) / scale
    line = position.astype(int)
    past = position - line
    return line, past * past * (3 - 2 * past)


class _Places(NamedTuple):
    """Whose place each pixel is, when the plane is divided among scattered centres (a Voronoi diagram)."""

    first: Array
    second: Array
    nearest: Array
    gap: Array
    total: int


def _nearest(rng: np.random.Generator, rows: Array, columns: Array, pitch: float, reach: int) -> _Places:
    """The nearest and second nearest of centres `pitch` pixels apart; `nearest` and `gap` in pixels.

    Each square of a grid holds one centre, so that only those within `reach` squares need a look, not all.
    """
    margin = 4
    row, column = (np.floor(axis / pitch).astype(int) + margin for axis in (rows, columns))
    tall, wide = int(row.max()) + margin, int(column.max()) + margin
    jitter = 0.1 + 0.8 * rng.random((2, tall, wide))
    centre_row = ((np.arange(tall)[:, None] - margin + jitter[0]) * pitch).ravel()
    centre_column = ((np.arange(wide) - margin + jitter[1]) * pitch).ravel()
    first = second = np.zeros(rows.shape, int)
    nearest = next_nearest = np.full(rows.shape, np.inf)
    around = range(-reach, reach + 1)
    for down, right in product(around, around):
        here = (row + down) * wide + column + right
        distance = (rows - centre_row[here]) ** 2 + (columns - centre_column[here]) ** 2
        wins, follows = distance < nearest, distance < next_nearest
        second = np.where(wins, first, np.where(follows, here, second))
        next_nearest = np.where(wins, nearest, np.where(follows, distance, next_nearest))
        first, nearest = np.where(wins, here, first), np.where(wins, distance, nearest)
    distances = np.sqrt(nearest)
    return _Places(first, second, distances, np.sqrt(next_nearest) - distances, tall * wide)
