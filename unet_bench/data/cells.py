"""Drawn microscopy: touching cells with membranes, of any size, without a file.

Brightness alone decides nothing: organelles and debris are as dark as membranes, and cells are as
grey as the ground between them. What tells them apart is texture, and being enclosed.

Only sums, products, quotients and roots are used, which IEEE 754 fixes to the bit, so every
platform draws the same pixels. (`exp`, normal deviates and matrix products differ in the last digit
from one machine to the next.)
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from itertools import product
from typing import Final, NamedTuple

import numpy as np

from unet_bench.data.dataset import Array, Dataset, Sample
from unet_bench.errors import InvalidSize

CLASSES: Final = ("background", "cell", "membrane")
COUNTS: Final = {2: {"train": 48, "val": 8, "test": 16}, 3: {"train": 24, "val": 4, "test": 8}}
"""Images, or volumes, of each split."""

SCALE: Final = {2: 1.0, 3: 0.6}
"""Volumes are small, and a cell is to fit into one: all lengths below are multiplied by this, by
dimensions.
"""
CELL: Final = 26.0
"""Mean distance between cells in pixels, whatever the image size: a larger image shows more cells.
"""
MEMBRANE: Final = 3.2
"""A pixel is membrane when the second nearest centre is at most this many pixels farther than the
nearest.
"""
INHABITED: Final = 0.72
"""The share of places where a cell lives; the others are background."""


def load(*, size: tuple[int, ...], seed: int = 0) -> Dataset:
    """Return training, validation and test images `(H W 1)` at `size` (H W).

    They are 48, 8 and 16 images, or half as many volumes `(D H W 1)` for a size (D H W). uint8;
    equal for equal arguments. Raises InvalidSize.
    """
    if min(size) < 1:
        raise InvalidSize(f"no image of {'x'.join(map(str, size))} pixels: give positive sides")
    dims = len(size)
    counts = COUNTS[dims]
    samples = tuple(_sample(size, seed, number) for number in range(sum(counts.values())))
    first, last = counts["train"], -counts["test"]
    by = f"generated, seed {seed}"
    return Dataset(
        "cells", CLASSES, 1, samples[:first], samples[first:last], samples[last:], dims, by
    )


def _sample(size: tuple[int, ...], seed: int, number: int) -> Sample:
    rng = np.random.Generator(np.random.PCG64([seed, number]))
    px = SCALE[len(size)]
    # Straight borders would betray the construction: bend space before it is divided.
    bent = [
        axis + px * (5 * _smooth(rng, size, 17 * px) + 1.5 * _smooth(rng, size, 6 * px))
        for axis in _axes(size)
    ]
    place = _nearest(rng, bent, CELL * px, reach=4 - len(size))
    lives = rng.random(place.total) < INHABITED
    membrane = (lives[place.first] | lives[place.second]) & (place.gap < MEMBRANE * px)
    mask = np.where(membrane, 2, lives[place.first]).astype(np.uint8)
    return Sample(f"cells-{number:02}", _photograph(rng, _stain(rng, mask, place))[..., None], mask)


def _stain(rng: np.random.Generator, mask: Array, place: _Places) -> Array:
    """Return the tissue's brightness, about 0..1."""
    size, px = mask.shape, SCALE[mask.ndim]
    shade = 0.5 + 0.3 * (rng.random(place.total)[place.first] - 0.5)
    cytoplasm = shade + 0.2 * _smooth(rng, size, 3.5 * px)
    ground = 0.52 + 0.10 * _smooth(rng, size, 24 * px) + 0.05 * _smooth(rng, size, 2 * px)
    tissue = np.choose(mask, [ground, cytoplasm, 0.24 + 0.14 * _smooth(rng, size, 5 * px)])
    speck = _nearest(rng, _axes(size), 9.0 * px, reach=1)
    radius = px * (4.6 * rng.random(speck.total) - 1.4)[speck.first] * np.where(mask == 0, 0.7, 1)
    return np.where((speck.nearest < radius) & (mask < 2), 0.24, tissue)


def _photograph(rng: np.random.Generator, tissue: Array) -> Array:
    """Return `tissue` through a lens and on a sensor: blurred, unevenly lit, noisy; uint8."""
    light = 1 + 0.4 * _smooth(rng, tissue.shape, 1.5 * max(tissue.shape))
    grain: Array = (rng.random((4, *tissue.shape)) - 0.5).sum(axis=0)
    exposed = _blur(tissue) * light + 0.07 * grain
    return (255 * exposed.clip(0, 1) + 0.5).astype(np.uint8)


def _blur(image: Array) -> Array:
    """Return a binomial blur over 3 pixels along each axis, twice; the border repeats."""
    for _ in range(2):
        image = np.pad(image, 1, mode="edge")
        for axis in reversed(range(image.ndim)):
            line = np.moveaxis(image, axis, 0)
            image = np.moveaxis((line[:-2] + 2 * line[1:-1] + line[2:]) / 4, 0, axis)
    return image


def _axes(size: tuple[int, ...]) -> Sequence[Array]:
    """Return each pixel's coordinates, one array an axis."""
    return np.meshgrid(*map(np.arange, size), indexing="ij")


def _smooth(rng: np.random.Generator, size: tuple[int, ...], scale: float) -> Array:
    """Return noise in -1..1 whose bumps are about `scale` pixels wide.

    It is random values on a grid, blended in between.
    """
    blends = [_blend(length, scale) for length in size]
    grid: Array = 2 * rng.random([int(line[-1]) + 2 for line, _ in blends]) - 1
    for axis, (line, past) in enumerate(blends):
        past = past.reshape(-1, *[1] * (len(size) - 1 - axis))
        grid = grid.take(line, axis) * (1 - past) + grid.take(line + 1, axis) * past
    return grid


def _blend(length: int, scale: float) -> tuple[Array, Array]:
    """Return for each pixel along one side the grid line before it, and the next one's weight.

    The weight says how much the line after the pixel counts, 0..1.
    """
    position = np.arange(length) / scale
    line = position.astype(int)
    past = position - line
    return line, past * past * (3 - 2 * past)


class _Places(NamedTuple):
    """Whose place each pixel is, when a plane or space is divided among scattered centres.

    This is a Voronoi diagram.
    """

    first: Array
    second: Array
    nearest: Array
    gap: Array
    total: int


def _nearest(rng: np.random.Generator, axes: Sequence[Array], pitch: float, reach: int) -> _Places:
    """Return the nearest and second nearest of centres `pitch` pixels apart.

    `nearest` and `gap` are in pixels. Each square (or cube) of a grid holds one centre, so only
    those within `reach` squares are looked at.
    """
    margin = 4
    square = [np.floor(axis / pitch).astype(int) + margin for axis in axes]
    grid = [int(index.max()) + margin for index in square]
    jitter = 0.1 + 0.8 * rng.random((len(grid), *grid))
    corners = np.meshgrid(*map(np.arange, grid), indexing="ij", sparse=True)
    centres = [
        ((corner - margin + moved) * pitch).ravel()
        for corner, moved in zip(corners, jitter, strict=True)
    ]
    first = second = np.zeros(axes[0].shape, int)
    nearest = next_nearest = np.full(axes[0].shape, np.inf)
    at = sum(index * math.prod(grid[axis + 1 :]) for axis, index in enumerate(square))
    for step in product(range(-reach, reach + 1), repeat=len(grid)):
        here = at + sum(moved * math.prod(grid[axis + 1 :]) for axis, moved in enumerate(step))
        distance = sum(
            (axis - centre[here]) ** 2 for axis, centre in zip(axes, centres, strict=True)
        )
        wins, follows = distance < nearest, distance < next_nearest
        second = np.where(wins, first, np.where(follows, here, second))
        next_nearest = np.where(wins, nearest, np.where(follows, distance, next_nearest))
        first, nearest = np.where(wins, here, first), np.where(wins, distance, nearest)
    distances = np.sqrt(nearest)
    return _Places(first, second, distances, np.sqrt(next_nearest) - distances, math.prod(grid))
