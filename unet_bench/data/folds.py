"""Cross-validation: one data set as several, each of which tests on another part."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from unet_bench.data.dataset import Dataset, Sample
from unet_bench.data.findings import Findings
from unet_bench.data.splits import listed
from unet_bench.errors import InvalidData, InvalidSuite


def seeded_folds(dataset: Dataset, count: int, seed: int = 0) -> list[Dataset]:
    """Return `count` data sets over all samples, whatever splits they were in.

    Fold i tests part i and validates on the next. What belongs together (the slices of a volume)
    stays together. Raises InvalidSuite for too many folds or too few.
    """
    groups: dict[str, list[Sample]] = {}
    for sample in sorted(dataset.samples, key=lambda sample: sample.name):
        groups.setdefault(sample.group or sample.name, []).append(sample)
    if not 3 <= count <= len(groups):
        of = "volumes" if any(sample.group for sample in dataset.samples) else "images"
        raise InvalidSuite(
            f"folds={count}: {dataset.name} has {len(groups)} {of}; "
            "from 3 folds (train, validation, test) to that many"
        )
    names = list(groups)
    parts: list[tuple[Sample, ...]] = [()] * count
    for place, index in enumerate(
        np.random.Generator(np.random.PCG64(seed)).permutation(len(names))
    ):
        parts[place % count] += tuple(groups[names[index]])
    folds = []
    for test in range(count):
        val = (test + 1) % count
        train = [part for number, part in enumerate(parts) if number not in (test, val)]
        by = f"fold {test} of {count}, seed {seed}"
        folds.append(
            replace(
                dataset, train=tuple(chain(*train)), val=parts[val], test=parts[test], split_by=by
            )
        )
    return folds


def given_folds(dataset: Dataset, folder: Path, prefix: str) -> list[Dataset]:
    """Return the folds that files name, one stem a line.

    The files are `splits/PREFIX_fold0_train.txt`, `…_val.txt` and `…_test.txt`. Without a test file
    the validation images are the test, and there is no validation. Raises InvalidData.
    """
    pattern = re.compile(rf"{re.escape(prefix)}_?fold(\d+)_(train|val|test)\.txt")
    files = {}
    for file in folder.glob("splits/*"):
        if named_fold := pattern.fullmatch(file.name):
            files[int(named_fold[1]), named_fold[2]] = file
    numbers = sorted({number for number, _ in files})
    if not numbers:
        raise InvalidData(
            f"{folder}/splits has no {prefix}_fold0_train.txt; give such files, "
            "or --folds 5 to make folds"
        )
    samples = {sample.name: sample for sample in dataset.samples}
    found = Findings(folder)
    left_out = "; those that splits/train.txt, val.txt and test.txt leave out are not read"

    def named(number: int, split: str) -> tuple[Sample, ...]:
        file = files.get((number, split))
        names = listed(file, samples, found, left_out) if file else []
        return tuple(samples[name] for name in names)

    folds = []
    for number in numbers:
        train, val, test = (named(number, split) for split in ("train", "val", "test"))
        found.refuse()
        val, test = (val, test) if test else ((), val)
        by = f"{prefix} fold {number} of {len(numbers)}"
        folds.append(replace(dataset, train=train, val=val, test=test, split_by=by))
    return folds
