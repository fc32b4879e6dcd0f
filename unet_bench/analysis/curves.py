"""Curves of training: loss and validation Dice against steps and seconds, and the time it takes to
a given Dice.

samples/accuracy-*.json of a run ─▶ one row per look of each cell ─▶ time to a target, plots
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from statistics import fmean
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from unet_bench.errors import InvalidSuite, StoreError
from unet_bench.stats.paired import clustered_mean
from unet_bench.store.run_folder import RunFolder, cell_stem
from unet_bench.store.schema import BY_NAME, CONDITIONS
from unet_bench.store.tables import read_results, records, typed_frame

if TYPE_CHECKING:
    pass

_KEY: Final = ("variant", "task", "seed", "fold", "status")
_CURVE: Final[Mapping[str, str]] = {
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
    rows = [
        {**{name: cell[name] for name in key}, **point}
        for cell in records(trained)
        for point in _points(run, cell)
    ]
    return typed_frame(rows, {**{name: BY_NAME[name].dtype for name in key}, **_CURVE})


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
    named = [str(name) for name in curves if name not in (*_CURVE, "seed", "fold", "status")]
    rows = []
    for key, group in curves.groupby(named, dropna=False, sort=False):
        cells = [
            _first(cell, target)
            for _, cell in group.groupby(["seed", "fold"], dropna=False, sort=False)
        ]
        hits = [(row["fold"], row) for row in cells if row is not None]
        row = {
            **dict(zip(named, key, strict=True)),
            "target": target,
            "reached": len(hits),
            "runs": len(cells),
        }
        if len(hits) == len(cells):
            row |= _geometric("seconds", [(fold, hit["seconds"]) for fold, hit in hits])
            row |= _geometric("steps", [(fold, hit["step"]) for fold, hit in hits])
        rows.append(row)
    return typed_frame(rows, {**{name: BY_NAME[name].dtype for name in named}, **_REACHED})


# ---- from files to rows


def _points(run: Path, cell: Row) -> Iterator[Row]:
    samples = _samples(run, cell)
    losses = [math.nan if loss is None else loss for loss in samples.get("losses", [])]
    end = {"step": len(losses), "seconds": samples.get("seconds")}
    evaluations = samples.get("looks") or [{"step": step} for step in range(1, len(losses))]
    if losses and (not evaluations or evaluations[-1]["step"] < len(losses)):
        evaluations = [*evaluations, end]
    before = 0
    for evaluation in evaluations:
        since = losses[before : evaluation["step"]]
        yield {name: evaluation.get(name) for name in _CURVE} | {
            "loss": fmean(since) if since else None
        }
        before = evaluation["step"]
    if not evaluations:
        yield {}


def _samples(run: Path, cell: Row) -> Row:
    # A variant of the same choices has the curve of the one that was measured in its place.
    own = cell["cell_id"].rpartition("-")[0] if cell["same_as"] else cell["cell_id"]
    file = RunFolder(run).samples_of(cell_stem("accuracy", own))
    if not file.is_file():
        return {}
    try:
        samples: Row = json.loads(file.read_text(encoding="utf-8"))
        _check(samples)
    except (OSError, ValueError, TypeError, KeyError, AttributeError) as error:
        raise StoreError(
            f"{file} holds no curve ({type(error).__name__}: {error}); delete it to read the others"
        ) from error
    return samples


def _check(samples: Row) -> None:
    """Raise TypeError or KeyError for what is not numbers where numbers belong."""
    for loss in samples["losses"]:
        if not isinstance(loss, int | float | None):
            raise TypeError(f"loss {loss!r}")
    for evaluation in samples.get("looks") or []:
        if not isinstance(evaluation["step"], int):
            raise TypeError(f"step {evaluation['step']!r}")


# ---- from rows to times


def _first(cell: pd.DataFrame, target: float) -> Row | None:
    """Return a cell's first evaluation that reached the target; None if none did."""
    return next(
        (row for row in records(cell) if row["val_dice"] is not None and row["val_dice"] >= target),
        None,
    )


def _geometric(name: str, values: Sequence[tuple[Any, float | None]]) -> Row:
    """Return the geometric mean and its interval; nothing if there is no interval."""
    logs = [(fold, math.log(value)) for fold, value in values if value is not None and value > 0]
    if len(logs) < max(2, len(values)):
        return {}
    return {
        f"{name}{end}": math.exp(x)
        for end, x in zip(("", "_ci_low", "_ci_high"), clustered_mean(logs), strict=True)
    }


# ---- from rows to pictures
