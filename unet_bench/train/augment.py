"""Augmentation: one item's random numbers, and the map that says where in the image its pixels come from.

Rotation, scaling and bending are one map of coordinates, read once: the image is interpolated once, however many of
them a recipe asks for. Numbers are drawn on the host, so that every device shows a network the same pixels.
"""

from __future__ import annotations

import functools
import math
from dataclasses import dataclass

import numpy as np
import torch
from torch import Tensor
from torch.nn import functional as F

from unet_bench.cells import Frame
from unet_bench.recipe import Recipe


@dataclass(frozen=True)
class Draw:
    """The random numbers of one item. Vectors are (y, x)."""

    flips: tuple[bool, bool]  # up-down, left-right
    matrix: np.ndarray  # (2 2): from a pixel's offset to the window's centre to that of its source
    displacements: np.ndarray | None  # (2 grid grid) px, evenly over the image
    contrast: float  # a factor
    brightness: float  # standard deviations, added


def draw(recipe: Recipe, rng: np.random.Generator) -> Draw:
    """What a recipe does to an item: angle, scale and tone uniformly, displacements from a Gaussian."""
    up_down, left_right = (rng.random(2) < 0.5).tolist() if recipe.flip else (False, False)
    angle = math.radians(rng.uniform(-recipe.rotate, recipe.rotate))
    scale = rng.uniform(recipe.scale_low, recipe.scale_high)
    turn = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    grid = (2, recipe.elastic_grid, recipe.elastic_grid)
    displacements = rng.normal(0.0, recipe.elastic, grid) if recipe.elastic else None
    contrast = 1 + rng.uniform(-recipe.contrast, recipe.contrast)
    brightness = rng.uniform(-recipe.brightness, recipe.brightness)
    return Draw((up_down, left_right), turn / scale, displacements, contrast, brightness)


def sources(
    drawn: Draw,
    plane: tuple[int, int],
    corner: tuple[int, int],
    size: tuple[int, int],
    frame: Frame,
    device: torch.device,
) -> Tensor:
    """Coordinates (y, x) `(2 *frame.input)` in an image of `plane` pixels that the network's input is read at.

    The input is that for the scored window of `size` at `corner`. The image is turned and scaled about the window's
    centre, bent by displacements on a coarse grid over the whole image, bicubically between its points (Ronneberger
    et al. 2015, section 3.1), then flipped. A pixel's source depends on where it lies, not on how much context the
    frame has around it, so every network gets the same scored pixels.
    """
    lines, offsets = [], []
    for start, side, context, length in zip(corner, size, frame.context, frame.input, strict=True):
        line = torch.arange(start - context, start - context + length, device=device)
        lines.append(line)
        offsets.append(line - (start + (side - 1) / 2))
    rows, columns = offsets[0][:, None], offsets[1]
    centre = [start + (side - 1) / 2 for start, side in zip(corner, size, strict=True)]
    found = torch.stack([at + a * rows + b * columns for at, (a, b) in zip(centre, drawn.matrix.tolist(), strict=True)])
    if drawn.displacements is not None:
        field = torch.from_numpy(drawn.displacements.astype(np.float32)).to(device, non_blocking=True)
        # Bicubic interpolation is separable. Beyond the image its border's displacement goes on.
        down, across = (
            _basis(extent, field.shape[-1], device)[line.clamp(0, extent - 1)]
            for extent, line in zip(plane, lines, strict=True)
        )
        found = found + down @ field @ across.T
    for axis, turned in enumerate(drawn.flips):
        if turned:
            found[axis] = plane[axis] - 1 - found[axis]
    return found


@functools.lru_cache(maxsize=64)
def _basis(length: int, grid: int, device: torch.device) -> Tensor:
    """How much each of `grid` points, evenly over `length` pixels, counts at each pixel: `(length grid)`."""
    points = torch.eye(grid, device=device)[None, None]
    return F.interpolate(points, size=(length, grid), mode="bicubic", align_corners=True)[0, 0]


def interpolated(image: Tensor, at: Tensor) -> Tensor:
    """`image` `(C H W)` at coordinates (y, x) `(2 h w)`, bilinearly; mirrored beyond its borders, as `reflected` is."""
    # Coordinates count from -1 to 1 for `grid_sample`. An axis of one pixel has but one value.
    height, width = image.shape[-2:]
    grid = torch.stack([at[1] * (2 / max(width - 1, 1)) - 1, at[0] * (2 / max(height - 1, 1)) - 1], dim=-1)
    return F.grid_sample(image[None], grid[None], mode="bilinear", padding_mode="reflection", align_corners=True)[0]


def nearest(plane: Tensor, at: Tensor) -> Tensor:
    """`plane` `(H W)` of any type at coordinates (y, x) `(2 h w)`: the nearest pixel, mirrored beyond the borders."""
    rows, columns = (reflected(line.round().long(), size) for line, size in zip(at, plane.shape, strict=True))
    return plane[rows, columns]


def reflected(index: Tensor, size: int) -> Tensor:
    """Indices into an axis of `size`, reflected at its ends without repeating the border."""
    if size == 1:
        return torch.zeros_like(index)
    index = index.remainder(2 * (size - 1))
    return torch.minimum(index, 2 * (size - 1) - index)
