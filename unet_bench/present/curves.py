"""Training curves as text, and drawn."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pandas as pd
from rich.console import RenderableType

from unet_bench.errors import StoreError, unknown
from unet_bench.present.table import (
    FORMATS,
    Heading,
    Line,
    Section,
    as_json,
    as_markdown,
    as_table,
    figure,
)
from unet_bench.store.schema import CONDITIONS
from unet_bench.store.tables import csv_text, records

if TYPE_CHECKING:
    from matplotlib.axes import Axes
from unet_bench.analysis.curves import _CURVE, Row

_BARS: Final = "▁▂▃▄▅▆▇█"


_WIDTH: Final = 24  # characters of a curve in a table


def plot(curves: pd.DataFrame, path: str | Path) -> None:
    """Draw validation Dice against seconds of training, a panel per task and a line per variant,
    into an image file.

    A line is the mean over seeds and folds at each look, in Dice and in seconds, its band the range
    of Dice. Raises StoreError without looks or for a file that cannot be written.
    """
    from matplotlib.figure import Figure

    evaluations = curves.dropna(subset=["seconds", "val_dice"])
    if evaluations.empty:
        raise StoreError(
            "no curve to plot: nothing in this run was trained with looks at validation images"
        )
    tasks = evaluations["task"].unique()
    drawing = Figure(figsize=(6.4, 4.0 * len(tasks)), layout="constrained")
    panels = drawing.subplots(len(tasks), squeeze=False)[:, 0]
    for axes, task in zip(panels, tasks, strict=True):
        _draw(axes, evaluations[evaluations["task"] == task])
        axes.set(title=task, xlabel="seconds of training", ylabel="validation Dice")
    try:
        drawing.savefig(path, dpi=150)
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{path} cannot be written: {error}; give a file such as curves.png"
        ) from error


def render_curves(curves: pd.DataFrame, *, format: str = "table") -> RenderableType:
    """The frame of `read_curves`, in a table a line per cell; otherwise as text, in csv and JSON
    every row.

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
    """The frame of `time_to`: a rich renderable for `table`, text for `csv`, `md` and `json`.
    Raises UnknownName.
    """
    caption = (
        "time to a validation Dice of at least the target: geometric mean and its 95 % interval over seeds or folds; "
        "empty where not every run got there, or there is but one"
    )
    shown = [
        {**row, **_intervals(row), "reached": f"{row['reached']} of {row['runs']}"}
        for row in records(times)
    ]
    headings = [
        Heading("target", "target"),
        Heading("reached", "reached"),
        Heading("seconds", "seconds"),
        Heading("steps", "steps"),
    ]
    return _rendered(times, shown, headings, caption, format)


def _draw(axes: Axes, evaluations: pd.DataFrame) -> None:
    named = [name for name in _named(evaluations) if name not in ("task", "seed", "fold", "status")]
    for key, rows in evaluations.groupby(named, dropna=False, sort=False):
        evaluation = rows.groupby(
            ["seed", "fold"], dropna=False
        ).cumcount()  # steps differ where seconds are the budget
        at = rows.groupby(evaluation).agg(
            x=("seconds", "mean"),
            y=("val_dice", "mean"),
            low=("val_dice", "min"),
            high=("val_dice", "max"),
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
    """Means with the ends of their intervals as text, since on the logarithm these are not equally
    far.
    """
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
    shown = [
        heading for heading in headings if any(row.get(heading.column) is not None for row in rows)
    ]
    apart = [name for name in CONDITIONS if name != "task" and name in rows[0]]
    return Section(
        task,
        tuple(heading.label for heading in shown),
        tuple(_line(row, shown, apart) for row in rows),
    )


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
