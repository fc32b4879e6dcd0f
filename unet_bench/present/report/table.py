"""The page's one table: a row per variant, the rows of each group together, every figure there is.

groups ─▶ columns that hold something ─▶ a cell per row and column: text, and numbers to sort
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from unet_bench.present.groups import Group, has, is_baseline
from unet_bench.present.table import best_of, state
from unet_bench.store.columns import Column
from unet_bench.store.figures import Row, unscaled
from unet_bench.store.schema import BY_NAME, ENDS, described, shown_columns
from unet_bench.text_format import EMPTY, figure

MOST_CELLS: Final = 60_000  # beyond, a page takes long to open
_NEVER: Final = frozenset({"schema_version", "pareto", *ENDS})


@dataclass(frozen=True)
class Field:
    """A column of the page, and whether it is shown from the start."""

    column: Column
    is_shown: bool

    @property
    def meaning(self) -> str:
        """What it is, and its unit."""
        column = self.column
        return f"{column.meaning} ({column.unit})" if column.unit else column.meaning

    @property
    def is_relative(self) -> bool:
        """Whether it may be divided by another row's figure."""
        column = self.column
        return bool(column.better and column.probes) and "accuracy" not in column.probes

    @property
    def bare(self) -> str:
        """Its label without a unit, for when it is divided."""
        return f"{self.column.label} ratio" if self.column.is_ratio else self.column.label


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
    is_baseline: bool
    is_trivial: bool
    is_unscaled: bool
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
    shown = shown_columns(known)
    every = [*(column for column in shown if _has_figure(rows, column)), *_further(rows, known)]
    is_small = len(rows) * len(every) <= MOST_CELLS
    columns = every if is_small else [column for column in every if column in shown]
    return Table(
        fields=tuple(Field(column, column in shown) for column in columns),
        left_out=len(every) - len(columns),
        bodies=tuple((group, tuple(_lines(group, columns))) for group in groups),
    )


def _has_figure(rows: Sequence[Row], column: Column) -> bool:
    return any(has(row, column.name) for row in rows)


def _further(rows: Sequence[Row], known: Mapping[str, Column]) -> Iterator[Column]:
    """Yield all unusual columns with numbers that were measured or that differ."""
    usual = {*_NEVER, *(column.name for column in shown_columns(known))}
    for name in rows[0] if rows else ():
        column = described(name, known)
        values = {row[name] for row in rows if has(row, name)}
        is_flag = all(isinstance(value, bool) for value in values)
        differs = len({row.get(name) for row in rows} - {None}) > 1
        if name not in usual and not is_flag and (column.probes or differs):
            yield column


def _lines(group: Group, columns: Sequence[Column]) -> Iterator[Line]:
    best = {column.name: best_of(group.rows, column) for column in columns}
    wide = unscaled(group.rows)
    for row in group.rows:
        yield Line(
            variant=row["variant"] or "",
            is_baseline=is_baseline(row),
            is_trivial=row["trivial"],
            is_unscaled=row["variant"] in wide,
            cells=tuple(_cell(row, column, best[column.name]) for column in columns),
            state=state(row) or "ok",
            reason=" ".join(filter(None, (row.get("error"), row.get("evidence"))))[:600],
        )


def _cell(row: Row, column: Column, best: object) -> Cell:
    value = row.get(column.name)
    if not has(row, column.name):
        return Cell(EMPTY)
    low, high = (row[end] if has(row, end) else None for end in column.interval or ("", ""))
    return Cell(
        text=figure(row, column),
        value=value,
        low=low,
        high=high,
        is_best=best is not None and value == best and not row["trivial"],
        verdict=row.get(column.verdict) or "",
    )
