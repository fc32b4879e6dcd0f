"""The tasks of a suite: each data set at each size and fold, in a file that workers read."""

from __future__ import annotations

from dataclasses import dataclass, field
from pathlib import Path

from unet_bench.data.dataset import Dataset, fit, with_fewer_scored, with_validation_scored
from unet_bench.data.folds import given_folds, seeded_folds
from unet_bench.data.labels import Classes
from unet_bench.data.sources import open_dataset, path_of
from unet_bench.errors import InvalidSize, StoreError
from unet_bench.plan.cost import Sizes
from unet_bench.registry.registry import Registry
from unet_bench.spec.cell import Task, digest
from unet_bench.spec.suite import Suite, parse_spacing
from unet_bench.text_format import DOUBT


@dataclass(frozen=True)
class LoadedTask:
    """A task and the file that its data lie in."""

    task: Task
    data: Path | None
    training: int = 1  # images to train on, and to validate on
    validation: int = 1
    sizes: Sizes = field(default_factory=dict)
    remarks: tuple[str, ...] = ()
    """What to know of the data: doubts whether they are read as they are meant, and notes."""


def read_tasks(
    suite: Suite, registry: Registry, folder: Path, *, selects: bool = True
) -> list[LoadedTask]:
    """Read and check every data set, at every size and fold, into files that workers read.

    `selects`: whether weights are chosen on validation images.
    Raises InvalidData, InvalidSize, StoreError.
    """
    tasks = []
    for name in suite.data:
        for size in suite.sizes():
            try:
                loaded = open_dataset(
                    registry,
                    name,
                    size=size,
                    classes=class_names(suite.classes),
                    max_megapixels=suite.max_megapixels,
                    orientation=suite.orientation,
                    spacing=parse_spacing(suite.spacing) if suite.spacing else (),
                )
                loaded = fit(loaded, size, suite.fit)  # type: ignore[arg-type]
            except MemoryError as error:
                raise InvalidSize(
                    f"data set {name} at {'x'.join(map(str, size))} does not fit into memory; "
                    "use a smaller size"
                ) from error
            folds = folds_of(suite, registry, loaded, name)
            if suite.score == "validation":
                folds = [with_validation_scored(fold, selects=selects) for fold in folds]
            if suite.eval_images:
                folds = [with_fewer_scored(fold, size, suite.eval_images) for fold in folds]
            is_single = len(folds) == 1
            content_hash = folds[0].hash if is_single else digest([fold.hash for fold in folds])
            for number, dataset in enumerate(folds):
                task = Task(
                    name=dataset.name,
                    dataset_hash=content_hash,
                    classes=dataset.classes,
                    in_channels=dataset.channels,
                    scored=size,
                    fit=suite.fit,
                    fold="" if is_single else f"{number}/{len(folds)}",
                )
                path = folder / f"{task.id}.npz"
                try:
                    dataset.save(path)
                except OSError as error:
                    raise StoreError(
                        f"{folder} cannot hold the data ({error}); free space there, or set TMPDIR"
                    ) from error
                counts, sizes = (len(dataset.train), len(dataset.val)), sizes_of(dataset)
                tasks.append(LoadedTask(task, path, *counts, sizes, remarks(dataset)))
    return tasks


def sizes_of(dataset: Dataset) -> Sizes:
    """Return the size of each image, by split."""
    return {
        split: tuple(sample.mask.shape for sample in samples)
        for split, samples in dataset.splits.items()
    }


def remarks(dataset: Dataset) -> tuple[str, ...]:
    """Return what to know of a data set, doubts first."""
    doubts = [f"data set {dataset.name}{DOUBT}{text}" for text in dataset.doubts]
    return (*doubts, *(f"data set {dataset.name}: {text}" for text in dataset.notes))


def folds_of(suite: Suite, registry: Registry, dataset: Dataset, name: str) -> list[Dataset]:
    """Return the data set itself, or its folds. Raises InvalidData, InvalidSuite."""
    if not suite.folds:
        return [dataset]
    if suite.folds.isdecimal():
        return seeded_folds(dataset, int(suite.folds))
    return given_folds(dataset, path_of(registry, name), suite.folds)


def class_names(classes: tuple[str, ...]) -> Classes:
    """Return what `--classes` says: how many, their names, `binary`, or nothing."""
    if classes == ("binary",):
        return "binary"
    is_count = len(classes) == 1 and classes[0].isdecimal()
    return int(classes[0]) if is_count else classes or None
