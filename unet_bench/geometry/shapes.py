"""What geometry finds, as plain data. Imports no torch.

Sizes are in pixels per dimension: `(H, W)`, or `(D, H, W)` for volumes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

Size = tuple[int, ...]
Vector = tuple[float, ...]


@dataclass(frozen=True)
class Skip:
    """How a skip met the up-sampled map, in pixels of their level; level 0 is the finest."""

    level: int
    size: Size
    up_size: Size
    # Cut from the skip's start; negative: added to it, or cut from the other map.
    low: Size
    # Cut from its end.
    high: Size
    # How far the up-sampled map lies from the skip when they are merged.
    misalignment: Vector

    @property
    def agrees(self) -> bool:
        """Whether the two maps had one size to begin with, so that `align` had nothing to do."""
        return self.size == self.up_size


@dataclass(frozen=True)
class Geometry:
    """What a network makes of an input size."""

    input: Size
    output: Size
    channels: int
    # From the first input pixel's centre to the first output pixel's.
    offset: Vector
    skips: tuple[Skip, ...]
    # What pooling dropped, in words.
    lost: tuple[str, ...]
    # Of the coarsest map.
    stride: int
    # Of output pixels, in input pixels.
    spacing: Vector = ()
    # By how many pixels the input could shrink and every map keep one; grow, and the finest map
    # that lost something lose nothing.
    spare: int = field(default=0, repr=False)
    missing: int = field(default=0, repr=False)

    @property
    def legal(self) -> bool:
        """Whether every map that is halved has an even size, so that nothing is dropped."""
        return not self.lost


@dataclass(frozen=True, kw_only=True)
class InputWindow:
    """The input that a network needs so that the scored pixels come out of it."""

    input: Size
    output: Size
    # Where the scored pixels begin in the output.
    start: Size
    # How far the input begins before the scored pixels.
    context: Size


@dataclass(frozen=True)
class Stage:
    """One of the maps a network makes, as drawings show it."""

    name: str
    # How often the image was halved.
    level: int
    channels: int
    size: Size
    # What the map was merged with, in words.
    skip: str = ""


def format_size(size: Sequence[float]) -> str:
    """Return a size as people write it: 572×572."""
    return "×".join(f"{side:g}" for side in size)
