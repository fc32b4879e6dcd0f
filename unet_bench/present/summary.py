"""The summary over data sets as text."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Final

import pandas as pd
from rich.console import RenderableType

from unet_bench.analysis.summary import SETTING, Row
from unet_bench.errors import unknown
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
from unet_bench.store.schema import SIZE
from unet_bench.store.tables import csv_text, records
from unet_bench.text_format import conditions, scored_size

HEADINGS: Final = (
    Heading("tasks", "data sets"),
    Heading("cells", "cells"),
    Heading("dice", "Dice", decimals=3),
    Heading("dice_sd", "sd", decimals=3),
    Heading("dice_difference", "Δ Dice", decimals=3, verdict="dice_verdict"),
    Heading("dice_pairs", "pairs"),
    Heading("dice_pairs_needed", "needed"),
)


_CAPTION: Final = (
    "±: the longer side of the 95 % interval over data sets; of one data set over its folds, of one fold over its "
    "seeds. "
    "Student's t below ten of them, from ten on a cluster bootstrap (expanded percentiles). "
    "sd: of Dice over cells. Δ Dice: mean difference to the baseline over equal (data set, fold, seed); "
    "≈: not separable, since the gap is smaller than the interval's half, or there is one unit and no interval. "
    "needed: pairs that would separate it, if difference and spread stayed as they are."
)


def render_summary(frame: pd.DataFrame, *, format: str = "table") -> RenderableType:
    """The frame of `summary`: a rich renderable for `table`, text for `csv`, `md` and `json`.
    Raises UnknownName.
    """
    if format not in FORMATS:
        raise unknown("format", format, FORMATS, "unet-bench summary --help")
    if format in ("csv", "json"):
        return csv_text(frame) if format == "csv" else as_json(frame)
    sections = list(_sections(frame))
    runs = "".join(f"run {name} · " for name in frame["run_id"].dropna().unique())
    if format == "md":
        return as_markdown(sections, f"{runs}{_CAPTION}")
    return as_table(sections, f"{runs}* baseline\n{_CAPTION}")


def _sections(frame: pd.DataFrame) -> Iterator[Section]:
    for _, rows in frame.groupby(["run_id", *SETTING], dropna=False, sort=False):
        headings = [heading for heading in HEADINGS if rows[heading.column].notna().any()]
        lines = [_line(row, headings) for row in records(rows)]
        yield Section(
            _title(records(rows)[0]), tuple(heading.label for heading in headings), tuple(lines)
        )


def _title(row: Row) -> str:
    numbers = {"threads": "threads", "batch_requested": "batch"}
    words = conditions(row, [name for name in SETTING if name not in (*numbers, *SIZE)])
    words += scored_size(row)
    return " · ".join(
        words + [f"{label} {row[name]}" for name, label in numbers.items() if row[name] is not None]
    )


def _line(row: Row, headings: list[Heading]) -> Line:
    failed = (
        f"{row['failed']} of {row['failed'] + row['cells']} cells without a figure: {row['status']}"
    )
    return Line(
        variant=row["variant"],
        is_baseline=row["variant"] == row["baseline"],
        figures=tuple(figure(row, heading) for heading in headings),
        best=(False,) * len(headings),
        problem=failed if row["failed"] else "",
        is_trivial=row["trivial"],
    )
