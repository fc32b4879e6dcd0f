"""The report's one table: a row per variant, the rows of each group together, every figure that
there is.

groups ─▶ columns that hold something ─▶ a cell per row and column: as text, and as numbers to sort and divide
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from unet_bench.present.report.groups import Group, anchor, failed, has, is_baseline, statuses
from unet_bench.present.table import EMPTY, HEADINGS, Heading, figure
from unet_bench.store.schema import BY_NAME, INTERVALS

Row = Mapping[str, Any]

_PHYSICAL: Final = {
    "cost",
    "speed",
    "memory",
    "training",
    "energy",
    "batch",
}  # probes whose figures have ratios
_SHOWN: Final = {heading.column: heading for heading in HEADINGS}
_ENDS: Final = frozenset(end for ends in INTERVALS.values() for end in ends)
_PAIRED: Final = {
    "latency_ms": "latency_ratio",
    "throughput_img_s": "throughput_ratio",
    "train_step_ms": "train_step_ratio",
    "energy_j_img": "energy_ratio",
}
_BARE: Final = {
    "params": "params",
    "macs": "MACs",
    "latency_ms": "latency",
    "latency_ratio": "latency ratio",
    "throughput_img_s": "throughput",
    "peak_memory_mib": "infer memory",
    "train_peak_memory_mib": "train memory",
    "train_step_ms": "step",
    "energy_j_img": "energy",
}
_UNITS: Final = (
    "_mib",
    "_ms",
    "_img_s",
    "_j_img",
    "_j",
    "_s",
    "_w",
)  # at the end of names of columns
MOST_CELLS: Final = 60_000  # beyond, a page takes long to open
_NEVER: Final = frozenset({"schema_version", "pareto", *_ENDS})


@dataclass(frozen=True)
class Field:
    """A column: what it is called, whether it is shown from the start, whether it may be divided by
    another row's.

    `bare` is its label without a unit, for when it is divided; `paired` the ratios that were
    measured side by side, which are divided in its place; `verdict` the column of what is said of
    it in a word.
    """

    name: str
    label: str
    meaning: str
    shown: bool
    relative: bool
    bare: str = ""
    paired: str = ""
    verdict: str = ""


@dataclass(frozen=True)
class Cell:
    """A figure as text, and in full; the ends of its interval; whether no other network's is
    better.
    """

    text: str
    value: float | None = None
    low: float | None = None
    high: float | None = None
    best: bool = False
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
        """The column by which the rows are sorted from the start, if it is there, and which way."""
        names = {field.name for field in self.fields}
        ways = {"dice": "descending", "latency_ms": "ascending"}
        return next(((name, way) for name, way in ways.items() if name in names), ("", "none"))

    @property
    def baselines(self) -> list[str]:
        """What another baseline can be chosen from."""
        return list(
            dict.fromkeys(
                line.variant for _, lines in self.bodies for line in lines if not line.is_trivial
            )
        )


def table(groups: Sequence[Group]) -> Table:
    """The table of all groups."""
    rows = [row for group in groups for row in group.rows]
    every = [name for name in _names(rows) if any(has(row, name) for row in rows)]
    names = (
        every
        if len(rows) * len(every) <= MOST_CELLS
        else [name for name in every if name in _SHOWN]
    )
    fields = tuple(_field(name) for name in names)
    return Table(
        fields,
        len(every) - len(names),
        tuple((group, tuple(_lines(group, names))) for group in groups),
    )


def state(row: Row) -> str:
    """The statuses that are not ok, and the quality if it is not clean; otherwise ok."""
    found = statuses(row)
    alike = len(set(found.values())) == 1  # then there is no need to name the probes
    bad = [
        status if alike else f"{probe} {status}"
        for probe, status in found.items()
        if status != "ok"
    ]
    quality = row.get("quality")
    return (
        ", ".join(filter(None, (*dict.fromkeys(bad), "" if quality == "clean" else quality)))
        or "ok"
    )


def _names(rows: Sequence[Row]) -> list[str]:
    """The usual columns first, then all other numbers that were measured or that differ."""
    every = dict.fromkeys(name for row in rows[:1] for name in row if name not in _NEVER)
    more = [
        name
        for name in every
        if name not in _SHOWN and any(_is_number(row.get(name)) for row in rows)
    ]
    told = [
        n
        for n in more
        if (n in BY_NAME and BY_NAME[n].probes) or len({row.get(n) for row in rows} - {None}) > 1
    ]
    return [*(name for name in _SHOWN if name in every), *told]


def _is_number(value: object) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _field(name: str) -> Field:
    column = BY_NAME.get(name)
    meaning = column.meaning + f" ({column.unit})" * bool(column.unit) if column else "a plugin's"
    return Field(
        name=name,
        label=_heading(name).label,
        meaning=meaning,
        shown=name in _SHOWN,
        relative=column is not None and bool(column.better) and bool({*column.probes} & _PHYSICAL),
        bare=_BARE.get(name) or _without_unit(_heading(name).label),
        paired=_PAIRED.get(name, ""),
        verdict=_heading(name).verdict,
    )


def _without_unit(label: str) -> str:
    return label.removesuffix(next((unit for unit in _UNITS if label.endswith(unit)), ""))


def _heading(name: str) -> Heading:
    return _SHOWN.get(name) or Heading(name, name)


def _lines(group: Group, names: Sequence[str]) -> list[Line]:
    best = {name: _best(group, name) for name in names}
    return [
        Line(
            variant=row["variant"] or "",
            anchor=anchor(row["variant"] or ""),
            is_baseline=is_baseline(row),
            is_trivial=row["trivial"],
            cells=tuple(_cell(row, name, best[name]) for name in names),
            state=state(row),
            reason=" ".join(filter(None, (row.get("error"), row.get("evidence"))))[:600],
        )
        for row in group.rows
    ]


def _best(group: Group, name: str) -> float | None:
    """The best figure among networks without failures, where figures differ and one end of them is
    good.
    """
    better = BY_NAME[name].better if name in BY_NAME else ""
    figures = {row[name] for row in group.networks(name) if not failed(row)}
    if not better or len(figures) < 2:
        return None
    return float(max(figures) if better == "high" else min(figures))


def _cell(row: Row, name: str, best: float | None) -> Cell:
    if not has(row, name):
        return Cell(EMPTY)
    low, high = INTERVALS.get(name, ("", ""))
    return Cell(
        text=figure(row, _heading(name)),
        value=row[name],
        low=row[low] if has(row, low) else None,
        high=row[high] if has(row, high) else None,
        best=best is not None and row[name] == best and not row["trivial"],
        verdict=row.get(_heading(name).verdict) or "",
    )
