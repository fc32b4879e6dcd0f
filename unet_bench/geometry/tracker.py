"""Sizes and positions: what a network makes of an input size, found by a forward pass on the meta
device.

Every map is followed through convolutions, pools, crops and resizes as the position of its first
pixel in the input and the spacing of its pixels there; so a part of anybody's is understood as long
as it is made of torch operations.
"""

from __future__ import annotations

import functools
import itertools
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any, Final

import torch
from torch import Tensor, nn
from torch.utils._python_dispatch import TorchDispatchMode

from unet_bench.errors import InvalidPart, InvalidSize, UnetBenchError
from unet_bench.networks.contracts import Label, main_output, stated_channels

aten = torch.ops.aten
SEARCH_STEPS: Final = (
    512  # the largest input tried while looking for a legal size, in total strides
)


@dataclass(frozen=True)
class Skip:
    """How a skip met the up-sampled map, finest level 0. Lengths in pixels of that level, one per
    dimension.
    """

    level: int
    size: tuple[int, ...]
    up_size: tuple[int, ...]
    low: tuple[
        int, ...
    ]  # cut from the skip's start; negative: added to it, or cut from the other map
    high: tuple[int, ...]  # cut from its end
    misalignment: tuple[
        float, ...
    ]  # how far the up-sampled map then lies from the skip it is merged with

    @property
    def agrees(self) -> bool:
        """Whether the two maps had one size to begin with, so that `align` had nothing to do."""
        return self.size == self.up_size


@dataclass(frozen=True)
class Geometry:
    """What a network makes of an input size. All sizes in pixels, `(H, W)` or `(D, H, W)`."""

    input: tuple[int, ...]
    output: tuple[int, ...]
    channels: int
    offset: tuple[float, ...]  # of the first output pixel's centre from the first input pixel's
    skips: tuple[Skip, ...]
    lost: tuple[str, ...]  # what pooling dropped, in words; empty at a legal size
    stride: int  # of the coarsest map
    spacing: tuple[float, ...] = ()  # of output pixels, in input pixels

    @property
    def legal(self) -> bool:
        """Whether every map that is halved has an even size, so that nothing is dropped."""
        return not self.lost


@dataclass(frozen=True)
class Position:
    """Where a map lies in the input: its first pixel's centre and its pixels' spacing, per
    dimension.
    """

    origin: tuple[float, ...]
    spacing: tuple[float, ...]
    coarsest: float = (
        1.0  # the widest spacing on its way: a merged map takes the position of its finest source
    )

    def moved(self, pixels: Sequence[float]) -> Position:
        """The first pixel moved by so many of the map's own pixels."""
        origin = tuple(o + s * p for o, s, p in zip(self.origin, self.spacing, pixels, strict=True))
        return Position(origin, self.spacing, self.coarsest)

    def scaled(self, factors: Sequence[float]) -> Position:
        """The spacing multiplied."""
        spacing = tuple(s * f for s, f in zip(self.spacing, factors, strict=True))
        return Position(self.origin, spacing, max(self.coarsest, *spacing))


def geometry(model: nn.Module, in_channels: int, size: Sequence[int]) -> Geometry:
    """What `model`, built on the meta device, makes of `(1 in_channels *size)`.

    Raises InvalidSize when it cannot take the size, InvalidPart when a part breaks its contract.
    """
    return followed(model, in_channels, tuple(size))[0]


def followed(model: nn.Module, in_channels: int, size: tuple[int, ...]) -> tuple[Geometry, Tracker]:
    """The geometry at an input size, and the tracker that followed it there. Raises as `geometry`."""
    tracker = Tracker(len(size))
    training = [module for module in model.modules() if module.training]
    model.eval()
    watched = watch_parts(model, tracker)
    try:
        # in inference mode operations would come whole, as conv2d and narrow, and not be understood
        with torch.inference_mode(False), torch.no_grad(), watched, tracker:
            image = torch.empty((1, in_channels, *size), device="meta")
            tracker.place(image, Position((0.0,) * len(size), (1.0,) * len(size)))
            output = main_output(model(image))
            where = tracker.of(output)
    except UnetBenchError:
        raise
    except (RuntimeError, ValueError, IndexError, AssertionError) as error:
        culprit = f"in {watched.running[-1]}: " if watched.running else ""
        raise InvalidSize(
            f"an input of {text(size)} does not pass through the network ({culprit}{first_line(error)})"
        ) from error
    except Exception as error:
        culprit = str(watched.running[-1]) if watched.running else "this network"
        raise InvalidPart(
            f"{culprit}: forward raised {type(error).__name__}: {first_line(error)}"
        ) from error
    finally:
        for module in training:
            module.training = True
    if output.ndim != len(size) + 2 or 0 in output.shape:
        raise InvalidSize(
            f"an input of {text(size)} gives an output of shape {tuple(output.shape)}: nothing to score"
        )
    where = where or centred(size, output.shape[2:])
    found = Geometry(
        input=size,
        output=tuple(output.shape[2:]),
        channels=int(output.shape[1]),
        offset=where.origin,
        skips=tuple(sorted(tracker.skips, key=lambda skip: skip.level)),
        lost=tuple(tracker.lost),
        stride=round(tracker.coarsest),
        spacing=where.spacing,
    )
    return found, tracker


def centred(size: Sequence[int], output: Sequence[int]) -> Position:
    """The position to assume when an operation was not understood: the middle."""
    spacing = tuple(1.0 if o <= s else s / o for s, o in zip(size, output, strict=True))
    origin = tuple((s - 1 - (o - 1) * p) / 2 for s, o, p in zip(size, output, spacing, strict=True))
    return Position(origin, spacing)


def text(size: Sequence[float]) -> str:
    """A size as people write it: 572×572."""
    return "×".join(f"{side:g}" for side in size)


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its type where it has none."""
    return (str(error).strip().splitlines() or [type(error).__name__])[0]


class Tracker(TorchDispatchMode):
    """Follows positions through the operations of one forward pass."""

    def __init__(self, dims: int) -> None:
        super().__init__()  # type: ignore[no-untyped-call]
        self.dims = dims
        self.positions: dict[int, Position] = {}
        self.carried: dict[
            int, tuple[Position, torch.Size]
        ] = {}  # of tokens and the like: of the map they came from
        self.alive: list[Tensor] = []  # ids are only unique while their tensors live
        self.lost: list[str] = []
        self.skips: list[Skip] = []
        self.coarsest = 1.0
        self.narrowest = (
            math.inf
        )  # input pixels between a map's first and last pixel, of the map where they are fewest
        self.losses: list[
            tuple[float, int]
        ] = []  # (spacing of a map, input pixels wanting for its side to be divided)

    def place(self, tensor: Tensor, position: Position) -> None:
        """Note where a tensor lies."""
        self.alive.append(tensor)
        self.positions[id(tensor)] = position
        for side, spacing in zip(tensor.shape[2:], position.spacing, strict=True):
            if side > 1:  # a single pixel is a mean over all of the image
                self.narrowest = min(self.narrowest, (side - 1) * spacing)

    @property
    def spare(self) -> int:
        """By how many pixels the input might be smaller and each map keep one."""
        return 0 if math.isinf(self.narrowest) else math.floor(self.narrowest)

    @property
    def wanting(self) -> int:
        """By how many pixels the input must be larger for the finest map that lost something to
        lose nothing.
        """
        return max(1, min(self.losses)[1]) if self.losses else 0

    def of(self, tensor: object) -> Position | None:
        """Where a tensor lies, if that is known."""
        return self.positions.get(id(tensor))

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        op = func.overloadpacket
        result = BLANKS.get(op, func)(*args, **(kwargs or {}))
        for output in flat_tensors(result):
            if output.ndim == self.dims + 2 and (position := self._position(op, args, output)):
                self.place(output, position)
            else:
                self._carry(args, output)
        return result

    def _carry(self, args: Sequence[Any], output: Tensor) -> None:
        """Tokens keep the position of their map, until they are a map of its size again."""
        sources = [
            source for tensor in flat_tensors(args) if (source := self._source(tensor)) is not None
        ]
        if not sources:
            return
        position, size = min(sources, key=lambda source: source[0].coarsest)
        if output.ndim == self.dims + 2 and output.shape[2:] == size:
            self.place(output, position)
        else:
            self.alive.append(output)
            self.carried[id(output)] = position, size

    def _source(self, tensor: Tensor) -> tuple[Position, torch.Size] | None:
        if (position := self.of(tensor)) is not None:
            return position, tensor.shape[2:]
        return self.carried.get(id(tensor))

    def _position(self, op: Any, args: Sequence[Any], output: Tensor) -> Position | None:
        sources = [(t, p) for t in flat_tensors(args) if (p := self.of(t)) is not None]
        if not sources:
            return None
        source, position = min(sources, key=lambda pair: pair[1].coarsest)
        if op in REORDERED and output.shape[2:] != source.shape[2:]:
            return None  # channels last, or tokens
        if op is aten.convolution:
            return self._convolved(source, position, args)
        if op in POOLS:
            return self._pooled(source, position, args)
        if op is aten.slice:
            dim, start = args[1] if len(args) > 1 else 0, args[2] if len(args) > 2 else 0
            return self._sliced(source, position, dim, start or 0, args[4] if len(args) > 4 else 1)
        if op in PADS:
            low = [
                args[1][2 * (self.dims - 1 - i)] if 2 * (self.dims - 1 - i) < len(args[1]) else 0
                for i in range(self.dims)
            ]
            return position.moved([-float(pixels) for pixels in low])
        return self._rescaled(source, position, op, args, output)

    def _convolved(self, source: Tensor, position: Position, args: Sequence[Any]) -> Position:
        weight, strides, pads, dilations, transposed = args[1], args[3], args[4], args[5], args[6]
        kernel = weight.shape[2:]
        strides, pads, dilations = (
            list(v) * self.dims if len(v) == 1 else list(v) for v in (strides, pads, dilations)
        )
        reach = [d * (k - 1) / 2 - p for d, k, p in zip(dilations, kernel, pads, strict=True)]
        if transposed:
            fine = position.scaled([1 / s for s in strides])
            return fine.moved([-r for r in reach])
        self._note_loss(source, strides, position)
        return position.moved(reach).scaled([float(s) for s in strides])

    def _pooled(self, source: Tensor, position: Position, args: Sequence[Any]) -> Position:
        def spread(index: int, default: list[int]) -> list[int]:
            given = list(args[index]) if len(args) > index and len(args[index]) else default
            return given * self.dims if len(given) == 1 else given

        kernel = spread(1, [])
        strides, pads = spread(2, kernel), spread(3, [0])
        self._note_loss(source, strides, position)
        return position.moved([(k - 1) / 2 - p for k, p in zip(kernel, pads, strict=True)]).scaled(
            [float(s) for s in strides]
        )

    def _sliced(
        self, source: Tensor, position: Position, dim: int, start: int, step: int
    ) -> Position:
        axis = dim % source.ndim - 2
        if axis < 0:
            return position
        start = start + source.shape[axis + 2] if start < 0 else start
        moved = position.moved([float(start) if i == axis else 0.0 for i in range(self.dims)])
        if step > 1:
            self._note_loss(source, [step if i == axis else 1 for i in range(self.dims)], position)
            moved = moved.scaled([float(step) if i == axis else 1.0 for i in range(self.dims)])
        return moved

    def note_loss(self, image: Sequence[int], finer: int, reduction: int) -> None:
        """Note what is lost between two maps of an encoder that were not followed."""
        factor = reduction // finer
        for side in image:
            length = -(-side // finer)
            if length % factor:
                self.losses.append((float(finer), reduction - side % reduction))
                loss = f"level {finer.bit_length() - 1} halves a side of {length}, which is no multiple of {factor}"
                if loss not in self.lost:
                    self.lost.append(loss)

    def _rescaled(
        self, source: Tensor, position: Position, op: Any, args: Sequence[Any], output: Tensor
    ) -> Position:
        if output.shape[2:] == source.shape[2:]:
            return position
        if op is aten.new_empty:  # what circular padding is copied into, as much on either side
            return position.moved(
                [(i - o) // 2 for i, o in zip(source.shape[2:], output.shape[2:], strict=True)]
            )
        factors = [i / o for i, o in zip(source.shape[2:], output.shape[2:], strict=True)]
        if op in CORNER_ALIGNED and len(args) > 2 and args[2] is True:
            factors = [
                (i - 1) / max(o - 1, 1)
                for i, o in zip(source.shape[2:], output.shape[2:], strict=True)
            ]
            return position.scaled(factors)
        return position.moved([(f - 1) / 2 for f in factors]).scaled(factors)

    def _note_loss(self, source: Tensor, strides: Sequence[int], position: Position) -> None:
        strided = [
            spacing * stride
            for spacing, stride in zip(position.spacing, strides, strict=True)
            if stride > 1
        ]
        self.coarsest = max(self.coarsest, *strided) if strided else self.coarsest
        level = round(max(position.spacing)).bit_length() - 1
        for length, stride, spacing in zip(
            source.shape[2:], strides, position.spacing, strict=True
        ):
            if stride > 1 and length % stride:
                self.losses.append((spacing, math.ceil((stride - length % stride) * spacing)))
                loss = f"level {level} halves a side of {length}, which is no multiple of {stride}"
                if loss not in self.lost:
                    self.lost.append(loss)


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


def interpolated(source: Tensor, size: Sequence[int], *_: Any) -> Tensor:
    """A map of the size that an interpolation gives."""
    return source.new_empty((*source.shape[:2], *size))


def sampled(source: Tensor, grid: Tensor, *_: Any) -> Tensor:
    """A map of the size that sampling at a grid's positions gives."""
    return source.new_empty((*source.shape[:2], *grid.shape[1:-1]))


def unchanged(source: Tensor, *_: Any) -> Tensor:
    """What an activation in place gives."""
    return source


def normed(source: Tensor, *_: Any) -> tuple[Tensor, Tensor, Tensor]:
    """What batch norm gives in evaluation: its map, and no statistics."""
    return torch.empty_like(source), source.new_empty(0), source.new_empty(0)


# Torch's own way to these shapes runs through every step of the formula, which takes most of a
# forward pass.
BLANKS: Final[dict[Any, Callable[..., Any]]] = {
    **dict.fromkeys((aten.upsample_nearest2d, aten.upsample_nearest3d), interpolated),
    **dict.fromkeys(
        (aten.upsample_bilinear2d, aten.upsample_trilinear3d, aten.upsample_bicubic2d), interpolated
    ),
    aten.grid_sampler_2d: sampled,
    aten.native_batch_norm: normed,
    aten.leaky_relu_: unchanged,
}
REORDERED: Final = (aten.permute, aten.transpose)
CORNER_ALIGNED: Final = (
    aten.upsample_bilinear2d,
    aten.upsample_trilinear3d,
    aten.upsample_bicubic2d,
)


def flat_tensors(value: Any) -> Iterator[Tensor]:
    """The tensors in nested lists and tuples."""
    if isinstance(value, Tensor):
        yield value
    elif isinstance(value, (list, tuple)):
        for item in value:
            yield from flat_tensors(item)


class watch_parts:  # noqa: N801 - used as a `with` statement
    """While a model runs under a Tracker: check each labelled part against its contract, and note
    each `align`.
    """

    def __init__(self, model: nn.Module, tracker: Tracker) -> None:
        self.model = model
        self.tracker = tracker
        self.running: list[Label] = []  # innermost last: whom to blame when a forward fails
        self.handles: list[Any] = []

    def __enter__(self) -> None:
        for module in self.model.modules():
            if (label := getattr(module, "_unet_bench_label", None)) is not None:
                self.handles.append(
                    module.register_forward_pre_hook(functools.partial(self._before, label))
                )
                self.handles.append(
                    module.register_forward_hook(functools.partial(self._after, label))
                )

    def __exit__(self, *_: object) -> None:
        for handle in self.handles:
            handle.remove()

    def _before(self, label: Label, module: nn.Module, inputs: tuple[Any, ...]) -> None:
        self.running.append(label)

    def _after(self, label: Label, module: nn.Module, inputs: tuple[Any, ...], output: Any) -> None:
        self.running.pop()
        if label.slot == "align":
            self._after_align(label, inputs, output)
        elif label.slot == "encoder":
            self._after_encoder(module, inputs[0], output)
        elif label.slot not in ("encoder", "topology", "skip"):
            expected = stated_channels(module, label.place)
            if not isinstance(output, Tensor) or output.shape[1] != expected:
                got = tuple(output.shape) if isinstance(output, Tensor) else type(output).__name__
                raise InvalidPart(
                    f"{label}: returned {got} where {expected} channels were promised"
                )

    def _after_encoder(self, encoder: nn.Module, image: Tensor, maps: Any) -> None:
        """A map that was not followed all the way (windows, merged patches) lies where the stated
        reduction says.
        """
        tracker = self.tracker
        reductions: list[int] = list(encoder.reductions)  # type: ignore[arg-type]
        for finer, reduction, x in zip(
            [1, *reductions], reductions, flat_tensors(maps), strict=False
        ):
            spacing = (float(reduction),) * tracker.dims
            position = tracker.of(x)
            if position is not None and position.spacing == spacing:
                continue
            tracker.place(
                x, Position(tuple((s - 1) / 2 for s in spacing), spacing, float(reduction))
            )
            tracker.coarsest = max(tracker.coarsest, reduction)
            tracker.note_loss(image.shape[2:], finer, reduction)

    def _after_align(self, label: Label, inputs: tuple[Any, ...], output: Any) -> None:
        if (
            not isinstance(output, tuple)
            or len(output) != 2
            or output[0].shape[2:] != output[1].shape[2:]
        ):
            got = [tuple(t.shape) for t in flat_tensors(output)]
            raise InvalidPart(f"{label}: must return two maps of one size, returned {got}")
        skip, up = inputs
        if skip is up:
            return
        before, after, lifted = (self.tracker.of(t) for t in (skip, output[0], output[1]))
        dims = self.tracker.dims
        nowhere = (0.0,) * dims
        low, shift = nowhere, nowhere
        if before and after and lifted:
            low = tuple(
                (a - b) / s
                for a, b, s in zip(after.origin, before.origin, before.spacing, strict=True)
            )
            shift = tuple(
                (u - a) / s
                for u, a, s in zip(lifted.origin, after.origin, after.spacing, strict=True)
            )
        starts = tuple(round(value) for value in low)
        ends = tuple(
            i - o - start
            for i, o, start in zip(skip.shape[2:], output[0].shape[2:], starts, strict=True)
        )
        level = label.place.level
        self.tracker.skips.append(
            Skip(level, tuple(skip.shape[2:]), tuple(up.shape[2:]), starts, ends, shift)
        )


def legal_covering(model: nn.Module, in_channels: int, scored: Sequence[int]) -> Geometry:
    """The smallest legal input whose output covers `scored` pixels. Raises InvalidSize when there
    is none.
    """
    base, step = legal_sizes(model, in_channels, len(scored))
    at_base = geometry(model, in_channels, (base,) * len(scored))
    size = []
    for wanted, gained in zip(scored, at_base.output, strict=True):
        size.append(base + step * max(0, -(-(wanted - gained) // step)))
    return geometry(model, in_channels, size)


def legal_sizes(model: nn.Module, in_channels: int, dims: int = 2) -> tuple[int, int]:
    """(smallest, step): the legal square inputs are smallest + k·step. Raises InvalidSize when none
    was found.

    A forward pass tells how much larger its input must be for nothing to be lost, and how much
    smaller it may be for every map to keep a pixel: so few of them find what bisection would find
    with many.
    """
    step = _total_stride(model, in_channels, dims)
    size, spare = 64 * step, -1
    while spare < 0 and size < 65 * step:
        try:
            found, tracker = followed(model, in_channels, (size,) * dims)
        except InvalidSize:
            size += 1
            continue
        size += 0 if found.legal else tracker.wanting
        spare = tracker.spare if found.legal else -1
    if spare < 0:
        raise InvalidSize(
            f"no legal input size was found between {64 * step} and {65 * step} pixels a side"
        )
    low, high = -1, size // step  # in steps: too small a size, and a large enough one
    likely = high - spare // step
    guesses = [likely, likely - 1, likely + 1]
    while high - low > 1:
        middle = guesses.pop(0) if guesses else (low + high) // 2
        if low < middle < high:
            smaller = size % step + middle * step
            fits = _try(model, in_channels, smaller, dims) if smaller else None
            low, high = (low, middle) if fits else (middle, high)
    return size % step + high * step, step


def _total_stride(model: nn.Module, in_channels: int, dims: int) -> int:
    why = ""
    for size in (512, 1024, 2048, 256):
        try:
            return max(1, geometry(model, in_channels, (size,) * dims).stride)
        except InvalidSize as error:
            why = str(error)
    raise InvalidSize(f"the network takes none of 256, 512, 1024 and 2048 pixels a side: {why}")


def _try(model: nn.Module, in_channels: int, size: int, dims: int) -> Geometry | None:
    try:
        return geometry(model, in_channels, (size,) * dims)
    except InvalidSize:
        return None


def margins(model: nn.Module, in_channels: int, dims: int = 2) -> dict[int, tuple[int, ...]]:
    """By level, of its `align` parts as they run: the pixels that an up-sampled map has lost on its
    low side.

    Unpadded convolutions take as much from either side, so at a legal size this is half the
    difference to the skip.
    """
    base, step = legal_sizes(model, in_channels, dims)
    large = geometry(model, in_channels, (base + 16 * step,) * dims)
    levels = itertools.groupby(large.skips, key=lambda skip: skip.level)
    return {
        level: tuple((skip.size[0] - skip.up_size[0]) // 2 for skip in skips)
        for level, skips in levels
    }


def fit_input(model: nn.Module, in_channels: int, scored: Sequence[int]) -> Geometry:
    """The input to feed so that `scored` pixels come out: themselves if the network returns all,
    else a legal size with context around. Raises InvalidSize.
    """
    try:
        same = geometry(model, in_channels, scored)
        if same.output == tuple(scored):
            return same
    except InvalidSize:
        pass
    return legal_covering(model, in_channels, scored)


def advice(model: nn.Module, in_channels: int, size: Sequence[int]) -> str:
    """What to tell a user of a size: what is lost there, and the nearest sizes that lose nothing."""
    base, step = legal_sizes(model, in_channels, len(size))
    near = []
    for side in dict.fromkeys(size):
        below = base + max(0, (side - base) // step) * step
        near += [below] if below == side else [below, below + step]
    found = _try(model, in_channels, size[0], len(size)) if len(set(size)) == 1 else None
    lost = "; ".join(found.lost) if found else ""
    nearest = ", ".join(map(str, dict.fromkeys(near)))
    rule = f"legal sides are {base}, {base + step}, {base + 2 * step}, …; nearest: {nearest}"
    return f"{lost}; {rule}" if lost else rule
