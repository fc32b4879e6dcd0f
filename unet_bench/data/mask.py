"""What stands in the file of a mask, before anybody says what it means."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import numpy as np

from unet_bench.data.dataset import Array

GREY: Final = 0x010101
"""A grey level times this is its colour, as `Mask` writes colours."""


@dataclass(frozen=True, eq=False)
class Mask:
    """The mask of one file: whole numbers `(*S)`, and what they are.

    They are grey levels or class ids; or, where there are `colours`, palette indices, each of which
    has a colour; or, where `is_colour`, colours as 0xRRGGBB.
    """

    values: Array
    where: str = ""
    """The file's name in messages, such as masks/a.png."""
    colours: Array | None = None
    """The colour 0xRRGGBB of each palette index."""
    is_colour: bool = False
    is_lossy: bool = False
    """Whether the file's format blurs what it stores."""
    is_turned: bool = False
    """Whether the file's orientation tag turned it."""
    covered: int = 0
    """Pixels of several files that say different things of them."""

    def as_colours(self) -> Mask:
        """Return the mask with the colours that a viewer shows."""
        if self.is_colour:
            return self
        if self.colours is not None:
            colours = self.colours[self.values]
        else:
            colours = self.values.astype(np.int64) * GREY
        return Mask(colours, self.where, is_colour=True, is_lossy=self.is_lossy)

    def palette(self) -> dict[int, int]:
        """Return the colour of each palette index that occurs; empty where there is no palette."""
        if self.colours is None:
            return {}
        return {int(index): int(self.colours[index]) for index in np.unique(self.values)}

    def as_greys(self) -> Mask:
        """Return a mask of grey colours with its grey levels as values."""
        levels = self.as_colours().values & 0xFF
        return Mask(levels, self.where, is_lossy=self.is_lossy)


def packed(rgb: Array) -> Array:
    """Return colours `(*S 3)`, uint8, as whole numbers 0xRRGGBB `(*S)`."""
    wide = rgb.astype(np.int32)
    return wide[..., 0] << 16 | wide[..., 1] << 8 | wide[..., 2]


def is_grey(colour: int) -> bool:
    """Return whether a colour 0xRRGGBB is a grey level."""
    return colour == (colour & 0xFF) * GREY


def hexed(colour: int) -> str:
    """Return a colour as people write it: #rrggbb."""
    return f"#{colour:06x}"
