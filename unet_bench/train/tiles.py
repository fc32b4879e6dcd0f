"""Whole images from a network that sees a window: tiles, how they are blended, and flips at test
time.
"""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor

from unet_bench.errors import InvalidChoice
from unet_bench.geometry.shapes import InputWindow
from unet_bench.spec.cell import MOST_OVERLAP
from unet_bench.train.windows import block, cut


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

    They are those of `predict_rows`, and so are the arguments and the errors.
    """
    found = predict_rows(
        call,
        lambda begin, end: images[:, :, begin:end],
        images.shape[2:],
        input_window,
        size,
        overlap=overlap,
        flips=flips,
        batch=max(1, batch // len(images)),
    )
    return torch.cat(list(found), dim=2)


@torch.no_grad()
def predict_rows(
    call: Callable[[Tensor], Tensor],
    rows: Callable[[int, int], Tensor],
    whole: tuple[int, ...],
    input_window: InputWindow,
    size: tuple[int, ...],
    *,
    overlap: float = 0.0,
    flips: bool = False,
    batch: int = 1,
) -> Iterator[Tensor]:
    """Yield scores `(N K R *S[1:])` of images of the size `whole`, some rows after the other.

    They are float32, and on the device of the images. `rows(begin, end)` returns rows of the images
    `(N C R *S[1:])`; no more are asked for at once than a row of tiles needs, so that images may be
    larger than memory. `call` maps inputs `(M C *window.input)` to the scores `(M K *size)` of
    their scored pixels; M is N times `batch` at most. At each pixel the result is the weighted mean
    of the tiles that cover it. Without `overlap` they abut, but for the last, which ends at the
    border, and all count alike. With it (the least part of a tile's side that neighbours share, to
    a pixel) they are laid evenly, and count less the nearer the pixel is to their rim. `flips`
    takes the mean with the predictions of the images flipped along any of their axes, turned back.
    Beyond its borders an image is mirrored, also where it is smaller than a tile. Raises
    InvalidChoice for an overlap outside of 0 to 0.9.
    """
    if not 0 <= overlap <= MOST_OVERLAP:
        raise InvalidChoice(
            f"tiles cannot overlap by {overlap}: give a part of their side, from 0 to "
            f"{MOST_OVERLAP}"
        )
    turns = itertools.product((False, True) if flips else (False,), repeat=len(size))
    starts = [_starts(*sides, overlap) for sides in zip(whole, size, strict=True)]
    jobs = list(itertools.product(itertools.product(*starts), turns))
    before = input_window.context[0]
    # Of flipped images, what is before a tile comes after it.
    margin = max(0, before, input_window.input[0] - before - size[0])
    held: tuple[int, int] | None = None
    sums = _Sums(whole, size, overlap)
    for begin in range(0, len(jobs), batch):
        some = jobs[begin : begin + batch]
        top, bottom = some[0][0][0], min(whole[0], some[-1][0][0] + size[0])
        if top > sums.first:
            yield sums.means_before(top)
        needed = max(0, top - margin), min(whole[0], bottom + margin)
        if needed != held:
            strip, held = rows(*needed), needed
        inputs = []
        for (row, *columns), turned in some:
            corner = (row - needed[0], *columns)
            inputs.append(_input(strip, corner, input_window, size, turned))
        outputs = call(torch.cat(inputs)).to(strip.device).float()
        outputs = outputs.unflatten(0, (len(some), len(strip)))
        for (corner, turned), output in zip(some, outputs, strict=True):
            sums.add(corner, output.flip([i - len(size) for i, turn in enumerate(turned) if turn]))
    yield sums.means_before(whole[0])


class _Sums:
    """Weighted sums over tiles, of the rows from `first` on: no tile to come covers others."""

    def __init__(self, whole: tuple[int, ...], size: tuple[int, ...], overlap: float) -> None:
        self.whole, self.size, self.first = whole, size, 0
        self.weight = torch.ones(())
        for side in size:
            self.weight = self.weight[..., None] * _ramp(side, overlap)
        # Made with the first tile, on its device.
        self.scores: Tensor | None = None
        self.weights: Tensor | None = None

    def add(self, corner: tuple[int, ...], tile: Tensor) -> None:
        """Add the scores `(N K *size)` of a tile whose first pixel is at `corner`."""
        if self.scores is None or self.weights is None:
            self.weight = self.weight.to(tile.device)
            self.scores = tile.new_zeros(*tile.shape[:2], 0, *self.whole[1:])
            self.weights = tile.new_zeros(0, *self.whole[1:])
        lack = min(self.whole[0], corner[0] + self.size[0]) - self.first - len(self.weights)
        if lack > 0:
            more = tile.new_zeros(*tile.shape[:2], lack, *self.whole[1:])
            self.scores = torch.cat([self.scores, more], 2)
            self.weights = torch.cat([self.weights, more[0, 0]])
        place = block((corner[0] - self.first, *corner[1:]), self.size)
        # All of the tile, but where an image is smaller than that.
        left = tuple(side - start for side, start in zip(self.whole, corner, strict=True))
        inside = block((0,) * len(self.size), left)
        self.scores[place] += (tile * self.weight)[inside]
        self.weights[place] += self.weight[inside]

    def means_before(self, row: int) -> Tensor:
        """Return the means `(N K R *S[1:])` of the rows up to `row`, and drop their sums."""
        assert self.scores is not None
        assert self.weights is not None
        done = row - self.first
        means = self.scores[:, :, :done] / self.weights[:done]
        self.scores, self.weights = self.scores[:, :, done:], self.weights[done:]
        self.first = row
        return means


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


def count(
    whole: tuple[int, ...], size: tuple[int, ...], *, overlap: float = 0.0, flips: bool = False
) -> int:
    """Return how many tiles `predict_rows` predicts of an image of the size `whole`."""
    sides = zip(whole, size, strict=True)
    tiles = math.prod(len(_starts(*lengths, overlap)) for lengths in sides)
    return tiles * (2 ** len(size) if flips else 1)


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
