"""Cross-validation: one data set as several, each of which tests on another part."""

from __future__ import annotations

import re
from dataclasses import replace
from itertools import chain
from pathlib import Path

import numpy as np

from unet_bench.data.dataset import Dataset, Sample
from unet_bench.data.findings import Findings, listing
from unet_bench.data.splits import listed, tenth
from unet_bench.errors import InvalidData, InvalidSuite
from unet_bench.limits import read_json


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
    """Return the folds that files name.

    They are `PREFIX.json`, see `_json_folds`, or, one stem a line, `splits/PREFIX_fold0_train.txt`,
    `…_val.txt` and `…_test.txt`. Without a test file the validation images are the test, and there
    is no validation. Raises InvalidData.
    """
    if file := folds_file(folder, prefix):
        return _json_folds(dataset, file)
    pattern = re.compile(rf"{re.escape(prefix)}_?fold(\d+)_(train|val|test)\.txt")
    files = {}
    for file in folder.glob("splits/*"):
        if named_fold := pattern.fullmatch(file.name):
            files[int(named_fold[1]), named_fold[2]] = file
    numbers = sorted({number for number, _ in files})
    if not numbers:
        raise InvalidData(
            f"{folder}/splits has no {prefix}_fold0_train.txt, and there is no {prefix}.json; "
            "give such files, or --folds 5 to make folds"
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


def folds_file(folder: Path, name: str) -> Path | None:
    """Return nnU-Net's file of folds, `NAME.json`: in the data set's folder, or the one inside it.

    Also in `nnUNet_preprocessed/DATASET`, beside the folder `nnUNet_raw` in which the data set
    lies. None where there is none.
    """
    if not re.fullmatch(r"[\w.-]+", name):
        return None
    try:
        inside = [child for child in sorted(folder.iterdir()) if child.is_dir()]
    except OSError:
        return None
    for place in (folder, *inside):
        prepared = place.resolve().parent.parent / "nnUNet_preprocessed" / place.resolve().name
        for candidate in (place / f"{name}.json", prepared / f"{name}.json"):
            if candidate.is_file():
                return candidate
    return None


def _json_folds(dataset: Dataset, file: Path) -> list[Dataset]:
    """Return the folds of a file as nnU-Net writes it: `[{"train": [CASE, …], "val": […]}, …]`.

    `val` tests. A tenth of `train`, drawn by the number of the fold, validates: nothing is chosen
    on test images. Raises InvalidData.
    """
    found = Findings(file.parent)
    try:
        stated = read_json(file)
    except (OSError, ValueError) as error:
        raise InvalidData(f"{file.name}: cannot be read ({error}); mend or remove it") from error
    folds = stated if isinstance(stated, list) else []
    if not folds or not all(_is_fold(fold) for fold in folds):
        raise InvalidData(
            f"{file.name}: must be a list of folds, each an object with lists of cases: "
            '[{"train": ["a", "b"], "val": ["c"]}]'
        )
    cases: dict[str, list[Sample]] = {}
    for sample in dataset.samples:
        cases.setdefault(sample.group or sample.name, []).append(sample)
    made = []
    for number, fold in enumerate(folds):
        unknown = sorted({*fold["train"], *fold["val"]} - cases.keys())
        shared = sorted({*fold["train"]} & {*fold["val"]})
        if unknown:
            found.problems.append(
                f"{file.name}: fold {number} names {listing(unknown)}, of which there is no image; "
                "mend it"
            )
        if shared:
            found.problems.append(
                f"{file.name}: fold {number} has {listing(shared)} in train and val; keep one"
            )
        if found.problems:
            continue
        parts = (*tenth(sorted(set(fold["train"])), number), sorted(set(fold["val"])))
        train, val, test = (tuple(chain(*(cases[name] for name in part))) for part in parts)
        by = f"{file.stem} fold {number} of {len(folds)}; val tests, a tenth of train validates"
        made.append(replace(dataset, train=train, val=val, test=test, split_by=by))
    found.refuse()
    return made


def _is_fold(fold: object) -> bool:
    """Return whether a fold has its two lists of names, neither of them empty."""
    if not isinstance(fold, dict):
        return False
    lists = [fold.get(split) for split in ("train", "val")]
    return all(
        isinstance(names, list) and names and all(isinstance(name, str) for name in names)
        for names in lists
    )
