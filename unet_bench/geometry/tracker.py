"""Positions of maps, followed through torch's operations on the meta device.

Each map lies in the input with its first pixel at an origin and its pixels at a spacing.
Convolutions, pools, crops and resizes change both in known ways, so a part of anybody's is
understood as long as it is made of torch operations.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor

from unet_bench.geometry.meta import Observer
from unet_bench.geometry.shapes import Skip, Vector

aten = torch.ops.aten


@dataclass(frozen=True)
class Position:
    """Where a map lies in the input: its first pixel's centre and its pixels' spacing, `(dims,)`.

    `coarsest` is the widest spacing on the way to it: a merged map takes the position of its
    finest source.
    """

    origin: Vector
    spacing: Vector
    coarsest: float = 1.0

    def moved(self, pixels: Sequence[float]) -> Position:
        """Return the position with its first pixel moved by so many of the map's own pixels."""
        origin = tuple(o + s * p for o, s, p in zip(self.origin, self.spacing, pixels, strict=True))
        return Position(origin, self.spacing, self.coarsest)

    def scaled(self, factors: Sequence[float]) -> Position:
        """Return the position with its spacing multiplied."""
        spacing = tuple(s * f for s, f in zip(self.spacing, factors, strict=True))
        return Position(self.origin, spacing, max(self.coarsest, *spacing))

    def distance(self, other: Position) -> Vector:
        """Return how far another map's first pixel is from this one's, in pixels of this one."""
        moves = zip(other.origin, self.origin, self.spacing, strict=True)
        return tuple((there - here) / spacing for there, here, spacing in moves)


def centred(size: Sequence[int], output: Sequence[int]) -> Position:
    """Return the position to assume for a map that could not be followed: the middle."""
    spacing = tuple(1.0 if o <= s else s / o for s, o in zip(size, output, strict=True))
    origin = tuple((s - 1 - (o - 1) * p) / 2 for s, o, p in zip(size, output, spacing, strict=True))
    return Position(origin, spacing)


def flat_tensors(value: Any) -> Iterator[Tensor]:
    """Yield the tensors in nested lists and tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from flat_tensors(item)


class Tracker(Observer):
    """Follows positions through one forward pass of a `dims`-dimensional image."""

    def __init__(self, dims: int) -> None:
        super().__init__()
        self.dims = dims
        self.skips: list[Skip] = []
        self.lost: dict[str, None] = {}
        self.coarsest = 1.0
        self._positions: dict[int, Position] = {}
        # Of tokens and the like: position and size of the map that they came from.
        self._carried: dict[int, tuple[Position, torch.Size]] = {}
        # Ids are unique only while their tensors live.
        self._alive: list[Tensor] = []
        # Input pixels between a map's first and last pixel, of the map where they are fewest.
        self._narrowest = math.inf
        # (spacing of a map, input pixels that its side lacks to be divided).
        self._losses: list[tuple[float, int]] = []

    @property
    def spare(self) -> int:
        """By how many pixels the input could be smaller and each map keep one."""
        return 0 if math.isinf(self._narrowest) else math.floor(self._narrowest)

    @property
    def missing(self) -> int:
        """The pixels by which the input must grow for the finest lossy map to lose nothing."""
        return max(1, min(self._losses)[1]) if self._losses else 0

    def place(self, tensor: Tensor, position: Position) -> None:
        """Note where a map lies."""
        self._alive.append(tensor)
        self._positions[id(tensor)] = position
        for side, spacing in zip(tensor.shape[2:], position.spacing, strict=True):
            # A single pixel is a mean over all of the image.
            if side > 1:
                self._narrowest = min(self._narrowest, (side - 1) * spacing)

    def find(self, tensor: Tensor) -> Position | None:
        """Return where a map lies, if that is known."""
        return self._positions.get(id(tensor))

    def note_loss(self, level: int, side: int, factor: int, spacing: float, missing: int) -> None:
        """Note that a side is no multiple of the factor by which a map is made smaller."""
        self._losses.append((spacing, missing))
        loss = f"level {level} halves a side of {side}, which is no multiple of {factor}"
        self.lost[loss] = None

    def saw(self, func: Any, args: Any, kwargs: Any, result: Any) -> None:
        """Place what an operation returned."""
        inputs = list(flat_tensors(args))
        maps = [(x, position) for x in inputs if (position := self.find(x)) is not None]
        for output in flat_tensors(result):
            position = None
            if maps and output.ndim == self.dims + 2:
                position = self._position(func.overloadpacket, args, maps, output)
            if position is not None:
                self.place(output, position)
            else:
                self._carry(inputs, output)

    def _carry(self, inputs: Sequence[Tensor], output: Tensor) -> None:
        """Give tokens the position of their map, and a map of its size that is made of them."""
        sources = []
        for tensor in inputs:
            if (position := self.find(tensor)) is not None:
                sources.append((position, tensor.shape[2:]))
            elif id(tensor) in self._carried:
                sources.append(self._carried[id(tensor)])
        if not sources:
            return
        position, size = min(sources, key=lambda source: source[0].coarsest)
        if output.ndim == self.dims + 2 and output.shape[2:] == size:
            self.place(output, position)
        else:
            self._alive.append(output)
            self._carried[id(output)] = position, size

    def _position(
        self, op: Any, args: Sequence[Any], maps: Sequence[tuple[Tensor, Position]], output: Tensor
    ) -> Position | None:
        """Return where an operation's output lies, made of these maps; None where it is no map."""
        source, position = min(maps, key=lambda pair: pair[1].coarsest)
        if op in REORDERED and output.shape[2:] != source.shape[2:]:
            return None  # channels last, or tokens
        if op is aten.convolution:
            return self._convolved(source, position, args)
        if op in POOLS:
            return self._pooled(source, position, args)
        if op is aten.slice:
            return self._sliced(source, position, *args[1:])
        if op in PADS:
            # The first pad of each pair; pairs begin with the last dimension.
            low = args[1][::2][: self.dims][::-1]
            return position.moved([0] * (self.dims - len(low)) + [-pixels for pixels in low])
        return self._resized(source, position, op, args, output)

    def _convolved(self, source: Tensor, position: Position, args: Sequence[Any]) -> Position:
        _, weight, _, strides, pads, dilations, transposed, *_ = args
        strides, pads, dilations = map(self._per_axis, (strides, pads, dilations))
        kernel = zip(dilations, weight.shape[2:], pads, strict=True)
        reach = [dilation * (side - 1) / 2 - pad for dilation, side, pad in kernel]
        if transposed:
            return position.scaled([1 / s for s in strides]).moved([-r for r in reach])
        self._note_losses(source, strides, position)
        return position.moved(reach).scaled(strides)

    def _pooled(self, source: Tensor, position: Position, args: Sequence[Any]) -> Position:
        given = [*args[1:4], [], []]
        kernel = self._per_axis(given[0])
        strides = self._per_axis(given[1] or given[0])
        pads = self._per_axis(given[2] or [0])
        self._note_losses(source, strides, position)
        reach = [(side - 1) / 2 - pad for side, pad in zip(kernel, pads, strict=True)]
        return position.moved(reach).scaled(strides)

    def _sliced(
        self,
        source: Tensor,
        position: Position,
        dim: int = 0,
        start: int | None = None,
        end: int | None = None,
        step: int = 1,
    ) -> Position:
        axis = dim % source.ndim - 2
        if axis < 0:
            return position
        first, strides = [0] * self.dims, [1] * self.dims
        first[axis] = range(source.shape[dim])[start or 0 :].start
        strides[axis] = step
        self._note_losses(source, strides, position)
        return position.moved(first).scaled(strides)

    def _resized(
        self, source: Tensor, position: Position, op: Any, args: Sequence[Any], output: Tensor
    ) -> Position:
        if output.shape[2:] == source.shape[2:]:
            return position
        sides = list(zip(source.shape[2:], output.shape[2:], strict=True))
        if op is aten.new_empty:  # what circular padding is copied into, as much on either side
            return position.moved([(before - after) // 2 for before, after in sides])
        if op in CORNER_ALIGNED and len(args) > 2 and args[2] is True:
            return position.scaled([(before - 1) / max(after - 1, 1) for before, after in sides])
        factors = [before / after for before, after in sides]
        return position.moved([(factor - 1) / 2 for factor in factors]).scaled(factors)

    def _per_axis(self, values: list[int]) -> list[int]:
        """Return an operation's argument as one value per dimension; it may state one for all."""
        return values * self.dims if len(values) == 1 else values

    def _note_losses(self, source: Tensor, strides: Sequence[int], position: Position) -> None:
        """Note what a strided operation drops at the far end of a map."""
        level = round(max(position.spacing)).bit_length() - 1
        sides = zip(source.shape[2:], strides, position.spacing, strict=True)
        for side, stride, spacing in sides:
            if stride > 1:
                self.coarsest = max(self.coarsest, spacing * stride)
            if stride > 1 and side % stride:
                missing = math.ceil((stride - side % stride) * spacing)
                self.note_loss(level, side, stride, spacing, missing)


CORNER_ALIGNED: Final = (
    aten.upsample_bilinear2d,
    aten.upsample_trilinear3d,
    aten.upsample_bicubic2d,
)
"""Interpolations whose third argument says whether corner pixels stay in place."""
POOLS: Final = (
    aten.max_pool2d_with_indices,
    aten.max_pool3d_with_indices,
    aten.avg_pool2d,
    aten.avg_pool3d,
    aten.max_pool2d,
    aten.max_pool3d,
)
PADS: Final = (
    aten.constant_pad_nd,
    aten.reflection_pad2d,
    aten.reflection_pad3d,
    aten.replication_pad2d,
    aten.replication_pad3d,
)
REORDERED: Final = (aten.permute, aten.transpose)
