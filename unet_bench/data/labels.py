"""What the values of masks mean: class names, class ids, and the value to ignore."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

import numpy as np

from unet_bench.data.dataset import IGNORE, Array
from unet_bench.limits import shown

NAME: Final = 100
"""Characters of a class's name: it is a row's label in every table."""

Classes = int | Sequence[str] | None
"""What a caller may say of the classes: their names, the background first; how many; or nothing."""


def class_names(classes: object, problems: list[str]) -> tuple[str, ...] | None:
    """Return class names from names, a count or nothing; None, and a problem, from all else."""
    if classes is None:
        return None
    if type(classes) is int and 2 <= classes <= IGNORE:
        return ("background", *(f"class {number}" for number in range(1, classes)))
    names = tuple(classes) if isinstance(classes, list | tuple) else ()
    are_text = all(isinstance(name, str) for name in names)
    if not are_text or not 2 <= len(set(names)) == len(names) <= IGNORE:
        problems.append(
            f"classes {shown(classes)}: give 2 to {IGNORE} different names, "
            "the background first, or how many"
        )
        return None
    for name in names:
        if len(name) > NAME or not name.isprintable():
            problems.append(
                f"class {shown(name)}: a name has at most {NAME} characters, "
                "all of them printable; rename it"
            )
            return None
    return names


def labelled(
    masks: dict[str, Array],
    declared: tuple[str, ...] | None,
    problems: list[str],
    *,
    ignore: int | None = None,
    where: str = "masks",
) -> tuple[tuple[str, ...], dict[str, Array]]:
    """Return the class names, and masks of class ids.

    255 becomes 1 where 0 is the only other class, and `ignore` becomes `IGNORE`. Without `declared`
    names the values decide, if they look like class ids; `where` is what a problem names.
    """
    values = {int(value) for mask in masks.values() for value in np.unique(mask)}
    two_classes = declared is None or len(declared) == 2
    binary = two_classes and IGNORE in values and values <= {0, IGNORE, ignore}
    names = declared or _scanned({0, 1} if binary else values - {IGNORE, ignore}, problems, where)
    return names, {stem: _ids(mask, binary, ignore) for stem, mask in masks.items()}


def _scanned(values: set[int], problems: list[str], where: str) -> tuple[str, ...]:
    """Return class names for the values that occur, where nobody declared any."""
    count = max(values, default=1) + 1
    # One-based ids, grey levels and stray values would make classes which nobody has; a class or
    # two may be absent.
    if values and (count < 2 or 0 not in values or 2 * len(values) < count):
        if values == {0}:
            problems.append(
                f"{where}: hold only 0, the background; "
                "declare how many classes there are (--classes 2)"
            )
            return ()
        some = ", ".join(map(str, sorted(values)[:10]))
        problems.append(
            f"{where}: values {some} are not class ids 0, 1, 2, …; "
            "renumber them or declare the classes"
        )
    return class_names(max(2, min(count, IGNORE)), problems) or ()


def _ids(mask: Array, binary: bool, ignore: int | None) -> Array:
    ids = np.where(mask == IGNORE, 1, mask) if binary else mask
    if ignore is not None:
        ids = np.where(mask == ignore, IGNORE, ids)
    fits = ids.min() >= 0 and ids.max() <= IGNORE
    return ids.astype(np.uint8, copy=False) if fits else ids
