"""Tables made from the rows of a run: one row per cell, per variant × task × setting, and per class.

rows ─▶ last attempt of each cell ─▶ grouped by variant and conditions ─▶ joined ─▶ DataFrame ─▶ csv
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from math import cos, exp, inf, isfinite, isnan, log, pi, sin, sqrt, tan
from pathlib import Path
from statistics import fmean, geometric_mean, median_low, stdev
from typing import Any, Final, cast

import pandas as pd

from unet_bench.errors import StoreError
from unet_bench.results import columns as table_of
from unet_bench.results.columns import CONDITIONS, INTERVALS, PER_CLASS, PROBES, Column
from unet_bench.results.store import MANIFEST, Row, Store, read_manifest, read_rows, write_atomic

Rows = Iterable[Mapping[str, Any]]
Setting = tuple[object, ...]

_SETTING: Final = (*CONDITIONS, "pretrained")
_GRAVITY: Final = {name: rank for names in (table_of.STATUSES, table_of.QUALITIES) for rank, name in enumerate(names)}
_MEASURED: Final = tuple(column.name for column in table_of.COLUMNS if column.probes)


def cells_frame(rows: Rows) -> pd.DataFrame:
    """One row per cell: its last attempt. A cell that is not `ok` has no figures."""
    return _frame([_without_figures_unless_ok(row) for row in _last_attempts(rows)], "cells", "cells")


def results_frame(rows: Rows, manifest: Mapping[str, Any]) -> pd.DataFrame:
    """One row per variant × task × setting, with every probe's figures side by side.

    What no cell states (such as `preset`, `env_id` or `torch`) is taken from the manifest's entry of the same name.
    """
    given = {name: value for name, value in manifest.items() if isinstance(value, str | int | float)}
    wide = [_wide_row(cells, setting, given) for cells, setting in _groups(_last_attempts(rows))]
    _mark_pareto(wide)
    return _frame(wide, "results", "results")


def classes_frame(rows: Rows) -> pd.DataFrame:
    """One row per class of every accuracy cell that is `ok`."""
    cells = (row for row in _last_attempts(rows) if row["status"] == "ok")
    return _frame([{**row, **entry} for row in cells for entry in row.get(PER_CLASS) or ()], "classes", "classes")


def write_tables(store: Store) -> None:
    """Write cells.csv, results.csv and classes.csv anew. Raises StoreError."""
    rows = store.rows()
    for table in table_of.TABLES:
        write_atomic(store.path / f"{table}.csv", csv_text(_make(table, rows, store.manifest)))


def read_results(path: str | Path, table: str = "results") -> pd.DataFrame:
    """A table of the run's folder, or of a csv file, each column with its type; columns it lacks are empty.

    A run that was killed before it wrote its tables is read from its rows. Raises StoreError if nothing is there.
    """
    path = Path(path)
    known = table_of.columns(table)
    file = path / f"{table}.csv" if path.is_dir() else path
    if file.is_file():
        return _read_csv(file, known)
    if (path / MANIFEST).is_file():
        return _make(table, read_rows(path), read_manifest(path))
    raise StoreError(f"no results at {path}: give the folder of a run, which holds {MANIFEST}, or a csv file")


def csv_text(frame: pd.DataFrame) -> str:
    """The frame as csv: floats in full, an empty field where there is no value."""
    return frame.to_csv(index=False, lineterminator="\n")


def t_interval(values: Sequence[float]) -> tuple[float, float, float]:
    """Mean of at least two values, and the ends of its 95 % t interval."""
    mean, half = fmean(values), t_quantile(len(values) - 1) * stdev(values) / sqrt(len(values))
    return mean, mean - half, mean + half


def t_quantile(freedom: int) -> float:
    """The 97.5 % quantile of Student's t, by bisection."""
    low, high = 0.0, pi / 2
    while (middle := (low + high) / 2) not in (low, high):
        low, high = (middle, high) if _coverage(middle, freedom) < 0.95 else (low, middle)
    return sqrt(freedom) * tan(low)


def _coverage(angle: float, freedom: int) -> float:
    """How likely |t| stays below √freedom · tan(angle): Abramowitz and Stegun 26.7.3 and 26.7.4."""
    odd = freedom % 2
    term, total = sin(angle) * cos(angle) ** odd, 0.0
    for power in range(odd, freedom - 1, 2):
        total += term
        term *= (power + 1) / (power + 2) * cos(angle) ** 2
    return (angle + total) * 2 / pi if odd else total


# ---- from rows to rows


def _last_attempts(rows: Rows) -> list[Mapping[str, Any]]:
    """One cell may stand for several variants of equal choices, so both name it."""
    return list({(row["cell_id"], row["variant"]): row for row in rows}.values())


def _without_figures_unless_ok(row: Mapping[str, Any]) -> Mapping[str, Any]:
    return row if row["status"] == "ok" else {**row, **dict.fromkeys(_MEASURED)}


def _groups(cells: Rows) -> Iterator[tuple[list[Mapping[str, Any]], Setting]]:
    """The cells of each row of results, and the setting they share."""
    variants = defaultdict(list)
    for cell in cells:
        variants[cell.get("run_id"), cell["task"], cell["variant"]].append(cell)
    for _, group in sorted(variants.items(), key=lambda item: tuple(map(str, item[0]))):
        for setting in _settings(group):
            yield [cell for cell in group if _agree(_setting(cell), setting)], setting


def _setting(cell: Mapping[str, Any]) -> Setting:
    return tuple(cell.get(name) for name in _SETTING)


def _settings(cells: Rows) -> list[Setting]:
    """The settings of one variant: the probes' own, joined."""
    probes: dict[str, dict[Setting, None]] = defaultdict(dict)
    for cell in cells:
        probes[cell["probe"]][_setting(cell)] = None
    joined: list[Setting] = []
    for settings in probes.values():
        joined = _join(joined, list(settings))
    return joined


def _join(left: list[Setting], right: list[Setting]) -> list[Setting]:
    pairs = [(a, b) for a in left for b in right if _agree(a, b)]
    alone = [setting for setting in left + right if not any(setting in pair for pair in pairs)]
    both = [tuple(y if x is None else x for x, y in zip(a, b, strict=True)) for a, b in pairs]
    return list(dict.fromkeys(both + alone))


def _agree(a: Setting, b: Setting) -> bool:
    """A column that one of them leaves empty does not matter to it."""
    return all(x is None or y is None or x == y for x, y in zip(a, b, strict=True))


def _wide_row(cells: list[Mapping[str, Any]], setting: Setting, given: Mapping[str, Any]) -> Row:
    ok = [cell for cell in cells if cell["status"] == "ok"]
    by_speed = sorted(cells, key=lambda cell: cell["probe"] != "speed")  # sizes and batch as they were when timed
    row = {column.name: _first(by_speed, column.name, given) for column in table_of.columns("results")}
    row |= dict(zip(_SETTING, setting, strict=True))
    row |= {column.name: _pooled(column, ok) for column in table_of.columns("results") if column.probes}
    for name in INTERVALS:
        row |= _interval(name, _values(ok, name))
    for probe in PROBES:
        row[f"{probe}_status"] = _gravest(cell["status"] for cell in cells if cell["probe"] == probe)
    row["quality"] = _gravest(cell.get("quality") for cell in cells)
    row["seeds"] = len({cell["seed"] for cell in ok if cell["probe"] == "accuracy"}) or None
    row["replicates"] = sum(cell["probe"] == "speed" for cell in ok) or None
    return row


def _first(cells: Rows, name: str, given: Mapping[str, Any]) -> object:
    return next((cell[name] for cell in cells if cell.get(name) is not None), given.get(name))


def _values(cells: Rows, name: str) -> list[Any]:
    return [cell[name] for cell in cells if cell.get(name) is not None]


_POOL: Final[Mapping[str, Callable[[list[Any]], object]]] = {
    "MiB": max,  # a peak is the highest seen
    "×": geometric_mean,
    "Int64": median_low,
    "Float64": fmean,
}


def _pooled(column: Column, cells: Rows) -> object:
    values = _values(cells, column.name)
    pool = _POOL.get(column.unit) or _POOL[column.dtype]
    return pool(values) if values else None


def _interval(name: str, values: list[float]) -> Row:
    """The figure and its interval over the processes or seeds; of a single one, the probe's own stands."""
    if len(values) < 2:
        return {}
    ratio = table_of.BY_NAME[name].unit == "×"
    joined = tuple(map(exp, t_interval(list(map(log, values))))) if ratio else t_interval(values)
    return dict(zip((name, *INTERVALS[name]), joined, strict=True))


def _gravest(names: Iterable[str | None]) -> str | None:
    return max((name for name in names if name), key=lambda name: _GRAVITY.get(name, inf), default=None)


def _mark_pareto(rows: list[Row]) -> None:
    """Mark, among rows with the same conditions and all three figures, those that no other beats in all of them."""
    peers = defaultdict(list)
    for row in rows:
        complete = None not in (row["dice"], row["latency_ms"], row["peak_memory_mib"])
        if complete and all(row[f"{probe}_status"] in ("ok", None) for probe in PROBES):
            peers[tuple(row[name] for name in (*CONDITIONS, "batch_effective"))].append(row)
    for group in peers.values():
        front: list[tuple[float, ...]] = []
        # Whatever beats a row sorts before it, so that one pass against the front so far is enough.
        for row in sorted(group, key=_costs):
            row["pareto"] = not any(_beats(other, _costs(row)) for other in front)
            if row["pareto"]:
                front.append(_costs(row))


def _costs(row: Row) -> tuple[float, ...]:
    return row["latency_ms"], row["peak_memory_mib"], -row["dice"]


def _beats(a: tuple[float, ...], b: tuple[float, ...]) -> bool:
    return a != b and all(x <= y for x, y in zip(a, b, strict=True))


# ---- from rows and csv to frames


def _make(table: str, rows: list[Row], manifest: Mapping[str, Any]) -> pd.DataFrame:
    if table == "results":
        return results_frame(rows, manifest)
    return cells_frame(rows) if table == "cells" else classes_frame(rows)


def _frame(rows: Sequence[Mapping[str, Any]], table: str, source: str) -> pd.DataFrame:
    return pd.DataFrame({c.name: _typed(c, [row.get(c.name) for row in rows], source) for c in table_of.columns(table)})


def _read_csv(file: Path, known: tuple[Column, ...]) -> pd.DataFrame:
    try:
        frame = pd.read_csv(
            file,
            dtype={column.name: object for column in known},
            dtype_backend="numpy_nullable",
            keep_default_na=False,
            na_values=[""],
        )
    except (OSError, ValueError) as error:
        raise StoreError(f"{file} cannot be read as csv: {error}") from error
    absent = [None] * len(frame)
    typed = {c.name: _typed(c, list(frame[c.name]) if c.name in frame else absent, str(file)) for c in known}
    return pd.DataFrame({**typed, **{str(name): frame[name] for name in frame if name not in typed}})


def _typed(column: Column, values: list[Any], source: str) -> Any:
    parse, dtype = _PARSE[column.dtype], cast(Any, column.dtype)
    try:
        return pd.array([None if _empty(value) else parse(value) for value in values], dtype=dtype)
    except (TypeError, ValueError, KeyError, OverflowError) as error:
        raise StoreError(f"{source}: column {column.name} takes {column.dtype} only: {error}") from error


def _empty(value: object) -> bool:
    return value is None or value == "" or (isinstance(value, float) and isnan(value))


def _text(value: object) -> str:
    """Lists as in `decoder_widths`; a lone carriage return, which progress bars print, would break the csv."""
    text = "/".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
    return text.replace("\r\n", "\n").replace("\r", "\n")


def _number(value: Any) -> float | None:
    number = float(value)
    return number if isfinite(number) else None


def _whole(value: Any) -> int:
    if isinstance(value, float) and not value.is_integer():
        raise ValueError(f"{value} is not a whole number")
    return int(value)


def _boolean(value: object) -> bool:
    return {"true": True, "false": False}[str(value).lower()]


_PARSE: Final[Mapping[str, Callable[[Any], object]]] = {
    "string": _text,
    "Float64": _number,
    "Int64": _whole,
    "boolean": _boolean,
}
