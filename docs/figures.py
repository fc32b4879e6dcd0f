"""The picture on the README's first screen, from a run's results.csv.

python docs/figures.py results/reference/quick-cpu docs/quick-cpu.svg
"""

from __future__ import annotations

import sys
from pathlib import Path

import matplotlib

matplotlib.use("svg")
import matplotlib.pyplot as plt
import pandas as pd

from unet_bench import read_results

BLUE, GREY, RED = "#0072B2", "#8a8a8a", "#D55E00"  # told apart by colour-blind people, too


def accuracy_against_speed(frame: pd.DataFrame, out: Path) -> None:
    """Dice against the latency ratio to the baseline, each with its 95 % interval; the front is named."""
    floor = frame.loc[frame["variant"] == "floor-otsu", "dice"].dropna()
    frame = frame.dropna(subset=["latency_ratio", "dice"]).sort_values("latency_ratio")
    front = frame["dice"] > frame["dice"].cummax().shift(fill_value=-1)
    figure, axes = plt.subplots(figsize=(8, 4.6))
    for row, best in zip(frame.to_dict("records"), front, strict=True):
        baseline = row["variant"] == row["baseline"]
        colour = RED if baseline else BLUE if best else GREY
        x, y = row["latency_ratio"], row["dice"]
        axes.errorbar(
            x, y, xerr=spread(x, row, "latency_ratio_ci"), yerr=spread(y, row, "dice_ci"), fmt="o", ms=5, color=colour,
            elinewidth=0.8, alpha=0.9,
        )  # fmt: skip
        if baseline or best:
            axes.annotate(row["variant"], (x, y), (5, 6), textcoords="offset points", fontsize=8, color=colour)
    for dice in floor:
        axes.axhline(dice, color=GREY, lw=0.8, ls="--")
        axes.annotate("floor-otsu: no training", (1, dice), (-2, 3), xycoords=("axes fraction", "data"),
                      textcoords="offset points", fontsize=8, color=GREY, ha="right")  # fmt: skip
    axes.set_xscale("log")
    ticks = [
        tick for tick in (0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7) if axes.get_xlim()[0] < tick < axes.get_xlim()[1]
    ]
    axes.set_xticks(ticks, [f"{tick:g}×" for tick in ticks])
    axes.minorticks_off()
    first = frame.iloc[0]
    axes.set_xlabel("latency relative to unet, measured in turns (log scale)")
    axes.set_ylabel(f"Dice on test images ({first['task']})")
    axes.set_title(
        f"{len(frame)} U-Nets on {first['device_name']}: accuracy against speed, 95 % intervals", fontsize=10
    )
    axes.grid(alpha=0.25)
    figure.tight_layout()
    figure.savefig(out, metadata={"Date": None})


def spread(value: float, row: dict, name: str) -> list[list[float]] | None:
    """The interval as distances below and above a value; none where there is no interval."""
    low, high = row[f"{name}_low"], row[f"{name}_high"]
    return None if pd.isna(low) or pd.isna(high) else [[max(0.0, value - low)], [max(0.0, high - value)]]


if __name__ == "__main__":
    matplotlib.rcParams["svg.hashsalt"] = "unet-bench"
    accuracy_against_speed(read_results(sys.argv[1]), Path(sys.argv[2]))
