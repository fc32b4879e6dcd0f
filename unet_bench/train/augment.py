"""Augmentation: one item's random numbers, and the map that says where in the image its pixels come
from.

Rotation, scaling and bending are one map of coordinates, read once: the image is interpolated once,
however many of them a recipe asks for. Numbers are drawn on the host, so that every device shows a
network the same pixels.
"""

from __future__ import annotations

import functools
import itertools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unet_bench.geometry.shapes import InputWindow
from unet_bench.spec.recipe import Recipe


@dataclass(frozen=True)
class Draw:
    """The random numbers of one item. Vectors are (y, x), of volumes (z, y, x)."""

    flips: tuple[bool, ...]  # along each axis
    # (dims dims): from a pixel's offset to the window's centre to that of its source.
    matrix: np.ndarray
    displacements: np.ndarray | None  # (dims grid … grid) px, evenly over the image
    contrast: float  # a factor
    brightness: float  # standard deviations, added


def draw(
    recipe: Recipe, rng: np.random.Generator, dims: int = 2, spacing: tuple[float, ...] = ()
) -> Draw:
    """Return what a recipe does to an item: its angle, scale, tone and displacements.

    Displacements are drawn from a Gaussian, the others uniformly. Volumes are turned in one plane,
    see `rotation_plane`, and scaled alike along all axes. Where `spacing` (mm along `*S`) differs
    within that plane, the turn is one of the body, not of the array.
    """
    flips = tuple((rng.random(dims) < 0.5).tolist()) if recipe.flip else (False,) * dims
    angle = math.radians(rng.uniform(-recipe.rotate, recipe.rotate))
    scale = rng.uniform(recipe.scale_low, recipe.scale_high)
    turn = np.eye(dims)
    first, second = rotation_plane(spacing, dims)
    ratio = spacing[second] / spacing[first] if spacing else 1.0
    turn[first, first] = turn[second, second] = math.cos(angle)
    turn[first, second], turn[second, first] = -math.sin(angle) * ratio, math.sin(angle) / ratio
    grid = (dims, *[recipe.elastic_grid] * dims)
    displacements = rng.normal(0.0, recipe.elastic, grid) if recipe.elastic else None
    contrast = 1 + rng.uniform(-recipe.contrast, recipe.contrast)
    brightness = rng.uniform(-recipe.brightness, recipe.brightness)
    return Draw(flips, turn / scale, displacements, contrast, brightness)


def rotation_plane(spacing: tuple[float, ...], dims: int) -> tuple[int, int]:
    """Return the axes of the plane in which an item is turned: those of the most equal spacing.

    Volumes are often scanned in thick slices: a turn out of their plane would blur them. Where
    spacings are alike to a hundredth, or not known, it is the plane of the last two axes.
    """
    planes = list(itertools.combinations(range(dims), 2))[::-1]
    if not spacing:
        return planes[0]
    unequal = {plane: abs(math.log(spacing[plane[0]] / spacing[plane[1]])) for plane in planes}
    return min(planes, key=lambda plane: round(unequal[plane], 2))


def sources(
    drawn: Draw,
    plane: tuple[int, ...],
    corner: tuple[int, ...],
    size: tuple[int, ...],
    input_window: InputWindow,
    device: torch.device,
) -> Tensor:
    """Return the coordinates `(dims *window.input)` at which an image is read for the input.

    They lie in an image of `plane` pixels. The input is that for the scored window of `size` at
    `corner`. The image is turned and scaled about the window's centre, bent by displacements on a
    coarse grid over the whole image, cubically between its points (Ronneberger et al. 2015, section
    3.1), then flipped. A pixel's source depends on where it lies, not on how much context the frame
    has around it, so every network gets the same scored pixels.
    """
    first = [start - context for start, context in zip(corner, input_window.context, strict=True)]
    lines = [
        torch.arange(i, i + length, device=device)
        for i, length in zip(first, input_window.input, strict=True)
    ]
    centre = [start + (side - 1) / 2 for start, side in zip(corner, size, strict=True)]
    distances = [line - at for line, at in zip(lines, centre, strict=True)]
    offsets = torch.meshgrid(*distances, indexing="ij")
    axes = []
    for at, row in zip(centre, drawn.matrix.tolist(), strict=True):
        axes.append(sum(map(torch.mul, offsets, row), offsets[0].new_tensor(at)))
    found = torch.stack(axes)
    if drawn.displacements is not None:
        field = torch.from_numpy(drawn.displacements.astype(np.float32)).to(
            device, non_blocking=True
        )
        # Cubic interpolation is separable. Beyond the image its border's displacement goes on.
        for axis, (extent, line) in enumerate(zip(plane, lines, strict=True), start=1):
            basis = _basis(extent, field.shape[axis], device)[line.clamp(0, extent - 1)]
            field = (field.movedim(axis, -1) @ basis.T).movedim(-1, axis)
        found = found + field
    for axis, turned in enumerate(drawn.flips):
        if turned:
            found[axis] = plane[axis] - 1 - found[axis]
    return found


@functools.lru_cache(maxsize=64)
def _basis(length: int, grid: int, device: torch.device) -> Tensor:
    """Return how much each of `grid` points counts at each pixel: `(length grid)`.

    The points lie evenly over `length` pixels.
    """
    points = torch.eye(grid, device=device)[None, None]
    return F.interpolate(points, size=(length, grid), mode="bicubic", align_corners=True)[0, 0]


def interpolated(image: Tensor, at: Tensor) -> Tensor:
    """Return `image` `(C *S)` at coordinates `(dims *s)`, linearly.

    It is mirrored beyond its borders, as `reflected` is.
    """
    # Coordinates count from -1 to 1 for `grid_sample`, the last axis first. An axis of one pixel
    # has but one value.
    lines = [
        line * (2 / max(side - 1, 1)) - 1 for line, side in zip(at, image.shape[1:], strict=True)
    ]
    grid = torch.stack(lines[::-1], dim=-1)
    return F.grid_sample(
        image[None], grid[None], mode="bilinear", padding_mode="reflection", align_corners=True
    )[0]


def nearest(plane: Tensor, at: Tensor) -> Tensor:
    """Return the nearest pixels of `plane` `(*S)`, of any type, at coordinates `(dims *s)`.

    It is mirrored beyond the borders.
    """
    axes = zip(at, plane.shape, strict=True)
    return plane[tuple(reflected(line.round().long(), size) for line, size in axes)]


def reflected(index: Tensor, size: int) -> Tensor:
    """Return indices into an axis of `size`, reflected at its ends without repeating the border."""
    if size == 1:
        return torch.zeros_like(index)
    index = index.remainder(2 * (size - 1))
    return torch.minimum(index, 2 * (size - 1) - index)
