"""Plots as plotly's JSON: plain dictionaries, made without plotly.

Text in a plot is read as a small dialect of HTML, therefore every name goes through `plain`.
"""

from __future__ import annotations

import html
import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Final, Literal

from unet_bench.present.groups import anchor, seen
from unet_bench.present.plots import (
    BLUE,
    GREY,
    Axis,
    Entry,
    Plot,
    Point,
    Series,
)

_PAPER: Final = "#f5f7f9"  # behind text; the page has it follow light and dark
_DARK: Final = "#20262d"
_CLEAR: Final = "rgba(0,0,0,0)"
_THOUSANDS: Final = ((1e9, " G"), (1e6, " M"), (1e3, " k"))

Json = dict[str, Any]


@dataclass(frozen=True)
class View:
    """One picture: of which group and of what, plotly's figure, what is named in it.

    `words` are for who cannot see it, `note` stands below it.
    """

    group: str
    label: str
    data: list[Json]
    layout: Json
    labels: list[Json]
    words: str
    note: str


def view(plot: Plot) -> View:
    """Return a plot as plotly draws it."""
    # The legend of a forest names what there might be, for which it needs a point, if in no place.
    stand_in = (None,) if plot.entries else ()
    data = [_trace(series, series.points or stand_in) for series in plot.series]
    if plot.has_diagonal:
        data.insert(0, _diagonal(plot))
    labels = [{"x": p.x, "y": p.y, "text": plain(p.name, 32)} for p in plot.named]
    note, words = seen(plot.note), seen(plot.words)
    return View(plot.group, plot.label, data, _layout(plot), labels, words, note)


def plain(text: object, most: int = 60) -> str:
    """Return text that stays text in a plot: no markup, nothing that turns it, not too long."""
    shown = seen(str(text))
    return html.escape(shown if len(shown) <= most else shown[: most - 1] + "…", quote=False)


# ---- series


def _trace(series: Series, points: Sequence[Point | None]) -> Json:
    modes = {"lines": series.line, "markers": series.marker}
    trace: Json = {
        "type": "scatter",
        "mode": "+".join(mode for mode, look in modes.items() if look),
        "name": plain(series.name),
        "x": [point.x if point else None for point in points],
        "y": [point.y if point else None for point in points],
        "showlegend": series.in_legend,
        "visible": True if series.is_visible else "legendonly",
    }
    if series.marker:
        symbol = {"color": series.colour, "size": series.size, "symbol": series.marker}
        trace["marker"] = {**symbol, "line": {"width": 0 if series.line else 1.5}}
    if series.line:
        shape = "hv" if series.is_step else "linear"
        width = 1.5 if series.marker or series.is_step else series.size
        line = {"color": series.colour, "width": width, "dash": series.line, "shape": shape}
        trace["line"] = line
    trace["error_x"] = _errors(points, "x", series.colour)
    trace["error_y"] = _errors(points, "y", series.colour)
    if series.marker and series.points:
        trace["text"] = [_hover(point) for point in points]
        names = (point.name if point else "" for point in points)
        trace["customdata"] = [anchor(name) if name else "" for name in names]
        trace["hovertemplate"] = "%{text}<extra></extra>"
    else:
        trace["hoverinfo"] = "skip" if series.is_step or not series.points else "name"
    return trace


def _hover(point: Point | None) -> str:
    if point is None or not point.about:
        return ""
    name, *more = (plain(line, 90) for line in point.about)
    return "<br>".join((f"<b>{name}</b>", *more))


def _errors(points: Sequence[Point | None], axis: Literal["x", "y"], colour: str) -> Json:
    """Return how far each point's interval reaches up and down; nothing without intervals."""
    reaches = [point.reach(axis) if point else None for point in points]
    return {
        **{"type": "data", "symmetric": False, "thickness": 1, "width": 0},
        "color": _faint(colour),
        "array": [reach and reach[1] for reach in reaches],
        "arrayminus": [reach and reach[0] for reach in reaches],
        "visible": any(reaches),
    }


def _diagonal(plot: Plot) -> Json:
    values = [value for point in _points(plot) for value in (point.x, point.y)]
    ends = [min(values) * 0.9, max(values) * 1.1]
    line = {"color": GREY, "width": 1, "dash": "dash"}
    trace = {"type": "scatter", "mode": "lines", "x": ends, "y": ends, "name": "equal"}
    return {**trace, "line": line, "hoverinfo": "skip"}


def _points(plot: Plot) -> list[Point]:
    return [point for series in plot.series for point in series.points if point]


# ---- layout


def _layout(plot: Plot) -> Json:
    """Return axes, lines and notes; the page sets the colours of text and grid."""
    x = _axis(plot.x, [point.x for point in _points(plot)], plot.levels)
    y = _axis(plot.y, [point.y for point in _points(plot)], plot.levels)
    named = [series for series in plot.series if series.in_legend]
    layout: Json = {
        **{"xaxis": x, "yaxis": y, "height": plot.height, "hovermode": "closest"},
        **{"showlegend": len(named) > 1 or any(series.line for series in named)},
        **{"paper_bgcolor": _CLEAR, "plot_bgcolor": _CLEAR},
        "margin": {"l": 56, "r": 16, "t": 12, "b": 48},
        "font": {"family": "system-ui, sans-serif", "size": 12},
        "hoverlabel": {
            **{"bgcolor": _DARK, "bordercolor": _DARK, "align": "left"},
            "font": {"color": "#ffffff"},
        },
        "modebar": {"bgcolor": _CLEAR, "color": GREY, "activecolor": BLUE},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    }
    if len(named) > 4:  # beside the plot
        layout["legend"] = {"font": {"size": 11}, "itemwidth": 30, "tracegroupgap": 0}
    if plot.entries:
        _add_entries(layout, plot.entries)
    if plot.levels:
        layout |= _levels(plot)
    return layout


def _axis(axis: Axis, values: Sequence[float], levels: Sequence[tuple[float, str]]) -> Json:
    settings: Json = {"title": {"text": axis.title, "standoff": 8}, "zeroline": False}
    settings["ticks"] = "outside"
    if axis.is_log:
        ticks = _round_ticks(min(values), max(values))
        settings |= {"type": "log", "tickvals": ticks, "ticktext": list(map(_tick, ticks))}
    if axis.from_zero:
        settings["rangemode"] = "tozero"
    if axis.is_score:
        options: Json = {"clipmin": -0.02, "clipmax": 1.02}
        if levels:
            options["include"] = [height for height, _ in levels]
        settings |= {"tickformat": ".2f", "autorangeoptions": options}
    return settings


def _round_ticks(least: float, most: float) -> list[float]:
    """Return round ticks of a logarithmic axis, the fewer the wider the figures are apart."""
    low, high = math.log10(least), math.log10(most)
    steps: tuple[float, ...] = (1,)
    if high - low < 1.2:
        steps = (1, 1.5, 2, 3, 5, 7)
    elif high - low < 2.5:
        steps = (1, 2, 5)
    powers = range(math.floor(low) - 1, math.ceil(high) + 1)
    return [step * 10.0**power for power in powers for step in steps]


def _tick(value: float) -> str:
    for size, unit in _THOUSANDS:
        if value > 9 * size:
            return f"{value / size:g}{unit}"
    return f"{value:g}"


def _levels(plot: Plot) -> Json:
    """Return dashed lines at these heights, and what they are."""
    line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "layer": "below"}
    look = {"color": GREY, "width": 1, "dash": "dash"}
    note = {
        **{"showarrow": False, "xref": "paper", "x": 1, "xanchor": "right", "yanchor": "bottom"},
        "font": {"size": 11},
    }
    return {
        "shapes": [{**line, "y0": y, "y1": y, "line": look} for y, _ in plot.levels],
        "annotations": [{**note, "y": y, "text": plain(text)} for y, text in plot.levels],
    }


def _add_entries(layout: Json, entries: Sequence[Entry]) -> None:
    """Add the entries at the left, from the top, with their notes and shaded headings."""
    places = list(range(len(entries), 0, -1))
    layout["yaxis"] |= {
        **{"tickvals": places, "ticktext": list(map(_entry_text, entries)), "ticks": ""},
        **{"range": [0.4, len(entries) + 1.0], "showgrid": False, "fixedrange": True},
        "automargin": True,
    }
    if not any(entry.is_heading for entry in entries):
        return
    layout["xaxis"] |= {"zeroline": True, "zerolinewidth": 2, "zerolinecolor": GREY}
    layout["margin"] |= {"r": 62}
    note = {"showarrow": False, "xref": "paper", "xanchor": "left", "font": {"size": 11}}
    count = {**note, "x": 1.01}
    # The paper behind a reference hides the line of no change.
    against = {**note, "x": 0.006, "bgcolor": _PAPER, "borderpad": 1}
    band = {"type": "rect", "xref": "paper", "x0": 0, "x1": 1, "layer": "below"}
    look = {"line": {"width": 0}, "fillcolor": _faint(GREY, 0.12)}
    layout["annotations"] = [{**count, "y": len(entries), "text": "n"}]
    layout["shapes"] = []
    for y, entry in zip(places, entries, strict=True):
        if entry.is_heading:
            text = f"against {plain(entry.beside, 40)}"
            layout["annotations"].append({**against, "y": y, "text": text})
            layout["shapes"].append({**band, **look, "y0": y - 0.5, "y1": y + 0.5})
        else:
            layout["annotations"].append({**count, "y": y, "text": plain(entry.beside)})


def _entry_text(entry: Entry) -> str:
    text = plain(entry.text, 32)
    return f"<b>{text}</b>" if entry.is_heading else text


def _faint(colour: str, share: float = 0.75) -> str:
    red, green, blue = (int(colour[i : i + 2], 16) for i in (1, 3, 5))
    return f"rgba({red}, {green}, {blue}, {share})"
