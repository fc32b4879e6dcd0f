"""Ways to divide named things between training, validation and test, where a format does not."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from pathlib import Path
from typing import Final

import numpy as np

from unet_bench.data.decode import READ, ending_of, folded
from unet_bench.data.findings import Findings
from unet_bench.limits import read_text

SPLITS: Final = ("train", "val", "test")

Splits = dict[str, list[str]]
"""Names by split."""


def seeded(
    names: Sequence[str], seed: int, found: Findings, *, where: str, kind: str = "image"
) -> Splits:
    """Return 70/10/20 of the names by `seed`, at least one a split; too few are a problem.

    `where` and `kind` are what that problem calls the names.
    """
    splits = in_blocks(_shuffled(names, seed)[::-1], found, where=where, kind=kind)
    return {split: sorted(held) for split, held in splits.items()}


def in_blocks(names: Sequence[str], found: Findings, *, where: str, kind: str) -> Splits:
    """Return 70/10/20 in the order given, for sections of one stack.

    Neighbours in it look alike.
    """
    total = len(names)
    if total < 3:
        found.problems.append(
            f"{where}: {total} {kind}(s); three splits need at least three, add some"
        )
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


def complete(splits: Splits, seed: int, found: Findings) -> tuple[Splits, str]:
    """Return all three splits, and how they came about, where a data set has some of its own.

    Without test images the validation images test, and a seeded tenth of the training images
    validates: nothing is chosen on test images. Validation images may be missing: recipes that test
    the last weights need none. Training images alone are divided by `seed`.
    """
    if splits.get("train") and not splits.get("test") and not splits.get("val"):
        found.notes.append(
            f"only a train split is labelled: it is divided 70/10/20 into all three, by seed {seed}"
        )
        divided = seeded(splits["train"], seed, found, where="train")
        return divided, f"train divided 70/10/20, seed {seed}"
    if splits.get("test") or not splits.get("val"):
        return {split: splits.get(split, []) for split in SPLITS}, "files"
    train, val = tenth(splits.get("train", []), seed)
    by = f"files; val tests, and a seeded tenth of train validates (seed {seed})"
    found.notes.append(
        "there is no test split: the validation images test, and a tenth of the training images, "
        f"drawn by seed {seed}, validates"
    )
    return {"train": train, "val": val, "test": splits["val"]}, by


def listed(file: Path, names: Collection[str], found: Findings, hint: str = "") -> list[str]:
    """Return the images that a split file names: by stem, with an ending, a path, or a pair.

    A line that begins with # and names no image is a remark.
    """
    known = set(names)
    chosen = []
    for line in _lines(file, found):
        name = next((name for name in _meant(line) if name in known), None)
        if name is None and line.startswith("#"):
            continue
        if name is None:
            where = f"{file.parent.name}/{file.name}"
            example = f", such as {min(known)}" if known else ""
            remedy = hint or f"; name an image a line by its stem{example}"
            found.problems.append(f"{where}: no image has the stem {line!r}{remedy}")
        else:
            chosen.append(name)
            other = _paired(line, known)
            if other and other != name:
                found.problems.append(
                    f"{file.parent.name}/{file.name}: {line!r} names the mask of {other} beside "
                    f"{name}; masks are found by their names: name the image alone, or rename"
                )
    return chosen


def _paired(line: str, known: Collection[str]) -> str | None:
    """Return the image that the second file of a line is called as; None without.

    A name may have spaces in it, and what stands behind one may be a label.
    """
    words = re.split(r"[\s,;]+", line)
    if len(words) < 2 or not all(ending_of(word, READ) for word in words[:2]):
        return None
    return next((name for name in _meant(words[1]) if name in known), None)


def names_image(line: str, names: Collection[str]) -> bool:
    """Return whether a line of a text names one of the images."""
    return bool(line) and any(name in names for name in _meant(line))


def _meant(line: str) -> list[str]:
    """Return what a line of a split file may name: itself, without ending, path and second name."""
    first = re.split(r"[\s,;]+", line)[0]
    meant = []
    for text in (line, first):
        name = folded(text)
        # A path may lead to the images, and nowhere else.
        if "\\" in name or ".." in name or name.startswith("/"):
            meant.append(name)
            continue
        folder, _, file = name.removeprefix("./").rpartition("/")
        candidates = [name.removeprefix("./")]
        if "im" in folder.lower():
            candidates.append(file)
        for candidate in candidates:
            ending = ending_of(candidate, READ)
            meant += [candidate, candidate[: -len(ending)] if ending else candidate]
    return meant


def _lines(file: Path, found: Findings) -> list[str]:
    """Return the lines of a split file that are not empty."""
    where = f"{file.parent.name}/{file.name}"
    try:
        lines = read_text(file).splitlines()
    except (OSError, ValueError) as error:
        found.problems.append(f"{where}: cannot be read ({error}); save it as UTF-8 text")
        return []
    named = [line.strip() for line in lines if line.strip()]
    if not named:
        found.problems.append(
            f"{where}: names no image; list one stem a line, "
            "or remove all split files to split by seed"
        )
    return named
