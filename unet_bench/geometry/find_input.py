"""The input that a network needs so that chosen pixels come out of it."""

from __future__ import annotations

from torch import nn

from unet_bench.errors import InvalidPart, Unsupported
from unet_bench.geometry import tracker as geometry
from unet_bench.geometry.input_window import InputWindow


def find_input_window(
    model: nn.Module, in_channels: int, classes: int, scored: tuple[int, ...]
) -> tuple[InputWindow, geometry.Geometry]:
    """Return the input window of a network on the meta device for scored pixels `(*S)`, and the geometry behind
    it.

    Raises InvalidSize, Unsupported, InvalidPart.
    """
    where = geometry.fit_input(model, in_channels, scored)
    if where.channels != classes:
        raise InvalidPart(f"the network returns {where.channels} channels for {classes} classes")
    # A last up-sampling with aligned corners leaves the far end off by less than a pixel of the map
    # it enlarged: such a network is scored as it is.
    whole = where.legal and where.output == where.input
    slack = where.stride - 1 + 1e-6 if whole else 1e-6
    if any(
        abs(spacing - 1) * (side - 1) > slack
        for spacing, side in zip(where.spacing, where.output, strict=True)
    ):
        ratio = geometry.text(where.spacing)
        raise Unsupported(
            f"the network returns one pixel for {ratio} of its input: let it up-sample its output"
        )
    start = tuple((output - side) // 2 for output, side in zip(where.output, scored, strict=True))
    context = tuple(
        round(offset) + begin for offset, begin in zip(where.offset, start, strict=True)
    )
    return InputWindow(input=where.input, output=where.output, start=start, context=context), where
