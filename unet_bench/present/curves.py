"""Training curves, and the time to a given Dice."""

from __future__ import annotations

from collections.abc import Sequence
from operator import itemgetter
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pandas as pd

from unet_bench.analysis.curves import CURVE
from unet_bench.errors import StoreError
from unet_bench.present.blocks import Block, Heading, Text
from unet_bench.present.document import Document, derived, table_of
from unet_bench.store.columns import Column
from unet_bench.store.figures import Row, grouped
from unet_bench.store.schema import CONDITIONS
from unet_bench.store.tables import records
from unet_bench.text_format import printable

if TYPE_CHECKING:
    from matplotlib.figure import Figure

_BARS: Final = "▁▂▃▄▅▆▇█"
_WIDTH: Final = 24  # characters of a curve in a table
_CURVES: Final = (
    derived("seed"),
    derived("fold"),
    derived("step", "steps"),
    derived("seconds"),
    derived("loss"),
    derived("val_dice", "best", decimals=3),
    derived("curve"),
)
_CURVES_LEGEND: Final = (
    "one line a cell · best: highest validation Dice · curve: validation Dice against steps, 0 to 1"
)
_TIMES: Final = (derived("target"), derived("reached"), derived("seconds"), derived("steps"))
_TIMES_LEGEND: Final = (
    "time to a validation Dice of at least the target: geometric mean and its 95 % interval over "
    "seeds or folds; empty where not every run got there, or there is only one"
)


def curves_document(curves: pd.DataFrame) -> Document:
    """Return the frame of `read_curves` as a document, a line for each cell."""
    cells = curves.groupby(cell_columns(curves), dropna=False, sort=False)
    rows = [_outline(records(cell)) for _, cell in cells]
    return _document(curves, rows, _CURVES, _CURVES_LEGEND)


def times_document(times: pd.DataFrame) -> Document:
    """Return the frame of `time_to` as a document, a line for each variant and target."""
    rows = [
        {
            **row,
            "seconds": _with_interval(row, "seconds"),
            "steps": _with_interval(row, "steps"),
            "reached": f"{row['reached']} of {row['runs']}",
        }
        for row in records(times)
    ]
    return _document(times, rows, _TIMES, _TIMES_LEGEND)


def plot(curves: pd.DataFrame, path: str | Path) -> None:
    """Draw validation Dice against seconds of training into an image file.

    Raises StoreError without evaluations, or for a file that cannot be written.
    """
    from unet_bench.present.draw_matplotlib import save

    if curves.dropna(subset=["seconds", "val_dice"]).empty:
        raise StoreError(
            "no curve to plot: no training of this run was evaluated on validation images"
        )
    save(draw_curves(curves), Path(path))


def draw_curves(curves: pd.DataFrame) -> Figure:
    """Return a figure with a panel for each task and a line for each variant."""
    from unet_bench.present.draw_matplotlib import draw
    from unet_bench.present.plots import mean_curves

    of_cell = ("task", "seed", "fold", "status")
    plots = mean_curves(curves, [name for name in cell_columns(curves) if name not in of_cell])
    return draw(plots, 6.4, 4.0 * len(plots), is_row=False)


def cell_columns(curves: pd.DataFrame) -> list[str]:
    """Return the columns that identify the cell of a row."""
    return [str(name) for name in curves if name not in CURVE]


def sparkline(values: Sequence[float]) -> str:
    """Return figures from 0 to 1 as bars, evenly thinned out to 24."""
    count = min(len(values), _WIDTH)
    step = (len(values) - 1) / max(count - 1, 1)
    picked = [values[round(i * step)] for i in range(count)]
    heights = (min(int(value * len(_BARS)), len(_BARS) - 1) for value in picked)
    return "".join(_BARS[height] for height in heights)


def _outline(cell: Sequence[Row]) -> Row:
    dice = [row["val_dice"] for row in cell if row["val_dice"] is not None]
    return {**cell[-1], "val_dice": max(dice, default=None), "curve": sparkline(dice) or None}


def _with_interval(row: Row, name: str) -> str | None:
    """Return a mean with both ends of its interval, which on the logarithm are not equally far."""
    if row[name] is None:
        return None
    return f"{row[name]:.3g} ({row[f'{name}_ci_low']:.3g} to {row[f'{name}_ci_high']:.3g})"


def _document(
    frame: pd.DataFrame, rows: Sequence[Row], columns: Sequence[Column], legend: str
) -> Document:
    apart = [name for name in CONDITIONS if name != "task" and name in frame]

    def name(row: Row) -> str:
        words = (row["variant"], *(row[name] for name in apart if row[name] is not None))
        return printable(" · ".join(map(str, words)))

    blocks: list[Block] = []
    for task, of_task in grouped(rows, itemgetter("task")).items():
        blocks += [Heading(task), table_of(of_task, columns, name=name, problem=_problem)]
    return Document("curves", (*blocks, Text(legend, "quiet")), frame)


def _problem(row: Row) -> str:
    status = row.get("status")
    return "" if status in (None, "ok") else str(status)
