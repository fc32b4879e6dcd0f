"""What is drawn, described once: series of points on two axes, with intervals and names.

groups, effects, ranks, curves ─▶ Plot ─▶ `draw_plotly.py` or `draw_matplotlib.py`
"""

from __future__ import annotations

import math
import statistics
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import cycle
from operator import itemgetter
from typing import Any, Final, Literal

import pandas as pd

from unet_bench.analysis.matched_pairs import FIGURES
from unet_bench.networks.choices import NAMES
from unet_bench.present.groups import Group, differences, has, is_baseline
from unet_bench.store.columns import Column
from unet_bench.store.figures import Row, grouped
from unet_bench.store.schema import BY_NAME, shown_columns
from unet_bench.text_format import EMPTY, counted, figure

Ends = tuple[float, float] | None

# Okabe and Ito 2008: told apart by colour-blind people, too.
BLUE, VERMILLION, GREEN, PURPLE = "#0072B2", "#D55E00", "#009E73", "#CC79A7"
ORANGE, SKY, GREY = "#E69F00", "#56B4E9", "#7f7f7f"
_LINES: Final = (VERMILLION, BLUE, GREEN, PURPLE, ORANGE, SKY)
_DASHES: Final = ("solid", "dash", "dot", "dashdot")

_FIRST: Final = ("latency_ratio", "latency_ms", "peak_memory_mib")
_MEMORY: Final[Mapping[str, tuple[str, str]]] = {
    "inference": ("predicted_memory_mib", "live_memory_mib"),
    "training step": ("predicted_train_memory_mib", "train_live_memory_mib"),
}
_MOST_CHOICES: Final = 8  # that are told of a point


@dataclass(frozen=True)
class Point:
    """A point, the ends of its intervals, the network it is of, and lines that explain it."""

    x: float
    y: float
    x_ends: Ends = None
    y_ends: Ends = None
    name: str = ""
    about: tuple[str, ...] = ()

    def reach(self, axis: Literal["x", "y"]) -> tuple[float, float] | None:
        """Return how far its interval in x or y reaches down and up; None without one."""
        at, ends = (self.x, self.x_ends) if axis == "x" else (self.y, self.y_ends)
        return None if ends is None else (at - ends[0], ends[1] - at)


@dataclass(frozen=True)
class Series:
    """Points that look alike: markers, a line, or both. A None among them is a gap in the line."""

    name: str
    points: tuple[Point | None, ...]
    colour: str
    marker: str = "circle"
    size: int = 9
    line: str = ""
    is_step: bool = False
    is_band: bool = False  # the ends in y are drawn as a band
    in_legend: bool = True
    is_visible: bool = True  # from the start


@dataclass(frozen=True)
class Axis:
    """An axis and what it is of. A score lies between 0 and 1."""

    title: str
    is_log: bool = False
    unit: str = ""  # behind each tick
    is_score: bool = False
    is_change: bool = False  # in percent
    from_zero: bool = False


@dataclass(frozen=True)
class Entry:
    """A row of a forest: an alternative and its number of contexts, or a slot and its reference."""

    text: str
    beside: str
    is_heading: bool = False


@dataclass(frozen=True)
class Plot:
    """One picture: of which group and of what, its series, and in words for who cannot see it.

    `entries` stand at the left from top to bottom, at y = their number to 1. `levels` are
    horizontal lines: a height and what it is.
    """

    group: str
    label: str
    series: tuple[Series, ...]
    x: Axis
    y: Axis
    words: str
    note: str = ""
    title: str = ""
    height: int = 440
    levels: tuple[tuple[float, str], ...] = ()
    named: tuple[Point, ...] = ()
    entries: tuple[Entry, ...] = ()
    has_diagonal: bool = False


# ---- accuracy against cost


def pareto(groups: Sequence[Group], known: Mapping[str, Column] = BY_NAME) -> list[Plot]:
    """Return plots of Dice against each cost that was measured, latency first."""
    costs = [column for column in shown_columns(known) if column.better == "low"]
    costs.sort(key=lambda cost: (cost.name not in _FIRST, not cost.is_ratio))
    return [
        accuracy_against(group, cost)
        for group in groups
        for cost in costs
        if any(row[cost.name] > 0 for row in group.scored(cost.name))
    ]


def front(rows: Iterable[Row], cost: str) -> list[Row]:
    """Return the networks that no cheaper one equals in Dice, the cheapest first."""
    best: list[Row] = []
    for row in sorted(rows, key=lambda row: (row[cost], -row["dice"])):
        if not best or row["dice"] > best[-1]["dice"]:
            best.append(row)
    return best


def axis_title(column: Column) -> str:
    """Return a column's label and unit; for a ratio, also what it is relative to."""
    if column.is_ratio:
        return f"{column.label} relative to the baseline"
    return f"{column.label}, {column.scaled}" if column.scaled else column.label


def accuracy_against(group: Group, cost: Column) -> Plot:
    """Return Dice against a cost: networks with their intervals, the front, trivial baselines."""
    rows = [row for row in group.scored(cost.name) if row[cost.name] > 0]
    best = front(rows, cost.name)
    ahead = [row for row in best if not is_baseline(row)]
    baseline = [row for row in rows if is_baseline(row)]
    others = [row for row in rows if row not in best and row not in baseline]

    def points(of: Iterable[Row]) -> tuple[Point, ...]:
        return tuple(_point(row, group, cost) for row in of)

    title = axis_title(cost)
    label = title if cost.is_ratio else cost.label
    listed = ", ".join(f"{row['variant']} ({row['dice']:.3f})" for row in best)
    networks = counted(len(rows), "network")
    dice = [row["dice"] for row in rows]
    # One far below says nothing, and would press the networks together.
    lowest = min(dice) - 0.3 * max(max(dice) - min(dice), 0.02)
    return Plot(
        group=group.label,
        label=label,
        series=(
            Series("front", points(best), BLUE, "", line="dot", is_step=True, in_legend=False),
            Series("network", points(others), GREY, "circle-open", 8),
            Series("on the front of these two axes", points(ahead), BLUE),
            Series("baseline", points(baseline), VERMILLION, "diamond", 11),
        ),
        x=Axis(title, is_log=True, unit="×" if cost.is_ratio else ""),
        y=Axis("Dice on test images", is_score=True),
        words=(
            f"Dice of {networks} against {title}. "
            f"On the front, from the cheapest to the best: {listed}."
        ),
        note=(
            f"Dice on test images against {label} (log scale): {len(best)} of {networks} "
            f"{'is' if len(best) == 1 else 'are'} on the front of these two axes: "
            "none of lower cost has as high a Dice."
        ),
        title=group.title,
        height=480,
        levels=_levels(group.trivial(lowest), "no training"),
        named=points([*baseline, *reversed(ahead)]),
    )


def _point(row: Row, group: Group, cost: Column) -> Point:
    """Return a point of Dice against a cost; hovering shows both, and how the network differs."""
    dice = BY_NAME["dice"]
    label = f"{cost.label} ratio" if cost.is_ratio else cost.heading
    about = [row["variant"], f"{dice.heading} {figure(row, dice)}", f"{label} {figure(row, cost)}"]
    if row.get("quality") not in (None, "clean"):
        about.append(row["quality"])
    differs = differences(row, group.baseline)
    for name, own, theirs in differs[:_MOST_CHOICES]:
        about.append(f"{name}: {own} ({theirs})" if theirs else f"{name}: {own}")
    if len(differs) > _MOST_CHOICES:
        about.append(f"and {len(differs) - _MOST_CHOICES} more")
    return Point(
        x=cost.factor * row[cost.name],
        y=row["dice"],
        x_ends=_ends(row, cost.interval, cost.factor),
        y_ends=_ends(row, dice.interval),
        name=row["variant"],
        about=tuple(about),
    )


def _ends(row: Row, interval: tuple[str, str] | None, factor: float = 1.0) -> Ends:
    """Return the ends of an interval, from the columns that hold them; None where one is empty."""
    if interval is None or not all(has(row, end) for end in interval):
        return None
    low, high = (factor * row[end] for end in interval)
    return low, high


def _levels(untrained: Iterable[Row], words: str) -> tuple[tuple[float, str], ...]:
    return tuple((row["dice"], f"{row['variant']}: {words}") for row in untrained)


# ---- what a choice is worth


def effects(rows: Iterable[Row], group: str) -> list[Plot]:
    """Return a forest for each figure: an alternative a row, its change against the reference.

    All have the same rows, so that they can stand side by side.
    """
    alternatives = grouped((row for row in rows if has(row, "change")), _KEY)
    ordered = dict(sorted(alternatives.items(), key=lambda item: _order(item[1])))
    forests = []
    for column in FIGURES:
        of_figure = (
            row for rows in ordered.values() for row in rows if row["figure"] == column.name
        )
        if changes := {_KEY(row): row for row in of_figure}:
            forests.append(_forest(list(ordered), changes, group, column))
    return forests


_Key = tuple[Any, str, str, str]
_KEY: Final = itemgetter("run_id", "slot", "reference", "alternative")
_ENDS: Final = ("ci_low", "ci_high")
_PLACES: Final = {name: place for place, name in enumerate(NAMES)}
_FIGURE_PLACES: Final = {column.name: place for place, column in enumerate(FIGURES)}


def _order(rows: Sequence[Row]) -> tuple[Any, ...]:
    """Return where an alternative stands: by its slot, then by the first figure that it has."""
    row = min(rows, key=lambda row: _FIGURE_PLACES[row["figure"]])
    first = row["slot"].split("+")[0]
    return _PLACES.get(first, len(_PLACES)), row["slot"], row["reference"], row["change"]


def change_and_interval(row: Row, column: Column) -> str:
    """Return an effect in words: +12 % (9.1 to 15)."""
    factor, unit = (1.0, "") if column.by_difference else (100.0, " %")
    values = (factor * row["change"], *(_ends(row, _ENDS, factor) or ()))
    middle, *ends = (f"{x:+.3f}" if column.by_difference else f"{x:+.3g}" for x in values)
    has_width = len({middle, *ends}) > 1
    return f"{middle}{unit} ({' to '.join(ends)})" if has_width else middle + unit


def _forest(keys: Sequence[_Key], rows: Mapping[_Key, Row], group: str, column: Column) -> Plot:
    entries: list[Entry] = []
    places: dict[_Key, int] = {}
    for (_, slot, reference), alternatives in grouped(keys, lambda key: key[:3]).items():
        entries.append(Entry(slot, reference, is_heading=True))
        for key in alternatives:
            places[key] = len(entries)
            units = rows[key]["units"] if key in rows else None
            entries.append(Entry(key[-1], str(units or EMPTY)))
    points: dict[str, list[Point]] = {"better": [], "worse": [], "unsure": []}
    for key, row in rows.items():
        is_better = (row["change"] > 0) == (column.better == "high")
        verdict = "better" if is_better else "worse"
        point = _estimate(row, len(entries) - places[key], column)
        points[verdict if row.get("separable") else "unsure"].append(point)
    better, worse, unsure = (tuple(some) for some in points.values())
    are_bare = all(point.x_ends is None for point in (*better, *worse, *unsure))
    is_single = column.by_difference and are_bare
    listed = "; ".join(
        f"{slot} {alternative} against {reference} {change_and_interval(row, column)}"
        for (_, slot, reference, alternative), row in rows.items()
    )
    unit = "difference in Dice" if column.by_difference else f"change in {column.label}, %"
    note = "No intervals: one seed cannot say how far another would move Dice."
    name = _unsure_name(unsure, are_bare, is_single)
    return Plot(
        group=group,
        label=column.label,
        series=(
            Series("better", better, BLUE),
            Series("worse", worse, VERMILLION),
            Series(name, unsure, GREY, "circle-open"),
        ),
        x=Axis(unit, is_change=not column.by_difference),
        y=Axis(""),
        words=f"{column.label}: {listed}",
        note=note if is_single else "",
        height=118 + 21 * len(entries),
        entries=tuple(entries),
    )


def _unsure_name(points: Sequence[Point], are_bare: bool, is_single: bool) -> str:
    if is_single:
        return "no intervals: one seed"
    if are_bare:
        return "no intervals"
    has_bare = any(point.x_ends is None for point in points)
    return "not separable, or no interval" if has_bare else "not separable"


def _estimate(row: Row, y: int, column: Column) -> Point:
    factor = 1.0 if column.by_difference else 100.0
    return Point(
        x=factor * row["change"],
        y=y,
        x_ends=_ends(row, _ENDS, factor),
        about=(
            f"{row['slot']}: {row['alternative']} against {row['reference']}",
            change_and_interval(row, column),
            f"{counted(row.get('units') or 0, 'context')}, by {row.get('basis') or EMPTY}",
        ),
    )


# ---- ranks over data sets


def ranks(rows: Sequence[Row], distance: float | None, group: str) -> Plot:
    """Return mean ranks, the best first, with the critical difference."""
    points = []
    for y, row in zip(range(len(rows), 0, -1), rows, strict=True):
        about = (row["variant"], f"mean rank {row['mean_rank']:.2f}")
        points.append(Point(row["mean_rank"], y, name=row["variant"], about=about))
    series = [Series("", tuple(points), BLUE, in_legend=False)]
    if distance is not None and math.isfinite(distance):
        start, above = rows[0]["mean_rank"], len(rows) + 0.7
        bar = (Point(start, above), Point(start + distance, above))
        name = f"critical difference {distance:.2f}"
        series.append(Series(name, bar, VERMILLION, "", 4, line="solid"))
    listed = ", ".join(f"{row['variant']} {row['mean_rank']:.2f}" for row in rows)
    return Plot(
        group=group,
        label="mean rank",
        series=tuple(series),
        x=Axis("mean rank over data sets (1 is best)"),
        y=Axis(""),
        words=f"Mean ranks: {listed}",
        height=110 + 20 * len(rows),
        entries=tuple(Entry(row["variant"], "") for row in rows),
    )


# ---- memory


def memory(groups: Iterable[Group]) -> list[Plot]:
    """Return memory predicted against measured, in inference and in training."""
    plots = []
    for group in groups:
        for label, names in _MEMORY.items():
            rows = [row for row in group.networks(*names) if all(row[name] > 0 for name in names)]
            if rows:
                plots.append(_memory(rows, group, label, *names))
    return plots


def _memory(rows: Sequence[Row], group: Group, label: str, foreseen: str, measured: str) -> Plot:
    points = []
    errors: dict[str, float] = {}  # in percent
    for row in rows:
        variant, x, y = row["variant"], row[foreseen], row[measured]
        error = 100 * (x / y - 1)
        errors[variant] = abs(error)
        told = f"predicted {x:.4g} MiB", f"measured {y:.4g} MiB (predicted {error:+.1f} %)"
        points.append(Point(x, y, name=variant, about=(variant, *told)))
    worst = max(errors, key=errors.__getitem__)
    note = (
        f"Predicted and measured memory of {counted(len(rows), 'network')}, {label}: the median "
        f"error is {statistics.median(errors.values()):.1f} %, "
        f"the worst {errors[worst]:.1f} % ({worst})."
    )
    return Plot(
        group=group.label,
        label=label,
        series=(Series("network", tuple(points), BLUE, size=8),),
        x=Axis(f"predicted peak of live tensors, {label}, MiB", is_log=True),
        y=Axis("measured, MiB", is_log=True),
        words=note,
        note=note,
        title=group.title,
        height=420,
        has_diagonal=True,
    )


# ---- training

_AGAINST: Final = {"step": "training steps", "seconds": "seconds of training"}


def curves(evaluations: Sequence[Row], group: Group, shown: Sequence[str]) -> list[Plot]:
    """Return validation Dice against steps and seconds: a thin line for each training.

    `evaluations` are the rows of `read_curves` that are the group's; networks in `shown` are
    visible from the start.
    """
    plots = []
    for column in _AGAINST:
        if series := _trainings(evaluations, column, shown):
            lowest = min(point.y for one in series for point in one.points if point)
            levels = _levels(group.trivial(lowest - 0.05), "no training, on test images")
            plots.append(replace(_curves(group.label, series, column), levels=levels))
    return plots


def mean_curves(curves: pd.DataFrame, apart: Sequence[str]) -> list[Plot]:
    """Return validation Dice against seconds for each task, a line for each variant.

    A line is the mean over seeds and folds at each evaluation, in Dice and in seconds; its band is
    the range of Dice. `apart` are the columns that tell lines from one another.
    """
    evaluations = curves.dropna(subset=["seconds", "val_dice"])
    plots = []
    for task, rows in evaluations.groupby("task", sort=False):
        lines = rows.groupby(list(apart), dropna=False, sort=False)
        series = []
        for (key, of_line), (colour, dash) in zip(lines, _styles(), strict=False):
            name = " · ".join(str(word) for word in key if word is not pd.NA)
            series.append(Series(name, _means(of_line), colour, "", line=dash, is_band=True))
        plots.append(replace(_curves("", tuple(series), "seconds"), title=str(task)))
    return plots


def _curves(group: str, series: tuple[Series, ...], column: str) -> Plot:
    against = _AGAINST[column]
    networks = counted(len(series), "network")
    return Plot(
        group=group,
        label=against,
        series=series,
        x=Axis(against, from_zero=True),
        y=Axis("validation Dice", is_score=True),
        words=f"Validation Dice of {networks} against {against}.",
    )


def _styles() -> Iterable[tuple[str, str]]:
    return cycle((colour, dash) for dash in _DASHES for colour in _LINES)


def _trainings(evaluations: Sequence[Row], column: str, shown: Sequence[str]) -> tuple[Series, ...]:
    """Return a series for each variant, its trainings one after another with gaps between."""
    known = [row for row in evaluations if has(row, "val_dice") and has(row, column)]
    variants = grouped(known, itemgetter("variant"))
    names = [name for name in dict.fromkeys((*shown, *variants)) if name in variants]
    series = []
    for name, (colour, dash) in zip(names, _styles(), strict=False):
        points: list[Point | None] = []
        for rows in grouped(variants[name], itemgetter("seed", "fold")).values():
            points += [_evaluation(row, column) for row in rows]
            points.append(None)
        visible = name in shown
        series.append(Series(name, tuple(points), colour, size=4, line=dash, is_visible=visible))
    return tuple(series)


def _evaluation(row: Row, column: str) -> Point:
    training = ", ".join(
        f"{word} {row[word]}" for word in ("seed", "fold") if row[word] is not None
    )
    about = (row["variant"], training, f"Dice {row['val_dice']:.3f}")
    return Point(row[column], row["val_dice"], about=about)


def _means(rows: pd.DataFrame) -> tuple[Point, ...]:
    """Return the mean at each evaluation by its number, since steps differ between trainings."""
    evaluation = rows.groupby(["seed", "fold"], dropna=False).cumcount()
    dice = rows["val_dice"].groupby(evaluation)
    seconds = rows["seconds"].groupby(evaluation).mean()
    values = zip(seconds, dice.mean(), dice.min(), dice.max(), strict=True)
    return tuple(Point(x, y, y_ends=(low, high)) for x, y, low, high in values)


def worst_and_best(group: Group) -> list[str]:
    """Return the names of the best network, the baseline and the worst, each once."""
    rows = sorted(group.scored(), key=lambda row: -row["dice"])
    baseline = (row for row in rows if is_baseline(row))
    return list(dict.fromkeys(row["variant"] for row in (*rows[:1], *baseline, *rows[-1:])))
