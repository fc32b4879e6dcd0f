"""Figures for papers, by matplotlib: accuracy against cost, effects of choices, predicted memory,
training curves.

Each as SVG and PNG. Colours are told apart by colour-blind people (Okabe and Ito 2008); all axes
have units.
"""

from __future__ import annotations

import textwrap
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import pandas as pd

from unet_bench.analysis.curves import read_curves
from unet_bench.analysis.effects import effects
from unet_bench.analysis.summary import SETTING
from unet_bench.errors import StoreError
from unet_bench.present.curves import plot
from unet_bench.present.report.groups import Group, Row, groups_of, has, is_baseline
from unet_bench.store.runs import Runs
from unet_bench.store.schema import BY_NAME, INTERVALS
from unet_bench.text_format import title

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

SUFFIXES: Final = (".svg", ".png")
BLUE, GREY, RED = "#0072B2", "#707070", "#D55E00"
COSTS: Final = ("latency_ratio", "latency_ms", "params")
"""What accuracy is drawn against: the first of these that two networks have."""
FOREST: Final = {
    "latency_ratio": "latency",
    "peak_memory_mib": "peak memory",
    "params": "parameters",
    "dice": "Dice, difference",
}
"""The figures of a forest plot, and what their axes say."""
DPI: Final = 200
NEAR: Final = 4
"""Points between a label and its point; one farther off is joined to it by a line."""
_PLACES: Final = tuple(
    (
        (across * far, along * far),
        "left" if across > 0 else "right",
        "bottom" if along > 0 else "top",
    )
    for far in (NEAR, 14, 26)
    for along in (1, -1)
    for across in (1, -1)
)
_TICKS: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 20, 50, 100)


def write_figures(runs: Runs, folder: Path) -> list[Path]:
    """Draw what the runs have figures for into a folder, and return the files. Raises StoreError."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        written = []
        for name, drawing in drawings(runs):
            for suffix in SUFFIXES:
                written.append(folder / f"{name}{suffix}")
                save(drawing, written[-1])
        return written + list(_curves(runs, folder))
    except OSError as error:
        raise StoreError(
            f"{folder} cannot be written: {error}; give a folder for figures"
        ) from error


def save(drawing: Figure, file: Path) -> None:
    """Write a figure, the same bytes each time."""
    import matplotlib

    with matplotlib.rc_context({"svg.hashsalt": "unet-bench"}):
        drawing.savefig(file, dpi=DPI, metadata={"Date": None} if file.suffix == ".svg" else None)


def drawings(runs: Runs) -> Iterator[tuple[str, Figure]]:
    """(name, figure) of all that can be drawn."""
    groups = groups_of(runs.results)
    for number, group in enumerate(groups):
        which = f"-{number + 1}" if len(groups) > 1 else ""
        if cost := cost_of(group):
            yield f"accuracy{which}", accuracy_against(group, cost)
        if len(group.networks("predicted_memory_mib", "live_memory_mib")) > 1:
            yield f"memory{which}", memory(group)
    for number, (drawing, several) in enumerate(forests(effects(runs).table)):
        yield f"effects-{number + 1}" if several else "effects", drawing


def cost_of(group: Group) -> str:
    """The column that accuracy can be drawn against; empty where there are not two networks with
    both.
    """
    return next((name for name in COSTS if len(group.networks("dice", name)) > 1), "")


def accuracy_against(group: Group, cost: str) -> Figure:
    """Dice against a cost on a logarithmic axis, each with its 95 % interval; the front and the
    baseline are named.
    """
    drawing, [axes] = _paper(7.2, 4.4)
    rows = sorted(group.networks("dice", cost), key=lambda row: (row[cost], -row["dice"]))
    front, best = [], float("-inf")
    for row in rows:
        if row["dice"] > best:
            front.append(row)
            best = row["dice"]
    for row in rows:
        colour = RED if is_baseline(row) else BLUE if row in front else GREY
        _point(axes, row, cost, "dice", colour)
    axes.step(
        [row[cost] for row in front],
        [row["dice"] for row in front],
        where="post",
        color=BLUE,
        lw=0.8,
        alpha=0.6,
    )
    if untrained := max(group.trivial(), key=lambda row: row["dice"], default=None):
        axes.axhline(untrained["dice"], color=GREY, lw=0.8, ls="--")
        axes.annotate(
            f"{_short(untrained['variant'])}: no training",
            (0, untrained["dice"]),
            (4, 2),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            fontsize=7,
            color=GREY,
        )
    axes.set_xscale("log")
    _plain_ticks(axes, "×" if BY_NAME[cost].unit == "×" else "")
    axes.set(xlabel=axis_title(cost, group.first), ylabel="Dice on test images")
    _head(
        axes,
        f"{group.title}\n95 % intervals; blue: none beats it in both; orange: the baseline",
        110,
    )
    _name(drawing, axes, rows, [row for row in rows if row in front or is_baseline(row)], cost)
    return drawing


def memory(group: Group) -> Figure:
    """Peak memory as foreseen against as measured, inference and training, with the line on which
    both are equal.
    """
    drawing, [axes] = _paper(4.6, 4.4)
    ends = []
    for prefix, label, colour, marker in (
        ("", "inference", BLUE, "o"),
        ("train_", "training step", RED, "s"),
    ):
        names = f"predicted_{prefix}memory_mib", f"{prefix}live_memory_mib"
        rows = group.networks(*names)
        at = [[row[name] for row in rows] for name in names]
        axes.plot(at[0], at[1], marker, color=colour, ms=4, alpha=0.8, label=label)
        ends += [*at[0], *at[1]]
    span = [min(ends) * 0.8, max(ends) * 1.25]
    axes.plot(span, span, color=GREY, lw=0.8, ls="--", label="equal")
    axes.set(xscale="log", yscale="log", xlim=span, ylim=span)
    _head(axes, group.title, 64)
    axes.set(xlabel="foreseen peak, MiB", ylabel="measured peak of live tensors, MiB")
    axes.legend(fontsize=7, frameon=False)
    return drawing


def forests(table: pd.DataFrame) -> Iterator[tuple[Figure, bool]]:
    """For each group of runs what every choice changes against its reference; and whether there are
    several groups.
    """
    known = table[table["change"].notna()]
    where = [name for name in ("env_id", "device_name", *SETTING) if name in known]
    groups = [rows for _, rows in known.groupby(where, dropna=False, sort=False)]
    for rows in groups:
        figures = [name for name in FOREST if (rows["figure"] == name).any()]
        lines = list(_lines(rows))
        drawing, panels = _paper(2.4 + 1.7 * len(figures), 0.7 + 0.17 * len(lines), len(figures))
        for axes, figure in zip(panels, figures, strict=True):
            _forest(axes, rows[rows["figure"] == figure], lines, figure)
        panels[0].set_yticks(range(len(lines)), [label for label, _ in lines])
        for text, (_, row) in zip(panels[0].get_yticklabels(), lines, strict=True):
            text.set(fontweight="normal" if row else "bold")
        known_by = "95 % intervals; blue: better, orange: worse, grey: not told apart"
        shared = {str(name): value for name, value in rows.iloc[0].dropna().items()}
        drawing.suptitle(f"{title(shared, SETTING)}\n{known_by}", fontsize=7, color=GREY)
        yield drawing, len(groups) > 1


def _lines(rows: pd.DataFrame) -> Iterator[tuple[str, tuple[str, str] | None]]:
    """(label, slot and alternative) from top to bottom; above each slot's a heading, which is
    neither.
    """
    for _, of_slot in rows.groupby(["slot", "reference"], sort=False):
        slot, reference = (str(of_slot[name].iloc[0]) for name in ("slot", "reference"))
        yield f"{slot}: against {_short(reference, 24)}", None
        for alternative in dict.fromkeys(of_slot["alternative"]):
            yield _short(alternative), (slot, alternative)


def axis_title(name: str, row: Row) -> str:
    """A column's meaning and unit, for an axis."""
    words = {
        "latency_ratio": f"latency relative to {_short(row.get('baseline') or 'the baseline')}, timed in turns",
        "latency_ms": "latency of a batch, ms",
        "params": "parameters",
    }
    return f"{words.get(name, name)} (log scale)"


# ---- below


def _paper(width: float, height: float, panels: int = 1) -> tuple[Figure, list[Axes]]:
    from matplotlib.figure import Figure

    drawing = Figure(figsize=(width, height), layout="constrained")
    found = list(drawing.subplots(1, panels, squeeze=False, sharey=True)[0])
    for axes in found:
        axes.grid(alpha=0.25, lw=0.6)
        axes.tick_params(labelsize=7)
        axes.xaxis.label.set_size(8)
        axes.yaxis.label.set_size(8)
        axes.title.set_size(8)
    return drawing, found


def _point(axes: Axes, row: Row, x: str, y: str, colour: str) -> None:
    axes.errorbar(
        row[x], row[y], xerr=_reach(row, x), yerr=_reach(row, y), fmt="D" if is_baseline(row) else "o", ms=4,
        color=colour, elinewidth=0.7, alpha=0.9,
    )  # fmt: skip


def _reach(row: Row, name: str) -> list[list[float]] | None:
    """How far the interval reaches below and above the figure; none where there is no interval."""
    ends = INTERVALS.get(name)
    if ends is None or not all(has(row, end) for end in ends):
        return None
    return [[max(0.0, row[name] - row[ends[0]])], [max(0.0, row[ends[1]] - row[name])]]


def _forest(axes: Axes, rows: pd.DataFrame, lines: Sequence[tuple[str, Any]], figure: str) -> None:
    """Ratios on a logarithmic axis, so that half as much is as far from the middle as twice as
    much; Dice as it is.
    """
    relative = figure != "dice"
    places = {key: y for y, (_, key) in enumerate(lines) if key}
    high_is_good = BY_NAME[figure].better == "high"
    plain = rows.astype(dict.fromkeys(("change", "ci_low", "ci_high"), float))
    for row in plain.to_dict("records"):
        at, low, high = (relative + row[name] for name in ("change", "ci_low", "ci_high"))
        bar = (
            None if pd.isna(low) or pd.isna(high) else [[max(0.0, at - low)], [max(0.0, high - at)]]
        )
        colour = (
            (BLUE if (row["change"] > 0) == high_is_good else RED)
            if row["separable"] is True
            else GREY
        )
        y = places[row["slot"], row["alternative"]]
        axes.errorbar(at, y, xerr=bar, fmt="o", ms=3, color=colour, elinewidth=0.9)
    if relative:
        axes.set_xscale("log")
        _plain_ticks(axes, "×", most=4)
    axes.axvline(int(relative), color=GREY, lw=0.8)
    axes.set_xlabel(FOREST[figure])
    axes.set_ylim(len(lines) - 0.5, -0.5)


def _head(axes: Axes, title: str, width: int) -> None:
    lines = [
        line
        for part in title.replace("$", r"\$").splitlines()
        for line in textwrap.wrap(part, width)
    ]
    axes.set_title("\n".join(lines), fontsize=7, color=GREY, loc="left")


def _plain_ticks(axes: Axes, unit: str, most: int = 9) -> None:
    low, high = axes.get_xlim()
    ticks = [tick for tick in _TICKS if low < tick < high]
    if len(ticks) > most and low < 1 < high:  # evenly on either side of equal
        step = -(-len(ticks) // most)
        ticks = [tick for i, tick in enumerate(ticks) if (i - ticks.index(1)) % step == 0]
    if len(ticks) > 1:
        axes.set_xticks(ticks, [f"{tick:g}{unit}" for tick in ticks])
        axes.minorticks_off()


def _name(drawing: Figure, axes: Axes, rows: Iterable[Row], named: Iterable[Row], x: str) -> None:
    """Label rows at whichever corner is free of points and labels, the baseline first; without room
    none.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    canvas: Any = FigureCanvasAgg(drawing)
    canvas.draw()
    renderer = canvas.get_renderer()
    centres = axes.transData.transform([(row[x], row["dice"]) for row in rows])
    taken = [Bbox.from_extents(at[0] - 4, at[1] - 4, at[0] + 4, at[1] + 4) for at in centres]
    taken += [text.get_window_extent() for text in axes.texts]
    inside, leader = (
        axes.get_window_extent(),
        {"arrowstyle": "-", "lw": 0.5, "color": GREY, "shrinkB": 3},
    )
    for row in sorted(named, key=lambda row: not is_baseline(row)):
        for offset, across, along in _PLACES:
            text: Annotation = axes.annotate(
                _short(row["variant"]), (row[x], row["dice"]), offset, textcoords="offset points", fontsize=7,
                ha=across, va=along, arrowprops=leader if abs(offset[0]) > NEAR else None,
                color=RED if is_baseline(row) else BLUE,
            )  # fmt: skip
            text.update_positions(renderer)
            box = Text.get_window_extent(text, renderer)  # without the line
            fits = (
                inside.x0 <= box.x0
                and box.x1 <= inside.x1
                and inside.y0 <= box.y0
                and box.y1 <= inside.y1
            )
            if fits and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()


def _short(name: str, most: int = 36) -> str:
    """A name as it can stand beside a point; dollar signs would be taken for mathematics."""
    name = " ".join(str(name).split()).replace("$", r"\$")
    return name if len(name) <= most else f"{name[: most - 1]}…"


def _curves(runs: Runs, folder: Path) -> Iterator[Path]:
    for number, path in enumerate(runs.folders.values()):
        curves = read_curves(path)
        if curves["val_dice"].notna().any():
            which = f"-{number + 1}" if len(runs.folders) > 1 else ""
            for suffix in SUFFIXES:
                plot(curves, folder / f"curves{which}{suffix}")
                yield folder / f"curves{which}{suffix}"
