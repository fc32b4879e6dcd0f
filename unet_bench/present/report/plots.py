"""The report's plots as plotly's JSON: plain dictionaries, made without plotly.

rows of groups, tables of effects and ranks, curves ─▶ views of a plot ─▶ JSON

Text in a plot is read as a small dialect of HTML, therefore every name goes through `plain`.
"""

from __future__ import annotations

import html
import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from itertools import cycle
from typing import Any, Final

import pandas as pd

from unet_bench.networks.choices import NAMES
from unet_bench.present.report.groups import Group, anchor, has, is_baseline, seen
from unet_bench.present.report.networks import differences
from unet_bench.present.table import EMPTY, HEADINGS, Heading, figure
from unet_bench.store.schema import INTERVALS
from unet_bench.store.tables import records

Row = Mapping[str, Any]

(
    BLUE,
    VERMILLION,
    GREEN,
    PURPLE,
    ORANGE,
    SKY,
    GREY,
) = (  # Okabe and Ito 2008: told apart by colour-blind people, too
    *("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7f7f7f"),
)
PAPER: Final = "#f5f7f9"  # behind text; the page has it follow light and dark
LINES: Final = (VERMILLION, BLUE, GREEN, PURPLE, ORANGE, SKY)
DASHES: Final = ("solid", "dash", "dot", "dashdot")

COSTS: Final[
    Mapping[str, tuple[str, str, float]]
] = {  # what it is called, its unit, and the factor to it
    "latency_ratio": ("latency relative to the baseline", "", 1),
    "latency_ms": ("latency of a batch", "ms", 1),
    "peak_memory_mib": ("peak memory of inference", "MiB", 1),
    "params": ("parameters", "M", 1e-6),
    "macs": ("multiply-accumulates of an image", "GMACs", 1e-9),
    "train_step_ratio": ("training step relative to the baseline", "", 1),
    "train_peak_memory_mib": ("peak memory of training", "MiB", 1),
}
MEMORY: Final[Mapping[str, tuple[str, str]]] = {
    "inference": ("predicted_memory_mib", "live_memory_mib"),
    "training step": ("predicted_train_memory_mib", "train_live_memory_mib"),
}
RELATIVE: Final = {  # figures of effects, as they are called; Dice is a difference
    "dice": "Dice",
    "latency_ratio": "latency",
    "throughput_ratio": "throughput",
    "train_step_ratio": "training step",
    "peak_memory_mib": "inference memory",
    "train_peak_memory_mib": "training memory",
    "params": "parameters",
    "macs": "MACs",
    "energy_ratio": "energy",
}
_HEADINGS: Final = {heading.column: heading for heading in HEADINGS}


@dataclass(frozen=True)
class View:
    """One picture of a plot: of which group and of what, plotly's figure, what is named in it, and
    in words.

    `words` are for who cannot see it, `note` stands below it.
    """

    group: str
    label: str
    data: list[dict[str, Any]]
    layout: dict[str, Any]
    labels: list[dict[str, Any]]
    words: str
    note: str = ""


def plain(text: object, most: int = 60) -> str:
    """Text that stays text in a plot: no markup, no characters that turn its direction, of bounded
    length.
    """
    shown = seen(str(text))
    return html.escape(shown if len(shown) <= most else shown[: most - 1] + "…", quote=False)


# ---- accuracy against cost


def pareto(groups: Sequence[Group]) -> list[View]:
    """Dice against each cost that was measured: networks with their intervals, the front joined,
    trivial baselines as lines.
    """
    return [
        _pareto(group, cost)
        for group in groups
        for cost in COSTS
        if any(row[cost] > 0 for row in group.scored(cost))
    ]


def front(rows: Sequence[Row], cost: str) -> list[Row]:
    """The networks that no cheaper one equals in Dice, the cheapest first."""
    found: list[Row] = []
    for row in sorted(rows, key=lambda row: (row[cost], -row["dice"])):
        if not found or row["dice"] > found[-1]["dice"]:
            found.append(row)
    return found


def _pareto(group: Group, cost: str) -> View:
    title, unit, factor = COSTS[cost]
    axis = title + f", {unit}" * bool(unit)
    rows = [row for row in group.scored(cost) if row[cost] > 0]
    best = front(rows, cost)
    names = {row["variant"] for row in best}
    baseline = [row for row in rows if is_baseline(row)]
    others = [row for row in rows if row["variant"] not in names and not is_baseline(row)]
    ahead = [row for row in best if not is_baseline(row)]
    steps = {
        **{"type": "scatter", "mode": "lines", "hoverinfo": "skip", "showlegend": False},
        "x": [factor * row[cost] for row in best],
        "y": [row["dice"] for row in best],
        "line": {"color": BLUE, "width": 1.5, "shape": "hv", "dash": "dot"},
    }
    data = [
        steps,
        _points(
            group, others, cost, "network", {"color": GREY, "size": 8, "symbol": "circle-open"}
        ),
        _points(group, ahead, cost, "on the front of these two axes", {"color": BLUE, "size": 9}),
        _points(
            group,
            baseline,
            cost,
            "baseline",
            {"color": VERMILLION, "size": 11, "symbol": "diamond"},
        ),
    ]
    low, high = min(row["dice"] for row in rows), max(row["dice"] for row in rows)
    reach = 0.3 * max(high - low, 0.02)
    trivial = group.trivial(
        low - reach
    )  # one far below says nothing, and would press the networks together
    layout = _layout(
        _log(axis, [factor * row[cost] for row in rows]),
        _axis("Dice on test images", **_dice(trivial)),
        height=480,
        legend=True,
    )
    layout |= _trivial_lines(trivial, "no training")
    labels = [
        {"x": factor * row[cost], "y": row["dice"], "text": plain(row["variant"], 32)}
        for row in [*baseline, *reversed(ahead)]
    ]
    joined = ", ".join(f"{row['variant']} ({row['dice']:.3f})" for row in best)
    words = f"Dice of {_count(rows)} against {axis}. On the front, from the cheapest to the best: {joined}."
    note = (
        f"Dice on test images against {title} (log scale): {len(best)} of {_count(rows)} "
        f"{'is' if len(best) == 1 else 'are'} on the front of these two axes: none of lower cost has as high a Dice."
    )
    return View(group.label, title, data, layout, labels, words, note)


def _count(rows: Sequence[object]) -> str:
    return f"{len(rows)} network{'s' * (len(rows) != 1)}"


def _dice(trivial: Sequence[Row], low: float = -0.02, high: float = 1.02) -> dict[str, Any]:
    """What an axis of Dice has: the lines of these trivial baselines are within it."""
    options = {
        "clipmin": low,
        "clipmax": high,
        **({"include": [row["dice"] for row in trivial]} if trivial else {}),
    }
    return {"tickformat": ".2f", "autorangeoptions": options}


def _points(
    group: Group, rows: Sequence[Row], cost: str, name: str, marker: dict[str, Any]
) -> dict[str, Any]:
    return {
        **{
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "marker": {**marker, "line": {"width": 1.5}},
        },
        "x": [COSTS[cost][2] * row[cost] for row in rows],
        "y": [row["dice"] for row in rows],
        "error_x": _errors(rows, cost, marker["color"]),
        "error_y": _errors(rows, "dice", marker["color"]),
        "text": [_hover(row, group, ("dice", cost)) for row in rows],
        "customdata": [anchor(row["variant"]) for row in rows],
        "hovertemplate": "%{text}<extra></extra>",
    }


def _errors(rows: Sequence[Row], name: str, colour: str) -> dict[str, Any]:
    """How far each figure's interval reaches up and down; nothing where there is none."""
    low, high = INTERVALS.get(name, ("", ""))
    up = [row[high] - row[name] if has(row, high) else None for row in rows]
    down = [row[name] - row[low] if has(row, low) else None for row in rows]
    return {
        **{"type": "data", "symmetric": False, "thickness": 1, "width": 0, "color": _faint(colour)},
        **{"array": up, "arrayminus": down, "visible": any(x is not None for x in up)},
    }


def _hover(row: Row, group: Group, names: Iterable[str]) -> str:
    """A network in a few lines: its figures, and what differs from the baseline."""
    figures = [f"{_label(name)} {plain(figure(row, _heading(name)))}" for name in names]
    differs = [
        f"{plain(name)}: {plain(value, 40)}" + f" <i>({plain(theirs, 30)})</i>" * bool(theirs)
        for name, value, theirs in differences(row, group.baseline)
    ]
    quality = [f"<i>{plain(row['quality'])}</i>"] * (row.get("quality") not in (None, "clean"))
    more = [f"and {len(differs) - 8} more"] * (len(differs) > 8)
    return "<br>".join([f"<b>{plain(row['variant'])}</b>", *figures, *quality, *differs[:8], *more])


def _heading(name: str) -> Heading:
    return _HEADINGS.get(name) or Heading(name, name)


def _label(name: str) -> str:
    return _heading(name).label if name != "latency_ratio" else "latency ratio"


# ---- what a choice is worth


def effects(table: pd.DataFrame, group: str) -> list[View]:
    """A forest of each figure: an alternative a line, its change against the reference with the 95
    % interval.
    """
    rows = [row for row in records(table) if has(row, "change")]
    order = {name: i for i, name in enumerate(NAMES)}
    found = []
    for name, title in RELATIVE.items():
        mine = [row for row in rows if row["figure"] == name]
        mine.sort(
            key=lambda row: (
                order.get(row["slot"].split("+")[0], len(order)),
                row["slot"],
                row["change"],
            )
        )
        if mine:
            found.append(_forest(mine, group, title, 1.0 if name == "dice" else 100.0))
    return found


def _forest(rows: Sequence[Row], group: str, title: str, factor: float) -> View:
    """From the top: a slot and its reference as a heading, below it a line per alternative."""
    unit = "difference in Dice" if factor == 1 else f"change in {title}, %"
    lines: list[
        tuple[str, Row, bool]
    ] = []  # what stands at the left, the row, whether it is a heading
    headed = ("", "")
    for row in rows:
        if headed != (headed := (row["slot"], row["reference"])):
            lines.append((f"<b>{plain(row['slot'], 30)}</b>", row, True))
        lines.append((plain(row["alternative"], 26), row, False))
    places = range(len(lines), 0, -1)
    at = {id(row): y for y, (_, row, heads) in zip(places, lines, strict=True) if not heads}
    headings = {y: row for y, (_, row, heads) in zip(places, lines, strict=True) if heads}
    layout = _layout(
        _axis(unit, zeroline=True, zerolinewidth=2, zerolinecolor=GREY),
        _axis(
            "",
            **{"tickvals": list(places), "ticktext": [text for text, *_ in lines], "ticks": ""},
            **{
                "range": [0.4, len(lines) + 0.6],
                "showgrid": False,
                "fixedrange": True,
                "automargin": True,
            },
        ),
        height=118 + 21 * len(lines),
        legend=True,
    )
    layout["margin"] |= {"r": 62}
    note = {"showarrow": False, "xref": "paper", "font": {"size": 11}}
    count = {**note, "x": 1.01, "xanchor": "left"}
    start = {
        **note,
        "x": 0.006,
        "xanchor": "left",
        "bgcolor": PAPER,
        "borderpad": 1,
    }  # hides the line of no change
    layout["annotations"] = [
        *({**count, "y": at[id(row)], "text": str(row["units"] or EMPTY)} for row in rows),
        {**count, "y": len(lines), "text": "n"},
        *(
            {**start, "y": y, "text": f"against {plain(row['reference'], 40)}"}
            for y, row in headings.items()
        ),
    ]
    layout["shapes"] = [
        {
            **{
                "type": "rect",
                "xref": "paper",
                "x0": 0,
                "x1": 1,
                "layer": "below",
                "line": {"width": 0},
            },
            **{"y0": y - 0.5, "y1": y + 0.5, "fillcolor": _faint(GREY, 0.12)},
        }
        for y in headings
    ]
    sure = [row for row in rows if row.get("separable")]
    unsure = [row for row in rows if not row.get("separable")]
    bare = [row for row in unsure if not has(row, "ci_low")]
    other = (
        "not separable"
        if not bare
        else "not separable, or no interval"
        if bare != rows
        else "no intervals"
    )
    trained = "no intervals: one seed" if factor == 1 and bare == rows else other
    data = [
        _estimates(sure, at, factor, "separable from 0", {"color": BLUE, "size": 9}),
        _estimates(
            unsure, at, factor, trained, {"color": GREY, "size": 9, "symbol": "circle-open"}
        ),
    ]
    words = f"{title}: " + "; ".join(
        f"{row['slot']} {row['alternative']} against {row['reference']} {change(row, factor)}"
        for row in rows
    )
    said = (
        "No intervals: one seed cannot say how far another would move Dice."
        if trained != other
        else ""
    )
    return View(group, title, data, layout, [], words, said)


def _estimates(
    rows: Sequence[Row], at: Mapping[int, int], factor: float, name: str, marker: dict[str, Any]
) -> dict[str, Any]:
    if (
        not rows
    ):  # a legend names what there might be, for which a trace needs a point, if in no place
        hollow: dict[str, Any] = {
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "x": [None],
            "y": [None],
        }
        return {**hollow, "marker": {**marker, "line": {"width": 1.5}}, "hoverinfo": "skip"}
    low = [row["change"] - row["ci_low"] if has(row, "ci_low") else None for row in rows]
    high = [row["ci_high"] - row["change"] if has(row, "ci_high") else None for row in rows]
    return {
        **{
            "type": "scatter",
            "mode": "markers",
            "name": name,
            "marker": {**marker, "line": {"width": 1.5}},
        },
        "x": [factor * row["change"] for row in rows],
        "y": [at[id(row)] for row in rows],
        "error_x": {
            **{
                "type": "data",
                "symmetric": False,
                "thickness": 1.5,
                "width": 0,
                "color": marker["color"],
            },
            "arrayminus": [None if reach is None else factor * reach for reach in low],
            "array": [None if reach is None else factor * reach for reach in high],
        },
        "text": [
            f"<b>{plain(row['slot'])}: {plain(row['alternative'], 40)}</b> against {plain(row['reference'], 40)}<br>"
            f"{change(row, factor)}<br>{row.get('units') or EMPTY} context{'s' * (row.get('units') != 1)}, "
            f"by {plain(row.get('basis') or EMPTY)}"
            for row in rows
        ],
        "hovertemplate": "%{text}<extra></extra>",
    }


def change(row: Row, factor: float) -> str:
    """An effect in words: +12 % (9.1 to 15)."""
    ends = [
        row["change"],
        *([row["ci_low"], row["ci_high"]] if has(row, "ci_low") and has(row, "ci_high") else []),
    ]
    middle, *rest = (f"{factor * x:+.3f}" if factor == 1 else f"{factor * x:+.3g}" for x in ends)
    interval = f" ({' to '.join(rest)})" if rest and len({middle, *rest}) > 1 else ""
    return middle + " %" * (factor != 1) + interval


# ---- ranks over data sets


def ranks(table: pd.DataFrame, distance: float | None, group: str, label: str) -> View | None:
    """Mean ranks as points on a line, the critical difference as a bar; None where no variant has a
    rank.
    """
    rows = sorted(
        (row for row in records(table) if has(row, "mean_rank")), key=lambda row: row["mean_rank"]
    )
    if not rows:
        return None
    places = list(range(len(rows), 0, -1))
    ticks = {
        "tickvals": places,
        "ticktext": [plain(row["variant"], 32) for row in rows],
        "showgrid": False,
    }
    layout = _layout(
        _axis("mean rank over data sets (1 is best)"),
        _axis("", **ticks, automargin=True),
        height=110 + 20 * len(rows),
    )
    data: list[dict[str, Any]] = [
        {
            **{
                "type": "scatter",
                "mode": "markers",
                "marker": {"color": BLUE, "size": 9},
                "showlegend": False,
            },
            "x": [row["mean_rank"] for row in rows],
            "y": places,
            "customdata": [anchor(row["variant"]) for row in rows],
            "text": [
                f"<b>{plain(row['variant'])}</b><br>mean rank {row['mean_rank']:.2f}"
                for row in rows
            ],
            "hovertemplate": "%{text}<extra></extra>",
        }
    ]
    if distance is not None and math.isfinite(distance):
        start = rows[0]["mean_rank"]
        data.append(
            {
                **{
                    "type": "scatter",
                    "mode": "lines",
                    "x": [start, start + distance],
                    "y": [len(rows) + 0.7] * 2,
                },
                **{
                    "line": {"color": VERMILLION, "width": 4},
                    "name": f"critical difference {distance:.2f}",
                },
                "hoverinfo": "name",
            }
        )
        layout["showlegend"] = True
    words = "Mean ranks: " + ", ".join(f"{row['variant']} {row['mean_rank']:.2f}" for row in rows)
    return View(group, label, data, layout, [], words)


# ---- memory


def memory(groups: Sequence[Group]) -> list[View]:
    """Memory predicted against measured, with the diagonal, in inference and in training."""
    found = []
    for group in groups:
        for label, (foreseen, measured) in MEMORY.items():
            rows = [
                row
                for row in group.networks(foreseen, measured)
                if row[foreseen] > 0 and row[measured] > 0
            ]
            if rows:
                found.append(_memory(rows, group, label, foreseen, measured))
    return found


def _memory(rows: Sequence[Row], group: Group, label: str, foreseen: str, measured: str) -> View:
    figures = [row[name] for row in rows for name in (foreseen, measured)]
    ends = [min(figures) * 0.9, max(figures) * 1.1]
    off = [abs(row[foreseen] / row[measured] - 1) for row in rows]
    data: list[dict[str, Any]] = [
        {
            **{"type": "scatter", "mode": "lines", "x": ends, "y": ends, "name": "equal"},
            **{"line": {"color": GREY, "width": 1, "dash": "dash"}, "hoverinfo": "skip"},
        },
        {
            **{
                "type": "scatter",
                "mode": "markers",
                "marker": {"color": BLUE, "size": 8, "opacity": 0.75},
            },
            **{
                "name": "network",
                "x": [row[foreseen] for row in rows],
                "y": [row[measured] for row in rows],
            },
            "customdata": [anchor(row["variant"]) for row in rows],
            "text": [
                f"<b>{plain(row['variant'])}</b><br>predicted {row[foreseen]:.4g} MiB<br>"
                f"measured {row[measured]:.4g} MiB (predicted {100 * (row[foreseen] / row[measured] - 1):+.1f} %)"
                for row in rows
            ],
            "hovertemplate": "%{text}<extra></extra>",
        },
    ]
    farthest = max(rows, key=lambda row: abs(row[foreseen] / row[measured] - 1))
    note = (
        f"Predicted and measured memory of {_count(rows)}, {label}: the median error is "
        f"{100 * statistics.median(off):.1f} %, the worst {100 * max(off):.1f} % ({seen(farthest['variant'])})."
    )
    axes = (f"predicted peak of live tensors, {label}, MiB", "measured, MiB")
    layout = _layout(_log(axes[0], figures), _log(axes[1], figures), height=420)
    return View(group.label, label, data, layout, [], note, note)


# ---- training


def curves(evaluations: Sequence[Row], group: Group, shown: Sequence[str]) -> list[View]:
    """Validation Dice against steps and seconds: a thin line a training, one entry of the legend a
    variant.

    Of the rows of `read_curves` that are the group's; `shown` are visible from the start.
    """
    trainings: dict[str, dict[tuple[Any, Any], list[Row]]] = {}
    for evaluation in evaluations:
        if has(evaluation, "val_dice"):
            trainings.setdefault(evaluation["variant"], {}).setdefault(
                (evaluation["seed"], evaluation["fold"]), []
            ).append(evaluation)
    names = [name for name in dict.fromkeys((*shown, *trainings)) if name in trainings]
    styles = dict(
        zip(names, cycle((colour, dash) for dash in DASHES for colour in LINES), strict=False)
    )
    found = []
    for column, title in (("step", "training steps"), ("seconds", "seconds of training")):
        data = [
            _curve(name, trainings[name], column, styles[name], name in shown) for name in names
        ]
        if not any(trace["x"] for trace in data):
            continue
        low = min(y for trace in data for y in trace["y"] if y is not None)
        trivial = group.trivial(low - 0.05)
        layout = _layout(
            _axis(title, rangemode="tozero"), _axis("validation Dice", **_dice(trivial)), height=440
        )
        layout |= {
            "showlegend": True,
            "legend": {"font": {"size": 11}, "itemwidth": 30, "tracegroupgap": 0},
        }
        layout |= _trivial_lines(trivial, "no training, on test images")
        words = f"Validation Dice of {_count(names)} against {title}."
        found.append(View(group.label, title, data, layout, [], words))
    return found


def _curve(
    name: str,
    trainings: Mapping[tuple[Any, Any], Sequence[Row]],
    column: str,
    style: tuple[str, str],
    visible: bool,
) -> dict[str, Any]:
    x: list[float | None] = []
    y: list[float | None] = []
    words: list[str] = []
    for (seed, fold), evaluations in trainings.items():
        told = [
            f"{label} {value}"
            for label, value in (("seed", seed), ("fold", fold))
            if value is not None
        ]
        for evaluation in evaluations:
            if has(evaluation, column):
                x.append(evaluation[column])
                y.append(evaluation["val_dice"])
                words.append(
                    f"<b>{plain(name)}</b><br>{plain(', '.join(told))}<br>Dice {evaluation['val_dice']:.3f}"
                )
        if x:  # a gap between one training and the next
            x.append(None)
            y.append(None)
            words.append("")
    colour, dash = style
    return {
        **{
            "type": "scatter",
            "mode": "lines+markers",
            "name": plain(name, 28),
            "x": x,
            "y": y,
            "text": words,
        },
        **{
            "line": {"color": colour, "width": 1.5, "dash": dash},
            "marker": {"size": 4, "color": colour},
        },
        **{"hovertemplate": "%{text}<extra></extra>", "visible": True if visible else "legendonly"},
    }


# ---- what all have in common


def _trivial_lines(rows: Sequence[Row], words: str) -> dict[str, Any]:
    """Dashed lines at the Dice of these trivial baselines, and what they are."""
    line = {"type": "line", "xref": "paper", "x0": 0, "x1": 1, "layer": "below"}
    evaluation = {"color": GREY, "width": 1, "dash": "dash"}
    note = {
        "showarrow": False,
        "xref": "paper",
        "x": 1,
        "xanchor": "right",
        "yanchor": "bottom",
        "font": {"size": 11},
    }
    return {
        "shapes": [
            {**line, "y0": row["dice"], "y1": row["dice"], "line": evaluation} for row in rows
        ],
        "annotations": [
            {**note, "y": row["dice"], "text": f"{plain(row['variant'])}: {words}"} for row in rows
        ],
    }


def _log(title: str, figures: Sequence[float]) -> dict[str, Any]:
    """A logarithmic axis with round ticks, the fewer the wider these figures are apart."""
    low, high = math.log10(min(figures)), math.log10(max(figures))
    steps = (1, 1.5, 2, 3, 5, 7) if high - low < 1.2 else (1, 2, 5) if high - low < 2.5 else (1,)
    ticks = [
        step * 10.0**power
        for power in range(math.floor(low) - 1, math.ceil(high) + 1)
        for step in steps
    ]
    words = [
        next((f"{tick / size:g}{unit}" for size, unit in _UNITS if tick > 9 * size), f"{tick:g}")
        for tick in ticks
    ]
    return _axis(title, type="log", tickvals=ticks, ticktext=words)


_UNITS: Final = ((1e9, " G"), (1e6, " M"), (1e3, " k"))


def _layout(
    x: dict[str, Any], y: dict[str, Any], *, height: int, legend: bool = False
) -> dict[str, Any]:
    """Colours of text and grid are the page's, which has them follow light and dark."""
    return {
        **{"xaxis": x, "yaxis": y, "height": height, "hovermode": "closest", "showlegend": legend},
        **{"paper_bgcolor": "rgba(0,0,0,0)", "plot_bgcolor": "rgba(0,0,0,0)"},
        **{
            "margin": {"l": 56, "r": 16, "t": 12, "b": 48},
            "font": {"family": "system-ui, sans-serif", "size": 12},
        },
        "hoverlabel": {
            "bgcolor": "#20262d",
            "bordercolor": "#20262d",
            "font": {"color": "#ffffff"},
            "align": "left",
        },
        "modebar": {"bgcolor": "rgba(0,0,0,0)", "color": GREY, "activecolor": BLUE},
        "legend": {"orientation": "h", "x": 0, "y": 1.02, "yanchor": "bottom"},
    }


def _axis(title: str, **more: Any) -> dict[str, Any]:
    return {"title": {"text": title, "standoff": 8}, "zeroline": False, "ticks": "outside", **more}


def _faint(colour: str, share: float = 0.75) -> str:
    return f"rgba({', '.join(str(int(colour[i : i + 2], 16)) for i in (1, 3, 5))}, {share})"


def worst_and_best(group: Group) -> list[str]:
    """The names of the best network, the baseline and the worst, in this order, each once."""
    rows = group.scored()
    baseline = [row["variant"] for row in rows if is_baseline(row)]
    ends = (
        [max(rows, key=lambda row: row["dice"]), min(rows, key=lambda row: row["dice"])]
        if rows
        else []
    )
    return list(
        dict.fromkeys(
            [*[r["variant"] for r in ends[:1]], *baseline, *[r["variant"] for r in ends[1:]]]
        )
    )
