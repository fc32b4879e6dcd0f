"""Ways to divide named things between training, validation and test, where a format does not say
how.
"""

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
    """70/10/20 by `seed`, at least one name a split; `where` and `kind` are what a problem calls
    the names.
    """
    total = len(names)
    if total < 3:
        problems.append(f"{where}: {total} {kind}(s); three splits need at least three, add some")
    order = _shuffled(names, seed)
    tests, vals = _shares(total)
    return {
        "train": sorted(order[tests + vals :]),
        "val": sorted(order[tests : tests + vals]),
        "test": sorted(order[:tests]),
    }


def in_blocks(names: Sequence[str], problems: list[str], *, where: str, kind: str) -> Splits:
    """70/10/20 in the order given, for sections of one stack: neighbours look alike, so few may be
    parted.
    """
    total = len(names)
    if total < 3:
        problems.append(f"{where}: {total} {kind}(s); three splits need at least three, add some")
    tests, vals = _shares(total)
    first, second = total - tests - vals, total - tests
    return {
        "train": list(names[:first]),
        "val": list(names[first:second]),
        "test": list(names[second:]),
    }


def tenth(names: Sequence[str], seed: int) -> tuple[list[str], list[str]]:
    """An official training set without a seeded tenth, and that tenth, to validate; both in the
    order given.

    Of a single name nothing is taken: the validation set is empty then.
    """
    taken = (
        set(_shuffled(names, seed)[: max(1, round(0.1 * len(names)))]) if len(names) > 1 else set()
    )
    return [name for name in names if name not in taken], [name for name in names if name in taken]


def _shares(total: int) -> tuple[int, int]:
    return max(1, round(0.2 * total)), max(1, round(0.1 * total))


def _shuffled(names: Sequence[str], seed: int) -> list[str]:
    return [
        names[index] for index in np.random.Generator(np.random.PCG64(seed)).permutation(len(names))
    ]


def listed(file: Path, problems: list[str]) -> list[str]:
    """The stems that a split file names, one a line; none where there is no such file."""
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
            f"{where}: names no image; list one stem a line, or remove all split files to split by seed"
        )
    return stems
