"""Curves of training: loss and validation Dice against steps and seconds, and the time it takes to
a given Dice.

samples/accuracy-*.json of a run ─▶ one row per look of each cell ─▶ time to a target, plots
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from statistics import fmean
from typing import Any, Final

import pandas as pd

from unet_bench.errors import InvalidSuite, StoreError
from unet_bench.limits import entry, read_json, require_numbers
from unet_bench.stats.paired import clustered_mean
from unet_bench.store.run_folder import RunFolder, cell_stem
from unet_bench.store.schema import BY_NAME, CONDITIONS
from unet_bench.store.tables import read_results, records, typed_frame

_KEY: Final = ("variant", "task", "seed", "fold", "status")
_TRAINING: Final = ["seed", "fold"]
CURVE: Final[Mapping[str, str]] = {
    "step": "Int64",
    "seconds": "Float64",
    "val_dice": "Float64",
    "val_loss": "Float64",
    "loss": "Float64",
}
_REACHED: Final[Mapping[str, str]] = {
    "target": "Float64",
    "reached": "Int64",
    "runs": "Int64",
    **{
        f"{name}{end}": "Float64"
        for name in ("seconds", "steps")
        for end in ("", "_ci_low", "_ci_high")
    },
}

Row = dict[str, Any]


@dataclass(frozen=True)
class Point:
    """A training at one of its evaluations, or at its end."""

    step: int
    seconds: float | None = None
    val_dice: float | None = None
    val_loss: float | None = None
    loss: float | None = None


def read_curves(run: str | Path) -> pd.DataFrame:
    """Return every evaluation of every training of a run's folder.

    There is a row per cell and step, in order. Columns: variant, task, whichever other conditions
    differ within the run, seed, fold, status, step (steps taken), seconds (of training), val_dice,
    val_loss, loss (mean training loss since the row before). The last row of a cell says where
    training ended; a cell that was never evaluated has a row per step. A cell without a curve is
    one row with its status. Raises StoreError for what is no run, or a file of samples that cannot
    be read.
    """
    run = Path(run)
    cells = read_results(run, "cells")
    of_training = (cells["probe"] == "accuracy").fillna(False)
    trained = cells[of_training & ~cells["trivial"]]
    apart = tuple(
        name
        for name in CONDITIONS
        if name not in ("task", "dataset_hash") and trained[name].nunique(dropna=False) > 1
    )
    key = (*_KEY[:2], *apart, *_KEY[2:])
    rows: list[Row] = []
    for cell in records(trained):
        shared = {name: cell[name] for name in key}
        rows += [shared | vars(point) for point in _points(run, cell)] or [shared]
    return typed_frame(rows, {**{name: BY_NAME[name].dtype for name in key}, **CURVE})


def time_to(curves: pd.DataFrame, target: float) -> pd.DataFrame:
    """Return the training time and steps to a validation Dice of at least `target`.

    There is a row for each variant × task of `read_curves`. `reached` of `runs` cells got there;
    the first evaluation that did counts. Times differ by factors, so their mean is the geometric
    one. Its 95 % interval is over folds if there are several, else over seeds. Mean and interval
    are both empty for a single seed, and where a cell did not get there: a mean over the successful
    ones would flatter. Raises InvalidSuite unless 0 < target <= 1.
    """
    if not 0 < target <= 1:
        raise InvalidSuite(
            f"target {target:g}: Dice is above 0 and at most 1; give one such as 0.8"
        )
    named = [str(name) for name in curves if name not in (*CURVE, *_TRAINING, "status")]
    rows = []
    for key, group in curves.groupby(named, dropna=False, sort=False):
        is_reached = (group["val_dice"] >= target).fillna(False)
        hits = group[is_reached].drop_duplicates(_TRAINING)
        row = dict(zip(named, key, strict=True))
        runs = len(group.drop_duplicates(_TRAINING))
        row |= {"target": target, "reached": len(hits), "runs": runs}
        if len(hits) == runs:
            row |= _geometric("seconds", hits["fold"], hits["seconds"])
            row |= _geometric("steps", hits["fold"], hits["step"])
        rows.append(row)
    return typed_frame(rows, {**{name: BY_NAME[name].dtype for name in named}, **_REACHED})


def _geometric(name: str, folds: pd.Series[Any], values: pd.Series[Any]) -> Row:
    """Return the geometric mean and its interval; nothing if there is no interval."""
    positive = values[(values > 0).fillna(False)]
    if len(positive) < max(2, len(values)):
        return {}
    logs = list(zip(folds, map(math.log, positive), strict=True))
    ends = zip(("", "_ci_low", "_ci_high"), clustered_mean(logs), strict=True)
    return {f"{name}{end}": math.exp(x) for end, x in ends}


# ---- from files to points


def _points(run: Path, cell: Row) -> Iterator[Point]:
    """Yield the points of a cell's training, none where there is no curve.

    Raises StoreError for a file of samples of another shape.
    """
    # A variant of the same choices has the curve of the one that was measured in its place.
    measured = cell["cell_id"].rpartition("-")[0] if cell["same_as"] else cell["cell_id"]
    file = RunFolder(run).samples_of(cell_stem("accuracy", measured))
    if not file.is_file():
        return
    try:
        yield from _read(read_json(file))
    except (OSError, ValueError) as error:
        raise StoreError(f"{file} holds no curve: {error}; delete it to read the others") from error


def _read(samples: Any) -> Iterator[Point]:
    stated = entry(samples, "losses", list)
    losses = [math.nan if loss is None else loss for loss in stated]
    require_numbers("losses", (loss for loss in stated if loss is not None))
    evaluations = [_evaluation(one) for one in entry(samples, "looks", list, [])]
    points = evaluations or [Point(step) for step in range(1, len(losses))]
    if losses and (not points or points[-1].step < len(losses)):
        points.append(Point(len(losses), _number(samples, "seconds")))
    before = 0
    for point in points:
        since = losses[before : point.step]
        yield replace(point, loss=fmean(since) if since else None)
        before = point.step


def _evaluation(stated: Any) -> Point:
    values = (_number(stated, name) for name in ("seconds", "val_dice", "val_loss"))
    return Point(entry(stated, "step", int), *values)


def _number(of: Any, name: str) -> float | None:
    """Return an entry that may be null. Raises ValueError for one that is no number."""
    return None if of.get(name) is None else entry(of, name, float)
