"""Figures for papers: accuracy against cost, effects of choices, predicted memory, curves."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Final

import pandas as pd

from unet_bench.analysis.curves import read_curves
from unet_bench.analysis.effects import effects
from unet_bench.analysis.summary import SETTING
from unet_bench.errors import StoreError
from unet_bench.present import plots
from unet_bench.present.curves import draw_curves
from unet_bench.present.draw_matplotlib import draw, save
from unet_bench.present.groups import Group, groups_of
from unet_bench.store.columns import Column
from unet_bench.store.runs import Runs
from unet_bench.store.schema import BY_NAME
from unet_bench.store.tables import records
from unet_bench.text_format import title

if TYPE_CHECKING:
    from matplotlib.figure import Figure

SUFFIXES: Final = (".svg", ".png")
_COSTS: Final = tuple(BY_NAME[name] for name in ("latency_ratio", "latency_ms", "params"))
"""What accuracy is drawn against: the first of these that two networks have."""
_FOREST: Final = ("latency_ratio", "peak_memory_mib", "params", "dice")
"""The figures of a forest plot."""
_LEGEND: Final = "95 % intervals; grey: cannot be told apart from no change, or no interval"


def write_figures(runs: Runs, folder: Path) -> list[Path]:
    """Draw what the runs have figures for into a folder; return the files. Raises StoreError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be written: {error}; give a folder for figures"
        ) from error
    written = []
    for name, drawing in drawings(runs):
        for suffix in SUFFIXES:
            written.append(folder / f"{name}{suffix}")
            save(drawing, written[-1])
    return written


def drawings(runs: Runs) -> Iterator[tuple[str, Figure]]:
    """Yield (name, figure) of all that can be drawn."""
    groups = groups_of(runs.results)
    for number, group in enumerate(groups):
        which = f"-{number + 1}" if len(groups) > 1 else ""
        if cost := cost_of(group):
            yield f"accuracy{which}", accuracy(group, cost)
        memory = [plot for plot in plots.memory([group]) if len(plot.series[0].points) > 1]
        if memory:
            yield f"memory{which}", draw(memory, 4.4 * len(memory), 4.2)
    forests = effect_figures(effects(runs).table)
    for number, drawing in enumerate(forests):
        yield f"effects-{number + 1}" if len(forests) > 1 else "effects", drawing
    for number, path in enumerate(runs.folders.values()):
        curves = read_curves(path)
        if curves["val_dice"].notna().any():
            which = f"-{number + 1}" if len(runs.folders) > 1 else ""
            yield f"curves{which}", draw_curves(curves)


def cost_of(group: Group) -> Column | None:
    """Return the column to draw accuracy against; None unless two networks have both."""
    measured = (cost for cost in _COSTS if len(group.scored(cost.name)) > 1)
    return next(measured, None)


def accuracy(group: Group, cost: Column) -> Figure:
    """Return Dice against a cost; the front and the baseline are named."""
    return draw([plots.accuracy_against(group, cost)], 7.2, 4.4)


def effect_figures(table: pd.DataFrame) -> list[Figure]:
    """Return, for each group of runs, how every choice changes figures against its reference."""
    known = table[table["change"].notna() & table["figure"].isin(_FOREST)]
    where = [name for name in ("env_id", "device_name", *SETTING) if name in known]
    figures = []
    for _, rows in known.groupby(where, dropna=False, sort=False):
        panels = plots.effects(records(rows), "")
        shared = {str(name): value for name, value in rows.iloc[0].dropna().items()}
        height = 0.9 + 0.17 * len(panels[0].entries)
        drawing = draw(panels, 2.4 + 1.7 * len(panels), height)
        drawing.suptitle(f"{title(shared, SETTING)}\n{_LEGEND}", fontsize=7, color=plots.GREY)
        figures.append(drawing)
    return figures
