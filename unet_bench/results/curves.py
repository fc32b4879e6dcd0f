"""Curves of training: loss and validation Dice against steps and seconds, and the time it takes to a given Dice.

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
from rich.console import RenderableType

from unet_bench.errors import InvalidSuite, StoreError, unknown
from unet_bench.results.columns import BY_NAME, CONDITIONS
from unet_bench.results.paired import clustered_mean
from unet_bench.results.show import (
    FORMATS,
    Heading,
    Line,
    Section,
    as_json,
    as_markdown,
    as_table,
    figure,
    records,
)
from unet_bench.results.tables import csv_text, read_results, typed_frame
from unet_bench.variants import is_floor

if TYPE_CHECKING:
    from matplotlib.axes import Axes

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
    **{f"{name}{end}": "Float64" for name in ("seconds", "steps") for end in ("", "_ci_low", "_ci_high")},
}
_BARS: Final = "▁▂▃▄▅▆▇█"
_WIDTH: Final = 24  # characters of a curve in a table

Row = dict[str, Any]


def read_curves(run: str | Path) -> pd.DataFrame:
    """Every look of every training of a run's folder, in order: a row per cell and step.

    Columns: variant, task, whichever other conditions differ within the run, seed, fold, status, step (steps taken),
    seconds (of training), val_dice, val_loss, loss (mean training loss since the row before). Behind the last look
    stands where training ended; a cell that never looked has a row per step. A cell that left no curve is one row with
    its status. Raises StoreError for what is no run, or a file of samples that cannot be read.
    """
    run = Path(run)
    cells = read_results(run, "cells")
    of_training = (cells["probe"] == "accuracy").fillna(False)
    trained = cells[of_training & ~cells["variant"].map(is_floor, na_action="ignore").fillna(False).astype(bool)]
    apart = tuple(
        name for name in CONDITIONS if name not in ("task", "dataset_hash") and trained[name].nunique(dropna=False) > 1
    )
    key = (*_KEY[:2], *apart, *_KEY[2:])
    rows = [
        {**{name: cell[name] for name in key}, **point} for cell in records(trained) for point in _points(run, cell)
    ]
    return typed_frame(rows, {**{name: BY_NAME[name].dtype for name in key}, **_CURVE})


def time_to(curves: pd.DataFrame, target: float) -> pd.DataFrame:
    """Training time and steps to a validation Dice of at least `target`, of each variant × task of `read_curves`.

    `reached` of `runs` cells got there, at whichever look did first. Times differ by factors, so their mean is the
    geometric one; its 95 % interval is over seeds, or over folds if there are several. Without one, so of a single
    seed, or where not every cell got there, both are empty: the mean of the lucky ones would flatter.
    Raises InvalidSuite unless 0 < target <= 1.
    """
    if not 0 < target <= 1:
        raise InvalidSuite(f"target {target:g}: Dice is above 0 and at most 1; give one such as 0.8")
    named = [str(name) for name in curves if name not in (*_CURVE, "seed", "fold", "status")]
    rows = []
    for key, group in curves.groupby(named, dropna=False, sort=False):
        cells = [_first(cell, target) for _, cell in group.groupby(["seed", "fold"], dropna=False, sort=False)]
        hits = [(row["fold"], row) for row in cells if row is not None]
        row = {**dict(zip(named, key, strict=True)), "target": target, "reached": len(hits), "runs": len(cells)}
        if len(hits) == len(cells):
            row |= _geometric("seconds", [(fold, hit["seconds"]) for fold, hit in hits])
            row |= _geometric("steps", [(fold, hit["step"]) for fold, hit in hits])
        rows.append(row)
    return typed_frame(rows, {**{name: BY_NAME[name].dtype for name in named}, **_REACHED})


def plot(curves: pd.DataFrame, path: str | Path) -> None:
    """Draw validation Dice against seconds of training, a panel per task and a line per variant, into an image file.

    A line is the mean over seeds and folds at each look, in Dice and in seconds, its band the range of Dice.
    Raises StoreError without looks or for a file that cannot be written.
    """
    from matplotlib.figure import Figure

    looks = curves.dropna(subset=["seconds", "val_dice"])
    if looks.empty:
        raise StoreError("no curve to plot: nothing in this run was trained with looks at validation images")
    tasks = looks["task"].unique()
    drawing = Figure(figsize=(6.4, 4.0 * len(tasks)), layout="constrained")
    panels = drawing.subplots(len(tasks), squeeze=False)[:, 0]
    for axes, task in zip(panels, tasks, strict=True):
        _draw(axes, looks[looks["task"] == task])
        axes.set(title=task, xlabel="seconds of training", ylabel="validation Dice")
    try:
        drawing.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise StoreError(f"{path} cannot be written: {error}; give a file such as curves.png") from error


def render_curves(curves: pd.DataFrame, *, format: str = "table") -> RenderableType:
    """The frame of `read_curves`, in a table a line per cell; otherwise as text, in csv and JSON every row.

    Raises UnknownName.
    """
    caption = "one line a cell · best: highest validation Dice · curve: validation Dice against steps, 0 to 1"
    last = [_outline(cell) for _, cell in curves.groupby(_named(curves), dropna=False, sort=False)]
    headings = [
        Heading("seed", "seed"),
        Heading("fold", "fold"),
        Heading("step", "steps"),
        Heading("seconds", "seconds"),
        Heading("loss", "loss"),
        Heading("val_dice", "best", decimals=3),
        Heading("curve", "curve"),
    ]
    return _rendered(curves, last, headings, caption, format)


def render_times(times: pd.DataFrame, *, format: str = "table") -> RenderableType:
    """The frame of `time_to`: a rich renderable for `table`, text for `csv`, `md` and `json`. Raises UnknownName."""
    caption = (
        "time to a validation Dice of at least the target: geometric mean and its 95 % interval over seeds or folds; "
        "empty where not every run got there, or there is but one"
    )
    shown = [{**row, **_intervals(row), "reached": f"{row['reached']} of {row['runs']}"} for row in records(times)]
    headings = [
        Heading("target", "target"),
        Heading("reached", "reached"),
        Heading("seconds", "seconds"),
        Heading("steps", "steps"),
    ]
    return _rendered(times, shown, headings, caption, format)


# ---- from files to rows


def _points(run: Path, cell: Row) -> Iterator[Row]:
    samples = _samples(run, cell)
    losses = [math.nan if loss is None else loss for loss in samples.get("losses", [])]
    end = {"step": len(losses), "seconds": samples.get("seconds")}
    looks = samples.get("looks") or [{"step": step} for step in range(1, len(losses))]
    if losses and (not looks or looks[-1]["step"] < len(losses)):
        looks = [*looks, end]
    before = 0
    for look in looks:
        since = losses[before : look["step"]]
        yield {name: look.get(name) for name in _CURVE} | {"loss": fmean(since) if since else None}
        before = look["step"]
    if not looks:
        yield {}


def _samples(run: Path, cell: Row) -> Row:
    # A variant of the same choices has the curve of the one that was measured in its place.
    own = cell["cell_id"].rpartition("-")[0] if cell["same_as"] else cell["cell_id"]
    file = run / "samples" / f"accuracy-{own}.json"
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
    """Raises TypeError or KeyError for what is not numbers where numbers belong."""
    for loss in samples["losses"]:
        if not isinstance(loss, int | float | None):
            raise TypeError(f"loss {loss!r}")
    for look in samples.get("looks") or []:
        if not isinstance(look["step"], int):
            raise TypeError(f"step {look['step']!r}")


# ---- from rows to times


def _first(cell: pd.DataFrame, target: float) -> Row | None:
    """The first look of a cell at which the target was reached."""
    return next((row for row in records(cell) if row["val_dice"] is not None and row["val_dice"] >= target), None)


def _geometric(name: str, values: Sequence[tuple[Any, float | None]]) -> Row:
    """Geometric mean and interval; nothing without an interval."""
    logs = [(fold, math.log(value)) for fold, value in values if value is not None and value > 0]
    if len(logs) < max(2, len(values)):
        return {}
    return {
        f"{name}{end}": math.exp(x) for end, x in zip(("", "_ci_low", "_ci_high"), clustered_mean(logs), strict=True)
    }


# ---- from rows to pictures


def _draw(axes: Axes, looks: pd.DataFrame) -> None:
    named = [name for name in _named(looks) if name not in ("task", "seed", "fold", "status")]
    for key, rows in looks.groupby(named, dropna=False, sort=False):
        look = rows.groupby(["seed", "fold"], dropna=False).cumcount()  # steps differ where seconds are the budget
        at = rows.groupby(look).agg(
            x=("seconds", "mean"), y=("val_dice", "mean"), low=("val_dice", "min"), high=("val_dice", "max")
        )
        x, y, low, high = (at[name].to_numpy(dtype=float) for name in at)
        [line] = axes.plot(x, y, label=" · ".join(str(word) for word in key if word is not pd.NA))
        axes.fill_between(x, low, high, color=line.get_color(), alpha=0.2, linewidth=0)
    axes.legend(fontsize="small")


def _named(curves: pd.DataFrame) -> list[str]:
    """The columns that say which cell a row is of."""
    return [str(name) for name in curves if name not in _CURVE]


def _outline(cell: pd.DataFrame) -> Row:
    last = records(cell)[-1]
    dice = [row["val_dice"] for row in records(cell) if row["val_dice"] is not None]
    return {**last, "val_dice": max(dice, default=None), "curve": sparkline(dice) or None}


def sparkline(values: Sequence[float]) -> str:
    """Figures from 0 to 1 as bars, evenly thinned out to 24."""
    count = min(len(values), _WIDTH)
    picked = [values[round(i * (len(values) - 1) / max(count - 1, 1))] for i in range(count)]
    return "".join(_BARS[min(int(value * len(_BARS)), len(_BARS) - 1)] for value in picked)


def _intervals(row: Row) -> Row:
    """Means with the ends of their intervals as text, since on the logarithm these are not equally far."""
    return {
        name: None
        if row[name] is None
        else f"{row[name]:.3g} ({row[f'{name}_ci_low']:.3g} to {row[f'{name}_ci_high']:.3g})"
        for name in ("seconds", "steps")
    }


def _rendered(
    frame: pd.DataFrame, rows: Sequence[Row], headings: Sequence[Heading], caption: str, format: str
) -> RenderableType:
    if format not in FORMATS:
        raise unknown("format", format, FORMATS, "unet-bench curves --help")
    if format in ("csv", "json"):
        return csv_text(frame) if format == "csv" else as_json(frame)
    sections = [
        _section(task, [row for row in rows if row["task"] == task], headings)
        for task in dict.fromkeys(row["task"] for row in rows)
    ]
    return as_markdown(sections, caption) if format == "md" else as_table(sections, caption)


def _section(task: str, rows: Sequence[Row], headings: Sequence[Heading]) -> Section:
    shown = [heading for heading in headings if any(row.get(heading.column) is not None for row in rows)]
    apart = [name for name in CONDITIONS if name != "task" and name in rows[0]]
    return Section(task, tuple(heading.label for heading in shown), tuple(_line(row, shown, apart) for row in rows))


def _line(row: Row, headings: Sequence[Heading], apart: Sequence[str]) -> Line:
    words = [row["variant"], *(str(row[name]) for name in apart if row[name] is not None)]
    status = row.get("status")
    return Line(
        variant=" · ".join(words),
        is_baseline=False,
        figures=tuple(figure(row, heading) for heading in headings),
        best=(False,) * len(headings),
        problem="" if status in (None, "ok") else status,
    )
