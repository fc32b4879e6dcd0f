"""Class ids in colours: the one table of these, and masks drawn over their images."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import cycle, islice
from typing import Any, Final

import numpy as np
from numpy.typing import NDArray

IGNORED: Final = 255
"""The class id of pixels that are not scored."""
# Okabe and Ito 2008, class 0 dark; further classes are the same, half way to white.
_FIRST: Final = (
    (32, 38, 45),
    (230, 159, 0),
    (86, 180, 233),
    (0, 158, 115),
    (0, 114, 178),
    (240, 228, 66),
    (213, 94, 0),
    (204, 121, 167),
)
_LIGHTER: Final = tuple(tuple((part + 255) // 2 for part in colour) for colour in _FIRST[1:])
_FURTHER: Final = islice(cycle((*_LIGHTER, *_FIRST[1:])), IGNORED - len(_FIRST))
_NOT_SCORED: Final = (190, 190, 190)
COLOURS: Final = np.array([*_FIRST, *_FURTHER, _NOT_SCORED], dtype=np.uint8)
"""The colour of each class id, `(256 3)`."""

STRETCH: Final = (1.0, 99.0)
"""The percentiles of a band that become black and full in a picture of it."""
TINT: Final = 0.35
"""How much of a pixel's colour in an overlay is its class's."""
LOOKED_AT: Final = 1024
"""Pixels along a side that percentiles are taken of."""

Pixels = NDArray[np.uint8]


def hexed(colour: Sequence[int] | Pixels) -> str:
    """Return a colour as #rrggbb."""
    return f"#{bytes(colour).hex()}"


def colours_of(classes: Sequence[str], own: Mapping[str, str]) -> Pixels:
    """Return the colour of each class id, `(256 3)`.

    They are the data set's `own`, #rrggbb by name, if these are different and every class has one.
    """
    table = COLOURS.copy()
    stated = [own[name] for name in classes if name in own]
    if len(set(stated)) == len(classes):
        table[: len(classes)] = [list(bytes.fromhex(colour[1:])) for colour in stated]
    return table


def overlay(image: NDArray[Any], mask: Pixels, colours: Pixels) -> Pixels:
    """Return an image `(H W C)` as RGB, with every class but the background in its colour.

    Objects are tinted, and their outermost pixels have the full colour.
    """
    picture = viewable(image)
    drawn = mask != 0
    tinted = (1 - TINT) * picture[drawn] + TINT * colours[mask[drawn]]
    picture[drawn] = tinted.round().astype(np.uint8)
    rim = drawn & _borders(mask)
    picture[rim] = colours[mask[rim]]
    return picture


def viewable(image: NDArray[Any]) -> Pixels:
    """Return an image `(H W C)` as RGB of its first three bands; of two, of the first.

    What is not 8 bits is stretched, band by band, from its 1st to its 99th percentile.
    """
    bands = image[..., : 3 if image.shape[-1] >= 3 else 1]
    if bands.dtype != np.uint8:
        bands = np.stack([_stretched(bands[..., i]) for i in range(bands.shape[-1])], axis=-1)
    return np.repeat(bands, 3, axis=-1) if bands.shape[-1] == 1 else bands.copy()


def _stretched(band: NDArray[Any]) -> Pixels:
    seen = band[tuple(slice(None, None, max(1, side // LOOKED_AT)) for side in band.shape)]
    low, high = np.percentile(seen, STRETCH)
    unit = (band.astype(np.float64) - low) / (high - low if high > low else 1)
    levels: Pixels = (255 * np.clip(unit, 0, 1)).round().astype(np.uint8)
    return levels


def _borders(mask: Pixels) -> NDArray[np.bool_]:
    """Return which pixels have a neighbour, above, below or beside, of another class."""
    found = np.zeros(mask.shape, bool)
    beside, below = mask[:, 1:] != mask[:, :-1], mask[1:] != mask[:-1]
    found[:, 1:] |= beside
    found[:, :-1] |= beside
    found[1:] |= below
    found[:-1] |= below
    return found
