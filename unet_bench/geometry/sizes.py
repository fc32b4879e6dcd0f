"""Which input sizes a network takes, and which it needs so that chosen pixels come out of it."""

from __future__ import annotations

import itertools
from collections.abc import Sequence

from torch import nn

from unet_bench.errors import InvalidPart, InvalidSize, Unsupported
from unet_bench.geometry.forward import trace
from unet_bench.geometry.shapes import Geometry, InputWindow, Size, format_size


def find_input_window(
    model: nn.Module, in_channels: int, classes: int, scored: Size
) -> tuple[InputWindow, Geometry]:
    """Return the input window of a meta-device network for scored pixels `(*S)`, and its geometry.

    Raises InvalidSize, Unsupported, InvalidPart.
    """
    found = fit_input(model, in_channels, scored)
    if found.channels != classes:
        raise InvalidPart(f"the network returns {found.channels} channels for {classes} classes")
    # A last up-sampling with aligned corners leaves the far end off by less than a pixel of the map
    # it enlarged: such a network is scored as it is.
    whole = found.legal and found.output == found.input
    slack = found.stride - 1 + 1e-6 if whole else 1e-6
    for spacing, side in zip(found.spacing, found.output, strict=True):
        if abs(spacing - 1) * (side - 1) > slack:
            raise Unsupported(
                f"the network returns one pixel for {format_size(found.spacing)} of its input: "
                "let it up-sample its output"
            )
    start, context = [], []
    for offset, output, side in zip(found.offset, found.output, scored, strict=True):
        start.append((output - side) // 2)
        context.append(round(offset) + start[-1])
    window = InputWindow(
        input=found.input, output=found.output, start=tuple(start), context=tuple(context)
    )
    return window, found


def fit_input(model: nn.Module, in_channels: int, scored: Sequence[int]) -> Geometry:
    """Return the geometry of the input to feed so that `scored` pixels come out.

    That is the scored size itself if the network returns all of it, else a legal size with context
    around it. Raises InvalidSize when there is none.
    """
    same = try_size(model, in_channels, scored)
    if same is not None and same.output == tuple(scored):
        return same
    return covering_input(model, in_channels, scored)


def covering_input(model: nn.Module, in_channels: int, scored: Sequence[int]) -> Geometry:
    """Return the geometry of the smallest legal input whose output covers `scored` pixels.

    Raises InvalidSize when there is none.
    """
    base, step = legal_sizes(model, in_channels, len(scored))
    at_base = trace(model, in_channels, (base,) * len(scored))
    lacking = (side - gained for side, gained in zip(scored, at_base.output, strict=True))
    return trace(model, in_channels, [base + step * max(0, -(-n // step)) for n in lacking])


def legal_sizes(model: nn.Module, in_channels: int, dims: int = 2) -> tuple[int, int]:
    """Return (smallest, step): the legal square inputs are smallest + k·step.

    A forward pass tells how much larger its input must be for nothing to be lost, and how much
    smaller it may be for every map to keep a pixel: so few passes find what bisection would find
    with many. Raises InvalidSize when no legal size was found.
    """
    step = total_stride(model, in_channels, dims)
    large = _large_legal_size(model, in_channels, dims, step)
    remainder, high = large.input[0] % step, large.input[0] // step
    # From here on in steps: `low` is too small, `high` is large enough.
    low, likely = -1, high - large.spare // step
    guesses = [likely, likely - 1, likely + 1]
    while high - low > 1:
        middle = guesses.pop(0) if guesses else (low + high) // 2
        if not low < middle < high:
            continue
        smaller = remainder + middle * step
        if smaller and try_size(model, in_channels, (smaller,) * dims):
            high = middle
        else:
            low = middle
    return remainder + high * step, step


def _large_legal_size(model: nn.Module, in_channels: int, dims: int, step: int) -> Geometry:
    size = 64 * step
    while size < 65 * step:
        found = try_size(model, in_channels, (size,) * dims)
        if found is not None and found.legal:
            return found
        size += 1 if found is None else found.missing
    raise InvalidSize(
        f"no legal input size was found between {64 * step} and {65 * step} pixels a side"
    )


def total_stride(model: nn.Module, in_channels: int, dims: int) -> int:
    """Return how many input pixels a pixel of the coarsest map stands for. Raises InvalidSize."""
    why = ""
    for size in (512, 1024, 2048, 256):
        try:
            return max(1, trace(model, in_channels, (size,) * dims).stride)
        except InvalidSize as error:
            why = str(error)
    raise InvalidSize(f"the network takes none of 256, 512, 1024 and 2048 pixels a side: {why}")


def try_size(model: nn.Module, in_channels: int, size: Sequence[int]) -> Geometry | None:
    """Return the geometry at an input size, or None where the network does not take that size."""
    try:
        return trace(model, in_channels, size)
    except InvalidSize:
        return None


def margins(model: nn.Module, in_channels: int, dims: int = 2) -> dict[int, tuple[int, ...]]:
    """Return the pixels that up-sampled maps have lost on their low side.

    By level, in the order in which the level's `align` parts run. Unpadded convolutions take as
    much from either side, so at a legal size this is half the difference to the skip.
    """
    base, step = legal_sizes(model, in_channels, dims)
    large = trace(model, in_channels, (base + 16 * step,) * dims)
    levels = itertools.groupby(large.skips, key=lambda skip: skip.level)
    return {
        level: tuple((skip.size[0] - skip.up_size[0]) // 2 for skip in skips)
        for level, skips in levels
    }


def explain_size(model: nn.Module, in_channels: int, size: Sequence[int]) -> str:
    """Return what is lost at a size, and the nearest sizes that lose nothing, in words."""
    base, step = legal_sizes(model, in_channels, len(size))
    near: dict[int, None] = {}
    for side in size:
        below = base + max(0, (side - base) // step) * step
        near[below] = None
        if below != side:
            near[below + step] = None
    nearest = ", ".join(map(str, near))
    rule = f"legal sides are {base}, {base + step}, {base + 2 * step}, …; nearest: {nearest}"
    found = try_size(model, in_channels, size) if len(set(size)) == 1 else None
    return "; ".join([*(found.lost if found else ()), rule])
