"""Whole images from a network that sees a window: tiles, how they are blended, and flips at test
time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable

import torch
from torch import Tensor

from unet_bench.errors import InvalidChoice
from unet_bench.geometry.shapes import InputWindow
from unet_bench.spec.cell import MOST_OVERLAP
from unet_bench.train.windows import block, cut


@torch.no_grad()
def predict(
    call: Callable[[Tensor], Tensor],
    images: Tensor,
    input_window: InputWindow,
    size: tuple[int, ...],
    *,
    overlap: float = 0.0,
    flips: bool = False,
    batch: int = 1,
) -> Tensor:
    """Return scores `(N K *S)` of every pixel of `images` `(N C *S)`, float32 on their device.

    `call` maps inputs `(M C *window.input)` to the scores `(M K *size)` of their scored pixels; M
    is at most `batch`, or N if that is more. At each pixel the result is the weighted mean of the
    tiles that cover it. Without `overlap` they abut, but for the last, which ends at the border,
    and all count alike. With it (the least part of a tile's side that neighbours share, to a pixel)
    they are laid evenly, and count less the nearer the pixel is to their rim. `flips` takes the
    mean with the predictions of the images flipped along any of their axes, turned back. Beyond its
    borders an image is mirrored, also where it is smaller than a tile. Raises InvalidChoice for an
    overlap outside of 0 to 0.9.
    """
    if not 0 <= overlap <= MOST_OVERLAP:
        raise InvalidChoice(
            f"tiles cannot overlap by {overlap}: give a part of their side, from 0 to "
            f"{MOST_OVERLAP}"
        )
    count, whole = len(images), images.shape[2:]
    weight = torch.ones(())
    for side in size:
        weight = weight[..., None] * _ramp(side, overlap)
    weight = weight.to(images.device)
    turns = itertools.product((False, True) if flips else (False,), repeat=len(size))
    starts = [_starts(*sides, overlap) for sides in zip(whole, size, strict=True)]
    jobs = list(itertools.product(itertools.product(*starts), turns))
    at_once = max(1, batch // count)
    total, weights = None, torch.zeros(whole, device=images.device)
    for begin in range(0, len(jobs), at_once):
        some = jobs[begin : begin + at_once]
        inputs = [_input(images, corner, input_window, size, turned) for corner, turned in some]
        outputs = call(torch.cat(inputs))
        outputs = outputs.to(images.device).float().unflatten(0, (len(some), count))
        if total is None:
            total = torch.zeros(*outputs.shape[1:3], *whole, device=images.device)
        for (corner, turned), output in zip(some, outputs, strict=True):
            back = output.flip([axis - len(size) for axis, turn in enumerate(turned) if turn])
            tile = block(corner, size)
            # All of the tile, but where an image is smaller than that.
            left = tuple(side - start for side, start in zip(whole, corner, strict=True))
            inside = block((0,) * len(size), left)
            total[tile] += (back * weight)[inside]
            weights[tile] += weight[inside]
    assert total is not None
    return total / weights


def _input(
    images: Tensor,
    corner: tuple[int, ...],
    input_window: InputWindow,
    size: tuple[int, ...],
    flips: tuple[bool, ...],
) -> Tensor:
    """Return the inputs for the tile at `corner` of the images.

    Where images are flipped, the corner is counted from the far end.
    """
    begin = tuple(
        whole - start - side if turned else start
        for whole, start, side, turned in zip(images.shape[2:], corner, size, flips, strict=True)
    )
    return cut(images, begin, input_window, flips)


def _starts(length: int, size: int, overlap: float) -> list[int]:
    """Return where the tiles along one side begin.

    The first begins at 0, and the last ends at the border.
    """
    last, step = max(0, length - size), max(1, round(size * (1 - overlap)))
    count = math.ceil(last / step) + 1
    if overlap:
        return [round(last * i / max(1, count - 1)) for i in range(count)]
    return [min(last, step * i) for i in range(count)]


def _ramp(size: int, overlap: float) -> Tensor:
    """Return how much a tile's pixels count along one side.

    All count alike, or linearly less toward either rim, but never nothing.
    """
    if not overlap:
        return torch.ones(size)
    index = torch.arange(1.0, size + 1)
    return torch.minimum(index, size + 1 - index)
