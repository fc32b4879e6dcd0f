"""What a command answers, before it has a format: headings, tables, notes and the data behind them.

analysis ─▶ Document ─▶ terminal, markdown, LaTeX, csv or JSON

The modules beside this one make a document of what their command found; `terminal.py`,
`markdown.py` and `latex.py` each turn any document's blocks into text.
"""

from __future__ import annotations

import io
import json
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Final

import pandas as pd
from rich.console import Console, RenderableType

from unet_bench.errors import unknown
from unet_bench.present.blocks import Block, Cell, Line, Table
from unet_bench.present.markdown import as_markdown
from unet_bench.present.terminal import as_terminal
from unet_bench.store.columns import Column
from unet_bench.store.figures import Row, unscaled
from unet_bench.store.tables import csv_text, records
from unet_bench.text_format import figure, printable

FORMATS: Final = ("table", "csv", "md", "json")
WIDTH: Final = 140  # characters, of what `print` shows


@dataclass(frozen=True)
class Document:
    """A command's answer: what is shown in `blocks`, as a table in `data`, in full in `content`."""

    command: str
    blocks: tuple[Block, ...]
    data: pd.DataFrame
    content: Any = None
    """What is written as JSON; None: the rows of `data`."""

    def rendered(self, format: str = "table") -> RenderableType:
        """Return a rich renderable for `table`, text for `csv`, `md` and `json`.

        Raises UnknownName for another format.
        """
        match format:
            case "table":
                return as_terminal(self.blocks)
            case "md":
                return as_markdown(self.blocks)
            case "csv":
                return csv_text(self.data)
            case "json":
                content = records(self.data) if self.content is None else self.content
                return json.dumps(content, indent=2, allow_nan=False) + "\n"
        raise unknown("format", format, FORMATS, f"unet-bench {self.command} --help")


class Displayed:
    """What a notebook shows as a table, and `print` as text."""

    def document(self) -> Document:
        """Return what is shown."""
        raise NotImplementedError

    def _repr_markdown_(self) -> str:
        return str(self.document().rendered("md"))

    def __str__(self) -> str:
        console = Console(width=WIDTH, file=io.StringIO())
        with console.capture() as captured:
            console.print(self.document().rendered(), crop=False)
        return captured.get()


# ---- tables of rows


def table_of(
    rows: Iterable[Row],
    columns: Sequence[Column],
    *,
    name: Callable[[Row], str] = lambda row: printable(row["variant"]),
    is_best: Callable[[Row, Column], bool] = lambda row, column: False,
    problem: Callable[[Row], str] = lambda row: "",
) -> Table:
    """Return a line for each row, with those columns that any of them has a value of."""
    rows = list(rows)
    shown = [column for column in columns if any(row.get(column.name) is not None for row in rows)]
    lines, wide = [], unscaled(rows)
    for row in rows:
        cells = tuple(Cell(figure(row, column), is_best(row, column)) for column in shown)
        is_baseline = row["variant"] == row.get("baseline")
        lines.append(
            Line(
                name(row),
                cells,
                is_baseline=is_baseline,
                is_trivial=bool(row.get("trivial")),
                problem=problem(row),
                is_unscaled=row["variant"] in wide,
            )
        )
    labels = ("variant", *(column.heading for column in shown))
    return Table(labels, tuple(lines), tells_problems=True)


def derived(name: str, heading: str = "", decimals: int = 0) -> Column:
    """Return a column that only one command's answer has."""
    return Column(name, "Float64", "", heading=heading or name, decimals=decimals)
