"""Ways to divide named things between training, validation and test, where a format does not."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Final

import numpy as np

from unet_bench.limits import read_text

SPLITS: Final = ("train", "val", "test")

Splits = dict[str, list[str]]
"""Names by split."""


def seeded(
    names: Sequence[str], seed: int, problems: list[str], *, where: str, kind: str = "image"
) -> Splits:
    """Return 70/10/20 of the names by `seed`, at least one a split; too few are a problem.

    `where` and `kind` are what that problem calls the names.
    """
    splits = in_blocks(_shuffled(names, seed)[::-1], problems, where=where, kind=kind)
    return {split: sorted(held) for split, held in splits.items()}


def in_blocks(names: Sequence[str], problems: list[str], *, where: str, kind: str) -> Splits:
    """Return 70/10/20 in the order given, for sections of one stack.

    Neighbours in it look alike.
    """
    total = len(names)
    if total < 3:
        problems.append(f"{where}: {total} {kind}(s); three splits need at least three, add some")
    tests = total - max(1, round(0.2 * total))
    vals = tests - max(1, round(0.1 * total))
    return {
        "train": list(names[:vals]),
        "val": list(names[vals:tests]),
        "test": list(names[tests:]),
    }


def tenth(names: Sequence[str], seed: int) -> tuple[list[str], list[str]]:
    """Return an official training set without a seeded tenth, and that tenth to validate.

    Both are in the order given. Of a single name nothing is taken: the validation set is empty
    then.
    """
    count = max(1, round(0.1 * len(names))) if len(names) > 1 else 0
    taken = set(_shuffled(names, seed)[:count])
    return [name for name in names if name not in taken], [name for name in names if name in taken]


def _shuffled(names: Sequence[str], seed: int) -> list[str]:
    order = np.random.Generator(np.random.PCG64(seed)).permutation(len(names))
    return [names[index] for index in order]


def listed(file: Path, problems: list[str]) -> list[str]:
    """Return the stems that a split file names, one a line; none where there is no such file."""
    where = f"splits/{file.name}"
    if not file.exists():
        if file.stem != "val":  # recipes that test the last weights need none
            problems.append(
                f"{where}: no such file beside the others; add it, or remove them to split by seed"
            )
        return []
    try:
        lines = read_text(file).splitlines()
    except (OSError, ValueError) as error:
        problems.append(f"{where}: cannot be read ({error}); save it as UTF-8 text")
        return []
    stems = [line.strip() for line in lines if line.strip()]
    if not stems:
        problems.append(
            f"{where}: names no image; list one stem a line, or remove all split files "
            "to split by seed"
        )
    return stems
