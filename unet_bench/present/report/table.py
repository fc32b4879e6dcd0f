"""The page's one table: a row per variant, the rows of each group together, every figure there is.

groups ─▶ columns that hold something ─▶ a cell per row and column: text, and numbers to sort
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from unet_bench.present.groups import Group, anchor, has, is_baseline
from unet_bench.present.table import best_of, state
from unet_bench.store.columns import Column
from unet_bench.store.schema import BY_NAME, ENDS, described, shown_columns
from unet_bench.text_format import EMPTY, figure

Row = Mapping[str, Any]

MOST_CELLS: Final = 60_000  # beyond, a page takes long to open
_NEVER: Final = frozenset({"schema_version", "pareto", *ENDS})


@dataclass(frozen=True)
class Field:
    """A column of the page, and whether it may be divided by another row's figure."""

    column: Column
    meaning: str
    is_shown: bool
    is_relative: bool
    bare: str
    """Its label without a unit, for when it is divided."""


@dataclass(frozen=True)
class Cell:
    """A figure as text and in full, the ends of its interval, and whether none is better."""

    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    is_best: bool = False
    verdict: str = ""


@dataclass(frozen=True)
class Line:
    """A row. `state` says in words whether there are figures, and how good they are."""

    variant: str
    anchor: str
    is_baseline: bool
    is_trivial: bool
    cells: tuple[Cell, ...]
    state: str
    reason: str


@dataclass(frozen=True)
class Table:
    """Columns, and rows by group."""

    fields: tuple[Field, ...]
    left_out: int  # columns, where there are too many rows for all of them
    bodies: tuple[tuple[Group, tuple[Line, ...]], ...]

    @property
    def measured_baselines(self) -> list[str]:
        """What ratios and differences were measured against."""
        named = (row["baseline"] for group, _ in self.bodies for row in group.rows)
        return list(dict.fromkeys(name for name in named if name))

    @property
    def sorted_by(self) -> tuple[str, str]:
        """The column that rows are sorted by from the start, and which way; empty: none."""
        names = {field.column.name for field in self.fields}
        ways = {"dice": "descending", "latency_ms": "ascending"}
        return next(((name, way) for name, way in ways.items() if name in names), ("", "none"))

    @property
    def baselines(self) -> list[str]:
        """What another baseline can be chosen from."""
        lines = [line for _, lines in self.bodies for line in lines]
        return list(dict.fromkeys(line.variant for line in lines if not line.is_trivial))


def table(groups: Sequence[Group], known: Mapping[str, Column] = BY_NAME) -> Table:
    """Return the table of all groups; of very many rows only the usual columns."""
    rows = [row for group in groups for row in group.rows]
    every = [
        column for column in _columns(rows, known) if any(has(row, column.name) for row in rows)
    ]
    shown = shown_columns(known)
    is_small = len(rows) * len(every) <= MOST_CELLS
    columns = every if is_small else [column for column in every if column in shown]
    bodies = tuple((group, tuple(_lines(group, columns))) for group in groups)
    return Table(
        tuple(_field(column, column in shown) for column in columns),
        len(every) - len(columns),
        bodies,
    )


def _columns(rows: Sequence[Row], known: Mapping[str, Column]) -> list[Column]:
    """Return the usual columns, then all other numbers that were measured or that differ."""
    if not rows:
        return []
    shown = shown_columns(known)
    others = {*rows[0]} - _NEVER - {column.name for column in shown}
    more = [described(name, known) for name in rows[0] if name in others]
    told = [column for column in more if _is_told(rows, column)]
    return [*(column for column in shown if column.name in rows[0]), *told]


def _is_told(rows: Sequence[Row], column: Column) -> bool:
    values = {row.get(column.name) for row in rows} - {None}
    are_numbers = any(isinstance(x, int | float) and not isinstance(x, bool) for x in values)
    return are_numbers and (bool(column.probes) or len(values) > 1)


def _field(column: Column, is_shown: bool) -> Field:
    unit = f" ({column.unit})" if column.unit else ""
    is_of_device = bool(column.probes) and "accuracy" not in column.probes
    return Field(
        column=column,
        meaning=column.meaning + unit,
        is_shown=is_shown,
        is_relative=bool(column.better) and is_of_device,
        bare=f"{column.label} ratio" if column.is_ratio else column.label,
    )


def _lines(group: Group, columns: Sequence[Column]) -> list[Line]:
    best = {column.name: best_of(group.rows, column) for column in columns}
    return [
        Line(
            variant=row["variant"] or "",
            anchor=anchor(row["variant"] or ""),
            is_baseline=is_baseline(row),
            is_trivial=row["trivial"],
            cells=tuple(_cell(row, column, best[column.name]) for column in columns),
            state=state(row) or "ok",
            reason=" ".join(filter(None, (row.get("error"), row.get("evidence"))))[:600],
        )
        for row in group.rows
    ]


def _cell(row: Row, column: Column, best: object) -> Cell:
    value = row.get(column.name)
    if not has(row, column.name):
        return Cell(EMPTY)
    low, high = column.interval or ("", "")
    return Cell(
        text=figure(row, column),
        value=value,
        low=row[low] if has(row, low) else None,
        high=row[high] if has(row, high) else None,
        is_best=best is not None and value == best and not row["trivial"],
        verdict=row.get(column.verdict) or "",
    )
