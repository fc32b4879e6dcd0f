"""Plots for papers, by matplotlib, as SVG and PNG: the same bytes each time."""

from __future__ import annotations

import textwrap
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, Literal

from unet_bench.errors import StoreError
from unet_bench.present.plots import GREY, Axis, Entry, Plot, Point, Series

if TYPE_CHECKING:
    from matplotlib.axes import Axes
    from matplotlib.figure import Figure
    from matplotlib.text import Annotation

_DPI: Final = 200
_MARKERS: Final = {"": "none", "circle": "o", "circle-open": "o", "diamond": "D"}
_STYLES: Final = {"": "none", "solid": "-", "dash": "--", "dot": ":", "dashdot": "-."}
_TICKS: Final = (0.05, 0.1, 0.2, 0.3, 0.5, 0.7, 1, 1.5, 2, 3, 5, 7, 10, 20, 50, 100)
_NEAR: Final = 4  # points between a label and its point; one farther off is joined by a line
_PLACES: Final = tuple(
    (across * far, along * far)
    for far in (_NEAR, 14, 26)
    for along in (1, -1)
    for across in (1, -1)
)
"""Where a label may stand, from its point, the nearest first."""


def draw(plots: Sequence[Plot], width: float, height: float, *, is_row: bool = True) -> Figure:
    """Return plots beside or below one another; a row of forests shares its entries."""
    from matplotlib.figure import Figure

    rows, columns = (1, len(plots)) if is_row else (len(plots), 1)
    figure = Figure(figsize=(width, height), layout="constrained")
    shares_y = is_row and bool(plots[0].entries)
    panels = figure.subplots(rows, columns, squeeze=False, sharey=shares_y).ravel()
    for number, (axes, plot) in enumerate(zip(panels, plots, strict=True)):
        _panel(axes, _as_quotients(plot) if plot.x.is_change else plot, width / columns)
        if plot.entries and (number == 0 or not shares_y):
            _entries(axes, plot.entries)
    for axes, plot in zip(panels, plots, strict=True):
        _name(figure, axes, plot)
    return figure


def save(figure: Figure, file: Path) -> None:
    """Write a figure, the same bytes each time. Raises StoreError."""
    import matplotlib

    metadata = {"Date": None} if file.suffix == ".svg" else None
    try:
        with matplotlib.rc_context({"svg.hashsalt": "unet-bench"}):
            figure.savefig(file, dpi=_DPI, metadata=metadata)
    except (OSError, ValueError) as error:
        raise StoreError(
            f"{file} cannot be written: {error}; give a file such as {file.stem}.png"
        ) from error


def shortened(name: str, most: int = 36) -> str:
    """Return a name for a figure; dollar signs would be taken for mathematics."""
    text = " ".join(str(name).split()).replace("$", r"\$")
    return text if len(text) <= most else f"{text[: most - 1]}…"


# ---- a panel


def _as_quotients(plot: Plot) -> Plot:
    """Return changes in percent as quotients on a logarithmic axis: half is as far as double."""
    series = []
    for one in plot.series:
        points = (_as_quotient(point) for point in one.points if point)
        series.append(replace(one, points=tuple(points)))
    axis = Axis(plot.label, is_log=True, unit="×")
    return replace(plot, series=tuple(series), x=axis)


def _as_quotient(point: Point) -> Point:
    x, low, high = (1 + at / 100 for at in (point.x, *(point.x_ends or (0, 0))))
    return replace(point, x=x, x_ends=(low, high) if point.x_ends else None)


def _panel(axes: Axes, plot: Plot, width: float) -> None:
    axes.grid(alpha=0.25, lw=0.6)
    axes.tick_params(labelsize=7)
    for series in plot.series:
        if any(series.points):
            _draw(axes, series)
    most_ticks = 4 if plot.entries else 9
    _scale(axes, "x", plot.x, most_ticks)
    _scale(axes, "y", plot.y, most_ticks)
    if any(entry.is_heading for entry in plot.entries):
        axes.axvline(1 if plot.x.is_log else 0, color=GREY, lw=0.8)
    if plot.has_diagonal:
        limits = (*axes.get_xlim(), *axes.get_ylim())
        ends = [min(limits), max(limits)]
        axes.plot(ends, ends, color=GREY, lw=0.8, ls="--", label="equal")
    for height, text in plot.levels:
        axes.axhline(height, color=GREY, lw=0.8, ls="--")
        axes.annotate(
            shortened(text, 60),
            (0, height),
            (4, 2),
            xycoords=("axes fraction", "data"),
            textcoords="offset points",
            fontsize=7,
            color=GREY,
        )
    lines = textwrap.wrap(plot.title.replace("$", r"\$"), int(15 * width))
    axes.set_title("\n".join(lines), fontsize=7, color=GREY, loc="left")
    if axes.get_legend_handles_labels()[1] and not plot.entries:
        axes.legend(fontsize=6, framealpha=0.6, loc="best")


def _draw(axes: Axes, series: Series) -> None:
    points = [point for point in series.points if point]
    x, y = [point.x for point in points], [point.y for point in points]
    label = shortened(series.name) if series.in_legend else None
    look: dict[str, Any] = {"color": series.colour, "alpha": 0.9, "label": label}
    if series.is_band:
        ends = [point.y_ends or (point.y, point.y) for point in points]
        low, high = zip(*ends, strict=True)
        axes.fill_between(x, low, high, color=series.colour, alpha=0.2, linewidth=0)
    if series.is_step:
        axes.step(x, y, where="post", lw=0.8, **look)
    elif series.line:
        axes.plot(x, y, ls=_STYLES[series.line], lw=1.2, **look)
    else:
        look |= {"fmt": _MARKERS[series.marker], "ms": 4, "elinewidth": 0.7}
        if series.marker == "circle-open":
            look["markerfacecolor"] = "none"
        axes.errorbar(x, y, xerr=_bars(points, "x"), yerr=_bars(points, "y"), **look)


def _bars(points: Sequence[Point], axis: Literal["x", "y"]) -> list[list[float]] | None:
    """Return how far each interval reaches down and up; None where no point has one."""
    reaches = [point.reach(axis) or (0.0, 0.0) for point in points]
    sides = [[max(0.0, reach) for reach in side] for side in zip(*reaches, strict=True)]
    return sides if any(map(any, sides)) else None


def _scale(axes: Axes, name: str, of: Axis, most: int) -> None:
    """Set an axis' title and scale; the ticks of a logarithmic axis are plain numbers."""
    axis = getattr(axes, f"{name}axis")
    axis.set_label_text(f"{of.title} (log scale)" if of.is_log else of.title, fontsize=8)
    if not of.is_log:
        return
    getattr(axes, f"set_{name}scale")("log")
    low, high = axis.get_view_interval()
    ticks = [tick for tick in _TICKS if low < tick < high]
    if len(ticks) > most and low < 1 < high:  # evenly on either side of equal
        step = -(-len(ticks) // most)
        ticks = [tick for i, tick in enumerate(ticks) if (i - ticks.index(1)) % step == 0]
    if len(ticks) > 1:
        axis.set_ticks(ticks, [f"{tick:g}{of.unit}" for tick in ticks])
        axis.minorticks_off()


def _entries(axes: Axes, entries: Sequence[Entry]) -> None:
    texts = []
    for entry in entries:
        against = f": against {shortened(entry.beside, 24)}" if entry.is_heading else ""
        texts.append(shortened(entry.text) + against)
    axes.set_yticks(range(len(entries), 0, -1), texts)
    axes.set_ylim(0.5, len(entries) + 0.5)
    for text, entry in zip(axes.get_yticklabels(), entries, strict=True):
        text.set_fontweight("bold" if entry.is_heading else "normal")


# ---- names of points


def _name(figure: Figure, axes: Axes, plot: Plot) -> None:
    """Label points at whichever corner is free of points and labels, if any is."""
    if not plot.named:
        return
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.text import Text
    from matplotlib.transforms import Bbox

    canvas: Any = FigureCanvasAgg(figure)
    canvas.draw()
    renderer = canvas.get_renderer()
    drawn = [(point.x, point.y) for series in plot.series for point in series.points if point]
    centres = axes.transData.transform(drawn)
    taken = [Bbox.from_extents(x - 4, y - 4, x + 4, y + 4) for x, y in centres]
    taken += [text.get_window_extent() for text in axes.texts]
    inside = axes.get_window_extent()
    for point in plot.named:
        colour = next(s.colour for s in reversed(plot.series) if point in s.points)
        for offset in _PLACES:
            text = _label(axes, point, offset, colour)
            text.update_positions(renderer)
            box = Text.get_window_extent(text, renderer)  # without the line
            is_inside = inside.contains(*box.min) and inside.contains(*box.max)
            if is_inside and not any(box.overlaps(other) for other in taken):
                taken.append(box)
                break
            text.remove()


def _label(axes: Axes, point: Point, offset: tuple[float, float], colour: str) -> Annotation:
    across, along = offset
    leader = {"arrowstyle": "-", "lw": 0.5, "color": GREY, "shrinkB": 3}
    return axes.annotate(
        shortened(point.name),
        (point.x, point.y),
        offset,
        textcoords="offset points",
        fontsize=7,
        ha="left" if across > 0 else "right",
        va="bottom" if along > 0 else "top",
        arrowprops=leader if abs(across) > _NEAR else None,
        color=colour,
    )
