"""From the values in image files to the numbers that networks see, by one scale for a data set.

A scale says, for each number type of the files, which values become 0 and 1. It is stated once,
over all images, and kept with trained weights: an image that comes later is scaled alike.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Final

import numpy as np

from unet_bench.data.dataset import Array, Scale
from unet_bench.data.findings import Findings, listing

DEPTHS: Final = (8, 10, 12, 14, 16)
"""Bits that cameras and scanners give; files store 10, 12 and 14 of them in 16."""
GAP: Final = 0.9
"""The part of a scale without any value from which on its ends are doubted."""
DIM: Final = 1 / 16
"""The largest value of an image, on the scale of all, up to which it may be of fewer bits."""
TYPES: Final[tuple[str, ...]] = ("uint8", "uint16", "float32")
WHITE: Final = 255.0
"""What is white in images of 8 bits."""
SURE: Final = 2**14
"""16-bit numbers from here on are of no fewer bits: there are no cameras of 15."""


def is_bytes(scale: Scale) -> bool:
    """Return whether images stay as they are, uint8: all files hold 8 bits."""
    return set(scale) <= {"uint8"}


def find_scale(images: Mapping[str, Array], found: Findings, white: float | None = None) -> Scale:
    """Return the scale of a data set of images `(H W C)`, each of one of `TYPES`.

    8 bits reach from 0 to 255. Of 16 bits only those count that the largest value of all images
    needs, or `white` says. Fractions in 0..1 stay; others reach from the smallest to the largest
    value, and may not stand beside whole numbers, since nobody can know what these would be on that
    scale. Whole numbers below 0, or of more than 16 bits, share one scale with those of 16 bits:
    files of one signed type are of both kinds, as their values happen to be.
    """
    ranges: dict[str, tuple[float, float]] = {}
    are_whole = True
    for image in images.values():
        low, high = ranges.get(image.dtype.name, (np.inf, -np.inf))
        ranges[image.dtype.name] = min(low, float(image.min())), max(high, float(image.max()))
        if image.dtype == np.float32:
            are_whole = are_whole and bool((image == np.round(image)).all())
    scale: Scale = {name: _bounds(name, *ranges[name], white) for name in TYPES if name in ranges}
    known = (0.0, 1.0), (0.0, white)
    if are_whole and ranges.keys() >= {"uint16", "float32"} and scale["float32"] not in known:
        lows, highs = zip(ranges["uint16"], ranges["float32"], strict=True)
        scale |= dict.fromkeys(("uint16", "float32"), (min(lows), max(highs)))
    if not is_bytes(scale):
        found.notes.extend(_told(name, *scale[name]) for name in scale)
    beside = scale.keys() - ({"uint16", "float32"} if are_whole else {"float32"})
    if beside and scale.get("float32", known[0]) not in known:
        low, high = scale["float32"]
        kind = "numbers" if are_whole else "fractions"
        found.problems.append(
            f"some images hold {kind} from {low:g} to {high:g}, others whole numbers of "
            f"{_listed_bits(beside)} bits: how bright these are beside them nobody knows; "
            "save all in one type, or the others in 0..1"
        )
    if white is not None:
        _require_within(ranges, white, found)
    else:
        _require_sure(images, ranges, scale, found)
    return scale


def _listed_bits(names: Iterable[str]) -> str:
    return " and ".join(name.removeprefix("uint") for name in TYPES if name in set(names))


def _require_within(
    ranges: Mapping[str, tuple[float, float]], white: float, found: Findings
) -> None:
    """Add a problem where a stated white is not that of all values."""
    for name in ranges.keys() - {"uint8"}:
        low, high = ranges[name]
        if low < 0 or high > white:
            found.problems.append(
                f"dataset.json: white {white:g}, and images hold values from {low:g} to {high:g}; "
                "state the value that is white in all of them, or leave it out"
            )


def _require_sure(
    images: Mapping[str, Array],
    ranges: Mapping[str, tuple[float, float]],
    scale: Scale,
    found: Findings,
) -> None:
    """Add a problem where images of 16 bits may have several whites, and nobody says which.

    Each would be as bright as its white makes it. Alone, they are at least all on one scale. What
    shows a white is values that no fewer bits can hold, or that pile up where one lies. Values that
    8 bits hold are of 8 bits: many programs save them so.
    """
    low, high = scale.get("uint16", (1.0, 1.0))
    if low:
        return
    highest = ranges["uint16"][1]
    ends = {name: white_of(image) for name, image in images.items() if image.dtype == np.uint16}
    is_sure = highest >= SURE or high in (*ends.values(), WHITE)
    if shorter := sorted(name for name, end in ends.items() if 0 < end < high):
        end = ends[shorter[0]]
        found.problems.append(
            f"images: the values of {len(shorter)} end at {end}, the white of {end.bit_length()} "
            f"bits ({listing(shorter)}), and others reach {highest:g}; save all with one depth, "
            f'or, if one value is white in all of them, say in dataset.json "white": {high:g}'
        )
    elif not is_sure and any(bounds != (low, high) for bounds in scale.values()):
        others = "8 bits" if "uint8" in scale else "fractions"
        found.problems.append(
            f"images: some hold 16 bits with values up to {highest:g}, others {others}: how bright "
            "these are beside each other nobody knows; save all with one depth, or say in "
            f'dataset.json which value is white in those of 16 bits, such as "white": {high:g}'
        )


def white_of(image: Array) -> int:
    """Return the largest value of an image where it is the white of a depth and pixels pile up.

    A sensor that sees more than it can count gives its largest number. 0 where none is to be seen.
    """
    top = int(image.max())
    if top not in {2**bits - 1 for bits in DEPTHS}:
        return 0
    at_top, below = (int(np.count_nonzero(image == value)) for value in (top, top - 1))
    return top if at_top > max(1, below) else 0


def _bounds(name: str, low: float, high: float, white: float | None) -> tuple[float, float]:
    if name == "uint8":
        return 0.0, WHITE
    if white is not None and not (name == "float32" and low >= 0 and high <= 1):
        return 0.0, white
    if name == "uint16":
        return 0.0, float(next(2**bits - 1 for bits in DEPTHS if high < 2**bits))
    return (0.0, 1.0) if low >= 0 and high <= 1 else (low, high)


def _told(name: str, low: float, high: float) -> str:
    if name == "uint16" and low == 0:
        bits = int(high).bit_length()
        stored = "" if bits == 16 else f" ({bits} of their 16 bits are used)"
        return f"16-bit images: 0 to {high:g} became 0 to 1{stored}"
    kinds = {"uint8": "8-bit images", "uint16": "16-bit images", "float32": "other images"}
    return f"{kinds[name]}: {low:g} to {high:g} became 0 to 1"


def to_unit(image: Array, bounds: tuple[float, float]) -> Array:
    """Return an image as float32, in which the two bounds are 0 and 1."""
    low, high = bounds
    if low == 0:
        scaled: Array = image.astype(np.float32)
        scaled /= np.float32(high or 1)
        return scaled
    # In double, since a range may exceed float32.
    unit = (image.astype(np.float64) - low) / (high - low if high > low else 1)
    return unit.astype(np.float32)


def all_scaled(
    images: Mapping[str, Array], found: Findings, white: float | None = None
) -> tuple[Scale, dict[str, Array]]:
    """Return the scale of a data set, and its images in that scale."""
    scale = find_scale(images, found, white)
    if is_bytes(scale):
        return scale, dict(images)
    scaled = {name: to_unit(image, scale[image.dtype.name]) for name, image in images.items()}
    found.doubts.extend(_gaps(images, scaled, scale))
    dim = [name for name, unit in scaled.items() if 0 < unit.max() <= DIM]
    if dim:
        found.doubts.append(
            f"images: {len(dim)} hold no more than a sixteenth of the largest value: "
            f"{listing(dim)}; if they are of fewer bits than the others, save all with one depth"
        )
    return scale, scaled


def _gaps(images: Mapping[str, Array], scaled: Mapping[str, Array], scale: Scale) -> Iterable[str]:
    """Yield a doubt for a scale whose ends lie far from nearly all values.

    A mark for missing pixels (-9999) or a defect one (65535) leaves little of the scale to the
    others: all images look alike then.
    """
    held = {kind: np.zeros(101, bool) for kind in scale}
    two_valued = dict.fromkeys(scale, True)
    for name, unit in scaled.items():
        kind = images[name].dtype.name
        held[kind][(100 * unit.clip(0, 1)).astype(np.uint8)] = True
        two_valued[kind] &= bool(((unit == 0) | (unit == 1)).all())
    for kind, (low, high) in scale.items():
        levels = np.flatnonzero(held[kind]) / 100
        gaps = np.diff(levels)
        if kind == "uint8" or two_valued[kind] or not len(gaps) or gaps.max() < GAP:
            continue
        start = levels[gaps.argmax()]
        ends = [low + (high - low) * part for part in (start + 0.01, start + gaps.max())]
        yield (
            f"images: of {low:g} to {high:g}, nothing lies between {ends[0]:g} and {ends[1]:g}: "
            "does an end stand for missing or defect pixels? Replace it by a usual value, "
            "since all others look alike on this scale"
        )
