"""The effects of choices as text: a table per slot, interactions that stand out, and what else is
to be known.

Effects ─▶ a block per slot of each group ─▶ rich tables, csv, GitHub markdown or JSON
"""

from __future__ import annotations

import json
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import pandas as pd
from rich import box
from rich.cells import cell_len
from rich.console import Console, ConsoleOptions, Group, RenderableType, RenderResult
from rich.table import Table
from rich.text import Text

from unet_bench.analysis.matched_pairs import FIGURES, GROUP, TARGET
from unet_bench.errors import unknown
from unet_bench.present.findings import sentences
from unet_bench.present.table import EMPTY, FORMATS
from unet_bench.store.columns import Column
from unet_bench.store.tables import csv_text, records
from unet_bench.text_format import escaped, one_line, title

if TYPE_CHECKING:
    from unet_bench.analysis.effects import Effects

Row = dict[str, Any]


def render_effects(found: Effects, *, format: str = "table") -> RenderableType:
    """The effects: a rich renderable for `table`, text for `csv` (the effects only), `md` and
    `json`.

    Raises UnknownName.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS, "unet-bench effects --help")
    match format:
        case "csv":
            return csv_text(found.table)
        case "json":
            frames = {"effects": found.table, "interactions": found.interactions, "fit": found.fit}
            content = {name: records(frame) for name, frame in frames.items()} | {
                "notes": list(sentences(found.findings))
            }
            return json.dumps(content, indent=2, ensure_ascii=False, allow_nan=False) + "\n"
        case "md":
            return _markdown(found)
    return _rich(found)


@dataclass(frozen=True)
class _Block:
    """A table as it is shown, below the title of its group (empty: the same as before)."""

    group: str
    title: str
    labels: tuple[str, ...]
    lines: tuple[tuple[str, ...], ...]
    below: str


_LEGEND: Final = (
    "Changes in % of the reference, of Dice as a difference; ±: reach of the 95 % interval (the longer side); "
    "≈: not separable from none, or no interval. n: contexts that the interval counts, in each of which nothing else "
    "differs; (n): of this figure. Of Dice on several data sets it counts those; repeats in other runs or on other "
    "data count once. Of one, the interval is the measurement's own. sd: of the effect over contexts."
)


def _blocks(found: Effects) -> Iterator[_Block]:
    last = ""
    for keys, of_group in found.table.groupby(["run_id", *GROUP], dropna=False, sort=False):
        title = _group_title(records(of_group.iloc[:1])[0])
        for slot, rows in of_group.groupby("slot", sort=False):
            yield _effects_block(
                title if title != last else "", str(slot), rows, _same_group(found.fit, keys)
            )
            last = title
        of_interactions = _same_group(found.interactions, keys)
        flagged = of_interactions[of_interactions["flagged"]]
        if len(flagged):
            yield _interactions_block(flagged)


def _same_group(frame: pd.DataFrame, keys: Any) -> pd.DataFrame:
    mine = np.ones(len(frame), dtype=bool)
    for name, value in zip(("run_id", *GROUP), keys, strict=True):
        mine &= (
            frame[name].isna() if pd.isna(value) else frame[name].eq(value).fillna(False)
        ).to_numpy(dtype=bool)
    return frame[mine]


def _group_title(row: Row) -> str:
    words = [
        title(row, [name for name in GROUP if name not in ("env_id", "batch_effective", TARGET)])
    ]
    if row["batch_effective"] not in (None, row["batch_requested"]):
        words.append(f"run as {row['batch_effective']}")
    words += [f"environment {row['env_id']}"] * bool(row["env_id"])
    words += [f"matched to {row[TARGET]}"] * bool(row[TARGET])
    return one_line(" · ".join(words))


def _effects_block(group: str, slot: str, rows: pd.DataFrame, fit: pd.DataFrame) -> _Block:
    shown = [figure for figure in FIGURES if (rows["figure"] == figure.name).any()]
    lines = []
    for alternative, its in rows.groupby("alternative", sort=False):
        cells = {row["figure"]: row for row in records(its)}
        units = int(its["units"].max())
        texts = [_change(figure, cells.get(figure.name), units) for figure in shown]
        lines.append((one_line(str(alternative)), str(units), *texts))
    [reference, *_] = rows["reference"]
    labels = ("alternative", "n", *(figure.label for figure in shown))
    return _Block(
        group,
        f"{slot}: against {one_line(reference)}, changes in %",
        labels,
        tuple(lines),
        _fit_text(fit[fit["slot"] == slot]),
    )


def _change(figure: Column, row: Row | None, units: int) -> str:
    """A change with its interval, and how many units it has where these are not as many as its
    line's.
    """
    if row is None or row["change"] is None:
        return EMPTY
    change, low, high = row["change"], row["ci_low"], row["ci_high"]
    half = None if low is None or high is None else max(change - low, high - change)
    interval = [f"±{_number(figure, half)}"] if half else []
    unsure = not row["separable"] and (half is None or half > 0)
    other = [f"({row['units']})"] * (row["units"] != units)
    return " ".join(
        [" ".join([_number(figure, change, sign="+"), *interval]) + "≈" * unsure, *other]
    )


def _number(figure: Column, value: float, sign: str = "") -> str:
    if figure.by_difference:
        return f"{value:{sign}.3f}" if abs(value) >= 0.0005 else "0.000"
    percent = 100 * value
    if abs(percent) >= 1000 and not sign:
        return ">999"
    if abs(percent) >= 1e6:
        return f"{percent:{sign}.1e}"
    if abs(percent) < 0.05:
        return "0.0" if value else "0"
    return f"{percent:{sign}.{0 if abs(percent) >= 9.95 else 1}f}"


def _fit_text(fit: pd.DataFrame) -> str:
    """How much each effect varies over contexts, where there are several."""
    by = {row["figure"]: row for row in records(fit) if row["residual_sd"]}
    words = []
    for figure in (figure for figure in FIGURES if figure.name in by):
        row = by[figure.name]
        spread = (
            f"{100 * row['residual_sd']:.1f} %"
            if not figure.by_difference
            else f"{row['residual_sd']:.3f}"
        )
        explained = "" if row["r2_within"] is None else f" (R² {row['r2_within']:.2f})"
        words.append(f"{figure.label} {spread}{explained}")
    return "sd over contexts: " + ", ".join(words) if words else ""


def _interactions_block(flagged: pd.DataFrame) -> _Block:
    """Of each two choices and figure, the largest of those that stand out."""
    sized = flagged.assign(size=abs(np.log1p(flagged["difference"].astype(float))))
    largest = sized.sort_values("size", ascending=False, kind="stable").drop_duplicates(
        ["figure", "slot", "with_slot"]
    )
    figures = {figure.name: figure for figure in FIGURES}
    lines = []
    for row in records(largest):
        figure = figures[row["figure"]]
        names = ("alternative", "with_alternative", "with_reference")
        own, other, usual = (one_line(row[name]) for name in names)
        what = f"{row['slot']}={own} × {row['with_slot']}={other}", str(row["units"]), figure.label
        at, becomes = (
            _number(figure, row[f"change_at_{end}"], "+") for end in ("reference", "alternative")
        )
        p = "< 0.001" if row["p_adjusted"] < 0.001 else f"{row['p_adjusted']:.3f}"
        unit = "" if figure.by_difference else " %"
        lines.append((*what, f"{at}{unit} at {usual}", f"{becomes}{unit} at {other}", p))
    labels = ("interactions", "n", "figure", "effect", "becomes", "p, Holm")
    return _Block(
        "", "interactions that stand out, the largest of each two choices", labels, tuple(lines), ""
    )


_BETWEEN: Final = 2  # cells between two columns
_LEAST: Final = 12  # to which names are folded before a table is split


@dataclass(frozen=True)
class _Fitting:
    """A block as one table, or as several below one another where its columns are wider than the
    screen.

    Names are folded, figures never.
    """

    block: _Block

    def __rich_console__(self, console: Console, options: ConsoleOptions) -> RenderResult:
        rows = (self.block.labels, *self.block.lines)
        widths = [max(map(cell_len, column)) for column in zip(*rows, strict=True)]
        parts = _parted(widths, options.max_width)
        for number, columns in enumerate(parts):
            yield from [Text()] * (number > 0)
            yield self._table(columns, min(widths[0], _room(widths, columns, options.max_width)))

    def _table(self, columns: Sequence[int], names: int) -> Table:
        table = Table(box=box.SIMPLE_HEAD, padding=(0, 1, 0, 0), show_edge=False)
        table.add_column(Text(self.block.labels[0]), overflow="fold", width=names)
        for n in columns:
            table.add_column(Text(self.block.labels[n]), justify="right", no_wrap=True)
        for line in self.block.lines:
            table.add_row(*(Text(line[n]) for n in (0, *columns)))
        return table


def _room(widths: Sequence[int], columns: Sequence[int], width: int) -> int:
    """What the other columns leave for the names."""
    return max(width - sum(widths[n] + _BETWEEN for n in columns) - 1, _LEAST)


def _parted(widths: Sequence[int], width: int) -> list[list[int]]:
    """The columns but the first, which with `n` leads each part, in parts that fit."""
    least = min(widths[0], _LEAST)
    parts = [[1]]
    for n in range(2, len(widths)):
        if (
            len(parts[-1]) > 1
            and least + 1 + sum(widths[m] + _BETWEEN for m in (*parts[-1], n)) > width
        ):
            parts.append([1])
        parts[-1].append(n)
    return parts


def _rich(found: Effects) -> Group:
    """`Text` throughout, since a name in square brackets would be taken for markup."""
    parts: list[RenderableType] = []
    for block in _blocks(found):
        parts += [Text(block.group, style="bold"), Text()] if block.group else []
        parts += [Text(block.title, style="bold"), _Fitting(block)]
        parts += [Text(block.below, style="dim")] if block.below else []
        parts.append(Text())
    return Group(
        *parts,
        *map(Text, sentences(found.findings)),
        *[Text(_LEGEND, style="dim")] * bool(len(found.table)),
    )


def _markdown(found: Effects) -> str:
    parts = []
    for block in _blocks(found):
        parts += [f"### {_cell(block.group)}\n"] if block.group else []
        rows = [tuple(map(_cell, line)) for line in (block.labels, *block.lines)]
        rows.insert(1, ("---", *("---:" for _ in block.labels[1:])))
        parts.append(
            f"#### {_cell(block.title)}\n\n" + "".join(f"| {' | '.join(row)} |\n" for row in rows)
        )
        parts += [f"{_cell(block.below)}\n"] if block.below else []
    notes = "".join(f"- {_cell(note)}\n" for note in sentences(found.findings))
    return "\n".join((*parts, *[notes] * bool(notes), *[f"{_LEGEND}\n"] * bool(len(found.table))))


def _cell(text: str) -> str:
    return escaped(one_line(text))
